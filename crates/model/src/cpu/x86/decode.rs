//! Finding the model (and the differences from it) that describes a CPU.

use super::map::{FeatureSet, Model, Register, X86Map};
use crate::capabilities::qemu::{CpuPropValue, HostModel};
use crate::cpu::guest_of;
use crate::domain::cpu::{Cpu, CpuFallback, CpuFeature, CpuFeaturePolicy};
use std::collections::HashMap;

/// What is known of an x86 CPU.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct X86Cpu {
    /// libvirt's vendor name.
    pub vendor: Option<&'static str>,
    /// Family, model, stepping.
    pub signature: Option<(u32, u32, u32)>,
    /// Features it has.
    pub features: FeatureSet,
}

/// What the description is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuKind {
    /// The host block of the capabilities: a model of which everything is present.
    Host,
    /// A guest: features of the model that are missing are switched off.
    Guest,
}

/// A CPU as model and differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedCpu {
    /// The model.
    pub model: &'static str,
    /// Vendor's name.
    pub vendor: Option<&'static str>,
    /// Features beyond the model, in listing order.
    pub require: Vec<&'static str>,
    /// Features of the model that are missing.
    pub disable: Vec<&'static str>,
}

impl DecodedCpu {
    /// As a guest's CPU.
    pub fn guest(&self, fallback: CpuFallback) -> Cpu {
        guest_of(self.model, fallback, self.vendor, self.features())
    }

    /// The differences as a guest's features.
    pub fn features(&self) -> Vec<CpuFeature> {
        let feature =
            |policy, name: &&str| CpuFeature { policy: Some(policy), name: (*name).to_owned() };
        let require = self.require.iter().map(|n| feature(CpuFeaturePolicy::Require, n));
        let disable = self.disable.iter().map(|n| feature(CpuFeaturePolicy::Disable, n));
        require.chain(disable).collect()
    }
}

/// The features that CPUID leaves `(leaf, subleaf) → [eax, ebx, ecx, edx]` and MSR values show.
pub fn features_of(leaves: &HashMap<(u32, u32), [u32; 4]>, msrs: &HashMap<u32, u64>) -> FeatureSet {
    let mut features = FeatureSet::default();
    for (index, feature) in X86Map::get().features.iter().enumerate() {
        let value = match feature.register {
            Register::Cpuid(eax, ecx, register) => {
                let leaf = leaves.get(&(eax, ecx)).copied().unwrap_or_default();
                leaf.get(usize::from(register)).copied().unwrap_or(0)
            }
            Register::Msr(msr, half) => {
                let value = msrs.get(&msr).copied().unwrap_or(0);
                if half == 0 { value as u32 } else { (value >> 32) as u32 }
            }
        };
        if value & feature.mask == feature.mask {
            features.insert(index);
        }
    }
    features
}

/// A CPU from CPUID leaves and MSR values.
pub fn from_cpuid(leaves: &HashMap<(u32, u32), [u32; 4]>, msrs: &HashMap<u32, u64>) -> X86Cpu {
    let map = X86Map::get();
    let leaf = |eax, ecx| leaves.get(&(eax, ecx)).copied().unwrap_or_default();
    let mut features = features_of(leaves, msrs);
    let [version, ..] = leaf(1, 0);
    let signature = (version != 0).then(|| split_signature(version));
    // Intel switched TSX off in these by microcode; some still show it.
    if let Some((6, model, stepping)) = signature
        && (matches!(model, 60 | 69 | 70) || (model == 63 && stepping < 4))
    {
        for index in ["hle", "rtm"].into_iter().filter_map(|name| map.feature_index(name)) {
            features.remove(index);
        }
    }
    let [_, b, c, d] = leaf(0, 0);
    let bytes: Vec<u8> = [b, d, c].iter().flat_map(|r| r.to_le_bytes()).collect();
    X86Cpu {
        vendor: std::str::from_utf8(&bytes).ok().and_then(|string| map.vendor(string)),
        signature,
        features,
    }
}

/// Family, model and stepping from CPUID leaf 1's EAX.
fn split_signature(eax: u32) -> (u32, u32, u32) {
    let (family, model) = ((eax >> 8) & 0xf, (eax >> 4) & 0xf);
    let family_full = if family == 0xf { family + ((eax >> 20) & 0xff) } else { family };
    let model_full =
        if family == 0x6 || family == 0xf { model | ((eax >> 12) & 0xf0) } else { model };
    (family_full, model_full, eax & 0xf)
}

/// A CPU from QEMU's expansion of `host` or `max`. With `migratable`, only features that survive
/// migration (where QEMU tells them apart).
pub fn from_host_model(expanded: &HostModel, migratable: bool) -> X86Cpu {
    let map = X86Map::get();
    let mut cpu = X86Cpu::default();
    let (mut family, mut model, mut stepping) = (0, 0, 0);
    for prop in &expanded.props {
        match &prop.value {
            CpuPropValue::Bool(true) => {
                if (!migratable || prop.migratable != Some(false))
                    && let Some(index) = map.feature_index(&prop.name)
                {
                    cpu.features.insert(index);
                }
            }
            CpuPropValue::Number(number) => {
                let number = u32::try_from(*number).unwrap_or(0);
                match prop.name.as_str() {
                    "family" => family = number,
                    "model" => model = number,
                    "stepping" => stepping = number,
                    _ => {}
                }
            }
            CpuPropValue::Text(text) if prop.name == "vendor" => cpu.vendor = map.vendor(text),
            _ => {}
        }
    }
    cpu.signature = (family != 0).then_some((family, model, stepping));
    cpu
}

