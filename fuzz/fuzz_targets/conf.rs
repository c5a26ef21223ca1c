//! libvirtd.conf and qemu.conf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::conf::fuzz_one(data));
