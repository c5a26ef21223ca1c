//! Random bytes from the kernel, for what must not be guessed and for UUIDs.

use diag::{ErrorCode, VirError};
use std::io::Read;

/// `length` random bytes (getrandom(2) through `/dev/urandom`).
///
/// # Errors
/// When the kernel gives none.
pub fn bytes(length: usize) -> Result<Vec<u8>, VirError> {
    let mut bytes = vec![0; length];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(
        |error| {
            VirError::new(ErrorCode::SYSTEM_ERROR, format!("cannot read random bytes: {error}"))
        },
    )?;
    Ok(bytes)
}
