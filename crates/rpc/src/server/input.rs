//! Watching and reading a socket, descriptors included.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::StreamIn;
use crate::frame::MAX_FDS;

/// Has the event loop of this thread watch a socket for one kind of readiness. (tokio's own socket types watch for
/// writability too, which wakes the server each time a client reads an answer.)
// tokio deprecates the safe constructors because an `AsRawFd` type may lie about its descriptor; `OwnedFd` does not.
#[allow(deprecated)]
pub(crate) fn watch<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

/// Reads what is there, without waiting. None: nothing; 0: the end.
///
/// One read may cover a frame and the beginning of the messages with its descriptors, because the kernel ends a read
/// behind each message that carries some: none is lost, and bytes and descriptors keep their order.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
) -> io::Result<Option<usize>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [io::IoSliceMut::new(buffer)];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    loop {
        match rustix::net::recvmsg(socket, &mut slices, &mut control, flags) {
            Ok(message) => {
                let count = message.bytes;
                for part in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(received) = part {
                        fds.extend(received);
                    }
                }
                return Ok(Some(count));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Is nobody at the other end any more?
pub(crate) fn hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now))?;
    Ok(fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// A hole as a stream frame carries it: length (64 bits), flags (32 bits).
pub(crate) fn hole(payload: &[u8]) -> Option<StreamIn> {
    let length = i64::from_be_bytes(payload.get(..8)?.try_into().ok()?);
    let flags = u32::from_be_bytes(payload.get(8..12)?.try_into().ok()?);
    (length >= 0).then_some(StreamIn::Hole { length, flags })
}
