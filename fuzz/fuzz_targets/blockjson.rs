//! `json:` names of images.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plan::block::json::fuzz_one(data));
