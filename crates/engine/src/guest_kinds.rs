//! Which kind of guest a question is about: emulator, architecture, machine, accelerator.

use crate::caps::CapsStore;
use crate::engine::Engine;
use diag::VirError;
use model::capabilities::domain::{Request as DomainCapsRequest, domain_capabilities_xml};
use model::capabilities::host::KvmState;
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::{ARCHITECTURES, VirtType};
use std::sync::Arc;

/// Which guest a `domcapabilities` question is about; what is left open is chosen.
#[derive(Clone, Debug, Default)]
pub struct DomainCapsQuery {
    /// Emulator.
    pub emulator: Option<String>,
    /// Guest architecture.
    pub arch: Option<String>,
    /// Machine type.
    pub machine: Option<String>,
    /// `qemu` or `kvm`.
    pub virt_type: Option<String>,
}

/// Firmware images that libvirt is built to know of, as Debian builds it.
const LOADERS: [&str; 4] = [
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/OVMF/OVMF_CODE.secboot.fd",
    "/usr/share/AAVMF/AAVMF_CODE.fd",
    "/usr/share/AAVMF/AAVMF32_CODE.fd",
];

/// Those of the images that are there.
fn default_loaders() -> Vec<String> {
    let there = LOADERS.iter().filter(|path| std::path::Path::new(path).exists());
    there.map(|path| (*path).to_owned()).collect()
}

/// A kind of guest that this host can run.
#[derive(Clone, Debug)]
pub(crate) struct GuestKind {
    /// What the emulator can do.
    pub(crate) caps: Arc<QemuCaps>,
    /// Path of the emulator.
    pub(crate) emulator: String,
    /// Architecture of the guest.
    pub(crate) arch: String,
    /// Machine, where it was named.
    pub(crate) machine: Option<String>,
    /// Accelerator.
    pub(crate) accel: Accel,
}

impl GuestKind {
    fn unknown_machine(&self, name: &str) -> VirError {
        let emulator = &self.emulator;
        VirError::invalid_arg(format!(
            "the machine '{name}' is not supported by emulator '{emulator}'"
        ))
    }

    /// Refuses a machine that the emulator does not know.
    pub(crate) fn check_machine(&self) -> Result<(), VirError> {
        match self.machine.as_deref() {
            Some(name) if self.caps.machine(self.accel, name).is_none() => {
                Err(self.unknown_machine(name))
            }
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// The kind of guest that is asked about. May probe its emulator.
    pub(crate) fn guest_kind(&self, query: &DomainCapsQuery) -> Result<GuestKind, VirError> {
        let arch = query.arch.clone();
        if let Some(arch) = &arch
            && !ARCHITECTURES.contains(&arch.as_str())
        {
            return Err(VirError::invalid_arg(format!("unknown architecture: {arch}")));
        }
        let emulator = match &query.emulator {
            Some(emulator) => emulator.clone(),
            None => {
                let arch = arch.as_deref().unwrap_or(&self.facts.arch);
                CapsStore::default_emulator(arch).ok_or_else(|| {
                    VirError::config(format!(
                        "unable to find any emulator to serve '{arch}' architecture"
                    ))
                })?
            }
        };
        let caps = self.caps.get(&emulator)?;
        let arch = match arch {
            None => caps.arch.clone(),
            Some(arch) if arch == caps.arch => arch,
            Some(arch) if arch == "i686" && caps.arch == "x86_64" => arch,
            Some(arch) => {
                return Err(VirError::invalid_arg(format!(
                    "architecture from emulator '{}' doesn't match given architecture '{arch}'",
                    caps.arch
                )));
            }
        };
        let accel = match query.virt_type.as_deref() {
            None => caps.best_accel(),
            Some("kvm") if caps.accel(Accel::Kvm).is_some() => Accel::Kvm,
            Some("kvm") => {
                let why = match &self.facts.kvm {
                    KvmState::Unusable(why) => format!(": {why}"),
                    _ => String::new(),
                };
                return Err(VirError::invalid_arg(format!(
                    "the accel 'kvm' is not supported by '{emulator}' on this host{why}"
                )));
            }
            Some("qemu") => Accel::Tcg,
            Some(other) if other.parse::<VirtType>().is_ok() => {
                return Err(VirError::invalid_arg(format!(
                    "Emulator '{emulator}' does not support virt type '{other}'"
                )));
            }
            Some(other) => {
                return Err(VirError::invalid_arg(format!("unknown virttype: {other}")));
            }
        };
        let machine = query.machine.clone();
        Ok(GuestKind { caps, emulator, arch, machine, accel })
    }

    /// The domain capabilities document of a kind of guest. May probe its emulator.
    ///
    /// # Errors
    /// When emulator, architecture, machine or virtualisation type do not go together here.
    pub fn domain_capabilities(&self, query: &DomainCapsQuery) -> Result<String, VirError> {
        let kind = self.guest_kind(query)?;
        let request = DomainCapsRequest {
            machine: kind.machine.as_deref(),
            firmware: &self.firmware(),
            loaders: None,
            default_loaders: &default_loaders(),
            accel: kind.accel,
            hvf: false,
            arch: &kind.arch,
            caps: &kind.caps,
        };
        domain_capabilities_xml(&self.facts, &request)
            .map_err(|unknown| kind.unknown_machine(&unknown.0))
    }
}
