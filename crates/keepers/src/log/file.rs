//! One log on disk: bounded by rolling over.
//!
//! `NAME` grows to the limit, then becomes `NAME.0`, which was moved to `NAME.1`, and so on; the
//! oldest goes. What does not fit on the disk is counted and said so once there is room.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use host::access::{OpenMode, place};

/// How much a log may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes at which a file rolls over; 0: never.
    pub max_size: u64,
    /// Files kept beside the current one.
    pub max_backups: u32,
}

impl Default for Limits {
    /// virtlogd's: 2 MiB and 3.
    fn default() -> Self {
        Self { max_size: 2 << 20, max_backups: 3 }
    }
}

/// The most backups that are ever moved about, whatever the settings say.
const MAX_BACKUPS: u32 = 1000;

/// A log open for writing.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Whose links are not followed.
    guest: u32,
    limits: Limits,
    file: File,
    /// A pipe or a device is written to and never rolled.
    regular: bool,
    size: u64,
    lost: u64,
    lost_for: String,
}

impl LogFile {
    /// Opens or makes the file (mode 0600), without following a link of user `guest`.
    ///
    /// # Errors
    /// As of opening it.
    pub fn open(path: &Path, guest: u32, limits: Limits, truncate: bool) -> io::Result<Self> {
        let mode = if truncate { OpenMode::Empty } else { OpenMode::Append };
        let file = host::access::open(path, guest, mode)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let regular = metadata.is_file();
        let size = if regular { metadata.len() } else { 0 };
        let path = path.to_owned();
        Ok(Self { path, guest, limits, file, regular, size, lost: 0, lost_for: String::new() })
    }

    /// Inode and length.
    pub fn position(&self) -> (u64, u64) {
        (self.file.metadata().map_or(0, |metadata| metadata.ino()), self.size)
    }

    /// Writes what there is room for. What the disk does not take is lost and, later, said to be.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.lost > 0 {
            let note =
                format!("\n[{} bytes of output were lost here: {}]\n", self.lost, self.lost_for);
            if self.put(note.as_bytes()).is_err() {
                self.lost = self.lost.saturating_add(bytes.len() as u64);
                return;
            }
            self.lost = 0;
        }
        if let Err((left, error)) = self.put(bytes) {
            self.lose(left as u64, &error.to_string());
        }
    }

    /// Counts bytes that are not written.
    pub fn lose(&mut self, bytes: u64, why: &str) {
        if self.lost == 0 && bytes > 0 {
            tracing::warn!(path = %self.path.display(), why, "a guest's output is lost");
            self.lost_for = why.to_owned();
        }
        self.lost = self.lost.saturating_add(bytes);
    }

    /// On an error: how many bytes were not written.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        while !bytes.is_empty() {
            let mut room = bytes.len();
            if self.regular && self.limits.max_size > 0 {
                // Others write to it, too (the daemon's notes, an administrator's truncation).
                self.size = self.file.metadata().map_or(self.size, |metadata| metadata.len());
                if self.size >= self.limits.max_size {
                    self.roll().map_err(|error| (bytes.len(), error))?;
                }
                let left = self.limits.max_size.saturating_sub(self.size);
                room = room.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1);
            }
            match self.file.write(bytes.get(..room).unwrap_or(bytes)) {
                Ok(0) => return Err((bytes.len(), io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.size = self.size.saturating_add(written as u64);
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((bytes.len(), error)),
            }
        }
        Ok(())
    }

    fn roll(&mut self) -> io::Result<()> {
        let moved = self.move_backups();
        if let Err(error) = &moved {
            // The bound holds all the same.
            tracing::warn!(path = %self.path.display(), %error, "not kept; starting over");
        }
        if moved.is_err() || self.limits.max_backups == 0 {
            self.file.set_len(0)?;
        } else {
            self.file = host::access::open(&self.path, self.guest, OpenMode::Append)?;
        }
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    fn move_backups(&self) -> io::Result<()> {
        // Kept: its path leads through a descriptor of it.
        let held = place(&self.path, self.guest)?;
        let here = held.path();
        let count = self.limits.max_backups.min(MAX_BACKUPS);
        for number in (1..count).rev() {
            match fs::rename(backup(&here, number - 1), backup(&here, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if count == 0 { Ok(()) } else { fs::rename(&here, backup(&here, 0)) }
    }
}

/// `NAME.number`.
fn backup(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// At most `limit` bytes from `offset` of the file with this inode on, which may have been rolled
/// over since; goes on in the files after it.
///
/// # Errors
/// No such file is there any more, or it cannot be read.
pub fn read(
    path: &Path,
    guest: u32,
    limits: Limits,
    (inode, offset): (u64, u64),
    limit: usize,
) -> io::Result<Vec<u8>> {
    let oldest = limits.max_backups.min(MAX_BACKUPS);
    let names = (0..oldest).rev().map(|number| backup(path, number)).chain([path.to_owned()]);
    let mut found = Vec::new();
    let mut text = Vec::new();
    for name in names {
        let file = match host::access::open(&name, guest, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            continue;
        }
        let first = found.is_empty();
        if first && metadata.ino() != inode {
            continue;
        }
        found.push(name);
        let mut file = file;
        file.seek(SeekFrom::Start(if first { offset } else { 0 }))?;
        let room = limit.saturating_sub(text.len());
        file.take(room as u64).read_to_end(&mut text)?;
        if text.len() >= limit {
            break;
        }
    }
    // EBADF, as virtlogd says.
    if found.is_empty() { Err(rustix::io::Errno::BADF.into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { max_size: 10, max_backups: 2 };

    fn content(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| error.kind().to_string())
    }

    #[test]
    fn a_log_rolls_over_at_its_limit_and_forgets_the_oldest() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 0, SMALL, false).expect("open");
        let begin = log.position();
        log.write(b"0123456789abcdefghij");
        assert_eq!(
            (content(&path), content(&backup(&path, 0))),
            ("abcdefghij".into(), "0123456789".into())
        );
        assert_eq!(read(&path, 0, SMALL, (begin.0, 8), 6).expect("both"), b"89abcd");
        log.write(b"klmnopqrstuv");
        assert_eq!(content(&path), "uv");
        assert_eq!(content(&backup(&path, 1)), "abcdefghij");
        assert!(!backup(&path, 2).exists());
        assert_eq!(log.position().1, 2);
    }

    #[test]
    fn without_backups_a_log_starts_over() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("log");
        let limits = Limits { max_size: 4, max_backups: 0 };
        LogFile::open(&path, 0, limits, false).expect("open").write(b"abcdefg");
        assert_eq!(content(&path), "efg");
        LogFile::open(&path, 0, limits, true).expect("open").write(b"x");
        assert_eq!(content(&path), "x");
    }

    #[test]
    fn what_is_lost_is_said_when_there_is_room_again() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 0, Limits::default(), false).expect("open");
        log.lose(7, "no room");
        log.write(b"on\n");
        assert_eq!(content(&path), "\n[7 bytes of output were lost here: no room]\non\n");
        // A device that is always full, written to as a log.
        let mut full = LogFile::open(Path::new("/dev/full"), 0, SMALL, false).expect("open");
        full.write(b"hello");
        assert_eq!(full.lost, 5);
    }
}
