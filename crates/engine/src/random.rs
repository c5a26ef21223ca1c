//! Random bytes from the kernel, for what must not be guessed and for UUIDs.

use diag::{ErrorCode, VirError};

/// `length` random bytes.
///
/// # Errors
/// When the kernel gives none.
pub fn bytes(length: usize) -> Result<Vec<u8>, VirError> {
    let mut bytes = vec![0; length];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `buffer` with random bytes (getrandom(2)).
///
/// # Errors
/// When the kernel gives none.
pub fn fill(buffer: &mut [u8]) -> Result<(), VirError> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let words = format!("cannot read random bytes: {error}");
                return Err(VirError::new(ErrorCode::SYSTEM_ERROR, words));
            }
        }
    }
    Ok(())
}
