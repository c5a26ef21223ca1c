//! What a frame consists of: header, kinds, status, holes, limits.

use xdr::{Decode, Decoder, Encode, Encoder, Error, Result};

/// Most bytes of a frame after its length word.
pub const MESSAGE_MAX: usize = 33_554_432;
/// Bytes of the header after the length word.
pub const HEADER_LEN: usize = 24;
/// Bytes of the length word.
pub const LENGTH_LEN: usize = 4;
/// Most bytes of a frame's payload.
pub const PAYLOAD_MAX: usize = MESSAGE_MAX - HEADER_LEN;
/// Most bytes of stream data in one frame, a limit that old peers still assume.
pub const STREAM_DATA_MAX: usize = 262_120;
/// Most descriptors that go with one frame.
pub const FDS_MAX: usize = 32;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $n:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum $name { $($(#[$vdoc])* $variant = $n,)* }

        impl Encode for $name {
            fn encode(&self, e: &mut Encoder) {
                e.int(*self as i32);
            }
        }

        impl Decode for $name {
            const MIN_SIZE: usize = 4;
            fn decode(d: &mut Decoder<'_>) -> Result<Self> {
                let at = d.position();
                match d.int()? {
                    $($n => Ok(Self::$variant),)*
                    value => Err(Error::UnknownVariant { what: $what, at, value }),
                }
            }
        }
    };
}

numbered! {
    /// The kind of a frame.
    MessageType, "message type" {
        /// From the client: a call.
        Call = 0,
        /// From the daemon: its answer.
        Reply = 1,
        /// From the daemon: an event. Keepalive frames, from both.
        Message = 2,
        /// Stream data, end, abort or error.
        Stream = 3,
        /// A call with file descriptors.
        CallWithFds = 4,
        /// A reply with file descriptors.
        ReplyWithFds = 5,
        /// A hole in a stream.
        StreamHole = 6,
    }
}

impl MessageType {
    /// Whether a count of descriptors stands between header and payload.
    #[must_use]
    pub fn has_fds(self) -> bool {
        matches!(self, Self::CallWithFds | Self::ReplyWithFds)
    }
}

numbered! {
    /// The status of a frame.
    MessageStatus, "message status" {
        /// Fine; of a stream: finished.
        Ok = 0,
        /// The payload is an error; of a stream from the client: aborted.
        Error = 1,
        /// More stream data.
        Continue = 2,
    }
}

/// The header that follows a frame's length word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The program's number.
    pub program: u32,
    /// The program's version.
    pub version: u32,
    /// The procedure's number.
    pub procedure: i32,
    /// The kind of frame.
    pub kind: MessageType,
    /// Chosen by the client; repeated by replies and stream frames.
    pub serial: u32,
    /// The status.
    pub status: MessageStatus,
}

impl Encode for Header {
    fn encode(&self, e: &mut Encoder) {
        e.uint(self.program);
        e.uint(self.version);
        e.int(self.procedure);
        self.kind.encode(e);
        e.uint(self.serial);
        self.status.encode(e);
    }
}

impl Decode for Header {
    const MIN_SIZE: usize = HEADER_LEN;
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            program: d.uint()?,
            version: d.uint()?,
            procedure: d.int()?,
            kind: MessageType::decode(d)?,
            serial: d.uint()?,
            status: MessageStatus::decode(d)?,
        })
    }
}

/// The payload of a [`MessageType::StreamHole`] frame.
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
