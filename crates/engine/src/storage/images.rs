//! Making and removing a pool's folder.

use super::Pools;
use super::error::{already_active, not_carried_out, still_active, storage, system};
use super::lifecycle;
use super::record::Pool;
use diag::{ErrorCode, VirError};
use model::storage::Pool as Definition;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;

/// How a pool is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// What is on the source is overwritten.
    pub overwrite: bool,
    /// What is on the source must not be overwritten.
    pub no_overwrite: bool,
}

impl Pools {
    /// Makes what a pool needs before it can be started: the folder, with its permissions.
    ///
    /// # Errors
    /// When it is active, its type is not carried out, or the folder cannot be made.
    pub async fn build(&self, pool: &Arc<Pool>, options: BuildOptions) -> Result<(), VirError> {
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let (pools, pool) = (self.clone(), Arc::clone(pool));
        let done = crate::blocking(move || {
            pools.still_there(&pool)?;
            let snapshot = pool.snapshot();
            if snapshot.active {
                return Err(already_active(&pool.name));
            }
            build(&snapshot.definition, options)?;
            pools.tell(&pool, lifecycle::CREATED);
            Ok(())
        })
        .await;
        drop(gate);
        done
    }

    /// Removes a pool's folder, which has to be empty.
    ///
    /// # Errors
    /// When it is active, its type is not carried out, or the folder cannot be removed.
    pub async fn delete(&self, pool: &Arc<Pool>) -> Result<(), VirError> {
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let (pools, pool) = (self.clone(), Arc::clone(pool));
        let done = crate::blocking(move || {
            pools.still_there(&pool)?;
            let snapshot = pool.snapshot();
            if snapshot.active {
                return Err(still_active(&pool.name));
            }
            let definition = &snapshot.definition;
            if !Self::supports(definition.kind) {
                return Err(not_carried_out(definition.kind, "deleting"));
            }
            let path = definition.target_path().unwrap_or_default();
            fs::remove_dir(path)
                .map_err(|error| system(format!("failed to remove pool '{path}'"), &error))?;
            pools.tell(&pool, lifecycle::DELETED);
            Ok(())
        })
        .await;
        drop(gate);
        done
    }
}

/// Makes the folder of a pool, parents included. A folder that is there keeps its permissions where
/// the definition says nothing about them.
pub(super) fn build(definition: &Definition, options: BuildOptions) -> Result<(), VirError> {
    if !Pools::supports(definition.kind) {
        return Err(not_carried_out(definition.kind, "building"));
    }
    if options.overwrite && options.no_overwrite {
        return Err(storage(
            ErrorCode::INVALID_ARG,
            "overwrite and no overwrite flags are mutually exclusive",
        ));
    }
    if options.overwrite || options.no_overwrite {
        let detail =
            format!("No source device specified when formatting pool '{}'", definition.name);
        return Err(storage(ErrorCode::OPERATION_INVALID, detail));
    }
    let path = Path::new(definition.target_path().unwrap_or_default());
    let failed = |error: &io::Error| {
        system(format!("failed to create directory '{}'", path.display()), error)
    };
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|e| failed(&e))?;
    }
    let permissions =
        definition.target.as_ref().and_then(|t| t.permissions.clone()).unwrap_or_default();
    let made = match fs::DirBuilder::new().mode(0o711).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(&error)),
    };
    let mode = permissions.mode.or(made.then_some(0o711));
    if permissions.owner.is_some() || permissions.group.is_some() {
        chown(path, permissions.owner, permissions.group)
            .map_err(|error| system(format!("cannot chown '{}'", path.display()), &error))?;
    }
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| {
            system(format!("cannot set mode of '{}' to {mode:04o}", path.display()), &error)
        })?;
    }
    Ok(())
}
