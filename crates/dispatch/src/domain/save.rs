//! Saving, restoring and dumping domains, and how far that is.

use crate::bind::{Request, later, now};
use crate::domain::find;
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, ErrorDomain, VirError};
use engine::domain::affect::{exclusive, not_running};
use engine::domain::save::JobNumbers;
use engine::domain::{Domain, DumpOptions, RestoreOptions, SaveOptions};
use protocol::remote::{self, Procedure, procs};
use protocol::{TypedParam, TypedParamValue};
use std::path::PathBuf;
use std::sync::Arc;

/// `virDomainSaveRestoreFlags`.
mod save_flag {
    pub const BYPASS_CACHE: u32 = 1;
    pub const RUNNING: u32 = 1 << 1;
    pub const PAUSED: u32 = 1 << 2;
    pub const RESET_NVRAM: u32 = 1 << 3;
}

/// `virDomainCoreDumpFlags`.
mod dump_flag {
    pub const CRASH: u32 = 1;
    pub const LIVE: u32 = 1 << 1;
    pub const BYPASS_CACHE: u32 = 1 << 2;
    pub const RESET: u32 = 1 << 3;
    pub const MEMORY_ONLY: u32 = 1 << 4;
}

/// `VIR_DOMAIN_JOB_STATS_COMPLETED` and `…_KEEP_COMPLETED`.
const JOB_COMPLETED: u32 = 1;
const JOB_KEEP_COMPLETED: u32 = 2;

