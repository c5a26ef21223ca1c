//! Disks of a domain: finding them, their sizes, their counters.

use crate::domain::affect::{acquire, not_running, running};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::stats::{is_remote, node_sizes};
use crate::domain::view::source_path;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::files::FileError;
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, StorageType};
use qmp::{Value, cmd};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// Sizes of a disk in bytes (`virDomainBlockInfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockInfo {
    /// What the guest sees.
    pub capacity: u64,
    /// What is in use.
    pub allocation: u64,
    /// What it takes on the host.
    pub physical: u64,
}

/// Counters of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Bytes and requests written.
    pub wr_bytes: u64,
    /// See `wr_bytes`.
    pub wr_operations: u64,
    /// Bytes and requests read.
    pub rd_bytes: u64,
    /// See `rd_bytes`.
    pub rd_operations: u64,
    /// Flushes.
    pub flush_operations: u64,
    /// Nanoseconds spent writing.
    pub wr_total_times: u64,
    /// Nanoseconds spent reading.
    pub rd_total_times: u64,
    /// Nanoseconds spent flushing.
    pub flush_total_times: u64,
    /// The end of what was ever written in this run, in bytes of the image's file.
    pub highest_offset: u64,
}

impl BlockCounters {
    /// From an entry of `query-blockstats`.
    pub(crate) fn from_json(entry: &Value) -> Self {
        let number = |name| entry.get("stats").and_then(|s| s.get(name)).and_then(Value::as_u64);
        let count = |name| number(name).unwrap_or(0);
        let file = entry.get("parent").and_then(|parent| parent.get("stats"));
        let highest = file.and_then(|stats| stats.get("wr_highest_offset")?.as_u64());
        Self {
            wr_bytes: count("wr_bytes"),
            wr_operations: count("wr_operations"),
            rd_bytes: count("rd_bytes"),
            rd_operations: count("rd_operations"),
            flush_operations: count("flush_operations"),
            wr_total_times: count("wr_total_time_ns"),
            rd_total_times: count("rd_total_time_ns"),
            flush_total_times: count("flush_total_time_ns"),
            highest_offset: highest.unwrap_or_else(|| count("wr_highest_offset")),
        }
    }

    fn add(&mut self, other: Self) {
        self.wr_bytes += other.wr_bytes;
        self.wr_operations += other.wr_operations;
        self.rd_bytes += other.rd_bytes;
        self.rd_operations += other.rd_operations;
        self.flush_operations += other.flush_operations;
        self.wr_total_times += other.wr_total_times;
        self.rd_total_times += other.rd_total_times;
        self.flush_total_times += other.flush_total_times;
    }
}

/// The disk whose target or source is `name`.
///
/// # Errors
/// libvirt's, when there is none.
pub fn disk<'a>(definition: &'a Definition, name: &str) -> Result<&'a Disk, VirError> {
    disks(definition)
        .iter()
        .find(|disk| disk.target.dev == name || source_path(disk) == Some(name))
        .ok_or_else(|| VirError::invalid_arg(format!("invalid path {name} not assigned to domain")))
}

/// The same in the words of the calls that read and change images.
///
/// # Errors
/// libvirt's, when there is none.
pub fn named_disk<'a>(definition: &'a Definition, name: &str) -> Result<&'a Disk, VirError> {
    disk(definition, name)
        .map_err(|_| VirError::invalid_arg(format!("disk '{name}' not found in domain")))
}

/// Refuses what only a disk with images of its own has; another process has this one's. `what`, with
/// its verb: "block info is".
///
/// # Errors
/// libvirt's, for a disk served over vhost-user.
pub(in crate::domain) fn has_images(disk: &Disk, what: &str) -> Result<(), VirError> {
    if disk.kind != StorageType::Vhostuser {
        return Ok(());
    }
    let text = format!("{what} not supported for vhostuser disk");
    Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text))
}

/// All disks of a definition.
pub(crate) fn disks(definition: &Definition) -> &[Disk] {
    definition.devices.as_ref().map_or(&[], |devices| &devices.disks)
}

