//! QEMU's answers and cached capabilities.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::capabilities::qemu::fuzz_one(data));
