//! Host devices.

use xml::OnOff;

use super::super::Faults;
use crate::domain::address;
use crate::domain::devices::Devices;
use crate::domain::devices::hostdev::{HostdevMode, HostdevType};

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    let mut ramfb = 0;
    for h in &dev.hostdevs {
        if h.mode == HostdevMode::Capabilities {
            out.unsupported(
                "domain.hostdev-mode",
                "hostdev mode 'capabilities' is not supported in qemu",
            );
        }
        let shown = h.model.as_deref().is_none_or(|model| model == "vfio-pci");
        if shown && h.display == Some(OnOff::On) && dev.graphics.is_empty() {
            out.unsupported(
                "domain.hostdev-display",
                "graphics device is needed for attribute value 'display=on' in <hostdev>",
            );
        }
        ramfb += usize::from(h.ramfb == Some(OnOff::On));
        match h.kind {
            Some(HostdevType::Pci)
                if h.source.as_ref().is_some_and(|s| s.write_filtering.is_some()) =>
            {
                out.unsupported(
                    "domain.hostdev-filtering",
                    "Write filtering of PCI device configuration space is not supported by qemu",
                );
            }
            Some(HostdevType::Usb)
                if h.address.as_ref().is_some_and(|a| address::kind(a) != "usb") =>
            {
                out.unsupported(
                    "domain.hostdev-address",
                    "USB host device must use 'usb' address type",
                );
            }
            Some(HostdevType::Mdev) => {
                let model = h.model.as_deref().unwrap_or_default();
                if h.boot.is_some() && model != "vfio-ccw" {
                    out.unsupported(
                        "domain.hostdev-boot",
                        format!(
                            "booting from assigned devices is not supported by mediated devices of model {model}"
                        ),
                    );
                }
            }
            _ => {}
        }
    }
    let matrices = dev.hostdevs.iter().filter(|h| h.model.as_deref() == Some("vfio-ap")).count();
    if matrices > 1 {
        out.unsupported("domain.hostdev-count", "Only one hostdev of model vfio-ap is supported");
    }
    if ramfb > 1 {
        out.unsupported("domain.hostdev-ramfb", "Only one vgpu device can have 'ramfb' enabled");
    }
}
