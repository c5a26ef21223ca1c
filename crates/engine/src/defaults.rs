//! What the defaults of a definition depend on, from what is known of the emulator.

use crate::domain::store::os_words;
use crate::engine::Engine;
use diag::{ErrorDomain, VirError};
use model::capabilities::qemu::Accel;
use model::domain::defaults::{self, DefaultsContext, EmulatorDefaults, HostPciAddress};
use model::domain::{
    Domain as Definition, VirtType, validate_emulator, validate_host, validate_support,
};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

impl Engine {
    /// Fills in what a definition leaves open, as for a new domain.
    pub(crate) fn with_defaults(&self, mut written: Definition) -> Result<Definition, VirError> {
        let arch = written.os.as_ref().and_then(|os| os.kind.arch.clone());
        let named = written.devices.as_ref().and_then(|devices| devices.emulator.clone());
        let default = match &arch {
            Some(arch) => crate::caps::CapsStore::default_emulator(arch),
            None => self.default_emulator(),
        };
        if let Some(arch) = &arch
            && !model::domain::ARCHITECTURES.contains(&arch.as_str())
        {
            return Err(VirError::config(format!("Unknown architecture {arch}"))
                .from_domain(ErrorDomain::DOMAIN));
        }
        if let (Some(arch), None, None) = (&arch, &named, &default)
            && *arch != self.facts.arch
        {
            return Err(VirError::config(format!("No emulator found for arch '{arch}'"))
                .from_domain(ErrorDomain::DOMAIN));
        }
        let accel = if written.kind == VirtType::Kvm { Accel::Kvm } else { Accel::Tcg };
        let shared = match (named.as_deref(), default.as_deref()) {
            // One that is named must be there; without any, the definition stays as it is.
            (Some(emulator), _) => {
                self.caps.get(emulator)?;
                self.caps.defaults_for(emulator, accel)
            }
            (None, Some(emulator)) => self.caps.defaults_for(emulator, accel),
            (None, None) => None,
        };
        let nothing = EmulatorDefaults::default();
        let (machines, devices) = match &shared {
            Some(shared) => (&shared.machines, &shared.devices),
            None => (&nothing.machines, &nothing.devices),
        };
        let settings = defaults::Settings {
            lib_dir: self.layout.qemu_lib().display().to_string(),
            channel_dir: self.layout.qemu_run().join("channel").display().to_string(),
            vnc_allow_host_audio: self.settings.qemu.vnc_allow_host_audio,
            nographics_allow_host_audio: self.settings.qemu.nographics_allow_host_audio,
            audio_driver: None,
            sdl_audio_driver: None,
        };
        let mut source = File::open("/dev/urandom").map_err(|error| {
            VirError::internal(format!("no random bytes: {}", os_words(&error)))
        })?;
        let mut starved = false;
        let mut random = |buffer: &mut [u8]| starved |= source.read_exact(buffer).is_err();
        let mut context = DefaultsContext {
            host_arch: &self.facts.arch,
            emulator: default.as_deref(),
            machines,
            devices,
            settings: &settings,
            random: &mut random,
            iommu_group: &iommu_group,
            abi_update: true,
        };
        let diagnostics = defaults::apply(&mut written, &mut context);
        if starved {
            return Err(VirError::internal("the kernel gave no random bytes"));
        }
        let mut diagnostics = diagnostics;
        let emulator = written.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
        let emulator = emulator.or(default.as_deref());
        let caps = emulator.and_then(|emulator| self.caps.known(emulator));
        diagnostics.extend(validate_host(&written, &self.facts));
        diagnostics.extend(validate_emulator(&written, caps.as_deref(), accel));
        if shared.is_some() {
            diagnostics.extend(validate_support(&written, devices));
        }
        crate::domain::refuse_faults(Some(written), &diagnostics, "")
    }
}

/// IOMMU group of a PCI function of this host.
fn iommu_group(address: &HostPciAddress) -> Option<u32> {
    let link = std::fs::read_link(format!("/sys/bus/pci/devices/{address}/iommu_group")).ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// Shared form.
pub(crate) type SharedDefaults = Arc<EmulatorDefaults>;
