//! Names as numbers, so that most names are compared by one instruction.
//!
//! A key holds a name of up to eight bytes whole; of a longer one it holds a mixture of both ends
//! and is marked, and the names themselves must be compared too where the keys are equal.

/// Marks the key of a name that is longer than its key. The last byte of a short name has this bit
/// only where it is not ASCII; such a name is compared too.
const PARTIAL: u64 = 1 << 63;

/// The key of a name; 0 for the empty one.
#[inline]
pub(crate) const fn key(name: &[u8]) -> u64 {
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), _) if name.len() == 8 => u64::from_le_bytes(*first),
        (Some(first), Some(last)) => {
            let mixed = u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29);
            mixed | PARTIAL
        }
        _ => {
            let (mut key, mut i) = (0, name.len());
            while i > 0 {
                i -= 1;
                key = key << 8 | name[i] as u64;
            }
            key
        }
    }
}

/// The key of the name at `start..end` of a text.
#[inline]
pub(crate) fn key_at(text: &[u8], start: usize, end: usize) -> u64 {
    let word = text.get(start..).and_then(|rest| rest.first_chunk::<8>());
    match (word, end.wrapping_sub(start)) {
        (Some(word), len @ 1..=8) => u64::from_le_bytes(*word) & (u64::MAX >> (64 - 8 * len)),
        _ => key(text.get(start..end).unwrap_or(&[])),
    }
}

/// Whether names with this key are one and the same name.
#[inline]
pub(crate) const fn is_whole(key: u64) -> bool {
    key & PARTIAL == 0
}

/// Spreads keys over the bits. Found by trying: with it all devices of a domain have bits of their
/// own, and nearly all other elements and attributes that stand side by side in libvirt's documents.
const SPREAD: u64 = 0xb29f_c286_7511_7d61;

/// One of 64 places for a key.
#[inline]
pub(crate) const fn slot(key: u64) -> usize {
    (key.wrapping_mul(SPREAD) >> 58) as usize
}

/// One of 64 bits for a key. An element keeps the bits of what it has, so that most questions for
/// what it has not (a typed reader asks for everything there might be) need no search.
#[inline]
pub(crate) const fn bit_of(key: u64) -> u64 {
    1 << slot(key)
}

/// The bit of a name.
#[inline]
pub(crate) const fn bit(name: &[u8]) -> u64 {
    bit_of(key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_wherever_the_name_stands() {
        for (name, whole) in [
            ("a", true),
            ("id", true),
            ("type", true),
            ("machine", true),
            ("function", true),
            ("größer", true),
            ("fernseä", false),
            ("controller", false),
            ("multifunction", false),
        ] {
            for after in ["", "=", "='and much more'"] {
                let text = format!("<{name}{after}");
                let found = key_at(text.as_bytes(), 1, 1 + name.len());
                assert_eq!(found, key(name.as_bytes()), "{text}");
            }
            assert_eq!(is_whole(key(name.as_bytes())), whole, "{name}");
        }
        assert_eq!(key(b""), 0);
        assert_eq!(key_at(b"abc", 1, 1), 0);
    }
}
