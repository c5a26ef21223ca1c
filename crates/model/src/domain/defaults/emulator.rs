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
        let machines =
            caps.accel(accel).or_else(|| caps.accel(Accel::Tcg)).map_or_else(Vec::new, |accel| {
                accel
                    .machines
                    .iter()
                    .map(|machine| MachineInfo {
                        name: machine.name.clone(),
                        alias: machine.alias.clone(),
                        default_cpu: machine
                            .default_cpu_type
                            .as_deref()
                            .and_then(|kind| cpu_name(kind, &caps.arch)),
                        is_default: machine.is_default,
                    })
                    .collect()
            });
        Self { machines, devices: DeviceSupport::new(caps.flags.iter().cloned()) }
    }
}

/// The CPU model of a QOM type: `qemu64-x86_64-cpu` is `qemu64`.
fn cpu_name(kind: &str, arch: &str) -> Option<String> {
    let arch = match arch {
        "i686" => "i386",
        other => other,
    };
    let name = kind.strip_suffix("-cpu")?;
    let name = name.strip_suffix(&format!("-{arch}")).unwrap_or(name);
    Some(name.to_owned())
}
