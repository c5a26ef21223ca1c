//! The frame: a length word, a header of six words, a payload.
//!
//! Everything is big-endian. The length counts itself. Reading is incremental ([`FrameBuffer`]) and never trusts a
//! length further than the bytes that came: memory grows with what was received, not with what was announced.

use std::ops::Range;

pub use protocol::message::{
    HEADER, Header, Kind, LENGTH_WORD, MAX_BODY, MAX_FDS, MAX_FRAME, MAX_PAYLOAD, MAX_STREAM_DATA,
    PROLOGUE, Status,
};

/// A frame the peer must not send. There is no answer to it; the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The length word is below a header's size or above the limit.
    #[error("frame length {0} is outside {PROLOGUE}..={MAX_FRAME}")]
    Length(u32),
    /// A frame with descriptors has no room for their count.
    #[error("frame of type {0} ends before its descriptor count")]
    NoFdCount(u32),
    /// More descriptors than allowed.
    #[error("frame announces {0} file descriptors; at most {MAX_FDS} are allowed")]
    TooManyFds(u32),
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

/// The total size of the frame that starts at `bytes`, once its length word is there.
pub fn announced(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = word(bytes, 0) else {
        return Ok(None);
    };
    let size = length as usize;
    if !(PROLOGUE..=MAX_FRAME).contains(&size) {
        return Err(FrameError::Length(length));
    }
    Ok(Some(size))
}

/// One frame found in a buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its header.
    pub header: Header,
    /// Where its payload lies, after the descriptor count.
    pub payload: Range<usize>,
    /// How many descriptors (each with one byte of data) follow the frame.
    pub fds: usize,
    /// All of its bytes, those that accompany descriptors not included.
    pub size: usize,
}

impl Found {
    /// What the frame takes from the stream of bytes, those that accompany descriptors included.
    pub fn taken(&self) -> usize {
        self.size + self.fds
    }
}

/// Looks for a complete frame at the start of `bytes`. The one-byte messages that carry a frame's descriptors
/// belong to it: the frame is complete only when they are there too.
pub fn find(bytes: &[u8]) -> Result<Option<Found>, FrameError> {
    let Some(size) = announced(bytes)? else {
        return Ok(None);
    };
    let (Some(program), Some(version), Some(procedure), Some(kind), Some(serial), Some(status)) = (
        word(bytes, 4),
        word(bytes, 8),
        word(bytes, 12),
        word(bytes, 16),
        word(bytes, 20),
        word(bytes, 24),
    ) else {
        return Ok(None);
    };
    let header = Header {
        program,
        version,
        procedure: procedure as i32,
        kind: Kind(kind),
        serial,
        status: Status(status),
    };
    let mut start = PROLOGUE;
    let mut fds = 0;
    if header.kind.has_fds() {
        if size < PROLOGUE + 4 {
            return Err(FrameError::NoFdCount(kind));
        }
        let Some(count) = word(bytes, PROLOGUE) else {
            return Ok(None);
        };
        fds = count as usize;
        if fds > MAX_FDS {
            return Err(FrameError::TooManyFds(count));
        }
        start += 4;
    }
    if bytes.len() < size + fds {
        return Ok(None);
    }
    Ok(Some(Found { header, payload: start..size, fds, size }))
}

/// Appends a whole frame.
pub fn put(out: &mut Vec<u8>, header: &Header, payload: &[u8]) {
    out.reserve(PROLOGUE + payload.len());
    out.extend_from_slice(&header.prologue(payload.len()));
    out.extend_from_slice(payload);
}

/// Begins a frame whose payload will be appended by others; give the result to [`finish`].
pub fn begin(out: &mut Vec<u8>, header: &Header) -> usize {
    let start = out.len();
    out.extend_from_slice(&header.prologue(0));
    start
}

/// Writes the length of the frame begun at `start`, which ends where `out` ends. Returns false, with the frame
/// taken back, when the payload is too long for the wire.
#[must_use]
pub fn finish(out: &mut Vec<u8>, start: usize) -> bool {
    let size = out.len() - start;
    if size > MAX_FRAME {
        out.truncate(start);
        return false;
    }
    out[start..start + LENGTH_WORD].copy_from_slice(&(size as u32).to_be_bytes());
    true
}

