//! Domain snapshot XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::snapshot::fuzz_one(data));
