//! Scalars: what stands in an attribute or as an element's text.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::ValueKind;

/// Why a text is no value of a type.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ValueError {
    /// What was expected, as the end of a sentence ("Expected …"); empty when there is nothing to
    /// say beyond `alternatives`.
    pub expected: Cow<'static, str>,
    /// The words that would have been right.
    pub alternatives: &'static [&'static str],
    /// The highest number there can be, when the text is a number beyond it.
    pub limit: Option<u64>,
}

impl ValueError {
    /// Something else was expected.
    pub fn expected(what: impl Into<Cow<'static, str>>) -> Self {
        Self { expected: what.into(), alternatives: &[], limit: None }
    }
}

/// A value that is written as text.
pub trait XmlValue: Sized {
    /// Reads the value from the text, references already resolved.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    fn parse(text: &str) -> Result<Self, ValueError>;

    /// Whether the text may have characters that are written as entities. Numbers and words have
    /// none, and are not searched for them.
    const ESCAPED: bool = true;

    /// Appends the value's text, not escaped.
    fn write(&self, out: &mut String);

    /// The values there are.
    fn kind() -> ValueKind;
}

impl XmlValue for String {
    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(text.to_owned())
    }
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
    fn kind() -> ValueKind {
        ValueKind::Text
    }
}

impl<T: XmlValue> XmlValue for Box<T> {
    const ESCAPED: bool = T::ESCAPED;

    fn parse(text: &str) -> Result<Self, ValueError> {
        T::parse(text).map(Box::new)
    }
    fn write(&self, out: &mut String) {
        T::write(self, out);
    }
    fn kind() -> ValueKind {
        T::kind()
    }
}

macro_rules! unsigned {
    ($($t:ty)*) => {$(
        impl XmlValue for $t {
            const ESCAPED: bool = false;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let digits = text.trim_ascii();
                digits.parse().map_err(|_| {
                    let limit = digits.parse::<i128>().is_ok_and(|n| n > 0).then_some(<$t>::MAX);
                    ValueError {
                        limit: limit.map(u64::from),
                        ..ValueError::expected("non-negative integer value")
                    }
                })
            }
            fn write(&self, out: &mut String) {
                push_decimal(u64::from(*self), out);
            }
            fn kind() -> ValueKind {
                ValueKind::Integer { min: 0, max: <$t>::MAX as i128 }
            }
        }
    )*};
}

macro_rules! signed {
    ($($t:ty)*) => {$(
        impl XmlValue for $t {
            const ESCAPED: bool = false;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let digits = text.trim_ascii();
                digits.parse().map_err(|_| {
                    let limit = digits.parse::<i128>().is_ok_and(|n| n > 0).then_some(<$t>::MAX);
                    ValueError {
                        limit: limit.map(|n| n.unsigned_abs().into()),
                        ..ValueError::expected("integer value")
                    }
                })
            }
            fn write(&self, out: &mut String) {
                if *self < 0 {
                    out.push('-');
                }
                push_decimal(u64::from(self.unsigned_abs()), out);
            }
            fn kind() -> ValueKind {
                ValueKind::Integer { min: <$t>::MIN as i128, max: <$t>::MAX as i128 }
            }
        }
    )*};
}

unsigned!(u8 u16 u32 u64);
signed!(i8 i16 i32 i64);

fn push_decimal(mut n: u64, out: &mut String) {
    if n < 10 {
        return push_ascii(&[b'0' + n as u8], out);
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    push_ascii(&digits[at..], out);
}

/// Appends `0x` and at least `width` digits, without the detour over `format!`: addresses are the
/// most frequent numbers of all.
fn push_hex(n: u64, width: usize, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const ZEROS: &str = "0x0000000000000000";
    let needed = (64 - n.leading_zeros()).div_ceil(4).max(1);
    out.push_str(&ZEROS[..2 + width.saturating_sub(needed as usize).min(16)]);
    for digit in (0..needed).rev() {
        push_ascii(&[DIGITS[(n >> (4 * digit) & 15) as usize]], out);
    }
}

/// Appends digits. One after the other: they are few, and looking whether they are UTF-8 takes longer.
fn push_ascii(text: &[u8], out: &mut String) {
    for c in text {
        out.push(char::from(c & 0x7f));
    }
}

impl XmlValue for f64 {
    fn parse(text: &str) -> Result<Self, ValueError> {
        match text.trim_ascii().parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(n),
            _ => Err(ValueError::expected("a number")),
        }
    }
    fn write(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }
    fn kind() -> ValueKind {
        ValueKind::Named("number")
    }
}

/// A `bool` is written yes/no, like most of libvirt's.
impl XmlValue for bool {
    fn parse(text: &str) -> Result<Self, ValueError> {
        YesNo::parse(text).map(bool::from)
    }
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "yes" } else { "no" });
    }
    fn kind() -> ValueKind {
        YesNo::kind()
    }
}

