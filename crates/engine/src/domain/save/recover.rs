//! Saves, dumps and restores that the daemon before this one did not bring to their end.

use super::note::{SaveNote, identity};
use crate::domain::job::Admission;
use crate::domain::record::Domain;
use crate::domain::vm::{EndReason, Vm};
use crate::engine::Engine;
use lifecycle::{PausedReason, Request, RunningReason, Status};
use qmp::cmd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often QEMU is asked whether it is done.
const LOOK: Duration = Duration::from_millis(100);

/// Takes away what an unfinished save or dump left behind; tells whether the file is complete.
pub(in crate::domain) fn forget_unfinished(note: &SaveNote) -> bool {
    match note {
        SaveNote::Writing { path, temporary: Some(temporary), file, .. } => {
            // Complete: it has its own name.
            if file.is_some() && identity(path) == *file {
                return true;
            }
            remove(temporary);
            false
        }
        SaveNote::Writing { path, temporary: None, ends_guest, .. } => {
            // No plain file: its head says whether it is complete.
            *ends_guest && super::image::Image::open(path, false).is_ok()
        }
        SaveNote::Restored { path, file } => {
            if identity(path) == Some(*file) {
                remove(path);
            }
            false
        }
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), %error, "not removed");
        }
        _ => {}
    }
}

/// A guest is under control again that was being saved, dumped or restored: finishes that or lets
/// the guest go on. Nobody else changes it meanwhile.
pub(in crate::domain) fn go_on(
    engine: &Arc<Engine>,
    domain: &Arc<Domain>,
    vm: &Arc<Vm>,
    note: SaveNote,
) {
    let client: Arc<str> = Arc::from("the daemon before");
    let job = domain.gate.try_acquire(Request::Save, "recovery of a save", &client);
    let (domain, vm) = (Arc::clone(domain), Arc::clone(vm));
    let engine = Arc::clone(engine);
    engine.clone().runtime().spawn(async move {
        let _job: Option<Admission> = job.ok().flatten();
        let complete = {
            let note = note.clone();
            tokio::task::spawn_blocking(move || forget_unfinished(&note)).await.unwrap_or(false)
        };
        let name = domain.snapshot().name.clone();
        match note {
            SaveNote::Restored { .. } => {
                let there = engine.managed_image(&name).exists();
                domain.publish(|snapshot| snapshot.managed_save = there);
            }
            SaveNote::Writing { ends_guest: true, .. } if complete => {
                tracing::info!(domain = %name, "saved before the daemon ended");
                vm.end(EndReason::Saved, false);
                return;
            }
            SaveNote::Writing { was_running, .. } => {
                quiet(&vm).await;
                let status = domain.snapshot().status;
                let for_it = matches!(
                    status,
                    Status::Paused(
                        PausedReason::Save
                            | PausedReason::Dump
                            | PausedReason::Unknown
                            | PausedReason::Migration
                    )
                );
                if was_running && for_it {
                    let run = async {
                        vm.lock_disks().await.map_err(|error| error.message())?;
                        vm.announce_run(RunningReason::SaveCanceled);
                        vm.let_run().await.map_err(|error| error.to_string())
                    };
                    if let Err(error) = run.await {
                        tracing::error!(domain = %name, error, "it could not be let run again");
                    }
                    vm.sync().await;
                }
                tracing::info!(domain = %name, "an unfinished save was taken back");
            }
        }
        let _ = vm.note(None).await;
    });
}

/// Ends a migration that goes on, and waits for a dump that does.
pub(super) async fn quiet(vm: &Vm) {
    let _ = vm.monitor.execute(cmd::migrate_cancel()).await;
    loop {
        let migrates = match vm.monitor.execute(cmd::query_migrate()).await {
            Ok(migration) => migration.is_under_way(),
            Err(_) => vm.process.try_exited().is_ok_and(|exit| exit.is_none()),
        };
        let dumps = vm.monitor.execute(cmd::query_dump()).await;
        let dumps = dumps.is_ok_and(|dump| dump.status == "active");
        if !migrates && !dumps || vm.monitor.is_closed() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
