//! What the defaults need to know of an emulator, from its capabilities.

use super::context::{DeviceSupport, MachineInfo};
use crate::capabilities::qemu::{Accel, QemuCaps};

/// The part of the context that is the same for all guests of one emulator and accelerator.
#[derive(Clone, Debug, Default)]
pub struct EmulatorDefaults {
    /// Its machine types.
    pub machines: Vec<MachineInfo>,
    /// What it offers.
    pub devices: DeviceSupport,
}

impl EmulatorDefaults {
    /// From what the binary can do under `accel`.
    pub fn new(caps: &QemuCaps, accel: Accel) -> Self {
        let known = if caps.accel(accel).is_some() { accel } else { Accel::Tcg };
        let machines = caps.accel(known).map_or_else(Vec::new, |all| {
            all.machines
                .iter()
                .map(|machine| MachineInfo {
                    name: machine.name.clone(),
                    alias: machine.alias.clone(),
                    default_cpu: caps.default_cpu(known, machine).map(str::to_owned),
                    is_default: machine.is_default,
                })
                .collect()
        });
        Self { machines, devices: DeviceSupport::new(caps.flags.iter().cloned()) }
    }
}
