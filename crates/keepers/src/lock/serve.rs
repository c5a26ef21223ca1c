//! The daemon around the service: sockets, signals, the ends of guests, its own end, its successor.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host::process::Process;
use host::users::Users;
use rpc::server::{ServerHandle, Shards};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::service::LockService;
use super::table::{KeptSpace, Locks};
use crate::doors::{Doors, Next, Signals, idle, take_pid_file};
use crate::reexec;

/// How long clients may take to finish before a successor takes over.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a guest that gave up its connection, hence its locks, has to end by itself.
const FENCE: Duration = Duration::from_secs(10);

/// A lock daemon.
pub struct Config {
    /// Where clients connect.
    pub socket: PathBuf,
    /// Where the admin program is spoken.
    pub admin_socket: PathBuf,
    /// Locked as long as this daemon lives.
    pub pid_file: PathBuf,
    /// Sockets that a service manager made: the clients', then the admin's.
    pub activated: Vec<OwnedFd>,
    /// The most clients, and the most of them on the admin socket.
    pub max_clients: (usize, usize),
    /// End after this long without a lock and a client.
    pub timeout: Option<Duration>,
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
    spaces: Vec<KeptSpace>,
    /// The owners of locks, with the start times of their processes.
    owners: Vec<(u32, u64)>,
}

/// Runs the daemon until it ends.
///
/// # Errors
/// In words: another one runs, or a socket cannot be made.
pub async fn serve(mut config: Config) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let mut pid_file = Some(take_pid_file(&config.pid_file, config.state.is_some()).await?);
    let locks = Arc::new(Locks::default());
    let (owners, told) = mpsc::unbounded_channel();
    let (ended, endings) = mpsc::unbounded_channel();
    let mut watch = Watch::default();
    let paths = [config.socket.clone(), config.admin_socket.clone()];
    let paths = [paths[0].as_path(), paths[1].as_path()];
    let doors = match config.state.take() {
        Some(state) => {
            let state: State = serde_json::from_slice(&state)
                .map_err(|error| format!("the predecessor's state: {error}"))?;
            locks.resume(state.spaces);
            for (pid, start_time) in state.owners {
                watch.again(&locks, pid, start_time);
            }
            Doors::inherit(state.sockets, state.own)?
        }
        None => Doors::open(std::mem::take(&mut config.activated), paths)?,
    };
    let mut guests = Guests { locks: Arc::clone(&locks), watch, told, endings };
    let shards = Shards::start(Some(1)).map_err(|error| error.to_string())?;
    let service = Arc::new(LockService {
        locks: Arc::clone(&locks),
        control: Default::default(),
        users: Users::load(Path::new("/")),
        runtime: tokio::runtime::Handle::current(),
        leaving: AtomicBool::new(false),
        at_work: watch::Sender::new(0),
        owners,
        ended,
    });
    service.control.set_timeout(config.timeout);
    let mut leaving = false;
    loop {
        let servers =
            doors.serve(&shards, &service, &service.runtime, "virtlockd", config.max_clients)?;
        service.control.manage(servers.to_vec());
        (config.announce)(true);
        let next = wait(&mut signals, &service, &servers, &mut guests, &mut leaving).await;
        if next == Next::End {
            (config.announce)(false);
        }
        service.leaving.store(true, Ordering::SeqCst);
        // Nobody is cut off in the middle of what it came for; guests themselves are never at work.
        let mut at_work = service.at_work.subscribe();
        let _ = tokio::time::timeout(DRAIN, at_work.wait_for(|clients| *clients == 0)).await;
        service.control.manage(Vec::new());
        tokio::join!(servers[0].shutdown(), servers[1].shutdown());
        if next == Next::End {
            break;
        }
        drop(pid_file.take());
        guests.catch_up();
        let failed = hand_over(&config, &locks, &doors, &guests.watch);
        tracing::error!(error = failed, "no successor; going on");
        pid_file = Some(take_pid_file(&config.pid_file, true).await?);
        service.leaving.store(false, Ordering::SeqCst);
    }
    doors.remove(paths);
    if let Some(pid_file) = pid_file.take() {
        let _ = pid_file.release();
    }
    Ok(())
}

/// Becomes the successor; returns only when that failed, with why.
fn hand_over(config: &Config, locks: &Locks, doors: &Doors, watch: &Watch) -> String {
    let state = State {
        sockets: doors.numbers(),
        own: doors.own,
        spaces: locks.keep(),
        owners: watch.owners(),
    };
    let state = match serde_json::to_vec(&state) {
        Ok(state) => state,
        Err(error) => return error.to_string(),
    };
    locks.with_files(|files| {
        let keep: Vec<_> = doors.fds().chain(files.iter().copied()).collect();
        match reexec::become_successor(&config.arguments, &state, &keep) {
            Err(error) => error.to_string(),
        }
    })
}

