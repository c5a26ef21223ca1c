//! Configuration files in libvirt's own format: `qemu.conf`, `libvirtd.conf`.

mod file;

pub use file::{ConfError, ConfFile, ConfValue, fuzz_one};
