//! Disks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use diag::ErrorCode;

use super::Faults;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::defaults::target_index;
use crate::domain::devices::Devices;
use crate::domain::devices::disk::{CacheMode, Disk, DiskBus, DiskDevice, IoMode, StorageType};

pub(super) fn check(d: &Domain, dev: &Devices, out: &mut Faults) {
    // Not every pair is looked at: a document may have ten thousands of disks.
    let mut targets = HashMap::new();
    let mut places = HashMap::new();
    let mut wwns = HashMap::new();
    for (i, x) in dev.disks.iter().enumerate() {
        one(d, x, out);
        if out.is_full() {
            return;
        }
        let place = match &x.address {
            Some(Address::Drive(a)) => {
                let bus = x.target.bus.map(|bus| bus as u32);
                first(&mut places, (bus, a.controller, a.bus, a.target, a.unit), i)
            }
            _ => None,
        };
        let target = first(&mut targets, x.target.dev.as_str(), i);
        let wwn = x.wwn.as_ref().and_then(|wwn| first(&mut wwns, wwn.as_str(), i));
        let mut others: Vec<usize> = [target, place, wwn].into_iter().flatten().collect();
        others.sort_unstable();
        others.dedup();
        for other in others {
            if let Some(y) = dev.disks.get(other) {
                pair(x, y, out);
            }
        }
    }
}

/// The first that had `key`, or nobody, and then it is `i`.
fn first<K: Hash + Eq>(seen: &mut HashMap<K, usize>, key: K, i: usize) -> Option<usize> {
    match seen.entry(key) {
        Entry::Occupied(entry) => Some(*entry.get()),
        Entry::Vacant(entry) => {
            entry.insert(i);
            None
        }
    }
}

fn name_of_source(x: &Disk) -> &str {
    let s = x.source.as_ref();
    s.and_then(|s| {
        s.file.as_deref().or(s.dev.as_deref()).or(s.dir.as_deref()).or(s.name.as_deref())
    })
    .unwrap_or("(null)")
}

fn pair(x: &Disk, y: &Disk, out: &mut Faults) {
    if x.target.dev == y.target.dev {
        out.xml(
            "domain.disk-duplicate-target",
            format!(
                "target '{}' duplicated for disk sources '{}' and '{}'",
                x.target.dev,
                name_of_source(y),
                name_of_source(x)
            ),
        );
    }
    if x.target.bus == y.target.bus
        && let (Some(Address::Drive(a)), Some(Address::Drive(b))) = (&x.address, &y.address)
        && a == b
    {
        out.unsupported(
            "domain.disk-duplicate-address",
            format!(
                "Found duplicate drive address for disk with target name '{}' controller='{}' bus='{}' target='{}' unit='{}'",
                y.target.dev, a.controller, a.bus, a.target, a.unit
            ),
        );
    }
    if let (Some(w), Some(v)) = (&x.wwn, &y.wwn)
        && w == v
    {
        out.xml(
            "domain.disk-duplicate-wwn",
            format!("Disks '{}' and '{}' have identical WWN", y.target.dev, x.target.dev),
        );
    }
}

