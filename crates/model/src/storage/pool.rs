//! Storage pools.

use diag::{Diagnostic, ErrorCode, Severity};
use units::Uuid;
use xml::{Document, Element, Parsed, Reader, WriteOptions, Xml, XmlEnum, YesNo};

use super::path::sanitize;
use super::permissions::Permissions;
use super::size::Size;
use super::source::{Adapter, AdapterType, Auth, DirPath, Source, Typed};
use super::types::{PoolType, TargetRule};
use crate::object::{self, Rest};

/// A storage pool.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Pool {
    /// What kind of pool.
    #[xml(attr, name = "type")]
    pub kind: PoolType,
    /// Its name; never empty after [`Pool::parse`].
    #[xml(child_text, default)]
    pub name: String,
    /// Its UUID; one is made when there is none.
    #[xml(with = uuid_element)]
    pub uuid: Option<Uuid>,
    /// Size, found out.
    #[xml(child, default)]
    pub capacity: Size,
    /// Used space, found out.
    #[xml(child, default)]
    pub allocation: Size,
    /// Free space, found out.
    #[xml(child, default)]
    pub available: Size,
    /// Features.
    #[xml(child)]
    pub features: Option<Features>,
    /// Where the storage comes from.
    #[xml(with = source_element)]
    pub source: Source,
    /// Where volumes appear.
    #[xml(with = target_element)]
    pub target: Option<PoolTarget>,
    /// How volumes are measured.
    #[xml(child)]
    pub refresh: Option<Refresh>,
    /// Options of mount.
    #[xml(
        child,
        name = "mount_opts",
        ns = "http://libvirt.org/schemas/storagepool/fs/1.0",
        prefix = "fs"
    )]
    pub mount_options: Option<MountOptions>,
    /// Options of Ceph.
    #[xml(
        child,
        name = "config_opts",
        ns = "http://libvirt.org/schemas/storagepool/rbd/1.0",
        prefix = "rbd"
    )]
    pub config_options: Option<ConfigOptions>,
}

/// What a pool can be told to do.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Features {
    /// Copy on write of the file system.
    #[xml(child)]
    pub cow: Option<Cow>,
}

/// Whether a folder's files are copied on write.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Cow {
    /// On or off.
    #[xml(attr)]
    pub state: Option<YesNo>,
}

/// Where volumes appear.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct PoolTarget {
    /// A folder.
    #[xml(child_text)]
    pub path: Option<String>,
    /// Its permissions.
    #[xml(child)]
    pub permissions: Option<Permissions>,
}

/// How volumes are measured.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Refresh {
    /// Of each volume.
    #[xml(child)]
    pub volume: Option<RefreshVolume>,
}

/// How a volume is measured.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct RefreshVolume {
    /// `default` or `capacity`.
    #[xml(attr)]
    pub allocation: Option<String>,
}

/// Options of mount.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct MountOptions {
    /// Each as given to `mount -o`.
    #[xml(
        child,
        name = "option",
        ns = "http://libvirt.org/schemas/storagepool/fs/1.0",
        prefix = "fs"
    )]
    pub options: Vec<MountOption>,
}

/// An option of mount.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct MountOption {
    /// Its text.
    #[xml(attr)]
    pub name: Option<String>,
}

/// Options of Ceph.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ConfigOptions {
    /// Each with its value.
    #[xml(
        child,
        name = "option",
        ns = "http://libvirt.org/schemas/storagepool/rbd/1.0",
        prefix = "rbd"
    )]
    pub options: Vec<ConfigOption>,
}

/// An option of Ceph.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ConfigOption {
    /// Its name.
    #[xml(attr)]
    pub name: Option<String>,
    /// Its value.
    #[xml(attr)]
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
enum RefreshAllocation {
    Default,
    Capacity,
}

