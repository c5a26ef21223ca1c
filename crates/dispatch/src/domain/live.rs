//! What is asked of running guests and changed in them: virtual CPUs, memory, metadata,
//! statistics. Consoles and displays are in [`crate::domain::display`], the guest agent's in
//! [`crate::domain::agent`].

use crate::bind::{Request, blocking, later, now, unsupported};
use crate::domain::find;
use crate::domain::info::running;
use crate::events::wire_domain;
use crate::flags::{no_flags, only_flags};
use crate::node::int;
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, ErrorDomain, VirError};
use engine::Engine;
use engine::domain::hardware::block::DiskError;
use engine::domain::hardware::memory::MEM_MAXIMUM;
use engine::domain::hardware::vcpus::{VCPU_GUEST, VCPU_HOTPLUGGABLE, VCPU_MAXIMUM};
use engine::domain::stats::{StatsGroups, StatsWanted};
use engine::domain::stored::metadata::MetadataKind;
use engine::domain::{Domain, ListFilter, affect};
use protocol::TypedParam;
use protocol::remote::{self, Procedure, procs};
use rpc::server::Outcome;
use std::sync::Arc;
use units::CpuSet;

/// `VIR_DOMAIN_AFFECT_LIVE` and `…_CONFIG`.
const AFFECT: u32 = affect::LIVE | affect::CONFIG;

/// `VIR_TYPED_PARAM_STRING_OKAY`.
const STRING_OKAY: u32 = 4;

/// `virConnectGetAllDomainStatsFlags` beyond the filters of lists: do not wait, chains of backing
/// files, refuse what is not known.
const STATS_NOWAIT: u32 = 1 << 29;
const STATS_BACKING: u32 = 1 << 30;
const STATS_ENFORCE: u32 = 1 << 31;
const STATS_FILTER: u32 = 0xff;

