//! Networks, their ports, status files and updates.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::network::fuzz_one(data));
