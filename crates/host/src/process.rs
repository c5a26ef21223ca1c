//! Processes, held by pidfd: a pid may be used anew, a pidfd never means another process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use host_sys::{SchedPolicy, count_events, set_scheduler};
pub use host_sys::{forget_code, give_back_freed as give_back_freed_memory};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone; it was not our child, so the system does not tell us how.
    Unknown,
}

/// A running (or just ended) process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    start_time: u64,
    pidfd: AsyncFd<OwnedFd>,
    exit: Mutex<Option<Exit>>,
}

impl Process {
    /// Takes hold of the process that has this pid now. Needs a tokio runtime.
    ///
    /// # Errors
    /// There is none (`NotFound`), or the system refuses.
    pub fn open(pid: u32) -> io::Result<Self> {
        let raw = raw_pid(pid).ok_or(io::ErrorKind::NotFound)?;
        let pidfd =
            rustix::process::pidfd_open(raw, PidfdFlags::NONBLOCK).map_err(|e| match e {
                rustix::io::Errno::SRCH => io::ErrorKind::NotFound.into(),
                e => io::Error::from(e),
            })?;
        // Read after the pidfd was opened: were the pid used anew in between, the start time would
        // be the new one's, and a comparison with the recorded one still finds out.
        let start_time = start_time(pid)?;
        // Deprecated because a type could change its descriptor under tokio's feet. An OwnedFd
        // cannot, and the replacement is an unsafe function, which this crate does not call.
        #[allow(deprecated)]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        Ok(Self { pid, start_time, pidfd, exit: Mutex::new(None) })
    }

    /// Takes hold of a process recorded earlier; `None` if it is gone (another may have its pid).
    ///
    /// # Errors
    /// The system refuses.
    pub fn reopen(pid: u32, start_time: u64) -> io::Result<Option<Self>> {
        match Self::open(pid) {
            Ok(process) if process.start_time == start_time => Ok(Some(process)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, in clock ticks since boot.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Waits until it ends. Any number of tasks may wait, also after the end; a child is reaped by
    /// the first.
    ///
    /// # Errors
    /// The system refuses, which does not happen for a pidfd.
    pub async fn exited(&self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = *self.exit_slot() {
                return Ok(exit);
            }
            let mut ready = self.pidfd.readable().await?;
            match self.collect()? {
                Some(exit) => return Ok(exit),
                None => ready.clear_ready(),
            }
        }
    }

    /// How it ended, if it has; never waits.
    ///
    /// # Errors
    /// As [`Process::exited`].
    pub fn try_exited(&self) -> io::Result<Option<Exit>> {
        if let Some(exit) = *self.exit_slot() {
            return Ok(Some(exit));
        }
        self.collect()
    }

    fn exit_slot(&self) -> std::sync::MutexGuard<'_, Option<Exit>> {
        self.exit.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn collect(&self) -> io::Result<Option<Exit>> {
        let mut slot = self.exit_slot();
        if slot.is_some() {
            return Ok(*slot);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        *slot = match rustix::process::waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options)
        {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (_, Some(signal)) => Exit::Signal(signal),
                _ => Exit::Unknown,
            }),
            Err(rustix::io::Errno::AGAIN) => None,
            // Not our child: readable means ended.
            Err(rustix::io::Errno::CHILD) => {
                readable(self.pidfd.get_ref())?.then_some(Exit::Unknown)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(*slot)
    }

    /// Asks it to end (SIGTERM). A process that has ended already is no fault.
    ///
    /// # Errors
    /// No right to.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it (SIGKILL). A process that has ended already is no fault.
    ///
    /// # Errors
    /// No right to.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The ids of its threads, ascending; empty when it is gone.
    pub fn threads(&self) -> Vec<u32> {
        threads(self.pid)
    }
}

fn raw_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn readable(fd: &OwnedFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&zero))? > 0)
}

/// When a process started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
///
/// # Errors
/// There is no such process (`NotFound`), or its line cannot be read.
pub fn start_time(pid: u32) -> io::Result<u64> {
    let line = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_start_time(&line).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_start_time(line: &[u8]) -> Option<u64> {
    // The name in parentheses may hold anything, also spaces and parentheses: count from its end.
    let end = line.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether a recorded process still runs: the pid is in use by a process of that start time, and it
/// is not merely waiting to be reaped.
pub fn is_alive(pid: u32, recorded_start: u64) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    let state = line.iter().rposition(|&b| b == b')').and_then(|end| line.get(end + 2));
    parse_start_time(&line) == Some(recorded_start) && !matches!(state, None | Some(b'Z' | b'X'))
}

/// The ids of a process's threads, ascending; empty when it is gone.
pub fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut ids: Vec<u32> =
        entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

/// The words that a process was started with, each with a NUL behind it; empty when it is gone.
pub fn command_line(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// The processes that a process has made and that are there, from all its threads. Empty when it is
/// gone, and where the kernel does not tell.
pub fn children(pid: u32) -> Vec<u32> {
    let of = |thread: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default()
    };
    let lists: Vec<String> = threads(pid).iter().map(of).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|id| id.parse().ok()).collect()
}

/// Processor time used by a process in nanoseconds (user, system), as `/proc/PID/stat` counts it;
/// `None` when it is gone.
pub fn cpu_time(pid: u32, thread: Option<u32>) -> Option<(u64, u64)> {
    let path = match thread {
        Some(thread) => format!("/proc/{pid}/task/{thread}/stat"),
        None => format!("/proc/{pid}/stat"),
    };
    let line = std::fs::read(path).ok()?;
    let end = line.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    let nanos = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Some((user.saturating_mul(nanos), system.saturating_mul(nanos)))
}

/// Resident memory of a process in bytes; `None` when it is gone.
pub fn resident_memory(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn stat_line_with_odd_name() {
        let mut line = b"12 (a) b (c) S 1".to_vec();
        for n in 2..30 {
            line.extend(format!(" {n}").bytes());
        }
        assert_eq!(parse_start_time(&line), Some(19));
        assert_eq!(parse_start_time(b"12 (x"), None);
        assert_eq!(parse_start_time(b""), None);
    }

    #[tokio::test]
    async fn child_exit_is_seen_by_all() {
        let child = Command::new("sh")
            .args(["-c", "read x; exit 7"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::open(child.id()).unwrap();
        assert_eq!(process.try_exited().unwrap(), None);
        assert!(is_alive(process.pid(), process.start_time()));
        assert!(!is_alive(process.pid(), process.start_time() + 1));
        assert!(Process::reopen(process.pid(), process.start_time() + 1).unwrap().is_none());
        drop(child); // closes its input
        let (a, b) = tokio::join!(process.exited(), process.exited());
        assert_eq!((a.unwrap(), b.unwrap()), (Exit::Code(7), Exit::Code(7)));
        assert!(!is_alive(process.pid(), process.start_time()));
        process.kill().unwrap();
    }

    #[tokio::test]
    async fn killed_child() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        process.kill().unwrap();
        assert_eq!(process.exited().await.unwrap(), Exit::Signal(9));
        assert!(child.wait().is_err(), "it was reaped already");
    }
}
