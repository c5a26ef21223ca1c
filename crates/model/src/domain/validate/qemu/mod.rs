//! What libvirt's QEMU driver does not take.

mod board;
mod chardevs;
mod controllers;
mod devices;
mod disk_bus;
mod disks;
pub(super) mod emulator;
mod hostdevs;
mod interfaces;
mod memory;
mod pci;
mod places;
mod platform;
pub(super) mod start;
pub(super) mod support;
mod usb;

use super::Faults;
use crate::domain::defaults::Machine;
use crate::domain::{Domain, VirtType};
pub(crate) use controllers::duplicates as duplicate_controllers;

/// Checks a domain whose defaults are filled in.
pub(super) fn check(d: &Domain, out: &mut Faults) {
    let m = Machine::of(d);
    platform::check(d, &m, out);
    board::check(d, &m, out);
    memory::check(d, out);
    if let Some(dev) = &d.devices {
        pci::check(d, dev, &m, out);
        places::addresses(d, dev, &m, out);
        controllers::check(d, dev, &m, out);
        places::drives(d, dev, out);
        if matches!(d.kind, VirtType::Qemu | VirtType::Kvm | VirtType::Hvf) {
            board::devices(dev, &m, out);
        }
        usb::check(d, dev, out);
        disks::check(d, dev, out);
        interfaces::check(d, dev, out);
        chardevs::check(dev, &m, out);
        devices::check(d, dev, &m, out);
        hostdevs::check(dev, out);
    }
}

/// Whether the guest's memory can be seen by other processes.
fn shares_memory(d: &Domain) -> bool {
    use crate::domain::memory::MemoryAccess;
    let shared = |a: Option<MemoryAccess>| a == Some(MemoryAccess::Shared);
    let backing = d.memory_backing.as_ref();
    let access = backing.and_then(|b| b.access.as_ref()).map(|a| a.mode);
    let cells = d.cpu.iter().filter_map(|c| c.numa.as_ref()).flat_map(|n| &n.cells);
    let (mut any, mut all) = (false, true);
    for c in cells {
        any = true;
        all &= shared(c.mem_access) || c.mem_access.is_none() && shared(access);
    }
    if any { all } else { shared(access) }
}
