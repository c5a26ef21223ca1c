//! Devices and controllers that a machine has, or that other devices need, without being named.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::{DefaultsContext, Machine};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::hostdev::{Hostdev, HostdevType};
use crate::domain::devices::input::{Input, InputBus, InputType};
use crate::domain::devices::memballoon::{BalloonModel, MemBalloon};
use crate::domain::devices::panic::{Panic, PanicModel};
use crate::domain::devices::watchdog::{Watchdog, WatchdogAction, WatchdogModel};

/// Adds a controller at libvirt's place: after the last of its type with a lower index, or at the
/// end.
pub(crate) fn insert_controller(d: &mut Domain, c: Controller) {
    let list = &mut d.devices_mut().controllers;
    // Controllers of one type are kept in the order of their indexes; the first one that has a
    // greater index is what the new one goes before.
    let mut at = None;
    for (i, x) in list.iter().enumerate() {
        if x.kind == c.kind {
            let master_of = x.index == c.index && c.master.is_none() && x.master.is_some();
            if x.index > c.index || master_of {
                at = Some(i);
                break;
            }
            at = Some(i + 1);
        }
    }
    match at {
        Some(i) => list.insert(i, c),
        None => list.push(c),
    }
}

/// Whether a controller of this type and index is there.
pub(super) fn has_controller(d: &Domain, kind: ControllerType, index: u32) -> bool {
    d.devices.iter().flat_map(|v| &v.controllers).any(|c| c.kind == kind && c.index == Some(index))
}

/// Adds a controller if there is none of this type and index; tells whether it did.
pub(super) fn ensure_controller(
    d: &mut Domain,
    kind: ControllerType,
    index: u32,
    model: Option<&str>,
) -> bool {
    if has_controller(d, kind, index) {
        return false;
    }
    let model = model.map(str::to_owned);
    insert_controller(d, Controller { kind, index: Some(index), model, ..Controller::default() });
    true
}

/// Controllers of one type that are to be added: index and model.
type Wanted = VecDeque<(u32, Option<&'static str>)>;

/// Something for each type of controller.
#[derive(Default)]
struct PerType<T>([T; ControllerType::ALL.len()]);

/// [`ensure_controller`] of many, in one walk over the list.
pub(super) fn ensure_controllers(
    d: &mut Domain,
    mut need: Vec<(ControllerType, u32, Option<&'static str>)>,
) {
    let list = &mut d.devices_mut().controllers;
    let mut open: BTreeSet<_> = need.iter().map(|(kind, index, _)| (*kind, *index)).collect();
    for c in list.iter() {
        if open.is_empty() {
            return;
        }
        if let Some(index) = c.index {
            open.remove(&(c.kind, index));
        }
    }
    need.retain(|(kind, index, _)| open.remove(&(*kind, *index)));
    if need.is_empty() {
        return;
    }
    let mut kinds: Vec<(ControllerType, Wanted)> = Vec::new();
    for (kind, index, model) in need {
        match kinds.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, open)) => open.push_back((index, model)),
            None => kinds.push((kind, VecDeque::from([(index, model)]))),
        }
    }
    for (_, open) in &mut kinds {
        open.make_contiguous().sort_unstable();
    }
    let new = |kind, (index, model): (u32, Option<&str>)| {
        let model = model.map(str::to_owned);
        Controller { kind, index: Some(index), model, ..Controller::default() }
    };
    // The place of the last of each type.
    let mut last = PerType::<Option<usize>>::default();
    for (i, c) in list.iter().enumerate() {
        last.0[c.kind as usize] = Some(i);
    }
    let mut all = Vec::with_capacity(list.len());
    for (i, c) in std::mem::take(list).into_iter().enumerate() {
        let kind = c.kind;
        let Some((_, open)) = kinds.iter_mut().find(|(k, _)| *k == kind) else {
            all.push(c);
            continue;
        };
        while let Some(next) = open.pop_front_if(|(index, _)| Some(*index) < c.index) {
            all.push(new(kind, next));
        }
        all.push(c);
        if last.0[kind as usize] == Some(i) {
            all.extend(open.drain(..).map(|next| new(kind, next)));
        }
    }
    for (kind, open) in kinds {
        all.extend(open.into_iter().map(|next| new(kind, next)));
    }
    *list = all;
}

