//! Limits and priorities of guests.

use crate::bind::{Request, blocking, later};
use crate::domain::find;
use crate::flags::{no_flags, only_flags};
use crate::node::int;
use crate::params::{from_wire, some, to_wire};
use crate::{Bound, Libvirt, Session};
use diag::VirError;
use engine::Engine;
use engine::domain::affect;
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;

/// `VIR_DOMAIN_AFFECT_LIVE` and `…_CONFIG`.
const AFFECT: u32 = affect::LIVE | affect::CONFIG;

/// The same with `VIR_TYPED_PARAM_STRING_OKAY`.
const AFFECT_TEXT: u32 = AFFECT | 4;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainGetSchedulerType => {
            blocking::<procs::DomainGetSchedulerType>(request, move |args| {
                let count = engine.scheduler_parameter_count(&*find(&engine, &args.dom)?)?;
                let nparams = int(count);
                Ok(remote::DomainGetSchedulerTypeRet { r#type: "posix".into(), nparams })
            })
        }
        Procedure::DomainGetSchedulerParameters => {
            blocking::<procs::DomainGetSchedulerParameters>(request, move |args| {
                let domain = find(&engine, &args.dom)?;
                let wanted = usize::try_from(args.nparams).unwrap_or(0);
                let params = engine.scheduler_parameters(&domain, 0)?;
                let params = to_wire(params.into_iter().take(wanted));
                Ok(remote::DomainGetSchedulerParametersRet { params })
            })
        }
        Procedure::DomainGetSchedulerParametersFlags => {
            blocking::<procs::DomainGetSchedulerParametersFlags>(request, move |args| {
                only_flags(args.flags, AFFECT_TEXT)?;
                let domain = find(&engine, &args.dom)?;
                let wanted = usize::try_from(args.nparams).unwrap_or(0);
                let params = engine.scheduler_parameters(&domain, args.flags)?;
                let params = to_wire(params.into_iter().take(wanted));
                Ok(remote::DomainGetSchedulerParametersFlagsRet { params })
            })
        }
        Procedure::DomainSetSchedulerParameters => {
            later::<procs::DomainSetSchedulerParameters, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_scheduler_parameters(&domain, params, 0, &client).await
            })
        }
        Procedure::DomainSetSchedulerParametersFlags => {
            later::<procs::DomainSetSchedulerParametersFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_scheduler_parameters(&domain, params, args.flags, &client).await
            })
        }
        Procedure::DomainGetMemoryParameters => {
            blocking::<procs::DomainGetMemoryParameters>(request, move |args| {
                only_flags(args.flags, AFFECT_TEXT)?;
                let domain = find(&engine, &args.dom)?;
                let get = || engine.memory_parameters(&domain, args.flags);
                check_first(args.nparams, get)?;
                let (params, nparams) = some(args.nparams, Engine::MEMORY_PARAMETERS, get)?;
                Ok(remote::DomainGetMemoryParametersRet { params, nparams })
            })
        }
        Procedure::DomainSetMemoryParameters => {
            later::<procs::DomainSetMemoryParameters, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_memory_parameters(&domain, params, args.flags, &client).await
            })
        }
        Procedure::DomainGetBlkioParameters => {
            blocking::<procs::DomainGetBlkioParameters>(request, move |args| {
                only_flags(args.flags, AFFECT_TEXT)?;
                let domain = find(&engine, &args.dom)?;
                let get = || engine.blkio_parameters(&domain, args.flags);
                let (params, nparams) = some(args.nparams, Engine::BLKIO_PARAMETERS, get)?;
                Ok(remote::DomainGetBlkioParametersRet { params, nparams })
            })
        }
        Procedure::DomainSetBlkioParameters => {
            later::<procs::DomainSetBlkioParameters, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_blkio_parameters(&domain, params, args.flags, &client).await
            })
        }
        Procedure::DomainGetNumaParameters => {
            blocking::<procs::DomainGetNumaParameters>(request, move |args| {
                only_flags(args.flags, AFFECT_TEXT)?;
                let domain = find(&engine, &args.dom)?;
                let get = || engine.numa_parameters(&domain, args.flags);
                check_first(args.nparams, get)?;
                let (params, nparams) = some(args.nparams, Engine::NUMA_PARAMETERS, get)?;
                Ok(remote::DomainGetNumaParametersRet { params, nparams })
            })
        }
        Procedure::DomainSetNumaParameters => {
            later::<procs::DomainSetNumaParameters, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_numa_parameters(&domain, params, args.flags, &client).await
            })
        }
        Procedure::DomainGetBlockIoTune => {
            later::<procs::DomainGetBlockIoTune, _>(request, |args| async move {
                only_flags(args.flags, AFFECT_TEXT)?;
                let domain = find(&engine, &args.dom)?;
                engine.check_io_limits(&domain, args.disk.as_deref(), args.flags)?;
                let disk = args.disk.filter(|_| args.nparams != 0);
                let all = match disk {
                    Some(disk) => engine.io_limits(&domain, &disk, args.flags, &client).await?,
                    None => Vec::new(),
                };
                let (params, nparams) = some(args.nparams, Engine::IO_LIMITS, || Ok(all))?;
                Ok(remote::DomainGetBlockIoTuneRet { params, nparams })
            })
        }
        Procedure::DomainSetBlockIoTune => {
            later::<procs::DomainSetBlockIoTune, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_io_limits(&domain, args.disk, params, args.flags, &client).await
            })
        }
        Procedure::DomainSetThrottleGroup => {
            later::<procs::DomainSetThrottleGroup, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_throttle_group(&domain, args.group, params, args.flags, &client).await
            })
        }
        Procedure::DomainDelThrottleGroup => {
            later::<procs::DomainDelThrottleGroup, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let group = args.group.unwrap_or_default();
                engine.delete_throttle_group(&domain, group, args.flags, &client).await
            })
        }
        Procedure::DomainSetBlockThreshold => {
            later::<procs::DomainSetBlockThreshold, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.set_block_threshold(&domain, args.dev, args.threshold, &client).await
            })
        }
        Procedure::DomainAddIothread => {
            later::<procs::DomainAddIothread, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                engine.add_io_thread(&domain, args.iothread_id, args.flags, &client).await
            })
        }
        Procedure::DomainDelIothread => {
            later::<procs::DomainDelIothread, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                engine.remove_io_thread(&domain, args.iothread_id, args.flags, &client).await
            })
        }
        Procedure::DomainSetIothreadParams => {
            later::<procs::DomainSetIothreadParams, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                let id = args.iothread_id;
                engine.set_io_thread(&domain, id, params, args.flags, &client).await
            })
        }
        Procedure::DomainSetVcpu => later::<procs::DomainSetVcpu, _>(request, |args| async move {
            only_flags(args.flags, AFFECT)?;
            let enable = on_or_off(args.state)?;
            let domain = find(&engine, &args.dom)?;
            engine.set_vcpu(&domain, &args.cpumap, enable, args.flags, &client).await
        }),
        Procedure::DomainGetInterfaceParameters => {
            blocking::<procs::DomainGetInterfaceParameters>(request, move |args| {
                only_flags(args.flags, AFFECT_TEXT)?;
                let domain = find(&engine, &args.dom)?;
                // How many there are is known without the interface.
                engine.with_side(&domain, args.flags, |_, _| Ok(()))?;
                let get = || engine.interface_parameters(&domain, &args.device, args.flags);
                let (params, nparams) = some(args.nparams, Engine::INTERFACE_PARAMETERS, get)?;
                Ok(remote::DomainGetInterfaceParametersRet { params, nparams })
            })
        }
        Procedure::DomainSetInterfaceParameters => {
            later::<procs::DomainSetInterfaceParameters, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let (device, params) = (args.device, from_wire(args.params));
                let flags = args.flags;
                engine.set_interface_parameters(&domain, device, params, flags, &client).await
            })
        }
        Procedure::DomainSetPerfEvents => {
            later::<procs::DomainSetPerfEvents, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                let params = from_wire(args.params);
                engine.set_perf_events(&domain, params, args.flags, &client).await
            })
        }
        Procedure::DomainStartDirtyRateCalc => {
            later::<procs::DomainStartDirtyRateCalc, _>(request, |args| async move {
                only_flags(args.flags, Engine::DIRTY_RATE_MODES)?;
                let domain = find(&engine, &args.dom)?;
                engine.start_dirty_rate(&domain, args.seconds, args.flags, &client).await
            })
        }
        Procedure::DomainSetLaunchSecurityState => {
            later::<procs::DomainSetLaunchSecurityState, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.set_launch_secret(&domain, from_wire(args.params), &client).await
            })
        }
        _ => return Bound::NotMine(request),
    })
}

/// The state of virtual CPUs that a client wants.
pub(crate) fn on_or_off(state: i32) -> Result<bool, VirError> {
    match state {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(VirError::invalid_arg("unsupported state value").verbatim()),
    }
}

/// Whoever asks how many parameters there are hears the same refusals as whoever asks for them.
fn check_first<T>(wanted: i32, get: impl FnOnce() -> Result<T, VirError>) -> Result<(), VirError> {
    if wanted == 0 { get().map(|_| ()) } else { Ok(()) }
}
