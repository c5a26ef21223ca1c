//! Taking hold of a file by its path where a guest's user may have put traps: the folders in which
//! QEMU makes its sockets and files are QEMU's user's, who may replace any name there by a link to
//! `/etc/shadow` while we (root) are about to change that name's owner.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::Owner;

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;

/// A file held by a descriptor, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Held(OwnedFd);

impl Held {
    /// A path that means just this file.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Which file it is.
    pub(super) fn id(&self) -> io::Result<FileId> {
        let found = rustix::fs::fstat(&self.0)?;
        Ok(FileId { device: found.st_dev, inode: found.st_ino })
    }
}

/// Which file a path leads to; none where there is none.
pub fn id_of(path: &Path) -> Option<FileId> {
    let found = std::fs::metadata(path).ok()?;
    Some(FileId { device: found.dev(), inode: found.ino() })
}

/// A name in a folder that is held: what is made, opened or removed at its path is in that folder,
/// whatever becomes of the folders above.
#[derive(Debug)]
pub struct Place {
    folder: Held,
    name: OsString,
}

impl Place {
    /// The path by which this process reaches it. Its last part may still be a link.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }
}

/// Finds the place of an absolute `path` whose folder must exist. No link that belongs to user
/// `guest` is followed on the way (0: all are).
///
/// # Errors
/// As of opening the folder; `PermissionDenied` for a link of the guest's user.
pub fn place(path: &Path, guest: u32) -> io::Result<Place> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok(Place { folder: hold(folder, guest)?, name: name.to_owned() })
}

/// Makes the folders above `path` that are missing, none of them elsewhere for a link of user
/// `guest`.
///
/// # Errors
/// As of [`place`], and those of making them.
pub fn make_parents(path: &Path, guest: u32, mode: u32) -> io::Result<()> {
    let mut missing = Vec::new();
    for folder in path.ancestors().skip(1) {
        match hold(folder, guest) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(folder),
            Err(error) => return Err(error),
        }
    }
    for folder in missing.into_iter().rev() {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().mode(mode).create(place(folder, guest)?.path());
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// How [`open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading.
    Read,
    /// For reading and writing.
    ReadWrite,
    /// For writing at the end; made with mode 0600 if it is not there.
    Append,
    /// The same, emptied first.
    Empty,
}

/// Opens the file at an absolute path without following a link of user `guest`, and without
/// waiting for anybody (at the other end of a named pipe).
///
/// # Errors
/// As of opening it; `NXIO` for a named pipe that nobody reads.
pub fn open(path: &Path, guest: u32, mode: OpenMode) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let creates = matches!(mode, OpenMode::Append | OpenMode::Empty);
    let mut options = File::options();
    options
        .read(!creates)
        .write(mode == OpenMode::ReadWrite)
        .append(creates)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = match hold(path, guest) {
        Ok(held) => options.open(held.path())?,
        Err(error) if creates && error.kind() == io::ErrorKind::NotFound => {
            options.create_new(true).open(place(path, guest)?.path())?
        }
        Err(error) => return Err(error),
    };
    if mode == OpenMode::Empty && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    // Whoever gets the descriptor expects it to block.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The number in it.
    pub inode: u64,
}

/// Walks the absolute `path` as the kernel would, but follows no link that belongs to user `guest`
/// (root's are always followed).
pub(super) fn hold(path: &Path, guest: u32) -> io::Result<Held> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = || rustix::fs::openat(CWD, "/", flags, Mode::empty());
    if !path.is_absolute() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut at = root()?;
    let mut rest = parts(path);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name.is_empty() {
            at = root()?;
            continue;
        }
        let next = rustix::fs::openat(&at, &name, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&next)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(rustix::io::Errno::LOOP.into());
        }
        if guest != 0 && found.st_uid == guest {
            let name = PathBuf::from(name);
            let why = format!("'{}' is a link made by the guest's user", name.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let target = rustix::fs::readlinkat(&next, "", Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        for part in parts(&target).into_iter().rev() {
            rest.push_front(part);
        }
    }
    Ok(Held(at))
}

/// The names to walk along; an empty one stands for the root.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::RootDir => Some(OsString::new()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::Normal(name) => Some(name.to_owned()),
            Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// What [`hand_over`] expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A folder.
    Folder,
    /// A unix socket.
    Socket,
}