/// Numbers the controllers that have no index, and puts all in libvirt's order: each goes before the
/// first of its type that has a greater index; one without an index goes behind what is there, and
/// gets the least index that is free.
pub(super) fn number_controllers(d: &mut Domain) {
    let list = &mut d.devices_mut().controllers;
    if is_numbered(list) {
        return sort_usb(list);
    }
    order(list);
    let mut taken: HashSet<(&str, u32)> = HashSet::new();
    let mut sets = Usb2Sets::default();
    for c in list.iter() {
        if let Some(index) = c.index {
            taken.insert((c.kind.as_str(), index));
            sets.add(index, c);
        }
    }
    // Nothing becomes free meanwhile, so each type is looked through once.
    let mut least: HashMap<&str, u32> = HashMap::new();
    for c in list.iter_mut().filter(|c| c.index.is_none()) {
        let kind = c.kind.as_str();
        let index = sets.with_room_for(c).unwrap_or_else(|| {
            let least = least.entry(kind).or_default();
            while taken.contains(&(kind, *least)) {
                *least = least.saturating_add(1);
            }
            *least
        });
        taken.insert((kind, index));
        sets.add(index, c);
        c.index = Some(index);
    }
    sort_usb(list);
}

/// Whether all have an index and stand in libvirt's order already, as in whatever was written by
/// libvirt or us.
fn is_numbered(list: &[Controller]) -> bool {
    let key = |c: &Controller| (c.index, c.master.is_some());
    let mut seen = PerType::<bool>::default();
    let mut last: Option<&Controller> = None;
    list.iter().all(|c| {
        let in_order = match last.replace(c) {
            Some(last) if last.kind == c.kind => key(last) <= key(c),
            // Those of one type stand together.
            _ => !std::mem::replace(&mut seen.0[c.kind as usize], true),
        };
        in_order && c.index.is_some()
    })
}

/// The order of insertion one after the other, without inserting: those with an index are sorted, and
/// stand before or behind one without as what they were put before does.
fn order(list: &mut Vec<Controller>) {
    /// What is known of one type so far.
    #[derive(Default)]
    struct Seen {
        /// How many have no index.
        open: usize,
        /// Behind how many of those an index stands.
        behind: BTreeMap<u32, usize>,
    }
    let mut kinds: HashMap<&str, (usize, Seen)> = HashMap::new();
    let mut keys = Vec::with_capacity(list.len());
    for (place, c) in list.iter().enumerate() {
        let (first, seen) =
            kinds.entry(c.kind.as_str()).or_insert_with(|| (place, Seen::default()));
        let behind = match c.index {
            None => {
                seen.open += 1;
                seen.open - 1
            }
            Some(index) => {
                let next = index.checked_add(1).and_then(|n| seen.behind.range(n..).next());
                let behind = next.map_or(seen.open, |(_, behind)| *behind);
                *seen.behind.entry(index).or_insert(behind)
            }
        };
        keys.push((*first, behind, c.index.is_none(), c.index, c.master.is_some()));
    }
    if !keys.is_sorted() {
        let mut sorted: Vec<_> = keys.into_iter().zip(std::mem::take(list)).collect();
        sorted.sort_by_key(|(key, _)| *key);
        list.extend(sorted.into_iter().map(|(_, c)| c));
    }
}

/// USB controllers stand in the order of their indexes once all have one, the master of a set first.
fn sort_usb(list: &mut [Controller]) {
    let usb = |c: &Controller| c.kind == ControllerType::Usb;
    let key = |c: &Controller| (c.index, c.model.as_deref() != Some("ich9-ehci1"));
    if list.iter().filter(|c| usb(c)).is_sorted_by_key(key) {
        return;
    }
    let places: Vec<usize> =
        list.iter().enumerate().filter(|(_, c)| usb(c)).map(|(place, _)| place).collect();
    let mut sorted: Vec<Controller> =
        places.iter().filter_map(|place| list.get(*place).cloned()).collect();
    sorted.sort_by_key(key);
    for (place, c) in places.into_iter().zip(sorted) {
        if let Some(slot) = list.get_mut(place) {
            *slot = c;
        }
    }
}

/// The controllers of an ICH9 set, which share an index.
const ICH9: [&str; 4] = ["ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3"];

/// Sets of ICH9 USB controllers: which of the four each index has.
#[derive(Default)]
struct Usb2Sets {
    there: BTreeMap<u32, [bool; 4]>,
    /// For each of the four, an index before which every set has it.
    from: [u32; 4],
}

