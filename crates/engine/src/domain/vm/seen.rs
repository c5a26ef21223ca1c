//! What QEMU says of its guest unasked. Changes of devices are made from a definition that may be
//! older than the last of it: none of it is to be forgotten then.

use super::ports::{PortChange, Ports};
use super::{memory, nic};
use crate::domain::view;
use model::domain::Domain as Definition;
use model::domain::clock::ClockOffset;
use model::domain::devices::disk::{Disk, TrayState};
use model::domain::scalar::Kib;
use std::collections::BTreeMap;
use units::MacAddr;

/// By the aliases of devices, what was said last.
#[derive(Clone, Debug, Default)]
pub(in crate::domain) struct Seen {
    ports: Ports,
    /// Whether drives are open.
    trays: BTreeMap<String, bool>,
    /// How much the guest has of memory devices, in KiB.
    sizes: BTreeMap<String, u64>,
    /// Hardware addresses that the guest gave its interfaces.
    macs: BTreeMap<String, MacAddr>,
    /// What the balloon leaves the guest, and of how much, in KiB.
    balloon: Option<(u64, u64)>,
    /// How far a variable clock is from the host's.
    clock: Option<String>,
}

impl Seen {
    /// The guest opened or closed its end of a channel.
    pub fn port(&mut self, definition: &mut Definition, alias: &str, open: bool) -> PortChange {
        self.ports.note(definition, alias, open)
    }

    /// A drive opened or closed; false where that was known.
    pub fn tray(&mut self, definition: &mut Definition, alias: &str, open: bool) -> bool {
        self.trays.insert(alias.to_owned(), open);
        show_tray(definition, alias, open)
    }

    /// The guest has this much of a memory device, in KiB; false where that was known.
    pub fn size(&mut self, definition: &mut Definition, alias: &str, kib: u64) -> bool {
        self.sizes.insert(alias.to_owned(), kib);
        memory::note(definition, alias, kib)
    }

    /// The guest gave an interface this address; the one before, if that was another.
    pub fn mac(
        &mut self,
        definition: &mut Definition,
        alias: &str,
        mac: MacAddr,
    ) -> Option<MacAddr> {
        self.macs.insert(alias.to_owned(), mac);
        nic::note(definition, alias, mac)
    }

    /// The balloon leaves the guest this much, in KiB; false where that was known.
    pub fn balloon(&mut self, definition: &mut Definition, kib: u64) -> bool {
        self.balloon = Some((kib, whole(definition)));
        let before = definition.current_memory;
        self.show_balloon(definition);
        before != definition.current_memory
    }

    /// A variable clock was set; false where that was known.
    pub fn clock(&mut self, definition: &mut Definition, adjustment: &str) -> bool {
        self.clock = Some(adjustment.to_owned());
        let clock = definition.clock.get_or_insert_default();
        let known = clock.adjustment.as_deref() == Some(adjustment);
        clock.adjustment.clone_from(&self.clock);
        !known
    }

    /// Writes it all into a definition that was made without looking at it, and forgets devices
    /// that it does not have.
    pub fn show_in(&mut self, definition: &mut Definition) {
        self.ports.show_in(definition);
        if !(self.trays.is_empty() && self.sizes.is_empty() && self.macs.is_empty()) {
            let known = view::aliases(definition);
            self.trays.retain(|alias, _| known.contains(alias.as_str()));
            self.sizes.retain(|alias, _| known.contains(alias.as_str()));
            self.macs.retain(|alias, _| known.contains(alias.as_str()));
        }
        for (alias, open) in &self.trays {
            show_tray(definition, alias, *open);
        }
        for (alias, kib) in &self.sizes {
            memory::note(definition, alias, *kib);
        }
        for (alias, mac) in &self.macs {
            nic::note(definition, alias, *mac);
        }
        self.show_balloon(definition);
        let variable =
            |clock: &&mut model::domain::clock::Clock| clock.offset == ClockOffset::Variable;
        if let (Some(clock), Some(_)) = (definition.clock.as_mut().filter(variable), &self.clock) {
            clock.adjustment.clone_from(&self.clock);
        }
    }

    /// What the guest took of memory devices comes on top of what the balloon leaves it. Where
    /// memory came or went meanwhile, the number is none of this guest's any more.
    fn show_balloon(&mut self, definition: &mut Definition) {
        match self.balloon {
            Some((kib, of)) if of == whole(definition) => {
                let beside = memory::taken(definition);
                definition.current_memory = Some(Kib(kib.saturating_add(beside)));
            }
            _ => self.balloon = None,
        }
    }
}

