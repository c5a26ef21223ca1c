//! PCI addresses, and the bridges and root ports that are added to hold all devices.
//!
//! Two passes, as in libvirt: the first finds out which buses are missing, the second places
//! everything, the added controllers included.

use std::collections::{HashMap, HashSet};

use diag::{Diagnostic, ErrorCode};
use xml::OnOff;

use super::pci_bus::{Bus, connect::*};
use super::pci_flags::{Dev, address, address_of, all, controller_flags, flags};
use super::{DefaultsContext, Machine, fault, implied, isolation};
use crate::domain::Domain;
use crate::domain::address::{Address, PciAddress};
use crate::domain::devices::controller::{Controller, ControllerTarget, ControllerType};
use crate::domain::scalar::Hex;
use crate::domain::validate::duplicate_controllers;

/// Most buses a guest can have.
const MAX_BUSES: usize = 256;

/// Assigns PCI addresses.
pub(super) fn assign(
    d: &mut Domain,
    m: &Machine,
    ctx: &DefaultsContext<'_>,
    out: &mut Vec<Diagnostic>,
) {
    // Where the root is wrong nothing else can be right; the checks say so.
    let duplicates = d.devices.as_ref().is_some_and(|v| !duplicate_controllers(v).is_empty());
    if !m.supports_pci() || wrong_root(d, m) || duplicates {
        return;
    }
    if !has_bus(d) {
        if wants_pci(d, m) {
            fault(out, "domain.pci-bus", ErrorCode::XML_ERROR, "No PCI buses available");
            // libvirt's words say nothing of the cause.
            if let Some(fault) = out.last_mut() {
                fault.hints.push(format!(
                    "machine type '{}' is not known to have a PCI bus, and devices ask for one: \
                     check <os><type machine='…'>",
                    m.name
                ));
            }
        }
        return;
    }
    let Some(mut set) = Set::new(d, m, out) else { return };
    // What the first pass cannot place the second one reports.
    if set.anything_open(d) {
        add_bridges(d, m, ctx);
        super::devices::controller_models(d, m, ctx, &mut Vec::new());
        match Set::new(d, m, out) {
            Some(grown) => set = grown,
            None => return,
        }
    }
    set.collect(d, m, ctx);
    set.place_all(d, ctx, out);
    set.multifunction(d);
    options(d, m);
    if m.is_s390() {
        zpci(d, m);
    }
}

/// Whether the guest names another PCI root than its machine has.
fn wrong_root(d: &Domain, m: &Machine) -> bool {
    let Some(want) = m.implied_pci_root() else { return false };
    d.devices.iter().flat_map(|v| &v.controllers).any(|c| {
        let root = matches!(c.model.as_deref(), Some("pci-root" | "pcie-root"));
        c.kind == ControllerType::Pci
            && match c.index {
                Some(0) => c.model.as_deref() != Some(want),
                _ => root && !m.has_many_pci_roots(),
            }
    })
}

/// What is said of a controller of PCI Express that finds no slot: another one cannot make it.
fn needs_slot(c: &Controller) -> Option<String> {
    let model = c.model.as_deref().filter(|model| *model == "pcie-root-port")?;
    Some(format!(
        "a PCI slot is needed to connect a PCI controller model='{model}', but none is available, \
         and it cannot be automatically added"
    ))
}

/// A number that no bus can have. libvirt makes the buses below first, and stops where that fails.
fn too_high(c: &Controller, index: usize, m: &Machine, out: &mut Vec<Diagnostic>) {
    let (code, text) = match c.model.as_deref() {
        _ if m.has_many_pci_roots() => (
            ErrorCode::XML_ERROR,
            format!("PCI controller index {index} too high, maximum is {}", MAX_BUSES - 1),
        ),
        _ if m.has_pcie() => (
            ErrorCode::INTERNAL_ERROR,
            "a PCI slot is needed to connect a PCI controller model='pcie-root-port', but none is \
             available, and it cannot be automatically added"
                .to_owned(),
        ),
        Some("pci-bridge") => (
            ErrorCode::CONFIG_UNSUPPORTED,
            format!("PCI controller index {MAX_BUSES} too high, maximum is {}", MAX_BUSES - 1),
        ),
        _ => (ErrorCode::INTERNAL_ERROR, "No more available PCI slots".to_owned()),
    };
    fault(out, "domain.pci-index", code, text);
    // The words name another controller than the one to be changed.
    if let Some(fault) = out.last_mut() {
        fault.hints.push(format!("<controller index='{index}'> is more than {}.", MAX_BUSES - 1));
    }
}

