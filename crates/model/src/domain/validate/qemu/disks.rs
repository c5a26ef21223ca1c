//! Disks.

use std::collections::HashMap;

use xml::{OnOff, YesNo};

use super::super::Faults;
use super::super::core::tune::IoThreads;
use super::shares_memory;
use crate::domain::Domain;
use crate::domain::address::{self, Address, DriveAddress};
use crate::domain::defaults::target_index;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::{
    CacheMode, Disk, DiskBus, DiskDevice, DiskDriver, DiskSource, Encryption, IoMode, StorageType,
};

pub(super) fn check(d: &Domain, dev: &Devices, out: &mut Faults) {
    let guest = Guest::of(d, dev);
    for x in &dev.disks {
        one(&guest, x, out);
        if out.is_full() {
            return;
        }
    }
    let place = |a: &DriveAddress| (a.controller, a.bus, a.target, a.unit);
    let mut places = HashMap::new();
    for x in dev.disks.iter().filter(|x| x.target.bus == Some(DiskBus::Scsi)) {
        if let Some(Address::Drive(a)) = &x.address {
            places.entry(place(a)).or_insert(x);
        }
    }
    for h in &dev.hostdevs {
        let Some(Address::Drive(a)) = &h.address else { continue };
        if let Some(x) = places.get(&place(a)) {
            out.unsupported(
                "domain.disk-hostdev",
                format!(
                    "using disk target name '{}' conflicts with SCSI host device address controller='{}' bus='{}' target='{}' unit='{}",
                    x.target.dev, a.controller, a.bus, a.target, a.unit
                ),
            );
        }
    }
}

/// What disks are checked against.
struct Guest<'a> {
    threads: IoThreads,
    /// The models of the SCSI controllers, by index.
    scsi: HashMap<u32, Option<&'a str>>,
    shares_memory: bool,
}

impl<'a> Guest<'a> {
    fn of(d: &Domain, dev: &'a Devices) -> Self {
        let mut scsi = HashMap::new();
        for c in dev.controllers.iter().filter(|c| c.kind == ControllerType::Scsi) {
            if let Some(index) = c.index {
                scsi.entry(index).or_insert(c.model.as_deref());
            }
        }
        Self { threads: IoThreads::of(d), scsi, shares_memory: shares_memory(d) }
    }
}

fn one(guest: &Guest<'_>, x: &Disk, out: &mut Faults) {
    let name = &x.target.dev;
    let bus = x.target.bus.unwrap_or(DiskBus::Ide);
    let format = x.driver.as_ref().and_then(|d| d.kind.as_deref()).unwrap_or("raw");
    if x.device == DiskDevice::Cdrom && matches!(bus, DiskBus::Virtio | DiskBus::Sd) {
        out.unsupported(
            "domain.disk-cdrom",
            format!("disk type of '{name}' does not support ejectable media"),
        );
    }
    if bus == DiskBus::Usb && x.device == DiskDevice::Cdrom && x.source.is_none() {
        out.unsupported("domain.disk-usb-empty", "'usb' disk must not be empty");
    }
    if x.device == DiskDevice::Lun {
        lun(x, bus, format, out);
    }
    let partition = name.ends_with(|c: char| c.is_ascii_digit());
    if partition && target_index(name).is_some() {
        out.unsupported(
            "domain.disk-partition",
            format!("invalid disk target '{name}', partitions can't appear in disk targets"),
        );
    }
    if x.target.removable.is_some() && !matches!(bus, DiskBus::Usb | DiskBus::Scsi) {
        out.xml("domain.disk-removable", "removable is only valid for usb or scsi disks");
    }
    if x.shareable && !matches!(format, "raw" | "luks") && x.kind != StorageType::Volume {
        out.unsupported(
            "domain.disk-shareable",
            format!("shared access for disk '{name}' requires use of supported storage format"),
        );
    }
    transient(x, bus, out);
    if let Some(v) = &x.driver {
        driver(&guest.threads, x, v, out);
    }
    place(guest, x, bus, out);
    identity(x, out);
    super::disk_bus::check(x, bus, out);
    kinds(guest, x, bus, format, out);
    if x.throttlefilters.is_some() && x.iotune.is_some() {
        out.code(
            "domain.disk-throttle",
            diag::ErrorCode::OPERATION_UNSUPPORTED,
            format!(
                "block 'throttlefilters' can't be used together with 'iotune' for disk '{name}'"
            ),
        );
    }
    throttle(x, out);
    source(x, format, out);
}

