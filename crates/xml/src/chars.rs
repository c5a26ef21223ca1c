//! Which characters XML 1.0 allows where.

/// A byte that ends a plain run of text or of an attribute value.
pub(crate) const TEXT_STOP: u8 = 1;
/// A byte that ends a plain run of an attribute value.
pub(crate) const VALUE_STOP: u8 = 2;
/// A byte that may stand in a name after the first.
pub(crate) const NAME: u8 = 4;
/// A byte that may begin a name.
pub(crate) const NAME_START: u8 = 8;
/// White space.
pub(crate) const SPACE: u8 = 16;
/// White space that stays as it is: all but the carriage return.
pub(crate) const BLANK: u8 = 32;
/// A byte of a name that needs no second look: [`NAME`] without the colon.
pub(crate) const PLAIN: u8 = 64;
/// A byte that may go on a name, but not a plain one: the colon and all beyond ASCII.
pub(crate) const ODD: u8 = 128;

/// The classes of each byte. Bytes from 0x80 are checked as characters where they begin names.
pub(crate) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut t = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b < 0x20 {
            t[i] |= VALUE_STOP;
            if b != b'\t' && b != b'\n' {
                t[i] |= TEXT_STOP;
            }
        }
        if matches!(b, b'<' | b'&') {
            t[i] |= TEXT_STOP | VALUE_STOP;
        }
        if matches!(b, b'\'' | b'"') {
            t[i] |= VALUE_STOP;
        }
        if b == b']' {
            t[i] |= TEXT_STOP;
        }
        // 0xEF begins U+FFFE and U+FFFF, which XML forbids.
        if b == 0xEF {
            t[i] |= TEXT_STOP | VALUE_STOP;
        }
        if b.is_ascii_alphabetic() || matches!(b, b'_' | b':') {
            t[i] |= NAME | NAME_START;
        }
        if b.is_ascii_digit() || matches!(b, b'-' | b'.') {
            t[i] |= NAME;
        }
        if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
            t[i] |= SPACE;
        }
        if matches!(b, b' ' | b'\t' | b'\n') {
            t[i] |= BLANK;
        }
        if t[i] & NAME != 0 && b != b':' {
            t[i] |= PLAIN;
        }
        if b == b':' || b >= 0x80 {
            t[i] |= ODD;
        }
        i += 1;
    }
    t
}

/// The place of the first byte from `from` on that is of one of these classes (`of` is true), or of
/// none of them; the end of the text where there is no such byte. Eight bytes at a time: this is
/// where reading a document spends its time.
#[inline]
pub(crate) fn find(text: &[u8], from: usize, classes: u8, of: bool) -> usize {
    let found = |c: &u8| (CLASS[usize::from(*c)] & classes != 0) == of;
    let mut at = from;
    while let Some(eight) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        if let Some(i) = eight.iter().position(found) {
            return at + i;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or(&[]);
    at + rest.iter().position(found).unwrap_or(rest.len())
}

/// Eight bytes of a text as a number, the first one lowest.
#[inline]
pub(crate) fn word(text: &[u8], from: usize) -> Option<u64> {
    let eight = text.get(from..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*eight))
}

/// A word of eight bytes of one value.
const fn all(byte: u8) -> u64 {
    u64::MAX / 255 * byte as u64
}

/// Marks the bytes of a word that have this value, by their highest bits. Behind the first mark there
/// may be false ones.
#[inline]
const fn mark(word: u64, byte: u8) -> u64 {
    let zero = word ^ all(byte);
    zero.wrapping_sub(all(1)) & !zero & all(0x80)
}

/// The place of the first mark in a word, 8 without one.
#[inline]
const fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// How many bytes of a word stand before the first `=`.
#[inline]
pub(crate) const fn before_equals(word: u64) -> usize {
    first(mark(word, b'='))
}

/// How many bytes of a word stand before the first that ends an element's name in a start tag.
#[inline]
pub(crate) const fn before_name_end(word: u64) -> usize {
    first(mark(word, b'>') | mark(word, b' ') | mark(word, b'/'))
}

/// The place of the byte that ends an attribute's plain value: the first of [`VALUE_STOP`].
#[inline]
pub(crate) fn value_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = word(text, at) {
        // Of a byte beyond ASCII the table decides. For all others the highest bit is free, and is
        // set where the subtraction goes below zero: `&` and `'` differ in their lowest bit.
        let marks = ((word | all(1)) ^ all(b'\'')).wrapping_sub(all(1))
            | (word ^ all(b'"')).wrapping_sub(all(1))
            | (word ^ all(b'<')).wrapping_sub(all(1))
            | word.wrapping_sub(all(b' '))
            | word;
        at += first(marks & all(0x80));
        if marks & all(0x80) != 0 {
            break;
        }
    }
    match text.get(at) {
        Some(c) if CLASS[usize::from(*c)] & VALUE_STOP != 0 => at,
        _ => find(text, at, VALUE_STOP, true),
    }
}

/// Whether XML 1.0 allows the character at all.
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Whether a character outside ASCII may begin a name.
pub(crate) fn is_name_start(c: char) -> bool {
    matches!(c,
        '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}'
        | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// Whether a character outside ASCII may stand inside a name.
pub(crate) fn is_name(c: char) -> bool {
    is_name_start(c) || matches!(c, '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_the_table_says() {
        // Every byte at every place of a word, behind and before others.
        for byte in 0..=255u8 {
            for place in 0..20 {
                let mut text = b"abcdefgh\xc3\xa4 -_.09~!#%;=]".to_vec();
                if let Some(at) = text.get_mut(place) {
                    *at = byte;
                }
                let expected = text.iter().position(|c| CLASS[usize::from(*c)] & VALUE_STOP != 0);
                let expected = expected.unwrap_or(text.len());
                assert_eq!(value_end(&text, 0), expected, "{text:?}");
                assert_eq!(find(&text, 0, VALUE_STOP, true), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn names_end_before_the_first_mark() {
        for (text, equals, end) in [
            ("type='a' ", 4, 8),
            ("function=", 8, 8),
            ("a='b'/><", 1, 5),
            ("acpi/> <", 8, 4),
            ("========", 0, 8),
            ("os>     ", 8, 2),
        ] {
            let word = word(text.as_bytes(), 0).unwrap_or_default();
            assert_eq!((before_equals(word), before_name_end(word)), (equals, end), "{text}");
        }
    }
}
