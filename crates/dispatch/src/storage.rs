//! Storage pools.

use crate::bind::{Request, later, now};
use crate::{Bound, Libvirt, Session, listen};
use diag::{ErrorCode, ErrorDomain, VirError};
use engine::storage::{BuildOptions, CreateOptions, Pool, Pools, unsupported_flags};
use protocol::remote::{self, NonnullStoragePool, Procedure, procs};
use std::sync::Arc;
use units::Uuid;

/// Flags of `virStoragePoolCreate` and `virStoragePoolCreateXML`.
const WITH_BUILD: u32 = 1;
const WITH_BUILD_OVERWRITE: u32 = 2;
const WITH_BUILD_NO_OVERWRITE: u32 = 4;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let pools = &service.engine.pools;
    Bound::Done(match procedure {
        Procedure::ConnectNumOfStoragePools => {
            now::<procs::ConnectNumOfStoragePools>(request, |()| {
                let num = count(names(pools, true).len());
                Ok(remote::ConnectNumOfStoragePoolsRet { num })
            })
        }
        Procedure::ConnectListStoragePools => {
            now::<procs::ConnectListStoragePools>(request, |args| {
                let names = at_most(names(pools, true), args.maxnames);
                Ok(remote::ConnectListStoragePoolsRet { names })
            })
        }
        Procedure::ConnectNumOfDefinedStoragePools => {
            now::<procs::ConnectNumOfDefinedStoragePools>(request, |()| {
                let num = count(names(pools, false).len());
                Ok(remote::ConnectNumOfDefinedStoragePoolsRet { num })
            })
        }
        Procedure::ConnectListDefinedStoragePools => {
            now::<procs::ConnectListDefinedStoragePools>(request, |args| {
                let names = at_most(names(pools, false), args.maxnames);
                Ok(remote::ConnectListDefinedStoragePoolsRet { names })
            })
        }
        Procedure::ConnectListAllStoragePools => {
            now::<procs::ConnectListAllStoragePools>(request, |args| {
                let found = pools.list(args.flags)?;
                let ret = u32::try_from(found.len()).unwrap_or(u32::MAX);
                let pools = match args.need_results {
                    0 => Vec::new(),
                    _ => found.iter().map(|pool| wire(pool)).collect(),
                };
                Ok(remote::ConnectListAllStoragePoolsRet { pools, ret })
            })
        }
        Procedure::ConnectFindStoragePoolSources => {
            now::<procs::ConnectFindStoragePoolSources>(request, |args| {
                Err(no_discovery(&args.r#type))
            })
        }
        Procedure::ConnectGetStoragePoolCapabilities => {
            now::<procs::ConnectGetStoragePoolCapabilities>(request, |args| {
                flags(args.flags, 0, "storageConnectGetStoragePoolCapabilities")?;
                let capabilities = pools.capabilities();
                Ok(remote::ConnectGetStoragePoolCapabilitiesRet { capabilities })
            })
        }
        Procedure::StoragePoolLookupByName => {
            now::<procs::StoragePoolLookupByName>(request, |args| {
                let pool = wire(&*pools.by_name(&args.name)?);
                Ok(remote::StoragePoolLookupByNameRet { pool })
            })
        }
        Procedure::StoragePoolLookupByUuid => {
            now::<procs::StoragePoolLookupByUuid>(request, |args| {
                let pool = wire(&*pools.by_uuid(Uuid(args.uuid))?);
                Ok(remote::StoragePoolLookupByUuidRet { pool })
            })
        }
        Procedure::StoragePoolLookupByVolume => {
            now::<procs::StoragePoolLookupByVolume>(request, |args| {
                let pool = wire(&*pools.by_name(&args.vol.pool)?);
                Ok(remote::StoragePoolLookupByVolumeRet { pool })
            })
        }
        Procedure::StoragePoolLookupByTargetPath => {
            now::<procs::StoragePoolLookupByTargetPath>(request, |args| {
                let pool = wire(&*pools.by_target_path(&args.path)?);
                Ok(remote::StoragePoolLookupByTargetPathRet { pool })
            })
        }
        Procedure::StoragePoolGetInfo => now::<procs::StoragePoolGetInfo>(request, |args| {
            let info = find(pools, &args.pool)?.info();
            Ok(remote::StoragePoolGetInfoRet {
                state: u8::try_from(info.state).unwrap_or(0),
                capacity: info.capacity,
                allocation: info.allocation,
                available: info.available,
            })
        }),
        Procedure::StoragePoolGetXmlDesc => now::<procs::StoragePoolGetXmlDesc>(request, |args| {
            flags(args.flags, 1, "storagePoolGetXMLDesc")?;
            let xml = find(pools, &args.pool)?.xml(args.flags & 1 != 0);
            Ok(remote::StoragePoolGetXmlDescRet { xml })
        }),
        Procedure::StoragePoolIsActive => now::<procs::StoragePoolIsActive>(request, |args| {
            let active = find(pools, &args.pool)?.snapshot().active.into();
            Ok(remote::StoragePoolIsActiveRet { active })
        }),
        Procedure::StoragePoolIsPersistent => {
            now::<procs::StoragePoolIsPersistent>(request, |args| {
                let persistent = find(pools, &args.pool)?.snapshot().persistent.into();
                Ok(remote::StoragePoolIsPersistentRet { persistent })
            })
        }
        Procedure::StoragePoolGetAutostart => {
            now::<procs::StoragePoolGetAutostart>(request, |args| {
                let autostart = find(pools, &args.pool)?.snapshot().autostart.into();
                Ok(remote::StoragePoolGetAutostartRet { autostart })
            })
        }
        Procedure::ConnectStoragePoolEventRegisterAny => {
            let outcome = now::<procs::ConnectStoragePoolEventRegisterAny>(request, |args| {
                let only = match &args.pool {
                    Some(pool) => Some(find(pools, pool)?.uuid),
                    None => None,
                };
                let callback_id = session.callbacks().add_pool(args.event_id, only)?;
                Ok(remote::ConnectStoragePoolEventRegisterAnyRet { callback_id })
            });
            listen(&service.engine, session);
            outcome
        }
        Procedure::ConnectStoragePoolEventDeregisterAny => {
            now::<procs::ConnectStoragePoolEventDeregisterAny>(request, |args| {
                session.callbacks().remove(crate::events::Family::Pool, args.callback_id)
            })
        }
        _ => return changes(pools, procedure, request),
    })
}

/// What changes a pool.
fn changes<'a, 'b>(pools: &Pools, procedure: Procedure, request: Request<'a, 'b>) -> Bound<'a, 'b> {
    let pools = pools.clone();
    Bound::Done(match procedure {
        Procedure::StoragePoolDefineXml => {
            later::<procs::StoragePoolDefineXml, _>(request, move |args| async move {
                flags(args.flags, 1, "storagePoolDefineXML")?;
                let pool = pools.define(args.xml, args.flags & 1 != 0).await?;
                Ok(remote::StoragePoolDefineXmlRet { pool: wire(&pool) })
            })
        }
        Procedure::StoragePoolCreateXml => {
            later::<procs::StoragePoolCreateXml, _>(request, move |args| async move {
                let build = build_options(args.flags, "storagePoolCreateXML")?;
                let options = CreateOptions { build, validate: false };
                let pool = pools.create(args.xml, options).await?;
                Ok(remote::StoragePoolCreateXmlRet { pool: wire(&pool) })
            })
        }
        Procedure::StoragePoolCreate => {
            later::<procs::StoragePoolCreate, _>(request, move |args| async move {
                let build = build_options(args.flags, "storagePoolCreate")?;
                pools.start(&find(&pools, &args.pool)?, build).await
            })
        }
        Procedure::StoragePoolBuild => {
            later::<procs::StoragePoolBuild, _>(request, move |args| async move {
                let pool = find(&pools, &args.pool)?;
                // 1 repairs, 2 resizes: no pool can do either.
                flags(args.flags, 4 | 8, "virStorageBackendBuildLocal")?;
                let options = BuildOptions {
                    no_overwrite: args.flags & 4 != 0,
                    overwrite: args.flags & 8 != 0,
                };
                pools.build(&pool, options).await
            })
        }
        Procedure::StoragePoolDestroy => {
            later::<procs::StoragePoolDestroy, _>(request, move |args| async move {
                pools.destroy(&find(&pools, &args.pool)?).await
            })
        }
        Procedure::StoragePoolDelete => {
            later::<procs::StoragePoolDelete, _>(request, move |args| async move {
                let pool = find(&pools, &args.pool)?;
                flags(args.flags, 0, "virStorageBackendDeleteLocal")?;
                pools.delete(&pool).await
            })
        }
        Procedure::StoragePoolUndefine => {
            later::<procs::StoragePoolUndefine, _>(request, move |args| async move {
                pools.undefine(&find(&pools, &args.pool)?).await
            })
        }
        Procedure::StoragePoolRefresh => {
            later::<procs::StoragePoolRefresh, _>(request, move |args| async move {
                flags(args.flags, 0, "storagePoolRefresh")?;
                pools.refresh(&find(&pools, &args.pool)?).await
            })
        }
        Procedure::StoragePoolSetAutostart => {
            later::<procs::StoragePoolSetAutostart, _>(request, move |args| async move {
                pools.set_autostart(&find(&pools, &args.pool)?, args.autostart != 0).await
            })
        }
        _ => return Bound::NotMine(request),
    })
}

/// The pool a client means.
pub(crate) fn find(pools: &Pools, wire: &NonnullStoragePool) -> Result<Arc<Pool>, VirError> {
    let uuid = Uuid(wire.uuid);
    pools.by_uuid(uuid).map_err(|_| {
        let detail = format!("no storage pool with matching uuid '{uuid}' ({})", wire.name);
        VirError::new(ErrorCode::NO_STORAGE_POOL, detail).from_domain(ErrorDomain::STORAGE)
    })
}

/// A pool as the wire names it.
pub(crate) fn wire(pool: &Pool) -> NonnullStoragePool {
    NonnullStoragePool { name: pool.name.to_string(), uuid: *pool.uuid.as_bytes() }
}

/// Refuses flags other than `known`, in the name of libvirt's function.
pub(crate) fn flags(flags: u32, known: u32, function: &str) -> Result<(), VirError> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(unsupported_flags(unknown, function)),
    }
}

