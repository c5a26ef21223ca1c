//! Taking back what was made for a guest. Goes on over failures and reports each.

use crate::engine::Engine;
use host::process::Process;
use plan::Undo;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a helper process may take to end after SIGTERM.
const HELPER_PATIENCE: Duration = Duration::from_secs(3);

/// What undos need to know of the start they take back.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    /// Files that the start made.
    pub created: BTreeSet<String>,
    /// Ports by the name of their result.
    pub ports: std::collections::BTreeMap<plan::ResultName, u16>,
    /// Network devices by the name of their result.
    pub links: std::collections::BTreeMap<plan::ResultName, String>,
}

/// Carries out `undo` in order.
pub(super) async fn run(engine: &Arc<Engine>, domain: &str, undo: Vec<Undo>, made: Made) {
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
    match step {
        Undo::RemoveTree(path) => there(fs::remove_dir_all(path)),
        Undo::RemoveFile(path) => there(fs::remove_file(path)),
        Undo::RemoveIfCreated(path) if made.created.contains(path) => there(fs::remove_file(path)),
        Undo::RemoveIfCreated(_) | Undo::EndHelper { .. } | Undo::EndQemu => Ok(()),
        Undo::RestoreOwner(path) => super::grants::restore(engine, path),
        Undo::RemoveLink(name) => match made.links.get(name) {
            Some(link) => super::links::remove(link),
            None => Ok(()),
        },
        Undo::ReleasePort(name) => {
            if let Some(port) = made.ports.get(name) {
                engine.ports.release(*port);
            }
            Ok(())
        }
        Undo::RemoveCgroup(name) => engine.remove_cgroup(name),
    }
}

/// Ends the process a pid file names, if it is (still) that process.
async fn end_helper(domain: &str, pid_file: &str) {
    let Some(pid) = host::lock::written_pid(std::path::Path::new(pid_file)) else { return };
    let Ok(process) = Process::open(pid) else { return };
    if process.terminate().is_ok()
        && tokio::time::timeout(HELPER_PATIENCE, process.exited()).await.is_err()
    {
        tracing::warn!(domain, pid, pid_file, "a helper did not end; killing it");
        let _ = process.kill();
    }
    let _ = fs::remove_file(pid_file);
}
