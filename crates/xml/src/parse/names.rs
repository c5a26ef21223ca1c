//! Names and their prefixes.

use super::Parser;
use crate::chars::{self, CLASS, NAME, NAME_START, ODD, PLAIN, is_name, is_name_start};
use crate::key::slot;

impl<'s> Parser<'s> {
    /// The key of the plain name that the first bytes of a word are, if they are one and less than
    /// eight. Documents have few different names, and those seen before need no second look.
    #[inline]
    pub(super) fn short_name(&mut self, word: u64, len: usize) -> Option<u64> {
        if !(1..8).contains(&len) {
            return None;
        }
        let key = word & ((1 << (8 * len)) - 1);
        // Zeros at the end would make it the key of a shorter name.
        if key >> (8 * (len - 1)) == 0 {
            return None;
        }
        let seen = self.seen.get_mut(slot(key))?;
        if *seen != key {
            let bytes = key.to_le_bytes();
            let name = bytes.get(..len)?;
            let starts = name.first().is_some_and(|c| CLASS[usize::from(*c)] & NAME_START != 0);
            if !starts || name.iter().any(|c| CLASS[usize::from(*c)] & PLAIN == 0) {
                return None;
            }
            *seen = key;
        }
        Some(key)
    }

    /// The end of the name that begins here if it is of the plain kind, ASCII without prefix: nearly
    /// every name is.
    #[inline]
    pub(super) fn plain_name(&self) -> Option<usize> {
        let end = chars::find(self.b, self.pos, PLAIN, false);
        let starts = CLASS[usize::from(self.peek())] & NAME_START != 0;
        let goes_on = self.b.get(end).is_some_and(|c| CLASS[*c as usize] & ODD != 0);
        if starts && !goes_on { Some(end) } else { None }
    }

    /// The end of the name that begins here; `pos` itself when none does.
    pub(super) fn name_end(&self) -> usize {
        let mut i = self.pos;
        match self.b.get(i) {
            Some(c) if CLASS[*c as usize] & NAME_START != 0 => i += 1,
            Some(c) if *c >= 0x80 => match self.char_at(i) {
                Some(c) if is_name_start(c) => i += c.len_utf8(),
                _ => return i,
            },
            _ => return i,
        }
        while let Some(c) = self.b.get(i) {
            if CLASS[*c as usize] & NAME != 0 {
                i += 1;
            } else if *c >= 0x80 {
                match self.char_at(i) {
                    Some(c) if is_name(c) => i += c.len_utf8(),
                    _ => break,
                }
            } else {
                break;
            }
        }
        i
    }

    pub(super) fn char_at(&self, i: usize) -> Option<char> {
        self.doc.source.get(i..)?.chars().next()
    }

    /// Length of the prefix with its colon; 0 for none. A name with more than one colon, or one at
    /// an edge, is taken as it stands, without prefix.
    pub(super) fn prefix(&mut self, a: usize, b: usize) -> u16 {
        let bytes = self.b.get(a..b).unwrap_or(&[]);
        let Some(i) = bytes.iter().position(|c| *c == b':') else { return 0 };
        let name = self.slice(a, b);
        let local = &name[i + 1..];
        let bad_local = match local.chars().next() {
            None => true,
            Some(c) if c.is_ascii() => CLASS[c as usize] & NAME_START == 0,
            Some(c) => !is_name_start(c),
        };
        if i == 0 || bad_local || local.contains(':') || i > 1000 {
            let message = format!("Failed to parse QName '{name}'");
            self.warn(a, b, message, "A name has at most one colon, between prefix and name.");
            return 0;
        }
        i as u16 + 1
    }
}
