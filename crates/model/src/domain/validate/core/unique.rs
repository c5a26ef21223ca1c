//! What must be there only once: names, boot orders, addresses.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::defaults::Machine;

/// What libvirt finds while it reads, before it asks what the emulator can do.
pub(super) fn written(d: &Domain, out: &mut Faults) {
    crate::domain::walk::look_at_each(d, &mut |i| {
        if let Some(Some(b)) = i.boot
            && let Some(l) = &b.loadparm
            && (1..=8).contains(&l.len())
            && !l.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b' '))
        {
            out.internal(
                "domain.loadparm",
                format!("invalid loadparm value '{l}', expecting chars in set of [a-zA-Z0-9.] and blank spaces"),
            );
        } else if let Some(Some(b)) = i.boot
            && let Some(l) = &b.loadparm
            && !(1..=8).contains(&l.len())
        {
            out.internal(
                "domain.loadparm",
                format!("loadparm value '{l}' must be between 1 and 8 characters"),
            );
        }
    });
}

pub(super) fn check(d: &Domain, out: &mut Faults) {
    let mut aliases = BTreeSet::new();
    let mut orders = BTreeSet::new();
    let mut pci = BTreeMap::new();
    for (slot, function) in chipset(&Machine::of(d)) {
        pci.insert((0, 0, slot, function), ());
    }
    let mut usb = BTreeSet::new();
    let mut ccw = BTreeSet::new();
    let mut vio = BTreeSet::new();
    let mut serial_ports = BTreeSet::new();
    let classes_used = d.os.as_ref().is_some_and(|o| !o.boot.is_empty());
    let mut mixed = false;
    crate::domain::walk::look_at_each(d, &mut |i| {
        let console_copy = i.element == "console" && i.index == 0;
        if let Some(a) = i.alias.as_ref()
            && !console_copy
            && !aliases.insert(a.name.clone())
        {
            out.unsupported("domain.alias", format!("non unique alias detected: {}", a.name));
        }
        if let Some(Some(b)) = i.boot {
            if b.order == 0 {
                out.xml(
                    "domain.boot-order",
                    "Invalid value for attribute 'order' in element 'boot': Zero is not permitted",
                );
            } else if !orders.insert(b.order) {
                out.unsupported(
                    "domain.boot-order",
                    format!("boot order '{}' used for more than one device", b.order),
                );
            }
            mixed |= classes_used;
        }
        if i.acpi.as_ref().and_then(|a| a.index) == Some(0) {
            out.xml(
                "domain.acpi-index",
                "Invalid value for attribute 'index' in element 'acpi': Zero is not permitted",
            );
        }
        match i.address.as_ref() {
            Some(Address::Pci(a)) => {
                pci_range(a, out);
                let key = (a.domain.0, a.bus.0, a.slot.0, a.function.0);
                if (key.0, key.1, key.2) != (0, 0, 0)
                    && !console_copy
                    && pci.insert(key, ()).is_some()
                {
                    out.xml(
                        "domain.pci-duplicate",
                        format!(
                            "Attempted double use of PCI Address {:04x}:{:02x}:{:02x}.{:x}",
                            key.0, key.1, key.2, key.3
                        ),
                    );
                }
            }
            Some(Address::Usb(a)) => {
                if let Some(p) = &a.port
                    && i.element != "controller"
                    && !usb.insert((a.bus, p.clone()))
                {
                    out.xml(
                        "domain.usb-duplicate",
                        format!("Duplicate USB address bus {} port {p}", a.bus),
                    );
                }
            }
            Some(Address::SpaprVio(a)) if !console_copy => {
                if let Some(r) = a.reg
                    && !vio.insert(r.0)
                {
                    out.xml(
                        "domain.vio-duplicate",
                        format!("spapr-vio address 0x{:x} already in use", r.0),
                    );
                }
            }
            Some(Address::Ccw(a)) if !console_copy => {
                if let (Some(css), Some(ss), Some(dev)) = (a.cssid, a.ssid, a.devno)
                    && !ccw.insert((css.0, ss.0, dev.0))
                {
                    let place = format!("{:x}.{:x}.{:04x}", css.0, ss.0, dev.0);
                    out.xml(
                        "domain.ccw-duplicate",
                        format!("The CCW devno '{place}' is in use already"),
                    );
                }
            }
            Some(Address::VirtioSerial(a)) => {
                if let Some(p) = a.port
                    && !serial_ports.insert((a.controller, p))
                {
                    let controller = a.controller;
                    out.xml(
                        "domain.virtio-serial-duplicate",
                        format!(
                            "virtio serial port {p} on controller {controller} is already occupied"
                        ),
                    );
                }
            }
            _ => {}
        }
    });
    if mixed {
        out.unsupported(
            "domain.boot-mixed",
            "per-device boot elements cannot be used together with os/boot elements",
        );
    }
}

/// Slots and functions of the first bus that the board has itself: bridges and power management.
fn chipset(m: &Machine) -> [(u64, u64); 2] {
    match () {
        () if m.is_i440fx() => [(1, 0), (1, 3)],
        () if m.is_q35() => [(0x1f, 0), (0x1f, 3)],
        () => [(0, 0); 2],
    }
}

pub(super) fn pci_range(a: &crate::domain::address::PciAddress, out: &mut Faults) {
    if a.domain.0 == 0 && a.bus.0 == 0 && a.slot.0 == 0 {
        return;
    }
    if a.bus.0 > 0xff {
        out.xml(
            "domain.pci-range",
            format!("Invalid PCI address bus='0x{:x}', must be <= 0xFF", a.bus.0),
        );
    }
    if a.slot.0 > 0x1f {
        out.xml(
            "domain.pci-range",
            format!("Invalid PCI address slot='0x{:x}', must be <= 0x1F", a.slot.0),
        );
    }
    if a.function.0 > 7 {
        out.xml(
            "domain.pci-range",
            format!("Invalid PCI address function=0x{:x}, must be <= 7", a.function.0),
        );
    }
    if let Some(z) = &a.zpci
        && let Some(u) = z.uid
        && !(1..=0xffff).contains(&u.0)
    {
        out.xml(
            "domain.zpci-uid",
            format!("Invalid PCI address uid='0x{:04x}', must be > 0x0000 and <= 0xffff", u.0),
        );
    }
}