/// `<uuid>`, with libvirt's words for a bad one.
mod uuid_element {
    use units::Uuid;
    use xml::{Content, Element, Reader, Schema, ValueKind, Writer};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<Uuid>> {
        let Some(child) = cx.child(el, "uuid") else { return Some(None) };
        let text = child.string_value();
        if text.is_empty() {
            return Some(None);
        }
        match text.parse::<Uuid>() {
            Ok(uuid) => Some(Some(uuid)),
            Err(_) => {
                let hints = vec!["A UUID is 32 hexadecimal digits.".to_owned()];
                let (code, span) = (diag::ErrorCode::XML_ERROR, child.span());
                cx.error("storage.uuid", code, span, "malformed uuid element", hints);
                None
            }
        }
    }
    pub fn write_attrs(_: &Option<Uuid>, _: &mut Writer) {}
    pub fn write_children(uuid: &Option<Uuid>, w: &mut Writer) {
        if let Some(uuid) = uuid {
            w.child_text("uuid", &uuid.to_string());
        }
    }
    pub fn schema() -> Schema {
        Schema::new().child("uuid".into(), false, false, Content::Text(ValueKind::Named("UUID")))
    }
}

/// `<source>`, which libvirt always writes, and never in the short form.
mod source_element {
    use super::Source;
    use xml::{Content, Element, Reader, Schema, Writer, Xml};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Source> {
        cx.child_optional::<Source>(el, "source".into()).map(Option::unwrap_or_default)
    }
    pub fn write_attrs(_: &Source, _: &mut Writer) {}
    pub fn write_children(source: &Source, w: &mut Writer) {
        w.start("source");
        if *source == Source::default() {
            let mut end = String::from("\n");
            end.extend(std::iter::repeat_n("  ", w.options().indent + 1));
            w.text_str(&end);
        } else {
            source.write_children(w);
        }
        w.end("source");
    }
    pub fn schema() -> Schema {
        Schema::new().child("source".into(), false, false, Content::Element(Source::schema))
    }
}

/// `<target>`, over which libvirt reads where a pool's type has none.
mod target_element {
    use super::{PoolTarget, PoolType, TargetRule};
    use xml::{Content, Element, Reader, Schema, Writer, Xml};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<PoolTarget>> {
        let kind = el.attr("type").and_then(|kind| kind.parse::<PoolType>().ok());
        if kind.is_some_and(|kind| kind.target() == TargetRule::None) {
            if let Some(child) = cx.child(el, "target") {
                cx.use_subtree(child);
            }
            return Some(None);
        }
        cx.child_optional::<PoolTarget>(el, "target".into())
    }
    pub fn write_attrs(_: &Option<PoolTarget>, _: &mut Writer) {}
    pub fn write_children(target: &Option<PoolTarget>, w: &mut Writer) {
        if let Some(target) = target {
            w.child("target", target);
        }
    }
    pub fn schema() -> Schema {
        let content = Content::Element(<PoolTarget as Xml>::schema);
        Schema::new().child("target".into(), false, false, content)
    }
}

/// Collects what is wrong with a pool that was read.
struct Faults<'a> {
    found: Vec<Diagnostic>,
    root: Element<'a>,
    /// Names of the elements that the next fault concerns, from the root on.
    at: &'static [&'static str],
}

impl Faults<'_> {
    /// The next fault concerns what stands here.
    fn at(&mut self, path: &'static [&'static str]) -> &mut Self {
        self.at = path;
        self
    }
    fn xml(&mut self, message: impl Into<String>) {
        self.push(ErrorCode::XML_ERROR, message.into(), Vec::new());
    }
    fn unsupported(&mut self, message: String, word: &str, words: &[&'static str]) {
        let hints = match xml::closest(word, words.to_vec()) {
            Some(name) => vec![format!("Did you mean '{name}'?")],
            None => vec![format!("Possible values: {}.", words.join(", "))],
        };
        self.push(ErrorCode::CONFIG_UNSUPPORTED, message, hints);
    }
    fn push(&mut self, code: ErrorCode, message: String, hints: Vec<String>) {
        let mut el = self.root;
        // What is not there is missing from what is around it.
        for name in self.at {
            match el.child(name) {
                Some(child) => el = child,
                None => break,
            }
        }
        self.found.push(Diagnostic {
            rule: match self.at {
                ["name", ..] => "storage.pool-name",
                ["target", ..] => "storage.pool-target",
                _ => "storage.pool",
            },
            severity: Severity::Error,
            code,
            span: Some(el.span()),
            message,
            domain: None,
            hints,
        });
    }
}

