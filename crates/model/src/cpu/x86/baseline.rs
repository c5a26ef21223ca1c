//! The best CPU that several hosts can all offer.

use super::decode::{CpuKind, X86Cpu, decode_preferring};
use super::guest::migratable;
use super::map::{FeatureSet, X86Map};
use super::wanted::Wanted;
use crate::cpu::document::model_name;
use crate::cpu::{CpuError, guest_of};
use crate::domain::cpu::{Cpu, CpuFallback, MaxPhysAddr, PhysAddrMode};

/// What a baseline is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline<'a> {
    /// Only features that survive migration.
    pub migratable: bool,
    /// Only these features (`None`: all).
    pub features: Option<&'a FeatureSet>,
}

/// A guest's CPU with the features that all of `cpus` have. `known` tells of a model whether the
/// hypervisor knows it, and which features are missing for it.
///
/// # Errors
/// There is no CPU, the CPUs are of different vendors, something is unknown, or no model fits.
pub fn baseline<'a>(
    cpus: &[Cpu],
    wanted: &Baseline<'_>,
    known: impl Fn(&str) -> Option<&'a [String]>,
) -> Result<Cpu, CpuError> {
    let map = X86Map::get();
    let vendor_named = |name: &str| {
        let found = map.vendors.iter().map(|(name, _)| *name).find(|known| *known == name);
        found.ok_or_else(|| CpuError::UnknownVendor(name.to_owned()))
    };
    let Some((first, others)) = cpus.split_first() else {
        return Err(CpuError::Argument("no CPUs given".to_owned()));
    };
    let mut features = Wanted::new(first)?.visible();
    let mut vendor = first.vendor.as_deref().map(vendor_named).transpose()?;
    let mut all_named = first.vendor.is_some();
    for cpu in others {
        let read = Wanted::new(cpu)?;
        let own = read.model.and_then(|model| model.vendor);
        if let (Some(said), Some(own)) = (cpu.vendor.as_deref(), own)
            && said != own
        {
            return Err(CpuError::ModelVendor {
                own: own.to_owned(),
                model: model_name(cpu).unwrap_or_default().to_owned(),
                said: said.to_owned(),
            });
        }
        all_named &= cpu.vendor.is_some();
        if let Some(name) = cpu.vendor.as_deref().or(own) {
            match vendor {
                None => vendor = Some(vendor_named(name)?),
                Some(other) if other != name => return Err(CpuError::Vendors),
                Some(_) => {}
            }
        }
        features = features.intersection(&read.visible());
    }
    if let Some(only) = wanted.features {
        features = features.intersection(only);
    }
    // A model that all of them name is kept, if it fits at all.
    let name = model_name(first);
    let common = name.filter(|_| others.iter().all(|cpu| model_name(cpu) == name));
    let data = X86Cpu { vendor, signature: None, features };
    let named: Vec<&str> = cpus.iter().filter_map(model_name).collect();
    let found =
        decode_preferring(&data, CpuKind::Guest, known, common, &named).ok_or(CpuError::NoModel)?;
    let fallback =
        if common == Some(found.model) { CpuFallback::Forbid } else { CpuFallback::Allow };
    let vendor = found.vendor.filter(|_| all_named);
    let found = guest_of(found.model, fallback, vendor, found.features());
    Ok(if wanted.migratable { migratable(&found) } else { found })
}

/// The limit of physical addresses that all of `cpus` keep; none where one of them sets none, or
/// has a width of its own.
pub fn common_address_limit(cpus: &[Cpu]) -> Option<MaxPhysAddr> {
    let limit = |cpu: &Cpu| {
        let address = cpu.max_phys_addr.as_ref()?;
        address.limit.filter(|_| address.mode == PhysAddrMode::Passthrough)
    };
    let limits: Option<Vec<u32>> = cpus.iter().map(limit).collect();
    let limit = limits?.into_iter().min()?;
    Some(MaxPhysAddr { mode: PhysAddrMode::Passthrough, bits: None, limit: Some(limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_wide_as_the_narrowest_host_has() {
        let of = |addresses: &[&str]| {
            let read = |address: &&str| {
                let xml = format!("<cpu match='exact'><model>Westmere</model>{address}</cpu>");
                crate::cpu::read(&xml).expect("a CPU")
            };
            let cpus: Vec<Cpu> = addresses.iter().map(read).collect();
            common_address_limit(&cpus).and_then(|found| found.limit)
        };
        let wide = "<maxphysaddr mode='passthrough' limit='48'/>";
        let narrow = "<maxphysaddr mode='passthrough' limit='40'/>";
        assert_eq!(of(&[wide, narrow]), Some(40));
        assert_eq!(of(&[wide]), Some(48));
        assert_eq!(of(&[wide, ""]), None);
        assert_eq!(of(&[wide, "<maxphysaddr mode='emulate' bits='42'/>"]), None);
        assert_eq!(of(&[wide, "<maxphysaddr mode='passthrough'/>"]), None);
    }
}
