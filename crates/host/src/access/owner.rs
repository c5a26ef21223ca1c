//! Ownership, recorded on the file itself as libvirt does, so that either may finish what the other
//! began: `trusted.libvirt.security.dac` holds the original owner (`+UID:+GID`), `…ref_dac` how many
//! guests use the file, `…timestamp_dac` the host's boot time, which tells a record of an earlier
//! boot (nobody uses the file any more) from a true one. While they are changed, byte 1 of the file
//! is locked. (Observed of libvirtd 11.3; it writes no record for read-only and shared disks, and
//! does not give those back.)

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::hold::{FileId, hold};
use host_sys::{LockKind, LockOwner, lock_holder, set_lock};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

const OWNER: &str = "trusted.libvirt.security.dac";
const COUNT: &str = "trusted.libvirt.security.ref_dac";
const BOOT: &str = "trusted.libvirt.security.timestamp_dac";

/// How long the lock of a file is waited for. Whoever holds it rightly does so for moments.
const LOCK_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// A file's user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What [`claim`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose the file was before any guest used it. Record it elsewhere too if not `recorded`.
    pub original: Owner,
    /// Whether that is written on the file.
    pub recorded: bool,
    /// Which file it is: what is given back must be the same.
    pub file: FileId,
}

/// Why ownership could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Other guests use the file as another user's.
    #[error("setting different DAC user or group on {} which is already in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// Whose it is now.
        owner: Owner,
    },
    /// Somebody holds the lock under which ownership is changed.
    #[error("'{}' is locked by {holder} for {waited:?} and more", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// The process, where the kernel names it.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The name stands for another file by now.
    #[error("'{}' is no longer the file that was lent to the guest", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("unable to {action} '{}': {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AccessError {
    /// The same error, told of `path`.
    fn of(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::InUse { owner, .. } => Self::InUse { path, owner },
            Self::Locked { holder, waited, .. } => Self::Locked { path, holder, waited },
            Self::Replaced { .. } => Self::Replaced { path },
            Self::Io { action, source, .. } => Self::Io { action, path, source },
        }
    }
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AccessError {
    let path = path.to_owned();
    move |source| AccessError::Io { action, path, source }
}

/// Gives a file to `owner`. With `record`, writes down whose it was; where the file system has no
/// room for that, the claim says so.
///
/// # Errors
/// The file is in use with another owner, or cannot be changed.
pub fn claim(path: &Path, owner: Owner, record: bool) -> Result<Claim, AccessError> {
    let held = hold(path, owner.uid).map_err(fault("open", path))?;
    let file = held.id().map_err(fault("stat", path))?;
    claim_held(&held.path(), file, owner, record).map_err(|error| error.of(path))
}

/// The same with a path that always means the same file.
fn claim_held(path: &Path, file: FileId, owner: Owner, record: bool) -> Result<Claim, AccessError> {
    let _lock = if record { lock(path)? } else { None };
    let now = owner_of(path)?;
    let mut claim = Claim { original: now, recorded: false, file };
    if record {
        match Record::read(path) {
            Some(found) => {
                if found.count > 0 && now != owner {
                    return Err(AccessError::InUse { path: path.to_owned(), owner: now });
                }
                claim.original = found.original;
                let next = Record { count: found.count.saturating_add(1), ..found };
                claim.recorded = next.write(path)?;
            }
            None => {
                let recorded = Record::new(now).map(|record| record.write(path)).transpose()?;
                claim.recorded = recorded.unwrap_or(false);
            }
        }
    }
    if now != owner
        && let Err(error) = chown(path, owner)
    {
        // The record must not outlive a claim that did not come about.
        if claim.recorded {
            Record::take_one(path);
        }
        return Err(error);
    }
    Ok(claim)
}

