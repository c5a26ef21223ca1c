//! XML documents.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xml::fuzzing::fuzz_one(data));
