//! What a client reads: URIs and error payloads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rpc::client::fuzz_one(data));
