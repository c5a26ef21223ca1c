//! Addresses that libvirt writes over without looking: those of devices with one place they can
//! have, and of devices that are none.

use super::machine::Machine;
use crate::domain::address::{Address, is_pci_place};
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::memballoon::BalloonModel;
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};
use crate::domain::devices::video::{Video, VideoType};

/// Drops them, so that the devices are placed as if nothing had been said.
pub(super) fn drop(dev: &mut Devices, m: &Machine) {
    let foreign = |a: &Address| !matches!(a, Address::Pci(_));
    for c in dev.controllers.iter_mut().filter(|c| pinned(c, m) || is_none(c)) {
        c.address = c.address.take().filter(|a| !foreign(a));
    }
    for b in dev.memballoons.iter_mut().filter(|b| b.model == BalloonModel::None) {
        b.address = b.address.take().filter(|a| !foreign(a));
    }
    let is_none = |v: &&mut Video| v.model.as_ref().is_some_and(|m| m.kind == VideoType::None);
    for v in dev.videos.iter_mut().filter(is_none) {
        v.address = v.address.take().filter(|a| !foreign(a));
    }
    let dimm = |m: &&mut MemoryDevice| matches!(m.model, MemoryModel::Dimm | MemoryModel::Nvdimm);
    for m in dev.memories.iter_mut().filter(dimm) {
        m.address = m.address.take().filter(|a| matches!(a, Address::Dimm(_)) || is_pci_place(a));
    }
    for h in &mut dev.hubs {
        h.address = h.address.take().filter(|a| matches!(a, Address::Usb(_)));
    }
    for c in &mut dev.channels {
        if c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Virtio) {
            c.address = c.address.take().filter(|a| matches!(a, Address::VirtioSerial(_)));
        }
    }
}

/// Part of the chipset, which gives it its place.
fn pinned(c: &Controller, m: &Machine) -> bool {
    let first = c.index.unwrap_or(0) == 0;
    match c.kind {
        ControllerType::Ide => first && m.is_i440fx(),
        ControllerType::Sata => first && m.is_q35(),
        ControllerType::Usb => {
            first && m.is_i440fx() && matches!(c.model.as_deref(), None | Some("piix3-uhci"))
        }
        _ => false,
    }
}

fn is_none(c: &Controller) -> bool {
    c.kind == ControllerType::Usb && c.model.as_deref() == Some("none")
}
