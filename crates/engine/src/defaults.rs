//! What the defaults of a definition depend on, from what is known of the emulator.

use crate::caps::Known;
use crate::engine::Engine;
use diag::{ErrorDomain, VirError};
use model::capabilities::qemu::Accel;
use model::domain::defaults::{self, DefaultsContext, EmulatorDefaults};
use model::domain::{
    Domain as Definition, VirtType, validate_emulator, validate_host, validate_settings,
    validate_support,
};
use std::sync::Arc;

/// Rules about the guest as a whole that libvirt asks first.
const FUNDAMENTAL: &[&str] = &["qemu.virt-type", "qemu.os-type", "qemu.arch"];

impl Engine {
    /// Fills in what a definition leaves open, as for a new domain. `at_hand` is what was looked up
    /// for this call before. Returns what is known of the domain's emulator as well.
    pub(crate) fn with_defaults(
        &self,
        mut written: Definition,
        at_hand: Option<Arc<Known>>,
    ) -> Result<(Definition, Option<Arc<Known>>), VirError> {
        let basis = self.basis(&written, at_hand)?;
        let mut diagnostics =
            self.apply_with(&basis, |context| defaults::apply(&mut written, context))?;
        let emulator = written.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
        let emulator = emulator.or(basis.default.as_deref());
        let known = emulator.and_then(|emulator| {
            let same = basis.shared.as_ref().filter(|known| known.emulator() == emulator).cloned();
            same.or_else(|| self.caps.look(emulator))
        });
        diagnostics.extend(validate_host(&written, &self.facts));
        let spice_tls = self.settings.qemu.spice.tls_dir.is_some();
        diagnostics.extend(validate_settings(&written, spice_tls));
        let caps = known.as_ref().map(|known| &*known.caps);
        diagnostics.extend(validate_emulator(&written, caps, basis.accel));
        if let Some(shared) = &basis.shared {
            diagnostics.extend(validate_support(&written, &shared.defaults(basis.accel).devices));
        }
        // What the emulator cannot run at all is found before any device is placed.
        diagnostics.sort_by_key(|d| !FUNDAMENTAL.contains(&d.rule));
        Ok((crate::domain::refuse_faults(Some(written), &diagnostics, "")?, known))
    }

    /// Calls `act` with what the defaults of this definition depend on.
    ///
    /// # Errors
    /// Its emulator is not there.
    pub(crate) fn in_context<T>(
        &self,
        definition: &Definition,
        act: impl FnOnce(&mut DefaultsContext<'_>) -> T,
    ) -> Result<T, VirError> {
        self.apply_with(&self.basis(definition, None)?, act)
    }

    /// What is known of the emulator that a definition names, or would get.
    fn basis(&self, written: &Definition, at_hand: Option<Arc<Known>>) -> Result<Basis, VirError> {
        let arch = written.os.as_ref().and_then(|os| os.kind.arch.clone());
        let named = written.devices.as_ref().and_then(|devices| devices.emulator.clone());
        let own = arch.as_ref().is_none_or(|arch| *arch == self.facts.arch);
        let default = match (&at_hand, &arch) {
            (Some(known), _) if own && named.is_none() => Some(known.emulator().to_owned()),
            (_, Some(arch)) => crate::caps::CapsStore::default_emulator(arch),
            (_, None) => self.default_emulator(),
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
        let at_hand =
            |emulator: &str| at_hand.as_ref().filter(|known| known.emulator() == emulator).cloned();
        let shared = match (named.as_deref(), default.as_deref()) {
            // One that is named must be there; without any, the definition stays as it is.
            (Some(emulator), _) => match at_hand(emulator) {
                Some(known) => Some(known),
                None => Some(self.caps.learn(emulator)?),
            },
            (None, Some(emulator)) => at_hand(emulator).or_else(|| self.caps.look(emulator)),
            (None, None) => None,
        };
        Ok(Basis { accel, default, shared })
    }

    /// What the settings say of definitions.
    pub(crate) fn default_settings(&self) -> defaults::Settings {
        defaults::Settings {
            lib_dir: self.layout.qemu_lib().display().to_string(),
            channel_dir: self.layout.qemu_run().join("channel").display().to_string(),
            vnc_allow_host_audio: self.settings.qemu.vnc_allow_host_audio,
            nographics_allow_host_audio: self.settings.qemu.nographics_allow_host_audio,
            audio_driver: None,
            sdl_audio_driver: None,
        }
    }

    fn apply_with<T>(
        &self,
        basis: &Basis,
        act: impl FnOnce(&mut DefaultsContext<'_>) -> T,
    ) -> Result<T, VirError> {
        let (shared, default) = (&basis.shared, &basis.default);
        let nothing = EmulatorDefaults::default();
        let EmulatorDefaults { machines, devices, .. } =
            shared.as_ref().map_or(&nothing, |known| known.defaults(basis.accel));
        let settings = self.default_settings();
        let mut starved = false;
        let mut random = |buffer: &mut [u8]| starved |= crate::random::fill(buffer).is_err();
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
        let done = act(&mut context);
        if starved {
            return Err(VirError::internal("the kernel gave no random bytes"));
        }
        Ok(done)
    }
}

/// What the defaults of a definition depend on beside it.
struct Basis {
    accel: Accel,
    /// The emulator it would get.
    default: Option<String>,
    shared: Option<Arc<Known>>,
}

/// IOMMU group of a PCI function of this host.
fn iommu_group(address: &units::PciAddress) -> Option<u32> {
    let link = std::fs::read_link(format!("/sys/bus/pci/devices/{address}/iommu_group")).ok()?;
    link.file_name()?.to_str()?.parse().ok()
}
