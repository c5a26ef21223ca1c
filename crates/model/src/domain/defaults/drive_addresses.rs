//! Drive addresses (controller, bus, target, unit) from target names.

use std::collections::HashSet;

use diag::{Diagnostic, ErrorCode};

use super::disks::target_index;
use super::fault;
use crate::domain::address::{Address, DriveAddress};
use crate::domain::devices::disk::DiskBus;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::{Domain, VirtType};

/// Units of a SCSI bus that names stand for: 7 is the controller itself, and only VMware's guests
/// count on beyond it.
const NARROW: u32 = 7;
const WIDE: u32 = 15;

/// Gives an address to every disk that is driven through a controller and to SCSI host devices.
pub(super) fn assign(d: &mut Domain, out: &mut Vec<Diagnostic>) {
    let units = if d.kind == VirtType::Vmware { WIDE } else { NARROW };
    let dev = d.devices_mut();
    let mut taken: HashSet<_> = dev
        .hostdevs
        .iter()
        .filter(|h| h.kind == Some(HostdevType::Scsi))
        .filter_map(|h| drive(&h.address))
        .chain(
            dev.disks
                .iter()
                .filter(|x| x.target.bus == Some(DiskBus::Scsi))
                .filter_map(|x| drive(&x.address)),
        )
        .collect();
    for disk in &mut dev.disks {
        if disk.address.is_some() {
            continue;
        }
        let Some(bus) = disk.target.bus else { continue };
        let Some(idx) = target_index(&disk.target.dev) else {
            fault(
                out,
                "domain.disk-target",
                ErrorCode::XML_ERROR,
                format!("Unknown disk name '{}' and no address specified", disk.target.dev),
            );
            continue;
        };
        if !matches!(bus, DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata | DiskBus::Fdc) {
            continue;
        }
        let address = match bus {
            DiskBus::Scsi => {
                let a = scsi(idx, units);
                taken.insert(place(&a));
                a
            }
            DiskBus::Ide => {
                DriveAddress { controller: idx / 4, bus: idx % 4 / 2, unit: idx % 2, target: 0 }
            }
            DiskBus::Sata => DriveAddress { controller: idx / 6, bus: 0, unit: idx % 6, target: 0 },
            _ => DriveAddress { controller: idx / 2, bus: 0, unit: idx % 2, target: 0 },
        };
        disk.address = Some(Address::Drive(address));
    }
    // What is free is looked for once: nothing becomes free meanwhile.
    let mut idx = 0;
    for h in &mut dev.hostdevs {
        if h.kind != Some(HostdevType::Scsi) || h.address.is_some() {
            continue;
        }
        let free = loop {
            let a = scsi(idx, units);
            idx += 1;
            if !taken.contains(&place(&a)) {
                break a;
            }
        };
        h.address = Some(Address::Drive(free));
    }
}

fn scsi(idx: u32, units: u32) -> DriveAddress {
    let unit = idx % units;
    DriveAddress {
        controller: idx / units,
        bus: 0,
        target: 0,
        unit: if unit >= 7 { unit + 1 } else { unit },
    }
}

fn drive(a: &Option<Address>) -> Option<[u32; 4]> {
    match a {
        Some(Address::Drive(a)) => Some(place(a)),
        _ => None,
    }
}

fn place(a: &DriveAddress) -> [u32; 4] {
    [a.controller, a.bus, a.target, a.unit]
}
