//! Who has a file open.

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
    let mut found = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut open = descriptors.flatten().filter_map(|entry| fs::metadata(entry.path()).ok());
        if open.any(|file| (file.dev(), file.ino()) == wanted) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Opener { pid, name: name.trim_end().to_owned() });
        }
    }
    found.sort_by_key(|opener| opener.pid);
    found
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
}
