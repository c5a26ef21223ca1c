//! Starts in whose middle a daemon was killed, before a status file told of the guest: what they had
//! made by then is taken back.

use crate::domain::adopt::status::{SIDECAR, Sidecar, StatusFile};
use crate::domain::start::{foreign, teardown};
use crate::engine::Engine;
use host::access::{FileId, id_of};
use plan::Undo;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Engine {
    /// Takes back what such starts lent, made and ran. To be called when the running guests are
    /// known and before clients come.
    pub(super) async fn take_back_cut_starts(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || {
            let cut = engine.cut_starts();
            // Mostly there are none, and nobody is asked what the others hold.
            let held = if cut.is_empty() { Vec::new() } else { engine.lent_to_guests() };
            (cut, held)
        });
        let Ok((cut, held)) = found.await else { return };
        for (path, name) in cut {
            if let Some(mut sidecar) = Sidecar::read(&path) {
                if let Some(lent) = &mut sidecar.made.lent {
                    lent.retain(|path, file| {
                        let others = held.iter().filter(|held| *held == file).count();
                        host::access::claims(Path::new(path)) > others
                    });
                }
                tracing::info!(domain = name, "a start that was cut short is taken back");
                teardown::take_all_back(self, &name, sidecar.undo, sidecar.made).await;
            }
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "not removed");
            }
        }
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
                (!path.with_file_name(format!("{name}.xml")).exists()).then_some((path, name))
            })
            .collect()
    }

    /// The files that running guests were lent, once for each guest.
    fn lent_to_guests(&self) -> Vec<FileId> {
        let mut held = Vec::new();
        for path in self.status_paths() {
            let Ok(status) = StatusFile::read(&path) else { continue };
            let known = status.read_sidecar().filter(|side| side.pid == status.content().pid);
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
