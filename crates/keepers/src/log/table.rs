//! The logs that guests write to now.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::file::{Limits, LogFile};
use super::pump::{self, Order, SharedFile};

/// How long an answer waits for what a guest wrote to reach its file.
const PATIENCE: Duration = Duration::from_secs(2);

/// A log as a successor has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    driver: String,
    uuid: [u8; 16],
    name: String,
    path: PathBuf,
    pipe: i32,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    kept: Kept,
    file: SharedFile,
    orders: mpsc::Sender<Order>,
    pipe: Arc<Receiver>,
}

/// Who writes to a log.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The driver that asked for it.
    pub driver: String,
    /// The guest's UUID.
    pub uuid: [u8; 16],
    /// The guest's name.
    pub name: String,
}

/// All logs that are open.
#[derive(Debug)]
pub struct Logs {
    /// Whose links are not followed.
    pub guest: u32,
    limits: Mutex<Limits>,
    open: Mutex<HashMap<PathBuf, Entry>>,
    next: AtomicU64,
    count: watch::Sender<usize>,
    runtime: Handle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    /// None yet. `guest`: the user that QEMU runs as.
    pub fn new(guest: u32, limits: Limits, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            guest,
            limits: Mutex::new(limits),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            count: watch::Sender::new(0),
            runtime,
        })
    }

    /// What logs may take.
    pub fn limits(&self) -> Limits {
        *lock(&self.limits)
    }

    /// Changes what logs opened from now on may take.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.limits) = limits;
    }

    /// How many logs are open; changes can be waited for.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Opens a log: the end to write to, and where it begins. `None`: another writes to it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(
        self: &Arc<Self>,
        owner: Owner,
        path: PathBuf,
        truncate: bool,
    ) -> io::Result<Option<(OwnedFd, (u64, u64))>> {
        if lock(&self.open).contains_key(&path) {
            // Its guest may just have ended: then this flush meets the end of its pipe.
            self.flush(&path).await;
            if lock(&self.open).contains_key(&path) {
                return Ok(None);
            }
        }
        let (guest, limits, target) = (self.guest, self.limits(), path.clone());
        let opening =
            tokio::task::spawn_blocking(move || LogFile::open(&target, guest, limits, truncate));
        let file = opening.await.map_err(io::Error::other)??;
        let position = file.position();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let kept =
            Kept { driver: owner.driver, uuid: owner.uuid, name: owner.name, path, pipe: -1 };
        Ok(self.serve(kept, read, file)?.then_some((write, position)))
    }

    /// Takes over a log from a predecessor.
    ///
    /// # Errors
    /// Its file cannot be opened; then its guest's output goes nowhere, but its pipe stays open.
    pub fn resume(self: &Arc<Self>, kept: Kept) -> io::Result<()> {
        let pipe = crate::reexec::inherited(kept.pipe)?;
        let file = LogFile::open(&kept.path, self.guest, self.limits(), false)
            .or_else(|_| LogFile::open(Path::new("/dev/null"), 0, self.limits(), false))?;
        self.serve(kept, pipe, file).map(|_| ())
    }

    /// Starts reading; false if somebody was faster.
    fn serve(self: &Arc<Self>, kept: Kept, pipe: OwnedFd, file: LogFile) -> io::Result<bool> {
        let _runtime = self.runtime.enter();
        let pipe = Arc::new(Receiver::from_owned_fd(pipe)?);
        let file = Arc::new(Mutex::new(file));
        let (orders, inbox) = mpsc::channel(16);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = kept.path.clone();
        {
            let mut open = lock(&self.open);
            if open.contains_key(&path) {
                return Ok(false);
            }
            let (file, pipe) = (Arc::clone(&file), Arc::clone(&pipe));
            tracing::debug!(guest = kept.name, path = %path.display(), "log opened");
            open.insert(path.clone(), Entry { number, kept, file, orders, pipe });
            self.count.send_replace(open.len());
        }
        let logs = Arc::downgrade(self);
        self.runtime.spawn(async move {
            pump::run(pipe, file, inbox).await;
            if let Some(logs) = logs.upgrade() {
                logs.close(&path, number);
            }
        });
        Ok(true)
    }

    fn close(&self, path: &Path, number: u64) {
        let mut open = lock(&self.open);
        if open.get(path).is_some_and(|entry| entry.number == number) {
            open.remove(path);
            tracing::debug!(path = %path.display(), "log closed");
        }
        self.count.send_replace(open.len());
    }

    /// Waits until what was written to the pipe of `path` so far is in the file.
    pub async fn flush(&self, path: &Path) {
        let Some((orders, number)) =
            lock(&self.open).get(path).map(|entry| (entry.orders.clone(), entry.number))
        else {
            return;
        };
        let flushed = async {
            let (done, flushed) = oneshot::channel();
            if orders.send(Order::Flush(done)).await.is_err() || flushed.await.is_err() {
                return;
            }
            // Where that was the end of the pipe, the pump is about to be gone.
            let ended =
                { lock(&self.open).get(path).is_some_and(|e| e.number == number && e.at_end()) };
            if ended {
                orders.closed().await;
                let mut count = self.count();
                let gone = |_: &usize| {
                    lock(&self.open).get(path).is_none_or(|entry| entry.number != number)
                };
                let _ = count.wait_for(gone).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, flushed).await;
    }

    /// Where the open log at `path` ends.
    pub fn position(&self, path: &Path) -> Option<(u64, u64)> {
        let file = Arc::clone(&lock(&self.open).get(path)?.file);
        let position = lock(&file).position();
        Some(position)
    }

    /// Adds text to a log, open or not.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn append(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let open = lock(&self.open).get(path).map(|entry| Arc::clone(&entry.file));
        match open {
            Some(file) => lock(&file).write(text),
            None => LogFile::open(path, self.guest, self.limits(), false)?.write(text),
        }
        Ok(())
    }

    /// Has all pumps stand still with nothing half done, and tells what a successor needs. They go
    /// on when the second value is dropped.
    pub async fn park(&self) -> (Vec<Kept>, Vec<oneshot::Sender<()>>) {
        let all: Vec<_> = lock(&self.open).values().map(|entry| entry.orders.clone()).collect();
        let mut releases = Vec::new();
        for orders in all {
            let (parked, stands) = oneshot::channel();
            if orders.send(Order::Park(parked)).await.is_ok()
                && let Ok(release) = stands.await
            {
                releases.push(release);
            }
        }
        let kept = |entry: &Entry| Kept { pipe: entry.pipe.as_raw_fd(), ..entry.kept.clone() };
        let kept = lock(&self.open).values().map(kept).collect();
        (kept, releases)
    }

    /// The pipes, to be left open for a successor.
    pub fn pipes(&self) -> Vec<Arc<Receiver>> {
        lock(&self.open).values().map(|entry| Arc::clone(&entry.pipe)).collect()
    }

    /// The runtime of the pumps.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Entry {
    /// True when nobody has the writing end any more and nothing is left in the pipe.
    fn at_end(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(&*self.pipe, PollFlags::IN)];
        let polled = poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }));
        let events = fds[0].revents();
        polled.is_ok() && events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN)
    }
}
