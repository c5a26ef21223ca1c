//! What no driver of libvirt takes.

pub(super) mod chardevs;
mod cpu;
mod disk_source;
pub(super) mod disks;
mod graphics;
mod guest;
mod hostdevs;
mod interfaces;
mod machine;
pub(super) mod tune;
mod unique;
mod usb;

use super::Faults;
use crate::domain::Domain;
use crate::domain::address::Address;

pub(super) use disk_source::image;

/// Checks a domain whose type defaults are filled in.
pub(super) fn check(d: &Domain, out: &mut Faults) {
    guest::check(d, out);
    cpu::check(d, out);
    tune::check(d, out);
    unique::check(d, out);
    unassigned(d, false, out);
    if let Some(dev) = &d.devices {
        disks::check(dev, out);
        interfaces::check(dev, out);
        chardevs::check(dev, out);
        hostdevs::check(dev, out);
        machine::check(d, dev, out);
    }
}

/// Devices whose own rules about addresses are asked first.
const OWN_RULES: &[&str] = &["disk", "input", "panic", "redirdev"];

/// Only a device of the host may be left without a place.
pub(super) fn unassigned(d: &Domain, own_rules: bool, out: &mut Faults) {
    crate::domain::walk::look_at_each(d, &mut |i| {
        let asked = i.element != "hostdev" && OWN_RULES.contains(&i.element) == own_rules;
        if asked && matches!(i.address, Some(Address::Unassigned(_))) {
            out.unsupported(
                "domain.unassigned-address",
                "address of type 'unassigned' is supported only for hostdevs",
            );
        }
    });
}

/// Checks what is said of a firmware that is to be chosen; one that is named may yet turn out to be
/// of a kind.
pub(super) fn firmware(d: &Domain, out: &mut Faults) {
    if let Some(os) = d.os.as_ref().filter(|os| os.firmware.is_some()) {
        guest::firmware(d, os, out);
    }
}

/// Checks what the defaults would change.
pub(super) fn written(d: &Domain, out: &mut Faults) {
    unique::written(d, out);
    if let Some(dev) = &d.devices {
        graphics::check(dev, out);
        machine::written(dev, out);
        usb::written(dev, out);
    }
    if let Some(numa) = d.cpu.as_ref().and_then(|c| c.numa.as_ref()) {
        cpu::distances(numa, out);
    }
    if let Some(c) = &d.cpu {
        cpu::written(c, out);
    }
}
