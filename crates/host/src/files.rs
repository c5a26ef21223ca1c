//! Files that are whole or not there: writing, bounded reading, logs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{folder_sync, journal};

/// A failed file operation, with what it was done to.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried: `create`, `write`, `sync`, `rename`, `read`, …
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }

    /// Whether there was no such file.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteMode {
    /// Permission bits, set exactly (the umask plays no part).
    pub mode: u32,
    /// Owner: user id and group id. `None` leaves it ours.
    pub owner: Option<(u32, u32)>,
    /// Whether to wait until the file and its folder are on stable storage. Without it, the file is
    /// still never seen half written, but a power loss may bring the old one back; right for what a
    /// reboot makes worthless (`/run`).
    pub durable: bool,
}

impl WriteMode {
    /// libvirt's own files: mode 0600, on stable storage.
    pub const PRIVATE: Self = Self { mode: 0o600, owner: None, durable: true };
    /// Files below `/run`: mode 0600, not synced.
    pub const RUNTIME: Self = Self { mode: 0o600, owner: None, durable: false };
}

/// Replaces a file, or makes it: readers see the old content or the new, never a part, and whatever
/// fails (a full disk, say) leaves the old one alone and no litter.
///
/// # Errors
/// The step that failed.
pub fn write_atomic(path: &Path, content: &[u8], how: WriteMode) -> Result<(), FileError> {
    let temporary = temporary_name(path);
    let result = (|| {
        let rename =
            || std::fs::rename(&temporary, path).map_err(FileError::at("rename", &temporary));
        if !how.durable {
            return write_new(&temporary, content, how).and_then(|_| rename());
        }
        let ahead = |file: &File| journal::write_ahead(file).map_err(FileError::at("sync", path));
        let (mut file, nameless) = match write_nameless(folder_of(path), content, how)? {
            Some(file) => (file, true),
            None => (write_new(&temporary, content, how)?, false),
        };
        let mut is_ahead = ahead(&file)?;
        if nameless && link_new_name(&file, path) {
            return sync_new(&file, path, is_ahead);
        }
        if nameless && !link_new_name(&file, &temporary) {
            file = write_new(&temporary, content, how)?;
            is_ahead = ahead(&file)?;
        }
        if take_new_name(&temporary, path) {
            return sync_new(&file, path, is_ahead);
        }
        if !is_ahead {
            file.sync_all().map_err(FileError::at("sync", path))?;
        }
        rename().and_then(|()| sync_folder(path))
    })();
    if let Err(error) = result {
        // The fault to tell is the first one.
        let _ = std::fs::remove_file(&temporary);
        return Err(FileError { path: path.to_owned(), ..error });
    }
    Ok(())
}

/// Whether a folder is on a file system that is all in memory, so that what is written there waits
/// for no disk and no network.
pub fn in_memory(folder: &Path) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    // The type's width differs by platform; the magic numbers have 32 bits.
    rustix::fs::statfs(folder).is_ok_and(|fs| matches!(fs.f_type as u32, TMPFS | RAMFS))
}

/// A file with the content and without a name, which leaves nothing behind whatever happens. None
/// where the file system has no such files.
fn write_nameless(
    folder: &Path,
    content: &[u8],
    how: WriteMode,
) -> Result<Option<File>, FileError> {
    let flags = rustix::fs::OFlags::TMPFILE.bits() as i32;
    let opened = File::options().write(true).mode(CREATED_MODE).custom_flags(flags).open(folder);
    match opened {
        Ok(file) => fill(file, folder, content, how).map(Some),
        // EOPNOTSUPP, EISDIR, EINVAL, by the file system's age; for others the named file tells.
        Err(_) => Ok(None),
    }
}

/// Gives a file without a name one that nothing has. False when something has it, or there is no
/// way to do so: then nothing was done.
fn link_new_name(file: &File, name: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let ours = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, ours, CWD, name, AtFlags::SYMLINK_FOLLOW).is_ok()
}

/// Gives a file a name that nothing has. False when something has it, or the file system cannot
/// tell: then nothing was done.
fn take_new_name(temporary: &Path, path: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    // EEXIST, or EINVAL where the file system has no such rename.
    renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE).is_ok()
}

/// Makes a file that has just got a new name durable, and the name.
fn sync_new(file: &File, path: &Path, is_ahead: bool) -> Result<(), FileError> {
    let synced = if is_ahead { sync_folder(path) } else { sync_both(file, path) };
    synced.inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

/// Makes a file and the name it has just got durable where neither promises the other.
///
/// Where an old file is replaced, the new one must be on stable storage before it takes the name,
/// and the name after it: two waits. A new name has nothing to lose, so both are written at the
/// same time. A power loss in between may leave the name without content: of an object that nobody
/// was told exists.
fn sync_both(file: &File, path: &Path) -> Result<(), FileError> {
    let beside = folder_sync::begin(folder_of(path));
    let synced = file.sync_all().map_err(FileError::at("sync", path));
    let named = match beside {
        Some(pending) => pending.wait().map_err(FileError::at("sync", folder_of(path))),
        None => sync_folder(path),
    };
    synced.and(named)
}

/// What new files are created with: nobody else reads what is only half there.
const CREATED_MODE: u32 = 0o600;

fn write_new(path: &Path, content: &[u8], how: WriteMode) -> Result<File, FileError> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(CREATED_MODE)
        .open(path)
        .map_err(FileError::at("create", path))?;
    fill(file, path, content, how)
}

