//! Dumps of a guest's memory, on request and when it crashed.

use super::note::identity;
use super::outgoing::{self, Changed, canceled, refused};
use super::save_verb::{go_on_after, send_and_finish, stop};
use super::stream::{Stream, StreamOptions};
use super::target::{Target, no_direct};
use super::{ActiveJob, Operation, program_file};
use crate::domain::affect::{acquire, running};
use crate::domain::record::Domain;
use crate::domain::vm::{EndReason, Vm};
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::{ErrorCode, ErrorDomain, VirError};
use lifecycle::{PausedReason, Phase, Request, RunningReason, Status};
use model::save_image::SaveFormat;
use plan::migration::{FileMigration, packer};
use qmp::cmd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How a guest's memory is dumped.
#[derive(Clone, Copy, Debug, Default)]
pub struct DumpOptions {
    /// The guest ends as crashed afterwards.
    pub crash: bool,
    /// The guest runs meanwhile.
    pub live: bool,
    /// Write past the page cache.
    pub bypass_cache: bool,
    /// Press the reset button afterwards.
    pub reset: bool,
    /// Only the memory, in a format that debuggers read; otherwise all of the guest's state.
    pub memory_only: bool,
    /// `virDomainCoreDumpFormat`.
    pub format: u32,
}

/// QEMU's names of `virDomainCoreDumpFormat`.
const FORMATS: &[&str] = &["elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp"];

/// How often QEMU is asked how far a dump is.
const PROGRESS: Duration = Duration::from_millis(250);

/// The name under which QEMU keeps the file.
const FILE: &str = "dump";

