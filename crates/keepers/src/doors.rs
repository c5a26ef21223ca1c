//! What the small daemons have in common: sockets, the locked pid file, signals, an end when idle.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host::lock::PidFile;
use rpc::server::{
    Limits, ListenerKind, ListenerSpec, Server, ServerConfig, ServerHandle, Service, Shards,
};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The sockets that clients come through: theirs, then the admin's.
pub(crate) struct Doors {
    pub sockets: Vec<OwnedFd>,
    /// The files of the sockets are ours to remove.
    pub own: bool,
}

impl Doors {
    /// Those that a service manager made, else our own.
    pub fn open(activated: Vec<OwnedFd>, paths: [&Path; 2]) -> Result<Self, String> {
        let mut sockets = activated;
        let own = sockets.is_empty();
        if own {
            for path in paths {
                sockets.push(bind(path)?);
            }
        }
        Ok(Self { sockets, own })
    }

    /// Takes over those of a predecessor.
    pub fn inherit(numbers: Vec<i32>, own: bool) -> Result<Self, String> {
        let inherited = |number| crate::reexec::inherited(number).map_err(|e| e.to_string());
        let sockets = numbers.into_iter().map(inherited).collect::<Result<_, _>>()?;
        Ok(Self { sockets, own })
    }

    /// The numbers of the sockets.
    pub fn numbers(&self) -> Vec<RawFd> {
        self.sockets.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// Lets clients in: a server for them and one for the admin program.
    pub fn serve<S: Service>(
        &self,
        shards: &Arc<Shards>,
        service: &Arc<S>,
        runtime: &Handle,
        name: &str,
        max_clients: (usize, usize),
    ) -> Result<[ServerHandle; 2], String> {
        let owner = rustix::process::geteuid().as_raw();
        let door = |kind, fd: Option<&OwnedFd>| {
            let fd = match fd {
                Some(fd) => vec![fd.try_clone().map_err(|error| error.to_string())?],
                None => Vec::new(),
            };
            let spec = |fd| {
                ListenerSpec::fd(kind, fd).allow(move |peer| peer.uid == 0 || peer.uid == owner)
            };
            Ok::<_, String>(fd.into_iter().map(spec).collect::<Vec<_>>())
        };
        let server = |name: &str, most: usize, doors| {
            let limits = Limits {
                max_clients: most.max(1),
                max_anonymous_clients: most.max(1),
                ..Limits::default()
            };
            let runtime = Some(runtime.clone());
            let config =
                ServerConfig { name: name.into(), limits, runtime, ..ServerConfig::default() };
            Server::start(shards, Arc::clone(service), config, doors)
                .map_err(|error| error.to_string())
        };
        let main = door(ListenerKind::Main, self.sockets.first())?;
        let admin = door(ListenerKind::Admin, self.sockets.get(1))?;
        Ok([server(name, max_clients.0, main)?, server("admin", max_clients.1, admin)?])
    }

    /// Removes the sockets' files if they are ours.
    pub fn remove(&self, paths: [&Path; 2]) {
        if self.own {
            for path in paths {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The sockets, to be left open for a successor.
    pub fn fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }
}

/// A socket for our own user; nobody else gets in at any time, as the process's umask keeps them out.
fn bind(path: &Path) -> Result<OwnedFd, String> {
    let words = |error: io::Error| format!("cannot listen on '{}': {error}", path.display());
    if let Some(folder) = path.parent() {
        host::files::make_folder(folder, 0o755).map_err(|error| error.to_string())?;
    }
    match UnixStream::connect(path) {
        Ok(_) => return Err(format!("another daemon listens on '{}'", path.display())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(words)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(words)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(words)?;
    Ok(listener.into())
}

/// Locks the pid file. A successor is patient: it waits until its predecessor's lock is gone.
pub(crate) async fn take_pid_file(path: &Path, patient: bool) -> Result<PidFile, String> {
    if let Some(folder) = path.parent() {
        host::files::make_folder(folder, 0o755).map_err(|error| error.to_string())?;
    }
    let mut tries = if patient { 100 } else { 1 };
    loop {
        tries -= 1;
        match PidFile::acquire(path) {
            Ok(lock) => return Ok(lock),
            Err(error) if tries == 0 => return Err(error.to_string()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What the daemon does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    End,
    Successor,
}

/// The signals that steer a daemon.
pub(crate) struct Signals {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
    pub successor: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            successor: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Comes to an end when nobody needed the daemon for `timeout`: nothing kept, no client.
pub(crate) async fn idle(kept: usize, server: &ServerHandle, timeout: Option<Duration>) {
    let (Some(timeout), 0) = (timeout, kept) else { return std::future::pending().await };
    let mut clients = server.client_count();
    loop {
        if clients.wait_for(|count| *count == 0).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(timeout) => return,
            changed = clients.changed() => if changed.is_err() { return },
        }
    }
}
