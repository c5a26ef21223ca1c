//! The host: CPUs, memory, power.

use crate::bind::{Request, now};
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, ErrorDomain, VirError};
use engine::ksm;
use protocol::remote::{self, Procedure, procs};
use protocol::{TypedParam, TypedParamValue};
use std::sync::Arc;

/// `VIR_TYPED_PARAM_STRING_OKAY`: the client takes typed parameters with strings.
const STRING_OKAY: u32 = 4;

/// `VIR_NODE_ALLOC_PAGES_SET`: the pools get that many pages, not that many more.
const ALLOC_PAGES_SET: u32 = 1;

/// Most bytes of a CPU map on the wire.
const CPU_MAP_MAX: usize = 2048;

/// Longest CPU model of the node info, with its closing zero.
const MODEL_MAX: usize = 32;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    _session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = &service.engine;
    Bound::Done(match procedure {
        Procedure::NodeGetInfo => now::<procs::NodeGetInfo>(request, |()| {
            let info = engine.node_info();
            let mut model = [0; MODEL_MAX];
            for (to, from) in model.iter_mut().take(MODEL_MAX - 1).zip(info.model.bytes()) {
                *to = from;
            }
            Ok(remote::NodeGetInfoRet {
                model,
                memory: info.memory_kib,
                cpus: int(info.cpus),
                mhz: int(info.mhz),
                nodes: int(info.nodes),
                sockets: int(info.sockets),
                cores: int(info.cores),
                threads: int(info.threads),
            })
        }),
        Procedure::NodeGetCpuMap => now::<procs::NodeGetCpuMap>(request, |args| {
            no_flags(args.flags)?;
            let (present, online) = engine.cpu_map();
            let count = present.iter().max().map_or(0, |last| last + 1);
            let cpumap = if args.need_map != 0 { bitmap(&online, count) } else { Vec::new() };
            let online = if args.need_online != 0 { online.len() } else { 0 };
            Ok(remote::NodeGetCpuMapRet {
                cpumap,
                online: u32::try_from(online).unwrap_or(u32::MAX),
                ret: int(count),
            })
        }),
        Procedure::NodeGetCpuStats => now::<procs::NodeGetCpuStats>(request, |args| {
            no_flags(args.flags)?;
            let cpu = match args.cpu_num {
                -1 => None,
                number => Some(
                    u32::try_from(number)
                        .map_err(|_| only_minus_one("cpuNum", "virNodeGetCPUStats"))?,
                ),
            };
            let stats = engine.node_cpu_stats(cpu)?;
            let nparams = int(stats.len());
            let wanted = usize::try_from(args.nparams).unwrap_or(0);
            let params = stats
                .into_iter()
                .take(wanted)
                .map(|(field, value)| remote::NodeGetCpuStats { field: field.into(), value });
            Ok(remote::NodeGetCpuStatsRet { params: params.collect(), nparams })
        }),
        Procedure::NodeGetMemoryStats => now::<procs::NodeGetMemoryStats>(request, |args| {
            no_flags(args.flags)?;
            let cell = match args.cell_num {
                -1 => None,
                number => Some(
                    u32::try_from(number)
                        .map_err(|_| only_minus_one("cellNum", "virNodeGetMemoryStats"))?,
                ),
            };
            let stats = engine.node_memory_stats(cell)?;
            let nparams = int(stats.len());
            let wanted = usize::try_from(args.nparams).unwrap_or(0);
            let params = stats
                .into_iter()
                .take(wanted)
                .map(|(field, value)| remote::NodeGetMemoryStats { field: field.into(), value });
            Ok(remote::NodeGetMemoryStatsRet { params: params.collect(), nparams })
        }),
        Procedure::NodeGetFreeMemory => now::<procs::NodeGetFreeMemory>(request, |()| {
            Ok(remote::NodeGetFreeMemoryRet { free_mem: engine.free_memory() })
        }),
        Procedure::NodeGetCellsFreeMemory => {
            now::<procs::NodeGetCellsFreeMemory>(request, |args| {
                let cells = engine.cells_free_memory(args.start_cell, args.maxcells)?;
                Ok(remote::NodeGetCellsFreeMemoryRet { cells })
            })
        }
        Procedure::NodeGetFreePages => now::<procs::NodeGetFreePages>(request, |args| {
            no_flags(args.flags)?;
            let counts = engine.free_pages(&args.pages, args.start_cell, args.cell_count)?;
            Ok(remote::NodeGetFreePagesRet { counts })
        }),
        Procedure::NodeAllocPages => now::<procs::NodeAllocPages>(request, |args| {
            only_flags(args.flags, ALLOC_PAGES_SET)?;
            if args.cell_count == 0 {
                return Err(non_zero("cellCount in virNodeAllocPages"));
            }
            let wanted: Vec<_> = args.page_sizes.into_iter().zip(args.page_counts).collect();
            let add = args.flags & ALLOC_PAGES_SET == 0;
            let done = engine.allocate_pages(&wanted, args.start_cell, args.cell_count, add)?;
            Ok(remote::NodeAllocPagesRet { ret: int(done) })
        }),
        Procedure::NodeGetSecurityModel => now::<procs::NodeGetSecurityModel>(request, |()| {
            // The first model is the primary one; "none" has no domain of interpretation.
            let (model, doi) = match engine.security_models().into_iter().next() {
                Some(first) => (chars(&first.model), chars(&first.doi)),
                None => (vec![0], vec![0]),
            };
            Ok(remote::NodeGetSecurityModelRet { model, doi })
        }),
        Procedure::NodeGetMemoryParameters => {
            now::<procs::NodeGetMemoryParameters>(request, |args| {
                only_flags(args.flags, STRING_OKAY)?;
                let all = ksm::read();
                let nparams = int(all.len());
                let wanted = usize::try_from(args.nparams).unwrap_or(0);
                let params = all.into_iter().take(wanted).map(|(field, value)| match value {
                    ksm::Value::UInt(value) => TypedParam::new(field, value),
                    ksm::Value::ULLong(value) => TypedParam::new(field, value),
                });
                Ok(remote::NodeGetMemoryParametersRet { params: params.collect(), nparams })
            })
        }
        Procedure::NodeSetMemoryParameters => {
            now::<procs::NodeSetMemoryParameters>(request, |args| {
                no_flags(args.flags)?;
                let mut changes = Vec::new();
                for param in &args.params {
                    let TypedParamValue::UInt(value) = param.value else {
                        return Err(VirError::invalid_arg(format!(
                            "invalid type for parameter '{}', expected 'uint'",
                            param.field
                        )));
                    };
                    changes.push((param.field.as_str(), value));
                }
                ksm::write(&changes)
            })
        }
        Procedure::NodeSuspendForDuration => {
            now::<procs::NodeSuspendForDuration>(request, |args| {
                no_flags(args.flags)?;
                let what = match args.target {
                    0 => "Suspend-to-RAM",
                    1 => "Suspend-to-Disk",
                    2 => "Hybrid-Suspend",
                    _ => {
                        return Err(VirError::invalid_arg("Invalid suspend target")
                            .from_domain(ErrorDomain::NONE));
                    }
                };
                // A daemon that holds running guests does not put its host to sleep.
                Err::<(), _>(
                    VirError::new(ErrorCode::ARGUMENT_UNSUPPORTED, what)
                        .from_domain(ErrorDomain::NONE),
                )
            })
        }
        Procedure::NodeGetSevInfo => now::<procs::NodeGetSevInfo>(request, |args| {
            only_flags(args.flags, STRING_OKAY)?;
            Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, "QEMU does not support SEV guest"))
        }),
        _ => return Bound::NotMine(request),
    })
}

