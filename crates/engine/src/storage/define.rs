//! Definitions: define, create, undefine, autostart.

use super::error::{accepted, still_active, storage};
use super::images::BuildOptions;
use super::record::{Pool, Snapshot};
use super::{Pools, lifecycle};
use diag::{ErrorCode, VirError};
use model::storage::Pool as Definition;
use std::sync::Arc;
use units::Uuid;

/// How a pool is created or started.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateOptions {
    /// Build it first.
    pub build: Option<BuildOptions>,
    /// Unknown content is an error.
    pub validate: bool,
}

impl Pools {
    /// Adds or replaces a persistent definition. An active pool is not touched.
    ///
    /// # Errors
    /// Faults of the text, a name, UUID or source that belongs to another pool, a full disk. Nothing
    /// is changed then.
    pub async fn define(&self, xml: String, validate: bool) -> Result<Arc<Pool>, VirError> {
        let (definition, uuid) = read(&xml, validate)?;
        let changes = self.0.changes.lock().await;
        let pools = self.clone();
        let done = crate::blocking(move || {
            let known = pools.same_pool(&definition, uuid)?;
            pools
                .0
                .store
                .write(&definition.name, &definition.to_xml(0))
                .map_err(|error| error.to_vir().from_domain(diag::ErrorDomain::STORAGE))?;
            let definition = Arc::new(definition);
            let pool = match known {
                Some(pool) => {
                    pool.publish(|snapshot| {
                        snapshot.persistent = true;
                        if snapshot.active {
                            snapshot.next = Some(definition);
                        } else {
                            snapshot.definition = definition;
                            snapshot.next = None;
                        }
                    });
                    pool
                }
                None => {
                    let pool = Pool::new(uuid, inactive(definition, true));
                    pools.insert(&pool);
                    pool
                }
            };
            pools.tell(&pool, lifecycle::DEFINED);
            Ok(pool)
        })
        .await;
        drop(changes);
        done
    }

    /// Starts a pool from a definition that is not kept. Where a persistent pool of the same name and
    /// UUID is inactive, that one is started, with this definition until it is stopped.
    ///
    /// # Errors
    /// Faults of the text, a name, UUID or source that belongs to another pool, a pool that is active
    /// already, or what keeps it from being built or started. Nothing is left of it then.
    pub async fn create(&self, xml: String, options: CreateOptions) -> Result<Arc<Pool>, VirError> {
        let (definition, uuid) = read(&xml, options.validate)?;
        if !Self::supports(definition.kind) {
            return Err(super::error::not_carried_out(definition.kind, "starting"));
        }
        let definition = Arc::new(definition);
        // An existing pool's gate comes before `changes`, see `power`.
        let known = self.same_pool(&definition, uuid)?;
        let pool = match &known {
            Some(pool) => Arc::clone(pool),
            None => Pool::new(uuid, inactive(Arc::clone(&definition), false)),
        };
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let changes = self.0.changes.lock().await;
        let before = pool.snapshot();
        if before.active {
            let detail = format!("pool is already active as '{}'", pool.name);
            return Err(storage(ErrorCode::OPERATION_INVALID, detail));
        }
        self.still_there(&pool)?;
        match (&known, self.same_pool(&definition, uuid)?) {
            (Some(_), _) => pool.publish(|snapshot| {
                snapshot.next = Some(Arc::clone(snapshot.persistent_definition()));
                snapshot.definition = definition;
            }),
            (None, None) => self.insert(&pool),
            (None, Some(pool)) => {
                let detail = format!("pool '{}' already exists with uuid {uuid}", pool.name);
                return Err(storage(ErrorCode::OPERATION_FAILED, detail));
            }
        }
        // The folder may hang: others go on naming their pools meanwhile.
        drop(changes);
        let started = self.build_and_start(&pool, options.build, &gate).await;
        drop(gate);
        if let Err(error) = started {
            let _changes = self.0.changes.lock().await;
            if known.is_some() {
                pool.publish(|snapshot| *snapshot = Snapshot::clone(&before));
            } else {
                self.remove(&pool);
            }
            return Err(error);
        }
        Ok(pool)
    }

    /// Takes a persistent definition away.
    ///
    /// # Errors
    /// When the pool is active or its file cannot be removed.
    pub async fn undefine(&self, pool: &Arc<Pool>) -> Result<(), VirError> {
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let changes = self.0.changes.lock().await;
        let (pools, pool) = (self.clone(), Arc::clone(pool));
        let done = crate::blocking(move || {
            pools.still_there(&pool)?;
            if pool.snapshot().active {
                return Err(still_active(&pool.name));
            }
            pools
                .0
                .store
                .remove(&pool.name)
                .map_err(|error| error.to_vir().from_domain(diag::ErrorDomain::STORAGE))?;
            pools.remove(&pool);
            pools.tell(&pool, lifecycle::UNDEFINED);
            Ok(())
        })
        .await;
        drop((changes, gate));
        done
    }

    /// Has a pool started with the daemon, or not.
    ///
    /// # Errors
    /// When it is transient or the link cannot be made.
    pub async fn set_autostart(&self, pool: &Arc<Pool>, autostart: bool) -> Result<(), VirError> {
        let changes = self.0.changes.lock().await;
        let (pools, pool) = (self.clone(), Arc::clone(pool));
        let done = crate::blocking(move || {
            pools.still_there(&pool)?;
            let snapshot = pool.snapshot();
            if !snapshot.persistent {
                return Err(storage(ErrorCode::INTERNAL_ERROR, "pool has no config file"));
            }
            if snapshot.autostart != autostart {
                pools
                    .0
                    .store
                    .set_autostart(&pool.name, autostart)
                    .map_err(|error| error.to_vir().from_domain(diag::ErrorDomain::STORAGE))?;
                pool.publish(|snapshot| snapshot.autostart = autostart);
            }
            Ok(())
        })
        .await;
        drop(changes);
        done
    }

    /// # Errors
    /// When the pool was taken away meanwhile.
    pub(super) fn still_there(&self, pool: &Pool) -> Result<(), VirError> {
        match pool.snapshot().removed {
            true => Err(super::error::no_pool_named(&pool.name)),
            false => Ok(()),
        }
    }
}

/// Reads a definition; one without UUID gets one.
fn read(xml: &str, validate: bool) -> Result<(Definition, Uuid), VirError> {
    let mut definition = accepted(Definition::parse(xml), xml, validate)?;
    let uuid = match definition.uuid {
        Some(uuid) => uuid,
        None => {
            let mut random = [0; 16];
            random.copy_from_slice(&crate::random::bytes(16)?);
            Uuid::from_random_bytes(random)
        }
    };
    definition.uuid = Some(uuid);
    Ok((definition, uuid))
}

/// A pool that is not started.
pub(super) fn inactive(definition: Arc<Definition>, persistent: bool) -> Snapshot {
    Snapshot {
        definition,
        next: None,
        persistent,
        active: false,
        autostart: false,
        volumes: None,
        removed: false,
    }
}
