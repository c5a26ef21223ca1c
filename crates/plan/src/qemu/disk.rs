//! Disks: `-blockdev` chains and the drives that show them.

use super::build::{Build, Props, Switch};
use super::words::Address;
use crate::step::{Access, Action, Step};
use model::domain::Domain;
use model::domain::devices::controller::ControllerType;
use model::domain::devices::disk::*;
use serde_json::{Value, json};

/// Gives every image of every disk its number, which names its nodes: the last disk has 1.
pub(super) fn number_images(domain: &mut Domain) {
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    let mut next = 0;
    for disk in devices.disks.iter_mut().rev() {
        // An empty drive has a number too, for the medium to come.
        next += 1;
        if !has_source(disk) {
            continue;
        }
        if let Some(source) = disk.source.as_mut() {
            source.index = Some(next);
        }
        let mut below = disk.backing_store.as_deref_mut();
        while let Some(store) = below {
            if store.source.is_none() {
                break;
            }
            next += 1;
            store.index = Some(next);
            if let Some(source) = store.source.as_mut() {
                source.index = None;
            }
            below = store.backing_store.as_deref_mut();
        }
    }
}

/// Whether there is a medium in the drive.
pub(super) fn has_source(disk: &Disk) -> bool {
    disk.source.as_ref().is_some_and(|source| {
        source.file.is_some()
            || source.dev.is_some()
            || source.dir.is_some()
            || source.protocol.is_some()
            || source.volume.is_some()
            || source.address.is_some()
            || matches!(disk.kind, StorageType::Vhostuser | StorageType::Vhostvdpa)
    })
}

/// One image of a chain.
struct Image<'a> {
    kind: StorageType,
    source: &'a DiskSource,
    format: String,
    index: u32,
    /// Read-only: all but the top, and the top if the disk is.
    readonly: bool,
}

