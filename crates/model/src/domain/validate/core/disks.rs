//! Disks: bus, address, target, identity, throttling.

use std::collections::HashMap;

use super::super::Faults;
use super::disk_source;
use crate::domain::address::{self, Address};
use crate::domain::defaults::target_index;
use crate::domain::devices::Devices;
use crate::domain::devices::disk::{
    Disk, DiskBus, DiskDevice, DiskDriver, ErrorPolicy, SgIo, SnapshotMode, StorageType, TrayState,
};
use crate::domain::tune::IoTune;

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    for x in &dev.disks {
        one(x, out);
        if out.is_full() {
            return;
        }
    }
    pairs(&dev.disks, out);
}

fn name_of_source(x: &Disk) -> &str {
    let s = x.source.as_ref();
    s.and_then(|s| {
        s.file.as_deref().or(s.dev.as_deref()).or(s.dir.as_deref()).or(s.name.as_deref())
    })
    .unwrap_or("<null>")
}

/// Names, addresses and WWNs are there only once.
fn pairs(disks: &[Disk], out: &mut Faults) {
    let (mut names, mut wwns) = (HashMap::new(), HashMap::new());
    let mut drives = HashMap::new();
    for x in disks {
        if let Some(y) = names.insert(x.target.dev.as_str(), x) {
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
        if let (Some(Address::Drive(a)), Some(bus)) = (&x.address, x.target.bus) {
            let place = (bus.as_str(), a.controller, a.bus, a.target, a.unit);
            if let Some(y) = drives.insert(place, x) {
                out.unsupported(
                    "domain.disk-duplicate-address",
                    format!(
                        "Found duplicate drive address for disk with target name '{}' controller='{}' bus='{}' target='{}' unit='{}'",
                        y.target.dev, a.controller, a.bus, a.target, a.unit
                    ),
                );
            }
        }
        if let Some(w) = &x.wwn
            && let Some(y) = wwns.insert(w.as_str(), x)
        {
            out.xml(
                "domain.disk-duplicate-wwn",
                format!("Disks '{}' and '{}' have identical WWN", y.target.dev, x.target.dev),
            );
        }
    }
}

fn one(x: &Disk, out: &mut Faults) {
    let bus = x.target.bus.unwrap_or(DiskBus::Ide);
    if x.device == DiskDevice::Lun {
        lun(x, out);
    } else {
        if x.rawio.is_some() {
            out.unsupported("domain.disk-rawio", "rawio can be used only with device='lun'");
        }
        if x.sgio == Some(SgIo::Filtered) {
            out.unsupported("domain.disk-sgio", "sgio can be used only with device='lun'");
        }
    }
    if x.sgio == Some(SgIo::Unfiltered) {
        out.unsupported("domain.disk-sgio", "unfiltered sgio is no longer supported");
    }
    match x.device {
        DiskDevice::Floppy if bus != DiskBus::Fdc => out.internal(
            "domain.disk-bus",
            format!("Invalid bus type '{}' for floppy disk", bus.as_str()),
        ),
        DiskDevice::Disk | DiskDevice::Lun | DiskDevice::Cdrom if bus == DiskBus::Fdc => {
            out.internal("domain.disk-bus", "Invalid bus type 'fdc' for disk");
        }
        _ => {}
    }
    let removable = x.device.is_removable();
    if x.target.tray == Some(TrayState::Open) && !removable {
        out.unsupported("domain.disk-tray", "tray is only valid for cdrom and floppy");
    }
    let virtio_model = x.model.is_some_and(|m| m.as_str().starts_with("virtio"));
    if virtio_model && bus != DiskBus::Virtio
        || x.model.is_some() && !virtio_model && bus != DiskBus::Usb
    {
        let model = x.model.map_or("", |m| m.as_str());
        out.unsupported(
            "domain.disk-model",
            format!("disk model '{model}' not supported for bus '{}'", bus.as_str()),
        );
    }
    driver(x, bus, out);
    address(x, bus, out);
    name(x, out);
    identity(x, bus, out);
    if let Some(t) = &x.iotune {
        throttle(t, out);
    }
    disk_source::check(x, out);
    let encryptions =
        [x.encryption.as_ref(), x.source.as_ref().and_then(|s| s.encryption.as_ref())];
    if encryptions.into_iter().flatten().any(|e| e.cipher.is_some()) {
        out.unsupported(
            "domain.disk-encryption",
            "supplying <cipher> for domain disk definition is unnecessary",
        );
    }
    if x.kind == StorageType::Vhostuser {
        vhostuser(x, out);
    }
}

/// What the process behind a vhost-user disk decides, and nobody here.
fn vhostuser(x: &Disk, out: &mut Faults) {
    let s = x.source.as_ref();
    let v = x.driver.as_ref();
    let set = |has: fn(&DiskDriver) -> bool| v.is_some_and(has);
    if x.snapshot.is_some_and(|snapshot| snapshot != SnapshotMode::No) {
        out.unsupported(
            "domain.disk-vhostuser",
            "only snapshot=no is supported with vhostuser disk",
        );
    }
    for (there, name) in [
        (s.is_some_and(|s| s.encryption.is_some()) || x.encryption.is_some(), "encryption"),
        (s.is_some_and(|s| s.auth.is_some()) || x.auth.is_some(), "auth"),
        (x.backing_store.as_ref().is_some_and(|b| b.kind.is_some()), "backingStore"),
        (x.iotune.is_some(), "iotune"),
        (x.geometry.is_some(), "geometry"),
        (x.blockio.is_some(), "blockio"),
        (x.serial.is_some(), "serial"),
        (x.wwn.is_some(), "wwn"),
        (x.vendor.is_some(), "vendor"),
        (x.product.is_some(), "product"),
        (x.transient.is_some(), "transient"),
        (x.shareable, "shareable"),
        (x.readonly, "readonly"),
        (set(|v| v.cache.is_some()), "cache"),
        (set(|v| v.error_policy.is_some() || v.rerror_policy.is_some()), "error_policy"),
        (set(|v| v.io.is_some()), "io"),
        (set(|v| v.ioeventfd.is_some()), "ioeventfd"),
        (set(|v| v.copy_on_read.is_some()), "copy_on_read"),
        (set(|v| v.discard.is_some()), "discard"),
        (set(|v| v.iothread.is_some()), "iothread"),
        (set(|v| v.detect_zeroes.is_some()), "detect_zeroes"),
    ] {
        if there {
            out.unsupported(
                "domain.disk-vhostuser",
                format!("{name} is not supported with vhostuser disk"),
            );
        }
    }
}

fn lun(x: &Disk, out: &mut Faults) {
    let protocol = x.source.as_ref().and_then(|s| s.protocol.as_deref());
    match x.kind {
        StorageType::Block | StorageType::Volume => {}
        StorageType::Network => {
            if protocol.is_some_and(|p| p != "iscsi") {
                out.unsupported(
                    "domain.disk-lun",
                    format!(
                        "disk device='lun' is not supported for protocol='{}'",
                        protocol.unwrap_or_default()
                    ),
                );
            }
        }
        _ => out.unsupported(
            "domain.disk-lun",
            "disk device='lun' is only valid for block type disk source",
        ),
    }
}

fn driver(x: &Disk, bus: DiskBus, out: &mut Faults) {
    let Some(v) = &x.driver else { return };
    let virtio = bus == DiskBus::Virtio;
    if v.rerror_policy == Some(ErrorPolicy::Enospace) {
        out.unsupported("domain.disk-error-policy", "Invalid disk read error policy: 'enospace'");
    }
    for (there, text) in [
        (
            v.queues.is_some(),
            "queues attribute in disk driver element is only supported for virtio bus",
        ),
        (
            v.queue_size.is_some(),
            "queue_size attribute in disk driver is only supported for virtio bus",
        ),
        (v.ioeventfd.is_some(), "disk ioeventfd mode supported only for virtio bus"),
        (v.event_idx.is_some(), "disk event_idx mode supported only for virtio bus"),
    ] {
        if there && !virtio {
            out.unsupported("domain.disk-virtio", text);
        }
    }
    if !virtio {
        super::super::virtio_options(&v.virtio, out);
    }
    if v.iothread.is_some() && v.iothreads.is_some() {
        out.xml(
            "domain.disk-iothread",
            "disk driver 'iothread' attribute can't be used together with 'iothreads' subelement",
        );
    }
}

/// What a disk is called: each kind of device has names of its own, but CD-ROMs may have any.
fn name(x: &Disk, out: &mut Faults) {
    let dev = &x.target.dev;
    let numbered = target_index(dev).is_some();
    let (kind, starts): (_, &[&str]) = match x.device {
        DiskDevice::Floppy => ("floppy", &["fd"]),
        DiskDevice::Disk | DiskDevice::Lun => ("harddisk", &["hd", "sd", "vd", "xvd", "ubd"]),
        DiskDevice::Cdrom => ("", &[""]),
    };
    if !numbered && x.address.is_none() {
        let text = format!("Unknown disk name '{dev}' and no address specified");
        out.xml("domain.disk-target", text);
    } else if !starts.iter().any(|start| dev.starts_with(start)) {
        out.internal("domain.disk-target", format!("Invalid {kind} device name: {dev}"));
    } else if !numbered {
        out.unsupported("domain.disk-target", format!("invalid disk target '{dev}'"));
    }
}

fn address(x: &Disk, bus: DiskBus, out: &mut Faults) {
    let Some(a) = &x.address else { return };
    let kind = address::kind(a);
    let dev = &x.target.dev;
    if bus == DiskBus::Virtio && matches!(kind, "drive") || is_drive_bus(bus) && kind != "drive" {
        if kind == "unassigned" || kind == "ccw" {
            return;
        }
        out.unsupported(
            "domain.disk-address",
            format!(
                "Invalid address type '{kind}' for the disk '{dev}' with the bus type '{}'",
                bus.as_str()
            ),
        );
    }
}

/// Whether disks of this bus hang on a controller, by number.
fn is_drive_bus(bus: DiskBus) -> bool {
    matches!(bus, DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata | DiskBus::Fdc)
}

fn identity(x: &Disk, bus: DiskBus, out: &mut Faults) {
    if let Some(w) = &x.wwn {
        let digits = w.strip_prefix("0x").unwrap_or(w);
        if digits.len() != 16 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            out.internal("domain.disk-wwn", format!("Malformed wwn: {w}"));
        }
    }
    if bus == DiskBus::Scsi {
        for (name, value, max) in [("vendor", &x.vendor, 8), ("product", &x.product, 16)] {
            if value.as_ref().is_some_and(|v| v.len() > max) {
                out.unsupported(
                    "domain.disk-identity",
                    format!("disk {name} is more than {max} characters"),
                );
            }
            let printable = |c: u8| (b' '..=b'~').contains(&c);
            if value.as_ref().is_some_and(|v| !v.bytes().all(printable)) {
                out.xml("domain.disk-identity", format!("disk {name} is not printable string"));
            }
        }
    }
    if x.target.rotation_rate.is_some()
        && !matches!(bus, DiskBus::Scsi | DiskBus::Ide | DiskBus::Sata)
    {
        out.internal("domain.disk-rotation", "rotation rate is only valid for SCSI/IDE/SATA bus");
    }
}

fn throttle(t: &IoTune, out: &mut Faults) {
    let set = |v: Option<u64>| v.is_some_and(|v| v > 0);
    for (total, read, write, name) in [
        (t.total_bytes_sec, t.read_bytes_sec, t.write_bytes_sec, "bytes_sec"),
        (t.total_iops_sec, t.read_iops_sec, t.write_iops_sec, "iops_sec"),
        (t.total_bytes_sec_max, t.read_bytes_sec_max, t.write_bytes_sec_max, "bytes_sec_max"),
        (t.total_iops_sec_max, t.read_iops_sec_max, t.write_iops_sec_max, "iops_sec_max"),
    ] {
        if set(total) && (set(read) || set(write)) {
            out.xml(
                "domain.disk-throttle",
                format!("total and read/write {name} cannot be set at the same time"),
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
