//! Network filters, bindings and what they become.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::nwfilter::fuzz_one(data));
