//! Reading XDR.

use crate::{Decode, Error, Result, padding};

/// How deeply arrays and optional items may nest. libvirt's messages need four.
pub const MAX_DEPTH: u32 = 16;

/// Most elements for which memory is reserved in advance; longer arrays grow as their elements really arrive.
const RESERVE: usize = 256;

/// Reads XDR items from a borrowed message.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    data: &'a [u8],
    pos: usize,
    depth: u32,
    lossy: bool,
}

impl<'a> Decoder<'a> {
    /// A reader that refuses strings which are not UTF-8. For servers: what is stored or compared must be exact.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0, depth: MAX_DEPTH, lossy: false }
    }

    /// A reader that replaces bytes which are not UTF-8 by U+FFFD. For clients: one odd file name in a list of volumes
    /// must not hide all the others.
    #[must_use]
    pub fn lossy(data: &'a [u8]) -> Self {
        Self { data, pos: 0, depth: MAX_DEPTH, lossy: true }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.data.len() - self.pos
    }

    /// The next `len` bytes, without padding.
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let at = self.pos;
        let missing = || Error::Truncated { at, missing: len.saturating_sub(self.remaining()) };
        let end = at.checked_add(len).ok_or_else(missing)?;
        let bytes = self.data.get(at..end).ok_or_else(missing)?;
        self.pos = end;
        Ok(bytes)
    }

    fn word<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut word = [0; N];
        word.copy_from_slice(self.take(N)?);
        Ok(word)
    }

    /// A signed 32-bit integer.
    ///
    /// # Errors
    /// As for all readers here: too few bytes, or a value outside its range.
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.word()?))
    }

    /// An unsigned 32-bit integer.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn uint(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.word()?))
    }

    /// A signed 64-bit integer.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn hyper(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.word()?))
    }

    /// An unsigned 64-bit integer.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn uhyper(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.word()?))
    }

    /// A single-precision number.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn float(&mut self) -> Result<f32> {
        Ok(f32::from_be_bytes(self.word()?))
    }

    /// A double-precision number.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn double(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.word()?))
    }

    /// A boolean.
    ///
    /// # Errors
    /// Too few bytes, or a value other than 0 and 1.
    pub fn bool(&mut self) -> Result<bool> {
        let at = self.pos;
        match self.uint()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Error::BadFlag { at, value }),
        }
    }

    /// Opaque bytes of a known length, and their padding (whose content is ignored).
    ///
    /// # Errors
    /// Too few bytes.
    pub fn opaque_fixed(&mut self, len: usize) -> Result<&'a [u8]> {
        let bytes = self.take(len)?;
        self.take(padding(len))?;
        Ok(bytes)
    }

    /// Opaque bytes with a length word, at most `max` of them, borrowed from the message.
    ///
    /// # Errors
    /// Too few bytes, or too many.
    pub fn opaque(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = self.length(max, 1)?;
        self.opaque_fixed(len)
    }

    /// The same, owned.
    ///
    /// # Errors
    /// Too few bytes, or too many.
    pub fn opaque_vec(&mut self, max: usize) -> Result<Vec<u8>> {
        Ok(self.opaque(max)?.to_vec())
    }

    /// A string of at most `max` bytes.
    ///
    /// # Errors
    /// Too few bytes, too many, a NUL among them, or (unless the reader is lossy) not UTF-8.
    pub fn string(&mut self, max: usize) -> Result<String> {
        let bytes = self.opaque(max)?;
        let at = self.pos - bytes.len() - padding(bytes.len());
        if bytes.contains(&0) {
            return Err(Error::Nul { at });
        }
        match std::str::from_utf8(bytes) {
            Ok(s) => Ok(s.to_owned()),
            Err(_) if self.lossy => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Err(_) => Err(Error::NotUtf8 { at }),
        }
    }

    /// An optional item, read by `read` if present.
    ///
    /// # Errors
    /// A bad flag, nesting beyond [`MAX_DEPTH`], or what `read` says.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if !self.bool()? {
            return Ok(None);
        }
        self.nested(read).map(Some)
    }

    /// An optional string of at most `max` bytes.
    ///
    /// # Errors
    /// As [`Decoder::string`].
    pub fn opt_string(&mut self, max: usize) -> Result<Option<String>> {
        if self.bool()? { self.string(max).map(Some) } else { Ok(None) }
    }

    /// An array with a length word, at most `max` elements.
    ///
    /// # Errors
    /// Too many elements (by declaration, or more than the message can hold), or a fault in one of them.
    pub fn array<T: Decode>(&mut self, max: usize) -> Result<Vec<T>> {
        self.array_with(max, T::MIN_SIZE, T::decode)
    }

    /// An array whose elements take at least `min_size` bytes each and are read by `read`.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn array_with<T>(
        &mut self,
        max: usize,
        min_size: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let len = self.length(max, min_size)?;
        self.nested(|d| {
            let mut items = Vec::with_capacity(len.min(RESERVE));
            for _ in 0..len {
                items.push(read(d)?);
            }
            Ok(items)
        })
    }

    /// An array of strings, each of at most `max_len` bytes.
    ///
    /// # Errors
    /// As [`Decoder::array`] and [`Decoder::string`].
    pub fn strings(&mut self, max: usize, max_len: usize) -> Result<Vec<String>> {
        self.array_with(max, 4, |d| d.string(max_len))
    }

    /// One `char` (four bytes on the wire); both the signed and the unsigned reading of a byte are accepted.
    ///
    /// # Errors
    /// Too few bytes, or not a byte.
    pub fn char(&mut self) -> Result<i8> {
        self.byte().map(|b| b as i8)
    }

    /// One `unsigned char` (four bytes on the wire).
    ///
    /// # Errors
    /// Too few bytes, or not a byte.
    pub fn uchar(&mut self) -> Result<u8> {
        self.byte()
    }

    /// One `unsigned short` (four bytes on the wire).
    ///
    /// # Errors
    /// Too few bytes, or a number that needs more than 16 bits.
    pub fn ushort(&mut self) -> Result<u16> {
        let at = self.pos;
        let value = self.uint()?;
        u16::try_from(value).map_err(|_| Error::OutOfRange { at, value: i64::from(value) })
    }

    /// A `char` array of exactly `N` elements, four bytes each.
    ///
    /// # Errors
    /// Too few bytes, or an element that is not a byte.
    pub fn chars_fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut chars = [0; N];
        for c in &mut chars {
            *c = self.byte()?;
        }
        Ok(chars)
    }

    /// A `char` array with a length word, at most `max` elements of four bytes each.
    ///
    /// # Errors
    /// Too few bytes, too many elements, or one that is not a byte.
    pub fn chars(&mut self, max: usize) -> Result<Vec<u8>> {
        self.array_with(max, 4, Self::byte)
    }

    fn byte(&mut self) -> Result<u8> {
        let at = self.pos;
        let value = self.int()?;
        u8::try_from(value)
            .or_else(|_| i8::try_from(value).map(|b| b as u8))
            .map_err(|_| Error::OutOfRange { at, value: i64::from(value) })
    }

    /// A length word that neither the declaration nor the rest of the message contradicts.
    fn length(&mut self, max: usize, min_size: usize) -> Result<usize> {
        let at = self.pos;
        let len = self.uint()? as usize;
        if len > max {
            return Err(Error::TooLong { at, len, max });
        }
        let needed = len.saturating_mul(min_size);
        if needed > self.remaining() {
            return Err(Error::Truncated { at, missing: needed - self.remaining() });
        }
        Ok(len)
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth = self.depth.checked_sub(1).ok_or(Error::TooDeep { at: self.pos })?;
        let value = read(self);
        self.depth += 1;
        value
    }
}