/// Whether there is any PCI controller: a machine without has no place for PCI devices.
fn has_bus(d: &Domain) -> bool {
    d.devices.iter().flat_map(|v| &v.controllers).any(|c| c.kind == ControllerType::Pci)
}

/// Whether a device needs a place that only PCI has.
fn wants_pci(d: &Domain, m: &Machine) -> bool {
    let Some(dev) = d.devices.as_ref() else { return false };
    all(dev).into_iter().any(|x| match address_of(dev, x) {
        None => flags(dev, m, x) != 0,
        Some(Address::Pci(_)) => true,
        _ => false,
    })
}

/// The first pass: finds out which bridges and root ports are missing, and adds them.
fn add_bridges(d: &mut Domain, m: &Machine, ctx: &DefaultsContext<'_>) {
    let out = &mut Vec::new();
    let only_root = d
        .devices
        .iter()
        .flat_map(|v| &v.controllers)
        .filter(|c| c.kind == ControllerType::Pci)
        .all(|c| c.index == Some(0));
    let Some(mut set) = Set::new(d, m, out) else { return };
    let before = Open::of(d, &set.devices);
    set.grow = true;
    set.collect(d, m, ctx);
    let everything_taken = set.buses.iter().all(Bus::is_full);
    set.place_all(d, ctx, out);
    before.restore(d);
    // Where root ports are added to a guest that names none, one more is added for a device plugged
    // in later.
    let grown = set.buses.iter().any(|b| b.added);
    if !everything_taken && (!m.has_pcie() || grown && only_root) {
        let spare = if m.has_pcie() { PCIE | HOTPLUG } else { PCI | HOTPLUG };
        set.reserve(spare, 0);
    }
    // Added bridges need slots themselves, which may take more bridges.
    let mut i = 1;
    while i < set.buses.len() {
        if set.buses[i].added {
            let want = controller_flags(set.buses[i].model);
            if want != 0 && set.reserve(want, 0).is_none() {
                break;
            }
        }
        i += 1;
    }
    let added = set.buses.iter().enumerate().filter(|(_, b)| b.added);
    let added = added.map(|(i, b)| (ControllerType::Pci, i as u32, Some(b.model))).collect();
    implied::ensure_controllers(d, added);
}

/// The devices that wait for a PCI address, and what they say of it: placing them on trial changes
/// nothing else.
struct Open(Vec<(Dev, Option<Address>)>);

impl Open {
    fn of(d: &Domain, devices: &[(Dev, u32)]) -> Self {
        let Some(dev) = d.devices.as_ref() else { return Self(Vec::new()) };
        let open = |(x, _): &(Dev, u32)| match address_of(dev, *x) {
            None => Some((*x, None)),
            Some(Address::Pci(a)) if is_open(a) => Some((*x, Some(Address::Pci(a.clone())))),
            Some(_) => None,
        };
        Self(devices.iter().filter_map(open).collect())
    }

    /// Takes the trial back.
    fn restore(self, d: &mut Domain) {
        let Some(dev) = d.devices.as_mut() else { return };
        for (x, was) in self.0 {
            if let Some(place) = address(dev, x) {
                *place = was;
            }
        }
    }
}

/// The buses of one guest.
pub(super) struct Set {
    buses: Vec<Bus>,
    /// The devices that may sit on them and what they want, in the order in which they get their
    /// slots.
    devices: Vec<(Dev, u32)>,
    /// Whether missing buses are added.
    grow: bool,
    pcie: bool,
    many_roots: bool,
}

