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
        // Elsewhere QEMU's default is a model that only emulation can run.
        let usable = has_default_cpu(&caps.arch)
            && (accel == Accel::Tcg
                || matches!(caps.arch.as_str(), "i686" | "x86_64" | "s390" | "s390x")
                || caps.arch.starts_with("ppc64"));
        let preferred = caps.default_machine(known).map(|machine| machine.name.as_str());
        let machines = caps.accel(known).map_or_else(Vec::new, |all| {
            all.machines
                .iter()
                .map(|machine| MachineInfo {
                    name: machine.name.clone(),
                    alias: machine.alias.clone(),
                    default_cpu: caps
                        .default_cpu(known, machine)
                        .filter(|_| usable)
                        .map(|name| spelled(name, &caps.arch)),
                    is_default: preferred == Some(machine.name.as_str()),
                })
                .collect()
        });
        let gic = caps.gic.iter().filter(|gic| gic.kernel).map(|gic| gic.version);
        let devices = DeviceSupport::new(caps.flags.iter().cloned())
            .with_kvm_gic(gic)
            .of(&caps.emulator, caps.version);
        Self { machines, devices }
    }
}

/// Whether a guest of `arch` that names no CPU shows the one it gets. Elsewhere the emulator's choice
/// stays its own.
pub fn has_default_cpu(arch: &str) -> bool {
    !matches!(arch, "ppc" | "alpha" | "m68k" | "sh4" | "sh4eb" | "riscv32")
}

/// A CPU model as libvirt spells it: the generations of POWER in capitals.
fn spelled(name: &str, arch: &str) -> String {
    let generation = name.strip_prefix("power").filter(|n| !n.is_empty());
    match generation {
        Some(n) if arch.starts_with("ppc") && n.bytes().all(|c| c.is_ascii_digit()) => {
            format!("POWER{n}")
        }
        _ => name.to_owned(),
    }
}