impl Engine {
    /// Dumps a running guest to `path`.
    ///
    /// # Errors
    /// When it does not run, the file cannot be written, or QEMU refuses. The guest then does what
    /// it did before, and what was at `path` is still there.
    pub async fn core_dump(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: String,
        options: DumpOptions,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let Some(format) = usize::try_from(options.format).ok().and_then(|n| FORMATS.get(n)) else {
            let words = format!("dumpformat '{}' is not supported", options.format);
            return Err(VirError::invalid_arg(words).verbatim().from_domain(ErrorDomain::DOMAIN));
        };
        let job = acquire(domain, Request::Save, "dump", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            engine.dump_as_job(&domain, PathBuf::from(path), options, format).await
        })
        .await
    }

    async fn dump_as_job(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: PathBuf,
        options: DumpOptions,
        format: &str,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        if !options.memory_only && format != "elf" {
            return Err(VirError::new(
                ErrorCode::OPERATION_UNSUPPORTED,
                "kdump-compressed format is only supported with memory-only dump",
            ));
        }
        if options.memory_only && format != "elf" {
            check_format(&vm, format).await?;
        }
        let was_running = matches!(domain.snapshot().status, Status::Running(_));
        let job = domain.jobs.begin(Operation::Dump);
        if options.memory_only {
            job.cannot_be_aborted();
        }
        let mut changed = Changed::default();
        let dumped = async {
            let target = self.begin_file(&vm, &path, was_running, false).await?;
            if was_running && !options.live {
                stop(&vm, &job, PausedReason::Dump).await?;
            } else if was_running {
                // QEMU stops it for the end of the dump.
                vm.announce_pause(PausedReason::Dump);
            }
            if options.memory_only {
                self.dump_memory(&vm, &job, target, &options, format).await
            } else {
                self.dump_state(&vm, &job, target, path, &options, &mut changed).await
            }
        }
        .await;
        let numbers = domain.jobs.end(dumped.is_ok());
        if let (Some(numbers), false) = (numbers, options.memory_only) {
            vm.tell(DomainEvent::JobCompleted(Box::new(numbers)));
        }
        if dumped.is_ok() && options.crash {
            let _ = vm.note(None).await;
            vm.end(EndReason::Crashed, false);
            let over = |phase| {
                let id = domain.snapshot().id;
                phase == Phase::Inactive || (id >= 0 && id != vm.id)
            };
            domain.gate.wait_phase(over).await;
            return dumped;
        }
        let reset = match dumped.is_ok() && options.reset {
            true => vm.monitor.execute(cmd::system_reset()).await.map(|_| ()),
            false => Ok(()),
        };
        vm.sync().await;
        let stands = !matches!(domain.snapshot().status, Status::Running(_));
        go_on_after(&vm, changed, was_running && stands, RunningReason::Unpaused).await;
        dumped.and(reset.map_err(|error| refused("system_reset", &error)))
    }

    /// All of the guest's state, as a migration stream.
    async fn dump_state(
        self: &Arc<Self>,
        vm: &Vm,
        job: &ActiveJob,
        target: Target,
        path: PathBuf,
        options: &DumpOptions,
        changed: &mut Changed,
    ) -> Result<(), VirError> {
        let search = self.search_path();
        // A setting that cannot be carried out must not be why a crash leaves no trace.
        let format = match packer(self.settings.save.dump_format) {
            Some(program) if program_file(program, &search).is_none() => SaveFormat::Raw,
            _ => self.settings.save.dump_format,
        };
        let bypass_cache = options.bypass_cache;
        let stream_options = StreamOptions { format, bypass_cache, offset: 0, search, path };
        let (target, carrier, stream) = crate::blocking(move || {
            let (carrier, stream) = Stream::into_target(&target, stream_options, Vec::new())?;
            Ok((target, carrier, stream))
        })
        .await?;
        let mapped = format == SaveFormat::Sparse;
        let how = FileMigration { mapped, channels: None, direct: mapped && bypass_cache };
        send_and_finish(vm, job, how, carrier, stream, changed).await?;
        commit(target).await
    }

    /// The memory alone, written by QEMU.
    async fn dump_memory(
        self: &Arc<Self>,
        vm: &Vm,
        job: &ActiveJob,
        target: Target,
        options: &DumpOptions,
        format: &str,
    ) -> Result<(), VirError> {
        let mut ends = vm.dump_ends();
        let direct = options.bypass_cache;
        let (target, fd, copy) = crate::blocking(move || {
            let file = target.file()?.try_clone();
            let file = file.map_err(|error| VirError::internal(error.to_string()))?;
            if !direct {
                return Ok((target, file.into(), None));
            }
            host::direct::set_direct(&file, true)
                .map_err(|error| no_direct(target.path(), &error))?;
            let (read, write) = super::stream::pipe()?;
            let copy = tokio::task::spawn_blocking(move || {
                host::direct::pipe_to_file(&[], read, &file).map(|_| ())
            });
            Ok((target, write, Some(copy)))
        })
        .await?;
        vm.monitor
            .execute_with_fds(cmd::getfd(FILE), vec![fd])
            .await
            .map_err(|error| refused("getfd", &error))?;
        ends.mark_unchanged();
        let named = (format != "elf").then_some(format);
        let begun = vm.monitor.execute(cmd::dump_guest_memory(FILE, named)).await;
        if let Err(error) = begun {
            if error.is_unanswered() {
                super::recover::quiet(vm).await;
            }
            let _ = vm.monitor.execute(cmd::closefd(FILE)).await;
            return Err(refused("dump-guest-memory", &error));
        }
        loop {
            tokio::select! {
                biased;
                _ = vm.process.exited() => return Err(outgoing::ended()),
                Ok(()) = ends.changed() => {
                    let fault = ends.borrow_and_update().clone();
                    if let Some(fault) = fault {
                        return Err(VirError::failed(format!("memory-only dump failed: {fault}")));
                    }
                    // All of it was written since somebody asked.
                    if let Some((total, _)) = job.numbers().dump {
                        job.update_dump(total, total);
                    }
                    break;
                }
                () = tokio::time::sleep(PROGRESS) => {}
            }
            let Ok(dump) = vm.monitor.execute(cmd::query_dump()).await else { continue };
            job.update_dump(dump.total, dump.completed);
            match dump.status.as_str() {
                "completed" => break,
                "failed" => {
                    return Err(VirError::failed("memory-only dump failed for unknown reason"));
                }
                _ => {}
            }
        }
        if let Some(copy) = copy {
            let copied = copy.await;
            copied
                .map_err(|_| canceled(job.operation().as_str()))?
                .map_err(|error| super::target::write_error(target.path(), &error))?;
        }
        commit(target).await
    }
}

