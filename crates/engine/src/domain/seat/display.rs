//! Displays of running guests: pictures of them, and clients' connections to them.

use crate::domain::affect::{acquire, not_running, running};
use crate::domain::power::{execute, monitor_error};
use crate::domain::record::Domain;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use lifecycle::Request;
use model::domain::devices::graphics::GraphicsType;
use model::domain::devices::video::Video;
use qmp::{Ack, Command, cmd};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// A picture of a display.
#[derive(Debug)]
pub struct Screenshot {
    /// Its type: `image/png`, or `image/x-portable-pixmap` where QEMU makes no PNG.
    pub mime: &'static str,
    /// The picture, from the start.
    pub file: File,
}

impl Engine {
    /// Takes a picture of a display.
    ///
    /// QEMU writes it into memory that we share with it, so nothing is left on disk whatever
    /// happens, and QEMU needs no folder to write to.
    ///
    /// # Errors
    /// When the domain does not run, has no such display, or QEMU does not do it.
    pub async fn screenshot(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        screen: u32,
        client: &Arc<str>,
    ) -> Result<Screenshot, VirError> {
        let job = acquire(domain, Request::QueryLive, "screenshot", client).await?;
        let vm = running(domain)?;
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().ok_or_else(not_running)?;
        let videos = live.definition.devices.as_ref().map_or(&[][..], |devices| &devices.videos);
        if videos.is_empty() {
            return Err(VirError::invalid_state("no screens to take screenshot from"));
        }
        let Some((video, head)) = head_of(videos, screen) else {
            return Err(VirError::invalid_state("no such screen ID"));
        };
        let alias = video.alias.as_ref().map(|alias| alias.name.clone());
        let device = alias.filter(|_| screen > 0).map(|alias| (alias, head));
        self.detached(async move {
            let _job = job;
            let device = device.as_ref().map(|(alias, head)| (alias.as_str(), *head));
            match dump(&vm, device, Some("png")).await {
                Ok(file) => Ok(Screenshot { mime: "image/png", file }),
                // A QEMU before 7.1, or built without libpng.
                Err(Dump::Refused(_)) => match dump(&vm, device, None).await {
                    Ok(file) => Ok(Screenshot { mime: "image/x-portable-pixmap", file }),
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Hands a connected socket to the guest's display as a new client of it.
    ///
    /// # Errors
    /// When the domain does not run, has no such display, or QEMU does not take it.
    pub async fn open_graphics(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        index: u32,
        skip_authentication: bool,
        socket: OwnedFd,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = acquire(domain, Request::ModifyLive, "open-graphics", client).await?;
        let vm = running(domain)?;
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().ok_or_else(not_running)?;
        let mut graphics = live.definition.devices.iter().flat_map(|devices| &devices.graphics);
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(graphics) = graphics.nth(place) else {
            return Err(VirError::internal(format!("No graphics backend with index {index}")));
        };
        let protocol = match graphics.kind {
            GraphicsType::Vnc => "vnc",
            GraphicsType::Spice => "spice",
            other => {
                return Err(VirError::invalid_arg(format!(
                    "Can only open VNC, SPICE or D-Bus p2p graphics backends, not {}",
                    other.as_str()
                )));
            }
        };
        self.detached(async move {
            let _job = job;
            let name = "graphicsfd";
            vm.monitor
                .execute_with_fds(cmd::getfd(name), vec![socket])
                .await
                .map_err(|error| monitor_error(&error))?;
            let added =
                vm.monitor.execute(cmd::add_client(protocol, name, skip_authentication)).await;
            if let Err(error) = added {
                // QEMU keeps what it was given until told otherwise.
                let _ = vm.monitor.execute(cmd::closefd(name)).await;
                return Err(monitor_error(&error));
            }
            Ok(())
        })
        .await
    }
}

impl Engine {
    /// Has the displays read their certificates anew: those of `kind` (0 any, 1 VNC), of which only
    /// VNC's can.
    ///
    /// # Errors
    /// When the domain does not run, or QEMU does not do it.
    pub async fn reload_graphics(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        kind: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = acquire(domain, Request::ModifyLive, "domdisplay-reload", client).await?;
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let mut graphics = live.definition.devices.iter().flat_map(|devices| &devices.graphics);
        // Asked for by name, QEMU says what is missing.
        if kind == 0 && !graphics.any(|graphics| graphics.kind == GraphicsType::Vnc) {
            return Ok(());
        }
        self.detached(async move {
            let _job = job;
            let command =
                Command::<Ack>::new("display-reload").arg("type", "vnc").arg("tls-certs", true);
            execute(&vm, command).await.map(drop)
        })
        .await
    }
}

enum Dump {
    /// QEMU does not do it this way.
    Refused(VirError),
    /// It cannot be done.
    Failed(VirError),
}

impl From<Dump> for VirError {
    fn from(dump: Dump) -> Self {
        match dump {
            Dump::Refused(error) | Dump::Failed(error) => error,
        }
    }
}

/// The video device that a screen is of, and which of its heads: screens are counted over the heads
/// of all devices.
fn head_of(videos: &[Video], mut screen: u32) -> Option<(&Video, u32)> {
    for video in videos {
        let heads = video.model.as_ref().and_then(|model| model.heads).unwrap_or(1).max(1);
        if screen < heads {
            return Some((video, screen));
        }
        screen -= heads;
    }
    None
}

/// Has QEMU draw the first screen, or the head of a device.
async fn dump(vm: &Vm, device: Option<(&str, u32)>, format: Option<&str>) -> Result<File, Dump> {
    let system = |what: &str, error: &dyn std::fmt::Display| {
        Dump::Failed(VirError::new(ErrorCode::SYSTEM_ERROR, format!("{what}: {error}")))
    };
    let memory = rustix::fs::memfd_create("screenshot", MemfdFlags::CLOEXEC)
        .map_err(|error| system("cannot make memory for the picture", &error))?;
    let mut memory = File::from(memory);
    // QEMU compares the access mode with the one it opens with.
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let write_only = File::options()
        .write(true)
        .open(path)
        .map_err(|error| system("cannot open the picture's memory", &error))?;
    let given = vm
        .monitor
        .execute_with_fds(cmd::add_fd(None, Some("screenshot")), vec![write_only.into()])
        .await
        .map_err(|error| Dump::Failed(monitor_error(&error)))?;
    let name = format!("/dev/fdset/{}", given.fdset_id);
    let (device, head) = device.unzip();
    let command = cmd::screendump(&name, device, head, format);
    let dumped = vm.monitor.execute(command).await;
    // Whatever came of it; a QEMU that is gone has nothing to remove.
    let _ = vm.monitor.execute(cmd::remove_fd(given.fdset_id, None)).await;
    dumped.map_err(|error| match error {
        MonitorError::Qmp(error) => Dump::Refused(VirError::internal(format!(
            "unable to execute QEMU command 'screendump': {}",
            error.desc
        ))),
        _ => Dump::Failed(monitor_error(&error)),
    })?;
    memory
        .seek(SeekFrom::Start(0))
        .map_err(|error| system("cannot read the picture's memory", &error))?;
    Ok(memory)
}
