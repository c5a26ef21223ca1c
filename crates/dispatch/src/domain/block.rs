//! Looking into a guest's disks and memory, resizing its disks, and the jobs of its images.

use crate::bind::{Request, later, rpc_error};
use crate::domain::find;
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, VirError};
use engine::Engine;
use engine::domain::devices::blockjobs::flags::{self, PULL_BYTES};
use engine::domain::devices::blockjobs::{CommitRange, CopyLimits, CopyTo};
use engine::domain::hardware::peek::Addresses;
use engine::domain::hardware::resize::NewSize;
use engine::typed::{Kind, Value};
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;

/// `virDomainBlockResizeFlags`: the size is in bytes, the size is the host's device's.
const RESIZE_BYTES: u32 = 1;
const RESIZE_CAPACITY: u32 = 1 << 1;

/// `virDomainMemoryFlags`.
const MEMORY_VIRTUAL: u32 = 1;
const MEMORY_PHYSICAL: u32 = 1 << 1;

/// Flags of a commit and of a copy.
const COMMIT_FLAGS: u32 = (1 << 5) - 1;
const COPY_FLAGS: u32 = (1 << 4) - 1;

/// `virDomainBlockRebaseFlags`: those that only a copy has, and all.
const REBASE_SHALLOW: u32 = 1;
const REBASE_REUSE: u32 = 1 << 1;
const REBASE_RAW: u32 = 1 << 2;
const REBASE_COPY: u32 = 1 << 3;
const REBASE_DEVICE: u32 = 1 << 5;
const REBASE_FLAGS: u32 = (1 << 7) - 1;

/// `VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES`, also of the question.
const BANDWIDTH_BYTES: u32 = 1;

/// How many kinds `virDomainGraphicsReloadType` has.
const RELOAD_TYPES: u32 = 2;

/// Most bytes of one look (`REMOTE_DOMAIN_BLOCK_PEEK_BUFFER_MAX` and the memory's).
const PEEK_MAX: u32 = 4 << 20;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainBlockPeek => {
            later::<procs::DomainBlockPeek, _>(request, |args| async move {
                no_flags(args.flags)?;
                look_at_most(args.size)?;
                let domain = find(&engine, &args.dom)?;
                let buffer = engine.block_peek(&domain, &args.path, args.offset, args.size).await?;
                Ok(remote::DomainBlockPeekRet { buffer })
            })
        }
        Procedure::DomainMemoryPeek => {
            later::<procs::DomainMemoryPeek, _>(request, |args| async move {
                let addresses = match args.flags {
                    MEMORY_VIRTUAL => Addresses::Virtual,
                    MEMORY_PHYSICAL => Addresses::Physical,
                    _ => {
                        return Err(VirError::invalid_arg(
                            "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL",
                        ));
                    }
                };
                look_at_most(args.size)?;
                let domain = find(&engine, &args.dom)?;
                let buffer =
                    engine.memory_peek(&domain, addresses, args.offset, args.size, &client).await?;
                Ok(remote::DomainMemoryPeekRet { buffer })
            })
        }
        Procedure::DomainBlockResize => {
            later::<procs::DomainBlockResize, _>(request, |args| async move {
                let size = new_size(args.size, args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.block_resize(&domain, &args.disk, size, &client).await
            })
        }
        Procedure::DomainGraphicsReload => {
            later::<procs::DomainGraphicsReload, _>(request, |args| async move {
                no_flags(args.flags)?;
                if args.r#type >= RELOAD_TYPES {
                    let text = format!("type must be less than {RELOAD_TYPES}");
                    return Err(VirError::invalid_arg(text));
                }
                let domain = find(&engine, &args.dom)?;
                engine.reload_graphics(&domain, args.r#type, &client).await
            })
        }
        Procedure::DomainBlockPull => {
            later::<procs::DomainBlockPull, _>(request, |args| async move {
                only_flags(args.flags, PULL_BYTES)?;
                let domain = find(&engine, &args.dom)?;
                let (path, speed) = (&args.path, args.bandwidth);
                engine.block_pull(&domain, path, None, speed, args.flags, &client).await
            })
        }
        Procedure::DomainBlockRebase => {
            later::<procs::DomainBlockRebase, _>(request, |args| async move {
                rebase(&engine, args, &client).await
            })
        }
        Procedure::DomainBlockCommit => {
            later::<procs::DomainBlockCommit, _>(request, |args| async move {
                only_flags(args.flags, COMMIT_FLAGS)?;
                let domain = find(&engine, &args.dom)?;
                let range = CommitRange { top: args.top, base: args.base };
                let (disk, speed) = (&args.disk, args.bandwidth);
                engine.block_commit(&domain, disk, range, speed, args.flags, &client).await
            })
        }
        Procedure::DomainBlockCopy => {
            later::<procs::DomainBlockCopy, _>(request, |args| async move {
                only_flags(args.flags, COPY_FLAGS)?;
                let limits = copy_limits(args.params)?;
                let domain = find(&engine, &args.dom)?;
                let (path, to) = (&args.path, CopyTo::Document(args.destxml));
                engine.block_copy(&domain, path, to, limits, args.flags, &client).await
            })
        }
        Procedure::DomainBlockJobAbort => {
            later::<procs::DomainBlockJobAbort, _>(request, |args| async move {
                only_flags(args.flags, flags::ABORT_ASYNC | flags::ABORT_PIVOT)?;
                let domain = find(&engine, &args.dom)?;
                engine.block_job_abort(&domain, &args.path, args.flags, &client).await
            })
        }
        Procedure::DomainBlockJobSetSpeed => {
            later::<procs::DomainBlockJobSetSpeed, _>(request, |args| async move {
                only_flags(args.flags, BANDWIDTH_BYTES)?;
                let domain = find(&engine, &args.dom)?;
                let (speed, bytes) = (args.bandwidth, args.flags & BANDWIDTH_BYTES != 0);
                engine.block_job_speed(&domain, &args.path, speed, bytes, &client).await
            })
        }
        Procedure::DomainGetBlockJobInfo => {
            later::<procs::DomainGetBlockJobInfo, _>(request, |args| async move {
                only_flags(args.flags, BANDWIDTH_BYTES)?;
                let domain = find(&engine, &args.dom)?;
                let info = engine.block_job_info(&domain, &args.path).await?;
                let Some(info) = info else {
                    return Ok(remote::DomainGetBlockJobInfoRet::default());
                };
                let unit = if args.flags & BANDWIDTH_BYTES != 0 { 1 } else { 1 << 20 };
                Ok(remote::DomainGetBlockJobInfoRet {
                    found: 1,
                    r#type: info.kind,
                    bandwidth: info.bandwidth.div_ceil(unit),
                    cur: info.cur,
                    end: info.end,
                })
            })
        }
        _ => return Bound::NotMine(request),
    })
}

