//! Who has a file open, or listens on a port.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that has a file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opener {
    /// Its number.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`, at most 15 bytes).
    pub name: String,
}

/// Processes that have the file at `path` open, by number. Looks at every descriptor of every process: for a person's
/// question, not for a routine. What may not be looked at is left out.
pub fn of(path: &Path) -> Vec<Opener> {
    let Ok(wanted) = fs::metadata(path) else { return Vec::new() };
    let wanted = (wanted.dev(), wanted.ino());
    holding(|entry| fs::metadata(entry).is_ok_and(|file| (file.dev(), file.ino()) == wanted))
}

/// Processes one of whose descriptors (`/proc/PID/fd/N`) is `wanted`.
fn holding(wanted: impl Fn(&Path) -> bool) -> Vec<Opener> {
    let mut found = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        if descriptors.flatten().any(|entry| wanted(&entry.path())) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Opener { pid, name: name.trim_end().to_owned() });
        }
    }
    found.sort_by_key(|opener| opener.pid);
    found
}

/// Processes that listen on a TCP port of any address of this host, by number. As costly as [`of`].
pub fn of_port(port: u16) -> Vec<Opener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let sockets: Vec<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| listening(table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    holding(|entry| {
        let target = fs::read_link(entry).unwrap_or_default();
        sockets.iter().any(|socket| target.as_os_str() == socket.as_str())
    })
}

/// The inodes of sockets that listen on a port, from the kernel's table (proc(5), `net/tcp`).
fn listening(table: &str, port: u16) -> impl Iterator<Item = &str> {
    let end = format!(":{port:04X}");
    table.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        // 0A: LISTEN.
        (local.ends_with(&end) && state == "0A").then(|| fields.nth(5)).flatten()
    })
}

/// What the kernel says a process does (`R`, `S`, `D`, `T`, `Z`, …; proc_pid_stat(5)), and the function it sleeps in
/// where it tells.
pub fn doing(pid: u32) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in brackets and may hold anything.
    let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
    let place = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let place = if place == "0" { String::new() } else { place };
    Some((state, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_its_file_open() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        assert!(of(&path).is_empty());
        let file = fs::File::create(&path).expect("a file");
        let pids: Vec<u32> = of(&path).into_iter().map(|opener| opener.pid).collect();
        assert_eq!(pids, [std::process::id()]);
        drop(file);
        assert!(of(&path).is_empty());
        let (state, _) = doing(std::process::id()).expect("it runs");
        assert!("RSD".contains(state), "{state}");
        assert_eq!(doing(u32::MAX), None);
    }

    #[test]
    fn this_process_listens_on_its_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let pids: Vec<u32> = of_port(port).into_iter().map(|opener| opener.pid).collect();
        assert_eq!(pids, [std::process::id()]);
    }

    #[test]
    fn sockets_of_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:170C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:170C 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n\
            \x20  2: short\n";
        assert_eq!(listening(table, 5900).collect::<Vec<_>>(), ["4711"]);
        assert_eq!(listening(table, 12).count(), 0);
    }
}
