//! Node device XML and mdevctl's list.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::nodedev::fuzz_one(data));
