//! The daemon around the service: sockets, signals, its end, its successor.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use host::users::Users;
use rpc::server::{ServerHandle, Shards};
use serde::{Deserialize, Serialize};

use super::file::Limits;
use super::service::LogService;
use super::table::{Kept, Logs};
use crate::doors::{Doors, Next, Signals, idle, take_pid_file};
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

/// Runs the daemon until it ends.
///
/// # Errors
/// In words: another one runs, or a socket cannot be made.
pub async fn serve(mut config: Config) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let settings = (config.load)()?;
    let mut lock = Some(take_pid_file(&config.pid_file, config.state.is_some()).await?);
    let runtime = tokio::runtime::Handle::current();
    let logs = Logs::new(config.guest, settings.limits, runtime.clone());
    let doors = match config.state.take() {
        Some(state) => resume(&state, &logs)?,
        None => {
            let activated = std::mem::take(&mut config.activated);
            Doors::open(activated, [&config.socket, &config.admin_socket])?
        }
    };
    tokio::spawn(expire_daily(settings));
    let shards = Shards::start(Some(1)).map_err(|error| error.to_string())?;
    let users = Users::load(Path::new("/"));
    let service =
        Arc::new(LogService { logs: Arc::clone(&logs), control: Default::default(), users });
    service.control.set_timeout(config.timeout);
    let mut leaving = false;
    loop {
        let servers = doors.serve(&shards, &service, &runtime, "virtlogd", config.max_clients)?;
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
        lock = Some(take_pid_file(&config.pid_file, true).await?);
    }
    doors.remove([&config.socket, &config.admin_socket]);
    if let Some(lock) = lock.take() {
        let _ = lock.release();
    }
    Ok(())
}

fn resume(state: &[u8], logs: &Arc<Logs>) -> Result<Doors, String> {
    let state: State = serde_json::from_slice(state)
        .map_err(|error| format!("the predecessor's state: {error}"))?;
    for kept in state.logs {
        let shown = format!("{kept:?}");
        if let Err(error) = logs.resume(kept) {
            tracing::error!(log = shown, %error, "a log was not taken over");
        }
    }
    Doors::inherit(state.sockets, state.own)
}

/// Becomes the successor; returns only when that failed, with why.
async fn hand_over(config: &Config, logs: &Arc<Logs>, doors: &Doors) -> String {
    // Pumps that do not come to a standstill are stuck on a disk, and so would this be.
    let Ok((kept, _standing)) = tokio::time::timeout(STANDSTILL, logs.park()).await else {
        return "a log cannot be written".into();
    };
    let state = State { sockets: doors.numbers(), own: doors.own, logs: kept };
    let state = match serde_json::to_vec(&state) {
        Ok(state) => state,
        Err(error) => return error.to_string(),
    };
    let pipes = logs.pipes();
    let keep: Vec<_> = doors.fds().chain(pipes.iter().map(|pipe| pipe.as_fd())).collect();
    match reexec::become_successor(&config.arguments, &state, &keep) {
        Err(error) => error.to_string(),
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

async fn expire_daily(settings: Reloaded) {
    let Some((root, age)) = settings.expiry else { return };
    loop {
        let (root, age) = (root.clone(), age);
        let now = SystemTime::now();
        let _ = tokio::task::spawn_blocking(move || super::expire(&root, age, now)).await;
        tokio::time::sleep(DAY).await;
    }
}
