//! CPU models: what libvirt's names mean, and which of them describes a given CPU.

mod decode;
mod map;

pub use decode::{CpuKind, DecodedCpu, X86Cpu, decode, from_cpuid, from_host_model};
pub use map::{Feature, FeatureSet, Model, Register, Signature, X86Map};