/// What a pool is without some of its parts.
const REST: Rest = Rest {
    attrs: &[("type", "dir")],
    children: &[("name", "<name>unnamed</name>")],
    asks: &[
        ("storage.pool", &["@type", "source"]),
        ("storage.pool-name", &["@type", "name", "source"]),
        ("storage.pool-target", &["@type", "target", "source"]),
    ],
};

impl Pool {
    /// Reads a pool's XML: all faults at once, defaults filled in, what its type has no use for
    /// dropped.
    pub fn parse(text: &str) -> Parsed<Self> {
        object::with_rest(text, &REST, Self::read_text)
    }

    fn read_text(text: &str) -> Parsed<Self> {
        let doc = match Document::parse(text) {
            Ok(doc) => doc,
            Err(diagnostics) => return Parsed { value: None, diagnostics },
        };
        Self::read_root(&doc, doc.root())
    }

    /// Reads the pool out of a state file: `<poolstate>` around `<pool>`.
    pub fn parse_state(text: &str) -> Parsed<Self> {
        let doc = match Document::parse(text) {
            Ok(doc) => doc,
            Err(diagnostics) => return Parsed { value: None, diagnostics },
        };
        let pool = doc.root().child("pool").filter(|_| doc.root().is("poolstate", None));
        Self::read_root(&doc, pool.unwrap_or(doc.root()))
    }

    fn read_root(doc: &Document<'_>, root: Element<'_>) -> Parsed<Self> {
        if !root.is("pool", None) {
            let mut cx = Reader::new(doc);
            let message = format!("expecting root element of 'pool', not '{}'", root.name());
            let (code, span) = (ErrorCode::XML_ERROR, root.name_span());
            cx.error("xml.root", code, span, message, Vec::new());
            return Parsed { value: None, diagnostics: cx.finish() };
        }
        let mut parsed = xml::read_element::<Self>(root);
        if let Some(mut pool) = parsed.value.take() {
            let mut faults = Faults { found: Vec::new(), root, at: &[] };
            pool.complete(&mut faults);
            if faults.found.is_empty() {
                parsed.value = Some(pool);
            }
            parsed.diagnostics.extend(faults.found);
        }
        parsed
    }

    /// The XML, the outermost element on level `indent`.
    pub fn to_xml(&self, indent: usize) -> String {
        xml::write(self, "pool", &WriteOptions { indent, ..WriteOptions::default() })
    }

    /// The state file's content.
    pub fn to_state_xml(&self) -> String {
        format!("<poolstate>\n{}</poolstate>\n", self.to_xml(1))
    }

    /// The folder where volumes appear, if it has one.
    pub fn target_path(&self) -> Option<&str> {
        self.target.as_ref()?.path.as_deref()
    }

