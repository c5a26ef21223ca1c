//! CPUs as libvirt describes them: reading and writing `<cpu>`, comparing, baselines, and making a
//! guest's CPU fit a host and a hypervisor. What models and features are is data of ours
//! (`data/*-cpus.txt`), never a file of an installed libvirt.

mod document;
mod error;
#[doc(hidden)]
mod fuzzing;
mod other;
mod valid;
pub mod x86;

pub use document::{is_host, model_name, read, read_all, read_host, read_valid, write};
pub use error::CpuError;
#[doc(hidden)]
pub use fuzzing::fuzz_one;
pub use other::{ArmMap, PpcMap};

use crate::domain::cpu::{
    Cpu, CpuFallback, CpuFeature, CpuFeaturePolicy, CpuMatch, CpuMode, CpuModel,
};

/// How a host's CPU relates to a described one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The host is exactly that.
    Identical,
    /// The host has all of it, and more.
    Superset,
    /// The host is no place for it; why.
    Incompatible(String),
}

/// Architectures that share a description of CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `x86_64`, `i686`.
    X86,
    /// `ppc64`, `ppc64le`.
    Ppc64,
    /// `aarch64`, `armv6l`, `armv7b`, `armv7l`.
    Arm,
    /// `s390`, `s390x`.
    S390,
    /// `riscv64`.
    Riscv64,
    /// `loongarch64`.
    LoongArch,
}

impl Family {
    /// The family of an architecture.
    ///
    /// # Errors
    /// There is none: nothing can be said of CPUs of that architecture.
    pub fn of(arch: &str) -> Result<Self, CpuError> {
        match arch {
            "x86_64" | "i686" => Ok(Self::X86),
            "ppc64" | "ppc64le" => Ok(Self::Ppc64),
            "aarch64" | "armv6l" | "armv7b" | "armv7l" => Ok(Self::Arm),
            "s390" | "s390x" => Ok(Self::S390),
            "riscv64" => Ok(Self::Riscv64),
            "loongarch64" => Ok(Self::LoongArch),
            _ => Err(CpuError::Architecture(arch.to_owned())),
        }
    }
}

/// Whether processors of a host of architecture `host` run guests of `arch` themselves, so that the
/// host's own CPU is one that such guests can have.
pub fn runs_natively(host: &str, arch: &str) -> bool {
    let power = |arch| matches!(arch, "ppc" | "ppc64" | "ppc64le");
    host == arch
        || matches!((host, arch), ("x86_64", "i686") | ("aarch64", "armv7l" | "armv6l"))
        || power(host) && power(arch)
}

/// The models a hypervisor knows: for each name, the features that are missing for it; `None` where
/// the name is unknown.
pub type Known<'f, 'k> = &'f dyn Fn(&str) -> Option<&'k [String]>;

/// Any model is known, and nothing missing for it.
pub fn any_model(_: &str) -> Option<&'static [String]> {
    Some(&[])
}

/// Names of the models of an architecture; `None` where every name is accepted.
///
/// # Errors
/// Nothing is known of the architecture.
pub fn models(arch: &str) -> Result<Option<Vec<&'static str>>, CpuError> {
    Ok(match Family::of(arch)? {
        Family::X86 => Some(x86::X86Map::get().models.iter().map(|model| model.name).collect()),
        Family::Ppc64 => Some(PpcMap::get().models.iter().map(|model| model.name).collect()),
        _ => None,
    })
}

/// How the CPU of a host of architecture `arch` compares with what `cpu` asks for.
///
/// # Errors
/// Something in one of them is unknown, or the architecture cannot compare.
pub fn compare(arch: &str, host: &Cpu, cpu: &Cpu) -> Result<Comparison, CpuError> {
    match Family::of(arch)? {
        Family::X86 => x86::compare(host, cpu),
        Family::Ppc64 => other::compare_ppc64(host, cpu),
        Family::Arm | Family::S390 | Family::Riscv64 | Family::LoongArch => {
            // The hypervisor alone decides here.
            Ok(Comparison::Identical)
        }
    }
}

/// Makes a guest's CPU depend on the host no more: `host-model`, minimum, optional features.
///
/// # Errors
/// Something in one of them is unknown.
pub fn update(arch: &str, guest: &mut Cpu, host: &Cpu) -> Result<(), CpuError> {
    match Family::of(arch)? {
        Family::X86 => x86::update(guest, host),
        Family::Ppc64 => {
            if guest.matching == Some(CpuMatch::Minimum) {
                guest.matching = Some(CpuMatch::Exact);
            }
            Ok(())
        }
        Family::S390 | Family::Arm | Family::Riscv64 | Family::LoongArch => {
            other::update_by_host(guest, host);
            Ok(())
        }
    }
}

