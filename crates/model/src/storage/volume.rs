//! Storage volumes.

use diag::ErrorCode;
use xml::{Content, Document, Element, Parsed, Reader, Schema, ValueKind, Writer, Xml};

use crate::object;

use super::encryption::Encryption;
use super::path::sanitize;
use super::permissions::Permissions;
use super::size::scaled;
use super::types::{PoolType, VolumeType};

/// How strict reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsing {
    /// A missing capacity is 0; otherwise only volumes with a backing store may go without.
    pub capacity_optional: bool,
}

/// A storage volume.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Volume {
    /// What it is.
    pub kind: VolumeType,
    /// Name, unique in its pool.
    pub name: String,
    /// Key, unique on the host.
    pub key: Option<String>,
    /// Size the guest sees, in bytes.
    pub capacity: u64,
    /// Space it takes, in bytes.
    pub allocation: u64,
    /// Whether the text said how much space it shall take.
    pub allocation_given: bool,
    /// Length of the file, in bytes; 0 when unknown.
    pub physical: u64,
    /// Where it is and how it is made.
    pub target: VolumeTarget,
    /// What it is an overlay of.
    pub backing: Option<VolumeTarget>,
}

/// Where a volume is and how it is made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VolumeTarget {
    /// Path.
    pub path: Option<String>,
    /// Format; none where the pool's type has no formats.
    pub format: Option<String>,
    /// Permissions.
    pub permissions: Option<Permissions>,
    /// When it was used; known of volumes found, never read from text.
    pub timestamps: Option<Timestamps>,
    /// Encryption.
    pub encryption: Option<Encryption>,
    /// Version of qcow2, `0.10` or `1.1`.
    pub compat: Option<String>,
    /// No copy on write (btrfs).
    pub nocow: bool,
    /// Cluster size in bytes.
    pub cluster_size: Option<u64>,
    /// Features of qcow2: their names, in libvirt's order.
    pub features: Option<Vec<&'static str>>,
}

/// When a file was used: seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timestamps {
    /// Last access.
    pub accessed: (i64, u32),
    /// Last change of content.
    pub modified: (i64, u32),
    /// Last change of anything.
    pub changed: (i64, u32),
    /// Creation; 0 where the file system does not know.
    pub created: (i64, u32),
}

/// Features of qcow2 that a volume may be made with, in the order in which they are written.
const FEATURES: &[&str] = &["lazy_refcounts", "extended_l2", "data_file"];

fn fault<T>(cx: &mut Reader, el: Element<'_>, code: ErrorCode, message: String) -> Option<T> {
    cx.error("storage.volume", code, el.span(), message, Vec::new());
    None
}

/// What a volume is without some of its parts.
const REST: object::Rest = object::Rest {
    attrs: &[("type", "file")],
    children: &[("name", "<name>unnamed</name>"), ("capacity", "<capacity>1</capacity>")],
    asks: &[("storage.volume", &["@type", "name", "capacity", "backingStore"])],
};

impl Volume {
    /// Reads a volume's XML for a pool of type `pool`.
    pub fn parse(text: &str, pool: PoolType, parsing: Parsing) -> Parsed<Self> {
        object::with_rest(text, &REST, |text| Self::read_text(text, pool, parsing))
    }

    fn read_text(text: &str, pool: PoolType, parsing: Parsing) -> Parsed<Self> {
        let doc = match Document::parse(text) {
            Ok(doc) => doc,
            Err(diagnostics) => return Parsed { value: None, diagnostics },
        };
        let root = doc.root();
        let mut cx = Reader::new(&doc);
        for warning in doc.warnings() {
            cx.push(warning.clone());
        }
        let mut value = None;
        if !root.is("volume", None) {
            let message = format!("expecting root element of 'volume', not '{}'", root.name());
            cx.error("xml.root", ErrorCode::XML_ERROR, root.name_span(), message, Vec::new());
        } else if let Some(mut volume) = cx.element::<Self>(root) {
            volume.complete(pool, parsing, root, &mut cx);
            value = Some(volume);
        }
        let value = value.filter(|_| !cx.has_errors());
        Parsed { value, diagnostics: cx.finish() }
    }

    /// The XML.
    pub fn to_xml(&self) -> String {
        xml::write(self, "volume", &xml::WriteOptions::default())
    }

