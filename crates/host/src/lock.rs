//! Pid files as libvirt locks them: an exclusive fcntl lock on the first byte, the process id in
//! decimal without a line end, mode 0644. Because we take the same locks on the same files, we and
//! libvirtd refuse to start over each other.
//!
//! (Observed of libvirtd 11.3: it opens write-only with `O_CREAT`, locks, and compares the locked
//! file with the one the path names now, to start anew should it have been replaced meanwhile.)

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use host_sys::{LockKind, LockOwner, lock_holder, set_lock};

/// Why a pid file could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is locked by {}", path.display(), holder_text(*pid))]
    Held {
        /// The pid file.
        path: PathBuf,
        /// The holder, if it can be told.
        pid: Option<u32>,
    },
    /// The file cannot be opened, locked or written.
    #[error("cannot {action} pid file {}: {source}", path.display())]
    Io {
        /// `open`, `lock` or `write`.
        action: &'static str,
        /// The pid file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// As a plain I/O error.
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } => source,
            held => io::Error::new(io::ErrorKind::WouldBlock, held.to_string()),
        }
    }
}

fn holder_text(pid: Option<u32>) -> String {
    let Some(pid) = pid else { return "another process".to_owned() };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim_end()),
        Err(_) => format!("process {pid}"),
    }
}

/// A pid file that this process holds. Dropping it releases the lock and leaves the file, as a
/// crash would; [`PidFile::release`] removes it too.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Takes the pid file.
    ///
    /// libvirtd's lock belongs to its process (`F_SETLK`); ours to the open file (`F_OFD_SETLK`).
    /// The two exclude each other, but ours is not lost when some other part of the program reads
    /// and closes the file, and survives exec however the descriptor is moved about.
    ///
    /// # Errors
    /// [`LockError::Held`] names the holder.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let io = |action| move |source| LockError::Io { action, path: path.to_owned(), source };
        loop {
            let mut options = File::options();
            // Never through a link: libvirtd lets a guest's user own the folder, and the file is
            // emptied below.
            let no_link = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
            options.write(true).create(true).mode(0o644).custom_flags(no_link);
            let mut file = options.open(path).map_err(io("open"))?;
            if let Err(error) =
                set_lock(file.as_fd(), 0, 1, LockKind::Write, LockOwner::Description, false)
            {
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied
                ) {
                    return Err(io("lock")(error));
                }
                return Err(LockError::Held { path: path.to_owned(), pid: holder(&file, path) });
            }
            let locked = file.metadata().map_err(io("lock"))?;
            match std::fs::metadata(path) {
                Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => {}
                // Removed or replaced between open and lock: what we locked protects nothing.
                _ => continue,
            }
            file.set_len(0).map_err(io("write"))?;
            file.write_all(std::process::id().to_string().as_bytes()).map_err(io("write"))?;
            return Ok(Self { path: path.to_owned(), file });
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, then releases the lock, in this order so that nobody locks a doomed file.
    ///
    /// # Errors
    /// The file cannot be removed; the lock is released nevertheless.
    pub fn release(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// The open file, which carries the lock.
    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

/// Who holds a pid file (it may be ourselves), without taking it. `None` when nobody does or there
/// is no such file.
///
/// # Errors
/// The file cannot be opened or asked about.
pub fn pid_file_holder(path: &Path) -> io::Result<Option<u32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock_holder(file.as_fd(), 0, 1)? {
        None => Ok(None),
        Some(0) => Ok(written_pid(path)),
        pid => Ok(pid),
    }
}

fn holder(file: &File, path: &Path) -> Option<u32> {
    lock_holder(file.as_fd(), 0, 1)
        .ok()
        .flatten()
        .filter(|&pid| pid != 0)
        .or_else(|| written_pid(path))
}

/// The process id that a pid file names.
pub fn written_pid(path: &Path) -> Option<u32> {
    let bytes = crate::files::read_bounded(path, 64).ok()?;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}
