//! What stands around the root element.

use super::{NO_START_TAG, Parser, Step};

impl<'s> Parser<'s> {
    pub(super) fn document(&mut self) -> Step {
        if self.starts("\u{FEFF}") {
            self.pos += 3;
        }
        if self.starts("<?xml") && self.b.get(self.pos + 5).is_some_and(u8::is_ascii_whitespace) {
            self.declaration()?;
        } else if self.b.len() <= self.pos {
            return self.hard(self.pos, self.pos, "Document is empty", "");
        }
        self.misc()?;
        if self.peek() != b'<' {
            return self.hard(self.pos, self.pos, NO_START_TAG, "");
        }
        self.doc.root = self.doc.nodes.len() as u32;
        self.content()?;
        self.misc()?;
        if self.pos < self.b.len() {
            let at = self.pos;
            return self.hard(
                at,
                at,
                "Extra content at the end of the document",
                "A document has one root element; nothing but comments may follow it.",
            );
        }
        Ok(())
    }

    /// `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`.
    pub(super) fn declaration(&mut self) -> Step {
        let start = self.pos;
        let Some(end) = self.find("?>") else {
            return self.hard(start, start + 5, "parsing XML declaration: '?>' expected", "");
        };
        self.pos += 5;
        let mut seen = 0;
        loop {
            let spaced = self.skip_space();
            if self.pos >= end {
                break;
            }
            let at = self.pos;
            let name_end = self.name_end();
            let name = self.slice(at, name_end);
            self.pos = name_end;
            self.skip_space();
            let rank = match name {
                "version" => 1,
                "encoding" => 2,
                "standalone" => 3,
                _ => 0,
            };
            if !spaced || rank <= seen || (seen == 0 && rank != 1) || self.peek() != b'=' {
                return self.hard(at, end, "Malformed declaration expecting version", "");
            }
            seen = rank;
            self.pos += 1;
            self.skip_space();
            let quote = self.peek();
            let from = self.pos + 1;
            let close = self.b.get(from..end).and_then(|r| r.iter().position(|c| *c == quote));
            let (Some(len), b'\'' | b'"') = (close, quote) else {
                return self.hard(self.pos, end, "AttValue: \" or ' expected", "");
            };
            let value = self.slice(from, from + len);
            let good = match rank {
                1 => value
                    .strip_prefix("1.")
                    .is_some_and(|r| !r.is_empty() && r.bytes().all(|c| c.is_ascii_digit())),
                2 => is_encoding(value),
                _ => matches!(value, "yes" | "no"),
            };
            if !good {
                let hint =
                    if rank == 2 { "Say UTF-8, or nothing: texts arrive in UTF-8." } else { "" };
                let quote = if rank == 2 { "" } else { "'" };
                let message = format!("Unsupported {name} {quote}{value}{quote}");
                self.soft(from, from + len + 1, &message, hint)?;
            }
            self.pos = from + len + 1;
        }
        if seen == 0 {
            return self.hard(start, end, "Malformed declaration expecting version", "");
        }
        self.pos = end + 2;
        Ok(())
    }

    /// Comments, instructions and white space outside the root.
    pub(super) fn misc(&mut self) -> Step {
        loop {
            self.skip_space();
            if self.starts("<!--") {
                self.comment()?;
            } else if self.starts("<?") {
                self.instruction()?;
            } else if self.starts("<!DOCTYPE") {
                self.refuse_doctype()?;
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn refuse_doctype<T>(&mut self) -> Step<T> {
        let at = self.pos;
        self.hard(
            at,
            at + 9,
            "Document type declarations are not accepted",
            "Remove the <!DOCTYPE …> and write out what its entities stand for.",
        )
    }
}

/// Whether `name` is the name of an encoding. Which one is declared changes nothing: texts come as
/// UTF-8, and what made them (.NET's writer says "utf-16" of every string) often declares another.
/// Libvirt reads them in the same way.
fn is_encoding(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let number = |prefix, known: std::ops::RangeInclusive<u32>| {
        name.strip_prefix(prefix)
            .filter(|rest| rest.bytes().all(|c| c.is_ascii_digit()))
            .and_then(|rest| rest.parse().ok())
            .is_some_and(|n| known.contains(&n))
    };
    // There is no part 12.
    (number("iso-8859-", 1..=16) && name != "iso-8859-12")
        || number("windows-", 1250..=1258)
        || [
            "utf-8",
            "utf8",
            "us-ascii",
            "ascii",
            "utf-16",
            "utf-16le",
            "utf-16be",
            "utf16",
            "ucs-4",
            "ucs-2",
            "utf-32",
            "koi8-r",
            "koi8-u",
            "gb2312",
            "gbk",
            "gb18030",
            "big5",
            "euc-jp",
            "euc-kr",
            "shift_jis",
            "iso-2022-jp",
        ]
        .contains(&name.as_str())
}
