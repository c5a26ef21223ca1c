//! Domains: the XML of a guest as typed values.
//!
//! [`parse`] reads, [`format`] writes, [`defaults`] fills in what the user left open, [`validate`]
//! says what is wrong. All are pure: randomness and facts of the host come in as parameters.

pub mod address;
pub mod alias;
pub mod clock;
pub mod cpu;
pub mod definition;
pub mod devices;
pub mod features;
pub mod launch_security;
pub mod lifecycle;
pub mod memory;
pub mod os;
mod prelude;
pub mod qemu_namespace;
pub mod scalar;
pub mod seclabel;
pub mod sysinfo;
pub mod tune;

pub use definition::{Domain, VirtType};