/// The disks of a stored definition, read out of its text without reading all of it: bulk
/// statistics ask thousands of definitions for nothing else.
///
/// Relies on the layout in which we write definitions: devices stand after everything that may
/// hold foreign elements (metadata, at a place of its own before them), at a depth of four spaces.
pub(crate) fn disks_in(xml: &str) -> Vec<Disk> {
    let Some((_, mut rest)) = xml.rsplit_once("\n  <devices>") else { return Vec::new() };
    let (open, close) = ("\n    <disk ", "\n    </disk>");
    let mut disks = Vec::new();
    while let Some(start) = rest.find(open) {
        let from = rest.get(start..).unwrap_or_default();
        let Some(end) = from.find(close) else { break };
        let (text, after) = from.split_at(end + close.len());
        if let Ok(document) = xml::Document::parse(text.trim_start()) {
            disks.extend(xml::read::<Disk>(&document, "disk").value);
        }
        rest = after;
    }
    disks
}

/// The entry of `query-blockstats` about the disk with this alias.
pub(crate) fn entry_of<'a>(entries: &'a [Value], alias: &str) -> Option<&'a Value> {
    entries.iter().find(|entry| {
        // A path in QEMU's object tree, or for some devices the bare id.
        let device = entry.get("qdev").and_then(Value::as_str).unwrap_or_default();
        device.split('/').any(|part| part == alias)
    })
}

/// A disk's name on QEMU's side.
pub(crate) fn alias_of(disk: &Disk) -> &str {
    disk.alias.as_ref().map_or("", |alias| &alias.name)
}

/// What QEMU remembers of a disk that failed its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// Some error (`VIR_DOMAIN_DISK_ERROR_UNSPEC`).
    Unspecified,
    /// No room (`VIR_DOMAIN_DISK_ERROR_NO_SPACE`).
    NoSpace,
}

/// The error in an entry of `query-block`, if there is one.
fn error_in(entry: &Value) -> Option<DiskError> {
    match entry.get("io-status").and_then(Value::as_str)? {
        "ok" => None,
        "nospace" => Some(DiskError::NoSpace),
        _ => Some(DiskError::Unspecified),
    }
}