fn lun(x: &Disk, bus: DiskBus, format: &str, out: &mut Faults) {
    if !matches!(bus, DiskBus::Scsi | DiskBus::Virtio) {
        out.unsupported(
            "domain.disk-lun",
            format!("disk device='lun' is not supported for bus='{}'", bus.as_str()),
        );
    }
    if format != "raw" && x.kind != StorageType::Volume {
        out.unsupported("domain.disk-lun", "disk device 'lun' must use 'raw' format");
    }
    if bus == DiskBus::Scsi && x.serial.is_some() {
        out.unsupported(
            "domain.disk-lun",
            "scsi-block 'lun' devices do not support the serial property",
        );
    }
    if x.wwn.is_some() {
        out.unsupported("domain.disk-lun", "Setting wwn is not supported for lun device");
    }
    if x.vendor.is_some() || x.product.is_some() {
        out.unsupported(
            "domain.disk-lun",
            "Setting vendor or product is not supported for lun device",
        );
    }
}

fn transient(x: &Disk, bus: DiskBus, out: &mut Faults) {
    let Some(t) = &x.transient else { return };
    let name = &x.target.dev;
    if x.readonly {
        out.unsupported(
            "domain.disk-transient",
            format!("transient disk '{name}' must not be read-only"),
        );
    } else if !matches!(x.kind, StorageType::File) {
        out.unsupported(
            "domain.disk-transient",
            format!("transient disk supported only with 'file' type ({name})"),
        );
    }
    if t.share_backing == Some(YesNo::Yes)
        && !matches!(bus, DiskBus::Usb | DiskBus::Scsi | DiskBus::Virtio)
    {
        out.unsupported(
            "domain.disk-transient",
            format!(
                "disk bus '{}' doesn't support transiend disk backing image sharing",
                bus.as_str()
            ),
        );
    }
}

/// Formats that disks may name.
const FORMATS: &[&str] = &[
    "raw", "bochs", "cloop", "dmg", "vdi", "vhd", "ploop", "fat", "cow", "qcow", "qcow2", "qed",
    "vmdk", "vpc", "dir", "iso", "auto",
];

fn driver(threads: &IoThreads, x: &Disk, v: &DiskDriver, out: &mut Faults) {
    if let Some(n) = &v.name
        && n != "qemu"
    {
        out.unsupported(
            "domain.disk-driver",
            format!("unsupported driver name '{n}' for disk '{}'", x.target.dev),
        );
    }
    match v.kind.as_deref() {
        Some("iso") => out.unsupported(
            "domain.disk-format",
            "storage format 'iso' is not directly supported by QEMU, use 'raw' instead",
        ),
        Some("dir") => out.unsupported(
            "domain.disk-format",
            "'directory' storage format is not directly supported by QEMU, use 'dir' disk type instead",
        ),
        Some("cow") => {
            out.unsupported("domain.disk-format", "'cow' storage format is not supported");
        }
        Some(k) if !FORMATS.contains(&k) => {
            out.unsupported("domain.disk-format", format!("unknown driver format value '{k}'"));
        }
        _ => {}
    }
    let direct = matches!(v.cache, Some(CacheMode::None | CacheMode::Directsync));
    if v.io == Some(IoMode::Native) && !direct {
        out.unsupported(
            "domain.disk-io",
            "io='native' needs either no disk cache or directsync cache mode",
        );
    }
    let virtio = x.target.bus == Some(DiskBus::Virtio);
    if let Some(n) = v.iothread.filter(|_| virtio).filter(|n| !threads.has(*n)) {
        out.unsupported(
            "domain.disk-iothread",
            format!("Disk iothread '{n}' not defined in iothreadid"),
        );
    }
    if x.readonly && v.copy_on_read == Some(OnOff::On) {
        out.unsupported(
            "domain.disk-copy-on-read",
            format!("copy_on_read is not compatible with read-only disk '{}'", x.target.dev),
        );
    }
    if v.discard_no_unref == Some(OnOff::On) {
        if x.readonly {
            out.unsupported(
                "domain.disk-discard",
                "'discard_no_unref' is not compatible with read-only disk",
            );
        } else if v.kind.as_deref() != Some("qcow2") {
            out.unsupported(
                "domain.disk-discard",
                "'discard_no_unref' only works with qcow2 disk format",
            );
        }
    }
    if v.metadata_cache.is_some() && v.kind.as_deref() != Some("qcow2") {
        out.unsupported(
            "domain.disk-metadata-cache",
            "metadata cache max size control is supported only with qcow2 images",
        );
    }
    mapping(threads, v, out);
}