fn look_at_most(size: u32) -> Result<(), VirError> {
    if size > PEEK_MAX {
        return Err(rpc_error("size > maximum buffer size"));
    }
    Ok(())
}

/// The size that a client asks for, in bytes.
fn new_size(size: u64, flags: u32) -> Result<NewSize, VirError> {
    only_flags(flags, RESIZE_BYTES | RESIZE_CAPACITY)?;
    let most = u64::MAX / 1024;
    let bytes = if flags & RESIZE_BYTES != 0 { Some(size) } else { size.checked_mul(1024) };
    let bytes = bytes.ok_or_else(|| {
        VirError::new(ErrorCode::OVERFLOW, format!("size must be less than {most}"))
    })?;
    let capacity = flags & RESIZE_CAPACITY != 0;
    Ok(if capacity { NewSize::Capacity(bytes) } else { NewSize::Bytes(bytes) })
}

/// What a copy's parameters say.
fn copy_limits(params: Vec<protocol::TypedParam>) -> Result<CopyLimits, VirError> {
    let params = crate::params::from_wire(params);
    let known =
        [("bandwidth", Kind::ULLong), ("granularity", Kind::UInt), ("buf-size", Kind::ULLong)];
    engine::typed::validate(&params, &known)?;
    let mut limits = CopyLimits::default();
    for (name, value) in params {
        match (name.as_str(), value) {
            ("bandwidth", Value::ULLong(value)) => limits.bandwidth = value,
            ("granularity", Value::UInt(value)) => limits.granularity = value,
            ("buf-size", Value::ULLong(value)) => limits.buf_size = value,
            _ => {}
        }
    }
    Ok(limits)
}

/// The call that pulls, and of old copies.
async fn rebase(
    engine: &Arc<Engine>,
    args: remote::DomainBlockRebaseArgs,
    client: &Arc<str>,
) -> Result<(), VirError> {
    only_flags(args.flags, REBASE_FLAGS)?;
    let domain = find(engine, &args.dom)?;
    let (path, speed) = (&args.path, args.bandwidth);
    let has = |flag: u32| args.flags & flag != 0;
    if !has(REBASE_COPY) {
        if has(REBASE_SHALLOW | REBASE_REUSE | REBASE_RAW | REBASE_DEVICE) {
            return Err(VirError::invalid_arg("use of flags requires a copy job"));
        }
        return engine.block_pull(&domain, path, args.base, speed, args.flags, client).await;
    }
    let Some(base) = args.base else {
        return Err(VirError::invalid_arg("base in virDomainBlockRebase must not be NULL"));
    };
    if has(flags::PULL_RELATIVE) {
        let text = "Relative backing during copy not supported yet";
        return Err(VirError::new(ErrorCode::ARGUMENT_UNSUPPORTED, text));
    }
    let limits = CopyLimits::of_bandwidth(speed, has(PULL_BYTES))?;
    let to = CopyTo::Path { path: base, device: has(REBASE_DEVICE), raw: has(REBASE_RAW) };
    let copy = [(REBASE_SHALLOW, flags::COPY_SHALLOW), (REBASE_REUSE, flags::COPY_REUSE)];
    let copy = copy.iter().filter(|(flag, _)| has(*flag)).fold(0, |all, (_, flag)| all | flag);
    engine.block_copy(&domain, path, to, limits, copy, client).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_their_units() {
        for (size, flags, expected) in [
            (2, 0, Ok(NewSize::Bytes(2048))),
            (2, RESIZE_BYTES, Ok(NewSize::Bytes(2))),
            (0, RESIZE_CAPACITY, Ok(NewSize::Capacity(0))),
            (2, RESIZE_CAPACITY, Ok(NewSize::Capacity(2048))),
            (u64::MAX, RESIZE_BYTES, Ok(NewSize::Bytes(u64::MAX))),
            (1 << 54, 0, Err("size must be less than 18014398509481983")),
            (1, 4, Err("unsupported flags (0x4)")),
        ] {
            let found = new_size(size, flags).map_err(|error| error.detail);
            assert_eq!(found, expected.map_err(str::to_owned), "{size} {flags}");
        }
    }
}