/// Which of the four of a set it is.
fn in_set(c: &Controller) -> Option<usize> {
    let model = c.model.as_deref().filter(|_| c.kind == ControllerType::Usb)?;
    ICH9.iter().position(|known| *known == model)
}

impl Usb2Sets {
    fn add(&mut self, index: u32, c: &Controller) {
        let Some(which) = in_set(c) else { return };
        if !self.there.contains_key(&index) {
            self.from = self.from.map(|from| from.min(index));
        }
        if let Some(there) = self.there.entry(index).or_default().get_mut(which) {
            *there = true;
        }
    }

    /// The first set that lacks this controller.
    fn with_room_for(&mut self, c: &Controller) -> Option<u32> {
        let which = in_set(c)?;
        let from = self.from.get_mut(which)?;
        let lacks = |there: &[bool; 4]| there.get(which) == Some(&false);
        let found = self.there.range(*from..).find(|(_, there)| lacks(there)).map(|(n, _)| *n);
        *from = found.or_else(|| self.there.keys().next_back().copied()).unwrap_or(0);
        found
    }
}

/// What the machine itself brings.
pub(super) fn default_devices(d: &mut Domain, m: &Machine, ctx: &DefaultsContext<'_>) {
    number_controllers(d);
    // SCSI devices of the host find their controller while the document is read.
    let placeless = |h: &Hostdev| h.kind == Some(HostdevType::Scsi) && h.address.is_none();
    if d.devices.iter().flat_map(|v| &v.hostdevs).any(placeless) {
        ensure_controller(d, ControllerType::Scsi, 0, None);
    }
    let no_machine = m.name == "none";
    let (mut usb, mut balloon) = (true, true);
    let mut usb_model: Option<&str> = None;
    let mut sata = false;
    if m.is_x86() {
        if m.is_isapc() {
            usb = false;
        } else if m.is_microvm() {
            usb = false;
            balloon = true;
        } else if m.is_q35() {
            sata = true;
            if ctx.devices.has("qemu-xhci") {
                usb_model = Some("qemu-xhci");
            } else if ctx.devices.has("nec-usb-xhci") {
                usb_model = Some("nec-xhci");
            } else if ctx.devices.has("ich9-usb-ehci1") {
                usb_model = Some("ich9-ehci1");
            } else {
                usb = false;
            }
        } else if !m.is_i440fx() {
            usb = false;
            balloon = false;
        }
    } else if m.is_arm() {
        balloon = false;
        usb = m.name == "versatilepb" || m.name.starts_with("realview");
        usb_model = Some("pci-ohci");
    } else if m.is_s390() || m.is_riscv() {
        usb = false;
    } else if m.is_loongarch() || m.arch == "sparc" {
        usb = false;
        balloon = false;
    }
    if no_machine {
        usb = false;
        balloon = false;
    }
    let first_usb = |c: &Controller| c.kind == ControllerType::Usb && c.index.unwrap_or(0) == 0;
    if usb && !d.devices.iter().flat_map(|v| &v.controllers).any(first_usb) {
        if usb_model == Some("ich9-ehci1") {
            for (model, start) in [
                ("ich9-ehci1", None),
                ("ich9-uhci1", Some(0)),
                ("ich9-uhci2", Some(2)),
                ("ich9-uhci3", Some(4)),
            ] {
                insert_controller(
                    d,
                    Controller {
                        kind: ControllerType::Usb,
                        index: Some(0),
                        model: Some(model.to_owned()),
                        master: start.map(|startport| {
                            crate::domain::devices::controller::UsbMaster { startport }
                        }),
                        ..Controller::default()
                    },
                );
            }
        } else {
            ensure_controller(d, ControllerType::Usb, 0, usb_model);
        }
    }
    if sata {
        ensure_controller(d, ControllerType::Sata, 0, None);
    }
    if let Some(model) = m.implied_pci_root().filter(|_| !no_machine) {
        ensure_controller(d, ControllerType::Pci, 0, Some(model));
    }
    let dev = d.devices_mut();
    if balloon && dev.memballoons.is_empty() {
        dev.memballoons.push(MemBalloon { model: BalloonModel::Virtio, ..MemBalloon::default() });
    }
    if m.is_q35() && !dev.watchdogs.iter().any(|w| w.model == WatchdogModel::Itco) {
        // QEMU has one action for all watchdogs.
        let action = dev.watchdogs.first().map_or(WatchdogAction::Reset, |w| w.action);
        dev.watchdogs.push(Watchdog { model: WatchdogModel::Itco, action, ..Watchdog::default() });
    }
    let panic = if m.is_pseries() {
        Some(PanicModel::Pseries)
    } else if m.is_s390() {
        Some(PanicModel::S390)
    } else {
        None
    };
    if let Some(model) = panic
        && dev.panics.iter().all(|p| p.model.is_some_and(|x| x != model))
        && dev.panics.is_empty()
    {
        dev.panics.push(Panic { model: Some(model), ..Panic::default() });
    }
}