/// `virDomainJobType`: one that takes as long as it takes, and one that is over.
const TYPE_UNBOUNDED: i32 = 2;
const TYPE_COMPLETED: i32 = 3;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainSave => later::<procs::DomainSave, _>(request, |args| async move {
            let domain = find(&engine, &args.dom)?;
            engine.save(&domain, args.to, SaveOptions::default(), &client).await
        }),
        Procedure::DomainSaveFlags => {
            later::<procs::DomainSaveFlags, _>(request, |args| async move {
                let options = SaveOptions { xml: args.dxml, ..save_options(args.flags)? };
                let domain = find(&engine, &args.dom)?;
                engine.save(&domain, args.to, options, &client).await
            })
        }
        Procedure::DomainSaveParams => {
            later::<procs::DomainSaveParams, _>(request, |args| async move {
                let mut options = save_options(args.flags)?;
                let mut file = None;
                for param in args.params {
                    match param.field.as_str() {
                        "file" => file = Some(text(param)?),
                        "dxml" => options.xml = Some(text(param)?),
                        "image_format" => options.format = Some(text(param)?),
                        "parallel.channels" => options.channels = Some(number(&param)?),
                        _ => return Err(unknown(&param)),
                    }
                }
                let domain = find(&engine, &args.dom)?;
                match file {
                    Some(file) => engine.save(&domain, file, options, &client).await,
                    // Without a file it is where the next start finds it.
                    None => engine.managed_save(&domain, options, &client).await,
                }
            })
        }
        Procedure::DomainManagedSave => {
            later::<procs::DomainManagedSave, _>(request, |args| async move {
                let options = save_options(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.managed_save(&domain, options, &client).await
            })
        }
        Procedure::DomainHasManagedSaveImage => {
            now::<procs::DomainHasManagedSaveImage>(request, |args| {
                no_flags(args.flags)?;
                let saved = find(&engine, &args.dom)?.snapshot().managed_save;
                Ok(remote::DomainHasManagedSaveImageRet { result: saved.into() })
            })
        }
        Procedure::DomainManagedSaveRemove => {
            later::<procs::DomainManagedSaveRemove, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.remove_managed(&domain, &client).await
            })
        }
        Procedure::DomainManagedSaveGetXmlDesc => {
            later::<procs::DomainManagedSaveGetXmlDesc, _>(request, |args| async move {
                only_flags(args.flags, 1)?;
                let domain = find(&engine, &args.dom)?;
                let xml = engine.managed_xml(&domain, args.flags & 1 != 0).await?;
                Ok(remote::DomainManagedSaveGetXmlDescRet { xml })
            })
        }
        Procedure::DomainManagedSaveDefineXml => {
            later::<procs::DomainManagedSaveDefineXml, _>(request, |args| async move {
                let running = run_state(args.flags, 0)?;
                let domain = find(&engine, &args.dom)?;
                let xml = args.dxml.unwrap_or_default();
                engine.redefine_managed(&domain, xml, running, &client).await
            })
        }
        Procedure::DomainRestore => later::<procs::DomainRestore, _>(request, |args| async move {
            engine.restore(args.from, RestoreOptions::default(), &client).await.map(drop)
        }),
        Procedure::DomainRestoreFlags => {
            later::<procs::DomainRestoreFlags, _>(request, |args| async move {
                let options = RestoreOptions {
                    xml: args.dxml,
                    ..restore_options(args.flags).map_err(of_restore)?
                };
                engine.restore(args.from, options, &client).await.map(drop)
            })
        }
        Procedure::DomainRestoreParams => {
            later::<procs::DomainRestoreParams, _>(request, |args| async move {
                let mut options = restore_options(args.flags).map_err(of_restore)?;
                let mut file = None;
                for param in args.params {
                    match param.field.as_str() {
                        "file" => file = Some(text(param)?),
                        "dxml" => options.xml = Some(text(param)?),
                        "parallel.channels" => options.channels = Some(number(&param)?),
                        _ => return Err(unknown(&param)),
                    }
                }
                let file = file
                    .ok_or_else(|| VirError::invalid_arg("missing 'file' parameter for restore"))?;
                engine.restore(file, options, &client).await.map(drop)
            })
        }
        Procedure::DomainSaveImageGetXmlDesc => {
            later::<procs::DomainSaveImageGetXmlDesc, _>(request, |args| async move {
                only_flags(args.flags, 1)?;
                let path = PathBuf::from(args.file);
                let xml = engine.saved_xml(path, args.flags & 1 != 0).await?;
                Ok(remote::DomainSaveImageGetXmlDescRet { xml })
            })
        }
        Procedure::DomainSaveImageDefineXml => {
            later::<procs::DomainSaveImageDefineXml, _>(request, |args| async move {
                let running = run_state(args.flags, 0)?;
                engine.redefine_saved(PathBuf::from(args.file), args.dxml, running).await
            })
        }
        Procedure::DomainCoreDump => {
            later::<procs::DomainCoreDump, _>(request, |args| async move {
                let options = dump_options(args.flags, 0).map_err(of_dump)?;
                let domain = find(&engine, &args.dom)?;
                engine.core_dump(&domain, args.to, options, &client).await
            })
        }
        Procedure::DomainCoreDumpWithFormat => {
            later::<procs::DomainCoreDumpWithFormat, _>(request, |args| async move {
                let options = dump_options(args.flags, args.dumpformat)?;
                let domain = find(&engine, &args.dom)?;
                engine.core_dump(&domain, args.to, options, &client).await
            })
        }
        Procedure::DomainGetJobInfo => now::<procs::DomainGetJobInfo>(request, |args| {
            let domain = find(&engine, &args.dom)?;
            running(&domain)?;
            Ok(domain.jobs.active().map_or_else(Default::default, |job| job_info(&job.numbers())))
        }),
        Procedure::DomainGetJobStats => now::<procs::DomainGetJobStats>(request, |args| {
            only_flags(args.flags, JOB_COMPLETED | JOB_KEEP_COMPLETED)?;
            let domain = find(&engine, &args.dom)?;
            let (kind, numbers) = if args.flags & JOB_COMPLETED != 0 {
                let keep = args.flags & JOB_KEEP_COMPLETED != 0;
                (TYPE_COMPLETED, domain.jobs.completed(keep))
            } else {
                running(&domain)?;
                (TYPE_UNBOUNDED, domain.jobs.active().map(|job| job.numbers()))
            };
            Ok(match numbers {
                Some(numbers) => {
                    remote::DomainGetJobStatsRet { r#type: kind, params: job_params(&numbers) }
                }
                None => remote::DomainGetJobStatsRet { r#type: 0, params: Vec::new() },
            })
        }),
        Procedure::DomainAbortJob => {
            now::<procs::DomainAbortJob>(request, |args| abort(&*find(&engine, &args.dom)?))
        }
        Procedure::DomainAbortJobFlags => now::<procs::DomainAbortJobFlags>(request, |args| {
            only_flags(args.flags, 1)?;
            let domain = find(&engine, &args.dom)?;
            running(&domain)?;
            if args.flags & 1 != 0 {
                return Err(VirError::invalid_state(
                    "current job is not outgoing migration in post-copy mode",
                ));
            }
            abort(&domain)
        }),
        _ => return Bound::NotMine(request),
    })
}

