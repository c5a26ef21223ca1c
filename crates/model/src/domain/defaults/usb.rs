//! USB ports of devices, and hubs when ports run out. Done for new documents, and when a guest
//! starts.

use crate::domain::Domain;
use crate::domain::address::{Address, UsbAddress};
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharTarget, CharTargetType};
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::hub::Hub;
use crate::domain::devices::input::InputBus;
use crate::domain::devices::sound::SoundModel;
use std::collections::{HashMap, HashSet};

/// Ports of a controller model.
pub(crate) fn ports_of(model: &str, given: Option<u32>) -> Option<u32> {
    Some(match model {
        "ich9-uhci1" | "ich9-uhci2" | "ich9-uhci3" => return None,
        "ich9-ehci1" | "ehci" => 6,
        "piix3-uhci" | "piix4-uhci" | "vt82c686b-uhci" => 2,
        "pci-ohci" => 3,
        "nec-xhci" => given.unwrap_or(4),
        "qemu-xhci" | "qusb1" | "qusb2" => given.unwrap_or(4),
        _ => return None,
    })
}

/// Ports that a hub adds.
const HUB_PORTS: u32 = 8;

/// How far the search for a free port of a bus or hub has come.
#[derive(Clone, Copy, Default)]
struct Search {
    /// Ports from the first on that are taken.
    taken: u32,
    /// Ports from the first on behind which nothing is free.
    full: u32,
}

/// The buses of a guest, with what is plugged in where.
struct Ports {
    /// Number and ports of each bus, by number.
    buses: Vec<(u32, u32)>,
    /// Ports in use, by bus and path.
    taken: HashSet<(u32, String)>,
    /// Hubs, by bus and path.
    hubs: HashSet<(u32, String)>,
    /// Where the search goes on below a bus or hub: ports are never given back here.
    search: HashMap<(u32, String), Search>,
    /// Buses before this one, by place in the list, have no free port.
    first: usize,
}

impl Ports {
    fn new(d: &mut Domain) -> Self {
        let mut taken = HashSet::new();
        crate::domain::walk::for_each_info(d, &mut |i| {
            if let Some(Address::Usb(a)) = i.address
                && let Some(p) = &a.port
            {
                taken.insert((a.bus, p.clone()));
            }
        });
        let devices = d.devices.as_ref();
        let controllers = devices.into_iter().flat_map(|dev| &dev.controllers);
        let mut buses: Vec<(u32, u32)> = controllers
            .filter(|c| c.kind == ControllerType::Usb)
            .filter_map(|c| Some((c.index.unwrap_or(0), ports_of(c.model.as_deref()?, c.ports)?)))
            .collect();
        buses.sort_by_key(|bus| bus.0);
        buses.dedup_by_key(|bus| bus.0);
        let hubs = devices.into_iter().flat_map(|dev| &dev.hubs);
        let hubs = hubs.filter_map(|hub| match &hub.address {
            Some(Address::Usb(a)) => Some((a.bus, a.port.clone()?)),
            _ => None,
        });
        Self { buses, taken, hubs: hubs.collect(), search: HashMap::new(), first: 0 }
    }

    /// The first free port of `path` (empty: the bus itself), then of the hubs behind it.
    fn below(&mut self, bus: u32, path: &str, ports: u32, depth: u32) -> Option<String> {
        let name = |port: u32| match path {
            "" => port.to_string(),
            path => format!("{path}.{port}"),
        };
        let place = (bus, path.to_owned());
        // USB allows no more hubs behind each other.
        if depth == 0 {
            return None;
        }
        let Search { mut taken, mut full } = self.search.get(&place).copied().unwrap_or_default();
        while taken < ports && self.taken.contains(&(bus, name(taken + 1))) {
            taken += 1;
        }
        let mut found = (taken < ports).then(|| name(taken + 1));
        while found.is_none() && full < ports {
            let hub = (bus, name(full + 1));
            if self.hubs.contains(&hub) {
                found = self.below(bus, &hub.1, HUB_PORTS, depth - 1);
            }
            full += u32::from(found.is_none());
        }
        self.search.insert(place, Search { taken, full });
        found
    }

