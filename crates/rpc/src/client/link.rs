//! One socket, read and written frame by frame, with the descriptors that follow frames.
//!
//! Reading takes exactly one frame at a time: the bytes that carry descriptors come after it and must not be
//! swallowed with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protocol::message::{HEADER, Header, LENGTH_WORD, MAX_FDS, MAX_FRAME, PROLOGUE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};

/// A frame as it came.
pub(super) struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Why no frame came.
pub(super) enum ReadFault {
    /// The peer closed the connection.
    Eof,
    /// The socket failed.
    Io(io::Error),
    /// The peer sent what is no frame.
    Bad(String),
}

/// Memory for a payload is reserved as it arrives, in steps of this size at first.
const STEP: usize = 65_536;

/// Waits until the socket can be read; false after `timeout`.
pub(super) fn wait_readable(
    fd: &OwnedFd,
    timeout: Option<std::time::Duration>,
) -> io::Result<bool> {
    let timeout = match timeout {
        None => None,
        Some(t) => Some(Timespec::try_from(t).map_err(|_| io::Error::from(Errno::INVAL))?),
    };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Reads one frame, waiting for it.
pub(super) fn read_frame(fd: &OwnedFd) -> Result<Frame, ReadFault> {
    let mut length = [0; LENGTH_WORD];
    fill(fd, &mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if !(PROLOGUE..=MAX_FRAME).contains(&length) {
        return Err(ReadFault::Bad(format!("packet of {length} bytes is not a message")));
    }
    let mut head = [0; HEADER];
    fill(fd, &mut head)?;
    let header: Header = xdr::from_slice(&head).map_err(|e| ReadFault::Bad(e.to_string()))?;
    if !header.kind.is_known() || !header.status.is_known() {
        let (kind, status) = (header.kind.0, header.status.0);
        return Err(ReadFault::Bad(format!("message of unknown type {kind} or status {status}")));
    }
    let mut left = length - PROLOGUE;
    let mut count = 0;
    if header.kind.has_fds() {
        let mut word = [0; 4];
        left = left
            .checked_sub(word.len())
            .ok_or_else(|| ReadFault::Bad("message without its number of descriptors".into()))?;
        fill(fd, &mut word)?;
        count = u32::from_be_bytes(word) as usize;
        if count > MAX_FDS {
            return Err(ReadFault::Bad(format!("too many descriptors in a message: {count}")));
        }
    }
    let mut payload = Vec::with_capacity(left.min(STEP));
    while payload.len() < left {
        let at = payload.len();
        payload.resize(left.min((at * 2).max(STEP)), 0);
        let Some(part) = payload.get_mut(at..) else { break };
        fill(fd, part)?;
    }
    let mut fds = Vec::new();
    for _ in 0..count {
        fds.push(receive_fd(fd)?);
    }
    Ok(Frame { header, payload, fds })
}

fn fill(fd: &OwnedFd, mut buf: &mut [u8]) -> Result<(), ReadFault> {
    while !buf.is_empty() {
        let n = match retry_on_intr(|| recv(fd, &mut *buf, RecvFlags::empty())) {
            Ok((n, _)) => n,
            Err(e) => return Err(ReadFault::Io(e.into())),
        };
        if n == 0 {
            return Err(ReadFault::Eof);
        }
        buf = buf.get_mut(n..).unwrap_or_default();
    }
    Ok(())
}

/// One byte of data with one descriptor beside it.
fn receive_fd(fd: &OwnedFd) -> Result<OwnedFd, ReadFault> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut io = [IoSliceMut::new(&mut byte)];
        match recvmsg(fd, &mut io, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(got) => break got,
            Err(Errno::INTR) => {}
            Err(e) => return Err(ReadFault::Io(e.into())),
        }
    };
    if got.bytes == 0 {
        return Err(ReadFault::Eof);
    }
    for message in control.drain() {
        let RecvAncillaryMessage::ScmRights(mut fds) = message else { continue };
        if let Some(fd) = fds.next() {
            return Ok(fd);
        }
    }
    Err(ReadFault::Bad("a descriptor was announced but did not come".into()))
}

/// Writes a whole frame, then its descriptors.
pub(super) fn write_frame(fd: &OwnedFd, frame: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut rest = frame;
    while !rest.is_empty() {
        let n = retry_on_intr(|| send(fd, rest, SendFlags::NOSIGNAL))?;
        rest = rest.get(n..).unwrap_or_default();
    }
    for one in fds {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let rights = [one.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
            return Err(Errno::NOBUFS.into());
        }
        retry_on_intr(|| sendmsg(fd, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// The bytes of a frame.
pub(super) fn frame_bytes(
    header: &Header,
    fds: Option<usize>,
    write: impl FnOnce(&mut xdr::Encoder),
) -> xdr::Result<Vec<u8>> {
    let mut e = xdr::Encoder::new();
    e.uint(0);
    xdr::Encode::encode(header, &mut e);
    if let Some(n) = fds {
        e.uint(u32::try_from(n).unwrap_or(u32::MAX));
    }
    write(&mut e);
    let mut bytes = e.finish()?;
    let len = bytes.len();
    let too_long = || xdr::Error::TooLong { at: 0, len, max: MAX_FRAME };
    if len > MAX_FRAME {
        return Err(too_long());
    }
    let word = u32::try_from(len).map_err(|_| too_long())?;
    if let Some(place) = bytes.get_mut(..LENGTH_WORD) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    Ok(bytes)
}
