//! Names of the devices of a running guest, as libvirt chooses them.

use std::collections::{BTreeMap, HashSet};

use super::Domain;
use super::address::Address;
use super::alias::Alias;
use super::defaults::{Machine, target_index};
use super::devices::chardev::CharTargetType;
use super::devices::controller::{Controller, ControllerType};
use super::devices::disk::{Disk, DiskBus};
use super::devices::interface::InterfaceType;
use super::devices::memballoon::BalloonModel;
use super::devices::memory::MemoryModel;
use super::devices::panic::PanicModel;

fn give(slot: &mut Option<Alias>, name: String) {
    slot.get_or_insert(Alias { name });
}

/// Names every device that has no name yet. Existing names (the user's `ua-…`, those of a guest
/// that runs) stay; a new one takes the next number of its kind.
pub fn assign_aliases(d: &mut Domain) {
    let machine = Machine::of(d);
    let Some(dev) = d.devices.as_mut() else { return };
    let narrow: HashSet<u32> = dev
        .controllers
        .iter()
        .filter(|c| c.kind == ControllerType::Scsi && is_narrow(c))
        .map(|c| c.index.unwrap_or(0))
        .collect();
    for x in &mut dev.disks {
        if x.alias.is_none() {
            x.alias = disk(x, &narrow).map(|name| Alias { name });
        }
    }
    for x in &mut dev.controllers {
        if x.alias.is_none() {
            x.alias = Some(Alias { name: controller(x, &machine) });
        }
    }
    // Interfaces that are host devices are numbered with these.
    let mut hostdev = next_number(
        dev.hostdevs.iter().map(|h| &h.alias).chain(dev.interfaces.iter().map(|i| &i.alias)),
        "hostdev",
    );
    let mut net = next_number(dev.interfaces.iter().map(|i| &i.alias), "net");
    for x in &mut dev.interfaces {
        if x.alias.is_some() {
            continue;
        }
        if x.kind == InterfaceType::Hostdev {
            give(&mut x.alias, format!("hostdev{hostdev}"));
            hostdev += 1;
        } else {
            give(&mut x.alias, format!("net{net}"));
            net += 1;
        }
    }
    for x in &mut dev.hostdevs {
        if x.alias.is_none() {
            give(&mut x.alias, format!("hostdev{hostdev}"));
            hostdev += 1;
        }
    }
    macro_rules! number {
        ($list:expr, $prefix:literal) => {{
            let mut n = next_number($list.iter().map(|x| &x.alias), $prefix);
            for x in $list.iter_mut().filter(|x| x.alias.is_none()) {
                give(&mut x.alias, format!("{}{n}", $prefix));
                n += 1;
            }
        }};
    }
    number!(dev.filesystems, "fs");
    number!(dev.smartcards, "smartcard");
    number!(dev.serials, "serial");
    number!(dev.parallels, "parallel");
    number!(dev.channels, "channel");
    number!(dev.inputs, "input");
    number!(dev.tpms, "tpm");
    number!(dev.sounds, "sound");
    number!(dev.videos, "video");
    number!(dev.redirdevs, "redir");
    number!(dev.hubs, "hub");
    number!(dev.watchdogs, "watchdog");
    let mut n = next_number(dev.memballoons.iter().map(|x| &x.alias), "balloon");
    for x in dev.memballoons.iter_mut().filter(|x| x.alias.is_none()) {
        if x.model != BalloonModel::None {
            give(&mut x.alias, format!("balloon{n}"));
            n += 1;
        }
    }
    number!(dev.rngs, "rng");
    number!(dev.shmems, "shmem");
    number!(dev.cryptos, "crypto");
    number!(dev.vsocks, "vsock");
    for x in &mut dev.iommus {
        give(&mut x.alias, "iommu0".to_owned());
    }
    for x in &mut dev.pstores {
        give(&mut x.alias, "pstore0".to_owned());
    }
    for x in &mut dev.nvrams {
        give(&mut x.alias, "nvram".to_owned());
    }
    let mut n = next_number(dev.panics.iter().map(|x| &x.alias), "panic");
    for x in dev.panics.iter_mut().filter(|x| x.alias.is_none()) {
        // The others are no devices of QEMU's but parts of the machine.
        if x.model == Some(PanicModel::Pvpanic)
            || x.model == Some(PanicModel::Isa) && x.address.is_some()
        {
            give(&mut x.alias, format!("panic{n}"));
            n += 1;
        }
    }
    memories(dev);
    // The first console is the first serial port; it goes by that name.
    let serial = dev.serials.first().and_then(|s| s.alias.clone());
    let mut n = next_number(dev.consoles.iter().map(|x| &x.alias), "console");
    for (i, x) in dev.consoles.iter_mut().enumerate() {
        let target = x.target.as_ref().and_then(|t| t.kind);
        if i == 0 && target == Some(CharTargetType::Serial) && serial.is_some() {
            x.alias.clone_from(&serial);
        } else if x.alias.is_none() {
            n = n.max(i as u32);
            give(&mut x.alias, format!("console{n}"));
            n += 1;
        }
    }
}

