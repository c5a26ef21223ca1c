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

/// The common part of one device, to look at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Element name of the device.
    pub element: &'static str,
    /// Place among the devices of that element.
    pub index: usize,
    /// Name.
    pub alias: &'a Option<Alias>,
    /// Address.
    pub address: &'a Option<Address>,
    /// ACPI index.
    pub acpi: &'a Option<DeviceAcpi>,
    /// Boot order, where the device kind has one.
    pub boot: Option<&'a Option<DeviceBoot>>,
    /// Option ROM, where the device kind has one.
    pub rom: Option<&'a Option<Rom>>,
}

macro_rules! plain {
    (($f:ident $Info:ident $iter:ident $($mut:tt)?) $name:literal, $list:expr) => {
        for (index, x) in $list.$iter().enumerate() {
            $f($Info {
                element: $name,
                index,
                alias: & $($mut)? x.alias,
                address: & $($mut)? x.address,
                acpi: & $($mut)? x.acpi,
                boot: None,
                rom: None,
            });
        }
    };
}

macro_rules! with_boot {
    (($f:ident $Info:ident $iter:ident $($mut:tt)?) $name:literal, $list:expr, $rom:ident) => {
        for (index, x) in $list.$iter().enumerate() {
            $f($Info {
                element: $name,
                index,
                alias: & $($mut)? x.alias,
                address: & $($mut)? x.address,
                acpi: & $($mut)? x.acpi,
                boot: Some(& $($mut)? x.boot),
                rom: with_boot!(@rom $rom x $($mut)?),
            });
        }
    };
    (@rom rom $x:ident $($mut:tt)?) => { Some(& $($mut)? $x.rom) };
    (@rom no_rom $x:ident $($mut:tt)?) => { None };
}

/// Every device, in libvirt's order of device kinds.
macro_rules! every_device {
    ($f:ident, $dev:ident, $Info:ident $iter:ident $($mut:tt)?) => {
        with_boot!(($f $Info $iter $($mut)?) "disk", $dev.disks, no_rom);
        for (index, x) in $dev.controllers.$iter().enumerate() {
            $f($Info {
                element: "controller",
                index,
                alias: & $($mut)? x.alias,
                address: & $($mut)? x.address,
                acpi: & $($mut)? x.acpi,
                boot: None,
                rom: None,
            });
        }
        with_boot!(($f $Info $iter $($mut)?) "filesystem", $dev.filesystems, no_rom);
        with_boot!(($f $Info $iter $($mut)?) "interface", $dev.interfaces, rom);
        plain!(($f $Info $iter $($mut)?) "smartcard", $dev.smartcards);
        plain!(($f $Info $iter $($mut)?) "serial", $dev.serials);
        plain!(($f $Info $iter $($mut)?) "parallel", $dev.parallels);
        plain!(($f $Info $iter $($mut)?) "console", $dev.consoles);
        plain!(($f $Info $iter $($mut)?) "channel", $dev.channels);
        plain!(($f $Info $iter $($mut)?) "input", $dev.inputs);
        plain!(($f $Info $iter $($mut)?) "tpm", $dev.tpms);
        plain!(($f $Info $iter $($mut)?) "sound", $dev.sounds);
        plain!(($f $Info $iter $($mut)?) "video", $dev.videos);
        with_boot!(($f $Info $iter $($mut)?) "hostdev", $dev.hostdevs, rom);
        with_boot!(($f $Info $iter $($mut)?) "redirdev", $dev.redirdevs, no_rom);
        plain!(($f $Info $iter $($mut)?) "hub", $dev.hubs);
        plain!(($f $Info $iter $($mut)?) "watchdog", $dev.watchdogs);
        plain!(($f $Info $iter $($mut)?) "memballoon", $dev.memballoons);
        plain!(($f $Info $iter $($mut)?) "rng", $dev.rngs);
        plain!(($f $Info $iter $($mut)?) "nvram", $dev.nvrams);
        plain!(($f $Info $iter $($mut)?) "panic", $dev.panics);
        plain!(($f $Info $iter $($mut)?) "shmem", $dev.shmems);
        plain!(($f $Info $iter $($mut)?) "memory", $dev.memories);
        plain!(($f $Info $iter $($mut)?) "crypto", $dev.cryptos);
        plain!(($f $Info $iter $($mut)?) "iommu", $dev.iommus);
        plain!(($f $Info $iter $($mut)?) "vsock", $dev.vsocks);
        plain!(($f $Info $iter $($mut)?) "pstore", $dev.pstores);
    };
}

/// Calls `f` for every device, in libvirt's order of device kinds.
pub fn for_each_info(d: &mut Domain, f: &mut dyn FnMut(Info<'_>)) {
    let Some(dev) = d.devices.as_mut() else { return };
    every_device!(f, dev, Info iter_mut mut);
}

/// The same where nothing is changed.
pub fn look_at_each(d: &Domain, f: &mut dyn FnMut(Look<'_>)) {
    let Some(dev) = d.devices.as_ref() else { return };
    every_device!(f, dev, Look iter);
}

/// How many there are.
pub fn count(d: &Domain) -> usize {
    let mut count = 0;
    look_at_each(d, &mut |_| count += 1);
    count
}