fn build_options(given: u32, function: &str) -> Result<Option<BuildOptions>, VirError> {
    flags(given, WITH_BUILD | WITH_BUILD_OVERWRITE | WITH_BUILD_NO_OVERWRITE, function)?;
    let options = BuildOptions {
        overwrite: given & WITH_BUILD_OVERWRITE != 0,
        no_overwrite: given & WITH_BUILD_NO_OVERWRITE != 0,
    };
    Ok((given != 0).then_some(options))
}

fn names(pools: &Pools, active: bool) -> Vec<String> {
    let mut pools = pools.all();
    pools.retain(|pool| pool.snapshot().active == active);
    pools.iter().map(|pool| pool.name.to_string()).collect()
}

/// A number as the wire has it.
pub(crate) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The first names, as many as the client has room for.
pub(crate) fn at_most(mut names: Vec<String>, room: i32) -> Vec<String> {
    names.truncate(usize::try_from(room).unwrap_or(0));
    names
}

/// libvirt's answers where no sources can be looked for.
fn no_discovery(kind: &str) -> VirError {
    let error =
        |code, detail: String| VirError::new(code, detail).from_domain(ErrorDomain::STORAGE);
    match kind.parse::<model::storage::PoolType>() {
        Err(_) => error(ErrorCode::INTERNAL_ERROR, format!("unknown storage pool type {kind}")),
        Ok(kind) => {
            let detail = format!("pool type '{kind}' does not support source discovery");
            error(ErrorCode::NO_SUPPORT, detail)
        }
    }
}
