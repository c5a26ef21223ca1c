//! Writing back, without the journal.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

/// Starts writing the file's content to its device and waits until it is there, without waiting
/// for the file system's journal: places on disk are chosen and the new length is in the journal's
/// open transaction, but a power loss may still undo both (sync_file_range(2)). Not a substitute
/// for fsync(2).
///
/// # Errors
/// The device's; `EOPNOTSUPP`-like errors where the file system has no such thing.
pub fn write_back(file: impl AsFd) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: takes a descriptor, which lives for the call, and numbers.
    let result = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