fn abort(domain: &Domain) -> Result<(), VirError> {
    running(domain)?;
    match domain.jobs.active() {
        Some(job) => job.abort(),
        None => Err(VirError::invalid_state("no job is active on the domain")),
    }
}

fn running(domain: &Domain) -> Result<(), VirError> {
    if domain.snapshot().is_active() { Ok(()) } else { Err(not_running()) }
}

/// libvirt's drivers name the function that does it, not the one that was called.
fn of_restore(error: VirError) -> VirError {
    in_function(error, "qemuDomainRestoreInternal")
}

fn of_dump(error: VirError) -> VirError {
    in_function(error, "qemuDomainCoreDumpWithFormat")
}

fn in_function(mut error: VirError, function: &str) -> VirError {
    if error.verbatim && error.detail.starts_with("unsupported flags (") {
        error.detail.push_str(" in function ");
        error.detail.push_str(function);
    }
    error
}

/// The state that the guest is to have when it is restored; `other` are further flags.
fn run_state(flags: u32, other: u32) -> Result<Option<bool>, VirError> {
    use save_flag::{PAUSED, RUNNING};
    only_flags(flags, RUNNING | PAUSED | other)?;
    exclusive(flags, (RUNNING, "VIR_DOMAIN_SAVE_RUNNING"), (PAUSED, "VIR_DOMAIN_SAVE_PAUSED"))?;
    Ok(match flags & (RUNNING | PAUSED) {
        RUNNING => Some(true),
        PAUSED => Some(false),
        _ => None,
    })
}

fn save_options(flags: u32) -> Result<SaveOptions, VirError> {
    use save_flag::BYPASS_CACHE;
    Ok(SaveOptions {
        running: run_state(flags, BYPASS_CACHE)?,
        bypass_cache: flags & BYPASS_CACHE != 0,
        ..SaveOptions::default()
    })
}

fn restore_options(flags: u32) -> Result<RestoreOptions, VirError> {
    use save_flag::{BYPASS_CACHE, RESET_NVRAM};
    Ok(RestoreOptions {
        running: run_state(flags, BYPASS_CACHE | RESET_NVRAM)?,
        bypass_cache: flags & BYPASS_CACHE != 0,
        reset_nvram: flags & RESET_NVRAM != 0,
        ..RestoreOptions::default()
    })
}

fn dump_options(flags: u32, format: u32) -> Result<DumpOptions, VirError> {
    use dump_flag::{BYPASS_CACHE, CRASH, LIVE, MEMORY_ONLY, RESET};
    only_flags(flags, CRASH | LIVE | BYPASS_CACHE | RESET | MEMORY_ONLY)?;
    let (crash, live, reset) =
        ((CRASH, "VIR_DUMP_CRASH"), (LIVE, "VIR_DUMP_LIVE"), (RESET, "VIR_DUMP_RESET"));
    for (one, other) in [(crash, live), (crash, reset), (live, reset)] {
        exclusive(flags, one, other)?;
    }
    Ok(DumpOptions {
        crash: flags & CRASH != 0,
        live: flags & LIVE != 0,
        bypass_cache: flags & BYPASS_CACHE != 0,
        reset: flags & RESET != 0,
        memory_only: flags & MEMORY_ONLY != 0,
        format,
    })
}

fn unknown(param: &TypedParam) -> VirError {
    VirError::new(
        ErrorCode::ARGUMENT_UNSUPPORTED,
        format!("parameter '{}' not supported", param.field),
    )
}

fn text(param: TypedParam) -> Result<String, VirError> {
    match param.value {
        TypedParamValue::String(text) => Ok(text),
        ref other => Err(mistyped(&param.field, other, "string")),
    }
}

fn number(param: &TypedParam) -> Result<i32, VirError> {
    match &param.value {
        TypedParamValue::Int(number) => Ok(*number),
        other => Err(mistyped(&param.field, other, "int")),
    }
}

