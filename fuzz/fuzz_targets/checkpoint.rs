//! Domain checkpoint XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::checkpoint::fuzz_one(data));