/// Gives a claimed file back: to the recorded owner once no other guest uses it, or, where nothing
/// is recorded, to `fallback` (nobody if `None`). A file that is gone is no fault. Returns the new
/// owner, `None` if it stays as it is.
///
/// The guest's user had the file, and perhaps its folder: no link of user `guest` is followed, and
/// only the file that was claimed (where `claimed` tells) is given back.
///
/// # Errors
/// The file cannot be changed, is locked, or is another one by now.
pub fn release(
    path: &Path,
    guest: u32,
    claimed: Option<FileId>,
    fallback: Option<Owner>,
) -> Result<Option<Owner>, AccessError> {
    let held = match hold(path, guest) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fault("open", path)(e)),
        Ok(held) => held,
    };
    let found = held.id().map_err(fault("stat", path))?;
    if claimed.is_some_and(|claimed| claimed != found) {
        return Err(AccessError::Replaced { path: path.to_owned() });
    }
    release_held(&held.path(), fallback).map_err(|error| error.of(path))
}

/// How many guests a file is lent to by what is recorded on it.
pub fn claims(path: &Path) -> usize {
    Record::read(path).map_or(0, |record| usize::try_from(record.count).unwrap_or(usize::MAX))
}

/// A guest goes on with another image: writes down on `to` that it is given back to whom `from` was
/// lent by, as libvirt does at a pivot. Nothing is done where `to` has a record of its own or `from`
/// has none. Returns which file `to` is when it was done. No link of user `guest` is followed.
///
/// # Errors
/// A file cannot be opened or changed, or is locked.
pub fn pass_on(from: &Path, to: &Path, guest: u32) -> Result<Option<FileId>, AccessError> {
    let from_held = hold(from, guest).map_err(fault("open", from))?;
    let to_held = hold(to, guest).map_err(fault("open", to))?;
    let file = to_held.id().map_err(fault("stat", to))?;
    let Some(record) = Record::read(&from_held.path()) else { return Ok(None) };
    let _lock = lock(&to_held.path()).map_err(|error| error.of(to))?;
    if Record::read(&to_held.path()).is_some() {
        return Ok(None);
    }
    let written = Record { count: 1, ..record }.write(&to_held.path());
    Ok(written.map_err(|error| error.of(to))?.then_some(file))
}

/// The same with a path that always means the same file.
fn release_held(path: &Path, fallback: Option<Owner>) -> Result<Option<Owner>, AccessError> {
    let _lock = lock(path)?;
    let target = match Record::read(path) {
        Some(record) if record.count > 1 => {
            Record { count: record.count - 1, ..record }.write(path)?;
            return Ok(None);
        }
        Some(record) => {
            Record::remove(path);
            Some(record.original)
        }
        None => fallback,
    };
    if let Some(owner) = target {
        chown(path, owner)?;
    }
    Ok(target)
}

fn owner_of(path: &Path) -> Result<Owner, AccessError> {
    let data = std::fs::metadata(path).map_err(fault("stat", path))?;
    Ok(Owner { uid: data.uid(), gid: data.gid() })
}

fn chown(path: &Path, owner: Owner) -> Result<(), AccessError> {
    std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))
        .map_err(fault("set ownership of", path))
}

/// Locks the record. Only plain files: opening a device may do things, and libvirt locks none either.
fn lock(path: &Path) -> Result<Option<File>, AccessError> {
    let kind = std::fs::metadata(path).map_err(fault("stat", path))?.file_type();
    if !kind.is_file() {
        return Ok(None);
    }
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        // No record can be written there either.
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(None),
        Err(e) => return Err(fault("open", path)(e)),
    };
    // Not with the kernel's own wait, which has no end: QEMU's user may lock what it may write.
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match set_lock(file.as_fd(), 1, 1, LockKind::Write, LockOwner::Description, false) {
            Ok(()) => return Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(e) => return Err(fault("lock", path)(e)),
        }
        if start.elapsed() >= LOCK_PATIENCE {
            let holder = match lock_holder(file.as_fd(), 1, 1) {
                Ok(Some(pid)) if pid > 0 => format!("process {pid}"),
                _ => "another process".to_owned(),
            };
            let path = path.to_owned();
            return Err(AccessError::Locked { path, holder, waited: LOCK_PATIENCE });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    original: Owner,
    count: u32,
    /// When the host was booted, as whoever began the record reckoned.
    boot: u64,
}

/// By how many seconds two may differ about when the host was booted: it is reckoned from a clock
/// that is set right now and then, and rounded. No guest of an earlier boot was that close.
const BOOT_DIFFERENCE: u64 = 30;

