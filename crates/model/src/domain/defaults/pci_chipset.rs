//! What the chipsets of the PC keep for themselves, and devices that have a fixed place on them.

use std::collections::HashSet;

use xml::OnOff;

use super::Machine;
use super::pci::{Set, at, is_open, set, usb2_function};
use super::pci_flags::Dev;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::video::VideoType;

/// Places that belong to the chipset, and devices that have a fixed place on it.
pub(super) fn reserve(s: &mut Set, d: &mut Domain, m: &Machine) {
    let Some(dev) = d.devices.as_mut() else { return };
    if m.is_i440fx() {
        // 00:01.x is the PIIX3: ISA bridge, IDE, USB, power management.
        for i in 0..dev.controllers.len() {
            let c = &dev.controllers[i];
            let fixed = match c.kind {
                ControllerType::Ide if c.index == Some(0) => Some(1),
                ControllerType::Usb
                    if c.index == Some(0)
                        && matches!(c.model.as_deref(), Some("piix3-uhci") | None) =>
                {
                    Some(2)
                }
                _ => None,
            };
            let open = match &c.address {
                None => true,
                Some(Address::Pci(a)) => is_open(a),
                _ => false,
            };
            if let Some(f) = fixed
                && open
            {
                set(dev, Dev::Controller(i), at(0, 1, f));
            }
        }
        for f in 0..8 {
            s.mark(0, 1, f, 0);
        }
        primary_video(s, dev, 2);
    } else if m.is_q35() {
        let mut sata_done = false;
        let (elsewhere, mut users) = usb2_users(&dev.controllers);
        for i in 0..dev.controllers.len() {
            let c = &dev.controllers[i];
            let open = match &c.address {
                None => true,
                Some(Address::Pci(a)) => is_open(a),
                _ => false,
            };
            match c.kind {
                ControllerType::Sata if c.index == Some(0) && open && !sata_done => {
                    sata_done = true;
                    if s.is_free(0, 0x1f, 2) {
                        set(dev, Dev::Controller(i), at(0, 0x1f, 2));
                        s.mark(0, 0x1f, 2, 0);
                    }
                }
                ControllerType::Usb if open => {
                    if let Some(f) = usb2_function(c) {
                        // The two USB 2 slots of the chipset; parts of one controller together.
                        let index = c.index;
                        if !elsewhere.contains(&index) {
                            let used_by_other = |n: usize| users[n].iter().any(|x| *x != index);
                            let open = (0..USB2_SLOTS.len()).find(|n| {
                                !used_by_other(*n) && s.is_free(0, USB2_SLOTS[*n] as usize, f)
                            });
                            if let Some(n) = open {
                                let slot = USB2_SLOTS[n];
                                users[n].insert(index);
                                s.mark(0, slot as usize, f, 0);
                                let mut a = at(0, slot, u64::from(f));
                                if f == 0 {
                                    a.multifunction = Some(OnOff::On);
                                }
                                set(dev, Dev::Controller(i), a);
                            }
                        }
                    }
                }
                ControllerType::Pci
                    if open
                        && c.model.as_deref() == Some("dmi-to-pci-bridge")
                        && s.slot_is_free(0, 0x1e) =>
                {
                    set(dev, Dev::Controller(i), at(0, 0x1e, 0));
                    s.mark(0, 0x1e, 0, 0);
                }
                _ => {}
            }
        }
        // ISA bridge and SMBus.
        s.mark(0, 0x1f, 0, 0);
        s.mark(0, 0x1f, 3, 0);
        for i in 0..dev.sounds.len() {
            let x = &dev.sounds[i];
            let open = match &x.address {
                None => true,
                Some(Address::Pci(a)) => is_open(a),
                _ => false,
            };
            if open
                && x.model == crate::domain::devices::sound::SoundModel::Ich9
                && s.slot_is_free(0, 0x1b)
            {
                set(dev, Dev::Sound(i), at(0, 0x1b, 0));
                s.mark(0, 0x1b, 0, 0);
                break;
            }
        }
        primary_video(s, dev, 1);
    }
}

/// The slots that the ICH9 chipset keeps for its USB 2 controllers.
const USB2_SLOTS: [u64; 2] = [0x1d, 0x1a];

/// Indexes of USB controllers.
type Indexes = HashSet<Option<u32>>;

/// The sets of USB 2 controllers that have another place, and those in each of the chipset's slots.
fn usb2_users(list: &[Controller]) -> (Indexes, [Indexes; 2]) {
    let mut elsewhere = Indexes::new();
    let mut users: [Indexes; 2] = Default::default();
    for c in list.iter().filter(|c| c.kind == ControllerType::Usb) {
        let Some(Address::Pci(a)) = &c.address else { continue };
        if usb2_function(c).is_some() && !is_open(a) && !USB2_SLOTS.contains(&a.slot.0) {
            elsewhere.insert(c.index);
        }
        for (slot, users) in USB2_SLOTS.into_iter().zip(&mut users) {
            if a.bus.0 == 0 && a.slot.0 == slot {
                users.insert(c.index);
            }
        }
    }
    (elsewhere, users)
}

/// The first video card sits at a fixed slot where that is free.
fn primary_video(s: &mut Set, dev: &mut crate::domain::devices::Devices, slot: u64) {
    let Some(v) = dev.videos.first() else { return };
    let kind = v.model.as_ref().map(|m| m.kind);
    if matches!(kind, None | Some(VideoType::None | VideoType::Ramfb)) {
        return;
    }
    let open = match &v.address {
        None => true,
        Some(Address::Pci(a)) => is_open(a),
        _ => false,
    };
    if open && s.slot_is_free(0, slot as usize) {
        set(dev, Dev::Video(0), at(0, slot, 0));
        s.mark(0, slot as usize, 0, 0);
    }
}
