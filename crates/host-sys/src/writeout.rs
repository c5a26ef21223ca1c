//! Writing a file's content out, without the metadata.

use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Writes what the page cache holds of a file to its device and waits until the device has taken
/// it (sync_file_range(2) over the whole file). Neither the file's size nor its name, nor the
/// device's own cache, is made durable by this.
///
/// # Errors
/// The system's: writing failed, or the file is of a kind that has no pages.
pub fn write_out(file: impl AsFd) -> io::Result<()> {
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    loop {
        // SAFETY: the descriptor is open for the length of the call, and no memory is passed.
        // A length of 0 means to the end.
        let result = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, all) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(Errno::INTR.raw_os_error()) {
            return Err(error);
        }
    }
}