impl Record {
    /// The record on a file; `None` if there is none, it cannot be understood, or it is of an
    /// earlier boot.
    fn read(path: &Path) -> Option<Self> {
        let count = attribute(path, COUNT)?.parse().ok()?;
        let boot: u64 = attribute(path, BOOT)?.parse().ok()?;
        if boot.abs_diff(crate::facts::boot_time()?) > BOOT_DIFFERENCE {
            return None;
        }
        Some(Self { original: parse_owner(&attribute(path, OWNER)?)?, count, boot })
    }

    /// That of a first guest; none where nobody knows when the host was booted.
    fn new(original: Owner) -> Option<Self> {
        Some(Self { original, count: 1, boot: crate::facts::boot_time()? })
    }

    /// Writes the record; false where the file system (or our lack of rights) does not allow it.
    fn write(self, path: &Path) -> Result<bool, AccessError> {
        let Owner { uid, gid } = self.original;
        // The count last: without it the others mean nothing.
        for (name, value) in [
            (OWNER, format!("+{uid}:+{gid}")),
            (BOOT, self.boot.to_string()),
            (COUNT, self.count.to_string()),
        ] {
            match rustix::fs::setxattr(path, name, value.as_bytes(), XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOTSUP | Errno::NOSYS | Errno::PERM | Errno::ROFS) => return Ok(false),
                Err(e) => return Err(fault("set XATTR on", path)(e.into())),
            }
        }
        Ok(true)
    }

    fn take_one(path: &Path) {
        match Self::read(path) {
            Some(record) if record.count > 1 => {
                let _ = Self { count: record.count - 1, ..record }.write(path);
            }
            _ => Self::remove(path),
        }
    }

    fn remove(path: &Path) {
        for name in [COUNT, OWNER, BOOT] {
            let _ = rustix::fs::removexattr(path, name);
        }
    }
}

fn attribute(path: &Path, name: &str) -> Option<String> {
    let mut buffer = [0; 64];
    let length = rustix::fs::getxattr(path, name, &mut buffer).ok()?;
    String::from_utf8(buffer.get(..length)?.to_vec()).ok()
}

