//! Writing XDR.

use crate::{Encode, Error, Result, padding};

/// Collects XDR items. Faults are remembered and returned by [`Encoder::finish`]: the first one counts.
#[derive(Debug, Default)]
pub struct Encoder {
    buf: Vec<u8>,
    error: Option<Error>,
}

impl Encoder {
    /// An empty encoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that appends to `buf` (a frame header, for example), keeping its contents and capacity.
    #[must_use]
    pub fn append_to(buf: Vec<u8>) -> Self {
        Self { buf, error: None }
    }

    /// Bytes written so far, those given to [`Encoder::append_to`] included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// The bytes.
    ///
    /// # Errors
    /// The first fault met while writing.
    pub fn finish(self) -> Result<Vec<u8>> {
        match self.error {
            None => Ok(self.buf),
            Some(e) => Err(e),
        }
    }

    /// Remembers a fault, unless there is one already.
    pub fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// A signed 32-bit integer.
    pub fn int(&mut self, v: i32) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// An unsigned 32-bit integer.
    pub fn uint(&mut self, v: u32) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// A signed 64-bit integer.
    pub fn hyper(&mut self, v: i64) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// An unsigned 64-bit integer.
    pub fn uhyper(&mut self, v: u64) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// A boolean, as 0 or 1 in four bytes.
    pub fn bool(&mut self, v: bool) {
        self.uint(u32::from(v));
    }

    /// A single-precision number.
    pub fn float(&mut self, v: f32) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// A double-precision number.
    pub fn double(&mut self, v: f64) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// Opaque bytes of a length both sides know: no length word, padded.
    pub fn opaque_fixed(&mut self, v: &[u8]) {
        self.buf.extend_from_slice(v);
        self.buf.extend_from_slice(&[0; 3][..padding(v.len())]);
    }

    /// Bytes as they are: no length word, no padding. For payloads that are not XDR (stream data).
    pub fn append_raw(&mut self, v: &[u8]) {
        self.buf.extend_from_slice(v);
    }

    /// Opaque bytes with a length word, at most `max` of them.
    pub fn opaque(&mut self, v: &[u8], max: usize) {
        if self.length(v.len(), max) {
            self.opaque_fixed(v);
        }
    }

    /// A string of at most `max` bytes, without NUL.
    pub fn string(&mut self, v: &str, max: usize) {
        let at = self.buf.len();
        if self.length(v.len(), max) {
            if v.as_bytes().contains(&0) {
                self.fail(Error::Nul { at: at + 4 });
            }
            self.opaque_fixed(v.as_bytes());
        }
    }

    /// An optional item: a flag, then the item if there is one.
    pub fn option<T>(&mut self, v: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.bool(v.is_some());
        if let Some(v) = v {
            write(self, v);
        }
    }

    /// An optional string of at most `max` bytes.
    pub fn opt_string(&mut self, v: Option<&str>, max: usize) {
        self.bool(v.is_some());
        if let Some(v) = v {
            self.string(v, max);
        }
    }

    /// An array with a length word, at most `max` elements.
    pub fn array<T: Encode>(&mut self, v: &[T], max: usize) {
        self.array_with(v, max, |e, x| x.encode(e));
    }

    /// An array whose elements are written by `write`.
    pub fn array_with<T>(&mut self, v: &[T], max: usize, mut write: impl FnMut(&mut Self, &T)) {
        if self.length(v.len(), max) {
            for x in v {
                write(self, x);
            }
        }
    }

    /// An array of strings, each of at most `max_len` bytes.
    pub fn strings(&mut self, v: &[String], max: usize, max_len: usize) {
        self.array_with(v, max, |e, s| e.string(s, max_len));
    }

    /// One `char`: four bytes on the wire.
    pub fn char(&mut self, v: i8) {
        self.int(i32::from(v));
    }

    /// One `unsigned char`: four bytes on the wire.
    pub fn uchar(&mut self, v: u8) {
        self.uint(u32::from(v));
    }

    /// One `unsigned short`: four bytes on the wire.
    pub fn ushort(&mut self, v: u16) {
        self.uint(u32::from(v));
    }

    /// A `char` array of exactly `v.len()` elements, four bytes each.
    pub fn chars_fixed(&mut self, v: &[u8]) {
        for &c in v {
            self.char(c as i8);
        }
    }

    /// A `char` array with a length word, at most `max` elements of four bytes each.
    pub fn chars(&mut self, v: &[u8], max: usize) {
        if self.length(v.len(), max) {
            self.chars_fixed(v);
        }
    }

    /// Writes a length word if `len` is allowed; otherwise keeps the fault and says no.
    fn length(&mut self, len: usize, max: usize) -> bool {
        match u32::try_from(len) {
            Ok(n) if len <= max => {
                self.uint(n);
                true
            }
            _ => {
                self.fail(Error::TooLong { at: self.buf.len(), len, max });
                false
            }
        }
    }
}
