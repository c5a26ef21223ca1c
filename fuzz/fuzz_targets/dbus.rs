//! Messages of the host's message bus.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| host::dbus::fuzz_one(data));
