//! Text, attribute values, and references in both.

use super::{Parser, Step};
use crate::chars::{self, BLANK, CLASS, SPACE, TEXT_STOP, is_char};
use crate::dom::{BORROWED, Kind};

/// The length of the white space that stays as it is at the start of a text. Nearly all of it is a
/// line break and the spaces before a tag, which are counted eight at a time.
#[inline]
fn blank_len(text: &[u8]) -> usize {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    let mut len = usize::from(text.first() == Some(&b'\n'));
    while let Some(word) = chars::word(text, len) {
        let others = word ^ SPACES;
        len += others.trailing_zeros() as usize / 8;
        if others != 0 {
            break;
        }
    }
    match text.get(len) {
        Some(c) if CLASS[usize::from(*c)] & BLANK == 0 => len,
        _ => chars::find(text, len, BLANK, false),
    }
}

impl<'s> Parser<'s> {
    /// An attribute's value up to its quote, which is left unread.
    pub(super) fn value(&mut self, quote: u8) -> Step<Option<String>> {
        let from = self.pos;
        let mut out: Option<String> = None;
        let mut plain = from;
        loop {
            self.pos = chars::value_end(self.b, self.pos);
            let Some(&c) = self.b.get(self.pos) else {
                return self.hard(
                    from - 1,
                    from,
                    "AttValue: ' expected",
                    "The quote is never closed.",
                );
            };
            if c == quote {
                break;
            }
            match c {
                b'\'' | b'"' => self.pos += 1,
                b'&' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    let c = self.reference()?;
                    out.push(c);
                    plain = self.pos;
                }
                b'\t' | b'\n' | b'\r' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    out.push(' ');
                    self.pos += if self.starts("\r\n") { 2 } else { 1 };
                    plain = self.pos;
                }
                b'<' => {
                    let at = self.pos;
                    self.pos += 1;
                    let hint = "Write &lt;, or close the value's quote before.";
                    return self.hard(
                        at,
                        at,
                        "Unescaped '<' not allowed in attributes values",
                        hint,
                    );
                }
                _ => self.odd_char()?,
            }
        }
        if let Some(out) = &mut out {
            out.push_str(self.doc.source.get(plain..self.pos).unwrap_or(""));
        }
        Ok(out)
    }

    /// A byte that may begin a forbidden character. Steps over it.
    pub(super) fn odd_char(&mut self) -> Step {
        let at = self.pos;
        match self.char_at(at) {
            Some(c) if is_char(c) => {
                self.pos += c.len_utf8();
                Ok(())
            }
            c => {
                let c = c.unwrap_or('\0');
                self.pos += c.len_utf8();
                let message = format!("PCDATA invalid Char value {}", c as u32);
                self.soft(at, self.pos, &message, "XML cannot hold this character.")
            }
        }
    }

    /// A character reference or predefined entity.
    pub(super) fn reference(&mut self) -> Step<char> {
        let start = self.pos;
        self.pos += 1;
        if self.peek() == b'#' {
            self.pos += 1;
            let hex = self.peek() == b'x';
            self.pos += usize::from(hex);
            let from = self.pos;
            let mut n: u32 = 0;
            while let Some(d) = (self.peek() as char).to_digit(if hex { 16 } else { 10 }) {
                n = n.saturating_mul(if hex { 16 } else { 10 }).saturating_add(d);
                self.pos += 1;
            }
            if self.peek() != b';' || self.pos == from {
                let message = if hex {
                    "CharRef: invalid hexadecimal value"
                } else {
                    "CharRef: invalid decimal value"
                };
                self.soft(start, self.pos, message, "Write it as &#65; or &#x41;.")?;
                return Ok(' ');
            }
            self.pos += 1;
            return match char::from_u32(n) {
                Some(c) if is_char(c) => Ok(c),
                _ => {
                    let message = format!("xmlParseCharRef: invalid xmlChar value {n}");
                    self.soft(start, self.pos, &message, "XML cannot hold this character.")?;
                    Ok(' ')
                }
            };
        }
        let end = self.name_end();
        let name = self.slice(self.pos, end);
        if name.is_empty() {
            self.soft(
                start,
                start + 1,
                "xmlParseEntityRef: no name",
                "Write a literal '&' as &amp;.",
            )?;
            return Ok('&');
        }
        self.pos = end;
        if self.peek() != b';' {
            let hint = "Write a literal '&' as &amp;.";
            self.soft(start, end, "EntityRef: expecting ';'", hint)?;
            return Ok('&');
        }
        self.pos += 1;
        Ok(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let message = format!("Entity '{name}' not defined");
                let hint = "Known are &lt; &gt; &amp; &quot; &apos; and &#number;.";
                self.soft(start, self.pos, &message, hint)?;
                '&'
            }
        })
    }

    pub(super) fn text(&mut self) -> Step {
        let start = self.pos;
        let mut out: Option<String> = None;
        let mut plain = start;
        // Most text is the white space between two tags.
        let rest = self.b.get(start..).unwrap_or(&[]);
        let blank = blank_len(rest);
        if rest.get(blank) == Some(&b'<') {
            self.pos = start + blank;
            if self.ignorable() {
                return Ok(());
            }
            self.pos = start;
        }
        loop {
            self.pos = chars::find(self.b, self.pos, TEXT_STOP, true);
            let Some(&c) = self.b.get(self.pos) else { break };
            match c {
                b'<' => break,
                b'&' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    let c = self.reference()?;
                    out.push(c);
                    plain = self.pos;
                }
                b'\r' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    out.push('\n');
                    self.pos += if self.starts("\r\n") { 2 } else { 1 };
                    plain = self.pos;
                }
                b']' => {
                    if self.starts("]]>") {
                        let at = self.pos;
                        let message = "Sequence ']]>' not allowed in content";
                        self.soft(at, at, message, "Write ]]&gt;.")?;
                    }
                    self.pos += 1;
                }
                _ => self.odd_char()?,
            }
        }
        let rest = self.slice(plain, self.pos);
        let owned = match out {
            None => BORROWED,
            Some(mut s) => {
                s.push_str(rest);
                if self.peek() == b'<'
                    && s.bytes().all(|c| CLASS[c as usize] & SPACE != 0)
                    && !self.b[start..self.pos].contains(&b'&')
                    && self.ignorable()
                {
                    return Ok(());
                }
                self.doc.owned.push(s.into());
                self.doc.owned.len() as u32 - 1
            }
        };
        self.push(Kind::Text, start, start, self.pos, owned)?;
        Ok(())
    }

    /// Whether white space that ends here, before a tag, is only layout.
    pub(super) fn ignorable(&self) -> bool {
        let Some(o) = self.open.last() else { return true };
        if !o.has_child {
            return self.b.get(self.pos + 1) != Some(&b'/');
        }
        !(o.last_is_text || o.first_is_text)
    }
}