async fn commit(target: Target) -> Result<(), VirError> {
    crate::blocking(move || {
        let mut target = target;
        target.commit(None)
    })
    .await
}

async fn check_format(vm: &Vm, format: &str) -> Result<(), VirError> {
    let known = vm
        .monitor
        .execute(cmd::query_dump_guest_memory_capability())
        .await
        .map_err(|error| refused("query-dump-guest-memory-capability", &error))?;
    match known.formats.iter().any(|known| known == format) {
        true => Ok(()),
        false => Err(VirError::invalid_arg(format!(
            "unsupported dumpformat '{format}' for this QEMU binary"
        ))),
    }
}

/// How long the stop after a watchdog's event may take.
const STOP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Dumps the memory of a guest that crashed to where such dumps are kept, then ends it or starts it
/// over. Where the dump fails, the guest stays as it is: it is all that is left of what happened.
pub(in crate::domain) async fn auto_dump(
    engine: Arc<Engine>,
    domain: Arc<Domain>,
    vm: Arc<Vm>,
    restart: bool,
) {
    if !dump_unasked(&engine, &domain, &vm, "a crash of the guest").await {
        return;
    }
    if restart {
        vm.reset_and_run(RunningReason::Crashed).await;
    } else {
        vm.end(EndReason::Crashed, false);
    }
}

/// Dumps the memory of a guest whose watchdog fired, then lets it run on, as `action='dump'` asks:
/// QEMU has stopped it. Where the dump fails, it stays paused for inspection.
pub(in crate::domain) async fn watchdog_dump(
    engine: Arc<Engine>,
    domain: Arc<Domain>,
    vm: Arc<Vm>,
) {
    // That it is stopped comes as an event of its own.
    let paused = || domain.snapshot().status == Status::Paused(PausedReason::Watchdog);
    let begun = tokio::time::Instant::now();
    while !paused() && begun.elapsed() < STOP_PATIENCE {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    if dump_unasked(&engine, &domain, &vm, "the watchdog").await && paused() {
        if let Err(error) = vm.lock_disks().await {
            tracing::error!(domain = %domain.snapshot().name, error = %error.message(), "stays paused");
            return;
        }
        vm.announce_run(RunningReason::Unpaused);
        if let Err(error) = vm.monitor.execute(qmp::cmd::cont()).await {
            tracing::error!(domain = %domain.snapshot().name, %error, "stays paused");
        }
    }
}

/// Dumps a guest's memory to where dumps go that nobody asked for; false if that failed.
async fn dump_unasked(
    engine: &Arc<Engine>,
    domain: &Arc<Domain>,
    vm: &Arc<Vm>,
    cause: &str,
) -> bool {
    let name = domain.snapshot().name.clone();
    let folder = PathBuf::from(&engine.settings.save.auto_dump_path);
    let file = format!(
        "{}-{}",
        plan::qemu::short_name(vm.id, &name),
        crate::domain::start::qemu_log::file_time(SystemTime::now())
    );
    let path = folder.join(file);
    let client: Arc<str> = Arc::from(cause);
    let dump = async {
        if identity(&folder).is_none() {
            let made = host::files::make_folder(&folder, 0o755);
            made.map_err(|error| VirError::failed(error.to_string()))?;
        }
        let _job = acquire(domain, Request::Save, "dump", &client).await?;
        let options = DumpOptions {
            memory_only: true,
            bypass_cache: engine.settings.save.auto_dump_bypass_cache,
            ..DumpOptions::default()
        };
        engine.dump_as_job(domain, path.clone(), options, "elf").await
    };
    match dump.await {
        Ok(()) => {
            tracing::warn!(domain = %name, cause, file = %path.display(), "dumped");
            true
        }
        Err(error) => {
            tracing::error!(domain = %name, cause, error = %error.detail, "not dumped");
            false
        }
    }
}