/// Sets mode and owner of a folder or socket that we just made, without being led elsewhere by the
/// user it is for.
///
/// # Errors
/// It is something else by now, or the system refuses.
pub fn hand_over(
    path: &Path,
    expected: Expected,
    mode: u32,
    owner: Option<Owner>,
) -> io::Result<()> {
    let held = hold(path, owner.map_or(0, |owner| owner.uid))?.path_and_kind(expected)?;
    std::fs::set_permissions(&held.1, std::fs::Permissions::from_mode(mode))?;
    if let Some(owner) = owner {
        let now = std::fs::metadata(&held.1)?;
        if (now.uid(), now.gid()) != (owner.uid, owner.gid) {
            std::os::unix::fs::chown(&held.1, Some(owner.uid), Some(owner.gid))?;
        }
    }
    Ok(())
}

impl Held {
    fn path_and_kind(self, expected: Expected) -> io::Result<(Self, PathBuf)> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&self.0)?.st_mode);
        let wanted = match expected {
            Expected::Folder => FileType::Directory,
            Expected::Socket => FileType::Socket,
        };
        if kind != wanted {
            return Err(io::Error::other("something else is there"));
        }
        let path = self.path();
        Ok((self, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn links_of_the_guests_user_are_not_followed() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let guest = Owner { uid: 4711, gid: 4711 };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        symlink("real", at("ours")).unwrap();
        symlink(at("real"), at("trap")).unwrap();
        lchown(at("trap"), Some(guest.uid), None).unwrap();
        symlink("round", at("round")).unwrap();
        for (name, expected) in [
            ("real", Ok(())),
            ("ours", Ok(())),
            ("ours/../real/.", Ok(())),
            ("trap", Err(io::ErrorKind::PermissionDenied)),
            ("trap/../real", Err(io::ErrorKind::PermissionDenied)),
            ("round", Err(io::Error::from(rustix::io::Errno::LOOP).kind())),
            ("none", Err(io::ErrorKind::NotFound)),
        ] {
            let done = hand_over(&at(name), Expected::Folder, 0o700, Some(guest));
            assert_eq!(done.map_err(|error| error.kind()), expected, "{name}");
        }
        assert_eq!(std::fs::metadata(at("real")).unwrap().uid(), guest.uid);
        assert!(hand_over(&at("real"), Expected::Socket, 0o700, None).is_err());
    }

    #[test]
    fn nothing_is_made_or_opened_through_a_trap() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let guest = 4711;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("real/file"), "old").unwrap();
        for (name, target) in [("trap", "real"), ("file", "real/file"), ("none", "nowhere")] {
            symlink(target, at(name)).unwrap();
            lchown(at(name), Some(guest), None).unwrap();
        }
        for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Append, OpenMode::Empty] {
            for name in ["file", "trap/file", "trap/new", "none"] {
                assert!(open(&at(name), guest, mode).is_err(), "{name} {mode:?}");
            }
        }
        assert!(make_parents(&at("trap/a/b/c"), guest, 0o700).is_err());
        assert!(place(&at("trap/file"), guest).is_err());
        assert_eq!(std::fs::read_dir(at("real")).unwrap().count(), 1);
        assert_eq!(std::fs::read(at("real/file")).unwrap(), b"old");
        make_parents(&at("real/a/b/c"), guest, 0o700).unwrap();
        assert!(at("real/a/b").is_dir() && !at("real/a/b/c").exists());
        open(&at("real/new"), guest, OpenMode::Append).unwrap();
        open(&at("real/file"), guest, OpenMode::Empty).unwrap();
        assert_eq!(std::fs::read(at("real/file")).unwrap(), b"");
    }

    #[test]
    fn what_is_no_file_is_neither_waited_for_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        let error = open(&pipe, 0, OpenMode::Append).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
        open(Path::new("/dev/null"), 0, OpenMode::Empty).unwrap();
    }
}
