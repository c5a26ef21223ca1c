//! Whether the places that a document gives its devices exist: buses, slots and ports. Controllers
//! that are missing were added with the defaults; what no controller can have is refused here.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Faults;
use crate::domain::address::{Address, DriveAddress, PciAddress, UsbAddress};
use crate::domain::defaults::{Machine, usb_ports};
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::DiskBus;
use crate::domain::walk::look_at_each;
use crate::domain::{Domain, VirtType};

/// Ports of a hub.
const HUB_PORTS: u32 = 8;

/// Ports of a virtio serial controller that names no number.
const SERIAL_PORTS: u32 = 31;

/// What other hypervisors can do, their own drivers know.
fn is_ours(d: &Domain) -> bool {
    matches!(d.kind, VirtType::Qemu | VirtType::Kvm | VirtType::Hvf)
}

/// Addresses, which libvirt looks at first.
pub(super) fn addresses(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    if is_ours(d) {
        let reporter = out.reporter.take();
        usb(d, dev, out);
        serial(d, dev, out);
        pci(d, dev, m, out);
        out.reporter = reporter;
        fixed(dev, m, out);
    }
}

/// Disks and the controllers they are driven through.
pub(super) fn drives(d: &Domain, dev: &Devices, out: &mut Faults) {
    if is_ours(d) {
        disks(dev, out);
    }
}

fn usb(d: &Domain, dev: &Devices, out: &mut Faults) {
    // `None`: a controller of a model whose ports are not known here.
    let mut buses: BTreeMap<u32, Option<u32>> = BTreeMap::new();
    for c in dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb) {
        let model = c.model.as_deref();
        if model == Some("none") {
            return;
        }
        // The companions of a USB 2 controller bring the ports of the slower speeds, not more.
        if model.is_some_and(|m| m.starts_with("ich9-uhci")) {
            buses.entry(c.index.unwrap_or(0)).or_insert(None);
            continue;
        }
        buses.insert(c.index.unwrap_or(0), model.and_then(|m| usb_ports(m, c.ports)));
    }
    if buses.is_empty() {
        return;
    }
    let mut hubs: Vec<(UsbAddress, Vec<u32>)> = Vec::new();
    let mut others: Vec<(UsbAddress, Vec<u32>)> = Vec::new();
    for h in &dev.hubs {
        if let Some(Address::Usb(a)) = &h.address {
            hubs.extend(port_path(a).map(|path| (a.clone(), path)));
        }
    }
    look_at_each(d, &mut |i| {
        if let Some(Address::Usb(a)) = i.address.as_ref()
            && i.element != "hub"
            && i.element != "controller"
        {
            others.extend(port_path(a).map(|path| (a.clone(), path)));
        }
    });
    // A hub must be there before what hangs on it.
    hubs.sort_by_key(|(_, path)| path.len());
    let mut there: BTreeSet<(u32, Vec<u32>)> = BTreeSet::new();
    for (is_hub, (a, path)) in
        hubs.into_iter().map(|h| (true, h)).chain(others.into_iter().map(|o| (false, o)))
    {
        let written = a.port.as_deref().unwrap_or_default();
        let Some(ports) = buses.get(&a.bus) else {
            out.xml("domain.usb-bus", format!("Missing USB bus {}", a.bus));
            continue;
        };
        let Some((&port, above)) = path.split_last() else { continue };
        let ports = if above.is_empty() {
            *ports
        } else if let Some(depth) =
            (1..=above.len()).find(|n| !there.contains(&(a.bus, above[..*n].to_vec())))
        {
            let missing: Vec<_> = above[..depth].iter().map(u32::to_string).collect();
            out.xml(
                "domain.usb-hub",
                format!(
                    "there is no hub at port {} in USB address bus: {} port: {written}",
                    missing.join("."),
                    a.bus
                ),
            );
            continue;
        } else {
            Some(HUB_PORTS)
        };
        if ports.is_some_and(|ports| port > ports) {
            out.xml(
                "domain.usb-port",
                format!("requested USB port {written} not present on USB bus {}", a.bus),
            );
        } else if is_hub {
            there.insert((a.bus, path));
        }
    }
}

/// `1.2.3` as its numbers; `None` for what is no port, which is refused elsewhere.
fn port_path(a: &UsbAddress) -> Option<Vec<u32>> {
    // The kernel and QEMU know no deeper trees.
    const DEEPEST: usize = 4;
    let path: Option<Vec<u32>> =
        a.port.as_ref()?.split('.').map(|part| part.parse().ok()).collect();
    path.filter(|path| path.len() <= DEEPEST && !path.contains(&0))
}

