//! Choosing firmware from the installed descriptors.

use super::words::{OnOff, YesNo};
use model::capabilities::firmware::{Firmware, FirmwareMapping};
use model::domain::Domain;
use model::domain::features::Smm;
use model::domain::os::*;

/// Why no firmware could be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFirmware(pub String);

fn format_of(text: &str) -> Option<FirmwareFormat> {
    Some(if text == "qcow2" { FirmwareFormat::Qcow2 } else { FirmwareFormat::Raw })
}

/// Whether a descriptor satisfies what the domain asks for.
fn satisfies(firmware: &Firmware, domain: &Domain, os: &Os, machine: &str, arch: &str) -> bool {
    let interface = match os.firmware {
        Some(FirmwareKind::Bios) => "bios",
        _ => "uefi",
    };
    if !firmware.offers(interface) || !firmware.fits(arch, machine) {
        return false;
    }
    let loader = os.loader.clone().unwrap_or_default();
    let wanted = |name: FirmwareFeatureName| {
        let features = os.firmware_info.iter().flat_map(|info| &info.features);
        features.into_iter().find(move |f| f.name == name).map(|f| f.enabled == YesNo::Yes)
    };
    let secure_boot = firmware.has("secure-boot");
    let secure = match wanted(FirmwareFeatureName::SecureBoot) {
        Some(wanted) => wanted == secure_boot,
        None => loader.secure.is_none_or(|s| (s == YesNo::Yes) == secure_boot),
    };
    let keys = wanted(FirmwareFeatureName::EnrolledKeys)
        .is_none_or(|wanted| wanted == firmware.has("enrolled-keys"));
    // Firmware that needs SMM cannot run where it is switched off.
    let smm = domain.features.as_ref().and_then(|features| features.smm.as_ref());
    let smm_off = smm.is_some_and(|smm| smm.state == Some(OnOff::Off));
    if !secure || !keys || (firmware.has("requires-smm") && smm_off) {
        return false;
    }
    let stateless = loader.stateless == Some(YesNo::Yes);
    match &firmware.mapping {
        FirmwareMapping::Split { executable, .. } => {
            let format = loader.format.or(Some(FirmwareFormat::Raw));
            !stateless
                && loader.kind != Some(LoaderType::Rom)
                && format_of(&executable.format) == format
        }
        FirmwareMapping::Combined(_) => {
            !stateless && loader.readonly == Some(YesNo::No) && loader.kind != Some(LoaderType::Rom)
        }
        FirmwareMapping::Stateless(executable) => {
            let format = loader.format.or(Some(FirmwareFormat::Raw));
            loader.kind != Some(LoaderType::Rom)
                && loader.secure != Some(YesNo::Yes)
                && format_of(&executable.format) == format
                && os.nvram.is_none()
        }
        FirmwareMapping::Memory(_) => loader.kind != Some(LoaderType::Pflash) && os.nvram.is_none(),
        FirmwareMapping::Kernel(_) => false,
    }
}