impl Engine {
    /// The disks of a running domain that have an error, by their target names.
    ///
    /// # Errors
    /// When the domain does not run, or QEMU does not answer.
    pub async fn disk_errors(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<Vec<(String, DiskError)>, VirError> {
        let job = acquire(domain, Request::QueryLive, "domblkerror", client).await?;
        let vm = running(domain)?;
        let Some(live) = domain.snapshot().live.clone() else { return Err(not_running()) };
        self.detached(async move {
            let _job = job;
            let entries = vm
                .monitor
                .execute(cmd::query_block())
                .await
                .map_err(|error| monitor_error(&error))?;
            let disks = live.definition.devices.iter().flat_map(|devices| &devices.disks);
            let found = disks.filter_map(|disk| {
                let error = error_in(entry_of(&entries, alias_of(disk))?)?;
                Some((disk.target.dev.clone(), error))
            });
            Ok(found.collect())
        })
        .await
    }

    /// Counters of one disk, or with an empty name of all together.
    ///
    /// # Errors
    /// When the domain does not run, has no such disk, or QEMU does not answer.
    pub async fn block_counters(
        &self,
        domain: &Domain,
        name: &str,
    ) -> Result<BlockCounters, VirError> {
        let vm = running(domain)?;
        let snapshot = domain.snapshot();
        let definition = snapshot.live.as_ref().map(|live| &live.definition);
        let definition = definition.ok_or_else(crate::domain::affect::not_running)?;
        let wanted: Vec<&Disk> = if name.is_empty() {
            disks(definition).iter().collect()
        } else {
            let found = disk(definition, name)
                .map_err(|_| VirError::invalid_arg(format!("invalid path: {name}")))?;
            has_images(found, "block stats are")?;
            vec![found]
        };
        let entries = vm
            .monitor
            .execute(cmd::query_blockstats())
            .await
            .map_err(|error| monitor_error(&error))?;
        let mut sum = BlockCounters::default();
        for disk in wanted {
            match entry_of(&entries, alias_of(disk)) {
                Some(entry) => sum.add(BlockCounters::from_json(entry)),
                None if name.is_empty() => {}
                None => {
                    return Err(VirError::internal(format!(
                        "cannot find statistics for device '{}'",
                        alias_of(disk)
                    )));
                }
            }
        }
        Ok(sum)
    }

    /// Sizes of one disk.
    ///
    /// # Errors
    /// When there is no such disk, it has no source, or that cannot be read.
    pub async fn block_info(&self, domain: &Domain, name: &str) -> Result<BlockInfo, VirError> {
        let remote = self.with_side(domain, 0, |definition, live| {
            let disk = disk(definition, name)?;
            has_images(disk, "block info is")?;
            Ok(is_remote(disk).then(|| (disk.clone(), live)))
        })?;
        if let Some((disk, live)) = remote {
            return remote_info(domain, &disk, live).await;
        }
        let (path, qcow2, alias, live) = self.with_side(domain, 0, |definition, live| {
            let disk = disk(definition, name)?;
            if by_descriptor(disk) {
                let text = "block info is not supported for FD passed disk image";
                return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text));
            }
            let path = source_path(disk).ok_or_else(|| {
                VirError::invalid_arg(format!(
                    "disk '{name}' does not currently have a source assigned"
                ))
            })?;
            Ok((path.to_owned(), is_qcow2(disk), alias_of(disk).to_owned(), live))
        })?;
        let look = move || {
            let device = std::fs::metadata(&path)
                .is_ok_and(|is| std::os::unix::fs::FileTypeExt::is_block_device(&is.file_type()));
            image_info(&path, qcow2).map(|info| (info, device && qcow2))
        };
        let (mut info, filled_by_qemu) = crate::blocking_in_turn(&domain.looks, look).await?;
        // Of a device that holds more than the guest's bytes, only QEMU knows how far it is filled.
        if let (true, Some(vm)) = (live && filled_by_qemu, domain.vm()) {
            let entries = vm
                .monitor
                .execute(cmd::query_blockstats())
                .await
                .map_err(|error| monitor_error(&error))?;
            let highest = entry_of(&entries, &alias)
                .map_or(0, |entry| BlockCounters::from_json(entry).highest_offset);
            if highest > 0 {
                info.allocation = highest;
            }
        }
        Ok(info)
    }
}

/// Sizes of an image that is on no file system of this host: QEMU knows them, while there is one.
async fn remote_info(domain: &Domain, disk: &Disk, live: bool) -> Result<BlockInfo, VirError> {
    let source = disk.source.as_ref();
    let protocol = source.and_then(|source| source.protocol.as_deref());
    let Some(vm) = domain.vm().filter(|_| live) else {
        let what = protocol.map(|name| format!("network files using {name} protocol"));
        let what = what.as_deref().unwrap_or("the image");
        // virsh knows this one by its domain.
        return Err(VirError::internal(format!("missing storage backend for {what}"))
            .from_domain(ErrorDomain::STORAGE));
    };
    let nodes = vm.monitor.execute(cmd::query_named_block_nodes(true)).await;
    let nodes = Value::Array(nodes.map_err(|error| monitor_error(&error))?);
    let sizes = source.and_then(|source| node_sizes(&nodes, source.index?));
    let (capacity, stored) = sizes.ok_or_else(|| {
        VirError::internal(format!("cannot find statistics for device '{}'", alias_of(disk)))
    })?;
    Ok(BlockInfo { capacity, allocation: stored, physical: stored })
}

/// QEMU has the disk's image by a descriptor that a client handed in: its path may be nobody's.
pub(super) fn by_descriptor(disk: &Disk) -> bool {
    disk.source.as_ref().is_some_and(|source| source.fdgroup.is_some())
}

/// The definition says that the disk's image is a qcow2 one.
pub(crate) fn is_qcow2(disk: &Disk) -> bool {
    disk.driver.as_ref().is_some_and(|driver| driver.kind.as_deref() == Some("qcow2"))
}

