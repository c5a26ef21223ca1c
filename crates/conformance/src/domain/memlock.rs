//! How much memory a domain needs locked.

use super::define::define;
use crate::answer::{Answer, either};
use crate::emulator;
use crate::request::Request;
use plan::qemu::{MemoryLock, memory_lock};
use serde_json::json;

/// libvirt's number for "no limit".
const UNLIMITED: u64 = (1 << 53) - 1;

/// The limit in bytes; 0 where none is set.
pub fn domain_memlock(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        Ok(Answer::Out(json!(match memory_lock(&define(request, &caps)?) {
            MemoryLock::Inherited => 0,
            MemoryLock::Bytes(bytes) => bytes,
            MemoryLock::Unlimited => UNLIMITED,
        })))
    })())
}
