//! Controllers and the PCI topology.

use std::collections::BTreeMap;

use super::Faults;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::input::InputBus;

pub(super) fn check(dev: &Devices, m: &Machine, out: &mut Faults) {
    let mut seen: BTreeMap<(ControllerTypeKey, u32), &str> = BTreeMap::new();
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
        if let Some(known) = models(c.kind)
            && !model.is_empty()
            && !known.contains(&model)
        {
            out.unsupported("domain.controller-model", format!("Unknown model type '{model}'"));
        }
        if c.kind == ControllerType::Pci {
            if model.ends_with("-root") && c.address.is_some() {
                out.unsupported(
                    "domain.pci-root-address",
                    "pci-root and pcie-root controllers should not have an address",
                );
            }
            if index == 0
                && let Some(want) = m.implied_pci_root()
            {
                if model != want {
                    out.xml(
                        "domain.pci-root",
                        format!(
                            "The PCI controller with index='0' must be model='{want}' for this machine type, but model='{model}' was found instead"
                        ),
                    );
                }
            }
        }
        if c.kind == ControllerType::Usb
            && matches!(model, "qemu-xhci" | "nec-xhci")
            && c.ports.is_some_and(|p| p > 15)
        {
            out.unsupported(
                "domain.usb-ports",
                format!("'{model}' controller only supports up to '15' ports"),
            );
        }
        let scsi = c.kind == ControllerType::Scsi && model.starts_with("virtio");
        if c.driver.as_ref().is_some_and(|v| v.iothread.is_some()) && !scsi {
            out.xml(
                "domain.controller-iothread",
                "'iothread' attribute only supported for virtio scsi controllers",
            );
        }
    }
    usb(dev, out);
}

type ControllerTypeKey = &'static str;

fn usb(dev: &Devices, out: &mut Faults) {
    let none = dev
        .controllers
        .iter()
        .any(|c| c.kind == ControllerType::Usb && c.model.as_deref() == Some("none"));
    if none {
        if dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb).count() > 1 {
            out.detail(
                "domain.usb-none",
                "Can't add another USB controller: USB is disabled for this domain",
            );
        }
        if !dev.hubs.is_empty() {
            out.unsupported(
                "domain.usb-none",
                "Can't add USB hub: USB is disabled for this domain",
            );
        }
        if dev.inputs.iter().any(|i| i.bus == Some(InputBus::Usb)) {
            out.unsupported("domain.usb-none", "Can't add USB input device. USB bus is disabled");
        }
        if dev.disks.iter().any(|x| x.target.bus == Some(DiskBus::Usb)) {
            out.unsupported("domain.usb-none", "Can't add USB disk. USB bus is disabled");
        }
    }
    let companion = |c: &crate::domain::devices::controller::Controller| {
        c.kind == ControllerType::Usb
            && c.model.as_deref().is_some_and(|m| m.starts_with("ich9-uhci"))
    };
    for c in dev.controllers.iter().filter(|c| companion(c)) {
        let master = dev.controllers.iter().any(|x| {
            x.kind == ControllerType::Usb
                && x.index == c.index
                && x.model.as_deref() == Some("ich9-ehci1")
        });
        if !master {
            out.detail("domain.usb-companion", "No master USB controller specified");
            break;
        }
    }
}

/// Models of a controller type; `None` where any is accepted here.
fn models(kind: ControllerType) -> Option<&'static [&'static str]> {
    Some(match kind {
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
        _ => return None,
    })
}