/// Most virtual CPUs and most bytes of their maps in one answer.
const VCPUS_MAX: i32 = 16_384;
const CPU_MAPS_MAX: usize = 8_388_608;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainGetVcpus => now::<procs::DomainGetVcpus>(request, |args| {
            let domain = find(&engine, &args.dom)?;
            get_vcpus(&engine, &domain, args.maxinfo, args.maplen)
        }),
        Procedure::DomainGetVcpuPinInfo => {
            blocking::<procs::DomainGetVcpuPinInfo>(request, move |args| {
                only_flags(args.flags, AFFECT)?;
                let (count, length) = map_sizes(args.ncpumaps, args.maplen)?;
                let domain = find(&engine, &args.dom)?;
                let pins = engine.vcpu_pins(&domain, args.flags)?;
                let pins = pins.get(..count.min(pins.len())).unwrap_or_default();
                let cpumaps = pins.iter().flat_map(|pin| pin.to_le_bytes(Some(length))).collect();
                Ok(remote::DomainGetVcpuPinInfoRet { cpumaps, num: int(pins.len()) })
            })
        }
        Procedure::DomainGetEmulatorPinInfo => {
            blocking::<procs::DomainGetEmulatorPinInfo>(request, move |args| {
                only_flags(args.flags, AFFECT)?;
                let (_, length) = map_sizes(1, args.maplen)?;
                let domain = find(&engine, &args.dom)?;
                let pin = engine.emulator_pin(&domain, args.flags)?;
                let cpumaps = pin.to_le_bytes(Some(length));
                Ok(remote::DomainGetEmulatorPinInfoRet { cpumaps, ret: 1 })
            })
        }
        Procedure::DomainGetIothreadInfo => {
            later::<procs::DomainGetIothreadInfo, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let length = engine.host_cpu_count().div_ceil(8);
                let threads = engine.io_threads(&domain, args.flags).await?;
                let info: Vec<_> = threads
                    .into_iter()
                    .map(|thread| remote::DomainIothreadInfo {
                        iothread_id: thread.id,
                        cpumap: thread.affinity.to_le_bytes(Some(length)),
                    })
                    .collect();
                let ret = u32::try_from(info.len()).unwrap_or(u32::MAX);
                Ok(remote::DomainGetIothreadInfoRet { info, ret })
            })
        }
        Procedure::DomainPinVcpu => later::<procs::DomainPinVcpu, _>(request, |args| async move {
            let domain = find(&engine, &args.dom)?;
            let cpus = CpuSet::from_le_bytes(&args.cpumap);
            engine.pin_vcpu(&domain, args.vcpu, cpus, affect::LIVE, &client).await
        }),
        Procedure::DomainPinVcpuFlags => {
            later::<procs::DomainPinVcpuFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let cpus = CpuSet::from_le_bytes(&args.cpumap);
                engine.pin_vcpu(&domain, args.vcpu, cpus, args.flags, &client).await
            })
        }
        Procedure::DomainPinEmulator => {
            later::<procs::DomainPinEmulator, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let cpus = CpuSet::from_le_bytes(&args.cpumap);
                engine.pin_emulator(&domain, cpus, args.flags, &client).await
            })
        }
        Procedure::DomainPinIothread => {
            later::<procs::DomainPinIothread, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let cpus = CpuSet::from_le_bytes(&args.cpumap);
                let id = args.iothreads_id;
                engine.pin_io_thread(&domain, id, cpus, args.flags, &client).await
            })
        }
        Procedure::DomainSetVcpus => {
            later::<procs::DomainSetVcpus, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                engine.set_vcpus(&domain, args.nvcpus, affect::LIVE, &client).await
            })
        }
        Procedure::DomainSetVcpusFlags => {
            later::<procs::DomainSetVcpusFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT | VCPU_MAXIMUM | VCPU_GUEST | VCPU_HOTPLUGGABLE)?;
                let domain = find(&engine, &args.dom)?;
                engine.set_vcpus(&domain, args.nvcpus, args.flags, &client).await
            })
        }
        Procedure::DomainSetMemory => {
            later::<procs::DomainSetMemory, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                engine.set_memory(&domain, args.memory, affect::LIVE, &client).await
            })
        }
        Procedure::DomainSetMaxMemory => {
            later::<procs::DomainSetMaxMemory, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                engine.set_memory(&domain, args.memory, MEM_MAXIMUM, &client).await
            })
        }
        Procedure::DomainSetMemoryFlags => {
            later::<procs::DomainSetMemoryFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT | MEM_MAXIMUM)?;
                let domain = find(&engine, &args.dom)?;
                engine.set_memory(&domain, args.memory, args.flags, &client).await
            })
        }
        Procedure::DomainSetMemoryStatsPeriod => {
            later::<procs::DomainSetMemoryStatsPeriod, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let period = u32::try_from(args.period).map_err(|_| {
                    VirError::invalid_arg(
                        "period in virDomainSetMemoryStatsPeriod must be zero or greater",
                    )
                    .from_domain(ErrorDomain::DOMAIN)
                })?;
                let domain = find(&engine, &args.dom)?;
                engine.set_memory_stats_period(&domain, period, args.flags, &client).await
            })
        }
        Procedure::DomainMemoryStats => {
            later::<procs::DomainMemoryStats, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                let wanted = usize::try_from(args.max_stats).unwrap_or(usize::MAX);
                let stats = engine.memory_stats(&domain).await?;
                let stats = stats
                    .into_iter()
                    .take(wanted)
                    .map(|stat| remote::DomainMemoryStat { tag: stat.tag, val: stat.value });
                Ok(remote::DomainMemoryStatsRet { stats: stats.collect() })
            })
        }
        Procedure::DomainGetMetadata => now::<procs::DomainGetMetadata>(request, |args| {
            only_flags(args.flags, AFFECT)?;
            let kind = MetadataKind::from_wire(args.r#type, args.uri, "virDomainGetMetadata")?;
            let domain = find(&engine, &args.dom)?;
            let metadata = engine.metadata(&domain, &kind, args.flags)?;
            Ok(remote::DomainGetMetadataRet { metadata })
        }),
        Procedure::DomainSetMetadata => {
            later::<procs::DomainSetMetadata, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let kind = MetadataKind::from_wire(args.r#type, args.uri, "virDomainSetMetadata")?;
                let domain = find(&engine, &args.dom)?;
                let (text, key) = (args.metadata, args.key);
                engine.set_metadata(&domain, kind, text, key, args.flags, &client).await
            })
        }
        Procedure::DomainSetLifecycleAction => {
            later::<procs::DomainSetLifecycleAction, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                engine
                    .set_lifecycle_action(&domain, args.r#type, args.action, args.flags, &client)
                    .await
            })
        }
        Procedure::ConnectGetAllDomainStats => {
            later::<procs::ConnectGetAllDomainStats, _>(request, |args| async move {
                all_stats(&engine, args).await
            })
        }
        Procedure::DomainBlockStats => {
            later::<procs::DomainBlockStats, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                let counters = engine.block_counters(&domain, &args.path).await?;
                let wire = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                Ok(remote::DomainBlockStatsRet {
                    rd_req: wire(counters.rd_operations),
                    rd_bytes: wire(counters.rd_bytes),
                    wr_req: wire(counters.wr_operations),
                    wr_bytes: wire(counters.wr_bytes),
                    errs: -1,
                })
            })
        }
        Procedure::DomainBlockStatsFlags => {
            later::<procs::DomainBlockStatsFlags, _>(request, |args| async move {
                only_flags(args.flags, STRING_OKAY)?;
                let domain = find(&engine, &args.dom)?;
                let counters = engine.block_counters(&domain, &args.path).await?;
                let all = [
                    ("wr_bytes", counters.wr_bytes),
                    ("wr_operations", counters.wr_operations),
                    ("rd_bytes", counters.rd_bytes),
                    ("rd_operations", counters.rd_operations),
                    ("flush_operations", counters.flush_operations),
                    ("wr_total_times", counters.wr_total_times),
                    ("rd_total_times", counters.rd_total_times),
                    ("flush_total_times", counters.flush_total_times),
                ];
                let nparams = int(all.len());
                let wanted = usize::try_from(args.nparams).unwrap_or(0);
                let params = all.into_iter().take(wanted).map(|(name, value)| {
                    // The old library's numbers are signed.
                    TypedParam::new(name, i64::try_from(value).unwrap_or(i64::MAX))
                });
                Ok(remote::DomainBlockStatsFlagsRet { params: params.collect(), nparams })
            })
        }
        Procedure::DomainGetBlockInfo => {
            later::<procs::DomainGetBlockInfo, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                let info = engine.block_info(&domain, &args.path).await?;
                Ok(remote::DomainGetBlockInfoRet {
                    allocation: info.allocation,
                    capacity: info.capacity,
                    physical: info.physical,
                })
            })
        }
        Procedure::DomainInterfaceStats => now::<procs::DomainInterfaceStats>(request, |args| {
            let domain = find(&engine, &args.dom)?;
            let counters = engine.interface_counters(&domain, &args.device)?;
            let wire = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let [rx_bytes, rx_packets, rx_errs, rx_drop] = counters.rx.map(wire);
            let [tx_bytes, tx_packets, tx_errs, tx_drop] = counters.tx.map(wire);
            Ok(remote::DomainInterfaceStatsRet {
                rx_bytes,
                rx_packets,
                rx_errs,
                rx_drop,
                tx_bytes,
                tx_packets,
                tx_errs,
                tx_drop,
            })
        }),
        Procedure::DomainGetCpuStats => now::<procs::DomainGetCpuStats>(request, |args| {
            only_flags(args.flags, STRING_OKAY)?;
            let domain = find(&engine, &args.dom)?;
            running(&domain)?;
            // How many CPUs there are to ask about.
            if args.start_cpu != -1 && args.ncpus == 0 {
                let (present, _) = engine.cpu_map();
                let count = present.iter().max().map_or(0, |last| last + 1);
                let nparams = i32::try_from(count).unwrap_or(i32::MAX);
                return Ok(remote::DomainGetCpuStatsRet { params: Vec::new(), nparams });
            }
            // How many values each CPU has: its time and that of the virtual CPUs.
            if args.start_cpu != -1 && args.nparams == 0 {
                return Ok(remote::DomainGetCpuStatsRet { params: Vec::new(), nparams: 2 });
            }
            // The kernel counts the time of a guest for all host CPUs together.
            if args.start_cpu != -1 {
                return Err(VirError::new(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "operation 'getCpuacctPercpuUsage' not supported for backend 'cgroup V2'",
                )
                .from_domain(ErrorDomain::CGROUP));
            }
            let times = engine.cpu_times(&domain);
            let all = [
                ("cpu_time", times.0.saturating_add(times.1)),
                ("user_time", times.0),
                ("system_time", times.1),
            ];
            let wanted = usize::try_from(args.nparams).unwrap_or(0);
            // Who asks for fewer than there are is told of no more: clients refuse that.
            let nparams = int(if wanted == 0 { all.len() } else { wanted.min(all.len()) });
            let params = all.into_iter().take(wanted);
            let params = params.map(|(name, value)| TypedParam::new(name, value)).collect();
            Ok(remote::DomainGetCpuStatsRet { params, nparams })
        }),
        Procedure::DomainGetDiskErrors => {
            later::<procs::DomainGetDiskErrors, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                if args.maxerrors == 0 {
                    // How many there can be at most.
                    running(&domain)?;
                    let snapshot = domain.snapshot();
                    let devices = snapshot.live.iter().flat_map(|l| &l.definition.devices);
                    let disks: usize = devices.map(|devices| devices.disks.len()).sum();
                    let nerrors = i32::try_from(disks).unwrap_or(i32::MAX);
                    return Ok(remote::DomainGetDiskErrorsRet { errors: Vec::new(), nerrors });
                }
                let most = usize::try_from(args.maxerrors).unwrap_or(usize::MAX);
                let found = engine.disk_errors(&domain, &client).await?;
                let errors: Vec<_> = found
                    .into_iter()
                    .take(most)
                    .map(|(disk, error)| remote::DomainDiskError {
                        disk,
                        error: match error {
                            DiskError::Unspecified => 1,
                            DiskError::NoSpace => 2,
                        },
                    })
                    .collect();
                let nerrors = i32::try_from(errors.len()).unwrap_or(i32::MAX);
                Ok(remote::DomainGetDiskErrorsRet { errors, nerrors })
            })
        }
        Procedure::DomainAttachDevice
        | Procedure::DomainAttachDeviceFlags
        | Procedure::DomainDetachDevice
        | Procedure::DomainDetachDeviceFlags
        | Procedure::DomainDetachDeviceAlias
        | Procedure::DomainUpdateDeviceFlags => {
            Outcome::Error(unsupported(remote::PROGRAM, request.call.procedure))
        }
        _ => {
            return match crate::domain::agent::call(service, session, procedure, request) {
                Bound::NotMine(request) => {
                    crate::domain::display::call(service, session, procedure, request)
                }
                done => done,
            };
        }
    })
}

