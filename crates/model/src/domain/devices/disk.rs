//! Disks, their image chains and how they are driven.

use crate::domain::prelude::*;
use crate::domain::seclabel::DeviceSeclabel;
use crate::domain::tune::IoTune;

mod images;
mod source;

pub use images::DiskImage;
pub use source::*;

/// What the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum DiskDevice {
    /// `disk`.
    #[default]
    Disk,
    /// `cdrom`.
    Cdrom,
    /// `floppy`.
    Floppy,
    /// `lun`.
    Lun,
}

impl DiskDevice {
    /// Whether it is a drive whose medium can be taken out.
    pub fn is_removable(self) -> bool {
        matches!(self, Self::Cdrom | Self::Floppy)
    }
}

/// Where an image lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum StorageType {
    /// `file`.
    #[default]
    File,
    /// `block`.
    Block,
    /// `dir`.
    Dir,
    /// `network`.
    Network,
    /// `volume`.
    Volume,
    /// `nvme`.
    Nvme,
    /// `vhostuser`.
    Vhostuser,
    /// `vhostvdpa`.
    Vhostvdpa,
}

/// The bus of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum DiskBus {
    /// `ide`.
    #[default]
    Ide,
    /// `fdc`.
    Fdc,
    /// `scsi`.
    Scsi,
    /// `virtio`.
    Virtio,
    /// `xen`.
    Xen,
    /// `usb`.
    Usb,
    /// `uml`.
    Uml,
    /// `sata`.
    Sata,
    /// `sd`.
    Sd,
}

/// Host page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CacheMode {
    /// `none`.
    #[default]
    None,
    /// `writethrough`.
    Writethrough,
    /// `writeback`.
    Writeback,
    /// `directsync`.
    Directsync,
    /// `unsafe`.
    Unsafe,
    /// `default`.
    Default,
}

/// What happens on an I/O error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ErrorPolicy {
    /// `stop`.
    #[default]
    Stop,
    /// `report`.
    Report,
    /// `ignore`.
    Ignore,
    /// `enospace`.
    Enospace,
}

/// How QEMU does I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum IoMode {
    /// `native`.
    #[default]
    Native,
    /// `threads`.
    Threads,
    /// `io_uring`.
    #[xml(name = "io_uring")]
    IoUring,
}

/// Whether discards reach the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum DiscardMode {
    /// `unmap`.
    #[default]
    Unmap,
    /// `ignore`.
    Ignore,
}

/// Whether zero writes are detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum DetectZeroes {
    /// `off`.
    #[default]
    Off,
    /// `on`.
    On,
    /// `unmap`.
    Unmap,
}

/// How snapshots treat the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SnapshotMode {
    /// `no`.
    #[default]
    No,
    /// `internal`.
    Internal,
    /// `external`.
    External,
    /// `manual`.
    Manual,
}

/// What a missing source means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum StartupPolicy {
    /// `mandatory`.
    #[default]
    Mandatory,
    /// `requisite`.
    Requisite,
    /// `optional`.
    Optional,
}

/// Filtering of SG_IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SgIo {
    /// `filtered`.
    #[default]
    Filtered,
    /// `unfiltered`.
    Unfiltered,
}

/// BIOS translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum GeometryTrans {
    /// `none`.
    #[default]
    None,
    /// `auto`.
    Auto,
    /// `lba`.
    Lba,
}

/// Tray of a removable medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TrayState {
    /// `closed`.
    #[default]
    Closed,
    /// `open`.
    Open,
}

/// Transport of a network image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum NetworkTransport {
    /// `tcp`.
    #[default]
    Tcp,
    /// `unix`.
    Unix,
    /// `rdma`.
    Rdma,
}

/// How a pool volume is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum VolumeMode {
    /// `host`.
    #[default]
    Host,
    /// `direct`.
    Direct,
}

