//! PCI buses and their slots while addresses are assigned.

/// What can be plugged where.
pub(super) mod connect {
    /// Can be added and removed while the guest runs.
    pub const HOTPLUG: u32 = 1;
    /// Conventional PCI device.
    pub const PCI: u32 = 1 << 1;
    /// PCI Express device.
    pub const PCIE: u32 = 1 << 2;
    /// pcie-root-port.
    pub const ROOT_PORT: u32 = 1 << 3;
    /// pcie-switch-upstream-port.
    pub const UPSTREAM: u32 = 1 << 4;
    /// pcie-switch-downstream-port.
    pub const DOWNSTREAM: u32 = 1 << 5;
    /// dmi-to-pci-bridge.
    pub const DMI: u32 = 1 << 6;
    /// pcie-to-pci-bridge.
    pub const PCIE_TO_PCI: u32 = 1 << 7;
    /// pci-bridge.
    pub const BRIDGE: u32 = 1 << 8;
    /// pci-expander-bus.
    pub const PXB: u32 = 1 << 9;
    /// pcie-expander-bus.
    pub const PXB_PCIE: u32 = 1 << 10;
    /// Shares a slot with others of its kind, one function each.
    pub const AGGREGATE: u32 = 1 << 11;
    /// Sits on the root bus itself.
    pub const INTEGRATED: u32 = 1 << 12;
    /// All that say what kind of plug it is.
    pub const TYPES: u32 = PCI
        | PCIE
        | ROOT_PORT
        | UPSTREAM
        | DOWNSTREAM
        | DMI
        | PCIE_TO_PCI
        | BRIDGE
        | PXB
        | PXB_PCIE;
}

use connect::*;

/// Slots of a bus.
const SLOTS: usize = 32;

/// One bus: what its controller accepts and which functions are used.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    /// Model of the controller.
    pub model: &'static str,
    /// What it accepts.
    pub flags: u32,
    /// First usable slot.
    pub min: usize,
    /// Last usable slot.
    pub max: usize,
    /// Used functions of each slot, a bit each.
    pub used: [u8; SLOTS],
    /// Whether the slot is shared by devices that take one function each.
    pub aggregate: [bool; SLOTS],
    /// Added because something needed it.
    pub added: bool,
    /// Host devices of one isolation group are kept to themselves; 0 is everything else.
    pub group: u32,
    /// The group is settled.
    pub locked: bool,
}

impl Bus {
    /// The bus of a controller model; `None` when there is no such model.
    pub fn new(model: &str, added: bool) -> Option<Self> {
        let (model, flags, min, max) = match model {
            "pci-root" => ("pci-root", HOTPLUG | PCI | BRIDGE | PXB, 1, 31),
            "pci-bridge" => ("pci-bridge", HOTPLUG | PCI | BRIDGE, 1, 31),
            "pci-expander-bus" => ("pci-expander-bus", HOTPLUG | PCI | BRIDGE, 0, 31),
            "pcie-root" => ("pcie-root", PCIE | ROOT_PORT | DMI | PXB_PCIE | INTEGRATED, 1, 31),
            "dmi-to-pci-bridge" => ("dmi-to-pci-bridge", PCI | BRIDGE, 0, 31),
            "pcie-to-pci-bridge" => ("pcie-to-pci-bridge", HOTPLUG | PCI | BRIDGE, 1, 31),
            "pcie-root-port" => ("pcie-root-port", HOTPLUG | PCIE | UPSTREAM | PCIE_TO_PCI, 0, 0),
            "pcie-switch-downstream-port" => {
                ("pcie-switch-downstream-port", HOTPLUG | PCIE | UPSTREAM | PCIE_TO_PCI, 0, 0)
            }
            "pcie-switch-upstream-port" => ("pcie-switch-upstream-port", DOWNSTREAM, 0, 31),
            "pcie-expander-bus" => ("pcie-expander-bus", ROOT_PORT | DMI | PCIE, 0, 0),
            _ => return None,
        };
        Some(Self {
            model,
            flags,
            min,
            max,
            used: [0; SLOTS],
            aggregate: [false; SLOTS],
            added,
            group: 0,
            locked: false,
        })
    }

    /// Whether a device with these needs may be placed here automatically.
    pub fn accepts(&self, flags: u32) -> bool {
        if self.flags & flags & TYPES == 0 {
            return false;
        }
        flags & HOTPLUG == 0 || self.flags & HOTPLUG != 0
    }

    /// A free place: slot and function.
    pub fn find(&self, flags: u32) -> Option<(usize, u8)> {
        for slot in self.min..=self.max {
            let used = *self.used.get(slot)?;
            if used == 0 {
                return Some((slot, 0));
            }
            if flags & AGGREGATE != 0 && self.aggregate[slot] && used != 0xff {
                return Some((slot, used.trailing_ones() as u8));
            }
        }
        None
    }

    /// Whether nothing is plugged in.
    pub fn is_empty(&self) -> bool {
        self.used.iter().all(|u| *u == 0)
    }

    /// Takes note that a device of this isolation group is plugged in.
    pub fn join(&mut self, group: u32) {
        if self.locked || group == self.group {
            return;
        }
        if self.is_empty() {
            self.group = group;
        } else {
            // A mixture, which only the user can have asked for, belongs to everyone.
            self.group = 0;
            self.locked = true;
        }
    }

    /// Whether no slot is free.
    pub fn is_full(&self) -> bool {
        (self.min..=self.max).all(|s| self.used.get(s).is_none_or(|u| *u != 0))
    }
}
