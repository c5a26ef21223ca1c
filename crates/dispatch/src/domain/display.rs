//! Consoles, channels, displays and keyboards of running guests.

use crate::bind::{Request, arguments, later, now, payload, refused};
use crate::domain::find;
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, VirError};
use engine::domain::seat::console::{ConsoleOptions, ConsolePort};
use protocol::remote::{self, Procedure, procs};
use rpc::server::{Outcome, Stream, StreamIn};
use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// `VIR_DOMAIN_CONSOLE_FORCE` and `…_SAFE`; `VIR_DOMAIN_CHANNEL_FORCE` is the same.
const FORCE: u32 = 1;
const SAFE: u32 = 2;

/// Our own: a console begins with what was said before, also that of a guest that is gone.
pub const CONSOLE_HISTORY: u32 = 1 << 30;

/// `VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH`.
const SKIPAUTH: u32 = 1;

/// `VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_RESTORE`: nothing is taken, so nothing is to be given back; the
/// owner of an open file counts for nobody who has its descriptor.
const SECLABEL_RESTORE: u32 = 1;

/// `VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE`.
const SECLABEL_WRITABLE: u32 = 2;

/// What a client may send ahead of a guest that does not read.
const AHEAD_MAX: usize = 64 << 10;

/// Bytes taken from a device or file at once.
const PIECE: usize = 64 << 10;

/// How long input that a client sent before it finished may take to reach the guest.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainOpenConsole => {
            let args = match arguments::<procs::DomainOpenConsole>(&request) {
                Ok(args) => args,
                Err(error) => return Bound::Done(Outcome::Error(error)),
            };
            Outcome::later(async move {
                let opened = async {
                    // Safe and unforced opening are one here: a device has one user anyway.
                    only_flags(args.flags, FORCE | SAFE | CONSOLE_HISTORY)?;
                    let domain = find(&engine, &args.dom)?;
                    let name = args.dev_name.as_deref();
                    let options = ConsoleOptions {
                        force: args.flags & FORCE != 0,
                        history: args.flags & CONSOLE_HISTORY != 0,
                    };
                    engine.open_console(&domain, name, options).await
                };
                stream_of(opened.await)
            })
        }
        Procedure::DomainOpenChannel => {
            let args = match arguments::<procs::DomainOpenChannel>(&request) {
                Ok(args) => args,
                Err(error) => return Bound::Done(Outcome::Error(error)),
            };
            Outcome::later(async move {
                let opened = async {
                    only_flags(args.flags, FORCE)?;
                    let domain = find(&engine, &args.dom)?;
                    engine
                        .open_channel(&domain, args.name.as_deref(), args.flags & FORCE != 0)
                        .await
                };
                stream_of(opened.await)
            })
        }
        Procedure::DomainScreenshot => {
            let args = match arguments::<procs::DomainScreenshot>(&request) {
                Ok(args) => args,
                Err(error) => return Bound::Done(Outcome::Error(error)),
            };
            Outcome::later(async move {
                let taken = async {
                    no_flags(args.flags)?;
                    let domain = find(&engine, &args.dom)?;
                    let shot = engine.screenshot(&domain, args.screen, &client).await?;
                    let mime = Some(shot.mime.to_owned());
                    Ok((payload(&remote::DomainScreenshotRet { mime })?, shot.file))
                };
                match taken.await {
                    Ok((reply, file)) => Outcome::stream(reply, |stream| download(file, stream)),
                    Err(error) => refused::<procs::DomainScreenshot>(error),
                }
            })
        }
        Procedure::DomainOpenGraphics => {
            let mut request = request;
            let mut fds = std::mem::take(&mut request.call.fds);
            later::<procs::DomainOpenGraphics, _>(request, |args| async move {
                only_flags(args.flags, SKIPAUTH)?;
                let domain = find(&engine, &args.dom)?;
                if fds.len() != 1 {
                    return Err(VirError::internal("exactly one descriptor is needed"));
                }
                let Some(fd) = fds.pop() else {
                    return Err(VirError::internal("exactly one descriptor is needed"));
                };
                let skip = args.flags & SKIPAUTH != 0;
                engine.open_graphics(&domain, args.idx, skip, fd, &client).await
            })
        }
        Procedure::DomainFdAssociate => {
            let mut request = request;
            let fds = std::mem::take(&mut request.call.fds);
            now::<procs::DomainFdAssociate>(request, |args| {
                only_flags(args.flags, SECLABEL_RESTORE | SECLABEL_WRITABLE)?;
                let domain = find(&engine, &args.dom)?;
                let writable = args.flags & SECLABEL_WRITABLE != 0;
                engine.associate_descriptors(&domain, args.name, fds, writable, &client)
            })
        }
        Procedure::DomainOpenGraphicsFd => {
            let args = match arguments::<procs::DomainOpenGraphicsFd>(&request) {
                Ok(args) => args,
                Err(error) => return Bound::Done(Outcome::Error(error)),
            };
            Outcome::later(async move {
                let opened = async {
                    only_flags(args.flags, SKIPAUTH)?;
                    let domain = find(&engine, &args.dom)?;
                    let (ours, qemus) = UnixStream::pair().map_err(|error| {
                        VirError::new(
                            ErrorCode::SYSTEM_ERROR,
                            format!("unable to create socket pair: {error}"),
                        )
                    })?;
                    let skip = args.flags & SKIPAUTH != 0;
                    engine.open_graphics(&domain, args.idx, skip, qemus.into(), &client).await?;
                    Ok(ours)
                };
                match opened.await {
                    Ok(ours) => Outcome::ReplyFds(Vec::new(), vec![ours.into()]),
                    Err(error) => refused::<procs::DomainOpenGraphicsFd>(error),
                }
            })
        }
        Procedure::DomainSendKey => later::<procs::DomainSendKey, _>(request, |args| async move {
            no_flags(args.flags)?;
            let domain = find(&engine, &args.dom)?;
            engine.send_key(&domain, args.codeset, &args.keycodes, args.holdtime, &client).await
        }),
        Procedure::DomainInjectNmi => {
            later::<procs::DomainInjectNmi, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.inject_nmi(&domain, &client).await
            })
        }
        _ => return Bound::NotMine(request),
    })
}

