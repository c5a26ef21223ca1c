//! The daemon around the service: sockets, signals, its end, its successor.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use host::lock::PidFile;
use host::users::Users;
use rpc::server::{
    Limits as ClientLimits, ListenerKind, ListenerSpec, Server, ServerConfig, ServerHandle, Shards,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::file::Limits;
use super::service::LogService;
use super::table::{Kept, Logs};
use crate::reexec;

/// How long clients may take to finish before a successor takes over.
const DRAIN: Duration = Duration::from_secs(2);

/// How long logs may take to be still before a successor takes over.
const STANDSTILL: Duration = Duration::from_secs(10);

/// How often old logs are looked for.
const DAY: Duration = Duration::from_secs(86_400);

/// What of the configuration file may change while the daemon runs.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// What logs may take.
    pub limits: Limits,
    /// The folder whose files are removed when they are older than this.
    pub expiry: Option<(PathBuf, Duration)>,
}

/// A log daemon.
pub struct Config {
    /// Where clients connect.
    pub socket: PathBuf,
    /// Where the admin program is spoken.
    pub admin_socket: PathBuf,
    /// Locked as long as this daemon lives.
    pub pid_file: PathBuf,
    /// Sockets that a service manager made: the clients', then the admin's.
    pub activated: Vec<OwnedFd>,
    /// The user that guests run as, whose links are not followed.
    pub guest: u32,
    /// The most clients, and the most of them on the admin socket.
    pub max_clients: (usize, usize),
    /// End after this long without a log and a client.
    pub timeout: Option<Duration>,
    /// Reads the configuration file.
    pub load: Box<dyn Fn() -> Result<Reloaded, String> + Send + Sync>,
    /// What the predecessor left.
    pub state: Option<Vec<u8>>,
    /// How the successor is started.
    pub arguments: Vec<OsString>,
    /// Called when clients may come, and with false when the daemon ends.
    pub announce: Box<dyn Fn(bool) + Send + Sync>,
}

/// What a successor has to know.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    sockets: Vec<i32>,
    /// The files of the sockets are ours to remove.
    own: bool,
    logs: Vec<Kept>,
}

struct Doors {
    sockets: Vec<OwnedFd>,
    own: bool,
}

/// Runs the daemon until it ends.
///
/// # Errors
/// In words: another one runs, or a socket cannot be made.
pub async fn serve(mut config: Config) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let settings = (config.load)()?;
    let mut lock = Some(take_lock(&config.pid_file, config.state.is_some()).await?);
    let runtime = tokio::runtime::Handle::current();
    let logs = Logs::new(config.guest, settings.limits, runtime.clone());
    let doors = match config.state.take() {
        Some(state) => resume(&state, &logs)?,
        None => open_doors(&mut config)?,
    };
    tokio::spawn(expire_daily(settings));
    let shards = Shards::start(Some(1)).map_err(|error| error.to_string())?;
    let users = Users::load(Path::new("/"));
    let service =
        Arc::new(LogService { logs: Arc::clone(&logs), control: Default::default(), users });
    service.control.set_timeout(config.timeout);
    let mut leaving = false;
    loop {
        let servers = start(&shards, &service, &config, &doors)?;
        service.control.manage(servers.to_vec());
        (config.announce)(true);
        let next = wait(&mut signals, &config, &service, &servers, &mut leaving).await;
        if next == Next::Successor {
            let mut clients = servers[0].client_count();
            let _ = tokio::time::timeout(DRAIN, clients.wait_for(|count| *count == 0)).await;
        } else {
            (config.announce)(false);
        }
        service.control.manage(Vec::new());
        tokio::join!(servers[0].shutdown(), servers[1].shutdown());
        if next == Next::End {
            break;
        }
        drop(lock.take());
        let failed = hand_over(&config, &logs, &doors).await;
        tracing::error!(error = failed, "no successor; going on");
        lock = Some(take_lock(&config.pid_file, true).await?);
    }
    if doors.own {
        let _ = fs::remove_file(&config.socket);
        let _ = fs::remove_file(&config.admin_socket);
    }
    if let Some(lock) = lock.take() {
        let _ = lock.release();
    }
    Ok(())
}

