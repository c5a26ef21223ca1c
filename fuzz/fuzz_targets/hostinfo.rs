//! The host's texts about itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::host_info::fuzz_one(data));