fn non_zero(what: &str) -> VirError {
    VirError::invalid_arg(format!("{what} must not be zero")).from_domain(ErrorDomain::DOMAIN)
}

fn only_minus_one(argument: &str, function: &str) -> VirError {
    VirError::invalid_arg(format!("{argument} in {function} only accepts -1 as a negative value"))
        .from_domain(ErrorDomain::DOMAIN)
}

/// A number as the wire has it.
pub(crate) fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// A map with a bit for each of `count` CPUs, the lowest bit of the first byte for CPU 0.
fn bitmap(cpus: &[u32], count: u32) -> Vec<u8> {
    let bytes = usize::try_from(count.div_ceil(8)).unwrap_or(0).min(CPU_MAP_MAX);
    let mut map = vec![0; bytes];
    for cpu in cpus {
        let index = usize::try_from(cpu / 8).unwrap_or(usize::MAX);
        if let Some(byte) = map.get_mut(index) {
            *byte |= 1 << (cpu % 8);
        }
    }
    map
}

/// A text as an array of characters with its closing zero.
pub(crate) fn chars(text: &str) -> Vec<u8> {
    let mut chars = text.as_bytes().to_vec();
    chars.push(0);
    chars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_the_lowest_cpu_in_the_lowest_bit() {
        for (cpus, count, expected) in [
            (&[0_u32, 1][..], 2, vec![3]),
            (&[0, 9], 10, vec![1, 2]),
            (&[], 0, vec![]),
            (&[40], 8, vec![0]),
        ] {
            assert_eq!(bitmap(cpus, count), expected, "{cpus:?}");
        }
    }
}
