//! What readers ask about pools.

use super::Pools;
use super::error::{not_active, storage};
use super::record::{Pool, Volumes};
use diag::{ErrorCode, VirError};
use std::sync::Arc;

/// State and size of a pool (`virStoragePoolInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolInfo {
    /// `virStoragePoolState`.
    pub state: i32,
    /// Size in bytes.
    pub capacity: u64,
    /// Used bytes.
    pub allocation: u64,
    /// Free bytes.
    pub available: u64,
}

/// Kind and size of a volume (`virStorageVolInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// `virStorageVolType`.
    pub kind: i32,
    /// Size the guest sees, in bytes.
    pub capacity: u64,
    /// Space it takes, in bytes.
    pub allocation: u64,
    /// Length of the file, in bytes.
    pub physical: u64,
}

/// libvirt's refusal of flags a function does not know.
pub fn unsupported_flags(flags: u32, function: &str) -> VirError {
    let detail = format!("unsupported flags (0x{flags:x}) in function {function}");
    storage(ErrorCode::INVALID_ARG, detail).verbatim()
}

impl Pool {
    /// State and size.
    pub fn info(&self) -> PoolInfo {
        let snapshot = self.snapshot();
        let definition = &snapshot.definition;
        PoolInfo {
            state: if snapshot.active { 2 } else { 0 },
            capacity: definition.capacity.0,
            allocation: definition.allocation.0,
            available: definition.available.0,
        }
    }

    /// The XML: live, or what it will be when started next (`inactive`).
    pub fn xml(&self, inactive: bool) -> String {
        let snapshot = self.snapshot();
        match inactive {
            true => snapshot.persistent_definition().to_xml(0),
            false => snapshot.definition.to_xml(0),
        }
    }
}

impl Pools {
    /// An active pool's volumes.
    ///
    /// # Errors
    /// When the pool is not active or its folder cannot be read.
    pub async fn volumes(&self, pool: &Arc<Pool>) -> Result<Arc<Volumes>, VirError> {
        if !pool.snapshot().active {
            return Err(not_active(&pool.name));
        }
        self.volumes_ready(pool).await?;
        let snapshot = pool.snapshot();
        if !snapshot.active {
            return Err(not_active(&pool.name));
        }
        Ok(snapshot.volumes.clone().unwrap_or_default())
    }
}
