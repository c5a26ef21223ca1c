//! Saving a running guest to a file.

use super::note::SaveNote;
use super::outgoing::{self, Changed};
use super::stream::{Stream, StreamOptions};
use super::target::{Names, Target};
use super::{ActiveJob, Operation, checked_channels, chosen_format};
use crate::domain::affect::{acquire, running};
use crate::domain::record::{Domain, Live};
use crate::domain::vm::{EndReason, Vm};
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use lifecycle::{PausedReason, Request, RunningReason, Status};
use model::domain::{FormatFlags, format};
use model::save_image::{SaveCookie, SaveFormat, SaveHeader, Texts, compose};
use plan::migration::FileMigration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a guest is saved.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// The definition to put into the image instead of the guest's own.
    pub xml: Option<String>,
    /// The image's format; none: the daemon's.
    pub format: Option<String>,
    /// Threads that write at once.
    pub channels: Option<i32>,
    /// Write past the page cache.
    pub bypass_cache: bool,
    /// Whether the guest is to run when it is restored; none: as it does now.
    pub running: Option<bool>,
}

/// What is written, with all choices made.
struct Order {
    path: PathBuf,
    xml: Option<String>,
    format: SaveFormat,
    channels: Option<u32>,
    bypass_cache: bool,
    running: Option<bool>,
}

