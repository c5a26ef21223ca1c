//! Which kind of guest a question is about: emulator, architecture, machine, accelerator.

use crate::caps::CapsStore;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
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

/// Whether an emulator for guests of `own` runs those of `wanted` too.
fn serves(own: &str, wanted: &str) -> bool {
    let also =
        [("x86_64", "i686"), ("aarch64", "armv7l"), ("armv7l", "armv6l"), ("ppc64", "ppc64le")];
    own == wanted || also.contains(&(own, wanted))
}

/// Architectures of one processor family, of which an emulator is for some.
fn family(arch: &str) -> &str {
    match arch {
        "i686" | "x86_64" => "x86",
        "armv6l" | "armv7l" | "armv7b" | "aarch64" => "arm",
        "ppc" | "ppc64" | "ppc64le" | "ppcemb" => "ppc",
        "s390" | "s390x" => "s390",
        other => other,
    }
}

impl Engine {
    /// The most virtual CPUs a guest may have, as `virConnectGetMaxVcpus` tells: libvirt's old
    /// number for emulation, whatever the board.
    ///
    /// # Errors
    /// There is no such kind of guest, or KVM does not answer here.
    pub fn max_vcpus(&self, kind: Option<&str>) -> Result<i32, VirError> {
        let is = |name: &str| kind.is_some_and(|kind| kind.eq_ignore_ascii_case(name));
        if kind.is_none() || is("qemu") {
            return Ok(16);
        }
        if !is("kvm") {
            let kind = kind.unwrap_or_default();
            return Err(VirError::invalid_arg(format!("unknown type '{kind}'")));
        }
        let most = self.facts.kvm_max_vcpus.and_then(|most| i32::try_from(most).ok());
        most.ok_or_else(|| {
            let why = match &self.facts.kvm {
                KvmState::Unusable(why) => why.as_str(),
                _ => "/dev/kvm does not answer",
            };
            let message = format!("KVM tells no limit of virtual CPUs: {why}");
            VirError::new(ErrorCode::SYSTEM_ERROR, message)
        })
    }

    /// The kind of guest that is asked about. May probe its emulator.
    pub(crate) fn guest_kind(&self, query: &DomainCapsQuery) -> Result<GuestKind, VirError> {
        if let Some(unknown) = query.virt_type.as_deref().filter(|t| t.parse::<VirtType>().is_err())
        {
            return Err(VirError::invalid_arg(format!("unknown virttype: {unknown}")));
        }
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
            // What is not said is of the host, whatever the emulator is for.
            None => self.facts.arch.clone(),
            Some(arch) => arch,
        };
        if family(&caps.arch) != family(&arch) {
            return Err(VirError::invalid_arg(format!(
                "architecture from emulator '{}' doesn't match given architecture '{arch}'",
                caps.arch
            )));
        }
        let accel = match query.virt_type.as_deref() {
            None => caps.best_accel(),
            Some("qemu") => Accel::Tcg,
            Some("kvm") if caps.accel(Accel::Kvm).is_some() => Accel::Kvm,
            // What no emulator does is told later, after what is wrong with the machine.
            Some(other) => {
                let hvf = other == "hvf" && caps.accel(Accel::Kvm).is_none();
                if other == "kvm" || hvf {
                    return Err(self.no_accel(other, &emulator));
                }
                Accel::Tcg
            }
        };
        let machine = query.machine.clone();
        Ok(GuestKind { caps, emulator, arch, machine, accel })
    }

    /// This accelerator, which QEMU can have, is not here.
    fn no_accel(&self, accel: &str, emulator: &str) -> VirError {
        let why = match &self.facts.kvm {
            KvmState::Unusable(why) if accel == "kvm" => format!(": {why}"),
            _ => String::new(),
        };
        VirError::invalid_arg(format!(
            "the accel '{accel}' is not supported by '{emulator}' on this host{why}"
        ))
    }

    /// The domain capabilities document of a kind of guest. May probe its emulator. With
    /// `without_deprecated`, the host's model is told without features that will go away.
    ///
    /// # Errors
    /// When emulator, architecture, machine or virtualisation type do not go together here.
    pub fn domain_capabilities(
        &self,
        query: &DomainCapsQuery,
        without_deprecated: bool,
    ) -> Result<String, VirError> {
        let kind = self.guest_kind(query)?;
        let unfit = |what: &str, name: &str| {
            let emulator = &kind.emulator;
            let message = format!("Emulator '{emulator}' does not support {what} '{name}'");
            Err(VirError::invalid_arg(message))
        };
        if !serves(&kind.caps.arch, &kind.arch) {
            return unfit("arch", &kind.arch);
        }
        match query.virt_type.as_deref() {
            None | Some("qemu" | "kvm") => {}
            Some(other) => {
                match kind.machine.as_deref() {
                    // Without that hypervisor there is no machine under it.
                    Some(name) if other == "hvf" => return Err(kind.unknown_machine(name)),
                    _ => kind.check_machine()?,
                }
                return unfit("virt type", other);
            }
        }
        let request = DomainCapsRequest {
            machine: kind.machine.as_deref(),
            firmware: &self.firmware(),
            loaders: None,
            default_loaders: &default_loaders(),
            accel: kind.accel,
            hvf: false,
            without_deprecated,
            arch: &kind.arch,
            caps: &kind.caps,
        };
        domain_capabilities_xml(&self.facts, &request)
            .map_err(|unknown| kind.unknown_machine(&unknown.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulators_run_guests_of_older_processors_of_their_family() {
        for (own, wanted, family_fits, fits) in [
            ("x86_64", "i686", true, true),
            ("i686", "x86_64", true, false),
            ("aarch64", "armv7l", true, true),
            ("armv7l", "armv6l", true, true),
            ("aarch64", "armv6l", true, false),
            ("ppc64", "ppc64le", true, true),
            ("ppc64", "ppc", true, false),
            ("s390x", "s390", true, false),
            ("riscv64", "riscv32", false, false),
            ("s390x", "x86_64", false, false),
        ] {
            assert_eq!(family(own) == family(wanted), family_fits, "{own} {wanted}");
            assert_eq!(serves(own, wanted), fits, "{own} {wanted}");
        }
    }
}
