//! What a frame consists of: length word, header, kinds, status, holes, limits.
//!
//! Everything is big-endian; the length counts itself.

use xdr::{Decode, Decoder, Encode, Encoder, Result};

/// Bytes of the length word.
pub const LENGTH_WORD: usize = 4;
/// Bytes of the header without the length word.
pub const HEADER: usize = 24;
/// Bytes before the payload: length word and header.
pub const PROLOGUE: usize = LENGTH_WORD + HEADER;
/// The most that may follow the length word (header and payload).
pub const MAX_BODY: usize = 33_554_432;
/// The largest frame, length word included.
pub const MAX_FRAME: usize = MAX_BODY + LENGTH_WORD;
/// The longest payload.
pub const MAX_PAYLOAD: usize = MAX_BODY - HEADER;
/// The most stream data put into one frame (old peers assume a payload limit of 262,144 with 24 bytes of header).
pub const MAX_STREAM_DATA: usize = 262_120;
/// The most descriptors one frame may carry.
pub const MAX_FDS: usize = 32;

/// What a frame is for. Numbers we do not know are kept: such frames are dropped, as libvirtd does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Kind(pub u32);

impl Kind {
    /// A request.
    pub const CALL: Self = Self(0);
    /// The answer to a request.
    pub const REPLY: Self = Self(1);
    /// An event or a keepalive message.
    pub const MESSAGE: Self = Self(2);
    /// Stream data, its end, its abort.
    pub const STREAM: Self = Self(3);
    /// A request that carries file descriptors.
    pub const CALL_WITH_FDS: Self = Self(4);
    /// An answer that carries file descriptors.
    pub const REPLY_WITH_FDS: Self = Self(5);
    /// A hole in a sparse stream.
    pub const STREAM_HOLE: Self = Self(6);

    /// Is it one of the kinds above?
    #[must_use]
    pub fn is_known(self) -> bool {
        self.0 <= Self::STREAM_HOLE.0
    }

    /// Does the frame count descriptors between header and payload?
    #[must_use]
    pub fn has_fds(self) -> bool {
        self == Self::CALL_WITH_FDS || self == Self::REPLY_WITH_FDS
    }
}

/// How it went. Other numbers are kept, so that the answer can name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Done; on streams: finished.
    pub const OK: Self = Self(0);
    /// Failed, the payload is an error; on streams from the client: abort.
    pub const ERROR: Self = Self(1);
    /// More data of a stream.
    pub const CONTINUE: Self = Self(2);

    /// Is it one of those above?
    #[must_use]
    pub fn is_known(self) -> bool {
        self.0 <= Self::CONTINUE.0
    }
}

/// The six words after the length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which protocol.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// Which procedure or event.
    pub procedure: i32,
    /// Call, reply, message or stream.
    pub kind: Kind,
    /// Chosen by the caller, repeated in the reply.
    pub serial: u32,
    /// Ok, error or continue.
    pub status: Status,
}

impl Header {
    /// The bytes of a frame's beginning, for a payload of `payload` bytes (a count word included, if any).
    #[must_use]
    pub fn prologue(&self, payload: usize) -> [u8; PROLOGUE] {
        let mut bytes = [0; PROLOGUE];
        let words = [
            (PROLOGUE + payload) as u32,
            self.program,
            self.version,
            self.procedure as u32,
            self.kind.0,
            self.serial,
            self.status.0,
        ];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// The header of the answer to this call, of `kind` with `status`.
    #[must_use]
    pub fn answer(&self, kind: Kind, status: Status) -> Self {
        Self { kind, status, ..*self }
    }
}

impl Encode for Header {
    fn encode(&self, e: &mut Encoder) {
        e.uint(self.program);
        e.uint(self.version);
        e.int(self.procedure);
        e.uint(self.kind.0);
        e.uint(self.serial);
        e.uint(self.status.0);
    }
}

impl Decode for Header {
    const MIN_SIZE: usize = HEADER;
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            program: d.uint()?,
            version: d.uint()?,
            procedure: d.int()?,
            kind: Kind(d.uint()?),
            serial: d.uint()?,
            status: Status(d.uint()?),
        })
    }
}

/// The payload of a [`Kind::STREAM_HOLE`] frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamHole {
    /// Bytes skipped; never negative from a sane peer.
    pub length: i64,
    /// Reserved, 0.
    pub flags: u32,
}

impl Encode for StreamHole {
    fn encode(&self, e: &mut Encoder) {
        e.hyper(self.length);
        e.uint(self.flags);
    }
}

impl Decode for StreamHole {
    const MIN_SIZE: usize = 12;
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self { length: d.hyper()?, flags: d.uint()? })
    }
}
