//! libvirt's objects as typed values: reading, defaults, validation, writing.
pub mod capabilities;
pub mod cpu;
pub mod domain;
pub mod interface;
pub mod nodedev;
mod object;
pub mod secret;
pub mod storage;
