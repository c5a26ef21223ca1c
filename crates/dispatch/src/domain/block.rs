//! Looking into a guest's disks and memory, resizing its disks, and the jobs of its images.

use crate::bind::{Request, later, now, rpc_error};
use crate::domain::find;
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, VirError};
use engine::Engine;
use engine::domain::Domain;
use engine::domain::affect::not_running;
use engine::domain::hardware::block::named_disk;
use engine::domain::hardware::peek::Addresses;
use engine::domain::hardware::resize::NewSize;
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;

/// `virDomainBlockResizeFlags`: the size is in bytes, the size is the host's device's.
const RESIZE_BYTES: u32 = 1;
const RESIZE_CAPACITY: u32 = 1 << 1;

/// `virDomainMemoryFlags`.
const MEMORY_VIRTUAL: u32 = 1;
const MEMORY_PHYSICAL: u32 = 1 << 1;

/// `virDomainBlockJobAbortFlags`: do not wait, end on the copy.
const ABORT_FLAGS: u32 = 1 | 1 << 1;

/// `VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES`, also of the question.
const BANDWIDTH_BYTES: u32 = 1;

/// Most MiB a second that a number of bytes can tell.
const BANDWIDTH_MAX: u64 = (1 << 43) - 1;

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
        Procedure::DomainBlockJobAbort => now::<procs::DomainBlockJobAbort>(request, |args| {
            only_flags(args.flags, ABORT_FLAGS)?;
            Err(no_job(&*find(&engine, &args.dom)?, &args.path))
        }),
        Procedure::DomainBlockJobSetSpeed => {
            now::<procs::DomainBlockJobSetSpeed>(request, |args| {
                only_flags(args.flags, BANDWIDTH_BYTES)?;
                if args.flags & BANDWIDTH_BYTES == 0 && args.bandwidth > BANDWIDTH_MAX {
                    let text = format!("bandwidth must be less than {BANDWIDTH_MAX}");
                    return Err(VirError::new(ErrorCode::OVERFLOW, text));
                }
                Err(no_job(&*find(&engine, &args.dom)?, &args.path))
            })
        }
        Procedure::DomainGetBlockJobInfo => now::<procs::DomainGetBlockJobInfo>(request, |args| {
            only_flags(args.flags, BANDWIDTH_BYTES)?;
            disk_of(&engine, &args.dom, &args.path)?;
            Ok(remote::DomainGetBlockJobInfoRet::default())
        }),
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

/// The target of a running guest's disk.
fn disk_of(engine: &Engine, dom: &remote::NonnullDomain, name: &str) -> Result<String, VirError> {
    target_of(&*find(engine, dom)?, name)
}

fn target_of(domain: &Domain, name: &str) -> Result<String, VirError> {
    let snapshot = domain.snapshot();
    let live = snapshot.live.as_ref().ok_or_else(not_running)?;
    Ok(named_disk(&live.definition, name)?.target.dev.clone())
}

/// Why a job of a disk's images cannot be changed: there is none, as nothing here starts one.
fn no_job(domain: &Domain, name: &str) -> VirError {
    match target_of(domain, name) {
        Ok(target) => {
            VirError::invalid_arg(format!("disk {target} does not have an active block job"))
        }
        Err(error) => error,
    }
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
