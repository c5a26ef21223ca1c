//! Headers of disk images.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::storage::fuzz_one(data));
