//! USB: whether it is on, and companions of USB 2 controllers.

use std::collections::HashSet;

use super::super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::InputBus;
use crate::domain::devices::sound::SoundModel;

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    let usb = || dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb);
    if usb().any(|c| c.model.as_deref() == Some("none")) {
        disabled(dev, out);
        return;
    }
    let companion = |model: Option<&str>| model.is_some_and(|m| m.starts_with("ich9-uhci"));
    let masters: HashSet<_> =
        usb().filter(|c| c.model.as_deref() == Some("ich9-ehci1")).map(|c| c.index).collect();
    for c in usb().filter(|c| companion(c.model.as_deref())) {
        if !masters.contains(&c.index) {
            out.detail("domain.usb-companion", "No master USB controller specified");
            break;
        }
    }
}

fn disabled(dev: &Devices, out: &mut Faults) {
    if dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb).count() > 1 {
        out.detail(
            "domain.usb-none",
            "Can't add another USB controller: USB is disabled for this domain",
        );
    }
    if !dev.hubs.is_empty() {
        out.unsupported("domain.usb-none", "Can't add USB hub: USB is disabled for this domain");
    }
    if dev.inputs.iter().any(|i| i.bus == Some(InputBus::Usb)) {
        out.unsupported("domain.usb-none", "Can't add USB input device. USB bus is disabled");
    }
    if dev.disks.iter().any(|x| x.target.bus == Some(DiskBus::Usb)) {
        out.unsupported("domain.usb-none", "Can't add USB disk. USB bus is disabled");
    }
    if dev.hostdevs.iter().any(|h| h.kind == Some(HostdevType::Usb)) {
        out.unsupported(
            "domain.usb-none",
            "Can't add host USB device: USB is disabled in this host",
        );
    }
    let others = !dev.redirdevs.is_empty() || dev.sounds.iter().any(|s| s.model == SoundModel::Usb);
    if others {
        out.unsupported(
            "domain.usb-none",
            "USB is disabled for this domain, but USB devices are present in the domain XML",
        );
    }
}