/// Virtio flavour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum DiskModel {
    /// `virtio`.
    #[default]
    Virtio,
    /// `virtio-transitional`.
    VirtioTransitional,
    /// `virtio-non-transitional`.
    VirtioNonTransitional,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Disk {
    /// Kind of source; always written.
    #[xml(attr, name = "type", default)]
    pub kind: StorageType,
    /// Attribute `device`.
    #[xml(attr, default)]
    pub device: DiskDevice,
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<DiskModel>,
    /// Attribute `rawio`.
    #[xml(attr)]
    pub rawio: Option<YesNo>,
    /// Attribute `sgio`.
    #[xml(attr)]
    pub sgio: Option<SgIo>,
    /// Attribute `snapshot`.
    #[xml(attr)]
    pub snapshot: Option<SnapshotMode>,
    /// Element `<driver>`.
    #[xml(child)]
    pub driver: Option<DiskDriver>,
    /// In the legacy place, before the source.
    #[xml(child)]
    pub auth: Option<Box<DiskAuth>>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<DiskSource>,
    /// Element `<backingStore>`.
    #[xml(child, name = "backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    /// Element `<backenddomain>`.
    #[xml(child)]
    pub backenddomain: Option<BackendDomain>,
    /// Element `<geometry>`.
    #[xml(child, needs = "cyls")]
    pub geometry: Option<Geometry>,
    /// Element `<blockio>`.
    #[xml(child, empty_absent)]
    pub blockio: Option<BlockIo>,
    /// Element `<mirror>`.
    #[xml(child, live_only)]
    pub mirror: Option<Box<DiskMirror>>,
    /// Element `<target>`.
    #[xml(child)]
    pub target: DiskTarget,
    /// Element `<iotune>`.
    #[xml(child)]
    pub iotune: Option<Box<IoTune>>,
    /// Element `<throttlefilters>`.
    #[xml(child)]
    pub throttlefilters: Option<ThrottleFilters>,
    /// Presence of `<readonly/>`.
    #[xml(flag)]
    pub readonly: bool,
    /// Presence of `<shareable/>`.
    #[xml(flag)]
    pub shareable: bool,
    /// Element `<transient>`.
    #[xml(child)]
    pub transient: Option<Transient>,
    /// Element `<serial>`.
    #[xml(child_text)]
    pub serial: Option<String>,
    /// Element `<wwn>`.
    #[xml(child_text)]
    pub wwn: Option<String>,
    /// Element `<vendor>`.
    #[xml(child_text)]
    pub vendor: Option<String>,
    /// Element `<product>`.
    #[xml(child_text)]
    pub product: Option<String>,
    /// In the legacy place, outside the source.
    #[xml(child)]
    pub encryption: Option<Box<Encryption>>,
    /// Element `<boot>`.
    #[xml(child)]
    pub boot: Option<DeviceBoot>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
    /// The daemon's own state; only in status files.
    #[xml(child, name = "privateData", live_only)]
    pub private_data: Option<Opaque>,
    /// Where secrets were written; only in status files.
    #[xml(child, name = "diskSecretsPlacement", live_only)]
    pub disk_secrets_placement: Option<Opaque>,
}

/// The `<driver>` of a disk.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskDriver {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Image format.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Attribute `cache`.
    #[xml(attr)]
    pub cache: Option<CacheMode>,
    /// Attribute `error_policy`.
    #[xml(attr)]
    pub error_policy: Option<ErrorPolicy>,
    /// Attribute `rerror_policy`.
    #[xml(attr)]
    pub rerror_policy: Option<ErrorPolicy>,
    /// Attribute `io`.
    #[xml(attr)]
    pub io: Option<IoMode>,
    /// Attribute `ioeventfd`.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// Attribute `event_idx`.
    #[xml(attr)]
    pub event_idx: Option<OnOff>,
    /// Attribute `copy_on_read`.
    #[xml(attr)]
    pub copy_on_read: Option<OnOff>,
    /// Attribute `discard`.
    #[xml(attr)]
    pub discard: Option<DiscardMode>,
    /// Attribute `discard_no_unref`.
    #[xml(attr)]
    pub discard_no_unref: Option<OnOff>,
    /// Attribute `iothread`.
    #[xml(attr, nonzero)]
    pub iothread: Option<u32>,
    /// Attribute `detect_zeroes`.
    #[xml(attr)]
    pub detect_zeroes: Option<DetectZeroes>,
    /// Attribute `queues`.
    #[xml(attr, zero_absent)]
    pub queues: Option<u32>,
    /// Attribute `queue_size`.
    #[xml(attr, zero_absent)]
    pub queue_size: Option<u32>,
    /// virtio
    #[xml(flatten)]
    pub virtio: VirtioDriver,
    /// Element `<iothreads>`.
    #[xml(child)]
    pub iothreads: Option<DiskIoThreads>,
    /// Element `<statistics>`.
    #[xml(child)]
    pub statistics: Option<DiskStatistics>,
    /// Element `<metadata_cache>`.
    #[xml(child)]
    pub metadata_cache: Option<MetadataCache>,
}