fn parse_owner(text: &str) -> Option<Owner> {
    let (uid, gid) = text.split_once(':')?;
    let number = |part: &str| part.strip_prefix('+')?.parse().ok();
    Some(Owner { uid: number(uid)?, gid: number(gid)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::id_of;

    const QEMU: Owner = Owner { uid: 4711, gid: 4712 };

    #[test]
    fn recorded_owner() {
        assert_eq!(parse_owner("+0:+7"), Some(Owner { uid: 0, gid: 7 }));
        assert_eq!(parse_owner("0:7"), None);
        assert_eq!(parse_owner("+0"), None);
    }

    #[test]
    fn claims_are_counted_and_undone() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, "").unwrap();
        let original = Owner { uid: 12, gid: 34 };
        chown(&path, original).unwrap();

        let first = claim(&path, QEMU, true).unwrap();
        assert_eq!(first.original, original);
        assert_eq!(owner_of(&path).unwrap(), QEMU);
        if !first.recorded {
            assert_eq!(release(&path, QEMU.uid, None, Some(original)).unwrap(), Some(original));
            return;
        }
        assert_eq!(attribute(&path, OWNER).unwrap(), "+12:+34");
        assert_eq!(attribute(&path, COUNT).unwrap(), "1");
        let other = claim(&path, Owner { uid: 1, gid: 1 }, true);
        assert!(matches!(other, Err(AccessError::InUse { owner: QEMU, .. })));
        assert_eq!(claim(&path, QEMU, true).unwrap().original, original);
        assert_eq!(attribute(&path, COUNT).unwrap(), "2");
        assert_eq!(release(&path, QEMU.uid, None, None).unwrap(), None, "another guest uses it");
        assert_eq!(release(&path, QEMU.uid, None, None).unwrap(), Some(original));
        assert_eq!(owner_of(&path).unwrap(), original);
        assert_eq!(attribute(&path, COUNT), None);
        assert_eq!(release(&path, QEMU.uid, None, None).unwrap(), None);

        // The clock was set by seconds since: the same boot, and whose record it is keeps its number.
        chown(&path, original).unwrap();
        claim(&path, QEMU, true).unwrap();
        let shifted = (crate::facts::boot_time().unwrap() - 3).to_string();
        rustix::fs::setxattr(&path, BOOT, shifted.as_bytes(), XattrFlags::empty()).unwrap();
        assert_eq!(claim(&path, QEMU, true).unwrap().original, original);
        assert_eq!(attribute(&path, BOOT), Some(shifted));
        release(&path, QEMU.uid, None, None).unwrap();
        assert_eq!(release(&path, QEMU.uid, None, None).unwrap(), Some(original));
        chown(&path, QEMU).unwrap();

        // A record of an earlier boot counts for nothing.
        claim(&path, QEMU, true).unwrap();
        rustix::fs::setxattr(&path, BOOT, b"1", XattrFlags::empty()).unwrap();
        assert_eq!(claim(&path, QEMU, true).unwrap().original, QEMU);
        assert_eq!(attribute(&path, COUNT).unwrap(), "1");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(release(&path, QEMU.uid, None, Some(original)).unwrap(), None);
    }

    #[test]
    fn the_image_that_a_guest_goes_on_with_is_given_back_like_the_one_before() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (top, base) = (dir.path().join("top"), dir.path().join("base"));
        let original = Owner { uid: 12, gid: 34 };
        for path in [&top, &base] {
            std::fs::write(path, "").unwrap();
            chown(path, original).unwrap();
        }
        chown(&base, QEMU).unwrap();
        assert_eq!(pass_on(&top, &base, QEMU.uid).unwrap(), None, "nothing is known of the first");
        if !claim(&top, QEMU, true).unwrap().recorded {
            return;
        }
        assert_eq!(pass_on(&top, &base, QEMU.uid).unwrap(), id_of(&base));
        assert_eq!(pass_on(&top, &base, QEMU.uid).unwrap(), None, "it has its own record");
        for path in [&top, &base] {
            assert_eq!(release(path, QEMU.uid, None, None).unwrap(), Some(original));
        }
    }

    #[test]
    fn unrecorded_claim() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cd.iso");
        std::fs::write(&path, "").unwrap();
        assert!(!claim(&path, QEMU, false).unwrap().recorded);
        assert_eq!(attribute(&path, COUNT), None);
        assert!(claim(&dir.path().join("none"), QEMU, false).is_err());
    }

    #[test]
    fn only_what_was_lent_is_given_back() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("disk"), "").unwrap();
        std::fs::write(at("other"), "").unwrap();
        let file = claim(&at("disk"), QEMU, false).unwrap().file;
        chown(&at("other"), QEMU).unwrap();
        std::fs::rename(at("other"), at("disk")).unwrap();
        let root = Some(Owner { uid: 0, gid: 0 });
        let error = release(&at("disk"), QEMU.uid, Some(file), root).unwrap_err();
        assert!(matches!(error, AccessError::Replaced { .. }), "{error}");

        std::fs::write(at("shadow"), "").unwrap();
        std::fs::remove_file(at("disk")).unwrap();
        std::os::unix::fs::symlink("shadow", at("disk")).unwrap();
        std::os::unix::fs::lchown(at("disk"), Some(QEMU.uid), None).unwrap();
        assert!(release(&at("disk"), QEMU.uid, None, Some(QEMU)).is_err());
        assert_eq!(owner_of(&at("shadow")).unwrap(), Owner { uid: 0, gid: 0 });
    }

    #[test]
    fn a_lock_that_is_kept_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, "").unwrap();
        let other = File::options().read(true).write(true).open(&path).unwrap();
        set_lock(other.as_fd(), 1, 1, LockKind::Write, LockOwner::Description, false).unwrap();
        let own = owner_of(&path).unwrap();
        for error in
            [claim(&path, own, true).unwrap_err(), release(&path, own.uid, None, None).unwrap_err()]
        {
            let text = error.to_string();
            assert!(text.contains("is locked by another process") && text.contains("/disk'"));
        }
    }
}
