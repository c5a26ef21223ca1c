//! The table of pools: who is called what, and who has the same source.

use super::Pools;
use super::error::{no_pool_named, no_pool_uuid, storage};
use super::record::{Pool, Snapshot};
use diag::{ErrorCode, VirError};
use model::storage::{Pool as Definition, PoolType};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use units::Uuid;

/// Pools by name and UUID.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: BTreeMap<Arc<str>, Arc<Pool>>,
    uuids: BTreeMap<Uuid, Arc<Pool>>,
}

impl Pools {
    /// The pool of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_name(&self, name: &str) -> Result<Arc<Pool>, VirError> {
        self.find_name(name).ok_or_else(|| no_pool_named(name))
    }

    /// The pool with this UUID.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_uuid(&self, uuid: Uuid) -> Result<Arc<Pool>, VirError> {
        self.find_uuid(uuid).ok_or_else(|| no_pool_uuid(uuid))
    }

    /// The pool whose volumes appear in this folder: an active one before an inactive one.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_target_path(&self, path: &str) -> Result<Arc<Pool>, VirError> {
        let wanted = model::storage::sanitize(path);
        let mut inactive = None;
        for pool in self.all() {
            let snapshot = pool.snapshot();
            if snapshot.definition.target_path() != Some(wanted.as_str()) {
                continue;
            }
            if snapshot.active {
                return Ok(pool);
            }
            inactive.get_or_insert(pool);
        }
        inactive.ok_or_else(|| {
            let detail = format!("no storage pool with matching target path '{path}'");
            storage(ErrorCode::NO_STORAGE_POOL, detail)
        })
    }

    /// All pools in the order of names.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        table.names.values().cloned().collect()
    }

    /// The pools that pass a filter of `virConnectListAllStoragePools`.
    ///
    /// # Errors
    /// When the filter has bits that mean nothing.
    pub fn list(&self, flags: u32) -> Result<Vec<Arc<Pool>>, VirError> {
        let unknown = flags & !((1 << 20) - 1);
        if unknown != 0 {
            return Err(super::query::unsupported_flags(
                unknown,
                "storageConnectListAllStoragePools",
            ));
        }
        let mut pools = self.all();
        pools.retain(|pool| admits(flags, &pool.snapshot()));
        Ok(pools)
    }

    pub(super) fn find_name(&self, name: &str) -> Option<Arc<Pool>> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        table.names.get(name).cloned()
    }

    pub(super) fn find_uuid(&self, uuid: Uuid) -> Option<Arc<Pool>> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        table.uuids.get(&uuid).cloned()
    }

    pub(super) fn insert(&self, pool: &Arc<Pool>) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        table.names.insert(Arc::clone(&pool.name), Arc::clone(pool));
        table.uuids.insert(pool.uuid, Arc::clone(pool));
    }

    pub(super) fn remove(&self, pool: &Arc<Pool>) {
        pool.publish(|snapshot| {
            snapshot.removed = true;
            snapshot.active = false;
            snapshot.volumes = None;
        });
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        table.names.remove(&pool.name);
        table.uuids.remove(&pool.uuid);
    }

    /// The pool that a new definition is one of, if there is one already.
    ///
    /// # Errors
    /// When name and UUID belong to different pools, or another pool has the same source.
    pub(super) fn same_pool(
        &self,
        definition: &Definition,
        uuid: Uuid,
    ) -> Result<Option<Arc<Pool>>, VirError> {
        let found = self.find_uuid(uuid);
        if let Some(pool) = &found
            && *pool.name != *definition.name
        {
            let detail = format!("pool '{}' is already defined with uuid {uuid}", pool.name);
            return Err(storage(ErrorCode::OPERATION_FAILED, detail));
        }
        if found.is_none()
            && let Some(pool) = self.find_name(&definition.name)
        {
            let (name, uuid) = (&pool.name, pool.uuid);
            let detail = format!("pool '{name}' already exists with uuid {uuid}");
            return Err(storage(ErrorCode::OPERATION_FAILED, detail));
        }
        for other in self.all() {
            let same = found.as_ref().is_some_and(|pool| pool.uuid == other.uuid);
            if !same && same_source(definition, &other.snapshot().definition) {
                let detail = format!("Storage source conflict with pool: '{}'", other.name);
                return Err(storage(ErrorCode::OPERATION_FAILED, detail));
            }
        }
        Ok(found)
    }
}

