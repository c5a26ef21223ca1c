//! Comparing descriptions, and making a guest's description fit a host and a hypervisor.

use super::decode::{CpuKind, X86Cpu, decode};
use super::map::X86Map;
use super::wanted::Wanted;
use crate::cpu::document::{is_host, model_name};
use crate::cpu::{Comparison, CpuError, set_policy};
use crate::domain::cpu::{
    Cpu, CpuFallback, CpuFeature, CpuFeaturePolicy, CpuMatch, CpuMode, CpuModel,
};

fn list(names: &[&str]) -> String {
    names.join(", ")
}

/// How `host` compares with what `cpu` asks for.
///
/// # Errors
/// A model or a feature is unknown.
pub fn compare(host: &Cpu, cpu: &Cpu) -> Result<Comparison, CpuError> {
    if let Some(arch) = cpu.arch.as_deref().filter(|arch| !matches!(*arch, "x86_64" | "i686")) {
        let reason = format!("CPU arch {arch} does not match host arch");
        return Ok(Comparison::Incompatible(reason));
    }
    if let Some(vendor) =
        cpu.vendor.as_deref().filter(|vendor| host.vendor.as_deref() != Some(*vendor))
    {
        let reason = format!("host CPU vendor does not match required CPU vendor {vendor}");
        return Ok(Comparison::Incompatible(reason));
    }
    let map = X86Map::get();
    let has = Wanted::new(host)?.visible();
    let wanted = Wanted::new(cpu)?;
    let forbidden = wanted.forbid.intersection(&has);
    if !forbidden.is_empty() {
        let names = list(&map.names(&forbidden));
        return Ok(Comparison::Incompatible(format!(
            "Host CPU provides forbidden features: {names}"
        )));
    }
    // What is said of a feature of the model overrides the model.
    let free = wanted.force.union(&wanted.optional).union(&wanted.disable);
    let require = wanted.own.union(&wanted.require).minus(&free);
    let missing = require.minus(&has);
    if !missing.is_empty() {
        let names = list(&map.names(&missing));
        let reason = format!("Host CPU does not provide required features: {names}");
        return Ok(Comparison::Incompatible(reason));
    }
    let extra = has.minus(&require).minus(&free);
    if extra.is_empty() {
        return Ok(Comparison::Identical);
    }
    if !is_host(cpu) && cpu.matching == Some(CpuMatch::Strict) {
        let names = list(&map.names(&extra));
        return Ok(Comparison::Incompatible(format!(
            "Host CPU does not strictly match guest CPU: Extra features: {names}"
        )));
    }
    Ok(Comparison::Superset)
}

/// The first feature that `cpu` must not have and that `host` has, in the order of the document: it
/// ends a start before anything else is compared.
///
/// # Errors
/// A model or a feature of `host` is unknown.
pub fn forbidden<'a>(host: &Cpu, cpu: &'a Cpu) -> Result<Option<&'a str>, CpuError> {
    let map = X86Map::get();
    let has = Wanted::new(host)?.visible();
    let has = |name: &str| map.feature_named(name).is_some_and(|index| has.contains(index));
    let mut forbidden =
        cpu.features.iter().filter(|feature| feature.policy == Some(CpuFeaturePolicy::Forbid));
    Ok(forbidden.find(|feature| has(&feature.name)).map(|feature| feature.name.as_str()))
}

/// How a hypervisor's `host` CPU compares with `cpu`, when the hypervisor itself says which
/// features keep it from offering the model (`blockers`, empty where it is usable): the model
/// counts as what the hypervisor makes of it, not as what our data say.
///
/// # Errors
/// A model or a feature of `host` is unknown.
pub fn compare_unusable(
    host: &Cpu,
    cpu: &Cpu,
    blockers: &[String],
) -> Result<Comparison, CpuError> {
    let map = X86Map::get();
    let has = Wanted::new(host)?.visible();
    let has = |name: &str| map.feature_named(name).is_some_and(|index| has.contains(index));
    let said = |name: &str, policy: CpuFeaturePolicy| {
        cpu.features.iter().any(|f| f.name == name && f.policy == Some(policy))
    };
    let blockers = blockers.iter().map(|name| map.libvirt_name(name));
    let mut missing: Vec<&str> =
        blockers.filter(|name| !said(name, CpuFeaturePolicy::Disable)).collect();
    let required = cpu
        .features
        .iter()
        .filter(|f| f.policy == Some(CpuFeaturePolicy::Require))
        .map(|feature| feature.name.as_str());
    missing.extend(required.filter(|name| !has(name)));
    if !missing.is_empty() {
        let reason = format!("Host CPU does not provide required features: {}", list(&missing));
        return Ok(Comparison::Incompatible(reason));
    }
    let forbidden: Vec<&str> = cpu
        .features
        .iter()
        .filter(|f| f.policy == Some(CpuFeaturePolicy::Forbid) && has(&f.name))
        .map(|feature| feature.name.as_str())
        .collect();
    if !forbidden.is_empty() {
        let names = list(&forbidden);
        return Ok(Comparison::Incompatible(format!(
            "Host CPU provides forbidden features: {names}"
        )));
    }
    Ok(Comparison::Superset)
}