fn one(d: &Domain, x: &Disk, out: &mut Faults) {
    let dev = &x.target.dev;
    let bus = x.target.bus.unwrap_or(DiskBus::Ide);
    let removable = matches!(x.device, DiskDevice::Cdrom | DiskDevice::Floppy);
    if x.source.is_none() && !removable {
        out.code(
            "domain.disk-source",
            ErrorCode::NO_SOURCE,
            format!("missing source information for device {dev}"),
        );
    }
    match x.device {
        DiskDevice::Floppy if bus != DiskBus::Fdc => out.internal(
            "domain.disk-bus",
            format!("Invalid bus type '{}' for floppy disk", bus.as_str()),
        ),
        DiskDevice::Disk | DiskDevice::Lun if bus == DiskBus::Fdc => {
            out.internal("domain.disk-bus", "Invalid bus type 'fdc' for disk")
        }
        DiskDevice::Cdrom if matches!(bus, DiskBus::Virtio | DiskBus::Sd) => out.unsupported(
            "domain.disk-cdrom",
            format!("disk type of '{dev}' does not support ejectable media"),
        ),
        _ => {}
    }
    if bus == DiskBus::Usb && x.device == DiskDevice::Cdrom && x.source.is_none() {
        out.unsupported("domain.disk-usb-empty", "'usb' disk must not be empty");
    }
    let partition = dev.ends_with(|c: char| c.is_ascii_digit());
    if partition && target_index(dev).is_some() && x.device != DiskDevice::Cdrom {
        out.unsupported(
            "domain.disk-partition",
            format!("invalid disk target '{dev}', partitions can't appear in disk targets"),
        );
    }
    if target_index(dev).is_none() {
        out.xml(
            "domain.disk-target",
            format!("Unknown disk name '{dev}' and no address specified"),
        );
    }
    if x.device == DiskDevice::Lun
        && !matches!(x.kind, StorageType::Block | StorageType::Network | StorageType::Volume)
    {
        out.unsupported(
            "domain.disk-lun",
            "disk device='lun' is only valid for block type disk source",
        );
    }
    driver(d, x, out);
    address(x, bus, out);
    identity(x, bus, out);
    if x.transient.is_some() && x.readonly {
        out.unsupported(
            "domain.disk-transient",
            format!("transient disk '{dev}' must not be read-only"),
        );
    }
    if x.throttlefilters.is_some() && x.iotune.is_some() {
        out.code(
            "domain.disk-throttle",
            ErrorCode::OPERATION_UNSUPPORTED,
            format!(
                "block 'throttlefilters' can't be used together with 'iotune' for disk '{dev}'"
            ),
        );
    }
    source(x, out);
}

fn driver(d: &Domain, x: &Disk, out: &mut Faults) {
    let Some(v) = &x.driver else { return };
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
            "storage format 'dir' is not directly supported by QEMU, use 'fat' instead",
        ),
        Some("cow") => {
            out.unsupported("domain.disk-format", "'cow' storage format is not supported")
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
    if let Some(n) = v.iothread {
        let known = match &d.io_thread_ids {
            Some(t) => t.threads.iter().any(|t| t.id == n),
            None => n >= 1 && n <= d.io_threads.unwrap_or(0),
        };
        if !known {
            out.unsupported(
                "domain.disk-iothread",
                format!("Disk iothread '{n}' not defined in iothreadid"),
            );
        }
    }
    if x.readonly && v.copy_on_read == Some(xml::OnOff::On) {
        out.unsupported(
            "domain.disk-copy-on-read",
            format!("copy_on_read is not compatible with read-only disk '{}'", x.target.dev),
        );
    }
    if x.readonly && v.discard_no_unref == Some(xml::OnOff::On) {
        out.unsupported(
            "domain.disk-discard",
            "'discard_no_unref' is not compatible with read-only disk",
        );
    }
}

/// Formats with a name.
const FORMATS: &[&str] = &[
    "raw", "bochs", "cloop", "dmg", "vdi", "vhd", "ploop", "fat", "vhdx", "cow", "qcow", "qcow2",
    "qed", "vmdk", "vpc", "luks", "none", "dir", "iso",
];

fn address(x: &Disk, bus: DiskBus, out: &mut Faults) {
    let Some(a) = &x.address else { return };
    let kind = match a {
        Address::Pci(_) => "pci",
        Address::Drive(_) => "drive",
        Address::Usb(_) => "usb",
        Address::Ccw(_) => "ccw",
        Address::VirtioMmio(_) => "virtio-mmio",
        _ => return,
    };
    let wants_drive = matches!(bus, DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata | DiskBus::Fdc);
    if wants_drive && kind != "drive" {
        out.unsupported(
            "domain.disk-address",
            format!(
                "Invalid address type '{kind}' for the disk '{}' with the bus type '{}'",
                x.target.dev,
                bus.as_str()
            ),
        );
    }
    if bus == DiskBus::Usb && kind != "usb" {
        out.internal("domain.disk-address", "unexpected address type for usb disk");
    }
    if bus == DiskBus::Virtio && kind == "drive" {
        out.unsupported(
            "domain.disk-address",
            format!(
                "Invalid address type 'drive' for the disk '{}' with the bus type 'virtio'",
                x.target.dev
            ),
        );
    }
}

