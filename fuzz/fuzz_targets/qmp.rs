//! QMP and guest-agent lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qmp::fuzzing::fuzz_one(data));
