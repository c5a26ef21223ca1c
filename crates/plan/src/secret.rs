//! Secrets on their way to QEMU: sealed with the guest's master key, so that neither the command
//! line nor a log shows them.
//!
//! QEMU's `secret` objects take data encrypted by AES-256 in CBC mode with PKCS padding, in
//! base64; the key is the guest's own master key, which lies in its private folder.

mod aes;

pub use aes::{Aes256, encrypt_cbc};
pub use units::base64::encode as base64;

/// The `data` of a `secret` object: `secret` sealed with the master key and this `iv`.
pub fn seal(master_key: &[u8; 32], iv: &[u8; 16], secret: &[u8]) -> String {
    base64(&encrypt_cbc(&Aes256::new(master_key), iv, secret))
}
