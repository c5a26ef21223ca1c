//! Addresses on buses without a topology: channel devices of s390, sPAPR VIO, virtio-mmio.

use std::collections::{HashMap, HashSet};

use diag::{Diagnostic, ErrorCode};

use super::{Machine, fault};
use crate::domain::Domain;
use crate::domain::address::{Address, CcwAddress, NoAddress, SpaprVioAddress};
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::ControllerType;
use crate::domain::scalar::Hex;

/// Assigns what the machine's own bus takes.
pub(super) fn assign(d: &mut Domain, m: &Machine, out: &mut Vec<Diagnostic>) {
    // Devices of this bus get their places on every board; one without the bus refuses them.
    spapr(d, m.is_pseries());
    if m.is_ccw() {
        ccw(d, out);
    } else if needs_mmio(d, m) {
        for_each_virtio(d, false, &mut |a| {
            a.get_or_insert(Address::VirtioMmio(NoAddress::default()));
        });
    }
}

/// Machines whose only virtio transport is memory mapped, and those that have the choice but whose
/// user chose it for some device.
fn needs_mmio(d: &mut Domain, m: &Machine) -> bool {
    if m.is_microvm() || m.is_arm() && m.name.starts_with("vexpress-") {
        return true;
    }
    let mut chosen = false;
    if m.is_arm_virt() || m.is_riscv_virt() {
        crate::domain::walk::for_each_info(d, &mut |i| {
            chosen |= matches!(i.address, Some(Address::VirtioMmio(_)));
        });
    }
    chosen
}

/// Calls `f` with the address of every virtio device, and with those of what else sits on the bus if
/// that is one of channels, in libvirt's order.
fn for_each_virtio(d: &mut Domain, channels: bool, f: &mut dyn FnMut(&mut Option<Address>)) {
    use crate::domain::devices::disk::DiskBus;
    use crate::domain::devices::hostdev::HostdevType;
    use crate::domain::devices::input::InputBus;
    let Some(dev) = d.devices.as_mut() else { return };
    for x in &mut dev.disks {
        if x.target.bus == Some(DiskBus::Virtio) {
            f(&mut x.address);
        }
    }
    for x in &mut dev.interfaces {
        if x.model.as_ref().is_some_and(|m| m.kind.starts_with("virtio")) {
            f(&mut x.address);
        }
    }
    for x in &mut dev.sounds {
        if x.model == crate::domain::devices::sound::SoundModel::Virtio {
            f(&mut x.address);
        }
    }
    for h in &mut dev.hostdevs {
        let ccw = h.kind == Some(HostdevType::Mdev) && h.model.as_deref() == Some("vfio-ccw")
            || h.kind == Some(HostdevType::ScsiHost);
        if ccw && channels {
            f(&mut h.address);
        }
    }
    for x in &mut dev.videos {
        if x.model
            .as_ref()
            .is_some_and(|m| m.kind == crate::domain::devices::video::VideoType::Virtio)
        {
            f(&mut x.address);
        }
    }
    for x in &mut dev.controllers {
        // On the channel bus a SCSI controller of any model gets a place.
        let scsi = |model: &str| channels || model.starts_with("virtio");
        let wanted = match x.kind {
            ControllerType::VirtioSerial => true,
            ControllerType::Scsi => x.model.as_deref().is_some_and(scsi),
            _ => false,
        };
        if wanted {
            f(&mut x.address);
        }
    }
    for x in &mut dev.inputs {
        if x.bus == Some(InputBus::Virtio) {
            f(&mut x.address);
        }
    }
    for x in &mut dev.filesystems {
        f(&mut x.address);
    }
    for x in &mut dev.memballoons {
        if x.model != crate::domain::devices::memballoon::BalloonModel::None {
            f(&mut x.address);
        }
    }
    for x in &mut dev.rngs {
        f(&mut x.address);
    }
    for x in &mut dev.vsocks {
        f(&mut x.address);
    }
    for x in &mut dev.cryptos {
        f(&mut x.address);
    }
    for x in &mut dev.memories {
        use crate::domain::devices::memory::MemoryModel;
        if matches!(x.model, MemoryModel::VirtioMem | MemoryModel::VirtioPmem) {
            f(&mut x.address);
        }
    }
}

