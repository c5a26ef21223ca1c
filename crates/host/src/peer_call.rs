//! Calls to the small daemons beside us (log daemon, lock daemon): one connection, one call after
//! the other, each within a time limit.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use diag::VirError;
use protocol::message::{Header, Kind, LENGTH_WORD, MAX_FDS, PROLOGUE, Status};
use protocol::{Procedure, WireError};
use xdr::{Decode, Decoder, Encode, Encoder};

use crate::scm;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes an answer may have: a log's text and some.
const MAX_ANSWER: usize = (4 << 20) + (64 << 10);

/// Why a call to a small daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It is not there, does not answer, or not in the protocol.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It refused, in its words.
    #[error("{}", .0.message())]
    Refused(Box<VirError>),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: UnixStream,
    serial: u32,
}

fn garbled() -> PeerError {
    PeerError::Io(io::Error::new(io::ErrorKind::InvalidData, "its answer cannot be understood"))
}

impl Peer {
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, serial: 0 })
    }

    /// The connection itself.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.stream.into()
    }

    /// One call and its answer.
    pub(crate) fn call<P: Procedure>(
        &mut self,
        args: &P::Args,
    ) -> Result<(P::Ret, Vec<OwnedFd>), PeerError> {
        let mut encoder = Encoder::new();
        args.encode(&mut encoder);
        let payload = encoder
            .finish()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let serial = self.serial;
        self.serial = self.serial.wrapping_add(1);
        let header = Header {
            program: P::PROGRAM,
            version: P::VERSION,
            procedure: P::NUMBER,
            kind: Kind::CALL,
            serial,
            status: Status::OK,
        };
        let mut frame = header.prologue(payload.len()).to_vec();
        frame.extend_from_slice(&payload);
        self.stream.write_all(&frame)?;
        let (answer, fds) = self.answer(serial)?;
        answer.map_err(|error| PeerError::Refused(Box::new(error))).and_then(|payload| {
            let ret = P::Ret::decode(&mut Decoder::lossy(&payload)).map_err(|_| garbled())?;
            Ok((ret, fds))
        })
    }

    #[allow(clippy::type_complexity)]
    fn answer(
        &mut self,
        serial: u32,
    ) -> Result<(Result<Vec<u8>, VirError>, Vec<OwnedFd>), PeerError> {
        loop {
            let mut head = [0; PROLOGUE];
            self.stream.read_exact(&mut head)?;
            let word = |at: usize| {
                let four = head.get(at..at + 4).and_then(|four| four.try_into().ok());
                u32::from_be_bytes(four.unwrap_or_default())
            };
            let length = word(0) as usize;
            if !(PROLOGUE..=MAX_ANSWER).contains(&length) {
                return Err(garbled());
            }
            // Bounded above, and the peer is a daemon of our own user.
            let mut body = vec![0; length - PROLOGUE];
            self.stream.read_exact(&mut body)?;
            let kind = Kind(word(LENGTH_WORD + 12));
            let mut fds = Vec::new();
            if kind.has_fds() {
                let count = body.get(..4).and_then(|four| four.try_into().ok());
                let count = count.map(u32::from_be_bytes).ok_or_else(garbled)? as usize;
                if count > MAX_FDS {
                    return Err(garbled());
                }
                body.drain(..4);
                while fds.len() < count {
                    let (bytes, new) = scm::receive(&self.stream, &mut [0])?;
                    if bytes == 0 || new.is_empty() {
                        return Err(garbled());
                    }
                    fds.extend(new);
                }
            }
            let answers = kind == Kind::REPLY || kind == Kind::REPLY_WITH_FDS;
            if !answers || word(LENGTH_WORD + 16) != serial {
                // Something that nobody waits for.
                continue;
            }
            if Status(word(LENGTH_WORD + 20)) == Status::OK {
                return Ok((Ok(body), fds));
            }
            let error = WireError::decode(&mut Decoder::lossy(&body)).map_err(|_| garbled())?;
            return Ok((Err(error.into()), Vec::new()));
        }
    }
}
