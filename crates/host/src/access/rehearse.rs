//! Telling in advance, and by name, which folder keeps a user from a file.
//!
//! "Permission denied" from QEMU names the disk, but nearly always it is a folder above it (a home,
//! mode 0700) that refuses. This walks the path as the kernel would for that user.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::acl;

/// Whose access is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Identity {
    pub(super) fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// What is to be done with the file itself. The folders above need search permission in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Only to reach it: its own owner will be changed before use.
    Reach,
    /// To read it.
    Read,
    /// To read and write it.
    ReadWrite,
}

/// Why a path is not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// There is no such file or folder.
    Missing,
    /// A component that should be a folder is none.
    NotAFolder,
    /// The user may not search this folder.
    Search,
    /// The user may not read this file.
    Read,
    /// The user may not write this file.
    Write,
    /// The file lies on a file system mounted read-only.
    ReadOnly,
    /// Symbolic links lead in a circle.
    Loop,
    /// The component could not be looked at (error number).
    Unknown(i32),
}

/// The component of a path that keeps a user out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The component, with symbolic links above it resolved.
    pub path: PathBuf,
    /// Why.
    pub reason: DenialReason,
    /// The component's permission bits; 0 if it could not be looked at.
    pub mode: u32,
    /// The component's user and group.
    pub owner: (u32, u32),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let bits = format_args!("mode {:04o}, owner {}:{}", self.mode, self.owner.0, self.owner.1);
        match self.reason {
            DenialReason::Missing => write!(f, "{path} does not exist"),
            DenialReason::NotAFolder => write!(f, "{path} is not a directory"),
            DenialReason::Search => write!(f, "no search permission on directory {path} ({bits})"),
            DenialReason::Read => write!(f, "no read permission on {path} ({bits})"),
            DenialReason::Write => write!(f, "no write permission on {path} ({bits})"),
            DenialReason::ReadOnly => write!(f, "{path} is on a read-only file system"),
            DenialReason::Loop => write!(f, "too many symbolic links at {path}"),
            DenialReason::Unknown(errno) => {
                write!(f, "cannot look at {path}: {}", io::Error::from_raw_os_error(errno))
            }
        }
    }
}

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Walks an absolute path as the kernel would for `who`. What security modules forbid is not seen.
///
/// # Errors
/// The first component that refuses.
pub fn rehearse(path: &Path, who: &Identity, want: Want) -> Result<(), Denial> {
    let mut here = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = names(path);
    let mut links = 0;
    loop {
        let data = std::fs::symlink_metadata(&here).map_err(|e| unseen(&here, &e))?;
        if data.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(denial(&here, DenialReason::Loop, &data));
            }
            let target = std::fs::read_link(&here).map_err(|e| unseen(&here, &e))?;
            for name in names(&target).into_iter().rev() {
                rest.push_front(name);
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            } else {
                here.pop();
            }
            continue;
        }
        let Some(name) = rest.pop_front() else { return last(&here, &data, who, want) };
        if !data.is_dir() {
            return Err(denial(&here, DenialReason::NotAFolder, &data));
        }
        if !may(&here, &data, who, 1) {
            return Err(denial(&here, DenialReason::Search, &data));
        }
        if name == ".." {
            here.pop();
        } else {
            here.push(name);
        }
    }
}

fn last(path: &Path, data: &std::fs::Metadata, who: &Identity, want: Want) -> Result<(), Denial> {
    if want != Want::Reach && !may(path, data, who, 4) {
        return Err(denial(path, DenialReason::Read, data));
    }
    if want == Want::ReadWrite {
        if !may(path, data, who, 2) {
            return Err(denial(path, DenialReason::Write, data));
        }
        let read_only =
            |s: rustix::fs::StatVfs| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        if (data.is_file() || data.is_dir()) && rustix::fs::statvfs(path).is_ok_and(read_only) {
            return Err(denial(path, DenialReason::ReadOnly, data));
        }
    }
    Ok(())
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn may(path: &Path, data: &std::fs::Metadata, who: &Identity, want: u16) -> bool {
    if who.uid == 0 {
        return true;
    }
    let owner = (data.uid(), data.gid());
    let mut buffer = [0; 4096];
    if let Ok(length) = rustix::fs::getxattr(path, "system.posix_acl_access", &mut buffer)
        && let Some(answer) =
            acl::allowed(buffer.get(..length).unwrap_or_default(), owner, who, want)
    {
        return answer;
    }
    let shift = if who.uid == owner.0 {
        6
    } else if who.in_group(owner.1) {
        3
    } else {
        0
    };
    (data.mode() >> shift) & u32::from(want) == u32::from(want)
}

fn denial(path: &Path, reason: DenialReason, data: &std::fs::Metadata) -> Denial {
    Denial {
        path: path.to_owned(),
        reason,
        mode: data.mode() & 0o7777,
        owner: (data.uid(), data.gid()),
    }
}

fn unseen(path: &Path, error: &io::Error) -> Denial {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => DenialReason::Missing,
        _ => DenialReason::Unknown(error.raw_os_error().unwrap_or(0)),
    };
    Denial { path: path.to_owned(), reason, mode: 0, owner: (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn names_the_folder_that_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let mode =
            |path: &Path, bits| fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
        mode(&base, 0o755);
        let home = base.join("home");
        fs::create_dir_all(home.join("images")).unwrap();
        let disk = home.join("images/disk");
        fs::write(&disk, "").unwrap();
        mode(&disk, 0o644);
        symlink("home/images/../images", base.join("link")).unwrap();
        symlink("circle", base.join("circle")).unwrap();
        let nobody = Identity { uid: 54321, gid: 54321, groups: vec![] };
        let check = |path: &Path, want, expected: Option<(&Path, DenialReason)>| {
            let found = rehearse(path, &nobody, want).err().map(|d| (d.path, d.reason));
            assert_eq!(found, expected.map(|(p, r)| (p.to_owned(), r)), "{}", path.display());
        };
        // Where the temporary folder itself is private, nothing else can be told.
        if rehearse(&base, &nobody, Want::Reach).is_err() {
            return;
        }
        let linked = base.join("link/disk");
        check(&linked, Want::Read, None);
        check(&linked, Want::ReadWrite, Some((&disk, DenialReason::Write)));
        mode(&home, 0o700);
        check(&linked, Want::Reach, Some((&home, DenialReason::Search)));
        mode(&home, 0o711);
        check(&linked, Want::Reach, None);
        check(
            &base.join("circle/x"),
            Want::Reach,
            Some((&base.join("circle"), DenialReason::Loop)),
        );
        check(&disk.join("x"), Want::Reach, Some((&disk, DenialReason::NotAFolder)));
        let none = home.join("none");
        check(&none, Want::Reach, Some((&none, DenialReason::Missing)));
        let root = Identity { uid: 0, gid: 0, groups: vec![] };
        mode(&home, 0o000);
        assert_eq!(rehearse(&disk, &root, Want::ReadWrite), Ok(()));
        mode(&home, 0o700);
        let text = rehearse(&linked, &nobody, Want::Reach).unwrap_err().to_string();
        assert!(
            text.starts_with("no search permission on directory ")
                && text.contains("(mode 0700, owner "),
            "{text}"
        );
    }
}