fn serial(d: &Domain, dev: &Devices, out: &mut Faults) {
    let controllers: BTreeMap<_, _> = dev
        .controllers
        .iter()
        .filter(|c| c.kind == ControllerType::VirtioSerial)
        .map(|c| (c.index.unwrap_or(0), c.ports.unwrap_or(SERIAL_PORTS)))
        .collect();
    look_at_each(d, &mut |i| {
        if let Some(Address::VirtioSerial(a)) = i.address.as_ref()
            && let Some(port) = a.port
            && controllers.get(&a.controller).is_some_and(|ports| port >= *ports)
        {
            out.xml(
                "domain.virtio-serial-port",
                format!("virtio serial controller {} does not have port {port}", a.controller),
            );
        }
    });
}

fn pci(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    if m.implied_pci_root().is_none() {
        return;
    }
    let models: BTreeMap<_, _> = dev
        .controllers
        .iter()
        .filter(|c| c.kind == ControllerType::Pci)
        .map(|c| (c.index.unwrap_or(0), c.model.as_deref().unwrap_or_default()))
        .collect();
    look_at_each(d, &mut |i| {
        let Some(Address::Pci(a)) = i.address.as_ref() else { return };
        let refused = |why: &str| format!("Invalid PCI address {}. {why}", name(a));
        if a.domain.0 != 0 {
            out.xml("domain.pci-domain", refused("Only PCI domain 0 is available"));
            return;
        }
        let slot = a.slot.0;
        let first_is_taken = |model: &str| matches!(model, "pci-bridge" | "pcie-to-pci-bridge");
        let has_one =
            |model: &str| matches!(model, "pcie-root-port" | "pcie-switch-downstream-port");
        match u32::try_from(a.bus.0).ok().and_then(|bus| models.get(&bus)) {
            Some(model) if has_one(model) && slot > 0 => {
                out.xml("domain.pci-slot", refused("slot must be <= 0"));
            }
            Some(model) if first_is_taken(model) && slot == 0 => {
                out.xml("domain.pci-slot", refused("slot must be >= 1"));
            }
            _ => {}
        }
    });
}

/// Controllers that are part of the board, and so have one place.
fn fixed(dev: &Devices, m: &Machine, out: &mut Faults) {
    for c in &dev.controllers {
        let index = c.index.unwrap_or(0);
        let piix3 = c.model.as_deref() == Some("piix3-uhci");
        let (what, slot, function) = match c.kind {
            ControllerType::Ide if m.is_i440fx() && index == 0 => {
                ("Primary IDE controller".to_owned(), 1, 1)
            }
            ControllerType::Usb if m.is_i440fx() && index == 0 && piix3 => {
                (format!("PIIX3 USB controller at index {index}"), 1, 2)
            }
            ControllerType::Sata if m.is_q35() && index == 0 => {
                ("Primary SATA controller".to_owned(), 0x1f, 2)
            }
            _ => continue,
        };
        let Some(Address::Pci(a)) = &c.address else { continue };
        if (a.domain.0, a.bus.0, a.slot.0, a.function.0) != (0, 0, slot, function) {
            out.internal(
                "domain.fixed-place",
                format!("{what} must have PCI address 0:0:{slot:x}.{function:x}"),
            );
        }
    }
}

fn name(a: &PciAddress) -> String {
    format!("{:04x}:{:02x}:{:02x}.{:x}", a.domain.0, a.bus.0, a.slot.0, a.function.0)
}

fn disks(dev: &Devices, out: &mut Faults) {
    let controllers = Controllers::of(dev);
    for disk in &dev.disks {
        let Some(Address::Drive(a)) = &disk.address else { continue };
        match disk.target.bus {
            Some(DiskBus::Ide) => {
                if a.controller > 0 {
                    out.internal("domain.drive", "Only 1 IDE controller is supported");
                }
                if a.target > 0 {
                    out.unsupported("domain.drive", "target must be 0 for ide controller");
                }
            }
            Some(DiskBus::Fdc) => {
                if a.controller > 0 {
                    out.internal("domain.drive", "Only 1 fdc controller is supported");
                } else if a.bus > 0 {
                    out.internal("domain.drive", "Only 1 fdc bus is supported");
                } else if a.target > 0 {
                    out.unsupported("domain.drive", "target must be 0 for controller fdc");
                }
            }
            Some(DiskBus::Sata) => {
                if a.bus > 0 {
                    out.unsupported("domain.drive", "bus must be 0 for sata controller");
                } else if a.target > 0 {
                    out.unsupported("domain.drive", "target must be 0 for sata controller");
                }
                present(&controllers, ControllerType::Sata, a, out);
            }
            Some(DiskBus::Scsi) => {
                if a.bus > 0 {
                    out.internal("domain.drive", "SCSI controller only supports 1 bus");
                } else if a.target > 0 && controllers.scsi(a) == Some("lsilogic") {
                    out.unsupported(
                        "domain.drive",
                        "target must be 0 for controller model 'lsilogic'",
                    );
                }
                present(&controllers, ControllerType::Scsi, a, out);
            }
            _ => {}
        }
    }
}

/// The controllers with their models, by type and index; of several the first.
struct Controllers<'a>(BTreeMap<(&'static str, u32), Option<&'a str>>);

