//! Ports of virtio-serial controllers, smart card slots.

use std::collections::HashSet;

use super::implied;
use crate::domain::Domain;
use crate::domain::address::{Address, CcidAddress, VirtioSerialAddress};
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::ControllerType;

/// Ports of a controller that names no number; port 0 belongs to consoles.
const PORTS: u32 = 31;

/// The ports of one controller.
struct Ports {
    index: u32,
    count: u32,
    /// The ports before this one are taken.
    next: u32,
}

impl Ports {
    /// Those of a guest's controllers, in the order of their indexes.
    fn all(dev: &Devices) -> Vec<Self> {
        let controllers = dev.controllers.iter();
        let mut all: Vec<_> = controllers
            .filter(|c| c.kind == ControllerType::VirtioSerial)
            .map(|c| Self { index: c.index.unwrap_or(0), count: c.ports.unwrap_or(PORTS), next: 1 })
            .collect();
        // Of an index that stands twice (a fault, told elsewhere) the larger counts.
        all.sort_unstable_by_key(|c| (c.index, std::cmp::Reverse(c.count)));
        all.dedup_by_key(|c| c.index);
        all
    }

    /// The first free port, as controller and port.
    fn open(&mut self, taken: &HashSet<(u32, u32)>) -> Option<(u32, u32)> {
        while self.next < self.count && taken.contains(&(self.index, self.next)) {
            self.next += 1;
        }
        (self.next < self.count).then_some((self.index, self.next))
    }
}

/// Assigns what is open.
pub(super) fn assign(d: &mut Domain) {
    let dev = d.devices_mut();
    let mut taken: HashSet<(u32, u32)> = dev
        .channels
        .iter()
        .chain(&dev.consoles)
        .filter_map(|c| match &c.address {
            Some(Address::VirtioSerial(a)) => a.port.map(|p| (a.controller, p)),
            _ => None,
        })
        .collect();
    let mut controllers = Ports::all(dev);
    let mut added = Vec::new();
    // Controllers before this one, in order, have no free port.
    let mut first = 0;
    for c in &mut dev.channels {
        if c.target.as_ref().and_then(|t| t.kind) != Some(CharTargetType::Virtio) {
            continue;
        }
        let wanted = match &c.address {
            Some(Address::VirtioSerial(a)) if a.port.is_none_or(|p| p == 0) => Some(a.controller),
            Some(_) => continue,
            None => None,
        };
        while controllers.get_mut(first).is_some_and(|c| c.open(&taken).is_none()) {
            first += 1;
        }
        let chosen = match wanted {
            None => Some(first),
            Some(index) => controllers.binary_search_by_key(&index, |c| c.index).ok(),
        };
        let open = chosen.and_then(|i| controllers.get_mut(i)?.open(&taken));
        let place = open.unwrap_or_else(|| {
            let index = controllers.last().map_or(0, |c| c.index.saturating_add(1));
            controllers.push(Ports { index, count: PORTS, next: 1 });
            added.push((ControllerType::VirtioSerial, index, None));
            (index, 1)
        });
        taken.insert(place);
        c.address = Some(Address::VirtioSerial(VirtioSerialAddress {
            controller: place.0,
            bus: 0,
            port: Some(place.1),
        }));
    }
    implied::ensure_controllers(d, added);
    smartcards(d);
}

/// The part that needs no hypervisor: smart cards.
pub(super) fn assign_core(d: &mut Domain) {
    smartcards(d);
}

/// Smart cards sit in the slots of the first reader.
fn smartcards(d: &mut Domain) {
    let dev = d.devices_mut();
    let taken: HashSet<(u32, u32)> = dev
        .smartcards
        .iter()
        .filter_map(|c| match &c.address {
            Some(Address::Ccid(a)) => Some((a.controller, a.slot)),
            _ => None,
        })
        .collect();
    let mut free = (0..).filter(|slot| !taken.contains(&(0, *slot)));
    let mut readers = Vec::new();
    for c in &mut dev.smartcards {
        let address = c.address.get_or_insert_with(|| {
            Address::Ccid(CcidAddress { controller: 0, slot: free.next().unwrap_or(0) })
        });
        if let Address::Ccid(a) = address {
            readers.push((ControllerType::Ccid, a.controller, None));
        }
    }
    implied::ensure_controllers(d, readers);
}
