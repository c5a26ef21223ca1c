//! USB: whether it is on, and companions of USB 2 controllers.

use std::collections::HashSet;

use super::super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharTargetType, Serial};
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::InputBus;
use crate::domain::devices::interface::Interface;
use crate::domain::devices::sound::SoundModel;
use crate::domain::{Domain, VirtType};

pub(super) fn check(d: &Domain, dev: &Devices, out: &mut Faults) {
    let usb = || dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb);
    if usb().any(|c| c.model.as_deref() == Some("none")) {
        if uses_usb(dev) {
            out.unsupported("domain.usb-none", NO_USB);
        }
        return;
    }
    let ours = matches!(d.kind, VirtType::Qemu | VirtType::Kvm | VirtType::Hvf);
    if ours && usb().next().is_none() && uses_usb(dev) {
        out.unsupported("domain.usb-controller", NO_USB);
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

/// What libvirt says of devices that find no USB controller.
const NO_USB: &str =
    "USB is disabled for this domain, but USB devices are present in the domain XML";

/// Whether any device needs a USB controller.
fn uses_usb(dev: &Devices) -> bool {
    !dev.hubs.is_empty()
        || dev.inputs.iter().any(|i| i.bus == Some(InputBus::Usb))
        || dev.hostdevs.iter().any(|h| h.kind == Some(HostdevType::Usb))
        || finds_none(dev)
}

/// Whether any device looks for a USB port that has no words of its own for not finding one.
fn finds_none(dev: &Devices) -> bool {
    let serial = |serial: &Serial| {
        serial.target.as_ref().and_then(|target| target.kind) == Some(CharTargetType::UsbSerial)
    };
    let card = |interface: &Interface| {
        interface.model.as_ref().is_some_and(|model| model.kind == "usb-net")
    };
    !dev.redirdevs.is_empty()
        || dev.disks.iter().any(|x| x.target.bus == Some(DiskBus::Usb))
        || dev.sounds.iter().any(|s| s.model == SoundModel::Usb)
        || dev.controllers.iter().any(|c| c.kind == ControllerType::Ccid)
        || dev.interfaces.iter().any(card)
        || dev.serials.iter().any(serial)
}