/// Describes a guest's CPU by a model the hypervisor knows.
///
/// # Errors
/// The model must not be replaced, or no other one fits.
pub fn translate(arch: &str, guest: &mut Cpu, known: Known<'_, '_>) -> Result<(), CpuError> {
    match Family::of(arch)? {
        Family::X86 => x86::translate(guest, known),
        Family::Ppc64 => other::translate_ppc64(guest, known),
        _ => {
            let unknown = model_name(guest)
                .filter(|name| guest.mode == Some(CpuMode::Custom) && known(name).is_none());
            match unknown {
                Some(name) => Err(CpuError::ModelUnsupported(name.to_owned())),
                None => Ok(()),
            }
        }
    }
}

/// Refuses descriptions without a model, of which nothing can be computed.
///
/// # Errors
/// One has none.
pub fn check_models(cpus: &[Cpu]) -> Result<(), CpuError> {
    match cpus.iter().position(|cpu| model_name(cpu).is_none()) {
        Some(index) => Err(CpuError::Argument(format!("no CPU model specified at index {index}"))),
        None => Ok(()),
    }
}

/// The CPU all of `cpus` can offer. `migratable`: without features that do not survive migration.
///
/// # Errors
/// They have nothing in common, something is unknown, or the architecture has no baselines.
pub fn baseline(
    arch: &str,
    cpus: &[Cpu],
    migratable: bool,
    known: Known<'_, '_>,
) -> Result<Cpu, CpuError> {
    check_models(cpus)?;
    let first = cpus.first().ok_or_else(|| CpuError::Argument("no CPUs given".to_owned()))?;
    match Family::of(arch)? {
        Family::X86 => {
            let wanted = x86::Baseline { migratable, features: None };
            x86::baseline(cpus, &wanted, known)
        }
        Family::Ppc64 => other::baseline_ppc64(cpus),
        Family::Arm => {
            let name = model_name(first).unwrap_or_default();
            Ok(guest_of(name, CpuFallback::Allow, None, Vec::new()))
        }
        Family::S390 | Family::Riscv64 | Family::LoongArch => {
            Err(CpuError::Operation { what: "compute baseline CPU", arch: arch.to_owned() })
        }
    }
}

/// Writes out all features of the model.
///
/// # Errors
/// The model or a feature is unknown.
pub fn expand(arch: &str, cpu: &mut Cpu) -> Result<(), CpuError> {
    match Family::of(arch)? {
        Family::X86 => x86::expand(cpu),
        _ => Ok(()),
    }
}

/// Whether the described CPU has a feature.
///
/// # Errors
/// Something is unknown.
pub fn has_feature(arch: &str, cpu: &Cpu, feature: &str) -> Result<bool, CpuError> {
    match Family::of(arch)? {
        Family::X86 => x86::has_feature(cpu, feature),
        _ => Ok(cpu.features.iter().any(|known| known.name == feature)),
    }
}

/// The part of a host's CPU that survives migration.
///
/// # Errors
/// Nothing is known of the architecture.
pub fn migratable(arch: &str, cpu: &Cpu) -> Result<Cpu, CpuError> {
    Ok(match Family::of(arch)? {
        Family::X86 => x86::migratable(cpu),
        _ => cpu.clone(),
    })
}

/// Says `policy` of a feature: in place if it is listed, else at the end.
fn set_policy(features: &mut Vec<CpuFeature>, name: &str, policy: Option<CpuFeaturePolicy>) {
    match features.iter_mut().find(|feature| feature.name == name) {
        Some(feature) => feature.policy = policy,
        None => features.push(CpuFeature { policy, name: name.to_owned() }),
    }
}

/// Writes into a guest's CPU whether it has features that will go away.
pub fn set_deprecated(cpu: &mut Cpu, deprecated: &[String], on: bool) {
    let policy = if on { CpuFeaturePolicy::Require } else { CpuFeaturePolicy::Disable };
    for name in deprecated {
        set_policy(&mut cpu.features, name, Some(policy));
    }
}

/// A guest's CPU of exactly this model.
pub(crate) fn guest_of(
    model: &str,
    fallback: CpuFallback,
    vendor: Option<&str>,
    features: Vec<CpuFeature>,
) -> Cpu {
    Cpu {
        mode: Some(CpuMode::Custom),
        matching: Some(CpuMatch::Exact),
        model: Some(CpuModel {
            fallback: Some(fallback),
            vendor_id: None,
            name: Some(model.to_owned()),
        }),
        vendor: vendor.map(str::to_owned),
        features,
        ..Cpu::default()
    }
}
