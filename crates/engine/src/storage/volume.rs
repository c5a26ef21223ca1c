//! Volumes: looked up, measured, shown.

use super::Pools;
use super::dir;
use super::error::{no_volume, storage, system};
use super::query::VolumeInfo;
use super::record::Pool;
use diag::{ErrorCode, VirError};
use model::storage::{Volume, VolumeType};
use std::io;
use std::sync::Arc;

/// A volume and the pool it is in.
#[derive(Clone, Debug)]
pub struct Place {
    /// The pool.
    pub pool: Arc<Pool>,
    /// The volume.
    pub volume: Arc<Volume>,
}

impl Pools {
    /// The volume of this name in an active pool.
    ///
    /// # Errors
    /// When the pool is not active or has no such volume.
    pub async fn volume(&self, pool: &Arc<Pool>, name: &str) -> Result<Arc<Volume>, VirError> {
        let volumes = self.volumes(pool).await?;
        volumes.get(name).cloned().ok_or_else(|| no_volume("name", name))
    }

    /// The volume with this key.
    ///
    /// # Errors
    /// When no active pool has one.
    pub async fn volume_by_key(&self, key: &str) -> Result<Place, VirError> {
        match self.find_path(key).await {
            Some(place) => Ok(place),
            None => {
                let detail = format!("no storage vol with matching key {key}");
                Err(storage(ErrorCode::NO_STORAGE_VOL, detail))
            }
        }
    }

    /// The volume at this path. A file that was made since the pool was refreshed is found too.
    ///
    /// # Errors
    /// When it is in no active pool.
    pub async fn volume_by_path(&self, path: &str) -> Result<Place, VirError> {
        let clean = model::storage::sanitize(path);
        if let Some(place) = self.find_path(&clean).await {
            return Ok(place);
        }
        match self.find_new(&clean).await {
            Some(place) => Ok(place),
            None => Err(no_volume("path", path)),
        }
    }

    /// Volumes are files of their pool's folder: key and path are one.
    async fn find_path(&self, path: &str) -> Option<Place> {
        let (folder, name) = path.rsplit_once('/')?;
        for pool in self.active_in(folder) {
            let Ok(volumes) = self.volumes(&pool).await else { continue };
            if let Some(volume) = volumes.get(name) {
                let volume = Arc::clone(volume);
                return Some(Place { pool, volume });
            }
        }
        None
    }

    async fn find_new(&self, path: &str) -> Option<Place> {
        let (folder, name) = path.rsplit_once('/')?;
        if matches!(name, "" | "." | "..") {
            return None;
        }
        for pool in self.active_in(folder) {
            let _gate = Arc::clone(&pool.gate).lock_owned().await;
            if !pool.snapshot().active {
                continue;
            }
            let (folder, name) = (folder.to_owned(), name.to_owned());
            let looked = crate::blocking(move || {
                dir::volume(&folder, &name).map_err(|error| system("cannot look at volume", &error))
            });
            if let Ok(Some(volume)) = looked.await {
                let volume = Arc::new(volume);
                pool.publish_volume(&volume);
                return Some(Place { pool: Arc::clone(&pool), volume });
            }
        }
        None
    }

    fn active_in(&self, folder: &str) -> Vec<Arc<Pool>> {
        let folder = if folder.is_empty() { "/" } else { folder };
        let mut pools = self.all();
        pools.retain(|pool| {
            let snapshot = pool.snapshot();
            snapshot.active && snapshot.definition.target_path() == Some(folder)
        });
        pools
    }

    /// The volume as it is now: its file is looked at again.
    ///
    /// # Errors
    /// When the pool is not active, or the volume or its file is gone.
    pub async fn measured(&self, pool: &Arc<Pool>, name: &str) -> Result<Arc<Volume>, VirError> {
        let known = self.volume(pool, name).await?;
        let folder = pool.snapshot().definition.target_path().unwrap_or_default().to_owned();
        let name = name.to_owned();
        let seen = crate::blocking_in_turn(&pool.looks, move || {
            let path = known.target.path.clone().unwrap_or_default();
            match dir::volume(&folder, &name) {
                Ok(Some(volume)) => Ok(volume),
                Ok(None) => Err(no_volume("path", &path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(no_volume("path", &path))
                }
                Err(error) => Err(system(format!("cannot open volume '{path}'"), &error)),
            }
        })
        .await?;
        let seen = Arc::new(seen);
        // Whoever removed it meanwhile has the last word.
        let still =
            pool.snapshot().volumes.as_ref().is_some_and(|all| all.contains_key(&*seen.name));
        if still {
            pool.publish_volume(&seen);
        }
        Ok(seen)
    }

    /// Kind and size of a volume.
    ///
    /// # Errors
    /// Those of [`Pools::measured`].
    pub async fn volume_info(&self, pool: &Arc<Pool>, name: &str) -> Result<VolumeInfo, VirError> {
        let volume = self.measured(pool, name).await?;
        Ok(info_of(&volume))
    }
}

/// Kind and size of a volume as it was seen last.
fn info_of(volume: &Volume) -> VolumeInfo {
    let physical = match volume.kind {
        VolumeType::Dir => 0,
        _ => volume.physical,
    };
    VolumeInfo {
        kind: volume.kind.number(),
        capacity: volume.capacity,
        allocation: volume.allocation,
        physical,
    }
}
