//! What is asked about a domain and answered from its published snapshot, without waiting.

use crate::bind::{Request, now};
use crate::domain::find;
use crate::flags::{no_flags, only_flags};
use crate::node::{chars, int};
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, VirError};
use engine::domain::affect::{self, not_running};
use engine::domain::{Domain, Snapshot};
use protocol::TypedParam;
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;

/// All flags of lists of snapshots and of checkpoints.
const SNAPSHOT_LIST: u32 = 0x7ff;
const CHECKPOINT_LIST: u32 = 0xf;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = &service.engine;
    Bound::Done(match procedure {
        Procedure::DomainGetInfo => now::<procs::DomainGetInfo>(request, |args| {
            let domain = find(engine, &args.dom)?;
            let snapshot = domain.snapshot();
            let summary = snapshot.summary();
            Ok(remote::DomainGetInfoRet {
                state: u8::try_from(snapshot.status.number()).unwrap_or(0),
                max_mem: summary.memory_max_kib,
                memory: summary.memory_kib,
                nr_virt_cpu: u16::try_from(summary.vcpus).unwrap_or(u16::MAX),
                cpu_time: engine.cpu_time(&domain),
            })
        }),
        Procedure::DomainGetMaxMemory => now::<procs::DomainGetMaxMemory>(request, |args| {
            let summary = find(engine, &args.dom)?.snapshot().summary();
            Ok(remote::DomainGetMaxMemoryRet { memory: summary.memory_max_kib })
        }),
        Procedure::DomainGetMaxVcpus => now::<procs::DomainGetMaxVcpus>(request, |args| {
            let snapshot = find(engine, &args.dom)?.snapshot();
            if !snapshot.is_active() {
                return Err(not_running());
            }
            Ok(remote::DomainGetMaxVcpusRet { num: int(snapshot.summary().vcpus_max) })
        }),
        Procedure::DomainGetOsType => now::<procs::DomainGetOsType>(request, |args| {
            let summary = find(engine, &args.dom)?.snapshot().summary();
            Ok(remote::DomainGetOsTypeRet { r#type: summary.os_type.into() })
        }),
        Procedure::DomainIsActive => now::<procs::DomainIsActive>(request, |args| {
            let active = find(engine, &args.dom)?.snapshot().is_active();
            Ok(remote::DomainIsActiveRet { active: active.into() })
        }),
        Procedure::DomainIsPersistent => now::<procs::DomainIsPersistent>(request, |args| {
            let persistent = find(engine, &args.dom)?.snapshot().is_persistent();
            Ok(remote::DomainIsPersistentRet { persistent: persistent.into() })
        }),
        Procedure::DomainIsUpdated => now::<procs::DomainIsUpdated>(request, |args| {
            // libvirt's flag of this name is about definitions changed behind its back.
            find(engine, &args.dom)?;
            Ok(remote::DomainIsUpdatedRet { updated: 0 })
        }),
        Procedure::DomainGetSecurityLabel => {
            now::<procs::DomainGetSecurityLabel>(request, |args| {
                // The primary model is "none", which has no labels.
                find(engine, &args.dom)?;
                Ok(empty_label())
            })
        }
        Procedure::DomainGetSecurityLabelList => {
            now::<procs::DomainGetSecurityLabelList>(request, |args| {
                let labels = security_labels(&find(engine, &args.dom)?.snapshot());
                Ok(remote::DomainGetSecurityLabelListRet { ret: int(labels.len()), labels })
            })
        }
        Procedure::DomainGetVcpusFlags => return vcpus_flags(service, session, request),
        Procedure::DomainGetControlInfo => now::<procs::DomainGetControlInfo>(request, |args| {
            no_flags(args.flags)?;
            let domain = find(engine, &args.dom)?;
            running(&domain)?;
            // 0 ok, 2 occupied by something that is to be over soon, and since when (1, a
            // background job, is for what takes as long as it takes).
            let (held, background) = (domain.gate.held_for(), domain.gate.background_for());
            let state_time = held.or(background);
            let state_time =
                state_time.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(0));
            let state = match (held, background) {
                (Some(_), _) => 2,
                (None, Some(_)) => 1,
                (None, None) => 0,
            };
            Ok(remote::DomainGetControlInfoRet { state, details: 0, state_time })
        }),
        Procedure::DomainGetMessages => now::<procs::DomainGetMessages>(request, |args| {
            only_flags(args.flags, 7)?;
            let domain = find(engine, &args.dom)?;
            Ok(remote::DomainGetMessagesRet { msgs: engine.messages(&domain, args.flags) })
        }),
        Procedure::DomainGetLaunchSecurityInfo => {
            now::<procs::DomainGetLaunchSecurityInfo>(request, |args| {
                only_flags(args.flags, 4)?;
                find(engine, &args.dom)?;
                Ok(remote::DomainGetLaunchSecurityInfoRet { params: Vec::new() })
            })
        }
        Procedure::DomainGetPerfEvents => now::<procs::DomainGetPerfEvents>(request, |args| {
            only_flags(args.flags, 7)?;
            let domain = find(engine, &args.dom)?;
            let params = engine
                .with_side(&domain, args.flags, |definition, _| Ok(perf_events(definition)))?;
            Ok(remote::DomainGetPerfEventsRet { params })
        }),
        Procedure::DomainSnapshotNum => now::<procs::DomainSnapshotNum>(request, |args| {
            only_flags(args.flags, SNAPSHOT_LIST)?;
            find(engine, &args.dom)?;
            Ok(remote::DomainSnapshotNumRet { num: 0 })
        }),
        Procedure::DomainSnapshotListNames => {
            now::<procs::DomainSnapshotListNames>(request, |args| {
                only_flags(args.flags, SNAPSHOT_LIST)?;
                find(engine, &args.dom)?;
                Ok(remote::DomainSnapshotListNamesRet { names: Vec::new() })
            })
        }
        Procedure::DomainListAllSnapshots => {
            now::<procs::DomainListAllSnapshots>(request, |args| {
                only_flags(args.flags, SNAPSHOT_LIST)?;
                find(engine, &args.dom)?;
                Ok(remote::DomainListAllSnapshotsRet { snapshots: Vec::new(), ret: 0 })
            })
        }
        Procedure::DomainSnapshotLookupByName => {
            now::<procs::DomainSnapshotLookupByName>(request, |args| {
                no_flags(args.flags)?;
                find(engine, &args.dom)?;
                Err(no_snapshot(&args.name))
            })
        }
        Procedure::DomainHasCurrentSnapshot => {
            now::<procs::DomainHasCurrentSnapshot>(request, |args| {
                no_flags(args.flags)?;
                find(engine, &args.dom)?;
                Ok(remote::DomainHasCurrentSnapshotRet { result: 0 })
            })
        }
        Procedure::DomainSnapshotCurrent => now::<procs::DomainSnapshotCurrent>(request, |args| {
            no_flags(args.flags)?;
            find(engine, &args.dom)?;
            Err(VirError::new(
                ErrorCode::NO_DOMAIN_SNAPSHOT,
                "the domain does not have a current snapshot",
            ))
        }),
        Procedure::DomainSnapshotGetXmlDesc => {
            now::<procs::DomainSnapshotGetXmlDesc>(request, |args| {
                find(engine, &args.snap.dom)?;
                Err(no_snapshot(&args.snap.name))
            })
        }
        Procedure::DomainSnapshotDelete => now::<procs::DomainSnapshotDelete>(request, |args| {
            find(engine, &args.snap.dom)?;
            Err(no_snapshot(&args.snap.name))
        }),
        Procedure::DomainRevertToSnapshot => {
            now::<procs::DomainRevertToSnapshot>(request, |args| {
                find(engine, &args.snap.dom)?;
                Err(no_snapshot(&args.snap.name))
            })
        }
        Procedure::DomainListAllCheckpoints => {
            now::<procs::DomainListAllCheckpoints>(request, |args| {
                only_flags(args.flags, CHECKPOINT_LIST)?;
                find(engine, &args.dom)?;
                Ok(remote::DomainListAllCheckpointsRet { checkpoints: Vec::new(), ret: 0 })
            })
        }
        Procedure::DomainCheckpointLookupByName => {
            now::<procs::DomainCheckpointLookupByName>(request, |args| {
                no_flags(args.flags)?;
                find(engine, &args.dom)?;
                Err(VirError::new(
                    ErrorCode::NO_DOMAIN_CHECKPOINT,
                    format!("no domain checkpoint with matching name '{}'", args.name),
                ))
            })
        }
        Procedure::DomainBackupGetXmlDesc => {
            now::<procs::DomainBackupGetXmlDesc>(request, |args| {
                no_flags(args.flags)?;
                find(engine, &args.dom)?;
                Err(VirError::new(ErrorCode::NO_DOMAIN_BACKUP, "no domain backup job present"))
            })
        }
        _ => return Bound::NotMine(request),
    })
}

