//! XDR values.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xdr::fuzzing::fuzz_one(data));