impl Engine {
    /// Saves a running guest to `path`; it is off then.
    ///
    /// # Errors
    /// When it does not run, the file cannot be written, or QEMU refuses. The guest then does what
    /// it did before, and what was at `path` is still there.
    pub async fn save(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: String,
        options: SaveOptions,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let order = self.order(PathBuf::from(path), options)?;
        let job = acquire(domain, Request::Save, "save", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            engine.save_as_job(&domain, order).await
        })
        .await
    }

    /// Saves a running guest where its next start finds it.
    ///
    /// # Errors
    /// As [`Engine::save`], and for a domain that has no definition to start from.
    pub async fn managed_save(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        options: SaveOptions,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let transient = || {
            let snapshot = domain.snapshot();
            snapshot.is_active() && !snapshot.is_persistent()
        };
        let refusal = || VirError::invalid_state("cannot do managed save for transient domain");
        if transient() {
            return Err(refusal());
        }
        let name = domain.snapshot().name.clone();
        let order = self.order(self.managed_image(&name), options)?;
        let job = acquire(domain, Request::Save, "managedsave", client).await?;
        if transient() {
            return Err(refusal());
        }
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            engine.save_as_job(&domain, order).await?;
            domain.publish(|snapshot| snapshot.managed_save = true);
            Ok(())
        })
        .await
    }

    fn order(&self, path: PathBuf, options: SaveOptions) -> Result<Order, VirError> {
        let settings = &self.settings.save;
        let format = chosen_format(options.format.as_deref(), settings, &self.search_path())?;
        let channels = checked_channels(options.channels, format)?;
        let SaveOptions { xml, bypass_cache, running, .. } = options;
        Ok(Order { path, xml, format, channels, bypass_cache, running })
    }

    async fn save_as_job(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        order: Order,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        if !vm.block_jobs().is_empty() {
            return Err(VirError::invalid_state("domain has active block job"));
        }
        let job = domain.jobs.begin(Operation::Save);
        let saved = self.write_image(domain, &vm, &job, order).await;
        let numbers = domain.jobs.end(saved.is_ok());
        // From here on the image is there, complete and under its name.
        saved?;
        if let Some(numbers) = numbers {
            vm.tell(DomainEvent::JobCompleted(Box::new(numbers)));
        }
        vm.end(EndReason::Saved, false);
        let over = |phase| {
            let id = domain.snapshot().id;
            phase == lifecycle::Phase::Inactive || (id >= 0 && id != vm.id)
        };
        domain.gate.wait_phase(over).await;
        Ok(())
    }

    /// Writes the image. Its guest stands still afterwards, or does what it did before where this
    /// fails.
    async fn write_image(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        job: &ActiveJob,
        order: Order,
    ) -> Result<Target, VirError> {
        let xml = match &order.xml {
            Some(xml) => Some(self.agreed_xml(domain, xml).await?),
            None => None,
        };
        let was_running = matches!(domain.snapshot().status, Status::Running(_));
        let target = self.begin_file(vm, &order.path, was_running, true).await?;
        let mut changed = Changed::default();
        let result = async {
            if was_running {
                stop(vm, job, PausedReason::Save).await?;
            }
            let running = order.running.unwrap_or(was_running);
            let (header, texts) = self.image_head(domain, xml, running, order.format)?;
            self.write_state(vm, job, &order, target, header, texts, &mut changed).await
        }
        .await;
        match result {
            Ok(target) => Ok(target),
            Err(error) => {
                go_on_after(vm, changed, was_running, RunningReason::SaveCanceled).await;
                Err(error)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn write_state(
        self: &Arc<Self>,
        vm: &Vm,
        job: &ActiveJob,
        order: &Order,
        target: Target,
        header: SaveHeader,
        texts: Vec<u8>,
        changed: &mut Changed,
    ) -> Result<Target, VirError> {
        let options = StreamOptions {
            format: order.format,
            bypass_cache: order.bypass_cache,
            offset: header.memory_offset(),
            search: self.search_path(),
            path: order.path.clone(),
        };
        let (target, carrier, stream) = crate::blocking(move || {
            target.write_head(&header, &texts)?;
            let head = [&header.bytes(false)[..], &texts].concat();
            let (carrier, stream) = Stream::into_target(&target, options, head)?;
            Ok((target, carrier, stream))
        })
        .await?;
        let mapped = order.format == SaveFormat::Sparse;
        let direct = mapped && order.bypass_cache;
        let how = FileMigration { mapped, channels: order.channels, direct };
        send_and_finish(vm, job, how, carrier, stream, changed).await?;
        crate::blocking(move || {
            let mut target = target;
            target.commit(Some(&header))?;
            Ok(target)
        })
        .await
    }

    /// Writes down that a file is about to be written, and makes it.
    pub(super) async fn begin_file(
        self: &Arc<Self>,
        vm: &Vm,
        path: &Path,
        was_running: bool,
        ends_guest: bool,
    ) -> Result<Target, VirError> {
        let path = path.to_owned();
        let names = crate::blocking(move || {
            let random = crate::random::bytes(8)?;
            let random = random.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
            Names::of(&path, random)
        })
        .await?;
        let note = |file| SaveNote::Writing {
            path: names.path.clone(),
            temporary: names.temporary.clone(),
            file,
            was_running,
            ends_guest,
        };
        vm.note(Some(note(None))).await?;
        let made = {
            let names = names.clone();
            crate::blocking(move || Target::create(names)).await
        };
        match made {
            Ok(target) => {
                if let Err(error) = vm.note(Some(note(Some(target.identity())))).await {
                    drop(target);
                    let _ = vm.note(None).await;
                    return Err(error);
                }
                Ok(target)
            }
            Err(error) => {
                let _ = vm.note(None).await;
                Err(error)
            }
        }
    }

    /// The head of the image of a guest as it is now.
    fn image_head(
        &self,
        domain: &Domain,
        xml: Option<String>,
        running: bool,
        format: SaveFormat,
    ) -> Result<(SaveHeader, Vec<u8>), VirError> {
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().ok_or_else(outgoing::ended)?;
        let xml = xml.unwrap_or_else(|| self.portable_xml(live));
        let cookie = SaveCookie { cpu: live.definition.cpu.clone(), slirp_helper: true }.format();
        compose(Texts { xml: &xml, cookie: Some(&cookie) }, running, format)
            .map_err(|fault| super::image_error(&fault))
    }

    /// What an image of a running guest says of it.
    fn portable_xml(&self, live: &Live) -> String {
        let flags = FormatFlags { live: true, secure: true, migratable: true };
        format(&self.portable(live), flags)
    }

    /// A definition for the image that a client gave: the guest must not notice the difference.
    async fn agreed_xml(self: &Arc<Self>, domain: &Domain, xml: &str) -> Result<String, VirError> {
        self.capabilities_ready(xml).await?;
        let snapshot = domain.snapshot();
        let live = snapshot.live.clone().ok_or_else(outgoing::ended)?;
        let engine = Arc::clone(self);
        let xml = xml.to_owned();
        crate::blocking(move || {
            let (given, _) = engine.read_definition(&xml, false)?;
            let (own, _) = engine.read_definition(&engine.portable_xml(&live), false)?;
            engine.check_same_guest(&own, &given)?;
            Ok(format(&given, FormatFlags { live: false, secure: true, migratable: true }))
        })
        .await
    }
}

/// Stops the virtual CPUs for a job.
///
/// # Errors
/// QEMU's.
pub(super) async fn stop(vm: &Vm, job: &ActiveJob, why: PausedReason) -> Result<(), VirError> {
    vm.announce_pause(why);
    let stopped = vm.carry_out(qmp::cmd::stop()).await;
    stopped.map_err(|error| outgoing::refused("stop", &error))?;
    job.guest_stopped();
    Ok(())
}

/// Sends the state and waits until all of it is in the file.
///
/// # Errors
/// Whoever failed first: QEMU, or who works on the stream.
pub(super) async fn send_and_finish(
    vm: &Vm,
    job: &ActiveJob,
    how: FileMigration,
    carrier: super::stream::Carrier,
    mut stream: Stream,
    changed: &mut Changed,
) -> Result<(), VirError> {
    match outgoing::send(vm, job, how, carrier, &stream, changed).await {
        Ok(_) => {
            let mut abort = job.aborted();
            tokio::select! {
                finished = stream.finish() => return finished,
                Ok(_) = abort.wait_for(|abort| *abort) => {}
                // Whoever ends the guest meanwhile does not wait for its image.
                _ = vm.process.exited() => {
                    stream.cut();
                    return Err(outgoing::ended());
                }
            }
            stream.cut();
            Err(outgoing::canceled(job.operation().as_str()))
        }
        Err(error) if error.code == diag::ErrorCode::OPERATION_ABORTED => {
            stream.cut();
            Err(error)
        }
        // The other side of the pipe knows why QEMU found it closed.
        Err(error) => Err(stream.complaint().await.unwrap_or(error)),
    }
}

/// A job failed or is done, and the guest lives on: puts QEMU's settings back, lets the guest run
/// where it ran, and forgets what was written down.
pub(super) async fn go_on_after(vm: &Vm, changed: Changed, run: bool, why: RunningReason) {
    if vm.process.try_exited().is_ok_and(|exit| exit.is_some()) {
        return;
    }
    outgoing::put_back(vm, changed).await;
    let locked = if run { vm.lock_disks().await } else { Ok(()) };
    if let Err(error) = &locked {
        tracing::error!(id = vm.id, error = %error.message(), "the guest stays paused");
    }
    if run && locked.is_ok() {
        vm.announce_run(why);
        if let Err(error) = vm.let_run().await {
            tracing::error!(id = vm.id, %error, "the guest could not be let run again");
        }
    }
    if let Err(error) = vm.note(None).await {
        tracing::warn!(id = vm.id, error = %error.detail, "the note of a save stays");
    }
}