impl Set {
    /// The buses of the PCI controllers.
    fn new(d: &Domain, m: &Machine, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let list = d.devices.as_ref().map(|v| v.controllers.as_slice()).unwrap_or_default();
        let mut buses: Vec<Option<Bus>> = Vec::with_capacity(list.len().min(MAX_BUSES));
        for c in list.iter().filter(|c| c.kind == ControllerType::Pci) {
            let i = c.index.unwrap_or(0) as usize;
            if i >= MAX_BUSES {
                too_high(c, i, m, out);
                return None;
            }
            if buses.len() <= i {
                buses.resize(i + 1, None);
            }
            buses[i] = Bus::new(c.model.as_deref().unwrap_or_default(), false);
        }
        // A gap in the numbers, or an address on a bus beyond, means a bridge that is not named.
        let all = |dev| all(dev).into_iter().map(|x| (x, flags(dev, m, x))).collect::<Vec<_>>();
        let devices = d.devices.as_ref().map(all).unwrap_or_default();
        let highest = d
            .devices
            .iter()
            .flat_map(|v| devices.iter().filter_map(|(x, _)| address_of(v, *x)))
            .map(|a| match a {
                Address::Pci(a) => a.bus.0 as usize,
                _ => 0,
            })
            .max()
            .unwrap_or(0);
        if highest < MAX_BUSES && buses.len() <= highest {
            buses.resize(highest + 1, None);
        }
        let filler = if m.has_pcie() {
            "pcie-root-port"
        } else if m.has_many_pci_roots() {
            "pci-root"
        } else {
            "pci-bridge"
        };
        let root = if m.has_pcie() { "pcie-root" } else { "pci-root" };
        let mut buses: Vec<Bus> = buses
            .into_iter()
            .enumerate()
            .filter_map(|(i, b)| b.or_else(|| Bus::new(if i == 0 { root } else { filler }, i > 0)))
            .collect();
        if m.has_many_pci_roots()
            && let Some(first) = buses.first_mut()
        {
            // The root that every guest has stays free of host devices.
            first.locked = true;
        }
        Some(Self {
            buses,
            devices,
            grow: false,
            pcie: m.has_pcie(),
            many_roots: m.has_many_pci_roots(),
        })
    }

    /// Whether a device waits for an address or a bus is missing. A stored guest has neither.
    fn anything_open(&self, d: &Domain) -> bool {
        self.buses.iter().any(|b| b.added)
            || d.devices.as_ref().is_some_and(|dev| {
                self.devices.iter().any(|(x, flags)| {
                    let root = matches!(x, Dev::Controller(i) if dev.controllers.get(*i)
                        .is_some_and(|c| c.model.as_deref().is_some_and(|m| m.ends_with("-root"))));
                    !root
                        && *flags != 0
                        && match address_of(dev, *x) {
                            None => true,
                            Some(Address::Pci(a)) => is_open(a),
                            _ => false,
                        }
                })
            })
    }

    /// Marks the addresses that devices have and those that the chipset keeps.
    fn collect(&mut self, d: &mut Domain, m: &Machine, ctx: &DefaultsContext<'_>) {
        let Some(dev) = d.devices.as_mut() else { return };
        for i in 0..self.devices.len() {
            let (x, f) = self.devices[i];
            let group = if self.many_roots { isolation::group(dev, x, ctx) } else { 0 };
            if let Some(Some(Address::Pci(a))) = address(dev, x)
                && !is_open(a)
            {
                let (bus, slot, function) = (a.bus.0, a.slot.0, a.function.0);
                if let Some(b) = self.buses.get_mut(bus as usize) {
                    b.join(group);
                }
                self.mark(bus as usize, slot as usize, function as u8, f);
            }
        }
        super::pci_chipset::reserve(self, d, m);
    }

