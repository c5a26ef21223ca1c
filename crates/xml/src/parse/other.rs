//! CDATA sections, comments and processing instructions.

use super::{Parser, Step};
use crate::chars::{CLASS, SPACE};
use crate::dom::{BORROWED, Kind};

impl<'s> Parser<'s> {
    pub(super) fn cdata(&mut self) -> Step {
        let start = self.pos;
        let Some(end) = self.find("]]>") else {
            return self.hard(start, self.b.len(), "CData section not finished", "");
        };
        self.check_chars(start + 9, end)?;
        self.pos = end + 3;
        let owned = self.normalized(start + 9, end);
        self.push(Kind::CData, start, start + 9, end, owned)?;
        Ok(())
    }

    pub(super) fn comment(&mut self) -> Step {
        let start = self.pos;
        self.pos += 4;
        let Some(end) = self.find("--") else {
            return self.hard(start, self.b.len(), "Comment not terminated", "");
        };
        if self.b.get(end + 2) != Some(&b'>') {
            let shown: String = self.slice(start, end).chars().take(50).collect();
            let message = format!("Double hyphen within comment: {shown}");
            self.soft(start, end, &message, "Inside a comment no '--' may stand.")?;
        }
        let from = self.pos;
        let end = self.find("-->").unwrap_or(end);
        self.check_chars(from, end)?;
        self.pos = (end + 3).min(self.b.len());
        if !self.open.is_empty() {
            let owned = self.normalized(from, end);
            self.push(Kind::Comment, start, from, end, owned)?;
        }
        Ok(())
    }

    pub(super) fn instruction(&mut self) -> Step {
        let start = self.pos;
        self.pos += 2;
        let b = self.name_end();
        let target = self.slice(self.pos, b);
        if target.is_empty() {
            return self.hard(start, start + 2, "xmlParsePI : no target name", "");
        }
        if target.eq_ignore_ascii_case("xml") {
            let message = "XML declaration allowed only at the start of the document";
            self.soft(start, b, message, "")?;
        }
        let Some(end) = self.find("?>") else {
            let message = format!("ParsePI: PI {target} never end ...");
            return self.hard(start, self.b.len(), &message, "");
        };
        if b != end && CLASS[self.b[b] as usize] & SPACE == 0 {
            let message = format!("ParsePI: PI {target} space expected");
            self.soft(b, b + 1, &message, "")?;
        }
        self.check_chars(b, end)?;
        self.pos = end + 2;
        if !self.open.is_empty() {
            self.push(Kind::Pi, start, start + 2, end, BORROWED)?;
        }
        Ok(())
    }

    pub(super) fn check_chars(&mut self, a: usize, b: usize) -> Step {
        let mut i = a;
        while i < b {
            let c = self.b[i];
            if (c < 0x20 && CLASS[c as usize] & SPACE == 0) || c == 0xEF {
                self.pos = i;
                self.odd_char()?;
                i = self.pos;
            } else {
                i += 1;
            }
        }
        Ok(())
    }

    /// Line ends are `\n` whatever the text has.
    pub(super) fn normalized(&mut self, a: usize, b: usize) -> u32 {
        let s = self.slice(a, b);
        if !s.contains('\r') {
            return BORROWED;
        }
        self.doc.owned.push(s.replace("\r\n", "\n").replace('\r', "\n").into());
        self.doc.owned.len() as u32 - 1
    }
}
