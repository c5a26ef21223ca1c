//! Visiting what all devices have in common: alias, address, boot order, ROM.

use super::Domain;
use super::address::Address;
use super::alias::{Alias, DeviceAcpi, DeviceBoot, Rom};

/// The common part of one device.
#[derive(Debug)]
pub struct Info<'a> {
    /// Element name of the device.
    pub element: &'static str,
    /// Place among the devices of that element.
    pub index: usize,
    /// Name.
    pub alias: &'a mut Option<Alias>,
    /// Address.
    pub address: &'a mut Option<Address>,
    /// ACPI index.
    pub acpi: &'a mut Option<DeviceAcpi>,
    /// Boot order, where the device kind has one.
    pub boot: Option<&'a mut Option<DeviceBoot>>,
    /// Option ROM, where the device kind has one.
    pub rom: Option<&'a mut Option<Rom>>,
}

macro_rules! plain {
    ($f:ident, $name:literal, $list:expr) => {
        for (index, x) in $list.iter_mut().enumerate() {
            $f(Info {
                element: $name,
                index,
                alias: &mut x.alias,
                address: &mut x.address,
                acpi: &mut x.acpi,
                boot: None,
                rom: None,
            });
        }
    };
}

macro_rules! with_boot {
    ($f:ident, $name:literal, $list:expr, $rom:ident) => {
        for (index, x) in $list.iter_mut().enumerate() {
            $f(Info {
                element: $name,
                index,
                alias: &mut x.alias,
                address: &mut x.address,
                acpi: &mut x.acpi,
                boot: Some(&mut x.boot),
                rom: with_boot!(@rom x $rom),
            });
        }
    };
    (@rom $x:ident rom) => { Some(&mut $x.rom) };
    (@rom $x:ident no_rom) => { None };
}

/// Calls `f` for every device, in libvirt's order of device kinds.
pub fn for_each_info(d: &mut Domain, f: &mut dyn FnMut(Info<'_>)) {
    let Some(dev) = d.devices.as_mut() else { return };
    with_boot!(f, "disk", dev.disks, no_rom);
    for (index, x) in dev.controllers.iter_mut().enumerate() {
        f(Info {
            element: "controller",
            index,
            alias: &mut x.alias,
            address: &mut x.address,
            acpi: &mut None,
            boot: None,
            rom: None,
        });
    }
    with_boot!(f, "filesystem", dev.filesystems, no_rom);
    with_boot!(f, "interface", dev.interfaces, rom);
    plain!(f, "smartcard", dev.smartcards);
    plain!(f, "serial", dev.serials);
    plain!(f, "parallel", dev.parallels);
    plain!(f, "console", dev.consoles);
    plain!(f, "channel", dev.channels);
    plain!(f, "input", dev.inputs);
    plain!(f, "tpm", dev.tpms);
    plain!(f, "sound", dev.sounds);
    plain!(f, "video", dev.videos);
    with_boot!(f, "hostdev", dev.hostdevs, rom);
    with_boot!(f, "redirdev", dev.redirdevs, no_rom);
    plain!(f, "hub", dev.hubs);
    plain!(f, "watchdog", dev.watchdogs);
    plain!(f, "memballoon", dev.memballoons);
    plain!(f, "rng", dev.rngs);
    plain!(f, "nvram", dev.nvrams);
    plain!(f, "panic", dev.panics);
    plain!(f, "shmem", dev.shmems);
    plain!(f, "memory", dev.memories);
    plain!(f, "crypto", dev.cryptos);
    plain!(f, "iommu", dev.iommus);
    plain!(f, "vsock", dev.vsocks);
    plain!(f, "pstore", dev.pstores);
}