fn stream_of(opened: Result<ConsolePort, VirError>) -> Outcome {
    match opened {
        Ok(port) => {
            let release = port.release();
            Outcome::stream(Vec::new(), |stream| converse(port, stream)).on_close(release)
        }
        Err(error) => Outcome::Error(error),
    }
}

/// Carries bytes between a guest's device and a client until one of them ends.
///
/// Neither direction waits for the other: what the guest does not take yet is kept up to a bound,
/// beyond which the client is no longer read; what the client does not take keeps the device
/// unread, and the guest's own device then holds the guest back or drops, as on real wires.
async fn converse(mut port: ConsolePort, mut stream: Stream) -> Result<(), VirError> {
    let said = port.take_history();
    if !said.is_empty() && stream.send(&said).await.is_err() {
        return Ok(());
    }
    let mut ahead: Vec<u8> = Vec::new();
    let mut buffer = vec![0; PIECE];
    loop {
        tokio::select! {
            read = port.read(&mut buffer) => match read.map_err(broken)? {
                0 => {
                    // The guest is gone; the client finishes.
                    if stream.finish_sending().await.is_ok() {
                        while let Some(StreamIn::Data(_)) = stream.recv().await {}
                    }
                    return Ok(());
                }
                count => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    tokio::select! {
                        sent = stream.send(bytes) => if sent.is_err() { return Ok(()) },
                        () = port.taken() => return Err(taken()),
                    }
                }
            },
            written = port.write(&ahead), if !ahead.is_empty() => {
                ahead.drain(..written.map_err(broken)?.min(ahead.len()));
            }
            item = stream.recv(), if ahead.len() < AHEAD_MAX => match item {
                Some(StreamIn::Data(bytes)) => ahead.extend(bytes),
                Some(StreamIn::Hole { .. }) => {
                    return Err(VirError::internal("unexpected stream hole"));
                }
                Some(StreamIn::Finish) => {
                    let flushed = tokio::time::timeout(FLUSH_DEADLINE, flush(&port, &ahead)).await;
                    if flushed.is_err() {
                        tracing::debug!(bytes = ahead.len(), "the guest did not read its console");
                    }
                    return Ok(());
                }
                Some(StreamIn::Abort) | None => return Ok(()),
            },
            () = port.taken() => return Err(taken()),
        }
    }
}

async fn flush(port: &ConsolePort, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match port.write(bytes).await {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(_) => return,
        }
    }
}

fn broken(error: std::io::Error) -> VirError {
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("console failed: {error}"))
}

fn taken() -> VirError {
    VirError::failed("another client opened this device by force")
}

/// Sends a file that is in memory.
async fn download(mut file: File, mut stream: Stream) -> Result<(), VirError> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = file.read(&mut buffer).map_err(|error| {
            VirError::new(ErrorCode::SYSTEM_ERROR, format!("cannot read the picture: {error}"))
        })?;
        let bytes = buffer.get(..count).unwrap_or_default();
        let sent =
            if count == 0 { stream.finish_sending().await } else { stream.send(bytes).await };
        if count == 0 || sent.is_err() {
            return Ok(());
        }
    }
}