/// Whether the described CPU has a feature.
///
/// # Errors
/// A model or a feature is unknown.
pub fn has_feature(cpu: &Cpu, name: &str) -> Result<bool, CpuError> {
    let index = X86Map::get()
        .feature_named(name)
        .ok_or_else(|| CpuError::UnknownFeature(name.to_owned()))?;
    Ok(Wanted::new(cpu)?.visible().contains(index))
}

/// The description without features that do not survive migration.
#[must_use]
pub fn migratable(cpu: &Cpu) -> Cpu {
    let map = X86Map::get();
    let survives = |feature: &CpuFeature| {
        let index = map.feature_named(&feature.name);
        index.and_then(|index| map.features.get(index)).is_none_or(|known| known.migratable)
    };
    let mut cpu = cpu.clone();
    cpu.features.retain(survives);
    cpu
}

/// Takes out features that QEMU gives to no guest.
pub fn drop_unknown_to_qemu(cpu: &mut Cpu) {
    let map = X86Map::get();
    cpu.features.retain(|feature| {
        let index = map.feature_named(&feature.name);
        index.and_then(|index| map.features.get(index)).is_none_or(|known| known.in_qemu)
    });
}

/// Makes a guest's description depend on `host` no more: optional features are decided, and
/// `host-model` or a minimum becomes the host's own model and features.
///
/// # Errors
/// A model or a feature is unknown.
pub fn update(guest: &mut Cpu, host: &Cpu) -> Result<(), CpuError> {
    let map = X86Map::get();
    let has = Wanted::new(host)?.visible();
    Wanted::new(guest)?;
    for feature in &mut guest.features {
        if feature.policy == Some(CpuFeaturePolicy::Optional) {
            let on = map.feature_named(&feature.name).is_some_and(|index| has.contains(index));
            let policy = if on { CpuFeaturePolicy::Require } else { CpuFeaturePolicy::Disable };
            feature.policy = Some(policy);
        }
    }
    let host_model = guest.mode == Some(CpuMode::HostModel);
    let custom = guest.mode.is_none_or(|mode| mode == CpuMode::Custom);
    let minimum = custom && guest.matching == Some(CpuMatch::Minimum);
    if !host_model && !minimum {
        return Ok(());
    }
    let mut features = host.features.clone();
    for feature in &mut features {
        feature.policy.get_or_insert(CpuFeaturePolicy::Require);
    }
    // What the user wrote wins over what the host has.
    for own in std::mem::take(&mut guest.features) {
        set_policy(&mut features, &own.name, own.policy);
    }
    guest.features = features;
    let model = guest.model.take().unwrap_or_default();
    guest.model = Some(CpuModel {
        fallback: Some(model.fallback.unwrap_or(CpuFallback::Allow)),
        vendor_id: model.vendor_id,
        name: host.model.as_ref().and_then(|model| model.name.clone()),
    });
    if host_model {
        guest.vendor = host.vendor.clone();
    }
    guest.mode = Some(CpuMode::Custom);
    guest.matching = Some(CpuMatch::Exact);
    Ok(())
}

/// Describes a guest's CPU by a model that the hypervisor knows. `known` tells of a model whether
/// it does, and which features are missing for it.
///
/// # Errors
/// The model must not be replaced, or there is no other one.
pub fn translate<'a>(
    guest: &mut Cpu,
    known: impl Fn(&str) -> Option<&'a [String]>,
) -> Result<(), CpuError> {
    let Some(name) = model_name(guest) else { return Ok(()) };
    if matches!(guest.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum))
        || known(name).is_some()
    {
        return Ok(());
    }
    if guest.model.as_ref().and_then(|model| model.fallback) == Some(CpuFallback::Forbid) {
        return Err(CpuError::ModelUnsupported(name.to_owned()));
    }
    let wanted = Wanted::new(guest)?;
    let vendor = guest.vendor.as_deref();
    let vendor = vendor.and_then(|name| X86Map::get().vendors.iter().find(|(n, _)| *n == name));
    let own = wanted.model.and_then(|model| model.vendor);
    let cpu = X86Cpu {
        vendor: vendor.map(|(name, _)| *name).or(own),
        signature: None,
        features: wanted.visible(),
    };
    let found = decode(&cpu, CpuKind::Guest, known).ok_or(CpuError::NoModel)?;
    let mut features = found.features();
    for own in std::mem::take(&mut guest.features) {
        set_policy(&mut features, &own.name, own.policy);
    }
    guest.features = features;
    guest.model.get_or_insert_default().name = Some(found.model.to_owned());
    Ok(())
}

/// Writes out every feature of the model, sorted by name; what the description says of one stays.
///
/// # Errors
/// The model or a feature is unknown.
pub fn expand(cpu: &mut Cpu) -> Result<(), CpuError> {
    let map = X86Map::get();
    let wanted = Wanted::new(cpu)?;
    let policy = (!is_host(cpu)).then_some(CpuFeaturePolicy::Require);
    for name in map.names(&wanted.own) {
        if !cpu.features.iter().any(|feature| feature.name == name) {
            cpu.features.push(CpuFeature { policy, name: name.to_owned() });
        }
    }
    cpu.features.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}
