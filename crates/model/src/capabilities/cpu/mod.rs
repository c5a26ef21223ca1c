//! CPU models: what libvirt's names mean, and which of them describes a given CPU.

mod decode;
mod x86_map;

pub use decode::{CpuKind, DecodedCpu, X86Cpu, decode, from_cpuid, from_host_model};
pub use x86_map::{Feature, FeatureSet, Model, Register, Signature, X86Map};
