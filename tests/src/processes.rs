//! Processes, found by what is on their command line, and ended by their id.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Ids of the running processes (zombies left out) whose command line holds `needle`.
///
/// A test's root folder has a name of its own, and every process started for it names a path
/// below that folder, so this finds those and no others.
pub fn naming(needle: &Path) -> Vec<i32> {
    let needle = needle.to_string_lossy().into_owned();
    let own = std::process::id() as i32;
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid != own && is_running(pid))
        .filter(|&pid| command_line(pid).iter().any(|word| word.contains(&needle)))
        .collect()
}

/// Ids of the running QEMU processes that belong to the daemon under `root`.
pub fn qemus(root: &Path) -> Vec<i32> {
    naming(root)
        .into_iter()
        .filter(|&pid| command_line(pid).first().is_some_and(|word| word.contains("qemu-system")))
        .collect()
}

/// The words of a process's command line; empty when it is gone.
pub fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Whether the process exists and is no zombie.
pub fn is_running(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the name, which stands in parentheses and may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The memory that a process has in RAM, in KiB; 0 when it is gone.
pub fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Sends `signal`; a process that is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
