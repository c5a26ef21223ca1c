//! CPUs of the x86 family: what libvirt's names mean, which of them describes a given CPU, and how
//! descriptions compare.

mod baseline;
mod decode;
mod guest;
mod live;
mod map;
mod wanted;

pub use baseline::{Baseline, baseline, common_address_limit};
pub use decode::{
    CpuKind, DecodedCpu, X86Cpu, decode, decode_preferring, features_of, from_cpuid,
    from_host_model, signature_of, surviving,
};
pub use guest::{
    compare, compare_unusable, drop_unknown_to_qemu, expand, forbidden, has_feature, migratable,
    translate, update,
};
pub use live::{check_live, update_live};
pub use map::{Feature, FeatureSet, Model, Register, Signature, X86Map};
