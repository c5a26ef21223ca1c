//! What waits to be written to a client that does not read as fast as we answer.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::outbox::Mailbox;
use super::stream::StreamState;

/// Small chunks are joined up to this size, so that a burst of events is one system call.
const JOIN: usize = 16 << 10;

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    written: usize,
    /// Sent with the chunk's one byte.
    fd: Option<OwnedFd>,
    /// What the chunk counts among queued events.
    events: usize,
    /// Told when the chunk is written.
    stream: Option<Arc<StreamState>>,
}

/// The queue. Empty for clients that read, and then holds no memory worth speaking of.
#[derive(Default)]
pub(crate) struct Output {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len() - chunk.written;
        self.chunks.push_back(chunk);
    }

    /// Adds plain bytes; `events` is what they count among queued events.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], events: usize) {
        if bytes.is_empty() {
            return;
        }
        if let Some(last) = self.chunks.back_mut()
            && last.fd.is_none()
            && last.stream.is_none()
            && last.bytes.len() + bytes.len() <= JOIN
        {
            last.bytes.extend_from_slice(bytes);
            last.events += events;
            self.bytes += bytes.len();
            return;
        }
        self.push(Chunk { bytes: bytes.to_vec(), events, ..Chunk::default() });
    }

    /// Adds what is left of a large buffer without copying it.
    pub(crate) fn push_rest(&mut self, bytes: Vec<u8>, written: usize) {
        self.push(Chunk { bytes, written, ..Chunk::default() });
    }

    pub(crate) fn push_stream(&mut self, bytes: Vec<u8>, stream: Arc<StreamState>) {
        self.push(Chunk { bytes, stream: Some(stream), ..Chunk::default() });
    }

    /// Adds the one-byte message that carries a descriptor.
    pub(crate) fn push_fd(&mut self, fd: OwnedFd) {
        self.push(Chunk { bytes: vec![0], fd: Some(fd), ..Chunk::default() });
    }

    /// Writes as much as the socket takes. False: it takes no more for now.
    pub(crate) fn write(&mut self, socket: BorrowedFd<'_>, mailbox: &Mailbox) -> io::Result<bool> {
        while let Some(chunk) = self.chunks.front_mut() {
            let rest = &chunk.bytes[chunk.written..];
            let sent = match &chunk.fd {
                None => send(socket, rest)?,
                Some(fd) => send_fd(socket, rest, fd.as_fd())?,
            };
            let Some(sent) = sent else {
                return Ok(false);
            };
            chunk.written += sent;
            self.bytes -= sent;
            if chunk.written == chunk.bytes.len()
                && let Some(chunk) = self.chunks.pop_front()
            {
                mailbox.event_left(chunk.events);
                if let Some(stream) = chunk.stream {
                    stream.frame_left();
                }
            }
        }
        if self.chunks.capacity() > 64 {
            self.chunks = VecDeque::new();
        }
        Ok(true)
    }
}

/// Writes to the socket without waiting; none: it would have to wait.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    outcome(|| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))
}

fn send_fd(socket: BorrowedFd<'_>, byte: &[u8], fd: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    outcome(|| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        rustix::net::sendmsg(
            socket,
            &[io::IoSlice::new(byte)],
            &mut control,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )
    })
}

fn outcome(mut write: impl FnMut() -> Result<usize, Errno>) -> io::Result<Option<usize>> {
    loop {
        return match write() {
            Ok(sent) => Ok(Some(sent)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
}