/// Bytes received and not yet taken as frames. Costs nothing while empty.
#[derive(Default, Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl FrameBuffer {
    /// Nothing received and nothing pending?
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The bytes not yet taken.
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 && self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops `count` bytes from the front, those of a frame that [`find`] found in [`Self::pending`].
    pub fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.bytes.len());
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Feeds arbitrary bytes, in pieces, to the frame reader and checks its promises. For fuzzing.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let mut buffer = FrameBuffer::default();
    let mut pushed = 0;
    let mut taken = 0;
    let step = usize::from(data.first().copied().unwrap_or(1) % 64) + 1;
    for piece in data.chunks(step) {
        buffer.push(piece);
        pushed += piece.len();
        loop {
            match find(buffer.pending()) {
                Ok(Some(found)) => {
                    let payload = &buffer.pending()[found.payload.clone()];
                    if found.fds == 0 && !found.header.kind.has_fds() {
                        let mut again = Vec::new();
                        put(&mut again, &found.header, payload);
                        assert_eq!(again, buffer.pending()[..found.size]);
                    }
                    taken += found.taken();
                    buffer.take(found.taken());
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert_eq!(buffer.pending().len(), pushed - taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Header = Header {
        program: 0x2000_8086,
        version: 1,
        procedure: -3,
        kind: Kind::CALL,
        serial: 7,
        status: Status::OK,
    };

    fn check(bytes: &[u8], expected: Result<Option<(usize, usize)>, FrameError>) {
        let got = find(bytes).map(|f| f.map(|f| (f.payload.len(), f.fds)));
        assert_eq!(got, expected, "{bytes:?}");
    }

    #[test]
    fn lengths() {
        check(&[], Ok(None));
        check(&[0, 0, 0], Ok(None));
        for bad in [0_u32, 3, 4, 27, 33_554_437, u32::MAX] {
            check(&bad.to_be_bytes(), Err(FrameError::Length(bad)));
        }
        check(&33_554_436_u32.to_be_bytes(), Ok(None));
        check(&28_u32.to_be_bytes(), Ok(None));
    }

    #[test]
    fn round_trip_and_every_cut() {
        let mut bytes = Vec::new();
        put(&mut bytes, &CALL, b"hello!");
        for cut in 0..bytes.len() {
            check(&bytes[..cut], Ok(None));
        }
        check(&bytes, Ok(Some((6, 0))));
        assert_eq!(find(&bytes).unwrap().unwrap().header, CALL);
    }

    #[test]
    fn descriptors_are_part_of_the_frame() {
        let header = Header { kind: Kind::CALL_WITH_FDS, ..CALL };
        let mut bytes = Vec::new();
        put(&mut bytes, &header, &[0, 0, 0, 2, 9, 9, 9, 9]);
        check(&bytes, Ok(None));
        bytes.extend([0, 0]);
        check(&bytes, Ok(Some((4, 2))));

        let mut bytes = Vec::new();
        put(&mut bytes, &header, &[0, 0, 0, 33]);
        check(&bytes, Err(FrameError::TooManyFds(33)));
        let mut bytes = Vec::new();
        put(&mut bytes, &header, &[]);
        check(&bytes, Err(FrameError::NoFdCount(4)));
    }

    #[test]
    fn begin_and_finish_give_the_same_bytes() {
        let mut direct = Vec::new();
        put(&mut direct, &CALL, b"abcd");
        let mut steps = vec![];
        let start = begin(&mut steps, &CALL);
        steps.extend_from_slice(b"abcd");
        assert!(finish(&mut steps, start));
        assert_eq!(direct, steps);
    }

    #[test]
    fn too_long_a_payload_is_taken_back() {
        let mut out = vec![1, 2, 3];
        let start = begin(&mut out, &CALL);
        out.resize(out.len() + MAX_PAYLOAD + 1, 0);
        assert!(!finish(&mut out, start));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn an_emptied_buffer_holds_no_memory() {
        let mut bytes = Vec::new();
        put(&mut bytes, &CALL, &vec![0; 1 << 20]);
        let mut buffer = FrameBuffer::default();
        for piece in bytes.chunks(1000) {
            buffer.push(piece);
        }
        let found = find(buffer.pending()).unwrap().unwrap();
        buffer.take(found.taken());
        assert!(buffer.is_empty());
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn fuzz_entry_accepts_anything() {
        let mut bytes = Vec::new();
        put(&mut bytes, &CALL, b"abcd");
        put(&mut bytes, &CALL, b"");
        fuzz_one(&bytes);
        fuzz_one(b"\x00\x00\x00\x03");
        fuzz_one(&[0xff; 100]);
    }
}
