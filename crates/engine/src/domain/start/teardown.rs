//! Taking back what was made for a guest. Goes on over failures and reports each.

use crate::domain::start::links::limits;
use crate::engine::Engine;
use crate::hooks::GuestHook;
use host::access::{FileId, place};
use host::process::Process;
use lifecycle::ShutoffReason;
use model::domain::Domain as Definition;
use plan::Undo;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a helper process may take to end after SIGTERM.
const HELPER_PATIENCE: Duration = Duration::from_secs(3);

/// What undos need to know of the start they take back.
#[derive(Clone, Debug, Default)]
pub(in crate::domain) struct Made {
    /// Files that the start made.
    pub created: BTreeSet<String>,
    /// Ports by the name of their result.
    pub ports: BTreeMap<plan::ResultName, u16>,
    /// Network devices by the name of their result, and what their removal needs.
    pub links: BTreeMap<plan::ResultName, String>,
    /// Files that were lent to QEMU's user; `None` where nobody wrote down which. A file that is
    /// not among them was not lent (its step failed), and may be lent to another guest.
    pub lent: Option<BTreeMap<String, FileId>>,
    /// Where the control groups are below the hierarchies, if any were made.
    pub cgroup: Option<String>,
}

impl Made {
    /// Nothing was made.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty()
            && self.ports.is_empty()
            && self.links.is_empty()
            && self.lent.as_ref().is_none_or(BTreeMap::is_empty)
    }
}

/// Takes back what was made for a guest whose QEMU is gone, with the administrator's scripts before and after.
pub(in crate::domain) async fn run(
    engine: &Arc<Engine>,
    domain: &str,
    definition: Option<&Definition>,
    reason: ShutoffReason,
    undo: Vec<Undo>,
    made: Made,
) {
    // Logged there; what was made is taken back all the same.
    if let Some(definition) = definition {
        let _ = engine.guest_hook(definition, GuestHook::Stopped).await;
    }
    let cgroup = made.cgroup.clone();
    take_all_back(engine, domain, undo, made).await;
    let unregistered = engine.unregister(domain, cgroup.as_deref());
    // Another try of the same start has the same name.
    if let (ShutoffReason::Failed, Some(unregistered)) = (reason, unregistered) {
        let _ = unregistered.await;
    }
    if let Some(definition) = definition {
        definition.devices.iter().flat_map(|all| &all.interfaces).for_each(limits::end);
        let _ = engine.guest_hook(definition, GuestHook::Release(reason)).await;
    }
}

/// Carries out `undo` in order.
pub(in crate::domain) async fn take_all_back(
    engine: &Arc<Engine>,
    domain: &str,
    undo: Vec<Undo>,
    made: Made,
) {
    let mut for_files = Vec::new();
    for step in undo {
        match step {
            Undo::EndHelper { pid_file } => end_helper(domain, &pid_file).await,
            // The caller ends QEMU itself before anything else is taken back.
            Undo::EndQemu => {}
            other => for_files.push(other),
        }
    }
    let engine = Arc::clone(engine);
    let name = domain.to_owned();
    let _ = tokio::task::spawn_blocking(move || {
        for step in for_files {
            if let Err(error) = take_back(&engine, &step, &made) {
                tracing::warn!(domain = name, ?step, error, "not taken back");
            }
        }
    })
    .await;
}

