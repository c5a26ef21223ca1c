//! QEMU's firmware descriptors.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::capabilities::firmware::fuzz_one(data));