/// Several I/O threads of one disk.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskIoThreads {
    /// Element `<iothread>`.
    #[xml(child, name = "iothread")]
    pub threads: Vec<DiskIoThread>,
}

/// One of them and the queues it serves.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskIoThread {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Element `<queue>`.
    #[xml(child, name = "queue")]
    pub queues: Vec<DiskQueue>,
}

/// A virtqueue.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskQueue {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
}

/// Latency histograms and intervals.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskStatistics {
    /// Element `<statistic>`.
    #[xml(child, name = "statistic")]
    pub intervals: Vec<DiskStatistic>,
    /// Element `<latency-histogram>`.
    #[xml(child, name = "latency-histogram")]
    pub histograms: Vec<LatencyHistogram>,
}

/// One statistics interval, seconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskStatistic {
    /// Attribute `interval`.
    #[xml(attr)]
    pub interval: u32,
}

/// One latency histogram.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct LatencyHistogram {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Element `<bin>`.
    #[xml(child, name = "bin")]
    pub bins: Vec<HistogramBin>,
}

/// Start of a bin.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HistogramBin {
    /// Attribute `start`.
    #[xml(attr)]
    pub start: u64,
}

/// Size of qcow2's metadata cache.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MetadataCache {
    /// Element `<max_size>`.
    #[xml(child, needs_text = "")]
    pub max_size: Option<CacheSize>,
}

/// Bytes after reading.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CacheSize {
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// The text of the element.
    #[xml(text)]
    pub size: u64,
}

