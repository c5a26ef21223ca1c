//! What the host and its hypervisors can do, and the XML that says so.

pub mod qemu;