/// I/O threads to queues.
fn mapping(threads: &IoThreads, v: &DiskDriver, out: &mut Faults) {
    let Some(map) = &v.iothreads else { return };
    let mut seen = std::collections::BTreeSet::new();
    for t in &map.threads {
        if !seen.insert(t.id) {
            let id = t.id;
            out.unsupported(
                "domain.disk-iothread",
                format!("duplicate mapping for iothread '{id}'"),
            );
        }
        if !threads.has(t.id) {
            out.unsupported(
                "domain.disk-iothread",
                format!("iothread '{}' not defined in iothreadid", t.id),
            );
        }
    }
    let with = map.threads.iter().filter(|t| !t.queues.is_empty()).count();
    if with > 0 && with < map.threads.len() {
        out.unsupported(
            "domain.disk-iothread",
            "iothread to queue mapping must be provided for all iothreads or for none",
        );
    }
    let queues = v.queues.unwrap_or(0);
    let mut used = std::collections::BTreeSet::new();
    for q in map.threads.iter().flat_map(|t| &t.queues) {
        if q.id >= queues {
            out.unsupported(
                "domain.disk-iothread",
                format!("iothread queue '{}' mapping out of range", q.id),
            );
        } else if !used.insert(q.id) {
            out.unsupported(
                "domain.disk-iothread",
                format!("iothread queue '{}' is already assigned", q.id),
            );
        }
    }
    if with > 0 && used.len() < queues as usize {
        out.unsupported("domain.disk-iothread", "missing iothread mapping for a queue");
    }
}

fn place(guest: &Guest<'_>, x: &Disk, bus: DiskBus, out: &mut Faults) {
    let Some(a) = &x.address else { return };
    let kind = address::kind(a);
    if bus == DiskBus::Virtio
        && matches!(
            kind,
            "usb" | "isa" | "spapr-vio" | "virtio-serial" | "ccid" | "dimm" | "unassigned"
        )
    {
        out.unsupported(
            "domain.disk-address",
            format!("virtio disk cannot have an address of type '{kind}'"),
        );
    }
    if bus == DiskBus::Usb && !matches!(kind, "usb" | "unassigned" | "ccw") {
        out.internal("domain.disk-address", "unexpected address type for usb disk");
    }
    let Address::Drive(a) = a else { return };
    let model = guest.scsi.get(&a.controller).copied().flatten();
    // These, too, have no targets; the place of lsilogic is checked with those of all disks.
    if bus == DiskBus::Scsi
        && a.target > 0
        && matches!(model, Some("am53c974" | "dc390" | "ncr53c90"))
    {
        out.unsupported(
            "domain.scsi",
            format!("target must be 0 for controller model '{}'", model.unwrap_or_default()),
        );
    }
}

fn identity(x: &Disk, out: &mut Faults) {
    if let Some(s) = &x.serial
        && s.chars().any(|c| !c.is_ascii_alphanumeric() && !" +-._%/".contains(c))
    {
        out.internal(
            "domain.disk-serial",
            format!("driver serial '{s}' contains unsafe characters"),
        );
    }
}

/// Kinds of storage with rules of their own.
fn kinds(guest: &Guest<'_>, x: &Disk, bus: DiskBus, format: &str, out: &mut Faults) {
    match x.kind {
        StorageType::Vhostuser => {
            if bus != DiskBus::Virtio {
                out.unsupported("domain.disk-vhostuser", "vhostuser disk supports only virtio bus");
            }
            if !guest.shares_memory {
                out.unsupported("domain.shared-memory", "'vhostuser' requires shared memory");
            }
        }
        StorageType::Vhostvdpa if !guest.shares_memory => {
            out.unsupported("domain.shared-memory", "'vhostvdpa' requires shared memory");
        }
        StorageType::Dir if format != "fat" => out.unsupported(
            "domain.disk-dir",
            "storage type 'dir' requires use of storage format 'fat'",
        ),
        StorageType::Dir if !x.readonly => out.unsupported(
            "domain.disk-dir",
            "virtual FAT storage can't be accessed in read-write mode",
        ),
        StorageType::File | StorageType::Block | StorageType::Network if format == "fat" => out
            .unsupported(
                "domain.disk-format",
                "storage format 'fat' is supported only with 'dir' storage type",
            ),
        _ => {}
    }
}

