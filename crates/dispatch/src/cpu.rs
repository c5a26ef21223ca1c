//! Calls about CPUs: names of models, comparisons, baselines.

use crate::bind::{Request, blocking};
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use engine::{BaselineOptions, CompareOptions, DomainCapsQuery};
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;

/// `VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE`, `VIR_CONNECT_COMPARE_CPU_VALIDATE_XML`.
const COMPARE_FAIL: u32 = 1;
const COMPARE_VALIDATE: u32 = 2;

/// `VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES`, `VIR_CONNECT_BASELINE_CPU_MIGRATABLE`.
const BASELINE_EXPAND: u32 = 1;
const BASELINE_MIGRATABLE: u32 = 2;

fn compare_options(flags: u32) -> Result<CompareOptions, diag::VirError> {
    only_flags(flags, COMPARE_FAIL | COMPARE_VALIDATE)?;
    Ok(CompareOptions {
        fail_incompatible: flags & COMPARE_FAIL != 0,
        validate: flags & COMPARE_VALIDATE != 0,
    })
}

fn baseline_options(flags: u32) -> Result<BaselineOptions, diag::VirError> {
    only_flags(flags, BASELINE_EXPAND | BASELINE_MIGRATABLE)?;
    Ok(BaselineOptions {
        expand: flags & BASELINE_EXPAND != 0,
        migratable: flags & BASELINE_MIGRATABLE != 0,
    })
}

/// The kind of guest a call asks about.
fn query(
    emulator: Option<String>,
    arch: Option<String>,
    machine: Option<String>,
    virt_type: Option<String>,
) -> DomainCapsQuery {
    DomainCapsQuery { emulator, arch, machine, virt_type }
}

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    _session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    Bound::Done(match procedure {
        Procedure::ConnectGetCpuModelNames => {
            blocking::<procs::ConnectGetCpuModelNames>(request, move |args| {
                no_flags(args.flags)?;
                let names = engine.cpu_model_names(&args.arch)?;
                let ret = i32::try_from(names.len()).unwrap_or(i32::MAX);
                let models = if args.need_results != 0 { names } else { Vec::new() };
                Ok(remote::ConnectGetCpuModelNamesRet { models, ret })
            })
        }
        Procedure::ConnectCompareCpu => {
            blocking::<procs::ConnectCompareCpu>(request, move |args| {
                let options = compare_options(args.flags)?;
                let result = engine.compare_cpu(&args.xml, options)?;
                Ok(remote::ConnectCompareCpuRet { result })
            })
        }
        Procedure::ConnectBaselineCpu => {
            blocking::<procs::ConnectBaselineCpu>(request, move |args| {
                let options = baseline_options(args.flags)?;
                let cpu = engine.baseline_cpu(&args.xml_cpus, options)?;
                Ok(remote::ConnectBaselineCpuRet { cpu })
            })
        }
        Procedure::ConnectCompareHypervisorCpu => {
            blocking::<procs::ConnectCompareHypervisorCpu>(request, move |args| {
                let options = compare_options(args.flags)?;
                let query = query(args.emulator, args.arch, args.machine, args.virttype);
                let result = engine.compare_hypervisor_cpu(&query, &args.xml_cpu, options)?;
                Ok(remote::ConnectCompareHypervisorCpuRet { result })
            })
        }
        Procedure::ConnectBaselineHypervisorCpu => {
            blocking::<procs::ConnectBaselineHypervisorCpu>(request, move |args| {
                let options = baseline_options(args.flags)?;
                let query = query(args.emulator, args.arch, args.machine, args.virttype);
                let cpu = engine.baseline_hypervisor_cpu(&query, &args.xml_cpus, options)?;
                Ok(remote::ConnectBaselineHypervisorCpuRet { cpu })
            })
        }
        _ => return Bound::NotMine(request),
    })
}