/// The virtual subchannel set of virtio devices.
const CCW_CSSID: u64 = 0xfe;

fn ccw(d: &mut Domain, out: &mut Vec<Diagnostic>) {
    let mut taken: HashSet<u64> = HashSet::new();
    crate::domain::walk::for_each_info(d, &mut |i| {
        if let Some(Address::Ccw(a)) = i.address
            && let Some(n) = a.devno
            && a.ssid.is_none_or(|s| s.0 == 0)
            && a.cssid.is_none_or(|s| s.0 == CCW_CSSID)
        {
            taken.insert(n.0);
        }
    });
    let mut free = (0..=0xffff).filter(move |n| !taken.contains(n));
    let mut next = move || {
        let n = free.next()?;
        Some(Address::Ccw(CcwAddress {
            cssid: Some(Hex::from(CCW_CSSID)),
            ssid: Some(Hex::from(0)),
            devno: Some(Hex::from(n)),
        }))
    };
    let mut full = false;
    let mut give = |a: &mut Option<Address>| {
        let open = match a {
            None => true,
            Some(Address::Ccw(c)) => c.devno.is_none(),
            _ => false,
        };
        if open {
            match next() {
                Some(new) => *a = Some(new),
                None => full = true,
            }
        }
    };
    for_each_virtio(d, true, &mut give);
    if full {
        fault(out, "domain.ccw-full", ErrorCode::INTERNAL_ERROR, "out of CCW addresses");
    }
}

/// sPAPR VIO registers: each device kind has a first number, further devices follow in steps of
/// 0x1000.
fn spapr(d: &mut Domain, pseries: bool) {
    let mut taken: HashSet<u64> = HashSet::new();
    crate::domain::walk::for_each_info(d, &mut |i| {
        if let Some(Address::SpaprVio(a)) = i.address
            && let Some(r) = a.reg
            && i.element != "console"
        {
            taken.insert(r.0);
        }
    });
    // Where each kind's search goes on: nothing becomes free meanwhile.
    let mut from: HashMap<u64, u64> = HashMap::new();
    let mut give = |a: &mut Option<Address>, first: u64, wanted: bool| {
        let open = match a {
            None => wanted,
            Some(Address::SpaprVio(x)) => x.reg.is_none(),
            // There is no other place for such a device.
            Some(_) => wanted,
        };
        if open {
            let reg = from.entry(first).or_insert(first);
            while !taken.insert(*reg) {
                *reg += 0x1000;
            }
            *a = Some(Address::SpaprVio(SpaprVioAddress { reg: Some(Hex::from(*reg)) }));
        }
    };
    let Some(dev) = d.devices.as_mut() else { return };
    for x in &mut dev.interfaces {
        let wanted = x.model.as_ref().is_some_and(|m| m.kind == "spapr-vlan");
        give(&mut x.address, 0x1000, wanted);
    }
    for x in &mut dev.controllers {
        let wanted = x.kind == ControllerType::Scsi && x.model.as_deref() == Some("ibmvscsi");
        give(&mut x.address, 0x2000, wanted);
    }
    for x in &mut dev.serials {
        let wanted = x.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::SpaprVioSerial);
        give(&mut x.address, 0x3000_0000, wanted);
    }
    for x in &mut dev.nvrams {
        give(&mut x.address, 0x3000, pseries);
    }
    for x in &mut dev.tpms {
        let wanted = x.model == Some(crate::domain::devices::tpm::TpmModel::TpmSpapr);
        give(&mut x.address, 0x4000, wanted);
    }
    if pseries
        && let (Some(s), Some(c)) = (dev.serials.first(), dev.consoles.first_mut())
        && c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Serial)
    {
        c.address.clone_from(&s.address);
    }
}
