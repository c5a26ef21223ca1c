//! The drive that shows a disk to the guest.

use super::super::build::{Build, Props, Switch};
use crate::block::cache_mode;
use model::domain::devices::disk::*;
use serde_json::Value;

impl Build<'_> {
    /// `-device` of a disk.
    pub(in crate::qemu) fn drive(
        &mut self,
        disk: &Disk,
        element: &str,
        node: Option<&str>,
        boot: Option<u32>,
    ) -> Option<Props> {
        let driver = disk.driver.clone().unwrap_or_default();
        let bus = disk.target.bus.unwrap_or_default();
        let id = self.alias(&disk.alias, element);
        let cdrom = disk.device == DiskDevice::Cdrom;
        let place = self.drive_place(disk, bus, element)?;
        let lun = disk.device == DiskDevice::Lun;
        let name = match bus {
            DiskBus::Ide | DiskBus::Sata => if cdrom { "ide-cd" } else { "ide-hd" }.to_string(),
            DiskBus::Scsi if lun => "scsi-block".to_string(),
            DiskBus::Scsi => if cdrom { "scsi-cd" } else { "scsi-hd" }.to_string(),
            DiskBus::Virtio => self.virtio_name("virtio-blk", &disk.address, disk.model),
            DiskBus::Usb => "usb-storage".to_string(),
            DiskBus::Fdc => "floppy".to_string(),
            other => {
                let bus = format!("{other:?}").to_lowercase();
                self.fail(
                    "qemu.disk-bus",
                    format!("{element}: bus '{bus}' is not supported by this machine"),
                );
                return None;
            }
        };
        let virtio = bus == DiskBus::Virtio;
        let mut props = Props::device(&name);
        if virtio && lun {
            self.need("virtio-blk-pci.scsi", &format!("{element} with device='lun' on virtio"));
            props = props.set("scsi", true);
        }
        if virtio {
            props = props
                .on_off("iommu_platform", driver.virtio.iommu)
                .on_off("ats", driver.virtio.ats)
                .on_off("packed", driver.virtio.packed)
                .on_off("page-per-vq", driver.virtio.page_per_vq)
                .opt("iothread", driver.iothread.map(|n| format!("iothread{n}")))
                .on_off("ioeventfd", driver.ioeventfd)
                .on_off("event_idx", driver.event_idx)
                .opt("num-queues", driver.queues)
                .opt("queue-size", driver.queue_size)
                .opt("iothread-vq-mapping", iothread_mapping(driver.iothreads.as_ref()));
        }
        props = props.extend(place);
        if virtio && let Some(index) = disk.acpi.as_ref().and_then(|acpi| acpi.index) {
            props = props.set("acpi-index", index);
        }
        if bus == DiskBus::Scsi && !lun {
            let serial = disk.serial.clone().unwrap_or_else(|| format!("drive-{id}"));
            props = props.set("device_id", serial);
        }
        if disk.shareable {
            props = props.set("share-rw", true);
        }
        props = props.opt("drive", node).set("id", id);
        if bus != DiskBus::Fdc {
            props = props.opt("bootindex", boot);
        }
        props = props.opt("loadparm", self.load_parameter_of(disk.boot.as_ref()));
        if let Some(io) = &disk.blockio {
            props = props
                .opt("logical_block_size", io.logical_block_size)
                .opt("physical_block_size", io.physical_block_size)
                .opt("discard_granularity", io.discard_granularity);
        }
        if let Some(wwn) = &disk.wwn {
            let number = u64::from_str_radix(wwn.trim_start_matches("0x"), 16);
            props = match (bus, number) {
                (DiskBus::Scsi | DiskBus::Ide | DiskBus::Sata, Ok(number)) => {
                    props.set("wwn", number)
                }
                _ => props,
            };
        }
        props = props
            .opt("rotation_rate", disk.target.rotation_rate)
            .opt("vendor", disk.vendor.clone());
        if let Some(product) = &disk.product {
            // ATA drives call it their model.
            let key = if bus == DiskBus::Scsi { "product" } else { "model" };
            props = props.set(key, product.clone());
        }
        props = match (bus, disk.target.removable) {
            (DiskBus::Usb, removable) => props.set("removable", removable.is_some_and(Switch::on)),
            (DiskBus::Scsi, Some(removable)) => props.set("removable", removable.on()),
            _ => props,
        };
        if !lun && let Some(cache) = write_cache(cache_mode(disk)) {
            props = props.set("write-cache", cache);
        }
        if let Some(geometry) = &disk.geometry {
            props = props
                .set("cyls", geometry.cyls)
                .set("heads", geometry.heads)
                .set("secs", geometry.secs);
            let trans = geometry.trans.map(|trans| match trans {
                GeometryTrans::None => "none",
                GeometryTrans::Auto => "auto",
                GeometryTrans::Lba => "lba",
            });
            props = props.opt("bios-chs-trans", trans);
        }
        if !lun {
            // QEMU's older drivers took a backslash before a space; libvirt still writes one.
            props = props.opt("serial", disk.serial.as_ref().map(|text| text.replace(' ', "\\ ")));
        }
        let (write, read) = (driver.error_policy.map(policy), driver.rerror_policy.map(policy));
        // What QEMU cannot do for reads is reported, as for `enospace`.
        let read = read.or(match driver.error_policy {
            Some(ErrorPolicy::Enospace) | None => None,
            Some(other) => Some(policy(other)),
        });
        let intervals = driver.statistics.as_ref().map(|statistics| &statistics.intervals);
        let intervals = intervals.filter(|intervals| !intervals.is_empty());
        let intervals = intervals.map(|all| all.iter().map(|one| one.interval).collect::<Vec<_>>());
        Some(props.opt("werror", write).opt("rerror", read).opt("stats-intervals", intervals))
    }
}

/// Which queues each I/O thread serves.
pub(in crate::qemu) fn iothread_mapping(threads: Option<&DiskIoThreads>) -> Option<Value> {
    let threads = &threads?.threads;
    let mapping = threads.iter().map(|thread| {
        let queues: Vec<u32> = thread.queues.iter().map(|queue| queue.id).collect();
        Props::default()
            .set("iothread", format!("iothread{}", thread.id))
            .opt("vqs", (!queues.is_empty()).then_some(queues))
            .into_value()
    });
    Some(mapping.collect())
}

/// Whether the drive tells the guest that it has a write cache.
fn write_cache(mode: Option<CacheMode>) -> Option<&'static str> {
    match mode? {
        CacheMode::None | CacheMode::Writeback | CacheMode::Unsafe => Some("on"),
        CacheMode::Directsync | CacheMode::Writethrough => Some("off"),
        CacheMode::Default => None,
    }
}

fn policy(policy: ErrorPolicy) -> &'static str {
    match policy {
        ErrorPolicy::Stop => "stop",
        ErrorPolicy::Report => "report",
        ErrorPolicy::Ignore => "ignore",
        ErrorPolicy::Enospace => "enospc",
    }
}
