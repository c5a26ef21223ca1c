//! CPUs of architectures whose models are plain names: POWER, Arm and those where the hypervisor
//! alone knows.

use super::{Comparison, CpuError, Known, guest_of, model_name, set_policy};
use crate::domain::cpu::{Cpu, CpuFallback, CpuFeaturePolicy, CpuMatch, CpuMode};
use std::sync::OnceLock;

const PPC: &str = include_str!("../../data/ppc64-cpus.txt");
const ARM: &str = include_str!("../../data/arm-cpus.txt");

/// A POWER model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PpcModel {
    /// Its name.
    pub name: &'static str,
    /// Who makes it.
    pub vendor: &'static str,
    /// Processor version registers of it: value and mask.
    pub pvrs: Vec<(u32, u32)>,
}

/// All POWER knowledge.
#[derive(Debug)]
pub struct PpcMap {
    /// Models, older first.
    pub models: Vec<PpcModel>,
    /// Names that were used once, and what they are called now.
    legacy: Vec<(&'static str, &'static str)>,
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

impl PpcMap {
    /// The map; read once.
    pub fn get() -> &'static Self {
        static MAP: OnceLock<PpcMap> = OnceLock::new();
        MAP.get_or_init(|| {
            let mut map = Self { models: Vec::new(), legacy: Vec::new() };
            for line in PPC.lines().filter(|line| !line.starts_with('#')) {
                let words: Vec<&'static str> = line.split(' ').collect();
                match words.as_slice() {
                    ["legacy", old, new] => map.legacy.push((old, new)),
                    ["model", name, vendor, pvrs @ ..] => {
                        let pvr = |word: &&str| {
                            let (value, mask) = word.split_once('/')?;
                            Some((hex(value)?, hex(mask)?))
                        };
                        let pvrs = pvrs.iter().filter_map(pvr).collect();
                        map.models.push(PpcModel { name, vendor, pvrs });
                    }
                    _ => {}
                }
            }
            map
        })
    }

    /// Today's name of a model.
    pub fn current<'a>(&self, name: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.legacy.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
    }

    /// A model by name, also by one of the names of old.
    pub fn model(&self, name: &str) -> Option<&PpcModel> {
        let name = self.current(name);
        self.models.iter().find(|model| model.name == name)
    }

    /// The model with this version register.
    pub fn by_pvr(&self, pvr: u32) -> Option<&PpcModel> {
        let is = |model: &&PpcModel| model.pvrs.iter().any(|(value, mask)| pvr & mask == *value);
        self.models.iter().find(is)
    }

    fn named(&self, cpu: &Cpu) -> Result<&PpcModel, CpuError> {
        let name = model_name(cpu).unwrap_or_default();
        self.model(name).ok_or_else(|| CpuError::UnknownModel(name.to_owned()))
    }
}

/// Number of the generation in `POWER9` or `power9`.
fn generation(name: &str) -> Option<u32> {
    let (word, number) = name.split_at_checked(5)?;
    if !word.eq_ignore_ascii_case("power") {
        return None;
    }
    number.parse().ok()
}

pub(super) fn compare_ppc64(host: &Cpu, cpu: &Cpu) -> Result<Comparison, CpuError> {
    if let Some(arch) = cpu.arch.as_deref().filter(|arch| !arch.starts_with("ppc64")) {
        let reason = format!("CPU arch {arch} does not match host arch");
        return Ok(Comparison::Incompatible(reason));
    }
    if let Some(vendor) = cpu.vendor.as_deref().filter(|v| host.vendor.as_deref() != Some(*v)) {
        let reason = format!("host CPU vendor does not match required CPU vendor {vendor}");
        return Ok(Comparison::Incompatible(reason));
    }
    let map = PpcMap::get();
    let host = map.named(host)?;
    match cpu.mode {
        // An older generation whose mode the host can run the guest in.
        Some(CpuMode::HostModel) => {
            let Some(wanted) = model_name(cpu) else { return Ok(Comparison::Identical) };
            match (generation(host.name), generation(wanted)) {
                (Some(host), Some(wanted)) if wanted <= host => Ok(Comparison::Identical),
                _ => Ok(Comparison::Incompatible(
                    "host CPU model does not match required CPU model".to_owned(),
                )),
            }
        }
        Some(CpuMode::HostPassthrough | CpuMode::Maximum) => Ok(Comparison::Identical),
        None | Some(CpuMode::Custom) => {
            let Some(name) = model_name(cpu) else { return Ok(Comparison::Identical) };
            if map.named(cpu)?.name == host.name {
                return Ok(Comparison::Identical);
            }
            Ok(Comparison::Incompatible(format!(
                "host CPU model does not match required CPU model {name}"
            )))
        }
    }
}

