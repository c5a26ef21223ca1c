//! Whether PCI addresses that are given can be.

use super::Machine;
use super::pci_bus::{Bus, connect::*};
use super::pci_flags::{address_of, all, flags};
use crate::domain::Domain;
use crate::domain::address::{Address, PciAddress};
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use diag::ErrorCode;

/// The buses of a domain's PCI controllers, by number.
fn buses(dev: &Devices) -> Vec<Option<Bus>> {
    let mut buses: Vec<Option<Bus>> = Vec::new();
    for c in dev.controllers.iter().filter(|c| c.kind == ControllerType::Pci) {
        let i = c.index.unwrap_or(0) as usize;
        if i < 256 {
            if buses.len() <= i {
                buses.resize(i + 1, None);
            }
            buses[i] = Bus::new(c.model.as_deref().unwrap_or_default(), false);
        }
    }
    buses
}

/// Why nothing can come to a running guest at this PCI address, in libvirt's words.
pub(crate) fn no_hotplug(dev: &Devices, a: &PciAddress) -> Option<(ErrorCode, String)> {
    if a.function.0 != 0 {
        let text = "Only PCI device addresses with function=0 are supported".to_owned();
        return Some((ErrorCode::INTERNAL_ERROR, text));
    }
    let (name, buses) = (name(a), buses(dev));
    let Some(bus) = buses.get(a.bus.0 as usize) else {
        let last = buses.len().saturating_sub(1);
        let text = format!("Invalid PCI address {name}. Only PCI buses up to {last} are available");
        return Some((ErrorCode::XML_ERROR, text));
    };
    let fixed = bus.as_ref().is_some_and(|bus| bus.flags & HOTPLUG == 0);
    let index = a.bus.0;
    fixed.then(|| {
        let text = format!(
            "The device at PCI address {name} requires hotplug capability, but the PCI controller \
             with index='{index}' doesn't support hotplug"
        );
        (ErrorCode::XML_ERROR, text)
    })
}

/// A PCI address as messages tell it.
fn name(a: &PciAddress) -> String {
    format!("{:04x}:{:02x}:{:02x}.{:x}", a.domain.0, a.bus.0, a.slot.0, a.function.0)
}

/// What is wrong with the PCI addresses of a domain whose defaults are filled in, in libvirt's
/// words.
pub(crate) fn pci_fit(d: &Domain, m: &Machine) -> Vec<String> {
    let mut out = Vec::new();
    let Some(dev) = d.devices.as_ref().filter(|_| m.supports_pci()) else { return out };
    let buses = buses(dev);
    if buses.iter().all(Option::is_none) {
        return out;
    }
    for x in all(dev) {
        let (Some(Address::Pci(a)), f) = (address_of(dev, x), flags(dev, m, x)) else { continue };
        if f == 0 || in_range(a).is_none() {
            continue;
        }
        let Some(Some(bus)) = buses.get(a.bus.0 as usize) else { continue };
        out.extend(unfit(bus, f, &name(a), a));
    }
    out
}

fn in_range(a: &PciAddress) -> Option<()> {
    (a.bus.0 <= 0xff && a.slot.0 <= 0x1f && a.function.0 <= 7).then_some(())
}

/// Why a device cannot be plugged into a bus where the user wants it. An endpoint may go wherever
/// there is a slot for endpoints of either kind.
fn unfit(bus: &Bus, f: u32, name: &str, a: &PciAddress) -> Option<String> {
    let wanted = f & TYPES;
    let endpoints = PCI | PCIE;
    let found = bus.flags & TYPES;
    let fits = wanted & found != 0
        || wanted & endpoints != 0 && found & endpoints != 0
        || f & INTEGRATED != 0 && bus.flags & INTEGRATED != 0;
    if fits {
        return None;
    }
    let what = match wanted {
        w if w & ROOT_PORT != 0 => "a pcie-root-port",
        w if w & UPSTREAM != 0 => "a pcie-switch-upstream-port",
        w if w & DOWNSTREAM != 0 => "a pcie-switch-downstream-port",
        w if w & DMI != 0 => "a dmi-to-pci-bridge",
        w if w & PCIE_TO_PCI != 0 => "a pcie-to-pci-bridge",
        w if w & BRIDGE != 0 => "a pci-bridge",
        w if w & PXB_PCIE != 0 => "a pcie-expander-bus",
        w if w & PXB != 0 => "a pci-expander-bus",
        w if w & PCIE != 0 => "a PCI Express device",
        _ => "a standard PCI device",
    };
    Some(format!(
        "The device at PCI address {name} cannot be plugged into the PCI controller with index='{}'. It requires a controller that accepts {what}.",
        a.bus.0
    ))
}
