//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A MAC address, printed in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether it addresses a group; such an address cannot be a card's own.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// A card's address with the prefix and three random bytes.
    pub fn generate(prefix: [u8; 3], random: [u8; 3]) -> Self {
        let ([a, b, c], [d, e, f]) = (prefix, random);
        Self([a, b, c, d, e, f])
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;

    /// Six groups of one or two hexadecimal digits between colons; white space may follow.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError { expected: "six hexadecimal bytes, aa:bb:cc:dd:ee:ff" };
        let mut groups = text.trim_ascii_end().split(':');
        let mut bytes = [0; 6];
        for b in &mut bytes {
            let group = groups.next().ok_or(error)?;
            if !(1..=2).contains(&group.len()) || !group.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(error);
            }
            *b = u8::from_str_radix(group, 16).map_err(|_| error)?;
        }
        if groups.next().is_some() { Err(error) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b':'; 17];
        for (i, b) in self.0.iter().enumerate() {
            [text[3 * i], text[3 * i + 1]] = crate::hex_digits(*b);
        }
        out.pad(std::str::from_utf8(&text).unwrap_or(""))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for (text, expected) in [
            ("52:54:00:AB:cd:ef", Some("52:54:00:ab:cd:ef")),
            ("2:4:6:8:A:C", Some("02:04:06:08:0a:0c")),
            ("2:4:6:8:A:C ", Some("02:04:06:08:0a:0c")),
            (" 2:4:6:8:A:C", None),
            ("52:54:00:ab:cd", None),
            ("52:54:00:ab:cd:ef:00", None),
            ("52-54-00-ab-cd-ef", None),
            ("52:54:00:ab:cd:100", None),
            ("52:54:00:ab:cd:+f", None),
            ("", None),
        ] {
            let got = text.parse::<MacAddr>().ok().map(|m| m.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_lowest_bit_of_the_first_byte_marks_groups() {
        assert!(MacAddr([1, 0, 0x5e, 0, 0, 1]).is_multicast());
        assert!(!MacAddr::generate([0x52, 0x54, 0], [1, 2, 3]).is_multicast());
    }
}
