//! Universally unique identifiers.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A UUID: 16 bytes, printed in lower case with dashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The UUID of all zeros, which identifies nothing.
    pub const NIL: Self = Self([0; 16]);

    /// Makes a UUID of version 4 out of random bytes.
    pub fn from_random_bytes(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The bytes, most significant first.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it can identify something: libvirt refuses UUIDs whose bytes are all the same.
    pub fn is_valid(&self) -> bool {
        self.0.iter().any(|b| *b != self.0[0])
    }

    fn encode(&self) -> [u8; 36] {
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (i, b) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            [out[at], out[at + 1]] = crate::hex_digits(*b);
            at += 2;
        }
        out
    }
}

impl FromStr for Uuid {
    type Err = ParseError;

    /// Dashes and spaces may stand before any byte or be left out; white space may follow the whole.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError { expected: "a UUID of 32 hexadecimal digits" };
        let mut rest = text.trim_ascii().bytes().peekable();
        let mut bytes = [0; 16];
        for b in &mut bytes {
            while rest.next_if(|c| matches!(c, b'-' | b' ')).is_some() {}
            for _ in 0..2 {
                let digit = rest.next().and_then(|c| (c as char).to_digit(16)).ok_or(error)?;
                *b = *b << 4 | digit as u8;
            }
        }
        if rest.next().is_some() { Err(error) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.encode()).unwrap_or(""))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_with_and_without_dashes() {
        let printed = "c7a5fdbd-edaf-9455-926a-d65c16db1809";
        for text in [
            printed,
            "C7A5FDBDEDAF9455926AD65C16DB1809",
            "  c7-a5-fd-bdedaf9455926ad65c16db1809 ",
            "--c7a5fdbdedaf9455926ad65c16db1809",
            "c7 a5fdbdedaf9455926ad65c16db1809",
        ] {
            assert_eq!(text.parse::<Uuid>().map(|u| u.to_string()), Ok(printed.to_owned()));
        }
        for text in [
            "",
            "c7a5",
            "c7a5fdbdedaf9455926ad65c16db18090",
            "g7a5fdbdedaf9455926ad65c16db1809",
            "c7a5fdbdedaf9455926ad65c16db1809-",
            "c-7a5fdbdedaf9455926ad65c16db1809",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_bytes_become_version_4() {
        let u = Uuid::from_random_bytes([0xff; 16]);
        assert_eq!(u.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!(u.is_valid() && !Uuid::NIL.is_valid());
    }
}
