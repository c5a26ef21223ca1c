//! USB that is off, and devices that need it.

use super::super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::InputBus;

/// What libvirt refuses while it reads a guest whose USB is off.
pub(super) fn written(dev: &Devices, out: &mut Faults) {
    let usb = || dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb);
    if !usb().any(|c| c.model.as_deref() == Some("none")) {
        return;
    }
    if usb().count() > 1 {
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
    if dev.hostdevs.iter().any(|h| h.kind == Some(HostdevType::Usb)) {
        out.unsupported(
            "domain.usb-none",
            "Can't add host USB device: USB is disabled in this host",
        );
    }
}
