//! Taking hold of a file by its path where a guest's user may have put traps: the folders in which
//! QEMU makes its sockets and files are QEMU's user's, who may replace any name there by a link to
//! `/etc/shadow` while we (root) are about to change that name's owner.

use std::collections::VecDeque;
use std::ffi::OsString;
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
}
