//! Becoming another program, with chosen descriptors at chosen numbers.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use crate::close_on_exec_from;

/// What to become.
#[derive(Debug)]
pub struct Exec {
    /// The program file.
    pub program: CString,
    /// The arguments, the first being the program's own name.
    pub args: Vec<CString>,
    /// The whole environment, each `NAME=value`.
    pub env: Vec<CString>,
    /// Descriptors and the numbers they shall have. All others are closed.
    pub fds: Vec<(OwnedFd, RawFd)>,
}

impl Exec {
    /// Replaces this process. All signals get their default action and none stays blocked.
    ///
    /// For a program with one thread whose only purpose is this: the numbers asked for are taken
    /// from whoever has them. `keep` survives a failure (it is moved out of the way first), so that
    /// the failure can be reported through it; it is closed when the call succeeds.
    ///
    /// # Errors
    /// Returns only when it failed. The process may then only report through `keep` and end.
    pub fn run(self, keep: &mut OwnedFd) -> io::Result<Infallible> {
        let free =
            self.fds.iter().map(|(_, number)| number.saturating_add(1)).max().unwrap_or(3).max(3);
        *keep = move_above(keep, free)?;
        let sources = self
            .fds
            .iter()
            .map(|(fd, number)| Ok((move_above(fd, free)?, *number)))
            .collect::<io::Result<Vec<_>>>()?;
        close_on_exec_from(3)?;
        // The originals may have numbers that are overwritten now; dropping them later would close
        // what is there then. They are given up to exec, which closes them.
        for (fd, _) in self.fds {
            let _ = fd.into_raw_fd();
        }
        for (source, number) in &sources {
            // SAFETY: `source` is open and lies above all numbers asked for, so none is overwritten
            // before its turn. What had `number` before is replaced: the contract of this function.
            if unsafe { libc::dup2(source.as_raw_fd(), *number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        default_signals();
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        // SAFETY: path and lists are null-terminated and live until the call returns (on failure).
        unsafe { libc::execve(self.program.as_ptr(), args.as_ptr(), env.as_ptr()) };
        Err(io::Error::last_os_error())
    }
}

/// A close-on-exec duplicate with a number of at least `free`.
fn move_above(fd: &OwnedFd, free: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: `fd` is open; the call makes a new descriptor and touches no other.
    let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, free) };
    if new < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Rust ignores SIGPIPE in every program; the new one shall not inherit that, nor anything else.
fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: setting the default action runs no code of ours; KILL and STOP merely refuse.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero set is a valid value, is then emptied, and is only read by the kernel.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Has the program that `command` starts run as user `uid` and group `gid` with these
/// supplementary groups. (The standard library can set the groups on nightly only, and without
/// them drops all: a user who may open `/dev/kvm` as a member of its group could not.) To be called
/// before [`die_with_parent`].
pub fn run_as(command: &mut std::process::Command, uid: u32, gid: u32, groups: Vec<u32>) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec the closure makes system calls without touching memory that
    // other threads may hold locked; the list was made before the fork.
    unsafe {
        command.pre_exec(move || {
            let done = libc::setgroups(groups.len(), groups.as_ptr()) == 0
                && libc::setgid(gid) == 0
                && libc::setuid(uid) == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
}

/// Has the program that `command` starts killed when the thread that starts it ends, which it does
/// at the latest with this process: for helpers that must not outlive us whatever happens
/// (prctl(2), `PR_SET_PDEATHSIG`).
pub fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec the closure makes one system call without touching memory
    // that other threads may hold locked; it runs after the change of user, which would clear it.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_program_has_the_groups_of_its_user() {
        // SAFETY: geteuid has no preconditions and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let mut command = std::process::Command::new("/usr/bin/id");
        command.arg("-G");
        super::run_as(&mut command, 65534, 65533, vec![7, 65531]);
        let said = command.output().expect("id runs");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "65533 7 65531");
    }
}