/// Where the image is; which fields apply depends on the type.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskSource {
    /// Kind of address (`pci`) or socket (`unix`).
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Attribute `managed`.
    #[xml(attr)]
    pub managed: Option<YesNo>,
    /// Attribute `namespace`.
    #[xml(attr)]
    pub namespace: Option<u32>,
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
    /// Attribute `pool`.
    #[xml(attr)]
    pub pool: Option<String>,
    /// Attribute `volume`.
    #[xml(attr)]
    pub volume: Option<String>,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<VolumeMode>,
    /// What the pool volume is; only while running.
    #[xml(attr, name = "actualType", live_only)]
    pub actual_type: Option<StorageType>,
    /// Attribute `file`.
    #[xml(attr, empty_absent)]
    pub file: Option<String>,
    /// Attribute `fdgroup`.
    #[xml(attr)]
    pub fdgroup: Option<String>,
    /// Attribute `dev`.
    #[xml(attr, empty_absent)]
    pub dev: Option<String>,
    /// Attribute `dir`.
    #[xml(attr, empty_absent)]
    pub dir: Option<String>,
    /// Attribute `protocol`.
    #[xml(attr, one_of = &[
        "nbd", "rbd", "sheepdog", "gluster", "iscsi", "http", "https", "ftp", "ftps", "tftp", "ssh",
        "vxhs", "nfs",
    ])]
    pub protocol: Option<String>,
    /// Attribute `name`.
    #[xml(attr, empty_absent)]
    pub name: Option<String>,
    /// Attribute `query`.
    #[xml(attr)]
    pub query: Option<String>,
    /// Attribute `tls`.
    #[xml(attr)]
    pub tls: Option<YesNo>,
    /// Attribute `tlsHostname`.
    #[xml(attr, name = "tlsHostname")]
    pub tls_hostname: Option<String>,
    /// Attribute `tlsFromConfig`.
    #[xml(attr, name = "tlsFromConfig", live_only)]
    pub tls_from_config: Option<u32>,
    /// Attribute `startupPolicy`.
    #[xml(attr, name = "startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    /// Attribute `index`.
    #[xml(attr, live_only, lenient)]
    pub index: Option<u32>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<super::super::address::PciAddress>,
    /// Element `<host>`.
    #[xml(child, name = "host")]
    pub hosts: Vec<NetworkHost>,
    /// Element `<snapshot>`.
    #[xml(child)]
    pub snapshot: Option<NamedRef>,
    /// Element `<config>`.
    #[xml(child)]
    pub config: Option<FileRef>,
    /// Element `<initiator>`.
    #[xml(child, empty_absent)]
    pub initiator: Option<Initiator>,
    /// Element `<ssl>`.
    #[xml(child, needs_text = "verify")]
    pub ssl: Option<SslVerify>,
    /// Element `<cookies>`: they open a session, so only who may see passwords sees them.
    #[xml(child, secret)]
    pub cookies: Option<Cookies>,
    /// Element `<readahead>`.
    #[xml(child, needs_text = "size", empty_absent)]
    pub readahead: Option<ReadAhead>,
    /// Element `<timeout>`.
    #[xml(child, needs_text = "seconds", empty_absent)]
    pub timeout: Option<SourceTimeout>,
    /// Element `<knownHosts>`.
    #[xml(child, name = "knownHosts")]
    pub known_hosts: Option<PathRef>,
    /// Element `<identity>`.
    #[xml(child)]
    pub identity: Option<Box<SourceIdentity>>,
    /// Element `<reconnect>`.
    #[xml(child, empty_absent)]
    pub reconnect: Option<DiskReconnect>,
    /// Element `<slices>`.
    #[xml(child)]
    pub slices: Option<Slices>,
    /// Element `<seclabel>`.
    #[xml(child, name = "seclabel")]
    pub seclabels: Vec<DeviceSeclabel>,
    /// Element `<auth>`.
    #[xml(child)]
    pub auth: Option<Box<DiskAuth>>,
    /// Element `<encryption>`.
    #[xml(child)]
    pub encryption: Option<Box<Encryption>>,
    /// Element `<reservations>`.
    #[xml(child)]
    pub reservations: Option<Box<Reservations>>,
    /// Element `<dataStore>`.
    #[xml(child, name = "dataStore")]
    pub data_store: Option<Box<DataStore>>,
    /// Element `<privateData>`.
    #[xml(child, name = "privateData", live_only)]
    pub private_data: Option<Opaque>,
}

impl DiskSource {
    /// Where the file is that holds the bytes of the image at this source.
    pub fn data_source(&self) -> Option<&DiskSource> {
        self.data_store.as_deref()?.source.as_ref()
    }
}

/// qcow2 data file.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = DataStore::check)]
pub struct DataStore {
    /// Attribute `type`.
    #[xml(attr, name = "type", fault = (ErrorCode::XML_ERROR, "unknown storage source type '{}'"))]
    pub kind: StorageType,
    /// Element `<format>`.
    #[xml(child)]
    pub format: Option<ImageFormat>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<DiskSource>,
}

impl DataStore {
    /// Its format and its place are named, even if the place is empty.
    fn check(&mut self, el: xml::Element<'_>, r: &mut xml::Reader) {
        let words = if self.format.as_ref().is_none_or(|format| format.kind.is_empty()) {
            "missing data file store format"
        } else if el.child("source").is_none() {
            "missing disk data file store source"
        } else {
            return;
        };
        let code = ErrorCode::XML_ERROR;
        r.error("domain.disk-data-store", code, el.name_span(), words, Vec::new());
    }
}

