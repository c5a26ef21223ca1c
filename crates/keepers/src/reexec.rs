//! Becoming a new version of oneself with the descriptors that matter kept open.
//!
//! What the successor has to know goes into a nameless file in memory; its number is the argument
//! of [`ARGUMENT`]. The descriptors it mentions are left open over exec under their numbers.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use rustix::io::{FdFlags, fcntl_setfd};

/// The hidden option of a successor.
pub const ARGUMENT: &str = "--resume";

/// The most a state may say.
const MAX_STATE: u64 = 64 << 20;

/// Replaces this program by what is now installed in its place. Returns only when that failed, with
/// everything as it was.
///
/// # Errors
/// The program cannot be executed, or the state not be written.
pub fn become_successor(
    args: &[OsString],
    state: &[u8],
    keep: &[BorrowedFd<'_>],
) -> io::Result<Infallible> {
    let memory = rustix::fs::memfd_create("ironvirt-state", MemfdFlags::CLOEXEC)?;
    let mut memory = File::from(memory);
    memory.write_all(state)?;
    memory.rewind()?;
    // An upgrade replaced the file: its old name has the new program.
    let own = std::env::current_exe()?.display().to_string();
    let own = PathBuf::from(own.strip_suffix(" (deleted)").unwrap_or(&own));
    let _deaf = host_sys::IgnoredSignals::steering()?;
    let all = || keep.iter().copied().chain([memory.as_fd()]);
    let mark = |flags: FdFlags| -> io::Result<()> {
        all().try_for_each(|fd| fcntl_setfd(fd, flags).map_err(io::Error::from))
    };
    let failed = match mark(FdFlags::empty()) {
        Ok(()) => {
            let number = memory.as_raw_fd().to_string();
            std::process::Command::new(&own).args(args).arg(ARGUMENT).arg(number).exec()
        }
        Err(error) => error,
    };
    let _ = mark(FdFlags::CLOEXEC);
    Err(failed)
}

/// What the predecessor left: its state. To be called first thing.
///
/// # Errors
/// The number is not that of an open file.
pub fn inherited_state(number: i32) -> io::Result<Vec<u8>> {
    let memory = host_sys::take_numbered(&[number])?.pop().ok_or(io::ErrorKind::NotFound)?;
    let mut state = Vec::new();
    File::from(memory).take(MAX_STATE).read_to_end(&mut state)?;
    Ok(state)
}

/// A descriptor that the state mentions.
///
/// # Errors
/// It is not open, or was taken before.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    host_sys::take_numbered(&[number])?.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}
