//! CPUs as libvirt describes them.

pub mod x86;