    /// Marks one function as used.
    pub(super) fn mark(&mut self, bus: usize, slot: usize, function: u8, flags: u32) {
        if let Some(b) = self.buses.get_mut(bus)
            && let Some(used) = b.used.get_mut(slot)
        {
            if *used == 0 {
                b.aggregate[slot] = flags & AGGREGATE != 0;
            }
            *used |= 1u8.checked_shl(u32::from(function)).unwrap_or(0);
        }
    }

    pub(super) fn is_free(&self, bus: usize, slot: usize, function: u8) -> bool {
        self.buses
            .get(bus)
            .and_then(|b| b.used.get(slot))
            .is_some_and(|u| u & 1u8.checked_shl(u32::from(function)).unwrap_or(0) == 0)
    }

    pub(super) fn slot_is_free(&self, bus: usize, slot: usize) -> bool {
        self.buses.get(bus).and_then(|b| b.used.get(slot)).is_some_and(|u| *u == 0)
    }

    /// Finds a place, adding a bus when that is allowed, and marks it.
    fn reserve(&mut self, flags: u32, group: u32) -> Option<PciAddress> {
        loop {
            let find = |b: &Bus| {
                let on_root = flags & INTEGRATED != 0 && b.flags & INTEGRATED != 0;
                if b.accepts(flags) || on_root { b.find(flags) } else { None }
            };
            let buses = || self.buses.iter().enumerate();
            let own = buses()
                .filter(|(_, b)| b.group == group)
                .find_map(|(i, b)| find(b).map(|place| (i, place)));
            // An empty bus can still become one of this group.
            let found = own.or_else(|| {
                buses()
                    .filter(|(_, b)| group != 0 && !b.locked && b.is_empty())
                    .find_map(|(i, b)| find(b).map(|place| (i, place)))
            });
            if let Some((i, (slot, function))) = found {
                if let Some(b) = self.buses.get_mut(i) {
                    b.join(group);
                }
                self.mark(i, slot, function, flags);
                return Some(at(i as u64, slot as u64, u64::from(function)));
            }
            if !self.grow || !self.add_bus(flags) {
                return None;
            }
        }
    }

    /// Adds what a device with these needs could be plugged into.
    fn add_bus(&mut self, flags: u32) -> bool {
        if self.buses.is_empty() || self.buses.len() + 2 > MAX_BUSES {
            return false;
        }
        let mut add = |model: &str| match Bus::new(model, true) {
            Some(b) => {
                self.buses.push(b);
                true
            }
            None => false,
        };
        if self.many_roots {
            return flags & (PCI | BRIDGE | PCIE) != 0 && add("pci-root");
        }
        if !self.pcie {
            return flags & (PCI | BRIDGE | PCIE) != 0 && add("pci-bridge");
        }
        if flags & (PCIE | UPSTREAM | PCIE_TO_PCI) != 0 {
            return add("pcie-root-port");
        }
        if flags & (PCI | BRIDGE) != 0 {
            // The bridge hangs on a root port.
            return add("pcie-root-port") && add("pcie-to-pci-bridge");
        }
        false
    }

    /// Places every device that has no address yet.
    fn place_all(&mut self, d: &mut Domain, ctx: &DefaultsContext<'_>, out: &mut Vec<Diagnostic>) {
        let Some(dev) = d.devices.as_mut() else { return };
        let mut usb2 = Usb2Places::new(&dev.controllers);
        for i in 0..self.devices.len() {
            let (x, f) = self.devices[i];
            if f == 0 {
                continue;
            }
            let open = match address(dev, x) {
                Some(None) => true,
                Some(Some(Address::Pci(a))) => is_open(a),
                _ => false,
            };
            if !open {
                continue;
            }
            if let Dev::Controller(i) = x {
                if dev.controllers[i].kind == ControllerType::Pci
                    && dev.controllers[i].model.as_deref().is_none_or(|m| m.ends_with("-root"))
                {
                    continue;
                }
                if dev.controllers[i].kind == ControllerType::Ide {
                    continue;
                }
                if let Some(function) = usb2_function(&dev.controllers[i]) {
                    self.place_usb2(dev, i, &mut usb2, function, f);
                    continue;
                }
            }
            let group = if self.many_roots { isolation::group(dev, x, ctx) } else { 0 };
            match self.reserve(f, group) {
                Some(a) => set(dev, x, a),
                None => {
                    let full = "No more available PCI slots".to_owned();
                    let text = match x {
                        Dev::Controller(i) => needs_slot(&dev.controllers[i]).unwrap_or(full),
                        _ => full,
                    };
                    fault(out, "domain.no-pci-slot", ErrorCode::INTERNAL_ERROR, text);
                    // The same is true of all that follow, and is said once.
                    return;
                }
            }
        }
    }