/// Whether a pool passes a filter: of each group of bits one has to fit, or none is set.
fn admits(flags: u32, snapshot: &Snapshot) -> bool {
    let group = |yes: bool, yes_bit: u32, no_bit: u32| {
        flags & (yes_bit | no_bit) == 0 || flags & if yes { yes_bit } else { no_bit } != 0
    };
    const TYPES: u32 = ((1 << 20) - 1) & !0x3f;
    group(snapshot.active, 2, 1)
        && group(snapshot.persistent, 4, 8)
        && group(snapshot.autostart, 16, 32)
        && (flags & TYPES == 0 || flags & snapshot.definition.kind.list_flag() != 0)
}

/// Whether two pools would have the same volumes.
fn same_source(a: &Definition, b: &Definition) -> bool {
    if a.kind != b.kind {
        return false;
    }
    let (one, two) = (&a.source, &b.source);
    let device = || {
        one.devices.iter().any(|device| two.devices.iter().any(|other| device.path == other.path))
    };
    let host = || {
        let name = |source: &model::storage::Source| {
            source.hosts.first().map(|host| (host.name.clone(), host.port))
        };
        name(one).is_some() && name(one) == name(two)
    };
    match a.kind {
        PoolType::Dir => a.target_path() == b.target_path(),
        PoolType::Fs | PoolType::Disk => device(),
        PoolType::Logical => one.name == two.name || device(),
        PoolType::Netfs => host() && one.dir == two.dir,
        PoolType::Iscsi | PoolType::IscsiDirect => {
            host() && device() && one.initiator == two.initiator
        }
        PoolType::Scsi => one.adapter == two.adapter,
        PoolType::Gluster => host() && one.name == two.name && one.dir == two.dir,
        PoolType::Rbd | PoolType::Sheepdog => host() && one.name == two.name,
        PoolType::Mpath => true,
        PoolType::Zfs | PoolType::Vstorage => one.name == two.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(xml: &str) -> Definition {
        Definition::parse(xml).into_result().expect(xml)
    }

    #[test]
    fn sources_conflict_by_what_they_are() {
        let dir = |name: &str, path: &str| {
            pool(&format!(
                "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
            ))
        };
        assert!(!same_source(&dir("a", "/x"), &dir("b", "//x/..//x").clone()));
        assert!(same_source(&dir("a", "/x"), &dir("b", "/x/")));
        let netfs = |host: &str| {
            pool(&format!(
                "<pool type='netfs'><name>n</name><source><host name='{host}'/><dir path='/x'/>\
                 </source><target><path>/x</path></target></pool>"
            ))
        };
        assert!(same_source(&netfs("h"), &netfs("h")));
        assert!(!same_source(&netfs("h"), &netfs("i")));
        assert!(!same_source(&netfs("h"), &dir("a", "/x")));
    }

    #[test]
    fn filters() {
        let snapshot = Snapshot {
            definition: Arc::new(pool(
                "<pool type='dir'><name>a</name><target><path>/x</path></target></pool>",
            )),
            next: None,
            persistent: true,
            active: false,
            autostart: false,
            volumes: None,
            removed: false,
        };
        for (flags, expected) in [
            (0, true),
            (1, true),
            (2, false),
            (3, true),
            (4, true),
            (8, false),
            (1 | 8, false),
            (16, false),
            (32, true),
            (1 << 6, true),
            (1 << 7, false),
            ((1 << 7) | (1 << 6), true),
        ] {
            assert_eq!(admits(flags, &snapshot), expected, "{flags:#x}");
        }
    }
}