/// One layer below; empty ends the chain.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = BackingStore::check)]
pub struct BackingStore {
    /// Attribute `type`.
    #[xml(attr, name = "type", fault = (ErrorCode::XML_ERROR, "unknown storage source type '{}'"))]
    pub kind: Option<StorageType>,
    /// Attribute `index`: only a running guest's images have one, and both of its forms show it.
    #[xml(attr, lenient)]
    pub index: Option<u32>,
    /// Element `<format>`.
    #[xml(child)]
    pub format: Option<ImageFormat>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<DiskSource>,
    /// Element `<backingStore>`.
    #[xml(child, name = "backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
}

impl BackingStore {
    /// A layer that has a type says where it is.
    fn check(&mut self, el: xml::Element<'_>, r: &mut xml::Reader) {
        if self.kind.is_some() && self.format.is_some() && el.child("source").is_none() {
            let words = "missing disk backing store source";
            let code = ErrorCode::XML_ERROR;
            r.error("domain.disk-backing", code, el.name_span(), words, Vec::new());
        }
    }
}

/// Image format.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ImageFormat {
    /// Attribute `type`.
    #[xml(attr, name = "type", default)]
    pub kind: String,
    /// Element `<metadata_cache>`.
    #[xml(child)]
    pub metadata_cache: Option<MetadataCache>,
}

/// Domain that serves the backend (Xen).
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BackendDomain {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
}

/// A running block copy or commit.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskMirror {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<StorageType>,
    /// Attribute `file`.
    #[xml(attr)]
    pub file: Option<String>,
    /// Attribute `format`.
    #[xml(attr)]
    pub format: Option<String>,
    /// Attribute `job`.
    #[xml(attr)]
    pub job: Option<String>,
    /// Attribute `ready`.
    #[xml(attr)]
    pub ready: Option<String>,
    /// Element `<format>`.
    #[xml(child, name = "format")]
    pub image_format: Option<ImageFormat>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<DiskSource>,
    /// Element `<backingStore>`.
    #[xml(child, name = "backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
}

/// What the guest calls it.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskTarget {
    /// Attribute `dev`.
    #[xml(attr, missing = (ErrorCode::NO_TARGET, "missing target information for device"))]
    pub dev: String,
    /// Attribute `bus`.
    #[xml(attr)]
    pub bus: Option<DiskBus>,
    /// Attribute `tray`.
    #[xml(attr)]
    pub tray: Option<TrayState>,
    /// Attribute `removable`.
    #[xml(attr)]
    pub removable: Option<OnOff>,
    /// Attribute `rotation_rate`.
    #[xml(attr, zero_absent)]
    pub rotation_rate: Option<u32>,
}

/// BIOS geometry.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Geometry {
    /// Attribute `cyls`.
    #[xml(attr, default)]
    pub cyls: u32,
    /// Attribute `heads`.
    #[xml(attr, default)]
    pub heads: u32,
    /// Attribute `secs`.
    #[xml(attr, default)]
    pub secs: u32,
    /// Attribute `trans`.
    #[xml(attr)]
    pub trans: Option<GeometryTrans>,
}

/// Block sizes, bytes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BlockIo {
    /// Attribute `logical_block_size`.
    #[xml(attr, zero_absent)]
    pub logical_block_size: Option<u32>,
    /// Attribute `physical_block_size`.
    #[xml(attr, zero_absent)]
    pub physical_block_size: Option<u32>,
    /// Attribute `discard_granularity`.
    #[xml(attr, zero_absent)]
    pub discard_granularity: Option<u32>,
}

/// Throttle groups the disk passes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ThrottleFilters {
    /// Element `<throttlefilter>`.
    #[xml(child, name = "throttlefilter")]
    pub filters: Vec<ThrottleFilter>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ThrottleFilter {
    /// Attribute `group`.
    #[xml(attr)]
    pub group: String,
}

/// Changes are thrown away.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Transient {
    /// Attribute `shareBacking`.
    #[xml(attr, name = "shareBacking")]
    pub share_backing: Option<YesNo>,
}
