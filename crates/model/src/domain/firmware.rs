//! Choosing a guest's firmware from the installed descriptors, when it is defined.

use xml::{OnOff, YesNo};

use super::Domain;
use super::devices::disk::StorageType;
use super::features::Smm;
use super::launch_security::LaunchSecurity;
use super::os::*;
use crate::capabilities::firmware::{Firmware, FirmwareFile, FirmwareMapping};

/// Why no firmware could be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFirmware(pub String);

/// Images of the time before descriptors. Their variables have a known format, but nothing says
/// what the images can do.
const LEGACY: [&str; 4] = [
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/OVMF/OVMF_CODE.secboot.fd",
    "/usr/share/AAVMF/AAVMF_CODE.fd",
    "/usr/share/AAVMF/AAVMF32_CODE.fd",
];

/// The variables that belong to a legacy image.
fn legacy_template(path: &str) -> Option<&'static str> {
    Some(match path {
        "/usr/share/OVMF/OVMF_CODE.fd" | "/usr/share/OVMF/OVMF_CODE.secboot.fd" => {
            "/usr/share/OVMF/OVMF_VARS.fd"
        }
        "/usr/share/AAVMF/AAVMF_CODE.fd" => "/usr/share/AAVMF/AAVMF_VARS.fd",
        "/usr/share/AAVMF/AAVMF32_CODE.fd" => "/usr/share/AAVMF/AAVMF32_VARS.fd",
        _ => return None,
    })
}

fn format_of(text: &str) -> FirmwareFormat {
    if text == "qcow2" { FirmwareFormat::Qcow2 } else { FirmwareFormat::Raw }
}

/// The policy bit that asks for encrypted CPU state.
const SEV_ES: u64 = 1 << 2;

/// Whether the firmware knows the protection that the guest is launched with.
fn launches(firmware: &Firmware, domain: &Domain) -> bool {
    let Some(security) = &domain.launch_security else { return true };
    match security {
        LaunchSecurity::Sev(sev) => {
            let es = sev.policy.0 & SEV_ES != 0;
            firmware.has("amd-sev") && (!es || firmware.has("amd-sev-es"))
        }
        LaunchSecurity::SevSnp(_) => firmware.has("amd-sev-snp"),
        LaunchSecurity::Tdx(_) => firmware.has("intel-tdx"),
        LaunchSecurity::S390Pv(_) => true,
    }
}

/// What is asked for, beside the guest itself.
struct Wanted<'a> {
    domain: &'a Domain,
    os: &'a Os,
    machine: &'a str,
    arch: &'a str,
    format: Option<FirmwareFormat>,
}