fn mistyped(field: &str, value: &TypedParamValue, expected: &str) -> VirError {
    let found = match value {
        TypedParamValue::Int(_) => "int",
        TypedParamValue::UInt(_) => "uint",
        TypedParamValue::LLong(_) => "llong",
        TypedParamValue::ULLong(_) => "ullong",
        TypedParamValue::Double(_) => "double",
        TypedParamValue::Boolean(_) => "boolean",
        TypedParamValue::String(_) => "string",
    };
    VirError::invalid_arg(format!(
        "invalid type '{found}' for parameter '{field}', expected '{expected}'"
    ))
    .from_domain(ErrorDomain::NONE)
}

/// Total, processed and remaining bytes.
fn bytes(numbers: &JobNumbers) -> (u64, u64, u64) {
    match (&numbers.migration.ram, numbers.dump) {
        (_, Some((total, done))) => (total, done, total.saturating_sub(done)),
        (Some(ram), None) => (ram.total, ram.transferred, ram.remaining),
        (None, None) => (0, 0, 0),
    }
}

fn job_info(numbers: &JobNumbers) -> remote::DomainGetJobInfoRet {
    let (total, processed, remaining) = bytes(numbers);
    remote::DomainGetJobInfoRet {
        r#type: TYPE_UNBOUNDED,
        time_elapsed: numbers.elapsed_ms,
        data_total: total,
        data_processed: processed,
        data_remaining: remaining,
        mem_total: total,
        mem_processed: processed,
        mem_remaining: remaining,
        ..Default::default()
    }
}

/// The numbers of a job as libvirt names them.
pub(crate) fn job_params(numbers: &JobNumbers) -> Vec<TypedParam> {
    let mut params = vec![
        TypedParam::new("operation", numbers.operation.number()),
        TypedParam::new("time_elapsed", numbers.elapsed_ms),
    ];
    let mut add = |name: &str, value: Option<u64>| {
        params.extend(value.map(|value| TypedParam::new(name, value)));
    };
    let (total, processed, remaining) = bytes(numbers);
    add("downtime", numbers.downtime_ms);
    add("setup_time", numbers.migration.setup_time);
    for part in ["data", "memory"] {
        add(&format!("{part}_total"), Some(total));
        add(&format!("{part}_processed"), Some(processed));
        add(&format!("{part}_remaining"), Some(remaining));
    }
    if let Some(ram) = &numbers.migration.ram {
        // QEMU counts megabits; what is no number of bytes is none.
        let bytes_a_second = (ram.mbps.max(0.0) * 1_000_000.0 / 8.0) as u64;
        add("memory_bps", (bytes_a_second > 0).then_some(bytes_a_second));
        add("memory_constant", Some(ram.duplicate));
        add("memory_normal", Some(ram.normal));
        add("memory_normal_bytes", Some(ram.normal_bytes));
        add("memory_dirty_rate", Some(ram.dirty_pages_rate));
        add("memory_iteration", Some(ram.dirty_sync_count));
        add("memory_postcopy_requests", Some(ram.postcopy_requests));
        add("memory_page_size", Some(ram.page_size));
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_exclude_each_other_are_refused() {
        assert_eq!(run_state(2, 0).expect("running"), Some(true));
        assert_eq!(run_state(4, 1).expect("paused"), Some(false));
        for (flags, expected) in [(6, "mutually exclusive"), (16, "unsupported flags (0x10)")] {
            let error = run_state(flags, 1).expect_err(expected);
            assert!(error.detail.contains(expected), "{}", error.detail);
        }
        for flags in [3, 9, 10, 32] {
            assert!(dump_options(flags, 0).is_err(), "{flags}");
        }
        assert!(dump_options(16 | 2 | 4, 1).expect("allowed").memory_only);
    }

    #[test]
    fn parameters_have_their_types() {
        let channels = TypedParam::new("parallel.channels", 2_u64);
        assert_eq!(
            number(&channels).expect_err("no int").detail,
            "invalid type 'ullong' for parameter 'parallel.channels', expected 'int'"
        );
        assert_eq!(text(TypedParam::new("file", "/x")).expect("a text"), "/x");
    }
}
