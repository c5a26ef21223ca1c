//! Pool and volume XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::storage::fuzz_one(data));