/// Gives a new file its content, owner and mode.
fn fill(mut file: File, path: &Path, content: &[u8], how: WriteMode) -> Result<File, FileError> {
    file.write_all(content).map_err(FileError::at("write", path))?;
    if let Some((uid, gid)) = how.owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))
            .map_err(FileError::at("change owner of", path))?;
    }
    if how.mode != CREATED_MODE || how.owner.is_some() {
        // After chown, which clears set-id bits; and by descriptor, which the umask does not touch.
        let mode = rustix::fs::Mode::from_raw_mode(how.mode);
        rustix::fs::fchmod(&file, mode)
            .map_err(|e| FileError::at("change mode of", path)(e.into()))?;
    }
    Ok(file)
}

/// A name in the same folder that no other write uses. It begins with a dot and does not end in
/// `.xml`, so that no reader of the folder takes it for an object.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // A name may have 255 bytes; keep enough of it to recognise.
    let stem: String =
        path.file_name().unwrap_or_default().to_string_lossy().chars().take(40).collect();
    let mut name = OsString::from(".");
    name.push(format!("{stem}.{}.{count}.new", std::process::id()));
    path.with_file_name(name)
}

/// Makes a folder's entries durable: the names in it, after create, rename or remove.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = folder_of(path);
    folder_sync::sync(folder).map_err(FileError::at("sync", folder))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is longer (`FileTooLarge`).
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::at("open", path))?;
    read_to_limit(file, path, limit)
}

fn read_to_limit(file: File, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut content).map_err(FileError::at("read", path))?;
    if content.len() > limit {
        return Err(FileError::at("read", path)(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(content)
}

/// Reads a file that says what we (root, as a rule) are to do: only if nobody but us or root could have
/// written it, and never through a link or from a pipe. For folders that were a guest user's once.
///
/// # Errors
/// As [`read_bounded`]; `PermissionDenied` for a file that another user owns or may write.
pub fn read_own(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    use std::os::unix::fs::MetadataExt;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(FileError::at("open", path))?;
    let found = file.metadata().map_err(FileError::at("read", path))?;
    let ours = [0, rustix::process::geteuid().as_raw()].contains(&found.uid());
    if !found.is_file() || !ours || found.mode() & 0o022 != 0 {
        return Err(FileError::at("trust", path)(io::ErrorKind::PermissionDenied.into()));
    }
    read_to_limit(file, path, limit)
}

/// Removes a file; one that is not there is no fault. Returns whether it was.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path, durable: bool) -> Result<bool, FileError> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(FileError::at("remove", path)(error)),
    }
    if durable {
        sync_folder(path)?;
    }
    Ok(true)
}

/// Makes a folder and its parents with the given mode; one that is there is left as it is.
///
/// # Errors
/// One of them cannot be made, or is no folder.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(FileError::at("create", path))
}

/// Opens a log for appending, made with mode 0600 if it is not there. Never a link: the folder may
/// belong to a user who would have us write elsewhere.
///
/// # Errors
/// It cannot be opened.
pub fn open_log(path: &Path) -> Result<File, FileError> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(FileError::at("open", path))
}

/// The end of a file, at most `limit` bytes, from offset `from` on: what a guest's log got since
/// its start. A cut at the front is moved to the next line.
///
/// # Errors
/// It cannot be read.
pub fn read_tail(path: &Path, from: u64, limit: u64) -> Result<String, FileError> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path).map_err(FileError::at("open", path))?;
    let length = file.metadata().map_err(FileError::at("read", path))?.len();
    let start = from.max(length.saturating_sub(limit));
    file.seek(SeekFrom::Start(start)).map_err(FileError::at("read", path))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
    let text = String::from_utf8_lossy(&bytes);
    if start > from
        && let Some((_, rest)) = text.split_once('\n')
    {
        return Ok(rest.to_owned());
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_whole_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm.xml");
        write_atomic(&path, b"one", WriteMode::PRIVATE).unwrap();
        write_atomic(&path, b"two", WriteMode { mode: 0o666, ..WriteMode::RUNTIME }).unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o666);
        assert_eq!(read_bounded(&path, 2).unwrap_err().source.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no litter");
        assert!(remove(&path, true).unwrap());
        assert!(!remove(&path, true).unwrap());
    }

    #[test]
    fn failure_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder");
        std::fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"x", WriteMode::PRIVATE).unwrap_err();
        assert_eq!((error.action, error.path.as_path()), ("rename", path.as_path()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no litter");
        let lost = dir.path().join("no/such/file");
        assert!(write_atomic(&lost, b"x", WriteMode::PRIVATE).unwrap_err().is_not_found());
    }

    #[test]
    fn tail_of_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm.log");
        open_log(&path).unwrap().write_all(b"old\nfirst\nsecond\n").unwrap();
        assert_eq!(read_tail(&path, 4, 100).unwrap(), "first\nsecond\n");
        assert_eq!(read_tail(&path, 4, 9).unwrap(), "second\n");
        assert_eq!(read_tail(&path, 400, 9).unwrap(), "");
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(open_log(&dir.path().join("link")).is_err());
    }
}
