//! Who is at the other end.

use std::sync::OnceLock;
use std::time::SystemTime;

/// Which door a client came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ListenerKind {
    /// The socket for everything.
    Main,
    /// The socket that only allows reading.
    ReadOnly,
    /// The administration socket.
    Admin,
}

/// A client, as the kernel vouches for it.
#[derive(Debug)]
pub struct Peer {
    /// The server's number for the connection, from 1, never used again.
    pub id: u64,
    /// Effective user at the time of connecting.
    pub uid: u32,
    /// Effective group at the time of connecting.
    pub gid: u32,
    /// The process that connected; none when it lives in a foreign pid namespace.
    pub pid: Option<i32>,
    /// Which door.
    pub kind: ListenerKind,
    /// Came through a door that only allows reading.
    pub read_only: bool,
    /// When it connected.
    pub since: SystemTime,
    pub(crate) start: OnceLock<Option<u64>>,
}

impl Peer {
    /// When the process started, in clock ticks since boot (field 22 of its `stat` file); with the pid it names the
    /// process for polkit. Looked up when first asked for, since most clients are never asked.
    pub fn pid_start_time(&self) -> Option<u64> {
        *self.start.get_or_init(|| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
            start_time(&stat)
        })
    }

    /// The name of the process, if it still runs.
    pub fn process_name(&self) -> Option<String> {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid?)).ok()?;
        Some(name.trim_end_matches('\n').to_owned())
    }
}

/// Field 22 of a process's `stat` text. The name in field 2 may hold blanks and parentheses: count after the last `)`.
fn start_time(stat: &str) -> Option<u64> {
    let after = &stat[stat.rfind(')')? + 1..];
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_odd_names() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20 21";
        for name in ["sh", "a b", "x) y", "((("] {
            assert_eq!(start_time(&format!("77 ({name}) {tail}")), Some(424_242));
        }
        assert_eq!(start_time("77 (sh"), None);
        assert_eq!(start_time(""), None);
    }
}