    /// Fills in defaults, checks what must be there, drops what the type has no use for.
    fn complete(&mut self, faults: &mut Faults<'_>) {
        let kind = self.kind;
        self.complete_source(faults);
        let no_rbd_name = kind == PoolType::Rbd && self.source.name.is_none();
        if self.name.is_empty() {
            self.name = self.source.name.clone().unwrap_or_default();
        }
        if self.name.is_empty() {
            faults.at(&["name"]).xml("missing pool source name element");
        }
        if self.name.contains('\n') {
            let message = "invalid char in name: \n".to_owned();
            faults.at(&["name"]).push(ErrorCode::XML_DETAIL, message, Vec::new());
        }
        if self.name.contains('/') {
            faults.at(&["name"]).xml(format!("name {} cannot contain '/'", self.name));
        }
        let has_cow =
            |features: &Features| features.cow.as_ref().is_some_and(|c| c.state.is_some());
        self.features = self.features.take().filter(has_cow);
        if self.features.is_some() && !matches!(self.kind, PoolType::Dir | PoolType::Fs) {
            let message = "cow feature may only be used for 'fs' and 'dir' pools".to_owned();
            faults.at(&["features", "cow"]).push(ErrorCode::NO_SUPPORT, message, Vec::new());
        }
        let rule = kind.source();
        if rule.name && self.source.name.is_none() {
            self.source.name = Some(self.name.clone());
        }
        if rule.host && self.source.hosts.is_empty() {
            faults.at(&["source"]).xml("missing storage pool source host name");
        }
        if no_rbd_name {
            faults.at(&["source"]).xml("element 'name' is mandatory for RBD pool");
        }
        if kind == PoolType::Netfs && self.source.dir.is_none() {
            faults.at(&["source"]).xml("missing storage pool source path");
        }
        if rule.adapter {
            self.check_adapter(faults.at(&["source", "adapter"]));
        }
        let no_initiator =
            self.source.initiator.as_ref().and_then(|i| i.iqn.as_ref()?.name.as_ref()).is_none();
        if kind == PoolType::IscsiDirect && no_initiator {
            let message = "missing initiator IQN".to_owned();
            faults.at(&["source", "initiator"]).push(
                ErrorCode::CONFIG_UNSUPPORTED,
                message,
                Vec::new(),
            );
        }
        if rule.device_required && self.source.devices.is_empty() {
            faults.at(&["source"]).xml("missing storage pool source device name");
        }
        self.complete_target(faults);
        self.complete_extras(faults);
        self.drop_unused();
    }

    fn complete_source(&mut self, faults: &mut Faults<'_>) {
        let kind = self.kind;
        let source = &mut self.source;
        source.name = source.name.take().filter(|name| !name.is_empty());
        match kind.source_formats() {
            None => source.format = None,
            Some((default, formats)) => {
                let given = source.format.take().and_then(|format| format.kind);
                let format = given.unwrap_or_else(|| default.to_owned());
                if !formats.contains(&format.as_str()) {
                    let message = format!("unknown pool format type {format}");
                    faults.at(&["source", "format"]).unsupported(message, &format, formats);
                }
                source.format = Some(Typed { kind: Some(format) });
            }
        }
        if source.hosts.iter().any(|host| host.name.is_none()) {
            faults.at(&["source", "host"]).xml("missing storage pool host name");
        }
        for host in &mut source.hosts {
            // Port 0 is libvirt's "none".
            host.port = host.port.filter(|port| *port != 0);
        }
        if source.devices.iter().any(|device| device.path.is_none()) {
            faults.at(&["source", "device"]).xml("missing storage pool source device path");
        }
        if let Some(path) = source.dir.take().and_then(|dir| dir.path) {
            source.dir = Some(DirPath { path: Some(sanitize(&path)) });
        } else if kind == PoolType::Gluster {
            source.dir = Some(DirPath { path: Some("/".to_owned()) });
        }
        if let Some(auth) = &mut source.auth {
            check_auth(auth, faults.at(&["source", "auth"]));
        }
        if let Some(adapter) = &source.adapter {
            read_adapter(adapter, faults.at(&["source", "adapter"]));
        }
        source.protocol = source.protocol.take().filter(|protocol| protocol.ver.is_some());
        source.vendor = source.vendor.take().filter(|vendor| vendor.name.is_some());
        source.product = source.product.take().filter(|product| product.name.is_some());
        source.initiator = source
            .initiator
            .take()
            .filter(|i| i.iqn.as_ref().is_some_and(|iqn| iqn.name.is_some()));
    }