/// Serves until something else is to be done. Asked to end, it does so when no lock is held.
async fn wait(
    signals: &mut Signals,
    service: &LockService,
    servers: &[ServerHandle; 2],
    guests: &mut Guests,
    leaving: &mut bool,
) -> Next {
    let mut held = service.locks.count();
    let mut timeout = service.control.timeout();
    loop {
        let count = *held.borrow_and_update();
        if *leaving && count == 0 {
            return Next::End;
        }
        let patience = *timeout.borrow_and_update();
        tokio::select! {
            _ = signals.terminate.recv() => *leaving = true,
            _ = signals.interrupt.recv() => *leaving = true,
            () = service.control.shutdown_requested() => *leaving = true,
            _ = signals.successor.recv() => return Next::Successor,
            // There is nothing that it could read again.
            _ = signals.hangup.recv() => {}
            _ = held.changed() => continue,
            _ = timeout.changed() => continue,
            () = guests.next() => continue,
            () = idle(count, &servers[0], patience) => return Next::End,
        }
        if *leaving && count > 0 {
            tracing::info!(locks = count, "asked to end: when no guest holds a lock any more");
        }
    }
}

/// What is heard of the processes that locks are held for.
struct Guests {
    locks: Arc<Locks>,
    watch: Watch,
    told: mpsc::UnboundedReceiver<u32>,
    endings: mpsc::UnboundedReceiver<u32>,
}

impl Guests {
    /// Deals with one piece of news.
    async fn next(&mut self) {
        tokio::select! {
            Some(owner) = self.told.recv() => self.watch.begin(&self.locks, owner),
            Some(pid) = self.endings.recv() => disconnected(&self.locks, pid),
            else => std::future::pending().await,
        }
    }

    /// Deals with all news there are.
    fn catch_up(&mut self) {
        while let Ok(owner) = self.told.try_recv() {
            self.watch.begin(&self.locks, owner);
        }
        while let Ok(pid) = self.endings.try_recv() {
            disconnected(&self.locks, pid);
        }
    }
}

/// A process ended its connection. If locks are held for it, that is the end of a guest; one that
/// lives on must not, as its disks are nobody's any more.
fn disconnected(locks: &Arc<Locks>, pid: u32) {
    let owned = locks.owners().contains(&pid);
    if !owned {
        return;
    }
    let process = Process::open(pid);
    let locks = Arc::clone(locks);
    tokio::spawn(async move {
        if let Ok(process) = process
            && !matches!(process.try_exited(), Ok(Some(_)))
        {
            tracing::warn!(pid, "gave up its connection while it holds locks: it is ended");
            let _ = process.terminate();
            if tokio::time::timeout(FENCE, process.exited()).await.is_err() {
                let _ = process.kill();
                let _ = process.exited().await;
            }
        }
        let released = tokio::task::spawn_blocking(move || locks.release_all(pid)).await;
        tracing::debug!(pid, released = released.unwrap_or_default(), "a guest ended");
    });
}

/// Watches over the processes that locks are held for: the lock of one that is gone is of no use,
/// whatever became of its connection.
#[derive(Debug, Default)]
struct Watch {
    watched: HashMap<u32, (u64, JoinHandle<()>)>,
}

impl Watch {
    fn begin(&mut self, locks: &Arc<Locks>, pid: u32) {
        self.watched.retain(|_, (_, task)| !task.is_finished());
        if self.watched.contains_key(&pid) {
            return;
        }
        // A process that cannot be seen (another pid namespace) has only its connection.
        if let Ok(process) = Process::open(pid) {
            self.follow(locks, process);
        }
    }

    /// The same for a process that a predecessor watched.
    fn again(&mut self, locks: &Arc<Locks>, pid: u32, start_time: u64) {
        match Process::reopen(pid, start_time) {
            Ok(Some(process)) => self.follow(locks, process),
            Ok(None) => {
                locks.release_all(pid);
            }
            Err(error) => tracing::error!(pid, %error, "cannot be watched"),
        }
    }

    fn follow(&mut self, locks: &Arc<Locks>, process: Process) {
        let locks = Arc::clone(locks);
        let (pid, start_time) = (process.pid(), process.start_time());
        let task = tokio::spawn(async move {
            if process.exited().await.is_ok() {
                let _ = tokio::task::spawn_blocking(move || locks.release_all(pid)).await;
            }
        });
        self.watched.insert(pid, (start_time, task));
    }

    fn owners(&self) -> Vec<(u32, u64)> {
        let living = self.watched.iter().filter(|(_, (_, task))| !task.is_finished());
        living.map(|(pid, (start_time, _))| (*pid, *start_time)).collect()
    }
}