/// Sizes of an image that is not asked about through QEMU. May block.
///
/// # Errors
/// When it cannot be opened or read.
pub(crate) fn image_info(path: &str, qcow2: bool) -> Result<BlockInfo, VirError> {
    read_image(Path::new(path), qcow2).map_err(|source| {
        let error = FileError { action: "open", path: path.into(), source };
        VirError::new(diag::ErrorCode::SYSTEM_ERROR, error.to_string())
    })
}

fn read_image(path: &Path, qcow2: bool) -> std::io::Result<BlockInfo> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let (length, used) = if metadata.file_type().is_block_device() {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        (length, length)
    } else {
        (metadata.len(), metadata.blocks().saturating_mul(512))
    };
    let capacity = if qcow2 {
        let mut header = Vec::with_capacity(32);
        file.take(32).read_to_end(&mut header)?;
        qcow2_size(&header).unwrap_or(length)
    } else {
        length
    };
    Ok(BlockInfo { capacity, allocation: used, physical: length })
}

/// The guest's size in a qcow2 header (bytes 24 to 31, big endian).
fn qcow2_size(header: &[u8]) -> Option<u64> {
    if !header.starts_with(b"QFI\xfb") {
        return None;
    }
    let bytes: [u8; 8] = header.get(24..32)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_path_or_bare_id() {
        let entries = vec![
            serde_json::json!({"qdev": "/machine/peripheral/virtio-disk10/virtio-backend"}),
            serde_json::json!({"qdev": "/machine/peripheral/virtio-disk1/virtio-backend"}),
            serde_json::json!({"qdev": "ide0-0-0"}),
            serde_json::json!({}),
        ];
        for (alias, expected) in [
            ("virtio-disk1", Some(1)),
            ("virtio-disk10", Some(0)),
            ("ide0-0-0", Some(2)),
            ("x", None),
        ] {
            let found = entry_of(&entries, alias);
            assert_eq!(found, expected.map(|index: usize| &entries[index]), "{alias}");
        }
    }

    #[test]
    fn disks_are_read_out_of_the_text() {
        let written = "<domain type='qemu'><name>x</name><memory>1024</memory>\
            <metadata><d:disk xmlns:d='urn:d' type='file'><d:target dev='no'/></d:disk></metadata>\
            <os><type>hvm</type></os><devices><disk type='file'><driver name='qemu' type='qcow2'/>\
            <source file='/a&amp;b'/><target dev='vda' bus='virtio'/></disk>\
            <disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk></devices></domain>";
        let options = model::domain::ParseOptions::default();
        let definition = model::domain::parse(written, options).domain.expect("a definition");
        let text = model::domain::format(&definition, model::domain::FormatFlags::default());
        let found = disks_in(&text);
        assert_eq!(found, disks(&definition), "{text}");
        assert_eq!(found.len(), 2);
        assert_eq!(disks_in("<domain/>"), []);
        assert_eq!(disks_in("\n  <devices>\n    <disk type='file'>"), []);
    }

    #[test]
    fn sizes_of_images() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        let mut header = b"QFI\xfb\0\0\0\x03".to_vec();
        header.resize(24, 0);
        header.extend((1_u64 << 26).to_be_bytes());
        std::fs::write(&path, &header).expect("written");
        let info = read_image(&path, true).expect("read");
        assert_eq!((info.capacity, info.physical), (1 << 26, 32));
        let info = read_image(&path, false).expect("read");
        assert_eq!(info.capacity, 32);
        std::fs::write(&path, b"QFI").expect("written");
        assert_eq!(read_image(&path, true).expect("read").capacity, 3);
        assert!(image_info("/nowhere/at/all", false).is_err());
    }

    #[test]
    fn errors_of_disks() {
        for (entry, expected) in [
            (serde_json::json!({}), None),
            (serde_json::json!({ "io-status": "ok" }), None),
            (serde_json::json!({ "io-status": "nospace" }), Some(DiskError::NoSpace)),
            (serde_json::json!({ "io-status": "failed" }), Some(DiskError::Unspecified)),
        ] {
            assert_eq!(error_in(&entry), expected, "{entry}");
        }
    }
}