impl<'a> Controllers<'a> {
    fn of(dev: &'a Devices) -> Self {
        let mut all = BTreeMap::new();
        for c in &dev.controllers {
            if let Some(index) = c.index {
                all.entry((c.kind.as_str(), index)).or_insert(c.model.as_deref());
            }
        }
        Self(all)
    }

    /// The model of the SCSI controller of an address.
    fn scsi(&self, a: &DriveAddress) -> Option<&'a str> {
        self.0.get(&(ControllerType::Scsi.as_str(), a.controller)).copied().flatten()
    }
}

/// The defaults add as many controllers as any machine has PCI slots for, and no more.
fn present(
    controllers: &Controllers<'_>,
    kind: ControllerType,
    a: &DriveAddress,
    out: &mut Faults,
) {
    const MOST: u32 = 1024;
    if a.controller > MOST && !controllers.0.contains_key(&(kind.as_str(), a.controller)) {
        out.internal(
            "domain.no-pci-slot",
            "a PCI slot is needed to connect a PCI controller model='pci-bridge', but none is \
             available, and it cannot be automatically added",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{ParseOptions, parse, validate};

    fn faults(machine: &str, devices: &str) -> Vec<String> {
        let xml = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory>\
             <os><type arch='x86_64' machine='{machine}'>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        );
        let domain = parse(&xml, ParseOptions::default()).domain.expect("readable");
        validate(&domain).into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn places_that_no_controller_has() {
        let usb = "<controller type='usb' index='0' model='piix3-uhci'/>";
        let tablet = |bus: u32, port: &str| {
            format!(
                "{usb}<input type='tablet' bus='usb'>\
                 <address type='usb' bus='{bus}' port='{port}'/></input>"
            )
        };
        let hub = "<hub type='usb'><address type='usb' bus='0' port='1'/></hub>";
        let disk = |bus: &str, dev: &str, place: &str| {
            format!(
                "<disk type='file' device='disk'><source file='/x'/>\
                 <target dev='{dev}' bus='{bus}'/><address type='drive' {place}/></disk>"
            )
        };
        let channel = |port: u32| {
            format!(
                "<controller type='virtio-serial' index='0' ports='4'/><channel type='pty'>\
                 <target type='virtio' name='x'/>\
                 <address type='virtio-serial' controller='0' bus='0' port='{port}'/></channel>"
            )
        };
        let pci = |bus: &str, slot: u32, domain: u32| {
            format!(
                "<controller type='pci' index='0' model='pcie-root'/>\
                 <controller type='pci' index='1' model='{bus}'/><memballoon model='virtio'>\
                 <address type='pci' domain='{domain}' bus='1' slot='{slot}'/></memballoon>"
            )
        };
        for (machine, devices, expected) in [
            ("pc", tablet(0, "2"), None),
            ("pc", tablet(3, "1"), Some("Missing USB bus 3")),
            ("pc", tablet(0, "3"), Some("requested USB port 3 not present on USB bus 0")),
            (
                "pc",
                tablet(0, "1.1"),
                Some("there is no hub at port 1 in USB address bus: 0 port: 1.1"),
            ),
            ("pc", tablet(0, "1.8") + hub, None),
            ("pc", tablet(0, "1.9") + hub, Some("requested USB port 1.9 not present on USB bus 0")),
            ("pc", disk("ide", "hda", "bus='1'"), None),
            (
                "pc",
                disk("ide", "hda", "controller='1'"),
                Some("Only 1 IDE controller is supported"),
            ),
            ("pc", disk("ide", "hda", "target='1'"), Some("target must be 0 for ide controller")),
            ("q35", disk("sata", "sda", "bus='1'"), Some("bus must be 0 for sata controller")),
            (
                "q35",
                disk("scsi", "sda", "controller='99999'"),
                Some(
                    "a PCI slot is needed to connect a PCI controller model='pci-bridge', but none \
                     is available, and it cannot be automatically added",
                ),
            ),
            ("pc", channel(3), None),
            ("pc", channel(4), Some("virtio serial controller 0 does not have port 4")),
            ("q35", pci("pcie-root-port", 0, 0), None),
            (
                "q35",
                pci("pcie-root-port", 1, 0),
                Some("Invalid PCI address 0000:01:01.0. slot must be <= 0"),
            ),
            (
                "q35",
                pci("pcie-to-pci-bridge", 0, 0),
                Some("Invalid PCI address 0000:01:00.0. slot must be >= 1"),
            ),
            (
                "q35",
                pci("pcie-root-port", 0, 1),
                Some("Invalid PCI address 0001:01:00.0. Only PCI domain 0 is available"),
            ),
            (
                "q35",
                "<controller type='ide' index='0'/>".to_owned(),
                Some("IDE controllers are unsupported for this QEMU binary or machine type"),
            ),
        ] {
            let found = faults(machine, &devices);
            assert_eq!(found.first().map(String::as_str), expected, "{devices}");
        }
    }
}
