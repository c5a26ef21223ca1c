//! RPC frames as a server reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rpc::frame::fuzz_one(data));
