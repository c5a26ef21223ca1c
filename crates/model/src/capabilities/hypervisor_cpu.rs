//! What CPUs one emulator can give to guests on this host: its models, and the one nearest to the
//! host's own.

use super::host::HostFacts;
use super::qemu::{Accel, AccelCaps, CpuDefinition, CpuPropValue, QemuCaps};
use crate::cpu::x86::{CpuKind, X86Map, decode, from_host_model};
use crate::cpu::{Family, PpcMap, guest_of, runs_natively};
use crate::domain::cpu::{Cpu, CpuFallback, CpuFeature, CpuFeaturePolicy};

/// Tells of a model's name whether the hypervisor knows it, and which features are missing for it.
pub fn known_models<'a>(accel: &'a AccelCaps) -> impl Fn(&str) -> Option<&'a [String]> {
    move |name| accel.cpus.iter().find(|cpu| cpu.name == name).map(|cpu| cpu.blockers.as_slice())
}

/// The models that can be offered under their names, sorted by name.
pub fn offered_models<'a>(accel: &'a AccelCaps, arch: &str) -> Vec<&'a CpuDefinition> {
    // Of other architectures libvirt offers no model by name.
    let Ok(family) = Family::of(arch) else { return Vec::new() };
    let named = |cpu: &&CpuDefinition| match family {
        Family::X86 => X86Map::get().model(&cpu.name).is_some(),
        Family::Ppc64 => PpcMap::get().models.iter().any(|model| model.name == cpu.name),
        _ => cpu.name != "host",
    };
    let mut listed: Vec<&CpuDefinition> = accel.cpus.iter().filter(named).collect();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed
}

/// The guest's CPU that `host-model` stands for; `None` where the hypervisor offers no such mode.
/// With `migratable`, only features that survive migration.
pub fn host_model(
    caps: &QemuCaps,
    accel: Accel,
    arch: &str,
    host: &HostFacts,
    migratable: bool,
) -> Option<Cpu> {
    // What QEMU calls the host's model when it emulates another processor has nothing of the host.
    if !runs_natively(&host.arch, arch) {
        return None;
    }
    let own = caps.accel(accel)?;
    match Family::of(arch).ok()? {
        Family::X86 => {
            let cpu = from_host_model(own.host_model.as_ref()?, migratable);
            let found = decode(&cpu, CpuKind::Guest, known_models(own))?;
            Some(found.guest(CpuFallback::Forbid))
        }
        // QEMU itself says which model the host is.
        Family::S390 => {
            let expanded = own.host_model.as_ref()?;
            let on = expanded.props.iter().filter(|p| p.value == CpuPropValue::Bool(true));
            let features = on.map(|prop| CpuFeature {
                policy: Some(CpuFeaturePolicy::Require),
                name: prop.name.clone(),
            });
            Some(guest_of(&expanded.model, CpuFallback::Forbid, None, features.collect()))
        }
        // QEMU cannot expand models; what the host is, KVM's guests can be.
        Family::Ppc64 if accel == Accel::Kvm => {
            let model = host.cpu.model.as_deref()?;
            let vendor = host.cpu.vendor.as_deref();
            Some(guest_of(model, CpuFallback::Allow, vendor, Vec::new()))
        }
        _ => None,
    }
}
