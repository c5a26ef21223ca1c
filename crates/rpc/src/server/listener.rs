//! The doors: making, guarding and removing listening sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use rustix::fs::{Gid, Mode, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::conn::Arrival;
use super::core::Core;
use super::outbox::{Mailbox, Outbox};
use super::{Allow, ListenAt, ListenerKind, ListenerSpec, Peer, Service, Shards};

/// The longest path of a unix socket, in bytes.
const MAX_PATH: usize = 107;

/// Why a door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel's limit for socket paths.
    #[error("socket path '{0}' is {1} bytes long; the limit is {MAX_PATH}")]
    TooLong(PathBuf, usize),
    /// A daemon answers there.
    #[error("socket '{0}' is in use by another daemon")]
    InUse(PathBuf),
    /// Something that is not a socket has the name.
    #[error("'{0}' exists and is not a socket")]
    NotASocket(PathBuf),
    /// Something failed.
    #[error("cannot {what} socket '{path}': {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which socket.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("cannot use the listening socket that was handed over: {0}")]
    HandedOver(io::Error),
    /// The threads could not be started.
    #[error("cannot start the connection threads: {0}")]
    Threads(io::Error),
}

/// A listening socket and, when it is ours, the file to remove at the end.
pub(crate) struct Door {
    listener: UnixListener,
    file: Option<SocketFile>,
    kind: ListenerKind,
    read_only: bool,
    allow: Allow,
}

/// The file of a socket of ours. Dropping removes it, unless another has taken its name.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity);
        if same {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Door {
    pub(crate) fn open(spec: ListenerSpec, backlog: i32) -> Result<Self, BindError> {
        let (listener, file) = match spec.at {
            ListenAt::Path { path, mode, uid, gid } => {
                let (listener, file) = bind(path, mode, uid, gid, backlog)?;
                (listener, Some(file))
            }
            ListenAt::Fd(fd) => (UnixListener::from(fd), None),
        };
        listener.set_nonblocking(true).map_err(BindError::HandedOver)?;
        Ok(Self { listener, file, kind: spec.kind, read_only: spec.read_only, allow: spec.allow })
    }
}

fn bind(
    path: PathBuf,
    mode: u32,
    uid: Option<u32>,
    gid: Option<u32>,
    backlog: i32,
) -> Result<(UnixListener, SocketFile), BindError> {
    let length = path.as_os_str().len();
    if length > MAX_PATH {
        return Err(BindError::TooLong(path, length));
    }
    let fail =
        |what: &'static str, error: io::Error| BindError::Io { what, path: path.clone(), error };
    remove_stale(&path)?;
    let address = SocketAddrUnix::new(&path).map_err(|e| fail("name", e.into()))?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(|e| fail("create", e.into()))?;
    // On Linux the file gets the mode of the socket (less the umask): it is never more open than it will be, and
    // nobody but us comes in before owner and group are right.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o700))
        .map_err(|e| fail("restrict", e.into()))?;
    rustix::net::bind(&socket, &address).map_err(|e| fail("bind", e.into()))?;
    let meta = std::fs::symlink_metadata(&path).map_err(|e| fail("examine", e))?;
    let file = SocketFile { path: path.clone(), identity: (meta.dev(), meta.ino()) };
    if uid.is_some() || gid.is_some() {
        rustix::fs::chown(&path, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
            .map_err(|e| fail("change the owner of", e.into()))?;
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| fail("change the mode of", e))?;
    rustix::net::listen(&socket, backlog).map_err(|e| fail("listen on", e.into()))?;
    Ok((UnixListener::from(socket), file))
}

/// Removes the socket file of a daemon that is no more.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(BindError::Io { what: "examine", path: path.to_owned(), error });
        }
    };
    if !meta.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match connect_without_waiting(path) {
        // A full queue (EAGAIN) means that somebody listens, too.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| BindError::Io {
                what: "remove the stale",
                path: path.to_owned(),
                error,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(BindError::InUse(path.to_owned())),
    }
}

fn connect_without_waiting(path: &Path) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Accepts until the server stops; then closes the door and removes its file.
pub(crate) async fn accept<S: Service>(
    door: Door,
    core: Arc<Core>,
    service: Arc<S>,
    shards: std::sync::Weak<Shards>,
) {
    let Door { listener, file: _file, kind, read_only, allow } = door;
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(server = core.config.name, %error, "cannot watch a listening socket");
            return;
        }
    };
    loop {
        let notified = core.gate.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if core.stopping.load(Ordering::Relaxed) {
            return;
        }
        if !core.has_room() {
            notified.await;
            continue;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = notified => continue,
        };
        let error = match accepted {
            Ok((stream, _)) => {
                let Some(shards) = shards.upgrade() else {
                    return;
                };
                match admit(stream, kind, read_only, &allow, &core) {
                    Ok(Some((socket, mailbox))) => {
                        enter(socket, mailbox, &core, &service, &shards);
                        continue;
                    }
                    Ok(None) => continue,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // Out of descriptors, most likely: waiting beats spinning on a socket that stays ready.
        tracing::warn!(server = core.config.name, %error, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Finds out who came and whether it may.
fn admit(
    stream: tokio::net::UnixStream,
    kind: ListenerKind,
    read_only: bool,
    allow: &Allow,
    core: &Arc<Core>,
) -> io::Result<Option<(OwnedFd, Arc<Mailbox>)>> {
    let credentials = stream.peer_cred()?;
    let peer = Arc::new(Peer {
        id: core.next_id(),
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid().filter(|pid| *pid > 0),
        kind,
        read_only,
        since: SystemTime::now(),
        start: Default::default(),
    });
    if !allow(&peer) {
        tracing::info!(
            server = core.config.name,
            uid = peer.uid,
            pid = peer.pid,
            ?kind,
            "connection refused: this user may not use the socket"
        );
        return Ok(None);
    }
    let socket = OwnedFd::from(stream.into_std()?);
    let mailbox = Arc::new(Mailbox::new(peer, Arc::clone(core)));
    Ok(Some((socket, mailbox)))
}

fn enter<S: Service>(
    socket: OwnedFd,
    mailbox: Arc<Mailbox>,
    core: &Arc<Core>,
    service: &Arc<S>,
    shards: &Arc<Shards>,
) {
    core.enter(&mailbox);
    let outbox = Outbox { mailbox: Arc::clone(&mailbox) };
    let connected = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        service.connected(&mailbox.peer, outbox)
    }));
    let Ok(session) = connected else {
        tracing::error!(client = mailbox.peer.id, "panic while admitting a client");
        mailbox.hang_up();
        core.leave(&mailbox);
        return;
    };
    let (handle, load) = shards.least_loaded();
    let arrival = Arrival::new(socket, Arc::clone(service), Arc::new(session), mailbox, load);
    handle.spawn(arrival.serve());
}
