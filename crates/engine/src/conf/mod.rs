//! Configuration files in libvirt's own format: `qemu.conf`, `libvirtd.conf`.

mod file;
pub mod known;

pub use file::{ConfError, ConfFile, ConfValue, fuzz_one};
