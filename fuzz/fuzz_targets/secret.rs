//! Secret XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::secret::fuzz_one(data));