pub(super) fn translate_ppc64(guest: &mut Cpu, known: Known<'_, '_>) -> Result<(), CpuError> {
    let Some(name) = model_name(guest).map(str::to_owned) else { return Ok(()) };
    if guest.mode.is_some_and(|mode| mode != CpuMode::Custom) || known(&name).is_some() {
        return Ok(());
    }
    let today = PpcMap::get().current(&name).to_owned();
    if today == name || known(&today).is_none() {
        return Err(CpuError::ModelUnsupported(name));
    }
    if let Some(model) = guest.model.as_mut() {
        model.name = Some(today);
    }
    Ok(())
}

pub(super) fn baseline_ppc64(cpus: &[Cpu]) -> Result<Cpu, CpuError> {
    let map = PpcMap::get();
    let mut chosen: Option<&PpcModel> = None;
    let mut vendor: Option<&str> = None;
    for cpu in cpus {
        // Names of old are not taken here.
        let name = model_name(cpu).unwrap_or_default();
        let model = map.models.iter().find(|model| model.name == name);
        let model = model.ok_or_else(|| CpuError::UnknownModel(name.to_owned()))?;
        if chosen.is_some_and(|chosen| chosen.name != model.name) {
            return Err(CpuError::Incompatible);
        }
        if let Some(said) = cpu.vendor.as_deref() {
            if !map.models.iter().any(|model| model.vendor == said) {
                return Err(CpuError::UnknownVendor(said.to_owned()));
            }
            if model.vendor != said {
                return Err(CpuError::ModelVendor {
                    own: model.vendor.to_owned(),
                    model: model.name.to_owned(),
                    said: said.to_owned(),
                });
            }
            if vendor.is_some_and(|vendor| vendor != said) {
                return Err(CpuError::Vendors);
            }
            vendor = Some(said);
        }
        chosen = Some(model);
    }
    // The vendor follows from the model, so the result does not repeat it.
    let chosen = chosen.ok_or(CpuError::Incompatible)?;
    Ok(guest_of(chosen.name, CpuFallback::Forbid, None, Vec::new()))
}

/// `host-model` becomes the host's model and features; optional features are decided.
pub(super) fn update_by_host(guest: &mut Cpu, host: &Cpu) {
    for feature in &mut guest.features {
        if feature.policy == Some(CpuFeaturePolicy::Optional) {
            let on = host.features.iter().any(|known| known.name == feature.name);
            let policy = if on { CpuFeaturePolicy::Require } else { CpuFeaturePolicy::Disable };
            feature.policy = Some(policy);
        }
    }
    if guest.mode != Some(CpuMode::HostModel) {
        if guest.matching == Some(CpuMatch::Minimum) {
            guest.matching = Some(CpuMatch::Exact);
        }
        return;
    }
    let mut features = host.features.clone();
    for feature in &mut features {
        feature.policy.get_or_insert(CpuFeaturePolicy::Require);
    }
    for own in std::mem::take(&mut guest.features) {
        set_policy(&mut features, &own.name, own.policy);
    }
    guest.features = features;
    guest.vendor.clone_from(&host.vendor);
    guest.mode = Some(CpuMode::Custom);
    guest.matching = Some(CpuMatch::Exact);
    let model = guest.model.get_or_insert_default();
    model.fallback.get_or_insert(CpuFallback::Allow);
    model.name = host.model.as_ref().and_then(|model| model.name.clone());
}

/// An Arm model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmModel {
    /// Its name.
    pub name: &'static str,
    /// Who makes it.
    pub vendor: &'static str,
    /// Part number of the main ID register.
    pub part: u32,
}

/// All Arm knowledge.
#[derive(Debug)]
pub struct ArmMap {
    /// Vendors: name and implementer code of the main ID register.
    pub vendors: Vec<(&'static str, u32)>,
    /// Models.
    pub models: Vec<ArmModel>,
    /// Features, in the order in which they are listed in XML.
    pub features: Vec<&'static str>,
}

impl ArmMap {
    /// The map; read once.
    pub fn get() -> &'static Self {
        static MAP: OnceLock<ArmMap> = OnceLock::new();
        MAP.get_or_init(|| {
            let mut map = Self { vendors: Vec::new(), models: Vec::new(), features: Vec::new() };
            for line in ARM.lines().filter(|line| !line.starts_with('#')) {
                let words: Vec<&'static str> = line.split(' ').collect();
                match words.as_slice() {
                    ["vendor", name, code] => {
                        map.vendors.extend(hex(code).map(|code| (*name, code)))
                    }
                    ["model", name, vendor, part] => {
                        map.models.extend(hex(part).map(|part| ArmModel { name, vendor, part }))
                    }
                    ["feature", name] => map.features.push(name),
                    _ => {}
                }
            }
            map
        })
    }

    /// The model with this implementer code and part number.
    pub fn by_midr(&self, implementer: u32, part: u32) -> Option<&ArmModel> {
        let (vendor, _) = self.vendors.iter().find(|(_, code)| *code == implementer)?;
        self.models.iter().find(|model| model.vendor == *vendor && model.part == part)
    }
}
