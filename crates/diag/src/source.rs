//! The text a diagnostic points into: from byte offsets to lines and columns, only when asked.

/// A text with a name.
#[derive(Clone, Copy, Debug)]
pub struct SourceText<'a> {
    /// What to call it: a file name, or "(domain_definition)".
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

/// A place in a text, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl<'a> SourceText<'a> {
    /// Names a text.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text }
    }

    /// The nearest offset at or before `offset` where a character begins.
    fn boundary(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        (0..=end).rev().find(|i| self.text.is_char_boundary(*i)).unwrap_or(0)
    }

    /// The place of a byte.
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text[..self.boundary(offset)];
        let line = 1 + before.bytes().filter(|c| *c == b'\n').count();
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        Position { line, column: 1 + before[start..].chars().count() }
    }

    /// The line a byte is in, without its end, and the byte's offset within the line. A byte past
    /// the last line break belongs to the last line that has text.
    pub fn line_at(&self, offset: usize) -> (&'a str, usize) {
        let at = self.boundary(offset);
        let start = self.text[..at].rfind('\n').map_or(0, |i| i + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |i| at + i);
        (self.text[start..end].trim_end_matches('\r'), at - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let s = SourceText::new("x", "aé\r\nbc\n");
        for (offset, line, column, text) in [
            (0, 1, 1, "aé"),
            (2, 1, 2, "aé"),
            (3, 1, 3, "aé"),
            (5, 2, 1, "bc"),
            (7, 2, 3, "bc"),
            (8, 3, 1, ""),
            (99, 3, 1, ""),
        ] {
            assert_eq!(s.position(offset), Position { line, column }, "{offset}");
            assert_eq!(s.line_at(offset).0, text, "{offset}");
        }
    }
}
