//! libvirt's objects as typed values: reading, defaults, validation, writing.
pub mod capabilities;
pub mod cpu;
pub mod domain;
pub mod storage;
