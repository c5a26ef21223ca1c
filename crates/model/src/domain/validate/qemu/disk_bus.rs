//! What a disk on one bus can have and on another cannot.

use super::super::Faults;
use crate::domain::devices::disk::{
    Disk, DiskBus, DiskDevice, DiskDriver, GeometryTrans, StorageType,
};
use xml::OnOff;

pub(super) fn check(x: &Disk, bus: DiskBus, out: &mut Faults) {
    let name = bus.as_str();
    let ata = matches!(bus, DiskBus::Ide | DiskBus::Sata);
    if x.readonly && x.device == DiskDevice::Disk && ata {
        out.unsupported("domain.disk-readonly", format!("readonly {name} disks are not supported"));
    }
    if x.vendor.is_some() && bus != DiskBus::Scsi {
        out.unsupported("domain.disk-identity", "Only scsi disk supports 'vendor'");
    }
    if x.product.is_some() && bus != DiskBus::Scsi && !ata {
        let text = "Only ide, sata and scsi disk supports 'product'";
        out.unsupported("domain.disk-identity", text);
    }
    let wwn = x.wwn.as_deref().map(|wwn| wwn.strip_prefix("0x").unwrap_or(wwn));
    let readable = wwn.is_some_and(|wwn| wwn.len() == 16);
    if readable && !matches!(bus, DiskBus::Ide | DiskBus::Scsi) {
        out.unsupported("domain.disk-wwn", "Only ide and scsi disk support wwn");
    }
    if let Some(geometry) = &x.geometry {
        if matches!(bus, DiskBus::Usb | DiskBus::Sd) {
            let text = format!("CHS geometry can not be set for '{name}' bus");
            out.unsupported("domain.disk-geometry", text);
        }
        let translated = geometry.trans.is_some_and(|trans| trans != GeometryTrans::None);
        if translated && bus != DiskBus::Ide {
            let text = format!("CHS translation mode can only be set for 'ide' bus not '{name}'");
            out.unsupported("domain.disk-geometry", text);
        }
    }
    if bus == DiskBus::Sd {
        if x.serial.is_some() {
            let text = "Serial property not supported for drive bus 'sd'";
            out.internal("domain.disk-serial", text);
        }
        if x.iotune.is_some() {
            let text = "<iotune> is not supported with bus='sd'";
            out.unsupported("domain.disk-throttle", text);
        }
    }
    if x.target.rotation_rate.is_some() && bus != DiskBus::Scsi && !ata {
        let text = "rotation rate is only valid for SCSI/IDE/SATA bus";
        out.internal("domain.disk-rotation-rate", text);
    } else if x.target.rotation_rate.is_some() && x.device != DiskDevice::Disk {
        let text = "rotation rate is only valid for disk device";
        out.internal("domain.disk-rotation-rate", text);
    }
    if let Some(driver) = &x.driver {
        options(x, bus, driver, out);
    }
}

fn options(x: &Disk, bus: DiskBus, driver: &DiskDriver, out: &mut Faults) {
    let dev = &x.target.dev;
    let removable = x.device.is_removable();
    if removable && driver.copy_on_read == Some(OnOff::On) {
        let text = format!("copy_on_read is not supported with removable disk '{dev}'");
        out.unsupported("domain.disk-copy-on-read", text);
    }
    if (driver.iothread.is_some() || driver.iothreads.is_some()) && bus != DiskBus::Virtio {
        let name = bus.as_str();
        let text = format!("IOThreads not available for bus {name} target {dev}");
        out.unsupported("domain.disk-iothread", text);
    }
    let is_fat = driver.kind.as_deref() == Some("fat");
    if is_fat && x.source.is_some() && x.kind != StorageType::Dir {
        let text = "storage format 'fat' is supported only with 'dir' storage type";
        out.unsupported("domain.disk-format", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_disk(text: &str, expected: &[&str]) {
        let disk: Disk = xml::read_str(text, "disk").value.expect("a disk");
        let mut faults = Faults::of_qemu();
        check(&disk, disk.target.bus.unwrap_or_default(), &mut faults);
        let found: Vec<String> = faults.list.into_iter().map(|fault| fault.message).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_bus_decides() {
        check_disk(
            "<disk><target dev='sda' bus='sata' rotation_rate='1'/><readonly/></disk>",
            &["readonly sata disks are not supported"],
        );
        check_disk(
            "<disk><geometry cyls='1' heads='1' secs='1' trans='lba'/><target dev='vda' bus='virtio'/><vendor>A</vendor></disk>",
            &[
                "Only scsi disk supports 'vendor'",
                "CHS translation mode can only be set for 'ide' bus not 'virtio'",
            ],
        );
        check_disk("<disk><target dev='sda' bus='scsi'/><vendor>A</vendor></disk>", &[]);
        check_disk(
            "<disk device='cdrom'><target dev='sda' bus='sata' rotation_rate='1'/></disk>",
            &["rotation rate is only valid for disk device"],
        );
        check_disk("<disk><target dev='sda' bus='sata' rotation_rate='1'/></disk>", &[]);
    }
}
