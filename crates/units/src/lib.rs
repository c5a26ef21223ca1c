//! Small value types of the field: byte sizes, CPU sets, MACs, PCI addresses, UUIDs.
//!
//! Each parses what libvirt accepts, prints what libvirt prints, and does no I/O. Their error type
//! says what was expected; which element or argument it concerns is the caller's to add.

pub mod base64;
mod cpuset;
#[doc(hidden)]
pub mod fuzzing;
mod mac;
mod name;
mod pci;
mod sha256;
mod size;
mod uuid;

pub use cpuset::CpuSet;
pub use mac::MacAddr;
pub use name::{DomainName, NameError, check_name};
pub use pci::PciAddress;
pub use sha256::sha256_hex;
pub use size::{ScaleError, scale, unit_factor};
pub use uuid::Uuid;

/// The two digits of a byte.
fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// A text is no value of the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// What was expected, as the end of a sentence: "a UUID".
    pub expected: &'static str,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::error::Error for ParseError {}