fn get_vcpus(
    engine: &Engine,
    domain: &Domain,
    maxinfo: i32,
    maplen: i32,
) -> Result<remote::DomainGetVcpusRet, VirError> {
    let (count, length) = map_sizes(maxinfo, maplen)?;
    let vcpus = engine.vcpus(domain)?;
    let vcpus = vcpus.get(..count.min(vcpus.len())).unwrap_or_default();
    let info = vcpus
        .iter()
        .map(|vcpu| remote::VcpuInfo {
            number: vcpu.number,
            // Running, which is all the host sees of a virtual CPU that is plugged.
            state: 1,
            cpu_time: vcpu.time,
            cpu: vcpu.cpu,
        })
        .collect();
    let maps = vcpus.iter().filter(|_| length > 0);
    let cpumaps = maps.flat_map(|vcpu| vcpu.affinity.to_le_bytes(Some(length))).collect();
    Ok(remote::DomainGetVcpusRet { info, cpumaps })
}

/// Number and length of CPU maps, if an answer may hold them.
fn map_sizes(count: i32, length: i32) -> Result<(usize, usize), VirError> {
    if count > VCPUS_MAX {
        return Err(crate::bind::rpc_error("maxinfo > REMOTE_VCPUINFO_MAX"));
    }
    let (count, length) =
        (usize::try_from(count).unwrap_or(0), usize::try_from(length).unwrap_or(0));
    if count.checked_mul(length).is_none_or(|bytes| bytes > CPU_MAPS_MAX) {
        return Err(crate::bind::rpc_error("maxinfo * maplen > REMOTE_CPUMAPS_MAX"));
    }
    Ok((count, length))
}

