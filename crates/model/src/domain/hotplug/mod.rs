//! Devices by themselves: what clients attach to a domain, detach from it and change in it.
//!
//! A [`Device`] is read from its own document. [`attach`] puts it into a domain, running or stored,
//! with its name and address chosen against what is there; [`find`] finds the one that a client
//! means; [`support`] says which kinds can come and go at all. Texts and codes are libvirt 11.3's,
//! found by asking it.

mod attach;
mod device;
mod duplicate;
pub mod find;
pub mod support;
pub mod update;
pub mod vcpus;

pub use attach::{Attached, attach, by_itself, prepare, take_out};
pub use device::{Device, DeviceKind, Place, ReadDevice, read};
pub use duplicate::refuse_duplicate;

use diag::{ErrorCode, VirError};

/// An error of libvirt's QEMU driver with this code.
pub(crate) fn error(code: ErrorCode, text: impl Into<String>) -> VirError {
    VirError::new(code, text)
}