/// `virDomainGetVcpusFlags`: from the definitions, except where the agent is to count.
fn vcpus_flags<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    const MAXIMUM: u32 = 4;
    const GUEST: u32 = 8;
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    let args = match crate::bind::arguments::<procs::DomainGetVcpusFlags>(&request) {
        Ok(args) => args,
        Err(error) => return Bound::Done(rpc::server::Outcome::Error(error)),
    };
    if args.flags & GUEST != 0 {
        return Bound::Done(crate::bind::later::<procs::DomainGetVcpusFlags, _>(
            request,
            |args| async move {
                only_flags(args.flags, 0xf)?;
                let domain = find(&engine, &args.dom)?;
                let snapshot = domain.snapshot();
                affect::Side::resolve(&snapshot, args.flags)?;
                if !snapshot.is_active() {
                    return Err(VirError::invalid_arg(
                        "vCPU count provided by the guest agent can only be requested for live \
                         domains",
                    ));
                }
                let num =
                    engine.guest_vcpu_count(&domain, args.flags & MAXIMUM != 0, &client).await?;
                Ok(remote::DomainGetVcpusFlagsRet { num: int(num) })
            },
        ));
    }
    Bound::Done(now::<procs::DomainGetVcpusFlags>(request, |args| {
        only_flags(args.flags, 0xf)?;
        let snapshot = find(&engine, &args.dom)?.snapshot();
        let summary = match affect::Side::resolve(&snapshot, args.flags)? {
            affect::Side::Live(_) => snapshot.summary(),
            affect::Side::Config(config) => config.summary.clone(),
        };
        let num = if args.flags & MAXIMUM != 0 { summary.vcpus_max } else { summary.vcpus };
        Ok(remote::DomainGetVcpusFlagsRet { num: int(num) })
    }))
}

