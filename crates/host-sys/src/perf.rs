//! Counters of the kernel for a process (perf_event_open(2)).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The first version of the kernel's `perf_event_attr`, which every kernel takes.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

/// `inherit`: threads that are made later count too.
const INHERIT: u64 = 1 << 1;

/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// Starts counting `config` of `kind` (`PERF_TYPE_HARDWARE` 0, `PERF_TYPE_SOFTWARE` 1, or what a
/// file in `/sys/devices` says) for a process and what it starts. Eight bytes read from the
/// descriptor are the count.
///
/// # Errors
/// What the kernel says: `ENOENT` for a counter that this processor lacks, `EACCES` without the
/// right.
pub fn count_events(pid: u32, kind: u32, config: u64) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind,
        size: u32::try_from(size_of::<Attributes>()).unwrap_or(0),
        config,
        sample_period: 0,
        sample_type: 0,
        read_format: 0,
        flags: INHERIT,
        wakeup_events: 0,
        breakpoint_type: 0,
        config1: 0,
    };
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let any: libc::c_int = -1;
    // SAFETY: `attributes` has the layout and the size that it says, and lives through the call,
    // which only reads it; the other arguments are integers.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            pid,
            any,
            any,
            CLOSE_ON_EXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = libc::c_int::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the call returned a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_none() {
        assert!(count_events(std::process::id(), 1, u64::MAX).is_err());
        assert!(count_events(u32::MAX, 1, 0).is_err());
    }
}
