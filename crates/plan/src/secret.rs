//! Secrets on their way to QEMU: sealed with the guest's master key, so that neither the command
//! line nor a log shows them.
//!
//! QEMU's `secret` objects take data encrypted by AES-256 in CBC mode with PKCS padding, in
//! base64; the key is the guest's own master key, which lies in its private folder.

mod aes;

pub use aes::{Aes256, encrypt_cbc};

/// Text in base64.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = (word >> (18 - 6 * place)) & 63;
                out.push(char::from(ALPHABET.get(index as usize).copied().unwrap_or(b'=')));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The `data` of a `secret` object: `secret` sealed with the master key and this `iv`.
pub fn seal(master_key: &[u8; 32], iv: &[u8; 16], secret: &[u8]) -> String {
    base64(&encrypt_cbc(&Aes256::new(master_key), iv, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }
}