impl Wanted<'_> {
    fn feature(&self, name: FirmwareFeatureName) -> Option<bool> {
        let features = self.os.firmware_info.iter().flat_map(|info| &info.features);
        features.into_iter().find(|f| f.name == name).map(|f| f.enabled == YesNo::Yes)
    }

    /// Whether the firmware can do what the guest asks for.
    fn can(&self, firmware: &Firmware, loader: &Loader) -> bool {
        let secure_boot = firmware.has("secure-boot");
        let secure = match self.feature(FirmwareFeatureName::SecureBoot) {
            Some(wanted) => wanted == secure_boot,
            None => loader.secure.is_none_or(|s| (s == YesNo::Yes) == secure_boot),
        };
        let keys = self
            .feature(FirmwareFeatureName::EnrolledKeys)
            .is_none_or(|wanted| wanted == firmware.has("enrolled-keys"));
        // Firmware that needs SMM cannot run where it is switched off.
        let smm = self.domain.features.as_ref().and_then(|features| features.smm.as_ref());
        let smm_off = smm.is_some_and(|smm| smm.state == Some(OnOff::Off));
        let sleeps =
            |state: Option<YesNo>, feature| state != Some(YesNo::Yes) || firmware.has(feature);
        let pm = self.domain.pm.as_ref();
        secure
            && keys
            && !(firmware.has("requires-smm") && smm_off)
            && sleeps(pm.and_then(|pm| Some(pm.suspend_to_mem.as_ref()?.enabled)), "acpi-s3")
            && sleeps(pm.and_then(|pm| Some(pm.suspend_to_disk.as_ref()?.enabled)), "acpi-s4")
            && launches(firmware, self.domain)
    }

    /// Whether the firmware is of the kind that is asked for, image and variables included.
    fn satisfied_by(&self, firmware: &Firmware) -> bool {
        let interface = match self.os.firmware {
            Some(FirmwareKind::Bios) => "bios",
            _ => "uefi",
        };
        if !firmware.offers(interface) || !firmware.fits(self.arch, self.machine) {
            return false;
        }
        let none = Loader::default();
        let loader = self.os.loader.as_ref().unwrap_or(&none);
        if !self.can(firmware, loader)
            || loader.path.as_deref().is_some_and(|path| path != firmware.executable())
        {
            return false;
        }
        let fits = |file: &FirmwareFile| self.format.is_none_or(|f| f == format_of(&file.format));
        let stateless = loader.stateless == Some(YesNo::Yes);
        let rom = loader.kind == Some(LoaderType::Rom);
        let template = self.os.nvram.as_ref().and_then(|nvram| nvram.template.as_deref());
        match &firmware.mapping {
            FirmwareMapping::Split { executable, nvram } => {
                !stateless
                    && !rom
                    && loader.readonly != Some(YesNo::No)
                    && fits(executable)
                    && template.is_none_or(|template| template == nvram.path)
            }
            FirmwareMapping::Combined(executable) => {
                !stateless && !rom && loader.readonly == Some(YesNo::No) && fits(executable)
            }
            FirmwareMapping::Stateless(executable) => {
                !rom && loader.secure != Some(YesNo::Yes)
                    && loader.readonly != Some(YesNo::No)
                    && fits(executable)
                    && self.os.nvram.is_none()
            }
            FirmwareMapping::Memory(_) => {
                loader.kind != Some(LoaderType::Pflash) && self.os.nvram.is_none()
            }
            FirmwareMapping::Kernel(_) => false,
        }
    }
}

/// Where a guest's variable store lies when the domain does not say.
fn nvram_path(nvram_dir: &str, name: &str, format: FirmwareFormat) -> String {
    let extension = if format == FirmwareFormat::Qcow2 { "qcow2" } else { "fd" };
    format!("{nvram_dir}/{name}_VARS.{extension}")
}

/// Whether the variables lie in a place that libvirt itself can fill from a template.
fn is_local(nvram: &Nvram) -> bool {
    !matches!(nvram.kind, Some(StorageType::Network))
}

/// Fills in the loader and the variable store: by the first fitting descriptor where the domain
/// asks for automatic selection, and what is missing where it names a loader itself. `machine` is
/// the full machine name. A domain that asks for nothing is left alone.
///
/// # Errors
/// No installed firmware fits.
pub fn select(
    domain: &mut Domain,
    installed: &[Firmware],
    nvram_dir: &str,
    machine: &str,
    arch: &str,
) -> Result<(), NoFirmware> {
    let Some(mut os) = domain.os.clone() else { return Ok(()) };
    let own_path = os.loader.as_ref().is_some_and(|loader| loader.path.is_some());
    let says_rom = os.loader.as_ref().is_some_and(|loader| loader.kind == Some(LoaderType::Rom));
    if own_path && let Some(loader) = os.loader.as_mut() {
        loader.kind.get_or_insert(LoaderType::Rom);
    }
    let flash = os.loader.as_ref().is_some_and(|l| l.kind == Some(LoaderType::Pflash));
    let found = if os.firmware.is_some() || flash {
        find(domain, &os, installed, machine, arch)
    } else {
        None
    };
    match found {
        Some(found) => {
            take(&mut os, found, nvram_dir, &domain.name);
            if found.has("requires-smm") {
                let features = domain.features.get_or_insert_default();
                let smm = features.smm.get_or_insert_with(Smm::default);
                smm.state.get_or_insert(OnOff::On);
            }
        }
        None if os.firmware.is_some() => {
            let kind = os.firmware.map_or("efi", |kind| kind.as_str());
            return Err(NoFirmware(format!(
                "Unable to find '{kind}' firmware that is compatible with the current configuration"
            )));
        }
        None => complete(&mut os, says_rom, nvram_dir, &domain.name),
    }
    domain.os = Some(os);
    Ok(())
}

