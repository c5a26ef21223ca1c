//! USB ports of devices, and hubs when ports run out. Done for new documents, and when a guest
//! starts.

use crate::domain::Domain;
use crate::domain::address::{Address, UsbAddress};
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::InputBus;
use crate::domain::devices::sound::SoundModel;

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

/// Gives every USB device without a port the first free one.
pub fn assign(d: &mut Domain) {
    let mut taken: Vec<(u32, String)> = Vec::new();
    crate::domain::walk::for_each_info(d, &mut |i| {
        if let Some(Address::Usb(a)) = i.address
            && let Some(p) = &a.port
        {
            taken.push((a.bus, p.clone()));
        }
    });
    let Some(dev) = d.devices.as_mut() else { return };
    let mut buses: Vec<(u32, u32)> = Vec::new();
    for c in dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb) {
        if let Some(n) = c.model.as_deref().and_then(|m| ports_of(m, c.ports)) {
            buses.push((c.index.unwrap_or(0), n));
        }
    }
    buses.sort_by_key(|b| b.0);
    if buses.is_empty() {
        return;
    }
    // Hubs extend the first bus; their own ports are 8 each.
    let mut hubs: Vec<(u32, String)> = dev
        .hubs
        .iter()
        .filter_map(|h| match &h.address {
            Some(Address::Usb(a)) => a.port.clone().map(|p| (a.bus, p)),
            _ => None,
        })
        .collect();
    let free = |taken: &[(u32, String)], hubs: &[(u32, String)]| {
        for &(bus, ports) in &buses {
            for p in 1..=ports {
                let p = p.to_string();
                if !taken.iter().any(|t| t.0 == bus && t.1 == p) {
                    return Some((bus, p));
                }
            }
            for (_, path) in hubs.iter().filter(|h| h.0 == bus) {
                for p in 1..=8 {
                    let p = format!("{path}.{p}");
                    if !taken.iter().any(|t| t.0 == bus && t.1 == p) {
                        return Some((bus, p));
                    }
                }
            }
        }
        None
    };
    let mut open: Vec<&mut Option<Address>> = Vec::new();
    for h in &mut dev.hubs {
        open.push(&mut h.address);
    }
    let hub_count = open.len();
    for h in &mut dev.hostdevs {
        if h.kind == Some(HostdevType::Usb) {
            open.push(&mut h.address);
        }
    }
    for x in &mut dev.disks {
        if x.target.bus == Some(DiskBus::Usb) {
            open.push(&mut x.address);
        }
    }
    for x in &mut dev.inputs {
        if x.bus == Some(InputBus::Usb) {
            open.push(&mut x.address);
        }
    }
    for x in &mut dev.interfaces {
        if x.model.as_ref().is_some_and(|m| m.kind == "usb-net") {
            open.push(&mut x.address);
        }
    }
    for x in &mut dev.redirdevs {
        open.push(&mut x.address);
    }
    for x in &mut dev.smartcards {
        if matches!(x.address, Some(Address::Usb(_))) {
            open.push(&mut x.address);
        }
    }
    for x in &mut dev.sounds {
        if x.model == SoundModel::Usb {
            open.push(&mut x.address);
        }
    }
    for x in &mut dev.serials {
        if x.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::UsbSerial) {
            open.push(&mut x.address);
        }
    }
    for x in &mut dev.controllers {
        if x.kind == ControllerType::Ccid {
            open.push(&mut x.address);
        }
    }
    let mut new_hubs = Vec::new();
    let total = open.iter().filter(|a| wants(a)).count();
    let mut left = total;
    for (n, a) in open.into_iter().enumerate() {
        if !wants(a) {
            continue;
        }
        // One port is kept for a hub while more devices than ports are left.
        let room: usize = buses
            .iter()
            .flat_map(|&(bus, ports)| (1..=ports).map(move |p| (bus, p.to_string())))
            .filter(|x| !taken.contains(x))
            .count()
            + hubs
                .iter()
                .map(|(b, h)| {
                    (1..=8).filter(|p| !taken.contains(&(*b, format!("{h}.{p}")))).count()
                })
                .sum::<usize>();
        if left > room
            && room > 0
            && let Some((bus, port)) = free(&taken, &hubs)
        {
            taken.push((bus, port.clone()));
            hubs.push((bus, port.clone()));
            new_hubs.push((bus, port));
        }
        left -= 1;
        let Some((bus, port)) = free(&taken, &hubs) else { return };
        taken.push((bus, port.clone()));
        if n < hub_count {
            hubs.push((bus, port.clone()));
        }
        *a = Some(Address::Usb(UsbAddress { bus, port: Some(port) }));
    }
    for (bus, port) in new_hubs {
        dev.hubs.push(crate::domain::devices::hub::Hub {
            address: Some(Address::Usb(UsbAddress { bus, port: Some(port) })),
            ..Default::default()
        });
    }
}

fn wants(a: &Option<Address>) -> bool {
    match a {
        None => true,
        Some(Address::Usb(u)) => u.port.is_none(),
        _ => false,
    }
}
