//! File descriptors that this process inherited and hands over with a call (`--pass-fds`).

use super::*;
use crate::virsh::fail::fail;
use crate::virsh::util::os_error;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The numbers of `--pass-fds N,M,…`; none when the option is absent or empty.
pub fn numbers(cmd: &Cmd) -> Outcome<Vec<i32>> {
    let list = cmd.raw("pass-fds").unwrap_or_default();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    list.split(',')
        .map(|n| n.parse().map_err(|_| Fail::new(format!("Unable to parse FD number '{n}'"))))
        .collect()
}

/// Duplicates of the descriptors with these numbers, whatever they refer to.
pub fn duplicates(numbers: &[i32]) -> Outcome<Vec<OwnedFd>> {
    // Through a pidfd: a plain dup() of a number would need unsafe code, and opening
    // /proc/self/fd again fails for sockets and loses the file position.
    let me = pidfd_open(getpid(), PidfdFlags::empty())
        .map_err(|e| Fail::new(format!("cannot refer to this process: {}", os_error(&e.into()))))?;
    let mut out = Vec::new();
    for n in numbers {
        // rustix insists on a number that could be a descriptor.
        if *n < 0 {
            fail!("Cannot duplicate FD {n}: Bad file descriptor");
        }
        match pidfd_getfd(&me, *n, PidfdGetfdFlags::empty()) {
            Ok(fd) => out.push(fd),
            Err(e) => fail!("Cannot duplicate FD {n}: {}", os_error(&e.into())),
        }
    }
    Ok(out)
}

/// As a call wants them.
pub fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn sockets_and_files_are_duplicated_and_unknown_numbers_named() {
        use std::os::fd::AsRawFd;
        let (mut a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut fds = duplicates(&[b.as_raw_fd()]).unwrap();
        a.write_all(b"x").unwrap();
        let mut copy = std::os::unix::net::UnixStream::from(fds.remove(0));
        let mut byte = [0];
        copy.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert_eq!(
            duplicates(&[-1]).unwrap_err().lines,
            ["Cannot duplicate FD -1: Bad file descriptor"]
        );
    }
}