impl Build<'_> {
    /// All disks.
    pub(super) fn disks(&mut self) {
        let orders = self.boot_orders();
        if self.dev.disks.iter().any(|disk| disk.target.bus == Some(DiskBus::Fdc)) && !self.q35() {
            // The controller is part of the board.
            for (unit, letter) in [(0, 'A'), (1, 'B')] {
                if let Some(boot) = self.floppy_boot_index(unit) {
                    self.opt("-global", &format!("isa-fdc.bootindex{letter}={boot}"));
                }
            }
        }
        for (position, disk) in self.dev.disks.iter().enumerate() {
            let boot = orders.disks.get(position).copied().flatten();
            self.disk(disk, boot);
        }
    }

    fn disk(&mut self, disk: &Disk, boot: Option<u32>) {
        let element = format!("<disk> '{}'", disk.target.dev);
        let driver = disk.driver.clone().unwrap_or_default();
        for (used, what) in [
            (disk.throttlefilters.is_some(), "<throttlefilters>"),
            (driver.copy_on_read.is_some_and(Switch::on), "copy_on_read"),
            (driver.metadata_cache.is_some(), "<metadata_cache>"),
            (driver.iothreads.is_some(), "<iothreads>"),
            (driver.statistics.is_some(), "<statistics>"),
            (disk.transient.is_some(), "<transient>"),
            (disk.encryption.is_some(), "<encryption>"),
            (disk.auth.is_some(), "<auth>"),
            (disk.mirror.is_some(), "<mirror>"),
        ] {
            if used {
                self.fail("qemu.disk", format!("{element}: {what} is not supported yet"));
            }
        }
        let Some(top) = self.chain(disk, &driver, &element) else {
            return;
        };
        self.drive(disk, &driver, &element, top.as_deref(), boot);
        self.throttle(disk);
    }

    /// I/O limits: set through the monitor, once the drive exists.
    fn throttle(&mut self, disk: &Disk) {
        let (Some(tune), Some(alias)) = (&disk.iotune, &disk.alias) else {
            return;
        };
        // The block back end of a virtio disk hangs below the transport's device.
        let target = match disk.target.bus {
            Some(DiskBus::Virtio) => format!("/machine/peripheral/{}/virtio-backend", alias.name),
            Some(DiskBus::Usb) => {
                self.fail("qemu.disk", "<iotune> of a USB disk is not supported yet");
                return;
            }
            _ => alias.name.clone(),
        };
        let zero = |value: Option<u64>| value.unwrap_or(0);
        let mut arguments = Props::default()
            .set("id", target)
            .set("bps", zero(tune.total_bytes_sec))
            .set("bps_rd", zero(tune.read_bytes_sec))
            .set("bps_wr", zero(tune.write_bytes_sec))
            .set("iops", zero(tune.total_iops_sec))
            .set("iops_rd", zero(tune.read_iops_sec))
            .set("iops_wr", zero(tune.write_iops_sec));
        for (key, value) in [
            ("bps_max", tune.total_bytes_sec_max),
            ("bps_rd_max", tune.read_bytes_sec_max),
            ("bps_wr_max", tune.write_bytes_sec_max),
            ("iops_max", tune.total_iops_sec_max),
            ("iops_rd_max", tune.read_iops_sec_max),
            ("iops_wr_max", tune.write_iops_sec_max),
            ("bps_max_length", tune.total_bytes_sec_max_length),
            ("bps_rd_max_length", tune.read_bytes_sec_max_length),
            ("bps_wr_max_length", tune.write_bytes_sec_max_length),
            ("iops_max_length", tune.total_iops_sec_max_length),
            ("iops_rd_max_length", tune.read_iops_sec_max_length),
            ("iops_wr_max_length", tune.write_iops_sec_max_length),
            ("iops_size", tune.size_iops_sec),
        ] {
            arguments = arguments.opt(key, value);
        }
        arguments = arguments.opt("group", tune.group_name.clone());
        let command = json!({"execute": "block_set_io_throttle", "arguments": arguments.0});
        self.commands.push(crate::step::QmpCommand {
            result: None,
            json: command.to_string(),
            secret: false,
        });
    }

    /// The `-blockdev` options of a disk; the name of its top node (`None`: no medium).
    fn chain(&mut self, disk: &Disk, driver: &DiskDriver, element: &str) -> Option<Option<String>> {
        if !has_source(disk) {
            return Some(None);
        }
        let source = disk.source.as_ref()?;
        let readonly = disk.readonly || disk.device == DiskDevice::Cdrom;
        let mut images = vec![Image {
            kind: disk.kind,
            source,
            format: driver.kind.clone().unwrap_or_else(|| "raw".into()),
            index: source.index.unwrap_or(0),
            readonly,
        }];
        let mut below = disk.backing_store.as_deref();
        // A chain that says where it ends is written out; else QEMU follows the images' headers.
        let mut ends = false;
        while let Some(store) = below {
            let Some(source) = &store.source else {
                ends = true;
                break;
            };
            images.push(Image {
                kind: store.kind.unwrap_or_default(),
                source,
                format: store.format.as_ref().map_or("raw".into(), |format| format.kind.clone()),
                index: store.index.unwrap_or(0),
                readonly: true,
            });
            below = store.backing_store.as_deref();
        }
        // From the bottom up, each naming the one below.
        let mut backing: Option<Value> = ends.then_some(Value::Null);
        let mut top = String::new();
        for (depth, image) in images.iter().enumerate().rev() {
            top = self.image(disk, driver, image, depth == 0, backing.take(), element)?;
            backing = Some(Value::from(top.clone()));
        }
        Some(Some(top))
    }

    /// Storage and format nodes of one image; the name of the upper one.
    fn image(
        &mut self,
        disk: &Disk,
        driver: &DiskDriver,
        image: &Image,
        is_top: bool,
        backing: Option<Value>,
        element: &str,
    ) -> Option<String> {
        let number = image.index;
        let (storage, format) =
            (format!("libvirt-{number}-storage"), format!("libvirt-{number}-format"));
        for (used, what) in [
            (image.source.slices.is_some(), "<slices>"),
            (image.source.encryption.is_some(), "<encryption>"),
            (image.source.auth.is_some(), "<auth>"),
            (image.source.reservations.is_some(), "<reservations>"),
            (image.source.data_store.is_some(), "<dataStore>"),
            (image.source.fdgroup.is_some(), "fdgroup"),
        ] {
            if used {
                self.fail("qemu.disk-source", format!("{element}: {what} is not supported yet"));
                return None;
            }
        }
        let mut props = self.storage(disk, image, element)?;
        if is_top || driver.io.is_some() {
            let mode = driver.io.map(|mode| match mode {
                IoMode::Native => "native",
                IoMode::Threads => "threads",
                IoMode::IoUring => "io_uring",
            });
            if driver.io == Some(IoMode::IoUring) {
                self.need("aio.io_uring", "<driver io='io_uring'>");
            }
            props = props.opt("aio", mode);
        }
        props = props.set("node-name", storage.clone());
        let cache = cache_props(driver.cache);
        // The node that the drive shows carries the disk's own options.
        let options = |props: Props| {
            let mut props = props.set("read-only", image.readonly);
            if is_top {
                let discard = driver.discard.map(|mode| match mode {
                    DiscardMode::Unmap => "unmap",
                    DiscardMode::Ignore => "ignore",
                });
                let zeroes = driver.detect_zeroes.map(|mode| match mode {
                    DetectZeroes::Off => "off",
                    DetectZeroes::On => "on",
                    DetectZeroes::Unmap if driver.discard == Some(DiscardMode::Unmap) => "unmap",
                    DetectZeroes::Unmap => "on",
                });
                props = props.opt("discard", discard).opt("detect-zeroes", zeroes);
            }
            if let Some(cache) = &cache {
                props = props.set("cache", cache.clone());
            }
            props
        };
        // Since block jobs can name a backing file's format themselves, a raw image needs no node
        // of its own for it.
        let raw = image.format == "raw" && self.has("blockjob.backing-mask-protocol");
        if raw {
            let mut props = props.set("read-only", image.readonly);
            let rest = options(Props::default());
            // Below a format, discards pass whatever the disk says.
            for (key, value) in rest.0 {
                if key != "read-only" {
                    props = props.set(&key, value);
                }
            }
            self.json("-blockdev", reorder(props));
            return Some(storage);
        }
        let mut props = props.set("auto-read-only", true).set("discard", "unmap");
        if let Some(cache) = &cache {
            props = props.set("cache", cache.clone());
        }
        self.json("-blockdev", props);
        let qemu = match image.format.as_str() {
            "vhd" => "vpc",
            other => other,
        };
        if !matches!(
            qemu,
            "raw"
                | "qcow2"
                | "qcow"
                | "qed"
                | "vmdk"
                | "vdi"
                | "vpc"
                | "vhdx"
                | "bochs"
                | "cloop"
                | "dmg"
                | "parallels"
        ) {
            self.fail("qemu.disk-format", format!("{element}: format '{qemu}' is not supported"));
            return None;
        }
        let mut props =
            options(Props::default().set("node-name", format.clone())).set("driver", qemu);
        if qemu == "qcow2" {
            props = props.on_off("discard-no-unref", driver.discard_no_unref);
        }
        props = props.set("file", storage);
        if matches!(qemu, "qcow2" | "qcow" | "qed" | "vmdk") {
            props = props.opt("backing", backing);
        }
        self.json("-blockdev", props);
        Some(format)
    }

    /// The protocol part of a storage node.
    fn storage(&mut self, disk: &Disk, image: &Image, element: &str) -> Option<Props> {
        let source = image.source;
        let access = if image.readonly { Access::Read } else { Access::ReadWrite };
        let shared = image.readonly || disk.shareable;
        match image.kind {
            StorageType::File => {
                let path = source.file.clone()?;
                self.require(disk, &path, element);
                self.grant(&path, access, shared, element);
                Some(Props::default().set("driver", "file").set("filename", path))
            }
            StorageType::Block => {
                let path = source.dev.clone()?;
                self.require(disk, &path, element);
                self.grant(&path, access, shared, element);
                // A drive of the host is passed through where the name says it is one.
                let cdrom = disk.device == DiskDevice::Cdrom && self.host_cdrom(&path);
                let driver = if cdrom { "host_cdrom" } else { "host_device" };
                Some(Props::default().set("driver", driver).set("filename", path))
            }
            StorageType::Network if source.protocol.as_deref() == Some("nbd") => {
                let server = self.nbd_server(source, element)?;
                Some(
                    Props::default()
                        .set("driver", "nbd")
                        .set("server", server)
                        .opt("export", source.name.clone())
                        .opt("reconnect-delay", source.reconnect.as_ref().and_then(|r| r.delay)),
                )
            }
            other => {
                let kind = format!("{other:?}").to_lowercase();
                let protocol = source.protocol.as_deref().unwrap_or_default();
                self.fail(
                    "qemu.disk-source",
                    format!("{element}: source of type '{kind}' {protocol} is not supported yet"),
                );
                None
            }
        }
    }

    /// Whether a path is a CD-ROM drive of the host.
    fn host_cdrom(&self, path: &str) -> bool {
        self.host.cdrom_drives.iter().any(|drive| drive == path)
    }

    /// A missing image is refused before anything is changed, unless the policy lets it be.
    fn require(&mut self, disk: &Disk, path: &str, element: &str) {
        let policy = disk.source.as_ref().and_then(|source| source.startup_policy);
        if policy == Some(StartupPolicy::Optional) {
            return;
        }
        let (path, role) = (path.to_string(), element.to_string());
        self.steps.push(Step::new(Action::RequireFile { path, role }));
    }

    fn nbd_server(&mut self, source: &DiskSource, element: &str) -> Option<Value> {
        let host = source.hosts.first()?;
        if source.tls.is_some_and(Switch::on) {
            self.fail("qemu.disk-source", format!("{element}: TLS is not supported yet"));
            return None;
        }
        Some(match host.transport {
            Some(NetworkTransport::Unix) => json!({"type": "unix", "path": host.socket}),
            _ => json!({
                "type": "inet",
                "host": host.name,
                "port": host.port.as_deref().unwrap_or("10809"),
            }),
        })
    }

    /// `-device` of a disk.
    fn drive(
        &mut self,
        disk: &Disk,
        driver: &DiskDriver,
        element: &str,
        node: Option<&str>,
        boot: Option<u32>,
    ) {
        let bus = disk.target.bus.unwrap_or_default();
        let id = self.alias(&disk.alias, element);
        let cdrom = disk.device == DiskDevice::Cdrom;
        let place = match self.drive_place(disk, bus, element) {
            Some(place) => place,
            None => return,
        };
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
                return;
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
                .opt("queue-size", driver.queue_size);
        }
        props = props.extend(place);
        if virtio && let Some(index) = disk.acpi.as_ref().and_then(|acpi| acpi.index) {
            props = props.set("acpi-index", index);
        }
        if bus == DiskBus::Scsi && !lun {
            let serial = disk.serial.clone().unwrap_or_else(|| format!("drive-{id}"));
            props = props.set("device_id", serial);
        }
        if disk.shareable && bus != DiskBus::Fdc {
            props = props.set("share-rw", true);
        }
        props = props.opt("drive", node).set("id", id);
        if bus != DiskBus::Fdc {
            props = props.opt("bootindex", boot);
        }
        if let Some(loadparm) = disk.boot.as_ref().and_then(|boot| boot.loadparm.clone()) {
            props = props.set("loadparm", loadparm);
        }
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
        if let Some(removable) = disk.target.removable
            && matches!(bus, DiskBus::Usb | DiskBus::Scsi)
        {
            props = props.set("removable", removable.on());
        }
        if !lun && let Some(cache) = write_cache(driver.cache) {
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
            props = props.opt("serial", disk.serial.clone());
        }
        let (write, read) = (driver.error_policy.map(policy), driver.rerror_policy.map(policy));
        // What QEMU cannot do for reads is reported, as for `enospace`.
        let read = read.or(match driver.error_policy {
            Some(ErrorPolicy::Enospace) | None => None,
            Some(other) => Some(policy(other)),
        });
        props = props.opt("werror", write).opt("rerror", read);
        self.device(props);
    }

    /// Where on its bus a disk sits.
    fn drive_place(&mut self, disk: &Disk, bus: DiskBus, element: &str) -> Option<Props> {
        let Some(Address::Drive(drive)) = &disk.address else {
            if disk.address.is_none() {
                self.fail("qemu.address", format!("{element} has no address"));
                return None;
            }
            return Some(self.place(&disk.address, element));
        };
        let kind = match bus {
            DiskBus::Ide => ControllerType::Ide,
            DiskBus::Sata => ControllerType::Sata,
            DiskBus::Scsi => ControllerType::Scsi,
            _ => ControllerType::Fdc,
        };
        let controllers = &self.dev.controllers;
        let controller =
            controllers.iter().find(|c| c.kind == kind && c.index.unwrap_or(0) == drive.controller);
        let name = controller.and_then(|c| c.alias.as_ref()).map(|alias| alias.name.clone());
        let Some(name) = name else {
            let number = drive.controller;
            self.fail(
                "qemu.controller",
                format!("{element} sits on controller {number}, which does not exist"),
            );
            return None;
        };
        Some(match bus {
            DiskBus::Ide => {
                Props::default().set("bus", format!("{name}.{}", drive.bus)).set("unit", drive.unit)
            }
            DiskBus::Sata => Props::default().set("bus", format!("{name}.{}", drive.unit)),
            DiskBus::Fdc => Props::default().set("unit", drive.unit),
            _ => {
                let model = controller.and_then(|c| c.model.as_deref()).unwrap_or("lsilogic");
                let props = Props::default().set("bus", format!("{name}.0"));
                if model.starts_with("virtio") || matches!(model, "vmpvscsi" | "ibmvscsi") {
                    props.set("channel", 0).set("scsi-id", drive.target).set("lun", drive.unit)
                } else {
                    props.set("scsi-id", drive.unit)
                }
            }
        })
    }
}

/// Members of a lone storage node in libvirt's order.
fn reorder(props: Props) -> Props {
    let mut out = Props::default();
    let late = ["read-only", "discard", "detect-zeroes", "cache"];
    let (first, rest): (Vec<_>, Vec<_>) =
        props.0.into_iter().partition(|(key, _)| !late.contains(&key.as_str()));
    for (key, value) in first {
        out = out.set(&key, value);
    }
    for key in ["read-only", "discard", "detect-zeroes", "cache"] {
        if let Some((_, value)) = rest.iter().find(|(known, _)| known == key) {
            out = out.set(key, value.clone());
        }
    }
    out
}

/// The `cache` member for a cache mode.
fn cache_props(mode: Option<CacheMode>) -> Option<Value> {
    let (direct, no_flush) = match mode? {
        CacheMode::None | CacheMode::Directsync => (true, false),
        CacheMode::Writeback | CacheMode::Writethrough => (false, false),
        CacheMode::Unsafe => (false, true),
        CacheMode::Default => return None,
    };
    Some(json!({"direct": direct, "no-flush": no_flush}))
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