/// The greatest limit that QEMU takes.
const MOST_THROTTLE: u64 = 1_000_000_000_000_000;

fn throttle(x: &Disk, out: &mut Faults) {
    let Some(t) = &x.iotune else { return };
    let values = [
        t.total_bytes_sec,
        t.read_bytes_sec,
        t.write_bytes_sec,
        t.total_iops_sec,
        t.read_iops_sec,
        t.write_iops_sec,
        t.total_bytes_sec_max,
        t.read_bytes_sec_max,
        t.write_bytes_sec_max,
        t.total_iops_sec_max,
        t.read_iops_sec_max,
        t.write_iops_sec_max,
        t.size_iops_sec,
    ];
    if values.iter().flatten().any(|v| *v > MOST_THROTTLE) {
        out.code(
            "domain.disk-throttle",
            diag::ErrorCode::ARGUMENT_UNSUPPORTED,
            format!("block I/O throttle limit must be no more than {MOST_THROTTLE} using QEMU"),
        );
    }
    if t.group_name.is_some() && values.iter().flatten().all(|v| *v == 0) {
        out.unsupported(
            "domain.disk-throttle",
            "group_name can be configured only together with settings",
        );
    }
}

/// What holds the bytes of an image beside it.
fn data_store(source: &DiskSource, format: &str, out: &mut Faults) {
    let Some(data) = &source.data_store else { return };
    let rule = "domain.disk-data-store";
    let below = data.source.as_ref();
    if below.is_some_and(|source| source.slices.is_some()) {
        out.xml(rule, "slices are not supported for <dataStore>");
    } else if data.format.as_ref().is_some_and(|format| format.kind != "raw") {
        out.unsupported(rule, "only 'raw' images supported as <dataStore>");
    } else if format != "qcow2" {
        out.unsupported(rule, "<dataStore> feature available only with qcow2 images");
    } else if below.is_some_and(|source| source.data_store.is_some()) {
        out.xml(
            rule,
            "The <source> of <dataStore> can't have another nested <dataStore> or <backingStore> \
             element",
        );
    }
}

fn source(x: &Disk, format: &str, out: &mut Faults) {
    let Some(s) = &x.source else { return };
    for image in x.images() {
        data_store(image.source, image.format.unwrap_or("raw"), out);
    }
    let encryption = [&s.encryption, &x.encryption];
    let mut encrypted = false;
    for e in encryption.into_iter().flatten() {
        encrypted = true;
        self::encryption(e, s.protocol.as_deref(), out);
    }
    if encrypted && !matches!(format, "raw" | "qcow2" | "luks") {
        out.unsupported(
            "domain.disk-encryption",
            "encryption is supported only with 'raw' and 'qcow2' image format",
        );
    }
    if x.kind != StorageType::Network {
        return;
    }
    match s.protocol.as_deref() {
        Some("sheepdog") => out.unsupported(
            "domain.disk-protocol",
            "'sheepdog' protocol is no longer supported by any hypervisor driver",
        ),
        Some("tftp") => out.unsupported(
            "domain.disk-protocol",
            "'tftp' protocol is not supported with this QEMU binary",
        ),
        Some("nfs") if s.hosts.len() != 1 => out.unsupported(
            "domain.disk-protocol",
            "'nfs' protocol requires the usage of exactly one host",
        ),
        Some("nfs") if s.hosts.iter().any(|host| host.port.is_some()) => out
            .unsupported("domain.disk-protocol", "port cannot be specified in 'nfs' protocol host"),
        _ => {}
    }
}

fn encryption(e: &Encryption, protocol: Option<&str>, out: &mut Faults) {
    let engine = e.engine.as_deref().unwrap_or("qemu");
    if engine == "qemu" && e.secrets.len() > 1 {
        out.unsupported(
            "domain.disk-encryption",
            "qemu encryption engine expects only a single secret",
        );
    }
    match e.format.as_str() {
        "default" | "qcow" => {
            out.unsupported("domain.disk-encryption", "old qcow/qcow2 encryption is not supported")
        }
        "luks2" | "luks-any" if engine == "qemu" => {
            let format = &e.format;
            out.unsupported(
                "domain.disk-encryption",
                format!("'{format}' is currently not supported by the qemu encryption engine"),
            );
        }
        _ => {}
    }
    if engine == "librbd" && protocol != Some("rbd") {
        out.unsupported(
            "domain.disk-encryption",
            "librbd encryption is supported only with RBD backed disks",
        );
    }
}