    fn complete(&mut self, pool: PoolType, parsing: Parsing, root: Element<'_>, cx: &mut Reader) {
        let has_capacity = root.child("capacity").is_some_and(|el| !el.string_value().is_empty());
        if !has_capacity && !parsing.capacity_optional && self.backing.is_none() {
            fault::<()>(cx, root, ErrorCode::XML_ERROR, "missing capacity element".to_owned());
        }
        if !self.allocation_given {
            self.allocation = self.capacity;
        }
        let at = root.child("target").unwrap_or(root);
        check_format(&mut self.target, pool, at, cx);
        if let Some(backing) = &mut self.backing {
            let at = root.child("backingStore").unwrap_or(root);
            check_format(backing, pool, at, cx);
        }
    }
}

fn check_format(target: &mut VolumeTarget, pool: PoolType, at: Element<'_>, cx: &mut Reader) {
    let Some((default, formats)) = pool.volume_formats() else {
        target.format = None;
        return;
    };
    let format = target.format.get_or_insert_with(|| default.to_owned());
    // A file has some format; only a partition may have none.
    let listed = formats.contains(&format.as_str()) && format != "none";
    let known = listed || format.as_str() == default;
    if !known {
        let message = format!("unknown volume format type {format}");
        let hints = match xml::closest(format, formats.to_vec()) {
            Some(name) => vec![format!("Did you mean '{name}'?")],
            None => vec![format!("Possible values: {}.", formats.join(", "))],
        };
        let at = at.child("format").unwrap_or(at);
        let code = ErrorCode::CONFIG_UNSUPPORTED;
        cx.error("storage.format", code, at.span(), message, hints);
    }
}

impl Xml for Volume {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let kind = match cx.attr(el, "type") {
            None => Some(VolumeType::File),
            Some(attr) => attr.value().parse().ok().or_else(|| {
                let message = format!("unknown volume type '{}'", attr.value());
                fault(cx, el, ErrorCode::CONFIG_UNSUPPORTED, message)
            }),
        };
        let name = cx.child_text_optional::<String>(el, "name".into())?.unwrap_or_default();
        if name.is_empty() {
            let message = "missing volume name element".to_owned();
            fault::<()>(cx, el, ErrorCode::XML_ERROR, message);
        }
        let key = cx.child_text_optional::<String>(el, "key".into());
        let capacity = scaled(el, cx, "capacity");
        let allocation = scaled(el, cx, "allocation");
        // Both are found out, not configured.
        for name in ["physical", "source"] {
            if let Some(child) = cx.child(el, name) {
                cx.use_subtree(child);
            }
        }
        let target = cx.child_optional::<VolumeTarget>(el, "target".into());
        let backing = cx.child_optional::<VolumeTarget>(el, "backingStore".into());
        let allocation = allocation?;
        Some(Self {
            kind: kind?,
            name,
            key: key?,
            capacity: capacity?.unwrap_or(0),
            allocation: allocation.unwrap_or(0),
            allocation_given: allocation.is_some(),
            physical: 0,
            target: target?.unwrap_or_default(),
            backing: backing?.filter(|backing| backing.path.is_some()),
        })
    }

    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("type", self.kind.as_str());
    }

    fn write_children(&self, w: &mut Writer) {
        w.child_text("name", &self.name);
        if let Some(key) = &self.key {
            w.child_text("key", key);
        }
        let size = |w: &mut Writer, name: &str, bytes: u64| {
            w.start(name);
            w.attr_str("unit", "bytes");
            w.text(&bytes);
            w.end(name);
        };
        size(w, "capacity", self.capacity);
        size(w, "allocation", self.allocation);
        if self.physical != 0 {
            size(w, "physical", self.physical);
        }
        w.child("target", &self.target);
        if let Some(backing) = &self.backing {
            w.child("backingStore", backing);
        }
    }

    fn schema() -> Schema {
        let text = || Content::Text(ValueKind::Text);
        Schema::new()
            .attr("type", false, <VolumeType as xml::XmlValue>::kind())
            .child("name".into(), true, false, text())
            .child("key".into(), false, false, text())
            .child("source".into(), false, false, Content::Raw)
            .child("capacity".into(), false, false, text())
            .child("allocation".into(), false, false, text())
            .child("physical".into(), false, false, text())
            .child("target".into(), false, false, Content::Element(VolumeTarget::schema))
            .child("backingStore".into(), false, false, Content::Element(VolumeTarget::schema))
    }
}

