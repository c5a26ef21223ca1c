//! The address of a guest on the host's vsock.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// From linux/vhost.h: `_IOW(VHOST_VIRTIO, 0x60, __u64)`.
const VHOST_VSOCK_SET_GUEST_CID: libc::c_ulong = 0x4008_af60;

/// Gives the guest behind an open `/dev/vhost-vsock` this context id.
///
/// # Errors
/// `AddrInUse`: another guest has it. The number is reserved, or the descriptor another device's.
pub fn set_guest_cid(device: BorrowedFd<'_>, cid: u32) -> io::Result<()> {
    let cid = u64::from(cid);
    // SAFETY: the call reads one u64, which we own; other devices refuse the number.
    let done = unsafe {
        libc::ioctl(device.as_raw_fd(), VHOST_VSOCK_SET_GUEST_CID, std::ptr::from_ref(&cid))
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
