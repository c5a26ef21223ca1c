//! The threads that connections live on.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

struct Shard {
    handle: Handle,
    load: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
}

/// A few threads, each with an event loop of its own. Several servers may share them. Dropping the last reference
/// ends them within half a second, with everything that runs on them.
pub struct Shards {
    shards: Vec<Shard>,
    /// Behind a lock only because a receiver cannot be shared; read once, at the end.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// More threads than this gain nothing: the work of a call is microseconds, most of them the kernel's.
const MOST: usize = 4;

/// Bytes of stack of these threads and of those that do their blocking work: what the handlers read is nested, and
/// memory that is not used costs nothing.
const STACK_SIZE: usize = 16 << 20;

impl Shards {
    /// Starts `count` threads; none: one for every two processors, at most four. (Clients need processors, too: with
    /// 32 busy connections on two processors one thread answers 260,000 calls a second, two answer 160,000, because
    /// each then sleeps and wakes between calls.)
    pub fn start(count: Option<usize>) -> io::Result<Arc<Self>> {
        let count = count
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() / 2))
            .clamp(1, MOST);
        let (done, ended) = mpsc::channel();
        let mut shards = Vec::with_capacity(count);
        for index in 0..count {
            let runtime =
                Builder::new_current_thread().thread_stack_size(STACK_SIZE).enable_all().build()?;
            let handle = runtime.handle().clone();
            let (stop, stopped) = oneshot::channel();
            let done = done.clone();
            let thread = std::thread::Builder::new().name(format!("rpc-{index}"));
            thread.stack_size(STACK_SIZE).spawn(move || {
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
                let _ = done.send(());
            })?;
            shards.push(Shard { handle, load: Arc::default(), stop: Some(stop) });
        }
        Ok(Arc::new(Self { shards, ended: Mutex::new(ended) }))
    }

    /// The thread for connection-independent work (acceptors).
    pub(crate) fn first(&self) -> &Handle {
        &self.shards[0].handle
    }

    /// The thread with the fewest connections, and its count with one more.
    pub(crate) fn least_loaded(&self) -> (&Handle, Load) {
        let shard = self
            .shards
            .iter()
            .min_by_key(|shard| shard.load.load(Ordering::Relaxed))
            .unwrap_or(&self.shards[0]);
        shard.load.fetch_add(1, Ordering::Relaxed);
        (&shard.handle, Load(Arc::clone(&shard.load)))
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            if let Some(stop) = shard.stop.take() {
                let _ = stop.send(());
            }
        }
        // A thread that is stuck in a handler must not hold up the end of the daemon.
        let deadline = Instant::now() + Duration::from_millis(500);
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.shards.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left).is_err() {
                tracing::warn!("a connection thread did not end in time");
                break;
            }
        }
    }
}

/// One connection in a thread's count, until dropped.
pub(crate) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
