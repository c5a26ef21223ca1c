//! Descriptors that come from, or go to, another program over exec.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// The kernel lacks `close_range` (before 5.11) and `/proc` is not mounted.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let from = libc::c_uint::try_from(first).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: three integers; the call changes a flag of descriptors and closes none.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if result == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|n| n.parse::<RawFd>().ok()) else {
            continue;
        };
        if fd >= first {
            // SAFETY: as above. A descriptor closed meanwhile only makes the call fail.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Takes ownership of `count` descriptors from `first` on, which the program's starter passed
/// (systemd's `LISTEN_FDS`), and marks them close-on-exec. To be called once, before the program
/// opens anything; a second call returns nothing.
///
/// # Errors
/// One of them is not open.
pub fn take_inherited(first: RawFd, count: u32) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let end = i32::try_from(count)
        .ok()
        .and_then(|n| first.checked_add(n))
        .ok_or(io::ErrorKind::InvalidInput)?;
    for fd in first..end {
        // SAFETY: an integer and a flag; fails for a descriptor that is not open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: all are open (checked above), were put there by our starter, so nothing in this
    // program owns them yet, and the flag above lets this happen once.
    Ok((first..end).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect())
}

/// Takes ownership of the descriptors with these `numbers`, which this program left itself when it
/// became itself anew (exec), and marks them close-on-exec. Each number is given out once.
///
/// # Errors
/// One of them is not open, is a standard stream, or was taken before.
pub fn take_numbered(numbers: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for &number in numbers {
        if number < 3 || !taken.insert(number) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: an integer and a flag; fails for a descriptor that is not open.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: all are open (checked above), came over exec for us, and the set above gives each out
    // once, so nothing else in this program owns them.
    Ok(numbers.iter().map(|&number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}