/// Controllers that disks, channels and the like need.
pub(super) fn controllers(d: &mut Domain) {
    let dev = d.devices_mut();
    let mut need: Vec<(ControllerType, u32, Option<&'static str>)> = Vec::new();
    let up_to = |need: &mut Vec<_>, kind, max: Option<u32>| {
        if let Some(max) = max {
            need.extend((0..=max.min(1024)).map(|i| (kind, i, None)));
        }
    };
    let drive = |bus: DiskBus| {
        dev.disks
            .iter()
            .filter(|x| x.target.bus == Some(bus))
            .filter_map(|x| match &x.address {
                Some(Address::Drive(a)) => Some(a.controller),
                _ => None,
            })
            .max()
    };
    up_to(&mut need, ControllerType::Scsi, drive(DiskBus::Scsi));
    let scsi_hostdevs = dev
        .hostdevs
        .iter()
        .filter(|h| h.kind == Some(HostdevType::Scsi))
        .filter_map(|h| match &h.address {
            Some(Address::Drive(a)) => Some(a.controller),
            _ => None,
        })
        .max();
    up_to(&mut need, ControllerType::Fdc, drive(DiskBus::Fdc));
    up_to(&mut need, ControllerType::Ide, drive(DiskBus::Ide));
    up_to(&mut need, ControllerType::Sata, drive(DiskBus::Sata));
    let serial = dev
        .channels
        .iter()
        .chain(&dev.consoles)
        .filter(|c| c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Virtio))
        .filter_map(|c| match &c.address {
            Some(Address::VirtioSerial(a)) => Some(a.controller),
            Some(_) => None,
            None => Some(0),
        })
        .collect::<Vec<_>>();
    let ccid = dev
        .smartcards
        .iter()
        .filter_map(|s| match &s.address {
            Some(Address::Ccid(a)) => Some(a.controller),
            _ => None,
        })
        .max();
    need.extend(serial.into_iter().map(|i| (ControllerType::VirtioSerial, i, None)));
    up_to(&mut need, ControllerType::Ccid, ccid);
    up_to(&mut need, ControllerType::Scsi, scsi_hostdevs);
    ensure_controllers(d, need);
}

/// Which PS/2 devices the document does not name. One that leaves its bus open is not counted,
/// although PS/2 is what it gets: libvirt looks before it fills that in.
pub(super) fn unnamed_ps2(d: &Domain) -> Vec<InputType> {
    let named = |kind: InputType| {
        let mut inputs = d.devices.iter().flat_map(|v| &v.inputs);
        inputs.any(|i| i.kind == kind && i.bus == Some(InputBus::Ps2))
    };
    [InputType::Mouse, InputType::Keyboard].into_iter().filter(|kind| !named(*kind)).collect()
}

/// The mouse and keyboard that an x86 machine has, and a video card where there is a display.
pub(super) fn inputs(d: &mut Domain, m: &Machine, missing: Vec<InputType>) {
    let ps2_off = d
        .features
        .as_ref()
        .and_then(|f| f.ps2.as_ref())
        .is_some_and(|s| s.state == xml::OnOff::Off);
    let dev = d.devices_mut();
    let usb_bus = dev
        .controllers
        .iter()
        .any(|c| c.kind == ControllerType::Usb && c.model.as_deref() != Some("none"));
    if m.is_ppc64() && usb_bus && !dev.graphics.is_empty() {
        for kind in [InputType::Keyboard, InputType::Mouse] {
            // A tablet is a mouse already.
            let there = dev.inputs.iter().any(|i| {
                i.bus == Some(InputBus::Usb)
                    && (i.kind == kind || kind == InputType::Mouse && i.kind == InputType::Tablet)
            });
            if !there {
                dev.inputs.push(Input { kind, bus: Some(InputBus::Usb), ..Input::default() });
            }
        }
    }
    if m.has_ps2() && !ps2_off {
        for kind in missing {
            dev.inputs.push(Input { kind, bus: Some(InputBus::Ps2), ..Input::default() });
        }
    }
}