    /// The parts of an ICH9 USB 2 controller share one slot.
    fn place_usb2(
        &mut self,
        dev: &mut crate::domain::devices::Devices,
        i: usize,
        places: &mut Usb2Places,
        function: u8,
        f: u32,
    ) {
        let index = dev.controllers[i].index;
        let base = match places.of_set.get(&index) {
            Some(place) => Some(*place),
            None if places.full => None,
            None => self
                .reserve(f & !AGGREGATE, 0)
                .inspect(|a| {
                    // The slot is taken, but only by the functions that come.
                    if let Some(u) = self
                        .buses
                        .get_mut(a.bus.0 as usize)
                        .and_then(|b| b.used.get_mut(a.slot.0 as usize))
                    {
                        *u = 0;
                    }
                })
                .map(|a| (a.bus.0, a.slot.0)),
        };
        let Some((bus, slot)) = base else {
            places.full = true;
            return;
        };
        places.of_set.insert(index, (bus, slot));
        self.mark(bus as usize, slot as usize, function, f);
        let mut a = at(bus, slot, u64::from(function));
        if function == 0 {
            a.multifunction = Some(OnOff::On);
        }
        set(dev, Dev::Controller(i), a);
    }

    /// Function 0 of a slot that several devices share says so.
    fn multifunction(&self, d: &mut Domain) {
        let Some(dev) = d.devices.as_mut() else { return };
        for (x, f) in self.devices.iter().copied() {
            if let Some(Some(Address::Pci(a))) = address(dev, x) {
                let shared = self
                    .buses
                    .get(a.bus.0 as usize)
                    .and_then(|b| b.used.get(a.slot.0 as usize).map(|u| (b, u)))
                    .is_some_and(|(b, u)| b.aggregate[a.slot.0 as usize] && u.count_ones() > 1);
                if shared && f & AGGREGATE != 0 && a.function.0 == 0 && a.multifunction.is_none() {
                    a.multifunction = Some(OnOff::On);
                }
            }
        }
    }
}

pub(super) fn at(bus: u64, slot: u64, function: u64) -> PciAddress {
    PciAddress {
        domain: Hex::from(0),
        bus: Hex::from(bus),
        slot: Hex::from(slot),
        function: Hex::from(function),
        multifunction: None,
        zpci: None,
    }
}

/// Writes an address; what an open one said beside the place is kept.
pub(super) fn set(dev: &mut crate::domain::devices::Devices, x: Dev, mut a: PciAddress) {
    if let Some(slot) = address(dev, x) {
        if let Some(Address::Pci(old)) = slot.as_ref() {
            a.multifunction = a.multifunction.or(old.multifunction);
            a.zpci.clone_from(&old.zpci);
        }
        *slot = Some(Address::Pci(a));
    }
}

/// Whether an address says "PCI" but not where.
pub(crate) fn is_open(a: &PciAddress) -> bool {
    a.domain.0 == 0 && a.bus.0 == 0 && a.slot.0 == 0
}

/// Where the sets of ICH9 USB 2 controllers are.
#[derive(Default)]
struct Usb2Places {
    /// Bus and slot, by the index that the parts of a set share.
    of_set: HashMap<Option<u32>, (u64, u64)>,
    /// There is no slot for one more set.
    full: bool,
}

impl Usb2Places {
    fn new(list: &[Controller]) -> Self {
        let mut places = Self::default();
        for c in list.iter().filter(|c| usb2_function(c).is_some()) {
            if let Some(Address::Pci(a)) = &c.address
                && !is_open(a)
            {
                places.of_set.entry(c.index).or_insert((a.bus.0, a.slot.0));
            }
        }
        places
    }
}