macro_rules! switch {
    ($(#[$doc:meta])* $name:ident $on:ident $off:ident $on_text:literal $off_text:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, xml_derive::XmlEnum)]
        pub enum $name {
            #[doc = concat!("`", $on_text, "`")]
            $on,
            #[doc = concat!("`", $off_text, "`")]
            $off,
        }

        impl From<bool> for $name {
            fn from(on: bool) -> Self {
                if on { Self::$on } else { Self::$off }
            }
        }

        impl From<$name> for bool {
            fn from(v: $name) -> bool {
                v == $name::$on
            }
        }

        impl $name {
            /// Whether it is the positive one.
            pub fn is_set(self) -> bool {
                self.into()
            }
        }
    };
}

switch!(
    /// A switch written `yes` or `no`.
    YesNo Yes No "yes" "no"
);
switch!(
    /// A switch written `on` or `off`.
    OnOff On Off "on" "off"
);

/// A number written in hexadecimal with `0x` and at least `WIDTH` digits; read in decimal too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
pub struct Hex<T = u64, const WIDTH: usize = 0>(pub T);

impl<T, const WIDTH: usize> From<T> for Hex<T, WIDTH> {
    fn from(n: T) -> Self {
        Self(n)
    }
}

/// The number that up to 16 hexadecimal digits mean.
#[inline]
fn short_hex(digits: &[u8]) -> Option<u64> {
    let mut n = 0;
    for digit in digits {
        n = n << 4 | u64::from((*digit as char).to_digit(16)?);
    }
    if digits.is_empty() || digits.len() > 16 { None } else { Some(n) }
}

macro_rules! hex {
    ($($t:ty)*) => {$(
        impl<const WIDTH: usize> XmlValue for Hex<$t, WIDTH> {
            const ESCAPED: bool = false;

            fn parse(text: &str) -> Result<Self, ValueError> {
                // As libvirt and we write it.
                if let Some(digits) = text.as_bytes().strip_prefix(b"0x")
                    && let Some(Ok(n)) = short_hex(digits).map(<$t>::try_from)
                {
                    return Ok(Self(n));
                }
                let digits = text.trim_ascii();
                let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
                let n = match hex {
                    Some(h) if h.len() <= 16 => short_hex(h.as_bytes()).map(u128::from),
                    // from_str_radix would take a sign.
                    Some(h) if h.bytes().all(|c| c.is_ascii_hexdigit()) => {
                        u128::from_str_radix(h, 16).ok()
                    }
                    Some(_) => None,
                    None => match digits.strip_prefix('0') {
                        Some(octal) if octal.bytes().all(|c| c.is_ascii_digit()) && !octal.is_empty() => {
                            u128::from_str_radix(octal, 8).ok()
                        }
                        _ => digits.parse::<u128>().ok(),
                    },
                };
                match n.map(<$t>::try_from) {
                    Some(Ok(n)) => Ok(Self(n)),
                    Some(Err(_)) => Err(ValueError {
                        limit: Some(<$t>::MAX.into()),
                        ..ValueError::expected("non-negative integer value")
                    }),
                    None => Err(ValueError::expected("non-negative integer value")),
                }
            }
            fn write(&self, out: &mut String) {
                push_hex(u64::from(self.0), WIDTH, out);
            }
            fn kind() -> ValueKind {
                ValueKind::Hex { max: <$t>::MAX as i128 }
            }
        }
    )*};
}

hex!(u8 u16 u32 u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read() {
        let text = |v: &dyn Fn(&mut String)| {
            let mut out = String::new();
            v(&mut out);
            out
        };
        for (n, expected) in [(0, "0x0000"), (0x1f, "0x001f"), (0xabcd, "0xabcd")] {
            assert_eq!(text(&|o| Hex::<u16, 4>(n).write(o)), expected);
            assert_eq!(Hex::<u16, 4>::parse(expected), Ok(Hex(n)));
        }
        // Decimal and, after a zero, octal are read as well.
        for (read, n) in [("16", 16), ("010", 8), ("0", 0), ("00", 0), ("0557", 0x16f)] {
            assert_eq!(Hex::<u16, 4>::parse(read), Ok(Hex(n)), "{read}");
        }
        assert!(Hex::<u16, 4>::parse("09").is_err());
        assert_eq!(text(&|o| Hex::<u64>(0).write(o)), "0x0");
        assert_eq!(text(&|o| Hex::<u64>(u64::MAX).write(o)), "0xffffffffffffffff");
        assert_eq!(text(&|o| i64::MIN.write(o)), i64::MIN.to_string());
        assert_eq!(text(&|o| u64::MAX.write(o)), u64::MAX.to_string());
        assert_eq!(i32::parse(" -5 "), Ok(-5));
        for (got, expected) in [
            (i8::parse("200").map(i64::from), ("integer value", Some(127))),
            (i8::parse("x").map(i64::from), ("integer value", None)),
            (u8::parse("-1").map(i64::from), ("non-negative integer value", None)),
            (u8::parse("256").map(i64::from), ("non-negative integer value", Some(255))),
            (u8::parse("").map(i64::from), ("non-negative integer value", None)),
        ] {
            let (words, limit) = expected;
            assert_eq!(got, Err(ValueError { limit, ..ValueError::expected(words) }));
        }
        assert!(Hex::<u8>::parse("0x").is_err() && Hex::<u8>::parse("0x+1").is_err());
        assert!(f64::parse("inf").is_err());
    }
}
