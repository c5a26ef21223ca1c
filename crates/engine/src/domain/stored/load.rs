//! Reading all definitions when the daemon starts: in parallel, and none can stop the others.

use crate::domain::record::{Config, Domain};
use crate::domain::stored::store::{StoreError, StoredFile};
use crate::engine::Engine;
use diag::VirError;
use model::domain::ParseOptions;
use std::sync::Arc;
use std::thread;

impl Engine {
    /// Reads the persistent definitions. One that cannot be read is reported and left alone.
    pub(crate) fn load_definitions(&self) -> Result<(), StoreError> {
        self.store.prepare()?;
        let files = self.store.scan()?;
        let saved = self.managed_images();
        let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
        let share = files.len().div_ceil(workers).max(1);
        thread::scope(|scope| {
            for part in files.chunks(share) {
                let saved = &saved;
                scope.spawn(move || {
                    for file in part {
                        if let Err(error) = self.load_definition(file, saved.contains(&file.name)) {
                            tracing::error!(
                                file = %file.path.display(),
                                error = %error.message(),
                                "a stored domain cannot be used; its file is left as it is"
                            );
                        }
                    }
                });
            }
        });
        tracing::info!(domains = self.registry.len(), "definitions read");
        Ok(())
    }

    fn load_definition(&self, file: &StoredFile, saved: bool) -> Result<(), VirError> {
        let text = self.store.read(file).map_err(|error| error.to_vir())?;
        let parsed = model::domain::parse(&text, ParseOptions::default());
        let definition = crate::domain::stored::define::refuse_faults(
            parsed.domain,
            &parsed.diagnostics,
            &text,
        )?;
        if definition.name != file.name {
            return Err(VirError::internal(format!(
                "the file is of a domain named '{}', which does not fit its own name",
                definition.name
            )));
        }
        let uuid =
            definition.uuid.ok_or_else(|| VirError::internal("the stored domain has no uuid"))?;
        let config = Arc::new(Config::of(&definition));
        let (domain, new) = self.registry.claim(&file.name, &uuid, || {
            Domain::inactive(uuid, &file.name, Some(Arc::clone(&config)))
        })?;
        if !new {
            return Err(VirError::internal("the stored domain is there twice"));
        }
        if file.autostart || file.autostart_once || saved {
            domain.publish(|snapshot| {
                snapshot.managed_save = saved;
                snapshot.autostart = file.autostart;
                snapshot.autostart_once = file.autostart_once;
            });
        }
        Ok(())
    }
}