    /// The first free port; on one bus only where it is given.
    fn free(&mut self, wanted: Option<u32>) -> Option<(u32, String)> {
        if let Some(wanted) = wanted {
            let at = self.buses.binary_search_by_key(&wanted, |bus| bus.0).ok()?;
            let (bus, ports) = *self.buses.get(at)?;
            return Some((bus, self.below(bus, "", ports, 6)?));
        }
        while let Some(&(bus, ports)) = self.buses.get(self.first) {
            if let Some(path) = self.below(bus, "", ports, 6) {
                return Some((bus, path));
            }
            self.first += 1;
        }
        None
    }
}

/// The addresses of all USB devices but hubs, in the order in which they get ports.
fn devices(dev: &mut Devices) -> Vec<&mut Option<Address>> {
    let mut all: Vec<&mut Option<Address>> = Vec::new();
    let hostdevs = dev.hostdevs.iter_mut().filter(|h| h.kind == Some(HostdevType::Usb));
    all.extend(hostdevs.map(|h| &mut h.address));
    let disks = dev.disks.iter_mut().filter(|d| d.target.bus == Some(DiskBus::Usb));
    all.extend(disks.map(|d| &mut d.address));
    let nics = dev.interfaces.iter_mut();
    let nics = nics.filter(|n| n.model.as_ref().is_some_and(|model| model.kind == "usb-net"));
    all.extend(nics.map(|n| &mut n.address));
    let folders = dev.filesystems.iter_mut().filter(|fs| {
        fs.driver.as_ref().is_some_and(|driver| driver.kind.as_deref() == Some("mtp"))
    });
    all.extend(folders.map(|fs| &mut fs.address));
    let readers = dev.controllers.iter_mut().filter(|c| c.kind == ControllerType::Ccid);
    all.extend(readers.map(|c| &mut c.address));
    let inputs = dev.inputs.iter_mut().filter(|i| i.bus == Some(InputBus::Usb));
    all.extend(inputs.map(|i| &mut i.address));
    let is_usb = |target: &CharTarget| target.kind == Some(CharTargetType::UsbSerial);
    let serials = dev.serials.iter_mut().filter(|s| s.target.as_ref().is_some_and(is_usb));
    all.extend(serials.map(|s| &mut s.address));
    let sounds = dev.sounds.iter_mut().filter(|s| s.model == SoundModel::Usb);
    all.extend(sounds.map(|s| &mut s.address));
    all.extend(dev.redirdevs.iter_mut().map(|r| &mut r.address));
    all
}

/// Gives every USB device without a port the first free one; hubs are added where ports run out.
pub fn assign(d: &mut Domain) {
    let mut ports = Ports::new(d);
    let Some(dev) = d.devices.as_mut() else { return };
    if ports.buses.is_empty() {
        return;
    }
    let wanted = devices(dev).len() + dev.hubs.len();
    let hub_ports = HUB_PORTS as usize;
    let room: usize = ports.buses.iter().map(|(_, count)| *count as usize).sum::<usize>()
        + dev.hubs.len() * hub_ports;
    if wanted > room {
        // A hub takes a port and brings eight; one stays free for what comes.
        for _ in 0..(wanted - room + 1).div_ceil(hub_ports - 1) {
            dev.hubs.push(Hub::default());
        }
    }
    for hub in dev.hubs.iter_mut().filter(|hub| wants(&hub.address)) {
        let Some(place) = ports.free(bus_of(&hub.address)) else { continue };
        ports.taken.insert(place.clone());
        ports.hubs.insert(place.clone());
        hub.address = Some(Address::Usb(UsbAddress { bus: place.0, port: Some(place.1) }));
    }
    for address in devices(dev) {
        if !wants(address) {
            continue;
        }
        let Some(place) = ports.free(bus_of(address)) else { continue };
        ports.taken.insert(place.clone());
        *address = Some(Address::Usb(UsbAddress { bus: place.0, port: Some(place.1) }));
    }
}

/// The bus that an address without a port names.
fn bus_of(address: &Option<Address>) -> Option<u32> {
    match address {
        Some(Address::Usb(usb)) => Some(usb.bus),
        _ => None,
    }
}

fn wants(a: &Option<Address>) -> bool {
    match a {
        None => true,
        Some(Address::Usb(u)) => u.port.is_none(),
        _ => false,
    }
}
