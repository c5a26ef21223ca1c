//! Host interface XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::interface::fuzz_one(data));
