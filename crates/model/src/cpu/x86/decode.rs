//! Finding the model (and the differences from it) that describes a CPU.

use super::map::{FeatureSet, Model, Register, X86Map};
use crate::capabilities::qemu::{CpuPropValue, HostModel};
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

/// A CPU from CPUID leaves `(leaf, subleaf) → [eax, ebx, ecx, edx]` and MSR values.
pub fn from_cpuid(leaves: &HashMap<(u32, u32), [u32; 4]>, msrs: &HashMap<u32, u64>) -> X86Cpu {
    let map = X86Map::get();
    let leaf = |eax, ecx| leaves.get(&(eax, ecx)).copied().unwrap_or_default();
    let mut features = FeatureSet::default();
    for (index, feature) in map.features.iter().enumerate() {
        let value = match feature.register {
            Register::Cpuid(eax, ecx, register) => {
                leaf(eax, ecx).get(usize::from(register)).copied().unwrap_or(0)
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

/// A model that is being considered, with its differences from the CPU.
struct Candidate<'a> {
    model: &'a Model,
    require: FeatureSet,
    disable: FeatureSet,
    /// Features that the model once had: a hypervisor's older model may still have them.
    gone: FeatureSet,
    /// The model is of a CPU with this signature.
    signature: bool,
}

impl Candidate<'_> {
    /// How far the model is from the CPU. A feature too many is twice as bad as one too few: a
    /// guest that is told of it by the model's name may rely on it.
    fn differences(&self) -> usize {
        self.require.len() + 2 * self.disable.len()
    }

    /// Whether this one describes the CPU better than `current` does.
    fn better_than(&self, current: &Candidate) -> bool {
        // A model of the very CPU wins over any other.
        if self.signature != current.signature {
            return self.signature;
        }
        self.differences() < current.differences()
    }
}

/// The best description of `cpu`. `known` tells of a model whether the hypervisor knows it, and
/// which features it says are missing for it.
pub fn decode<'a>(
    cpu: &X86Cpu,
    kind: CpuKind,
    known: impl Fn(&str) -> Option<&'a [String]>,
) -> Option<DecodedCpu> {
    let map = X86Map::get();
    let mut best: Option<Candidate> = None;
    for model in map.models.iter().rev() {
        let decodable = match kind {
            CpuKind::Host => model.decode_host,
            CpuKind::Guest => model.decode_guest,
        };
        if !decodable
            || known(model.name).is_none()
            || (model.vendor.is_some() && model.vendor != cpu.vendor)
        {
            continue;
        }
        let candidate = Candidate {
            model,
            require: cpu.features.minus(&model.features),
            // A feature that joined the model late says nothing about a CPU that lacks it.
            disable: model.features.minus(&cpu.features).minus(&model.added),
            gone: model.removed.minus(&cpu.features),
            signature: cpu.signature.is_some_and(|(family, number, stepping)| {
                model.signatures.iter().any(|s| {
                    s.family == family
                        && s.model == number
                        && (s.steppings.is_empty()
                            || s.steppings
                                .iter()
                                .any(|(low, high)| (*low..=*high).contains(&stepping)))
                })
            }),
        };
        if kind == CpuKind::Host && !candidate.disable.is_empty() {
            continue;
        }
        if best.as_ref().is_none_or(|best| candidate.better_than(best)) {
            best = Some(candidate);
        }
    }
    let best = best?;
    let names = |set: &FeatureSet| {
        set.iter().filter_map(|i| map.features.get(i)).map(|f| f.name).collect::<Vec<_>>()
    };
    Some(DecodedCpu {
        model: best.model.name,
        vendor: cpu.vendor,
        require: names(&best.require),
        disable: match kind {
            CpuKind::Host => Vec::new(),
            CpuKind::Guest => {
                let mut disable = best.disable.union(&best.gone);
                // What the hypervisor's own model has and cannot offer here.
                let blockers = known(best.model.name).unwrap_or_default();
                for index in blockers.iter().filter_map(|name| map.feature_index(name)) {
                    disable.insert(index);
                }
                names(&disable)
            }
        },
    })
}