/// The snapshot of a domain that runs.
pub(crate) fn running(domain: &Domain) -> Result<Arc<Snapshot>, VirError> {
    let snapshot = domain.snapshot();
    if snapshot.is_active() { Ok(snapshot) } else { Err(not_running()) }
}

fn no_snapshot(name: &str) -> VirError {
    VirError::new(
        ErrorCode::NO_DOMAIN_SNAPSHOT,
        format!("no domain snapshot with matching name '{name}'"),
    )
}

fn empty_label() -> remote::DomainGetSecurityLabelRet {
    remote::DomainGetSecurityLabelRet { label: vec![0], enforcing: 0 }
}

/// One entry for each security model; nothing for a domain that does not run.
fn security_labels(snapshot: &Snapshot) -> Vec<remote::DomainGetSecurityLabelRet> {
    let Some(live) = &snapshot.live else { return Vec::new() };
    let mut labels = vec![empty_label()];
    labels.extend(
        live.definition
            .seclabels
            .iter()
            .filter_map(|label| label.label.as_deref())
            .map(|label| remote::DomainGetSecurityLabelRet { label: chars(label), enforcing: 0 }),
    );
    labels
}

/// libvirt's performance events, in its order, and whether the definition has them on.
fn perf_events(definition: &model::domain::Domain) -> Vec<TypedParam> {
    model::domain::lifecycle::PERF_EVENTS
        .iter()
        .map(|name| {
            let on = definition
                .perf
                .iter()
                .flat_map(|perf| &perf.events)
                .any(|event| event.name == *name && bool::from(event.enabled));
            TypedParam::new(*name, on)
        })
        .collect()
}
