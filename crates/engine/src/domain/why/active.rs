//! Why a guest that is there does not run or does not answer.

use super::Finding;
use crate::domain::hardware::block::{DiskError, disk};
use crate::domain::record::Domain;
use crate::domain::view::{agent_path, source_path};
use crate::engine::Engine;
use host::monitor::MonitorError;
use host::openers;
use lifecycle::{PausedReason, Status};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long QEMU may take to answer before it counts as silent.
const PATIENCE: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) async fn why_not_running(self: &Arc<Self>, domain: &Arc<Domain>) -> Vec<Finding> {
        let snapshot = domain.snapshot();
        let mut found = Vec::new();
        if let Some(holder) = domain.gate.holder() {
            found.push(Finding::note(
                format!("a change is under way: {holder}"),
                "changes wait for each other; `destroy` does not wait",
            ));
        }
        let Some(vm) = domain.vm() else {
            found.push(Finding::blocks("QEMU is being started or ended", ""));
            return found;
        };
        let monitor = vm.monitor.with_timeout(PATIENCE);
        let answer: Result<qmp::Value, MonitorError> =
            monitor.execute(qmp::Command::new("query-status")).await;
        if let Err(error) = &answer {
            found.push(silent(vm.process.pid(), error));
        }
        match snapshot.status {
            Status::Paused(PausedReason::IoError) => {
                self.look_at_failed_disks(domain, answer.is_ok(), &mut found).await;
            }
            Status::Paused(PausedReason::User) => {
                found.push(Finding::blocks(
                    "it was suspended on request",
                    "`resume` lets it run on",
                ));
            }
            Status::Paused(PausedReason::Watchdog) => found.push(Finding::blocks(
                "its watchdog fired: the guest's system hung",
                "look at its console, then `resume` or `reset`",
            )),
            Status::Paused(reason) => {
                let what = format!("it is paused: {}", reason.as_str());
                found.push(Finding::blocks(what, "`resume` lets it run on, if no job needs it so"));
            }
            Status::Crashed(_) => found.push(Finding::blocks(
                "the guest's system crashed and <on_crash> keeps it for inspection",
                "`dump --memory-only` saves its memory; `destroy` or `reset` goes on",
            )),
            Status::PmSuspended => {
                found.push(Finding::blocks(
                    "the guest put itself to sleep",
                    "`dompmwakeup` wakes it",
                ));
            }
            Status::Shutdown(_) => {
                found.push(Finding::blocks("the guest powered off; QEMU is ending", ""));
            }
            Status::Running(_) | Status::Shutoff(_) => {}
        }
        for ended in vm.helpers_ended() {
            let again =
                ended.not_again.iter().map(|why| format!(" and was not started anew: {why}"));
            let (name, pid, again) = (&ended.name, ended.pid, again.collect::<String>());
            found.push(Finding::blocks(
                format!("its helper '{name}' (process {pid}) ended before it{again}"),
                "the device it served is dead: detach and attach that, or start the guest anew",
            ));
        }
        let live = snapshot.live.as_ref().map(|live| &live.definition);
        if let Some(path) = live.and_then(agent_path)
            && !Path::new(path).exists()
        {
            found.push(Finding::note(
                format!("the guest agent's socket '{path}' is gone"),
                "it comes back with the next start",
            ));
        }
        found
    }

    async fn look_at_failed_disks(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        answers: bool,
        found: &mut Vec<Finding>,
    ) {
        let client: Arc<str> = Arc::from("why");
        let errors = match answers {
            true => self.disk_errors(domain, &client).await.unwrap_or_default(),
            false => Vec::new(),
        };
        if errors.is_empty() {
            found.push(Finding::blocks(
                "a disk failed; QEMU no longer says which",
                "`resume` tries the failed writes again",
            ));
        }
        let Some(live) = domain.snapshot().live.clone() else { return };
        for (target, error) in errors {
            let path = disk(&live.definition, &target).ok().and_then(source_path);
            let place = path.map(|path| format!(" ('{path}')")).unwrap_or_default();
            let room = path.and_then(room_beside);
            found.push(match (error, room) {
                (DiskError::NoSpace, Some((folder, free))) => Finding::blocks(
                    format!(
                        "disk {target}{place} ran out of space: {} MiB are free in '{folder}' now",
                        free >> 20
                    ),
                    "make room there, then `resume`: the failed writes are tried again",
                ),
                (DiskError::NoSpace, None) => Finding::blocks(
                    format!("disk {target}{place} ran out of space"),
                    "make room on its server or device, then `resume`",
                ),
                (DiskError::Unspecified, _) => Finding::blocks(
                    format!("disk {target}{place} failed to read or write"),
                    "see the kernel's log for the device under it; `resume` tries again",
                ),
            });
        }
    }
}

/// Free bytes where a file lies.
fn room_beside(path: &str) -> Option<(String, u64)> {
    let folder = Path::new(path).parent()?;
    let room = rustix::fs::statvfs(folder).ok()?;
    Some((folder.display().to_string(), room.f_bavail.saturating_mul(room.f_frsize)))
}

/// What the kernel says of a QEMU that does not answer.
fn silent(pid: u32, error: &MonitorError) -> Finding {
    let what = format!("QEMU (process {pid}) does not answer: {error}");
    match openers::doing(pid) {
        Some(('T' | 't', _)) => Finding::blocks(
            format!("{what}; it was stopped by a signal"),
            format!("kill -CONT {pid} lets it go on"),
        ),
        Some(('D', place)) => {
            let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
            Finding::blocks(
                format!("{what}; it waits for a device or a server{place}"),
                "look after the storage its disks lie on; it cannot even be killed until that answers",
            )
        }
        Some(('Z', _)) | None => Finding::blocks(format!("{what}; the process is gone"), ""),
        Some(_) => Finding::blocks(
            what,
            "it may be busy; `destroy` ends it, and `destroy --graceful` gives it time",
        ),
    }
}
