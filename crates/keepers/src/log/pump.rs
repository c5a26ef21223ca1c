//! From a guest's pipe into its log.
//!
//! The pipe is always read: a guest that had to wait for a full pipe would stand still. What comes
//! faster than a disk should be burdened with is dropped and counted.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, oneshot};

use super::file::LogFile;

/// What is read at once.
const CHUNK: usize = 64 << 10;

/// The most that is written between two looks at anything else.
const ROUND: usize = 4 << 20;

/// Bytes a second that one guest may have written for long, and how much at once.
const RATE: u64 = 32 << 20;
const BURST: u64 = 64 << 20;

/// A log, shared by its pump and those who add to it or ask.
pub(super) type SharedFile = Arc<Mutex<LogFile>>;

/// What one may ask of a pump.
#[derive(Debug)]
pub(super) enum Order {
    /// Write all that was sent so far; then answer.
    Flush(oneshot::Sender<()>),
    /// The same, then do nothing until the other end of the answer is dropped.
    Park(oneshot::Sender<oneshot::Sender<()>>),
}

/// Reads until nobody has the writing end any more.
pub(super) async fn run(pipe: Arc<Receiver>, file: SharedFile, mut orders: mpsc::Receiver<Order>) {
    let mut meter = Meter::new(Instant::now());
    loop {
        tokio::select! {
            order = orders.recv() => {
                let more = drain(&pipe, &file, &mut meter).await;
                match order {
                    Some(Order::Flush(done)) => { let _ = done.send(()); }
                    Some(Order::Park(parked)) => {
                        let (release, released) = oneshot::channel();
                        if parked.send(release).is_ok() {
                            let _ = released.await;
                        }
                    }
                    None => return,
                }
                if !more {
                    return;
                }
            }
            ready = pipe.readable() => {
                if ready.is_err() || !drain(&pipe, &file, &mut meter).await {
                    return;
                }
            }
        }
    }
}

/// Writes what is in the pipe; false at its end.
async fn drain(pipe: &Arc<Receiver>, file: &SharedFile, meter: &mut Meter) -> bool {
    loop {
        let (source, sink, mut taken) = (Arc::clone(pipe), Arc::clone(file), *meter);
        let round = tokio::task::spawn_blocking(move || {
            let more = pour(source.as_fd(), &sink, &mut taken);
            (more, taken)
        });
        match round.await {
            Ok((more, taken)) => {
                *meter = taken;
                match more {
                    // So that the runtime, too, knows that the pipe is empty, or not any more.
                    More::Later => {
                        let mut first = [0; 1];
                        match pipe.try_read(&mut first) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                            Ok(1) => {
                                let file = Arc::clone(file);
                                let _ = tokio::task::spawn_blocking(move || {
                                    file.lock()
                                        .unwrap_or_else(PoisonError::into_inner)
                                        .write(&first);
                                })
                                .await;
                            }
                            _ => return false,
                        }
                    }
                    More::Now => {}
                    More::Never => return false,
                }
            }
            Err(_) => return false,
        }
    }
}

enum More {
    /// There may be more at once.
    Now,
    /// The pipe is empty.
    Later,
    /// Nobody writes any more.
    Never,
}

fn pour(pipe: std::os::fd::BorrowedFd<'_>, file: &SharedFile, meter: &mut Meter) -> More {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    while total < ROUND {
        let count = match rustix::io::read(pipe, &mut buffer[..]) {
            Ok(0) => return More::Never,
            Ok(count) => count,
            Err(rustix::io::Errno::AGAIN) => return More::Later,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => {
                tracing::warn!(error = %io::Error::from(error), "a guest's pipe cannot be read");
                return More::Never;
            }
        };
        total += count;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = buffer.get(..count).unwrap_or_default();
        if meter.admits(count as u64, Instant::now()) {
            file.write(bytes);
        } else {
            file.lose(count as u64, "the guest wrote more than 32 MiB a second");
        }
    }
    More::Now
}

/// A bucket of bytes that fills with time.
#[derive(Clone, Copy, Debug)]
struct Meter {
    left: u64,
    at: Instant,
}

impl Meter {
    fn new(at: Instant) -> Self {
        Self { left: BURST, at }
    }

    fn admits(&mut self, bytes: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(passed.saturating_mul(RATE) / 1_000_000).min(BURST);
        self.at = now;
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_let_through_at_its_rate_only() {
        let begin = Instant::now();
        let mut meter = Meter::new(begin);
        assert!(meter.admits(BURST, begin));
        assert!(!meter.admits(1, begin));
        assert!(meter.admits(RATE / 2, begin + Duration::from_millis(500)));
        assert!(!meter.admits(RATE, begin + Duration::from_millis(600)));
        assert!(meter.admits(BURST, begin + Duration::from_secs(3600)));
    }
}
