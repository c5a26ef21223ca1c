//! Domain backup XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::backup::fuzz_one(data));