async fn all_stats(
    engine: &Arc<Engine>,
    args: remote::ConnectGetAllDomainStatsArgs,
) -> Result<remote::ConnectGetAllDomainStatsRet, VirError> {
    only_flags(args.flags, STATS_FILTER | STATS_NOWAIT | STATS_BACKING | STATS_ENFORCE)?;
    let unknown = args.stats & !StatsGroups::KNOWN;
    if args.flags & STATS_ENFORCE != 0 && unknown != 0 {
        return Err(VirError::new(
            ErrorCode::ARGUMENT_UNSUPPORTED,
            format!("Stats types bits 0x{unknown:x} are not supported by this daemon or QEMU"),
        ));
    }
    let groups = StatsGroups(if args.stats == 0 { StatsGroups::KNOWN } else { args.stats });
    let filter = ListFilter(args.flags & STATS_FILTER);
    let mut domains = Vec::new();
    if args.doms.is_empty() {
        engine.registry.for_each(|domain, _| domains.push(Arc::clone(domain)));
    } else {
        for dom in &args.doms {
            // One that is gone in the meantime is left out, as libvirt does.
            domains.extend(find(engine, dom).ok());
        }
    }
    domains.retain(|domain| filter.admits(&domain.snapshot()));
    let wanted = StatsWanted {
        groups,
        backing: args.flags & STATS_BACKING != 0,
        no_wait: args.flags & STATS_NOWAIT != 0,
    };
    let stats = engine.domain_stats(domains, wanted).await;
    let record = |entry: &engine::domain::stats::DomainStats| remote::DomainStatsRecord {
        dom: wire_domain(&entry.domain),
        params: crate::params::to_wire(entry.stats.clone()),
    };
    Ok(remote::ConnectGetAllDomainStatsRet { ret_stats: stats.iter().map(record).collect() })
}
