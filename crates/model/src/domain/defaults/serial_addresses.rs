//! Ports of virtio-serial controllers, smart card slots.

use std::collections::HashSet;

use super::implied;
use crate::domain::Domain;
use crate::domain::address::{Address, CcidAddress, VirtioSerialAddress};
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::ControllerType;

/// Ports of a controller that names no number; port 0 belongs to consoles.
const PORTS: u32 = 31;

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
    let mut controllers: Vec<(u32, u32)> = dev
        .controllers
        .iter()
        .filter(|c| c.kind == ControllerType::VirtioSerial)
        .map(|c| (c.index.unwrap_or(0), c.ports.unwrap_or(PORTS)))
        .collect();
    controllers.sort_unstable();
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
        let open = |&(i, ports): &(u32, u32)| {
            (1..ports.max(1)).find(|p| !taken.contains(&(i, *p))).map(|p| (i, p))
        };
        while controllers.get(first).is_some_and(|c| open(c).is_none()) {
            first += 1;
        }
        let place = controllers
            .get(first..)
            .unwrap_or_default()
            .iter()
            .filter(|(i, _)| wanted.is_none_or(|w| w == *i))
            .find_map(open)
            .unwrap_or_else(|| {
                let i = controllers.iter().map(|c| c.0).max().map_or(0, |n| n.saturating_add(1));
                controllers.push((i, PORTS));
                added.push((ControllerType::VirtioSerial, i));
                (i, 1)
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
            readers.push((ControllerType::Ccid, a.controller));
        }
    }
    implied::ensure_controllers(d, readers);
}
