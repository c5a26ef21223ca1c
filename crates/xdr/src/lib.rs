//! XDR (RFC 4506), bounded everywhere.
//!
//! Every item is big-endian and padded to a multiple of four bytes. Lengths that come from outside are compared with
//! the declared maximum *and* with the bytes that are left before anything is allocated, so that no message can make
//! the reader reserve more memory than a small multiple of its own size. Reading never panics.
//!
//! * [`Encode`] writes into an [`Encoder`]; a value beyond its declared limit leaves an error there, which
//!   [`Encoder::finish`] returns, so that the many generated implementations need no error handling of their own.
//! * [`Decode`] reads from a [`Decoder`], which borrows the message.

mod decoder;
mod encoder;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod impls;

pub use decoder::{Decoder, MAX_DEPTH};
pub use encoder::Encoder;
pub use error::{Error, Result};

/// A value that can be written as XDR.
pub trait Encode {
    /// Appends the value. Faults (a string that is too long, …) are kept in the encoder.
    fn encode(&self, e: &mut Encoder);
}

/// A value that can be read from XDR.
pub trait Decode: Sized {
    /// The fewest bytes that any value of this type takes. Bounds the memory reserved for arrays.
    const MIN_SIZE: usize;

    /// Reads one value.
    ///
    /// # Errors
    /// The bytes are too few, or a length, a flag or a number is outside its declared range.
    fn decode(d: &mut Decoder<'_>) -> Result<Self>;
}

/// Writes one value on its own.
///
/// # Errors
/// A part of the value is beyond its declared limit.
pub fn to_vec<T: Encode + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut e = Encoder::new();
    value.encode(&mut e);
    e.finish()
}

/// Reads one value from the beginning of `data`; bytes after it are ignored, as libvirt does.
///
/// # Errors
/// As [`Decode::decode`].
pub fn from_slice<T: Decode>(data: &[u8]) -> Result<T> {
    T::decode(&mut Decoder::new(data))
}

/// The number of zero bytes that follow `len` bytes of data.
#[must_use]
pub const fn padding(len: usize) -> usize {
    (4 - len % 4) % 4
}