fn identity(x: &Disk, bus: DiskBus, out: &mut Faults) {
    if let Some(s) = &x.serial
        && s.chars().any(|c| !c.is_ascii_alphanumeric() && !" +-._%/".contains(c))
    {
        out.internal(
            "domain.disk-serial",
            format!("driver serial '{s}' contains unsafe characters"),
        );
    }
    if let Some(w) = &x.wwn {
        let digits = w.strip_prefix("0x").unwrap_or(w);
        if digits.len() != 16 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            out.internal("domain.disk-wwn", format!("Malformed wwn: {w}"));
        } else if !matches!(bus, DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata) {
            out.unsupported("domain.disk-wwn", "Only ide and scsi disk support wwn");
        }
    }
    for (name, value, max) in [("vendor", &x.vendor, 8), ("product", &x.product, 16)] {
        if let Some(v) = value {
            if v.len() > max {
                out.unsupported(
                    "domain.disk-identity",
                    format!("disk {name} is more than {max} characters"),
                );
            }
            if bus != DiskBus::Scsi && !(name == "product" && bus == DiskBus::Sata) {
                out.unsupported(
                    "domain.disk-identity",
                    "Only scsi disk supports vendor and product",
                );
            }
        }
    }
}

fn source(x: &Disk, out: &mut Faults) {
    let Some(s) = &x.source else { return };
    if x.encryption.is_some() && s.encryption.is_some() {
        out.unsupported(
            "domain.disk-encryption",
            "an <encryption> definition already found for disk source",
        );
    }
    let format = x.driver.as_ref().and_then(|d| d.kind.as_deref()).unwrap_or("raw");
    if (s.encryption.is_some() || x.encryption.is_some())
        && !matches!(format, "raw" | "qcow2" | "luks")
    {
        out.unsupported(
            "domain.disk-encryption",
            "encryption is supported only with 'raw' and 'qcow2' image format",
        );
    }
    if let Some(secret) = s.auth.as_ref().and_then(|a| a.secret.as_ref()) {
        let want = match s.protocol.as_deref() {
            Some("iscsi") => Some("iscsi"),
            Some("rbd") => Some("ceph"),
            _ => None,
        };
        if want.is_some_and(|w| w != secret.kind) {
            out.unsupported("domain.disk-auth", format!("invalid secret type '{}'", secret.kind));
        }
    }
    for l in &s.seclabels {
        if l.relabel == Some(xml::YesNo::Yes) && l.label.is_none() && l.label_skip.is_none() {
            out.xml(
                "domain.disk-seclabel",
                format!(
                    "Cannot specify relabel if label is missing. model={}",
                    l.model.as_deref().unwrap_or("(null)")
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{ParseOptions, parse, validate};

    #[test]
    fn what_two_disks_share_is_found() {
        let disk = |dev: &str, more: &str| {
            format!(
                "<disk type='file' device='disk'><source file='/{dev}'/>\
                     <target dev='{dev}' bus='scsi'/>{more}</disk>"
            )
        };
        let place = "<address type='drive' controller='0' bus='0' target='0' unit='3'/>";
        let wwn = "<wwn>5000c50015ea71ad</wwn>";
        for (second, third, expected) in [
            (disk("sda", ""), String::new(), "target 'sda' duplicated for disk sources '/sda'"),
            (
                disk("sdb", place),
                disk("sdc", place),
                "Found duplicate drive address for disk with target name 'sdb'",
            ),
            (disk("sdb", wwn), disk("sdc", wwn), "Disks 'sdb' and 'sdc' have identical WWN"),
        ] {
            let xml = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
                 <devices>{}{second}{third}</devices></domain>",
                disk("sda", "")
            );
            let domain = parse(&xml, ParseOptions::default()).domain.expect("readable");
            let faults = validate(&domain);
            assert!(faults.iter().any(|f| f.message.starts_with(expected)), "{faults:?}");
        }
    }
}