fn memories(dev: &mut super::devices::Devices) {
    // One more than the greatest number after each prefix.
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    for i in 0..dev.memories.len() {
        if dev.memories[i].alias.is_some() {
            continue;
        }
        let prefix = match dev.memories[i].model {
            MemoryModel::Dimm => "dimm",
            MemoryModel::Nvdimm => "nvdimm",
            MemoryModel::VirtioPmem => "virtiopmem",
            MemoryModel::VirtioMem => "virtiomem",
            MemoryModel::SgxEpc => "epc",
        };
        let n = match &dev.memories[i].address {
            Some(Address::Dimm(a)) => a.slot,
            _ => *numbers
                .entry(prefix)
                .or_insert_with(|| next_number(dev.memories.iter().map(|m| &m.alias), prefix)),
        };
        if let Some(next) = numbers.get_mut(prefix) {
            *next = (*next).max(n.saturating_add(1));
        }
        give(&mut dev.memories[i].alias, format!("{prefix}{n}"));
    }
}

/// One more than the greatest number in use after a prefix.
fn next_number<'a>(aliases: impl Iterator<Item = &'a Option<Alias>>, prefix: &str) -> u32 {
    aliases
        .filter_map(|a| a.as_ref()?.name.strip_prefix(prefix)?.parse::<u32>().ok())
        .max()
        .map_or(0, |n| n + 1)
}

/// A SCSI bus whose devices are told apart by one number.
fn is_narrow(c: &Controller) -> bool {
    c.model.as_deref() == Some("lsilogic")
}

fn disk(x: &Disk, narrow: &HashSet<u32>) -> Option<String> {
    let bus = x.target.bus?;
    if let Some(Address::Drive(a)) = &x.address {
        let b = bus.as_str();
        return Some(match bus {
            DiskBus::Scsi if !narrow.contains(&a.controller) => {
                format!("{b}{}-{}-{}-{}", a.controller, a.bus, a.target, a.unit)
            }
            _ => format!("{b}{}-{}-{}", a.controller, a.bus, a.unit),
        });
    }
    Some(format!("{}-disk{}", bus.as_str(), target_index(&x.target.dev)?))
}

fn controller(c: &Controller, m: &Machine) -> String {
    let index = c.index.unwrap_or(0);
    match c.kind {
        ControllerType::Pci => {
            if index == 0 && c.model.as_deref() == Some("pcie-root") {
                "pcie.0".to_owned()
            } else {
                format!("pci.{index}")
            }
        }
        ControllerType::Ide if index == 0 && m.has_builtin_ide() => "ide".to_owned(),
        ControllerType::Sata if index == 0 && m.is_q35() => "ide".to_owned(),
        ControllerType::Usb if index == 0 => "usb".to_owned(),
        // On the board of a SPARC station.
        ControllerType::Scsi if index == 0 && c.model.as_deref() == Some("ncr53c90") => {
            "scsi".to_owned()
        }
        kind => format!("{}{index}", kind.as_str()),
    }
}
