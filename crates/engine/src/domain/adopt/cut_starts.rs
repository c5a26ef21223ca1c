//! Starts in whose middle a daemon was killed, before a status file told of the guest: what they had
//! made by then is taken back.

use crate::domain::adopt::reattach::{find_process, is_starting};
use crate::domain::adopt::status::{SIDECAR, Sidecar, StatusFile};
use crate::domain::start::foreign;
use crate::domain::start::teardown::{self, Made};
use crate::engine::Engine;
use host::access::{FileId, id_of};
use host::process;
use plan::Undo;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Engine {
    /// Takes back what such starts lent, made and ran. To be called when the running guests are
    /// known and before clients come.
    pub(super) async fn take_back_cut_starts(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        let Ok(cut) = tokio::task::spawn_blocking(move || engine.cut_starts()).await else {
            return;
        };
        for (path, name) in cut {
            self.take_back_noted(path, name).await;
        }
    }

    /// Takes back what was noted of a guest that does not run.
    pub(super) async fn take_back_noted(self: &Arc<Self>, path: PathBuf, name: String) {
        let read = path.clone();
        let noted = tokio::task::spawn_blocking(move || Sidecar::read(&read)).await;
        if let Ok(Some(sidecar)) = noted {
            tracing::info!(domain = name, "what a run without an end left is taken back");
            let made = self.still_lent(sidecar.made).await;
            teardown::take_all_back(self, &name, sidecar.undo, made).await;
        }
        let removed = fs::remove_file(&path);
        if let Err(error) = removed {
            tracing::warn!(file = %path.display(), %error, "not removed");
        }
    }

    /// What was noted of a guest that does not run, without the files that were never lent to it or were
    /// given back already: those which no more guests are recorded to use than run.
    pub(super) async fn still_lent(self: &Arc<Self>, mut made: Made) -> Made {
        let Some(mut lent) = made.lent.take() else { return made };
        let (engine, noted) = (Arc::clone(self), lent.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let held = if lent.is_empty() { Vec::new() } else { engine.lent_to_guests() };
            lent.retain(|path, file| {
                let others = held.iter().filter(|held| *held == file).count();
                others == 0 || host::access::claims(Path::new(path)) > others
            });
            lent
        });
        made.lent = Some(checked.await.unwrap_or(noted));
        made
    }

    /// The notes of starts that no status file belongs to, with the names of their guests.
    fn cut_starts(&self) -> Vec<(PathBuf, String)> {
        let Ok(entries) = fs::read_dir(self.layout.qemu_run()) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|extension| extension == SIDECAR))
            .filter_map(|path| {
                // A guest's name may have dots: the suffix alone is replaced.
                let name = path.file_name()?.to_str()?.strip_suffix(SIDECAR)?.strip_suffix('.')?;
                let name = name.to_owned();
                let told = path.with_file_name(format!("{name}.xml")).exists();
                // A start that is cut short never lets QEMU go: the status file of this one was lost.
                let runs = !told && self.stray(&name).is_some();
                if runs {
                    tracing::error!(domain = name, "runs, but its status file is gone");
                }
                (!told && !runs).then_some((path, name))
            })
            .collect()
    }

    /// The files that running guests were lent, once for each guest.
    fn lent_to_guests(&self) -> Vec<FileId> {
        let mut held = Vec::new();
        for path in self.status_paths() {
            let Ok(status) = StatusFile::read(&path) else { continue };
            // Nor one that is dead and not reaped yet, or that is about to be ended.
            let (Some(process), known) = find_process(self, &status) else { continue };
            if !process::is_alive(process.pid(), process.start_time()) || is_starting(&status) {
                continue;
            }
            match known.and_then(|sidecar| sidecar.made.lent) {
                Some(lent) => held.extend(lent.into_values()),
                None => {
                    let (undo, _) = foreign::undo(self, status.content(), 0);
                    held.extend(undo.iter().filter_map(|step| match step {
                        Undo::RestoreOwner(path) => id_of(Path::new(path)),
                        _ => None,
                    }));
                }
            }
        }
        held
    }
}
