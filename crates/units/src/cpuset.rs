//! Sets of small numbers: CPUs, NUMA nodes, I/O threads.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A set of numbers below [`CpuSet::LIMIT`], written like `0-3,^2,5`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct CpuSet {
    /// Bit `i % 64` of word `i / 64` stands for `i`; no zero words at the end.
    words: Vec<u64>,
}

impl CpuSet {
    /// Numbers in a set lie below this (libvirt's mask in XML has 1024 bits; the wire allows 16384).
    pub const LIMIT: usize = 16384;

    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers from 0 up to, not including, `n`.
    pub fn first(n: usize) -> Self {
        (0..n).collect()
    }

    /// Adds a number; those from [`CpuSet::LIMIT`] are ignored, and `false` returned.
    pub fn insert(&mut self, i: usize) -> bool {
        if i >= Self::LIMIT {
            return false;
        }
        if self.words.len() <= i / 64 {
            self.words.resize(i / 64 + 1, 0);
        }
        self.words[i / 64] |= 1 << (i % 64);
        true
    }

    /// Takes a number out.
    pub fn remove(&mut self, i: usize) {
        if let Some(w) = self.words.get_mut(i / 64) {
            *w &= !(1 << (i % 64));
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Whether the number is in the set.
    pub fn contains(&self, i: usize) -> bool {
        self.words.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many numbers are in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                (left != 0).then(|| {
                    left &= left - 1;
                    i * 64 + bit
                })
            })
        })
    }

    /// The greatest number.
    pub fn max(&self) -> Option<usize> {
        let last = self.words.last()?;
        Some(self.words.len() * 64 - 1 - last.leading_zeros() as usize)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
        let mut set = Self { words };
        set.trim();
        set
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether all of it is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|i| other.contains(i))
    }

    /// The mask as bytes, the number 0 in the lowest bit of the first: `len` bytes, or as many as
    /// are needed. Numbers beyond `len` bytes are cut off.
    pub fn to_le_bytes(&self, len: Option<usize>) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.resize(len.unwrap_or(self.max().map_or(0, |m| m / 8 + 1)), 0);
        bytes
    }

    /// The set of a mask (see [`CpuSet::to_le_bytes`]).
    pub fn from_le_bytes(bytes: &[u8]) -> Self {
        let bits = bytes.iter().take(Self::LIMIT / 8).enumerate();
        bits.flat_map(|(i, b)| (0..8).filter(move |k| b >> k & 1 == 1).map(move |k| i * 8 + k))
            .collect()
    }
}

impl FromIterator<usize> for CpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut set = Self::new();
        for i in numbers {
            set.insert(i);
        }
        set
    }
}

impl FromStr for CpuSet {
    type Err = ParseError;

    /// Numbers, ranges `a-b`, and exclusions `^a` from what stands before, with commas between;
    /// spaces do not count, nor does a comma at the end. Nothing at all is no set.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError { expected: "a list of numbers and ranges like 0-3,^2,5" };
        let number = |t: &str| {
            let t = t.trim_ascii();
            let digits = !t.is_empty() && t.bytes().all(|c| c.is_ascii_digit());
            t.parse().ok().filter(|n| digits && *n < Self::LIMIT).ok_or(error)
        };
        let mut set = Self::new();
        let text = text.trim_ascii();
        for part in text.strip_suffix(',').unwrap_or(text).split(',') {
            let part = part.trim_ascii();
            if let Some(out) = part.strip_prefix('^') {
                let i: usize = number(out)?;
                set.remove(i);
            } else if let Some((a, b)) = part.split_once('-') {
                let (a, b) = (number(a)?, number(b)?);
                if a > b {
                    return Err(error);
                }
                for i in a..=b {
                    set.insert(i);
                }
            } else {
                set.insert(number(part)?);
            }
        }
        Ok(set)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.iter().peekable();
        let mut first = true;
        while let Some(start) = numbers.next() {
            let mut end = start;
            while numbers.next_if_eq(&(end + 1)).is_some() {
                end += 1;
            }
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            if start == end {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}-{end}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for (text, expected) in [
            ("0-3,^2,5", Some("0-1,3,5")),
            (" 1 , 3 - 4 ", Some("1,3-4")),
            ("5,4,3", Some("3-5")),
            ("0-63,64,127-128", Some("0-64,127-128")),
            ("1,^1", Some("")),
            ("^1", Some("")),
            ("", None),
            ("1,", Some("1")),
            ("1,,", None),
            (",", None),
            ("1 2", None),
            ("3-1", None),
            ("a", None),
            ("+1", None),
            ("16384", None),
            ("99999999999999999999", None),
        ] {
            let got = text.parse::<CpuSet>().ok().map(|s| s.to_string());
            assert_eq!(got.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn masks_are_little_endian() {
        let set: CpuSet = [0, 3, 9, 70].into_iter().collect();
        let bytes = set.to_le_bytes(None);
        assert_eq!(bytes, [0x09, 0x02, 0, 0, 0, 0, 0, 0, 0x40]);
        assert_eq!(CpuSet::from_le_bytes(&bytes), set);
        assert_eq!(set.to_le_bytes(Some(2)), [0x09, 0x02]);
        assert_eq!(CpuSet::new().to_le_bytes(Some(1)), [0]);
        assert_eq!((set.len(), set.max()), (4, Some(70)));
    }

    #[test]
    fn sets_that_hold_the_same_are_equal() {
        let mut set = CpuSet::first(70);
        for i in 3..70 {
            set.remove(i);
        }
        assert_eq!(set, CpuSet::first(3));
        assert!(set.is_subset(&CpuSet::first(4)) && !CpuSet::first(4).is_subset(&set));
        assert_eq!(set.intersection(&[2, 90].into_iter().collect()).to_string(), "2");
        assert_eq!(set.union(&[90].into_iter().collect()).to_string(), "0-2,90");
    }
}
