//! fcntl record locks, the kind that excludes other programs (libvirtd, virtlockd).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A shared lock; the descriptor must be readable.
    Read,
    /// An exclusive lock; the descriptor must be writable.
    Write,
    /// Releases the range.
    Unlock,
}

/// Who owns a lock. Locks of either kind exclude each other between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// The process (`F_SETLK`): kept over exec, *dropped as soon as the process closes any
    /// descriptor of the file*, and never in the way of the process itself.
    Process,
    /// The open file description (`F_OFD_SETLK`): dropped with its last descriptor. No process
    /// id can be asked for.
    Description,
}

/// Locks or unlocks `len` bytes (0: to the end, however far it moves) from `offset`.
///
/// # Errors
/// `WouldBlock` or `PermissionDenied` when another holds a lock in the way and `wait` is false;
/// `InvalidInput` for an offset beyond what the kernel counts.
pub fn set_lock(
    fd: BorrowedFd<'_>,
    offset: u64,
    len: u64,
    kind: LockKind,
    owner: LockOwner,
    wait: bool,
) -> io::Result<()> {
    let flock = range(offset, len, kind)?;
    let command = match (owner, wait) {
        (LockOwner::Process, false) => libc::F_SETLK,
        (LockOwner::Process, true) => libc::F_SETLKW,
        (LockOwner::Description, false) => libc::F_OFD_SETLK,
        (LockOwner::Description, true) => libc::F_OFD_SETLKW,
    };
    loop {
        // SAFETY: `fd` is open for the call, and the kernel only reads the struct, which lives on.
        let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, &flock) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The process whose lock would be in the way of an exclusive lock; `None` if none would, or it is
/// our own. The id is 0 when the kernel does not name it (an open-file-description lock, or a
/// holder in a pid namespace that we do not see).
///
/// # Errors
/// Whatever fcntl says, for example a descriptor that is no file.
pub fn lock_holder(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<Option<u32>> {
    let mut flock = range(offset, len, LockKind::Write)?;
    // SAFETY: `fd` is open for the call, and the kernel writes only into the struct, which we own.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLK, &mut flock) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if i32::from(flock.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    Ok(Some(u32::try_from(flock.l_pid).unwrap_or(0)))
}

fn range(offset: u64, len: u64, kind: LockKind) -> io::Result<libc::flock> {
    let kind = match kind {
        LockKind::Read => libc::F_RDLCK,
        LockKind::Write => libc::F_WRLCK,
        LockKind::Unlock => libc::F_UNLCK,
    };
    let number = |n: u64| i64::try_from(n).map_err(|_| io::ErrorKind::InvalidInput);
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: number(offset)?,
        l_len: number(len)?,
        l_pid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn descriptions_exclude_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let open = || {
            std::fs::File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap()
        };
        let (a, b) = (open(), open());
        let lock = |f: &std::fs::File, at, kind| {
            set_lock(f.as_fd(), at, 1, kind, LockOwner::Description, false)
        };
        lock(&a, 0, LockKind::Write).unwrap();
        assert!(lock(&b, 0, LockKind::Write).is_err());
        assert!(lock(&b, 0, LockKind::Read).is_err());
        lock(&b, 1, LockKind::Write).unwrap();
        assert_eq!(lock_holder(a.as_fd(), 0, 1).unwrap(), Some(0), "a description has no pid");
        lock(&a, 0, LockKind::Unlock).unwrap();
        lock(&b, 0, LockKind::Write).unwrap();
        assert_eq!(
            lock(&b, u64::MAX, LockKind::Write).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