    fn check_adapter(&mut self, faults: &mut Faults<'_>) {
        let Some(adapter) = &mut self.source.adapter else {
            return faults.xml("missing storage pool source adapter");
        };
        let kind = match adapter.kind {
            Some(kind) => kind,
            None => {
                if adapter.name.is_none() {
                    return faults.xml("missing storage pool source adapter");
                }
                adapter.kind = Some(AdapterType::ScsiHost);
                AdapterType::ScsiHost
            }
        };
        match kind {
            AdapterType::ScsiHost => {
                match &adapter.parent_addr {
                    None if adapter.name.is_none() => {
                        return faults.xml(
                            "Either 'name' or 'parent' must be specified for the 'scsi_host' \
                             adapter",
                        );
                    }
                    Some(addr) if addr.address.is_none() => {
                        return faults.xml("Missing scsi_host PCI address element");
                    }
                    Some(_) if adapter.name.is_some() => {
                        return faults.xml(
                            "Both 'name' and 'parent' cannot be specified for the 'scsi_host' \
                             adapter",
                        );
                    }
                    _ => {}
                }
                let place = adapter.parent_addr.as_ref().and_then(|addr| addr.address.as_ref());
                if let Some((what, value, max)) = place.and_then(|place| place.excess()) {
                    faults.xml(format!(
                        "Invalid PCI address {what}='0x{value:x}', must be <= 0x{max:X}"
                    ));
                }
                adapter.parent = None;
                adapter.parent_wwnn = None;
                adapter.parent_wwpn = None;
                adapter.parent_fabric_wwn = None;
                adapter.managed = None;
                adapter.wwnn = None;
                adapter.wwpn = None;
            }
            AdapterType::FcHost => {
                if adapter.wwnn.is_none() || adapter.wwpn.is_none() {
                    return faults
                        .xml("'wwnn' and 'wwpn' must be specified for adapter type 'fchost'");
                }
                let pair = match (&adapter.parent_wwnn, &adapter.parent_wwpn) {
                    (Some(wwnn), None) => Some(("wwnn", wwnn, "wwpn")),
                    (None, Some(wwpn)) => Some(("wwpn", wwpn, "wwnn")),
                    _ => None,
                };
                if let Some((given, value, missing)) = pair {
                    return faults.xml(format!(
                        "when providing parent_{given}='{value}', the parent_{missing} must also be \
                         provided"
                    ));
                }
                let names = [
                    &adapter.wwnn,
                    &adapter.wwpn,
                    &adapter.parent_wwnn,
                    &adapter.parent_wwpn,
                    &adapter.parent_fabric_wwn,
                ];
                for wwn in names.into_iter().flatten() {
                    if wwn.len() != 16 || !wwn.bytes().all(|c| c.is_ascii_hexdigit()) {
                        let message = format!("Malformed wwn: {wwn}");
                        faults.push(ErrorCode::INTERNAL_ERROR, message, Vec::new());
                    }
                }
                adapter.name = None;
                adapter.parent_addr = None;
            }
        }
    }

    fn complete_target(&mut self, faults: &mut Faults<'_>) {
        match self.kind.target() {
            TargetRule::None => self.target = None,
            TargetRule::Below(folder) => {
                let name = self.source.name.as_deref().unwrap_or(&self.name);
                let path = format!("{folder}/{name}");
                self.target.get_or_insert_default().path = Some(path);
            }
            TargetRule::Given => {
                let target = self.target.get_or_insert_default();
                match target.path.take().filter(|path| !path.is_empty()) {
                    Some(path) => target.path = Some(sanitize(&path)),
                    None => faults.at(&["target"]).xml("missing storage pool target path"),
                }
            }
        }
        if let Some(target) = &mut self.target {
            target.permissions = target.permissions.take().filter(|p| !p.is_empty());
        }
    }

