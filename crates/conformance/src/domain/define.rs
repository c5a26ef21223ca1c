//! Defining a domain as the daemon does: reading, defaults, firmware, checks.

use crate::answer::{Answer, accepted};
use crate::host;
use crate::request::Request;
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::defaults::{self, DefaultsContext, EmulatorDefaults};
use model::domain::{
    Domain, ParseOptions, VirtType, parse, validate, validate_core, validate_emulator,
    validate_firmware, validate_host, validate_support,
};
use plan::qemu::select_firmware;

/// A domain as the daemon would define it.
///
/// # Errors
/// The request is wrong, or the definition is refused.
pub fn define(request: &Request<'_>, caps: &QemuCaps) -> Result<Domain, Answer> {
    complete(request, caps, false)
}

/// The domain of a document that describes a running guest.
///
/// # Errors
/// The request is wrong, or the document is refused.
pub fn running(request: &Request<'_>, caps: &QemuCaps) -> Result<Domain, Answer> {
    complete(request, caps, true)
}

/// Calls `act` with what the defaults of this request's domains depend on.
pub fn with_defaults<T>(
    request: &Request<'_>,
    caps: &QemuCaps,
    kind: VirtType,
    act: impl FnOnce(&mut DefaultsContext<'_>) -> T,
) -> T {
    let facts = host::facts(request);
    let set = host::settings(request);
    let accel = if kind == VirtType::Kvm { Accel::Kvm } else { Accel::Tcg };
    let emulator = EmulatorDefaults::new(caps, accel);
    let settings = defaults::Settings {
        lib_dir: set.lib_dir.clone(),
        channel_dir: set.channel_dir.clone(),
        ..defaults::Settings::default()
    };
    act(&mut DefaultsContext {
        host_arch: &facts.arch,
        emulator: Some(&caps.emulator),
        machines: &emulator.machines,
        devices: &emulator.devices,
        settings: &settings,
        random: &mut host::random,
        iommu_group: &host::iommu_group,
        abi_update: true,
    })
}

fn complete(request: &Request<'_>, caps: &QemuCaps, live: bool) -> Result<Domain, Answer> {
    let text = request.need("xml")?;
    let parsed = parse(text, ParseOptions { live });
    let mut domain = accepted(parsed.domain, parsed.diagnostics, text)?;
    if live {
        domain.id.get_or_insert(1337);
    }
    let facts = host::facts(request);
    let set = host::settings(request);
    let accel = if domain.kind == VirtType::Kvm { Accel::Kvm } else { Accel::Tcg };
    let emulator = EmulatorDefaults::new(caps, accel);
    let environment = request.value("env");
    let text = |name: &str| environment.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    let settings = defaults::Settings {
        lib_dir: set.lib_dir.clone(),
        channel_dir: set.channel_dir.clone(),
        vnc_allow_host_audio: set.vnc_allow_host_audio,
        nographics_allow_host_audio: set.nographics_allow_host_audio,
        audio_driver: text("QEMU_AUDIO_DRV"),
        sdl_audio_driver: text("SDL_AUDIODRIVER"),
    };
    let mut context = DefaultsContext {
        host_arch: &facts.arch,
        emulator: Some(&caps.emulator),
        machines: &emulator.machines,
        devices: &emulator.devices,
        settings: &settings,
        random: &mut host::random,
        iommu_group: &host::iommu_group,
        abi_update: request.flag("abi_update"),
    };
    let mut findings = defaults::apply(&mut domain, &mut context);
    findings.extend(validate_emulator(&domain, Some(caps), accel));
    findings.extend(validate_support(&domain, &emulator.devices));
    findings.extend(validate_host(&domain, &facts));
    let domain = accepted(Some(domain), findings, "")?;
    let findings = validate_firmware(&domain);
    let mut domain = accepted(Some(domain), findings, "")?;
    choose_firmware(request, &mut domain, &facts.arch, &set.nvram_dir)?;
    let findings = validate(&domain);
    accepted(Some(domain), findings, "")
}

fn choose_firmware(
    request: &Request<'_>,
    domain: &mut Domain,
    host_arch: &str,
    nvram_dir: &str,
) -> Result<(), Answer> {
    let Some(os) = domain.os.as_ref() else { return Ok(()) };
    if os.firmware.is_none() && os.loader.is_none() {
        return Ok(());
    }
    let machine = os.kind.machine.clone().unwrap_or_default();
    let arch = os.kind.arch.clone().unwrap_or_else(|| host_arch.to_owned());
    let installed = host::firmware(request.profile);
    select_firmware(domain, &installed, nvram_dir, &machine, &arch)
        .map_err(|error| Answer::Refused(diag::VirError::failed(error.0)))
}

/// A domain as every hypervisor would read it.
///
/// # Errors
/// The request is wrong, or the definition is refused.
pub fn generic(request: &Request<'_>) -> Result<Domain, Answer> {
    let text = request.need("xml")?;
    let live = request.flag("live");
    let parsed = parse(text, ParseOptions { live });
    let mut domain = accepted(parsed.domain, parsed.diagnostics, text)?;
    let mut random = host::random;
    let mut context = DefaultsContext {
        emulator: Some("/usr/bin/acme-virt"),
        iommu_group: &host::iommu_group,
        abi_update: false,
        ..DefaultsContext::without_emulator("x86_64", &mut random)
    };
    let mut findings = defaults::apply_core(&mut domain, &mut context);
    findings.extend(validate_core(&domain));
    accepted(Some(domain), findings, "")
}