fn find<'a>(
    domain: &Domain,
    os: &Os,
    installed: &'a [Firmware],
    machine: &str,
    arch: &str,
) -> Option<&'a Firmware> {
    let asked = os.loader.as_ref().and_then(|loader| loader.format);
    let asked = asked.or_else(|| os.nvram.as_ref()?.format);
    // Unless something else is asked for, raw images come first.
    let formats = match asked {
        Some(format) => vec![Some(format)],
        None => vec![Some(FirmwareFormat::Raw), None],
    };
    formats.into_iter().find_map(|format| {
        let wanted = Wanted { domain, os, machine, arch, format };
        installed.iter().find(|firmware| wanted.satisfied_by(firmware))
    })
}

/// Writes down what was found.
fn take(os: &mut Os, found: &Firmware, nvram_dir: &str, name: &str) {
    let loader = os.loader.get_or_insert_with(Loader::default);
    loader.path = Some(found.executable().to_owned());
    let (kind, readonly, format) = match &found.mapping {
        FirmwareMapping::Split { executable, .. } => {
            (LoaderType::Pflash, Some(YesNo::Yes), format_of(&executable.format))
        }
        FirmwareMapping::Combined(executable) => {
            (LoaderType::Pflash, Some(YesNo::No), format_of(&executable.format))
        }
        FirmwareMapping::Stateless(executable) => {
            loader.stateless = Some(YesNo::Yes);
            (LoaderType::Pflash, Some(YesNo::Yes), format_of(&executable.format))
        }
        _ => (LoaderType::Rom, None, FirmwareFormat::Raw),
    };
    loader.kind = Some(kind);
    loader.readonly = readonly;
    loader.format = Some(format);
    if found.has("requires-smm") {
        loader.secure = Some(YesNo::Yes);
    }
    let mut keys_known = true;
    if let FirmwareMapping::Split { nvram: template, .. } = &found.mapping {
        let format = format_of(&template.format);
        let nvram = os.nvram.get_or_insert_with(Nvram::default);
        nvram.format = Some(format);
        keys_known = is_local(nvram);
        if keys_known {
            nvram.template = Some(template.path.clone());
            nvram.template_format = Some(format);
        }
        if nvram.path.is_none() && nvram.source.is_none() {
            nvram.path = Some(nvram_path(nvram_dir, name, format));
        }
    }
    os.firmware.get_or_insert(if found.offers("uefi") {
        FirmwareKind::Efi
    } else {
        FirmwareKind::Bios
    });
    let feature = |name, on: bool| FirmwareFeature { enabled: YesNo::from(on), name };
    let mut features = Vec::new();
    // Nobody knows which keys are in variables that are not made from a template.
    if keys_known {
        features.push(feature(FirmwareFeatureName::EnrolledKeys, found.has("enrolled-keys")));
    }
    features.push(feature(FirmwareFeatureName::SecureBoot, found.has("secure-boot")));
    os.firmware_info = Some(OsFirmware { features });
}

/// Completes a loader that the domain names itself and that no descriptor knows.
fn complete(os: &mut Os, says_rom: bool, nvram_dir: &str, name: &str) {
    let Some(loader) = os.loader.as_mut() else { return };
    let Some(path) = loader.path.clone() else { return };
    if says_rom {
        return;
    }
    let format = *loader.format.get_or_insert(FirmwareFormat::Raw);
    let flash = loader.kind == Some(LoaderType::Pflash)
        && loader.readonly == Some(YesNo::Yes)
        && loader.stateless != Some(YesNo::Yes);
    if !flash {
        return;
    }
    let nvram = os.nvram.get_or_insert_with(Nvram::default);
    let format = *nvram.format.get_or_insert(format);
    if LEGACY.contains(&path.as_str()) && is_local(nvram) {
        if nvram.template.is_none() {
            nvram.template = legacy_template(&path).map(str::to_owned);
        }
        nvram.template_format.get_or_insert(FirmwareFormat::Raw);
    }
    if nvram.path.is_none() && nvram.source.is_none() {
        nvram.path = Some(nvram_path(nvram_dir, name, format));
    }
}
