//! Controllers.

use std::collections::BTreeMap;

use super::super::Faults;
use super::super::core::tune::has_iothread;
use crate::domain::Domain;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::{Controller, ControllerType};

pub(super) fn check(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    let mut seen: BTreeMap<(&str, u32), &str> = BTreeMap::new();
    for c in &dev.controllers {
        let index = c.index.unwrap_or(0);
        let model = c.model.as_deref().unwrap_or_default();
        let key = (c.kind.as_str(), index);
        let usb2 = c.kind == ControllerType::Usb && model.starts_with("ich9-");
        if seen.insert(key, model).is_some_and(|other| !usb2 || !other.starts_with("ich9-")) {
            out.xml(
                "domain.controller-index",
                format!("Multiple '{}' controllers with index '{index}'", c.kind.as_str()),
            );
        }
        if !model.is_empty() && !models(c.kind).contains(&model) {
            out.unsupported("domain.controller-model", format!("Unknown model type '{model}'"));
            continue;
        }
        match c.kind {
            ControllerType::Fdc if index > 0 => {
                out.internal("domain.fdc", "Only 1 fdc controller is supported");
            }
            ControllerType::Usb => usb(c, out),
            ControllerType::Scsi => scsi(d, c, m, out),
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
        let virtio = c.kind == ControllerType::VirtioSerial
            || c.kind == ControllerType::Scsi && model.starts_with("virtio");
        if let Some(v) = driver
            && !virtio
        {
            super::super::virtio_options(&v.virtio, out);
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

fn scsi(d: &Domain, c: &Controller, m: &Machine, out: &mut Faults) {
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
    let Some(v) = &c.driver else { return };
    let virtio = model.starts_with("virtio");
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
    if let Some(id) = v.iothread {
        if !virtio {
            out.xml(
                "domain.controller-iothread",
                "'iothread' attribute only supported for virtio scsi controllers",
            );
        } else if !has_iothread(d, id) {
            out.unsupported(
                "domain.controller-iothread",
                format!("controller iothread '{id}' not defined in iothreadid"),
            );
        }
    }
}

/// Models of a controller type.
fn models(kind: ControllerType) -> &'static [&'static str] {
    match kind {
        ControllerType::Scsi => &[
            "auto",
            "buslogic",
            "lsilogic",
            "lsisas1068",
            "vmpvscsi",
            "ibmvscsi",
            "virtio-scsi",
            "lsisas1078",
            "virtio-transitional",
            "virtio-non-transitional",
            "ncr53c90",
            "dc390",
            "am53c974",
        ],
        ControllerType::Usb => &[
            "default",
            "none",
            "piix3-uhci",
            "piix4-uhci",
            "ehci",
            "ich9-ehci1",
            "ich9-uhci1",
            "ich9-uhci2",
            "ich9-uhci3",
            "vt82c686b-uhci",
            "pci-ohci",
            "nec-xhci",
            "qusb1",
            "qusb2",
            "qemu-xhci",
        ],
        ControllerType::Pci => &[
            "pci-root",
            "pcie-root",
            "pci-bridge",
            "dmi-to-pci-bridge",
            "pcie-to-pci-bridge",
            "pcie-root-port",
            "pcie-switch-upstream-port",
            "pcie-switch-downstream-port",
            "pci-expander-bus",
            "pcie-expander-bus",
        ],
        ControllerType::Ide => &["piix3", "piix4", "ich6"],
        ControllerType::VirtioSerial => {
            &["virtio", "virtio-transitional", "virtio-non-transitional"]
        }
        _ => &[],
    }
}
