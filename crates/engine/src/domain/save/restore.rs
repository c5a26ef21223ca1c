//! Starting a guest from the state in an image.

use super::image::Image;
use super::note::{SaveNote, identity};
use super::stream::{Stream, StreamOptions};
use super::{checked_channels, outgoing};
use crate::domain::record::Domain;
use crate::domain::start::{StartOptions, already_active};
use crate::domain::stored::define::uuid_of;
use crate::domain::vm::look::{self, Look};
use crate::domain::vm::{EndReason, Vm};
use crate::engine::Engine;
use crate::events::{DomainEvent, DomainRef};
use diag::VirError;
use lifecycle::{LifecycleEvent, PausedReason, Phase, Request, RunningReason, Status};
use model::domain::cpu::Cpu;
use model::save_image::{SaveFormat, SaveHeader};
use plan::migration::FileMigration;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// How a guest is restored.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The definition to go on with instead of the image's.
    pub xml: Option<String>,
    /// Threads that read at once.
    pub channels: Option<i32>,
    /// Read past the page cache.
    pub bypass_cache: bool,
    /// Whether the guest is to run; none: as the image says.
    pub running: Option<bool>,
    /// Give the guest a fresh variable store.
    pub reset_nvram: bool,
}

/// The state that a guest starts from.
#[derive(Debug)]
pub(in crate::domain) struct Incoming {
    file: File,
    path: PathBuf,
    header: SaveHeader,
    /// The CPU that the guest has.
    pub cpu: Option<Cpu>,
    channels: Option<u32>,
    bypass_cache: bool,
    running: Option<bool>,
    /// The image goes when the guest has taken it up.
    pub managed: bool,
}

impl Incoming {
    /// The state in an image.
    pub(super) fn of(
        image: Image,
        channels: Option<i32>,
        bypass_cache: bool,
    ) -> Result<Self, VirError> {
        let channels = checked_channels(channels, image.header.format)?;
        let cpu = image.cookie()?.cpu;
        let Image { file, path, header, .. } = image;
        Ok(Self { file, path, header, cpu, channels, bypass_cache, running: None, managed: false })
    }
}

impl Engine {
    /// Starts the guest of an image where it was saved.
    ///
    /// # Errors
    /// When the image cannot be used, a domain of that name or UUID runs, or QEMU does not take the
    /// state; then nothing is left of the attempt, and the image is as it was.
    pub async fn restore(
        self: &Arc<Self>,
        path: String,
        options: RestoreOptions,
        client: &Arc<str>,
    ) -> Result<DomainRef, VirError> {
        let path = PathBuf::from(path);
        let image = crate::blocking(move || Ok(Image::open(&path, false)?)).await?;
        if let Some(xml) = &options.xml {
            self.capabilities_ready(xml).await?;
        }
        let definition = self.definition_in(&image, options.xml).await?;
        let definition = self.filtered(&image, definition).await?;
        let mut incoming = Incoming::of(image, options.channels, options.bypass_cache)?;
        incoming.running = options.running;
        let start = StartOptions { reset_nvram: options.reset_nvram, ..StartOptions::default() };
        crate::domain::stored::store::check_name(&self.layout.qemu_run(), &definition.name)
            .map_err(|error| error.to_vir())?;
        let engine = Arc::clone(self);
        let client = Arc::clone(client);
        self.detached(async move {
            let uuid = uuid_of(&definition)?;
            let (domain, new) = engine.registry.claim(&definition.name, &uuid, || {
                Domain::inactive(uuid, &definition.name, None)
            })?;
            let result = async {
                let job = domain
                    .gate
                    .acquire(Request::Start, "restore", &client)
                    .await
                    .map_err(|e| already_active(e, &domain))?;
                engine.run(&domain, definition, start, Some(incoming), job).await?;
                Ok(domain.reference())
            }
            .await;
            if result.is_err() && new {
                engine.registry.remove_if_gone(&domain);
            }
            result
        })
        .await
    }

    /// QEMU is there and waits: gives it the state, and lets the guest go on as it was.
    pub(in crate::domain) async fn take_up(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        options: StartOptions,
        incoming: Incoming,
    ) -> Result<(), VirError> {
        let vm = domain.vm().ok_or_else(outgoing::ended)?;
        let (path, managed) = (incoming.path.clone(), incoming.managed);
        let runs = !options.paused && incoming.running.unwrap_or(incoming.header.running);
        let taken_up = async {
            self.load(&vm, incoming).await?;
            // What the guest holds came with its state, and no event told.
            look::again(Arc::clone(&vm), Arc::clone(domain), Look::Missed).await;
            // From here on the guest is what QEMU holds. Whoever finds the note knows that the
            // image is of the past; written before the guest runs, for then its disks change.
            if managed && let Some(file) = identity(&path) {
                vm.note(Some(SaveNote::Restored { path: path.clone(), file })).await?;
            }
            vm.settle(Status::Paused(PausedReason::Migration)).await;
            vm.tell(DomainEvent::Lifecycle(LifecycleEvent::StartedRestored));
            if runs {
                vm.lock_disks().await?;
                vm.announce_run(RunningReason::Restored);
                vm.monitor
                    .execute(qmp::cmd::cont())
                    .await
                    .map_err(|error| outgoing::refused("cont", &error))?;
            } else {
                let paused = match options.paused {
                    true => LifecycleEvent::SuspendedPaused,
                    false => LifecycleEvent::SuspendedRestored,
                };
                vm.tell(DomainEvent::Lifecycle(paused));
            }
            vm.sync().await;
            Ok::<_, VirError>(())
        }
        .await;
        if let Err(error) = taken_up {
            vm.end(EndReason::Failed, false);
            domain.gate.wait_phase(|phase| phase == Phase::Inactive).await;
            return Err(error);
        }
        if managed {
            let removed = crate::blocking(move || {
                std::fs::remove_file(&path)
                    .map_err(|error| super::system_error("remove managed save", &path, &error))
            })
            .await;
            match removed {
                Ok(()) => {
                    domain.publish(|snapshot| snapshot.managed_save = false);
                    let _ = vm.note(None).await;
                }
                Err(error) => tracing::error!(id = vm.id, error = %error.detail, "it stays"),
            }
        }
        Ok(())
    }

    async fn load(self: &Arc<Self>, vm: &Vm, incoming: Incoming) -> Result<(), VirError> {
        let Incoming { file, path, header, channels, bypass_cache, .. } = incoming;
        let format = header.format;
        let offset = header.memory_offset();
        let search = self.search_path();
        let stream_options = StreamOptions { format, bypass_cache, offset, search, path };
        let (carrier, mut stream) =
            crate::blocking(move || Stream::out_of(file, stream_options)).await?;
        let mapped = format == SaveFormat::Sparse;
        let how = FileMigration { mapped, channels, direct: mapped && bypass_cache };
        match outgoing::receive(vm, how, carrier, &stream).await {
            Ok(()) => {
                stream.cut();
                let _ = stream.finish().await;
                Ok(())
            }
            Err(error) => match stream.complaint().await {
                Some(complaint) => Err(error.hint(complaint.detail)),
                None => Err(error),
            },
        }
    }
}
