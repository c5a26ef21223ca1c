//! Pools at the daemon's start: definitions, and what was active.

use super::Pools;
use super::define::inactive;
use super::error::accepted;
use super::record::Pool;
use crate::domain::stored::store::{StoreError, read_text};
use model::storage::Pool as Definition;
use std::path::Path;
use std::sync::Arc;

/// Largest state file that is read.
const STATE_MAX: u64 = 1 << 20;

impl Pools {
    /// Reads definitions and state files. No pool's folder is touched: volumes of active pools are
    /// read by [`Pools::autostart`] or the first who asks.
    ///
    /// A file that cannot be read or makes no sense is reported and left alone.
    ///
    /// # Errors
    /// When the folder of definitions cannot be read.
    pub fn load(&self) -> Result<(), StoreError> {
        for file in self.0.store.scan()? {
            let loaded = self
                .0
                .store
                .read(&file)
                .map_err(|error| error.to_vir())
                .and_then(|text| accepted(Definition::parse(&text), &text, false));
            let definition = match loaded {
                Ok(definition) => definition,
                Err(error) => {
                    let path = file.path.display();
                    tracing::error!(%path, error = %error.message(), "pool not loaded");
                    continue;
                }
            };
            let (Some(uuid), true) = (definition.uuid, definition.name == file.name) else {
                tracing::error!(
                    path = %file.path.display(),
                    name = %definition.name,
                    "pool not loaded: its name is not the file's, or it has no UUID"
                );
                continue;
            };
            if self.find_uuid(uuid).is_some() {
                tracing::error!(path = %file.path.display(), %uuid, "pool not loaded: UUID in use");
                continue;
            }
            let pool = Pool::new(uuid, inactive(Arc::new(definition), true));
            pool.publish(|snapshot| snapshot.autostart = file.autostart);
            self.insert(&pool);
        }
        self.load_states();
        Ok(())
    }

    /// Marks as active what an earlier daemon left active.
    fn load_states(&self) {
        let Ok(entries) = std::fs::read_dir(&self.0.run) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            if let Err(error) = self.load_state(&path) {
                tracing::error!(path = %path.display(), error, "state of a pool not loaded");
            }
        }
    }

    fn load_state(&self, path: &Path) -> Result<(), String> {
        let text = read_text(path, STATE_MAX).map_err(|error| error.to_string())?;
        let definition = accepted(Definition::parse_state(&text), &text, false)
            .map_err(|error| error.message())?;
        let uuid = definition.uuid.ok_or("it has no UUID")?;
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if stem != Some(definition.name.as_str()) {
            return Err(format!("it is about pool '{}'", definition.name));
        }
        if !Self::supports(definition.kind) {
            return Err(format!("pools of type '{}' are not supported", definition.kind));
        }
        let definition = Arc::new(definition);
        let pool = match (self.find_uuid(uuid), self.find_name(&definition.name)) {
            (Some(pool), _) if *pool.name == *definition.name => pool,
            (None, None) => {
                let pool = Pool::new(uuid, inactive(Arc::clone(&definition), false));
                self.insert(&pool);
                pool
            }
            _ => return Err(format!("name or UUID {uuid} belong to another pool")),
        };
        pool.publish(|snapshot| {
            snapshot.active = true;
            if snapshot.persistent && *snapshot.definition != *definition {
                snapshot.next = Some(Arc::clone(&snapshot.definition));
            }
            snapshot.definition = definition;
        });
        Ok(())
    }

    /// Reads the volumes of pools that were active, and starts those that are to be started with the
    /// host: once after each boot, as libvirt does it.
    pub async fn autostart(&self) {
        let marker = self.0.run.join("autostarted");
        let first = !marker.exists();
        let mut tasks = tokio::task::JoinSet::new();
        for pool in self.all() {
            let snapshot = pool.snapshot();
            let pools = self.clone();
            if snapshot.active {
                // Not waited for: a folder that hangs must not hold up the daemon.
                tokio::spawn(async move {
                    if let Err(error) = pools.volumes_ready(&pool).await {
                        let (pool, error) = (&pool.name, error.message());
                        tracing::error!(%pool, error, "pool is not active any more");
                    }
                });
            } else if first && snapshot.autostart {
                tasks.spawn(async move {
                    if let Err(error) = pools.start(&pool, None).await {
                        let (pool, error) = (&pool.name, error.message());
                        tracing::error!(%pool, error, "pool not autostarted");
                    }
                });
            }
        }
        if first && let Err(error) = std::fs::write(&marker, b"") {
            tracing::warn!(path = %marker.display(), %error, "not written");
        }
        // Guests that start next may need them; but not for ever.
        let waited = std::time::Duration::from_secs(10);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(waited, all).await.is_err() {
            tracing::error!("some pools take long to start; going on without them");
        }
        tasks.detach_all();
    }
}