impl Xml for VolumeTarget {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let path = cx.child_text_optional::<String>(el, "path".into());
        let format = match cx.child(el, "format") {
            Some(child) => cx.attr_optional::<String>(child, "type"),
            None => Some(None),
        };
        let permissions = cx.child_optional::<Permissions>(el, "permissions".into());
        if let Some(times) = cx.child(el, "timestamps") {
            cx.use_subtree(times);
        }
        let encryption = cx.child_optional::<Encryption>(el, "encryption".into());
        let compat = read_compat(el, cx);
        let nocow = cx.flag(el, "nocow".into());
        let cluster_size = scaled(el, cx, "clusterSize");
        let features = read_features(el, cx);
        let (mut compat, features) = (compat?, features?);
        if features.is_some() && compat.is_none() {
            // Features came with this version.
            compat = Some("1.1".to_owned());
        }
        Some(Self {
            path: path?.map(|path| if path.starts_with('/') { sanitize(&path) } else { path }),
            format: format?,
            permissions: permissions?.filter(|p| !p.is_empty()),
            timestamps: None,
            encryption: encryption?,
            compat,
            nocow: nocow?,
            cluster_size: cluster_size?.filter(|size| *size != 0),
            features,
        })
    }

    fn write_attrs(&self, _: &mut Writer) {}

    fn write_children(&self, w: &mut Writer) {
        if let Some(path) = &self.path {
            w.child_text("path", path);
        }
        if let Some(format) = &self.format {
            w.start("format");
            w.attr_str("type", format);
            w.end("format");
        }
        if let Some(permissions) = &self.permissions {
            w.child("permissions", permissions);
        }
        if let Some(times) = &self.timestamps {
            w.start("timestamps");
            for (name, (seconds, nanos)) in [
                ("atime", times.accessed),
                ("mtime", times.modified),
                ("ctime", times.changed),
                ("btime", times.created),
            ] {
                let text = match nanos {
                    0 => seconds.to_string(),
                    nanos => format!("{seconds}.{nanos:09}"),
                };
                w.child_text(name, &text);
            }
            w.end("timestamps");
        }
        if let Some(encryption) = &self.encryption {
            w.child("encryption", encryption);
        }
        if let Some(compat) = &self.compat {
            w.child_text("compat", compat);
        }
        if self.nocow {
            w.empty("nocow");
        }
        if let Some(size) = self.cluster_size {
            w.start("clusterSize");
            w.attr_str("unit", "B");
            w.text(&size);
            w.end("clusterSize");
        }
        if let Some(features) = &self.features {
            w.start("features");
            for feature in features {
                w.empty(feature);
            }
            w.end("features");
        }
    }

    fn schema() -> Schema {
        let text = || Content::Text(ValueKind::Text);
        Schema::new()
            .child("path".into(), false, false, text())
            .child("format".into(), false, false, Content::Raw)
            .child("permissions".into(), false, false, Content::Element(Permissions::schema))
            .child("timestamps".into(), false, false, Content::Raw)
            .child("encryption".into(), false, false, Content::Element(Encryption::schema))
            .child("compat".into(), false, false, text())
            .child("nocow".into(), false, false, Content::Empty)
            .child("clusterSize".into(), false, false, text())
            .child("features".into(), false, false, Content::Raw)
    }
}

fn read_compat(el: Element<'_>, cx: &mut Reader) -> Option<Option<String>> {
    let compat = cx.child_text_optional::<String>(el, "compat".into())?;
    let Some(text) = compat else { return Some(None) };
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    if parts.len() == 2 && parts.iter().all(number) {
        return Some(Some(text));
    }
    let message = "forbidden characters in 'compat' attribute";
    let hints = vec!["Possible values: 0.10, 1.1.".to_owned()];
    cx.error("storage.compat", ErrorCode::XML_ERROR, el.span(), message, hints);
    None
}

fn read_features(el: Element<'_>, cx: &mut Reader) -> Option<Option<Vec<&'static str>>> {
    let Some(child) = cx.child(el, "features") else { return Some(None) };
    let mut found = Vec::new();
    for feature in child.children() {
        cx.use_element(feature);
        match FEATURES.iter().find(|name| **name == feature.name()) {
            Some(name) => found.push(*name),
            None => {
                let message = format!("unsupported feature {}", feature.name());
                let hints = match xml::closest(feature.name(), FEATURES.to_vec()) {
                    Some(name) => vec![format!("Did you mean '{name}'?")],
                    None => vec![format!("Possible values: {}.", FEATURES.join(", "))],
                };
                let (code, span) = (ErrorCode::CONFIG_UNSUPPORTED, feature.span());
                cx.error("storage.feature", code, span, message, hints);
                return None;
            }
        }
    }
    found.sort_by_key(|name| FEATURES.iter().position(|known| known == name));
    found.dedup();
    Some(Some(found))
}
