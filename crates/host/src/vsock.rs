//! Guests on the host's vsock.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The first context id a guest may have; those below mean the hypervisor and the host.
const FIRST_CID: u32 = 3;

/// Opens the vhost device at `path` and gives it the context id `wanted`, or else the first free
/// one; says which.
///
/// # Errors
/// No such device, or the context id is taken (`AddrInUse`).
pub fn open(path: &Path, wanted: Option<u32>) -> io::Result<(OwnedFd, u32)> {
    let device: OwnedFd = File::options().read(true).write(true).open(path)?.into();
    if let Some(cid) = wanted {
        host_sys::set_guest_cid(device.as_fd(), cid)?;
        return Ok((device, cid));
    }
    for cid in FIRST_CID..u32::MAX {
        match host_sys::set_guest_cid(device.as_fd(), cid) {
            Ok(()) => return Ok((device, cid)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_vsock_is_refused() {
        assert!(open(Path::new("/dev/null"), Some(3)).is_err());
        assert!(open(Path::new("/dev/null"), None).is_err());
        assert!(open(Path::new("/nonexistent"), None).is_err());
    }
}
