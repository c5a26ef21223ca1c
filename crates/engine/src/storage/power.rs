//! Start, stop, refresh.
//!
//! Locks are taken in this order: the pool's gate, then the table's `changes`. So a pool whose folder
//! hangs keeps its own gate and nothing else.

use super::dir::{self, Found};
use super::error::{already_active, not_active, not_carried_out};
use super::images::{self, BuildOptions};
use super::record::Pool;
use super::{Pools, lifecycle};
use crate::events::PoolEvent;
use diag::VirError;
use host::files::{self, WriteMode};
use model::storage::Size;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Holding it means that nobody else changes the pool.
pub(super) type Gate = OwnedMutexGuard<()>;

impl Pools {
    /// Starts a pool.
    ///
    /// # Errors
    /// When it is active, its type is not carried out, or its folder cannot be read.
    pub async fn start(
        &self,
        pool: &Arc<Pool>,
        build: Option<BuildOptions>,
    ) -> Result<(), VirError> {
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        self.still_there(pool)?;
        if pool.snapshot().active {
            return Err(already_active(&pool.name));
        }
        self.build_and_start(pool, build, &gate).await
    }

    /// Starts an inactive pool, with its gate passed already.
    pub(super) async fn build_and_start(
        &self,
        pool: &Arc<Pool>,
        build: Option<BuildOptions>,
        _: &Gate,
    ) -> Result<(), VirError> {
        let kind = pool.snapshot().definition.kind;
        if !Self::supports(kind) {
            return Err(not_carried_out(kind, "starting"));
        }
        let (pools, pool) = (self.clone(), Arc::clone(pool));
        crate::blocking(move || {
            if let Some(options) = build {
                images::build(&pool.snapshot().definition, options)?;
                pools.tell(&pool, lifecycle::CREATED);
            }
            let definition = Arc::clone(&pool.snapshot().definition);
            let state = pools.state_file(&pool.name);
            let text = format!(
                "{}{}",
                model::file_header("pool-edit", &pool.name),
                definition.to_state_xml()
            );
            files::write_atomic(&state, text.as_bytes(), WriteMode::RUNTIME)
                .map_err(|error| super::error::system(error.to_string(), &error.source))?;
            let found = match dir::scan(&definition) {
                Ok(found) => found,
                Err(error) => {
                    let _ = files::remove(&state, false);
                    return Err(error);
                }
            };
            publish_found(&pool, found);
            pools.tell(&pool, lifecycle::STARTED);
            Ok(())
        })
        .await
    }

    /// Stops a pool. Its volumes stay; a transient pool is forgotten.
    ///
    /// # Errors
    /// When it is not active.
    pub async fn destroy(&self, pool: &Arc<Pool>) -> Result<(), VirError> {
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let changes = self.0.changes.lock().await;
        let (pools, pool) = (self.clone(), Arc::clone(pool));
        let done = crate::blocking(move || {
            pools.still_there(&pool)?;
            if !pool.snapshot().active {
                return Err(not_active(&pool.name));
            }
            pools.stop_now(&pool);
            Ok(())
        })
        .await;
        drop((changes, gate));
        done
    }

    /// Stops an active pool, with its gate passed already.
    fn stop_now(&self, pool: &Arc<Pool>) {
        if let Err(error) = files::remove(&self.state_file(&pool.name), false) {
            tracing::warn!(pool = %pool.name, %error, "state file not removed");
        }
        let persistent = pool.snapshot().persistent;
        pool.publish(|snapshot| {
            snapshot.active = false;
            snapshot.volumes = None;
            if let Some(next) = snapshot.next.take() {
                snapshot.definition = next;
            }
        });
        if !persistent {
            self.remove(pool);
        }
        self.tell(pool, lifecycle::STOPPED);
    }

    /// Reads a pool's volumes again. A pool whose folder cannot be read any more is stopped, as
    /// libvirt does it.
    ///
    /// # Errors
    /// When it is not active, or its folder cannot be read.
    pub async fn refresh(&self, pool: &Arc<Pool>) -> Result<(), VirError> {
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        self.refresh_now(pool, &gate).await?;
        self.tell(pool, PoolEvent::Refresh);
        Ok(())
    }

    async fn refresh_now(&self, pool: &Arc<Pool>, _: &Gate) -> Result<(), VirError> {
        self.still_there(pool)?;
        if !pool.snapshot().active {
            return Err(not_active(&pool.name));
        }
        let definition = Arc::clone(&pool.snapshot().definition);
        match crate::blocking(move || dir::scan(&definition)).await {
            Ok(found) => {
                publish_found(pool, found);
                Ok(())
            }
            Err(error) => {
                let _changes = self.0.changes.lock().await;
                self.stop_now(pool);
                Err(error)
            }
        }
    }

    /// Reads the volumes of a pool taken over from an earlier daemon, if nobody did yet.
    pub(super) async fn volumes_ready(&self, pool: &Arc<Pool>) -> Result<(), VirError> {
        let snapshot = pool.snapshot();
        if !snapshot.active || snapshot.volumes.is_some() {
            return Ok(());
        }
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        if pool.snapshot().volumes.is_some() {
            return Ok(());
        }
        self.refresh_now(pool, &gate).await
    }
}

/// Publishes what was found in a pool's folder.
fn publish_found(pool: &Pool, found: Found) {
    let mut definition = (*pool.snapshot().definition).clone();
    let space = found.space;
    definition.capacity = Size(space.capacity);
    definition.allocation = Size(space.allocation);
    definition.available = Size(space.available);
    let target = definition.target.get_or_insert_default();
    let label = target.permissions.take().and_then(|permissions| permissions.label);
    let mut permissions = found.permissions;
    permissions.label = permissions.label.or(label);
    target.permissions = Some(permissions);
    let definition = Arc::new(definition);
    pool.publish(|snapshot| {
        snapshot.active = true;
        snapshot.definition = definition;
        snapshot.volumes = Some(Arc::new(found.volumes));
    });
}
