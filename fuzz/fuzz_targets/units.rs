//! Sizes, CPU sets, addresses, UUIDs, names, Base64.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| units::fuzzing::fuzz_one(data));