/// Where a guest's variable store lies when the domain does not say.
fn nvram_path(nvram_dir: &str, name: &str, format: &str) -> String {
    let extension = if format == "qcow2" { "qcow2" } else { "fd" };
    format!("{nvram_dir}/{name}_VARS.{extension}")
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
    let Some(mut os) = domain.os.clone() else {
        return Ok(());
    };
    let path = os.loader.as_ref().and_then(|loader| loader.path.clone());
    if let Some(path) = path {
        complete_loader(&mut os, &path, installed);
        fill_nvram(&mut os, &path, installed, nvram_dir, &domain.name);
        domain.os = Some(os);
        return Ok(());
    }
    let asked = os.firmware.is_some()
        || os.loader.as_ref().is_some_and(|loader| loader.kind == Some(LoaderType::Pflash));
    if !asked {
        return Ok(());
    }
    let found = installed.iter().find(|f| satisfies(f, domain, &os, machine, arch));
    let Some(found) = found else {
        let kind = if os.firmware == Some(FirmwareKind::Bios) { "bios" } else { "efi" };
        return Err(NoFirmware(format!(
            "Unable to find '{kind}' firmware that is compatible with the current configuration"
        )));
    };
    let loader = os.loader.get_or_insert_with(Loader::default);
    let mut template = None;
    let (kind, readonly, file) = match &found.mapping {
        FirmwareMapping::Split { executable, nvram } => {
            template = Some(nvram.clone());
            (LoaderType::Pflash, Some(YesNo::Yes), Some(executable))
        }
        FirmwareMapping::Combined(executable) => {
            (LoaderType::Pflash, Some(YesNo::No), Some(executable))
        }
        FirmwareMapping::Stateless(executable) => {
            loader.stateless = Some(YesNo::Yes);
            (LoaderType::Pflash, Some(YesNo::Yes), Some(executable))
        }
        _ => (LoaderType::Rom, None, None),
    };
    loader.kind = Some(kind);
    loader.readonly = readonly;
    loader.path = Some(found.executable().to_string());
    loader.format = file.and_then(|file| format_of(&file.format)).or(Some(FirmwareFormat::Raw));
    let needs_smm = found.has("requires-smm");
    if needs_smm {
        loader.secure = Some(YesNo::Yes);
    }
    if let Some(template) = template {
        let nvram = os.nvram.get_or_insert_with(Nvram::default);
        nvram.template.get_or_insert(template.path);
        nvram.template_format = nvram.template_format.or(format_of(&template.format));
        nvram.format = nvram.format.or(format_of(&template.format));
        if nvram.path.is_none() && nvram.source.is_none() {
            nvram.path = Some(nvram_path(nvram_dir, &domain.name, &template.format));
        }
    }
    if os.firmware == Some(FirmwareKind::Efi) {
        os.firmware_info = Some(features_of(found));
    }
    domain.os = Some(os);
    if needs_smm {
        let features = domain.features.get_or_insert_with(Default::default);
        let smm = features.smm.get_or_insert_with(Smm::default);
        smm.state.get_or_insert(OnOff::On);
    }
    Ok(())
}

/// What a descriptor says of its firmware, as the definition keeps it.
fn features_of(firmware: &Firmware) -> OsFirmware {
    let feature =
        |name, on: bool| FirmwareFeature { enabled: if on { YesNo::Yes } else { YesNo::No }, name };
    OsFirmware {
        features: vec![
            feature(FirmwareFeatureName::EnrolledKeys, firmware.has("enrolled-keys")),
            feature(FirmwareFeatureName::SecureBoot, firmware.has("secure-boot")),
        ],
    }
}

/// Completes what the domain says of a loader it names itself: kind and format, and, where a
/// descriptor knows that very image, what firmware it is.
fn complete_loader(os: &mut Os, path: &str, installed: &[Firmware]) {
    let Some(loader) = os.loader.as_mut() else {
        return;
    };
    let kind = *loader.kind.get_or_insert(LoaderType::Rom);
    loader.format.get_or_insert(FirmwareFormat::Raw);
    if kind != LoaderType::Pflash {
        return;
    }
    let template = os.nvram.as_ref().and_then(|nvram| nvram.template.as_deref());
    let known = installed.iter().find(|firmware| match &firmware.mapping {
        FirmwareMapping::Split { executable, nvram } => {
            executable.path == path && template.is_none_or(|template| template == nvram.path)
        }
        FirmwareMapping::Combined(executable) | FirmwareMapping::Stateless(executable) => {
            executable.path == path
        }
        _ => false,
    });
    if let Some(known) = known.filter(|known| known.offers("uefi")) {
        os.firmware.get_or_insert(FirmwareKind::Efi);
        os.firmware_info.get_or_insert_with(|| features_of(known));
    }
}

/// Completes the variable store of a loader that the domain names itself.
fn fill_nvram(os: &mut Os, path: &str, installed: &[Firmware], nvram_dir: &str, name: &str) {
    let Some(loader) = &os.loader else {
        return;
    };
    let flash = loader.kind == Some(LoaderType::Pflash)
        && loader.readonly == Some(YesNo::Yes)
        && loader.stateless != Some(YesNo::Yes);
    if !flash {
        return;
    }
    let nvram = os.nvram.get_or_insert_with(Nvram::default);
    let known = installed.iter().find_map(|firmware| match &firmware.mapping {
        FirmwareMapping::Split { executable, nvram } if executable.path == path => Some(nvram),
        _ => None,
    });
    if let Some(known) = known {
        let template = nvram.template.get_or_insert_with(|| known.path.clone());
        if *template == known.path {
            nvram.template_format = nvram.template_format.or(format_of(&known.format));
        }
        nvram.format = nvram.format.or(format_of(&known.format));
    }
    if nvram.path.is_none() && nvram.source.is_none() {
        let format = known.map_or("raw", |known| known.format.as_str());
        nvram.path = Some(nvram_path(nvram_dir, name, format));
    }
}
