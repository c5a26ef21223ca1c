//! Domain XML: completed, checked, named, written; and status files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::domain::fuzzing::fuzz_one(data));
