//! The beginning of an image of a saved guest.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::save_image::fuzz_one(data));