    fn complete_extras(&mut self, faults: &mut Faults<'_>) {
        let refresh = self
            .refresh
            .take()
            .filter(|r| r.volume.as_ref().is_some_and(|volume| volume.allocation.is_some()));
        if let Some(word) = refresh.as_ref().and_then(|r| r.volume.as_ref()?.allocation.as_ref())
            && word.parse::<RefreshAllocation>().is_err()
        {
            let message = format!("unknown storage pool volume refresh allocation type {word}");
            faults.at(&["refresh", "volume"]).unsupported(message, word, &["default", "capacity"]);
        }
        self.refresh = refresh;
        let mounted = matches!(self.kind, PoolType::Fs | PoolType::Netfs);
        self.mount_options = self.mount_options.take().filter(|m| mounted && !m.options.is_empty());
        if self.mount_options.iter().flat_map(|m| &m.options).any(|o| o.name.is_none()) {
            faults.at(&["mount_opts"]).xml("no fs mount option name specified");
        }
        let ceph = self.kind == PoolType::Rbd;
        self.config_options = self.config_options.take().filter(|c| ceph && !c.options.is_empty());
        let options = self.config_options.iter().flat_map(|c| &c.options);
        for option in options {
            if option.name.is_none() {
                faults.at(&["config_opts"]).xml("no rbd option name specified");
            } else if option.value.is_none() {
                faults.at(&["config_opts"]).xml("no rbd option value specified");
            }
        }
    }

    fn drop_unused(&mut self) {
        let rule = self.kind.source();
        let source = &mut self.source;
        if !rule.host {
            source.hosts.clear();
        }
        if !rule.device {
            source.devices.clear();
        }
        if !rule.dir {
            source.dir = None;
        }
        if !rule.adapter {
            source.adapter = None;
        }
        if !rule.name {
            source.name = None;
        }
        if !rule.initiator {
            source.initiator = None;
        }
    }
}

/// What an adapter must say, whether or not the type of pool has any use for it.
fn read_adapter(adapter: &Adapter, faults: &mut Faults<'_>) {
    let needs = |what: &str| format!("Use of {what} requires use of the adapter 'type'");
    match (adapter.kind, &adapter.parent_addr) {
        (None, _)
            if adapter.wwnn.is_some() || adapter.wwpn.is_some() || adapter.parent.is_some() =>
        {
            faults.xml(needs("'wwnn', 'wwpn', and 'parent' attributes"));
        }
        (None, Some(_)) => faults.xml(needs("'parentaddr' element")),
        (Some(AdapterType::ScsiHost), Some(addr)) if addr.unique_id.is_none() => {
            faults.xml("Missing or invalid scsi adapter 'unique_id' value");
        }
        _ => {}
    }
}

fn check_auth(auth: &mut Auth, faults: &mut Faults<'_>) {
    if auth.username.is_none() {
        return faults.xml("missing username for auth");
    }
    if let Some(other) = auth.kind.as_deref()
        && !matches!(other, "none" | "chap" | "ceph")
    {
        let message = format!("unknown auth type '{other}'");
        return faults.unsupported(message, other, &["chap", "ceph"]);
    }
    let Some(secret) = &mut auth.secret else {
        return faults.xml("Missing <secret> element in auth");
    };
    match (&mut secret.uuid, &secret.usage) {
        (None, None) => return faults.xml("missing secret uuid or usage attribute"),
        (Some(_), Some(_)) => return faults.xml("either secret uuid or usage expected"),
        (Some(uuid), None) => match uuid.parse::<Uuid>() {
            Ok(parsed) => *uuid = parsed.to_string(),
            Err(_) => return faults.xml(format!("invalid secret uuid '{uuid}'")),
        },
        (None, Some(_)) => {}
    }
    if matches!(auth.kind.as_deref(), Some("none") | None) {
        let message = "storage pool missing auth type".to_owned();
        faults.push(ErrorCode::CONFIG_UNSUPPORTED, message, Vec::new());
    }
}
