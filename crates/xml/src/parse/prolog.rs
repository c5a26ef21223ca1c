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
                2 => ["utf-8", "us-ascii", "ascii"].iter().any(|n| value.eq_ignore_ascii_case(n)),
                _ => matches!(value, "yes" | "no"),
            };
            if !good {
                let hint =
                    if rank == 2 { "Only UTF-8 is read; convert the text first." } else { "" };
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
