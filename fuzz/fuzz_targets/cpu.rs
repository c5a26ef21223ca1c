//! CPU XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::cpu::fuzz_one(data));
