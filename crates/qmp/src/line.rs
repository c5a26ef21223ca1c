//! Splitting a byte stream into lines, each one JSON value.
//!
//! QEMU ends every message with CR LF and never breaks one over lines (unless asked for pretty
//! output, which we never do), so a line is a message.

use crate::ProtocolError;

/// The longest line accepted, in bytes. QEMU's largest usual answer (`query-qmp-schema`) is about
/// 200 KB; the bound only keeps a broken peer from filling our memory.
pub const MAX_LINE: usize = 64 << 20;

/// Collects bytes and hands out whole lines.
#[derive(Debug)]
pub struct LineSplitter {
    buffer: Vec<u8>,
    /// Bytes before this index were handed out already.
    start: usize,
    /// Bytes before this index hold no newline that was not handed out.
    scanned: usize,
    limit: usize,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self::new(MAX_LINE)
    }
}

impl LineSplitter {
    /// An empty splitter that refuses lines of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, scanned: 0, limit }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            self.scanned = 0;
            // A schema answer must not pin its size for the life of the guest.
            if self.buffer.capacity() > 64 << 10 {
                self.buffer.shrink_to(4 << 10);
            }
        } else if self.start > 64 << 10 && self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its line end; empty lines are skipped.
    ///
    /// # Errors
    /// [`ProtocolError::LineTooLong`] when more than the limit arrived without a line end.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ProtocolError> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(offset) = rest.iter().position(|&b| b == b'\n') else {
                self.scanned = self.buffer.len();
                if self.buffer.len() - self.start > self.limit {
                    return Err(ProtocolError::LineTooLong { limit: self.limit });
                }
                return Ok(None);
            };
            let (from, end) = (self.start, self.scanned + offset);
            self.start = end + 1;
            self.scanned = self.start;
            if end - from > self.limit {
                return Err(ProtocolError::LineTooLong { limit: self.limit });
            }
            // Looked at twice (here and below) because a borrow cannot cross the loop.
            if self.buffer.get(from..end).is_some_and(|line| !line.trim_ascii().is_empty()) {
                return Ok(self.buffer.get(from..end).map(<[u8]>::trim_ascii));
            }
        }
    }

    /// The bytes of an unfinished line.
    pub fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Forgets all of an unfinished line but its last `count` bytes.
    pub fn keep_tail(&mut self, count: usize) {
        let tail = self.buffer.len().saturating_sub(count).max(self.start);
        self.buffer.drain(..tail);
        self.start = 0;
        self.scanned = self.buffer.len();
        self.buffer.shrink_to(64 << 10);
    }

    /// Forgets everything received and not yet handed out.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
        self.scanned = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]], limit: usize) -> Result<Vec<String>, ProtocolError> {
        let mut splitter = LineSplitter::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            while let Some(line) = splitter.next_line()? {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        Ok(lines)
    }

    #[test]
    fn lines_survive_any_cut() {
        let text = b"{\"a\":1}\r\n\r\n  {}\n[]\r\nrest";
        let whole = split(&[text], 100).unwrap();
        assert_eq!(whole, ["{\"a\":1}", "{}", "[]"]);
        for cut in 0..text.len() {
            assert_eq!(split(&[&text[..cut], &text[cut..]], 100).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(split(&bytes, 100).unwrap(), whole);
    }

    #[test]
    fn endless_line_is_refused() {
        assert_eq!(split(&[b"aaaa", b"bbbb"], 7), Err(ProtocolError::LineTooLong { limit: 7 }));
        assert_eq!(split(&[b"aaaabbbb\n"], 7), Err(ProtocolError::LineTooLong { limit: 7 }));
        assert_eq!(split(&[b"aaaabbb\n"], 7).unwrap(), ["aaaabbb"]);
    }

    #[test]
    fn memory_is_given_back() {
        let mut splitter = LineSplitter::new(MAX_LINE);
        let mut big = vec![b'x'; 1 << 20];
        big.push(b'\n');
        splitter.push(&big);
        assert!(splitter.next_line().unwrap().is_some());
        assert!(splitter.next_line().unwrap().is_none());
        splitter.push(b"y\n");
        assert!(splitter.buffer.capacity() < 64 << 10);
        assert_eq!(splitter.next_line().unwrap(), Some(&b"y"[..]));
    }
}