/// All the memory that a guest can have without more devices, in KiB.
fn whole(definition: &Definition) -> u64 {
    definition.memory.as_ref().map_or(0, |memory| memory.size.0)
}

/// The drive that an event names, by its alias or as older QEMUs do; only one whose medium can be
/// taken out.
pub(super) fn drive<'a>(definition: &'a Definition, named: &str) -> Option<&'a str> {
    let wanted = named.strip_prefix("drive-").unwrap_or(named);
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    let mut drives = disks.filter(|disk| disk.device.is_removable());
    drives.find_map(|disk| {
        disk.alias.as_ref().map(|alias| alias.name.as_str()).filter(|alias| *alias == wanted)
    })
}

fn show_tray(definition: &mut Definition, alias: &str, open: bool) -> bool {
    let disks = definition.devices.iter_mut().flat_map(|devices| &mut devices.disks);
    let mut drives = disks.filter(|disk| disk.device.is_removable());
    let named = |disk: &&mut Disk| disk.alias.as_ref().is_some_and(|own| own.name == alias);
    let Some(disk) = drives.find(named) else { return false };
    let state = open.then_some(TrayState::Open);
    let before = disk.target.tray.filter(|tray| *tray == TrayState::Open);
    disk.target.tray = state;
    before != state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(memory: u64, devices: &str) -> Definition {
        let text = format!(
            "<domain type='qemu'><name>x</name><memory>{memory}</memory>\
             <os><type>hvm</type></os><clock offset='variable' adjustment='0'/>\
             <devices>{devices}</devices></domain>"
        );
        let options = model::domain::ParseOptions { live: true };
        model::domain::parse(&text, options).domain.expect("a definition")
    }

    const DEVICES: &str = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/>\
        <alias name='sata0-0-0'/></disk><disk type='file'><source file='/a'/>\
        <target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>\
        <interface type='ethernet'><mac address='52:54:00:00:00:01'/><alias name='net0'/></interface>\
        <memory model='virtio-mem'><target><size>500</size><node>0</node><block>1</block>\
        <requested>0</requested></target><alias name='virtiomem0'/></memory>";

    #[test]
    fn what_was_said_outlives_a_change_made_from_an_older_definition() {
        let old = definition(1000, DEVICES);
        let mut now = old.clone();
        let mut seen = Seen::default();
        let mac = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
        assert!(seen.tray(&mut now, "sata0-0-0", true));
        assert!(!seen.tray(&mut now, "sata0-0-0", true));
        assert!(!seen.tray(&mut now, "virtio-disk0", true), "no drive");
        assert!(seen.size(&mut now, "virtiomem0", 100));
        assert!(seen.balloon(&mut now, 300));
        assert!(!seen.balloon(&mut now, 300));
        assert!(seen.clock(&mut now, "7"));
        assert_eq!(seen.mac(&mut now, "net0", mac), Some(MacAddr([0x52, 0x54, 0, 0, 0, 1])));
        assert_eq!(now.current_memory, Some(Kib(400)));
        let mut stale = old;
        seen.show_in(&mut stale);
        assert_eq!(stale, now);
        // More memory was plugged: what the balloon leaves of it nobody said yet.
        let mut more = definition(2000, DEVICES);
        let own = more.current_memory;
        seen.sizes.clear();
        seen.show_in(&mut more);
        assert_eq!(more.current_memory, own);
    }

    #[test]
    fn a_device_that_left_leaves_nothing_to_the_next_of_its_name() {
        let mut seen = Seen::default();
        let mut first = definition(1000, DEVICES);
        seen.tray(&mut first, "sata0-0-0", true);
        seen.show_in(&mut definition(1000, ""));
        let mut second = definition(1000, DEVICES);
        seen.show_in(&mut second);
        assert_eq!(second, definition(1000, DEVICES));
    }

    #[test]
    fn drives_by_their_names() {
        let definition = definition(1000, DEVICES);
        for (named, expected) in [
            ("sata0-0-0", Some("sata0-0-0")),
            ("drive-sata0-0-0", Some("sata0-0-0")),
            ("virtio-disk0", None),
            ("sata0-0-1", None),
            ("", None),
        ] {
            assert_eq!(drive(&definition, named), expected, "{named}");
        }
    }
}
