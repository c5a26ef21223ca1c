//! Disks of snapshots.

use diag::ErrorCode;
use xml::{Content, Element, Reader, Schema, Writer, Xml, XmlValue};

use crate::domain::canonical::keep_fields_of;
use crate::domain::defaults::disks::complete_ports;
use crate::domain::devices::disk::{DiskSource, MetadataCache, SnapshotMode, StorageType};
use crate::domain::scalar::scale;
use crate::domain::validate::check_image;
use crate::object::{fault, hints};

/// What became of a disk.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SnapshotDisk {
    /// Its name in the guest, or the path of its image.
    pub name: String,
    /// Where its state went.
    pub snapshot: Option<SnapshotMode>,
    /// What its new image is.
    pub kind: StorageType,
    /// Format of the new image.
    pub driver: Option<SnapshotDriver>,
    /// Whether the snapshot's image of this disk is being deleted.
    pub delete_in_progress: bool,
    /// The new image.
    pub source: Option<DiskSource>,
}

/// Format of a new image.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SnapshotDriver {
    /// The format.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Size of its cache.
    #[xml(child)]
    pub metadata_cache: Option<MetadataCache>,
}

/// Formats libvirt knows for images.
const FORMATS: &[&str] = crate::storage::FILE_FORMATS;

/// Protocols of images on the network.
const PROTOCOLS: &[&str] = &[
    "nbd", "rbd", "sheepdog", "gluster", "iscsi", "http", "https", "ftp", "ftps", "tftp", "ssh",
    "vxhs", "nfs",
];

impl SnapshotDisk {
    /// Path of the new image.
    pub fn path(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        let path = match self.kind {
            StorageType::File => &source.file,
            StorageType::Block => &source.dev,
            StorageType::Network => &source.name,
            _ => &None,
        };
        path.as_deref()
    }

    /// Whether something is said of the new image.
    fn has_image(&self) -> bool {
        self.path().is_some() || self.driver.as_ref().is_some_and(|driver| driver.kind.is_some())
    }

    pub(super) fn complete(&mut self, el: Element<'_>, cx: &mut Reader) {
        let x = ErrorCode::XML_ERROR;
        let kind = self.kind;
        if matches!(kind, StorageType::Dir | StorageType::Volume) {
            let message = format!("unsupported disk snapshot type '{kind}'");
            return fault(cx, el, "snapshot.disk-type", x, message);
        }
        if let Some(source) = &mut self.source {
            complete_source(kind, source, el, cx);
        }
        self.complete_driver(el, cx);
        if let Some(path) = self.path()
            && kind != StorageType::Network
            && !path.starts_with('/')
        {
            let message = format!("disk snapshot image path '{path}' must be absolute");
            fault(cx, el, "snapshot.disk-path", x, message);
        }
        self.source = self.source.take().filter(|source| *source != DiskSource::default());
        if self.snapshot.is_none() && self.has_image() {
            self.snapshot = Some(SnapshotMode::External);
        }
    }

    fn complete_driver(&mut self, el: Element<'_>, cx: &mut Reader) {
        let Some(driver) = &mut self.driver else { return };
        match driver.kind.as_deref() {
            None | Some("") => driver.kind = None,
            Some(kind) if kind == "none" || !FORMATS.contains(&kind) => {
                let message = format!("unknown disk snapshot driver '{kind}'");
                let code = ErrorCode::CONFIG_UNSUPPORTED;
                cx.error("snapshot.driver", code, el.span(), message, hints(kind, FORMATS));
            }
            Some(_) => {}
        }
        let size = driver.metadata_cache.as_mut().and_then(|cache| cache.max_size.as_mut());
        if let Some(size) = size {
            match scale(size.size, size.unit.as_deref(), 1) {
                Some(bytes) => {
                    size.size = bytes;
                    size.unit = Some("bytes".to_owned());
                }
                None => {
                    let unit = size.unit.as_deref().unwrap_or_default();
                    let message = format!("unknown suffix '{unit}'");
                    fault(cx, el, "snapshot.driver", ErrorCode::INVALID_ARG, message);
                }
            }
        }
        let some = |cache: &MetadataCache| cache.max_size.as_ref().is_some_and(|s| s.size > 0);
        driver.metadata_cache = driver.metadata_cache.take().filter(some);
        self.driver = self.driver.take().filter(|driver| *driver != SnapshotDriver::default());
    }
}

/// Checks a new image's place and completes it; it may be empty, and is then chosen later.
fn complete_source(kind: StorageType, source: &mut DiskSource, el: Element<'_>, cx: &mut Reader) {
    keep_fields_of(source, kind);
    source.startup_policy = None;
    source.index = None;
    source.private_data = None;
    for path in [&mut source.file, &mut source.dev, &mut source.name] {
        *path = path.take().filter(|path| !path.is_empty());
    }
    let protocol = source.protocol.as_deref().unwrap_or_default();
    if kind == StorageType::Network && !protocol.is_empty() && !PROTOCOLS.contains(&protocol) {
        let message =
            format!("Invalid value for attribute 'protocol' in element 'source': '{protocol}'.");
        let hints = hints(protocol, PROTOCOLS);
        cx.error("snapshot.protocol", ErrorCode::XML_ERROR, el.span(), message, hints);
    } else {
        for found in check_image(kind, source) {
            cx.error(found.rule, found.code, el.span(), found.message, found.hints);
        }
    }
    complete_ports(kind, source);
    let mut data = source.data_store.as_deref_mut();
    while let Some(store) = data {
        // Nothing else can hold the bytes of an image; libvirt does not look at what is written.
        if let Some(format) = &mut store.format {
            "raw".clone_into(&mut format.kind);
        }
        data = store.source.as_mut().and_then(|source| source.data_store.as_deref_mut());
    }
}

impl Xml for SnapshotDisk {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let name = cx.attr_required::<String>(el, "name");
        let snapshot = cx.attr_optional::<SnapshotMode>(el, "snapshot");
        let kind = cx.attr_optional::<StorageType>(el, "type");
        let driver = cx.child_optional::<SnapshotDriver>(el, "driver".into());
        let delete_in_progress = cx.flag(el, "snapshotDeleteInProgress".into());
        let source = cx.child_optional::<DiskSource>(el, "source".into());
        Some(Self {
            name: name?,
            snapshot: snapshot?,
            kind: kind?.unwrap_or_default(),
            driver: driver?,
            delete_in_progress: delete_in_progress?,
            source: source?,
        })
    }

    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("name", &self.name);
        if let Some(mode) = &self.snapshot {
            w.attr("snapshot", mode);
        }
        if self.has_image() {
            w.attr("type", &self.kind);
        }
    }

    fn write_children(&self, w: &mut Writer) {
        if !self.has_image() {
            return;
        }
        if self.delete_in_progress {
            w.empty("snapshotDeleteInProgress");
        }
        if let Some(driver) = &self.driver {
            w.child("driver", driver);
        }
        if let Some(source) = &self.source {
            w.child("source", source);
        }
    }

    fn schema() -> Schema {
        Schema::new()
            .attr("name", true, xml::ValueKind::Text)
            .attr("snapshot", false, SnapshotMode::kind())
            .attr("type", false, StorageType::kind())
            .child("driver".into(), false, false, Content::Element(SnapshotDriver::schema))
            .child("snapshotDeleteInProgress".into(), false, false, Content::Empty)
            .child("source".into(), false, false, Content::Element(DiskSource::schema))
    }
}