fn take_back(engine: &Engine, step: &Undo, made: &Made) -> Result<(), String> {
    let there = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    };
    // Below folders that were QEMU's user's, names may lead anywhere by now.
    let remove = |path: &str, how: fn(PathBuf) -> io::Result<()>| {
        there(place(Path::new(path), engine.guest_uid()).and_then(|place| how(place.path())))
    };
    match step {
        Undo::RemoveTree(path) => remove(path, fs::remove_dir_all),
        Undo::RemoveFile(path) => remove(path, fs::remove_file),
        Undo::RemoveSocket(path) => remove(path, remove_socket),
        Undo::RemoveIfCreated(path) if made.created.contains(path) => remove(path, fs::remove_file),
        Undo::RemoveIfCreated(_) | Undo::EndHelper { .. } | Undo::EndQemu => Ok(()),
        Undo::RestoreOwner(path) => match &made.lent {
            None => crate::domain::start::grants::restore(engine, path, None),
            Some(lent) => match lent.get(path) {
                Some(file) => crate::domain::start::grants::restore(engine, path, Some(*file)),
                None => Ok(()),
            },
        },
        Undo::RemoveLink(name) => crate::domain::start::links::remove(engine, name, made),
        Undo::ReleasePort(name) => {
            if let Some(port) = made.ports.get(name) {
                engine.ports.release(*port);
            }
            Ok(())
        }
        Undo::RemoveCgroup(name) => {
            // What a helper had made itself ends a moment after it.
            let until = Instant::now() + HELPER_PATIENCE;
            loop {
                let removed = engine.remove_cgroup(name, made.cgroup.as_deref());
                if removed.is_ok() || Instant::now() > until {
                    return removed;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Removes a socket; somebody's file in its place stays.
fn remove_socket(path: PathBuf) -> io::Result<()> {
    match fs::symlink_metadata(&path)?.file_type().is_socket() {
        true => fs::remove_file(path),
        false => Ok(()),
    }
}

/// Ends the process a pid file names, if it is (still) that process.
pub(in crate::domain) async fn end_helper(domain: &str, pid_file: &str) {
    let path = Path::new(pid_file);
    let Some(pid) = host::lock::written_pid(path) else { return };
    // One that ended together with QEMU leaves its files all the same.
    if let Ok(process) = Process::open(pid) {
        end_process(domain, pid_file, pid, &process).await;
    }
    for leftover in ["pid", "sock", "socket"] {
        let _ = fs::remove_file(path.with_extension(leftover));
    }
}

/// Whether a process is the helper with this pid file. The number alone proves nothing: the helper
/// may be gone and its user may have written another one. It was given its paths on its command line,
/// which all begin alike; one of libvirtd's holds the pid file open instead.
pub(in crate::domain) fn is_helper(pid: u32, pid_file: &str) -> bool {
    let stem = pid_file.strip_suffix(".pid").unwrap_or(pid_file);
    let command = host::process::command_line(pid);
    String::from_utf8_lossy(&command).contains(stem) || has_open(pid, Path::new(pid_file))
}

fn has_open(pid: u32, file: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    open.any(|path| path == file)
}

async fn end_process(domain: &str, pid_file: &str, pid: u32, process: &Process) {
    if !is_helper(pid, pid_file) {
        return;
    }
    if process.terminate().is_ok()
        && tokio::time::timeout(HELPER_PATIENCE, process.exited()).await.is_err()
    {
        tracing::warn!(domain, pid, pid_file, "a helper did not end; killing it");
        let _ = process.kill();
        // While it is there its control groups cannot go.
        let _ = tokio::time::timeout(HELPER_PATIENCE, process.exited()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pid file may have been left by a helper whose pid is another's now, or tell a lie.
    #[tokio::test]
    async fn only_the_process_that_writes_a_pid_file_is_ended_by_it() {
        let dir = tempfile::tempdir().expect("folder");
        let pid_file = dir.path().join("x.pid");
        // swtpm is told only its socket, beside the pid file, which we write for it.
        let socket = format!("type=unixio,path={},mode=0600", dir.path().join("x.sock").display());
        for (argument, ends) in
            [("/other.pid".as_ref(), false), (pid_file.as_os_str(), true), (socket.as_ref(), true)]
        {
            let mut child = std::process::Command::new("sh")
                .args(["-c".as_ref(), "read line".as_ref(), "sh".as_ref(), argument])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .expect("child");
            // The kernel shows the command line only some moments after it let the parent go on.
            let command = format!("/proc/{}/cmdline", child.id());
            while fs::read(&command).expect("a child").is_empty() {
                tokio::task::yield_now().await;
            }
            fs::write(&pid_file, child.id().to_string()).expect("pid file");
            end_helper("test", pid_file.to_str().expect("text")).await;
            assert_eq!(child.try_wait().map_or(true, |exit| exit.is_some()), ends, "{argument:?}");
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