pub(super) fn usb2_function(c: &Controller) -> Option<u8> {
    if c.kind != ControllerType::Usb {
        return None;
    }
    Some(match c.model.as_deref()? {
        "ich9-ehci1" => 7,
        "ich9-uhci1" => 0,
        "ich9-uhci2" => 1,
        "ich9-uhci3" => 2,
        _ => return None,
    })
}

/// What PCI controllers show of themselves: chassis, port, bus numbers.
fn options(d: &mut Domain, m: &Machine) {
    let Some(dev) = d.devices.as_mut() else { return };
    let roots: HashSet<u32> = dev
        .controllers
        .iter()
        .filter(|c| c.model.as_deref() == Some("pci-root"))
        .filter_map(|c| c.target.as_ref()?.index)
        .collect();
    let mut free_roots = (1..).filter(|n| !roots.contains(n));
    let mut lowest = dev.controllers.iter().filter_map(|c| c.target.as_ref()?.bus_nr).min();
    for c in dev.controllers.iter_mut().filter(|c| c.kind == ControllerType::Pci) {
        let index = c.index.unwrap_or(0);
        let place = match &c.address {
            Some(Address::Pci(a)) => Some((a.slot.0, a.function.0)),
            _ => None,
        };
        let mut t = c.target.take().unwrap_or_default();
        match c.model.as_deref().unwrap_or_default() {
            "pci-bridge" => {
                t.chassis_nr.get_or_insert(index);
            }
            "pcie-root-port" => {
                t.chassis.get_or_insert(index);
                if let Some((slot, function)) = place {
                    t.port.get_or_insert(Hex::from(slot << 3 | function));
                }
            }
            "pcie-switch-downstream-port" => {
                t.chassis.get_or_insert(index);
                if let Some((slot, _)) = place {
                    t.port.get_or_insert(Hex::from(slot));
                }
            }
            "pci-expander-bus" | "pcie-expander-bus" if t.bus_nr.is_none() => {
                // Expander buses count down from 254 in steps of two.
                t.bus_nr = Some(lowest.unwrap_or(256).saturating_sub(2).max(2));
                lowest = lowest.min(t.bus_nr).or(t.bus_nr);
            }
            "pci-root"
                if m.is_pseries()
                // The root that every guest has is number 0; the others get the lowest free ones.
                && t.index.is_none() =>
            {
                t.index = if index == 0 { Some(0) } else { free_roots.next() };
            }
            _ => {}
        }
        c.target = (t != ControllerTarget::default()).then_some(t);
    }
}

/// On s390 a PCI device is known by two numbers of its own, each the lowest that is free.
fn zpci(d: &mut Domain, m: &Machine) {
    let Some(dev) = d.devices.as_mut() else { return };
    let (mut uids, mut fids) = (HashSet::new(), HashSet::new());
    for x in all(dev) {
        if let Some(Address::Pci(a)) = address_of(dev, x)
            && let Some(z) = &a.zpci
        {
            uids.extend(z.uid.map(|u| u.0));
            fids.extend(z.fid.map(|f| f.0));
        }
    }
    let mut uids = (1..).filter(move |n| !uids.contains(n));
    let mut fids = (0..).filter(move |n| !fids.contains(n));
    for x in all(dev) {
        let root = matches!(x, Dev::Controller(i) if dev.controllers.get(i)
            .is_some_and(|c| c.model.as_deref().is_some_and(|m| m.ends_with("-root"))));
        if root || flags(dev, m, x) == 0 {
            continue;
        }
        if let Some(Some(Address::Pci(a))) = address(dev, x) {
            let z = a.zpci.get_or_insert_default();
            if z.uid.is_none() {
                z.uid = uids.next().map(Hex::from);
            }
            if z.fid.is_none() {
                z.fid = fids.next().map(Hex::from);
            }
        }
    }
}
