//! Streams: bulk data beside a call (volumes, screenshots) or in both directions (consoles).

use std::time::Duration;

use diag::VirError;
use protocol::message::{Header, Kind, MAX_STREAM_DATA, Status, StreamHole};
use xdr::Encode;

use super::connection::Connection;
use super::core::StreamNext;
use super::error;
use super::link;

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// Bytes.
    Data(Vec<u8>),
    /// So many zero bytes that were not sent. Comes only where the call allowed holes.
    Hole(u64),
}

/// What [`Stream::recv_timeout`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A piece.
    Item(StreamItem),
    /// The daemon has no more data.
    End,
    /// Nothing came in time.
    TimedOut,
}

/// An open stream. One thread may receive while another sends. Dropped unfinished, it is aborted.
#[derive(Debug)]
pub struct Stream {
    connection: Connection,
    ids: (u32, u32, i32),
    serial: u32,
    open: bool,
}

impl Stream {
    pub(super) fn new(connection: Connection, ids: (u32, u32, i32), serial: u32) -> Self {
        Self { connection, ids, serial, open: true }
    }

    /// Sends bytes, in as many frames as it takes. Blocks while the daemon reads slowly.
    ///
    /// # Errors
    /// The daemon's error for the stream, or the connection is lost.
    pub fn send(&self, data: &[u8]) -> Result<(), VirError> {
        for piece in data.chunks(MAX_STREAM_DATA) {
            self.check()?;
            self.frame(Kind::STREAM, Status::CONTINUE, |e| e.append_raw(piece))?;
        }
        Ok(())
    }

    /// Sends a hole instead of so many zero bytes. Only where the call allowed holes.
    ///
    /// # Errors
    /// As [`Stream::send`]; or the length does not fit.
    pub fn send_hole(&self, length: u64) -> Result<(), VirError> {
        self.check()?;
        let length = i64::try_from(length)
            .map_err(|_| error::invalid_arg(format!("hole of {length} bytes is too long")))?;
        let hole = StreamHole { length, flags: 0 };
        self.frame(Kind::STREAM_HOLE, Status::CONTINUE, |e| hole.encode(e))
    }

    /// The next piece; none at the end of the data. Waits for it.
    ///
    /// # Errors
    /// The daemon's error for the stream, or the connection is lost.
    pub fn recv(&self) -> Result<Option<StreamItem>, VirError> {
        match self.connection.core().stream_next(self.serial, None)? {
            StreamNext::Item(item) => Ok(Some(item)),
            StreamNext::End | StreamNext::TimedOut => Ok(None),
        }
    }

    /// The next piece, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Stream::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Received, VirError> {
        Ok(match self.connection.core().stream_next(self.serial, Some(timeout))? {
            StreamNext::Item(item) => Received::Item(item),
            StreamNext::End => Received::End,
            StreamNext::TimedOut => Received::TimedOut,
        })
    }

    /// Everything is sent or received: tells the daemon and waits until it has stored everything.
    ///
    /// # Errors
    /// The daemon's error for the stream (a full disk, for example), or the connection is lost.
    pub fn finish(mut self) -> Result<(), VirError> {
        self.check()?;
        self.end(Status::OK)
    }

    /// Gives up: tells the daemon and waits for its confirmation.
    ///
    /// # Errors
    /// The daemon's error for the stream, or the connection is lost.
    pub fn abort(mut self) -> Result<(), VirError> {
        self.end(Status::ERROR)
    }

    fn end(&mut self, status: Status) -> Result<(), VirError> {
        self.open = false;
        let core = self.connection.core();
        let done = match self.frame(Kind::STREAM, status, |_| {}) {
            Ok(()) => core.stream_done(self.serial),
            Err(e) => Err(e),
        };
        core.forget(self.serial);
        done
    }

    fn check(&self) -> Result<(), VirError> {
        match self.connection.core().stream_fault(self.serial) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    fn frame(
        &self,
        kind: Kind,
        status: Status,
        payload: impl FnOnce(&mut xdr::Encoder),
    ) -> Result<(), VirError> {
        let (program, version, procedure) = self.ids;
        let header = Header { program, version, procedure, kind, serial: self.serial, status };
        let bytes =
            link::frame_bytes(&header, None, payload).map_err(|e| error::unencodable(&e))?;
        self.connection.core().send(&bytes, &[])
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // A stream that failed is closed on the daemon's side already.
        if self.check().is_ok() {
            let _ = self.frame(Kind::STREAM, Status::ERROR, |_| {});
        }
        self.connection.core().forget(self.serial);
    }
}