/// A successor waits until its predecessor's lock is gone.
async fn take_lock(path: &Path, patient: bool) -> Result<PidFile, String> {
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

fn open_doors(config: &mut Config) -> Result<Doors, String> {
    let mut sockets = std::mem::take(&mut config.activated);
    let own = sockets.is_empty();
    if own {
        sockets.push(bind(&config.socket)?);
        sockets.push(bind(&config.admin_socket)?);
    }
    Ok(Doors { sockets, own })
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

fn resume(state: &[u8], logs: &Arc<Logs>) -> Result<Doors, String> {
    let state: State = serde_json::from_slice(state)
        .map_err(|error| format!("the predecessor's state: {error}"))?;
    let mut sockets = Vec::new();
    for number in state.sockets {
        sockets.push(reexec::inherited(number).map_err(|error| error.to_string())?);
    }
    for kept in state.logs {
        let shown = format!("{kept:?}");
        if let Err(error) = logs.resume(kept) {
            tracing::error!(log = shown, %error, "a log was not taken over");
        }
    }
    Ok(Doors { sockets, own: state.own })
}

/// Becomes the successor; returns only when that failed, with why.
async fn hand_over(config: &Config, logs: &Arc<Logs>, doors: &Doors) -> String {
    // Pumps that do not come to a standstill are stuck on a disk, and so would this be.
    let Ok((kept, _standing)) = tokio::time::timeout(STANDSTILL, logs.park()).await else {
        return "a log cannot be written".into();
    };
    let sockets = doors.sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let state = State { sockets, own: doors.own, logs: kept };
    let state = match serde_json::to_vec(&state) {
        Ok(state) => state,
        Err(error) => return error.to_string(),
    };
    let pipes = logs.pipes();
    let keep: Vec<_> = doors
        .sockets
        .iter()
        .map(AsFd::as_fd)
        .chain(pipes.iter().map(|pipe| pipe.as_fd()))
        .collect();
    match reexec::become_successor(&config.arguments, &state, &keep) {
        Err(error) => error.to_string(),
    }
}

fn start(
    shards: &Arc<Shards>,
    service: &Arc<LogService>,
    config: &Config,
    doors: &Doors,
) -> Result<[ServerHandle; 2], String> {
    let owner = rustix::process::geteuid().as_raw();
    let door = |kind, fd: Option<&OwnedFd>| {
        let fd = match fd {
            Some(fd) => vec![fd.try_clone().map_err(|error| error.to_string())?],
            None => Vec::new(),
        };
        let spec =
            |fd| ListenerSpec::fd(kind, fd).allow(move |peer| peer.uid == 0 || peer.uid == owner);
        Ok::<_, String>(fd.into_iter().map(spec).collect::<Vec<_>>())
    };
    let server = |name: &str, most: usize, doors| {
        let limits = ClientLimits {
            max_clients: most.max(1),
            max_anonymous_clients: most.max(1),
            ..ClientLimits::default()
        };
        let runtime = Some(service.logs.runtime().clone());
        let config = ServerConfig { name: name.into(), limits, runtime, ..ServerConfig::default() };
        Server::start(shards, Arc::clone(service), config, doors).map_err(|error| error.to_string())
    };
    let main = door(ListenerKind::Main, doors.sockets.first())?;
    let admin = door(ListenerKind::Admin, doors.sockets.get(1))?;
    Ok([
        server("virtlogd", config.max_clients.0, main)?,
        server("admin", config.max_clients.1, admin)?,
    ])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    End,
    Successor,
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    successor: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            successor: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Serves until something else is to be done. Asked to end, it does so when no guest writes.
async fn wait(
    signals: &mut Signals,
    config: &Config,
    service: &LogService,
    servers: &[ServerHandle; 2],
    leaving: &mut bool,
) -> Next {
    let mut open = service.logs.count();
    let mut timeout = service.control.timeout();
    loop {
        let count = *open.borrow_and_update();
        if *leaving && count == 0 {
            return Next::End;
        }
        let patience = *timeout.borrow_and_update();
        tokio::select! {
            _ = signals.terminate.recv() => *leaving = true,
            _ = signals.interrupt.recv() => *leaving = true,
            () = service.control.shutdown_requested() => *leaving = true,
            _ = signals.successor.recv() => return Next::Successor,
            _ = signals.hangup.recv() => match (config.load)() {
                Ok(settings) => service.logs.set_limits(settings.limits),
                Err(error) => tracing::error!(error, "the configuration stays as it was"),
            },
            _ = open.changed() => {}
            _ = timeout.changed() => {}
            () = idle(count, &servers[0], patience) => return Next::End,
        }
        if *leaving && count > 0 {
            tracing::info!(logs = count, "asked to end: when no guest writes any more");
        }
    }
}

/// Comes to an end when nobody needed the daemon for `timeout`.
async fn idle(logs: usize, server: &ServerHandle, timeout: Option<Duration>) {
    let (Some(timeout), 0) = (timeout, logs) else { return std::future::pending().await };
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

async fn expire_daily(settings: Reloaded) {
    let Some((root, age)) = settings.expiry else { return };
    loop {
        let (root, age) = (root.clone(), age);
        let now = SystemTime::now();
        let _ = tokio::task::spawn_blocking(move || super::expire(&root, age, now)).await;
        tokio::time::sleep(DAY).await;
    }
}