/// The features that a hypervisor knows and that guests keep in migration, whether this host has
/// them or not.
pub fn surviving(expanded: &HostModel) -> FeatureSet {
    let map = X86Map::get();
    let kept = expanded.props.iter().filter(|prop| prop.migratable != Some(false));
    let mut features = FeatureSet::default();
    for index in kept.filter_map(|prop| map.feature_index(&prop.name)) {
        features.insert(index);
    }
    features
}

/// A model that is being considered, with its differences from the CPU.
struct Candidate<'a> {
    model: &'a Model,
    require: FeatureSet,
    disable: FeatureSet,
    /// Features that the model once had: a hypervisor's older model may still have them.
    gone: FeatureSet,
    /// The model is of a CPU with this signature.
    signature: bool,
    /// One of the CPUs that a common description is sought for is described by this model.
    named: bool,
}

impl Candidate<'_> {
    fn disabled(&self) -> usize {
        self.disable.len() + self.gone.minus(&self.disable).len()
    }

    /// How far the model is from the CPU. A feature too many is worse than one too few: a guest
    /// that is told of it by the model's name may rely on it. The more there are, the more likely
    /// the model is of another generation, so that further ones weigh more than the first.
    ///
    /// The weights are those that explain which model libvirt 11.3 picks for the common part of
    /// thousands of pairs of models (all but three in a thousand).
    fn distance(&self) -> usize {
        let disabled = self.disabled();
        let pairs = disabled.div_ceil(2);
        self.require.len() + disabled + 2 * pairs + pairs * pairs / 4
    }

    /// Whether this one describes the CPU better than `current` does.
    fn better_than(&self, current: &Candidate<'_>) -> bool {
        // A model of the very CPU wins over any other.
        if self.signature != current.signature {
            return self.signature;
        }
        // So does one that a CPU was described by, if that saves switching features off.
        if self.named && self.disabled() == 0 && current.disabled() > 0 {
            return true;
        }
        self.distance() < current.distance()
    }
}

/// The best description of `cpu`. `known` tells of a model whether the hypervisor knows it, and
/// which features it says are missing for it.
pub fn decode<'a>(
    cpu: &X86Cpu,
    kind: CpuKind,
    known: impl Fn(&str) -> Option<&'a [String]>,
) -> Option<DecodedCpu> {
    decode_preferring(cpu, kind, known, None, &[])
}

/// As [`decode`]; the model named `preferred` is taken whatever the differences, if it may be, and
/// those in `named` are better than others if nothing of them need be switched off.
pub fn decode_preferring<'a>(
    cpu: &X86Cpu,
    kind: CpuKind,
    known: impl Fn(&str) -> Option<&'a [String]>,
    preferred: Option<&str>,
    named: &[&str],
) -> Option<DecodedCpu> {
    let map = X86Map::get();
    let mut best: Option<Candidate> = None;
    for model in map.models.iter().rev() {
        let decodable = match kind {
            CpuKind::Host => model.decode_host,
            CpuKind::Guest => model.decode_guest,
        };
        let Some(blockers) = known(model.name).filter(|_| decodable) else { continue };
        // A CPU of an unknown vendor may be like any other.
        if model.vendor.is_some() && cpu.vendor.is_some() && model.vendor != cpu.vendor {
            continue;
        }
        let mut candidate = Candidate {
            model,
            require: cpu.features.minus(&model.features),
            disable: model.features.minus(&cpu.features),
            gone: model.removed.minus(&cpu.features),
            signature: cpu.signature.is_some_and(|signature| model.is_of(signature)),
            named: named.contains(&model.name),
        };
        if kind == CpuKind::Host && !candidate.disable.is_empty() {
            continue;
        }
        // What the hypervisor's own model has and cannot offer here, unless it is wanted anyway.
        for index in blockers.iter().filter_map(|name| map.feature_index(name)) {
            if kind == CpuKind::Guest && !candidate.require.contains(index) {
                candidate.disable.insert(index);
            }
        }
        if preferred == Some(model.name) {
            best = Some(candidate);
            break;
        }
        if best.as_ref().is_none_or(|best| candidate.better_than(best)) {
            best = Some(candidate);
        }
    }
    let best = best?;
    let mut disable = Vec::new();
    if kind == CpuKind::Guest {
        disable = map.names(&best.disable);
        disable.extend(map.names(&best.gone.minus(&best.disable)));
    }
    Some(DecodedCpu {
        model: best.model.name,
        vendor: cpu.vendor,
        require: map.names(&best.require),
        disable,
    })
}

/// A signature as hexadecimal digits of CPUID leaf 1's EAX, and as numbers, four lines.
pub fn signature_of(signature: (u32, u32, u32)) -> String {
    let (family, model, stepping) = signature;
    let base = family.min(0xf);
    let extended = family.saturating_sub(0xf);
    let eax =
        (extended << 20) | ((model >> 4) << 16) | (base << 8) | ((model & 0xf) << 4) | stepping;
    format!(
        "{eax:06x}\nfamily:   {family:3} (0x{family:02x})\nmodel:    {model:3} (0x{model:02x})\nstepping: {stepping:3} (0x{stepping:02x})\n"
    )
}
