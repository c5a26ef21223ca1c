//! A guest's own `/dev`. libvirtd gives each QEMU a mount namespace in which `/dev` holds only the
//! nodes of devices that the guest uses; one that comes while the guest runs needs its node there.

use crate::cgroup::{Device, DeviceKind};
use rustix::fs::{FileType, Mode};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where nodes of devices are.
const DEV: &str = "/dev";

/// How a path of the host is reached in the process's own tree of files.
fn within(pid: u32, path: &Path) -> PathBuf {
    Path::new("/proc")
        .join(pid.to_string())
        .join("root")
        .join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a process sees another `/dev` than this one does.
///
/// # Errors
/// The process is gone, or there is no right to look.
pub fn has_own_dev(pid: u32) -> io::Result<bool> {
    let (theirs, ours) = (fs::metadata(within(pid, Path::new(DEV)))?, fs::metadata(DEV)?);
    Ok((theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()))
}

/// Makes the node of a device in a process's own `/dev`, for `owner` (or as it is on the host), where
/// it is not there yet. A path outside `/dev` is the same there as here.
///
/// # Errors
/// Those of the system.
pub fn add_node(
    pid: u32,
    path: &Path,
    device: Device,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    if !path.starts_with(DEV) {
        return Ok(());
    }
    // What the path leads to; the path itself becomes a link to that.
    let node = fs::canonicalize(path)?;
    let there = within(pid, &node);
    make_folder(&there)?;
    let host = fs::metadata(&node)?;
    let (mode, owner) = match owner {
        Some(owner) => (0o600, owner),
        None => (host.mode() & 0o777, (host.uid(), host.gid())),
    };
    let kind = match device.kind {
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Char => FileType::CharacterDevice,
    };
    // Nobody may open it before it is whose it is to be.
    match rustix::fs::mknodat(rustix::fs::CWD, &there, kind, Mode::empty(), host.rdev()) {
        Err(rustix::io::Errno::EXIST) => {}
        made => {
            made?;
            std::os::unix::fs::lchown(&there, Some(owner.0), Some(owner.1))?;
            fs::set_permissions(&there, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
    }
    if node != path {
        let link = within(pid, path);
        make_folder(&link)?;
        match std::os::unix::fs::symlink(&node, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes the node at a path out of a process's own `/dev`. One that is not there is no fault.
///
/// # Errors
/// Those of the system.
pub fn remove_node(pid: u32, path: &Path) -> io::Result<()> {
    if !path.starts_with(DEV) || !has_own_dev(pid)? {
        return Ok(());
    }
    let node = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for path in [path, &node] {
        match fs::remove_file(within(pid, path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn make_folder(of: &Path) -> io::Result<()> {
    of.parent().map_or(Ok(()), fs::create_dir_all)
}
