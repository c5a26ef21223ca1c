//! Controllers.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Faults;
use super::super::core::tune::IoThreads;
use crate::domain::Domain;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::{Controller, ControllerType};

pub(super) fn check(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    for (kind, index) in duplicates(dev) {
        out.xml(
            "domain.controller-index",
            format!("Multiple '{kind}' controllers with index '{index}'"),
        );
    }
    duplicate_usb(dev, out);
    let threads = IoThreads::of(d);
    for c in &dev.controllers {
        let model = c.model.as_deref().unwrap_or_default();
        match c.kind {
            ControllerType::Usb => usb(c, out),
            ControllerType::Scsi => scsi(&threads, c, m, out),
            ControllerType::Pci if model.is_empty() => {
                out.internal("domain.pci-model", "PCI controller model was not set correctly");
            }
            ControllerType::Xenbus => out.internal(
                "domain.xenbus",
                "Cannot automatically add a new PCI bus for a device with connect flags 00",
            ),
            _ => {}
        }
        let driver = c.driver.as_ref();
        if driver.is_some_and(|v| v.iothread.is_some()) && c.kind != ControllerType::Scsi {
            out.xml(
                "domain.controller-iothread",
                "'iothread' attribute only supported for virtio scsi controllers",
            );
        }
        if c.kind != ControllerType::Scsi {
            virtio_scsi(c, out);
        }
    }
}

/// Kinds and numbers that more than one controller claims. Those of USB have a rule of their own,
/// which counts after the addresses.
pub(crate) fn duplicates(dev: &Devices) -> Vec<(&'static str, u32)> {
    let others = || {
        let others = dev.controllers.iter().filter(|c| c.kind != ControllerType::Usb);
        others.map(|c| (c.kind, c.index.unwrap_or(0)))
    };
    // Nearly always those of one kind stand in the order of their numbers.
    let mut last = [None; ControllerType::ALL.len()];
    if others().all(|(kind, index)| last[kind as usize].replace(index) < Some(index)) {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    others().filter(|key| !seen.insert(*key)).map(|(kind, index)| (kind.as_str(), index)).collect()
}

/// USB controllers of one number; the companions of USB 2 share it.
fn duplicate_usb(dev: &Devices, out: &mut Faults) {
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    for c in dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb) {
        let index = c.index.unwrap_or(0);
        let model = c.model.as_deref().unwrap_or_default();
        let usb2 = |model: &str| model.starts_with("ich9-");
        if seen.insert(index, model).is_some_and(|other| !usb2(model) || !usb2(other)) {
            out.xml(
                "domain.controller-index",
                format!("Duplicate USB controllers with index {index}"),
            );
        }
    }
}

fn usb(c: &Controller, out: &mut Faults) {
    let model = c.model.as_deref().unwrap_or_default();
    if matches!(model, "qusb1" | "qusb2") {
        out.unsupported(
            "domain.usb-model",
            "USB controller model type 'qusb1' or 'qusb2' is not supported in qemu",
        );
    }
    if matches!(model, "qemu-xhci" | "nec-xhci") && c.ports.is_some_and(|p| p > 15) {
        out.unsupported(
            "domain.usb-ports",
            format!("'{model}' controller only supports up to '15' ports"),
        );
    }
}

fn scsi(threads: &IoThreads, c: &Controller, m: &Machine, out: &mut Faults) {
    let model = c.model.as_deref().unwrap_or_default();
    if model == "buslogic" {
        out.unsupported("domain.scsi-model", format!("Unsupported controller model: {model}"));
    }
    if model == "ncr53c90" && !m.has_builtin_esp() {
        out.unsupported(
            "domain.scsi-model",
            "ncr53c90 SCSI controller is not a built-in for this machine",
        );
    }
    virtio_scsi(c, out);
    let Some(v) = &c.driver else { return };
    let virtio = model.starts_with("virtio");
    if let Some(id) = v.iothread {
        if !virtio {
            out.xml(
                "domain.controller-iothread",
                "'iothread' attribute only supported for virtio scsi controllers",
            );
        } else if !threads.has(id) {
            out.unsupported(
                "domain.controller-iothread",
                format!("controller iothread '{id}' not defined in iothreadid"),
            );
        }
    }
}

/// What just the SCSI controllers of virtio can be told.
fn virtio_scsi(c: &Controller, out: &mut Faults) {
    let Some(v) = &c.driver else { return };
    let virtio = c.kind == ControllerType::Scsi
        && c.model.as_deref().is_some_and(|model| model.starts_with("virtio"));
    for (there, name) in [
        (v.queues.is_some(), "queues"),
        (v.cmd_per_lun.is_some(), "cmd_per_lun"),
        (v.max_sectors.is_some(), "max_sectors"),
        (v.ioeventfd.is_some(), "ioeventfd"),
    ] {
        if there && !virtio {
            out.unsupported(
                "domain.scsi-driver",
                format!("'{name}' is only supported by virtio-scsi controller"),
            );
        }
    }
}
