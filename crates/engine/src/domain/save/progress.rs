//! What a long job tells of itself while it runs and afterwards.

use diag::VirError;
use qmp::reply::Migration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// What a job does (`virDomainJobOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Saves the guest.
    Save,
    /// Dumps its memory.
    Dump,
}

impl Operation {
    /// libvirt's number.
    pub fn number(self) -> i32 {
        match self {
            Self::Save => 2,
            Self::Dump => 8,
        }
    }

    /// libvirt's word in errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Save => "domain save",
            Self::Dump => "domain core dump",
        }
    }
}

/// The numbers of a job: bytes and milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct JobNumbers {
    /// What it does.
    pub operation: Operation,
    /// How long it has run, or ran.
    pub elapsed_ms: u64,
    /// How long the guest stood still for it; once it is over.
    pub downtime_ms: Option<u64>,
    /// What QEMU says of the migration.
    pub migration: Migration,
    /// Bytes of memory to dump and dumped, for a dump that is no migration.
    pub dump: Option<(u64, u64)>,
}

/// A job that runs.
#[derive(Debug)]
pub struct ActiveJob {
    operation: Operation,
    since: Instant,
    stopped: Mutex<Option<Instant>>,
    migration: Mutex<(Migration, Option<(u64, u64)>)>,
    abort: watch::Sender<bool>,
    abortable: AtomicBool,
}

impl ActiveJob {
    /// The numbers now.
    pub fn numbers(&self) -> JobNumbers {
        let (migration, dump) = lock(&self.migration).clone();
        JobNumbers {
            operation: self.operation,
            elapsed_ms: millis(self.since),
            downtime_ms: None,
            migration,
            dump,
        }
    }

    /// Asks it to end early.
    ///
    /// # Errors
    /// libvirt's, for one that cannot.
    pub fn abort(&self) -> Result<(), VirError> {
        if !self.abortable.load(Ordering::Relaxed) {
            return Err(VirError::invalid_state("cannot abort memory-only dump"));
        }
        self.abort.send_replace(true);
        Ok(())
    }

    /// QEMU has no way to end what it does.
    pub(super) fn cannot_be_aborted(&self) {
        self.abortable.store(false, Ordering::Relaxed);
    }

    /// Becomes true when somebody wants it to end early.
    pub(super) fn aborted(&self) -> watch::Receiver<bool> {
        self.abort.subscribe()
    }

    pub(super) fn operation(&self) -> Operation {
        self.operation
    }

    /// The virtual CPUs were stopped for it.
    pub(super) fn guest_stopped(&self) {
        *lock(&self.stopped) = Some(Instant::now());
    }

    pub(super) fn update(&self, migration: Migration) {
        lock(&self.migration).0 = migration;
    }

    pub(super) fn update_dump(&self, total: u64, done: u64) {
        lock(&self.migration).1 = Some((total, done));
    }

    fn completed(&self) -> JobNumbers {
        let mut numbers = self.numbers();
        let stopped = *lock(&self.stopped);
        numbers.downtime_ms = stopped.map(millis).or(numbers.migration.downtime);
        numbers
    }
}

/// The long jobs of a domain: the one that runs and what the last one came to.
#[derive(Debug, Default)]
pub struct Jobs {
    active: Mutex<Option<Arc<ActiveJob>>>,
    completed: Mutex<Option<JobNumbers>>,
}

impl Jobs {
    /// The job that runs.
    pub fn active(&self) -> Option<Arc<ActiveJob>> {
        lock(&self.active).clone()
    }

    /// The last job that came to a good end; `keep`: it can be asked for again.
    pub fn completed(&self, keep: bool) -> Option<JobNumbers> {
        let mut completed = lock(&self.completed);
        if keep { completed.clone() } else { completed.take() }
    }

    /// A job begins.
    pub(super) fn begin(&self, operation: Operation) -> Arc<ActiveJob> {
        let job = Arc::new(ActiveJob {
            operation,
            since: Instant::now(),
            stopped: Mutex::new(None),
            migration: Mutex::default(),
            abort: watch::channel(false).0,
            abortable: AtomicBool::new(true),
        });
        *lock(&self.active) = Some(Arc::clone(&job));
        job
    }

    /// The job is over; `good`: it came to its end, and its numbers are kept and returned.
    pub(super) fn end(&self, good: bool) -> Option<JobNumbers> {
        let job = lock(&self.active).take()?;
        if !good {
            return None;
        }
        let numbers = job.completed();
        *lock(&self.completed) = Some(numbers.clone());
        Some(numbers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_job_with_a_good_end_is_remembered_until_asked_for() {
        let jobs = Jobs::default();
        jobs.begin(Operation::Save);
        assert!(jobs.active().is_some());
        assert_eq!(jobs.end(false), None);
        assert_eq!(jobs.completed(true), None);
        jobs.begin(Operation::Dump).guest_stopped();
        let numbers = jobs.end(true).expect("kept");
        assert!(numbers.downtime_ms.is_some() && jobs.active().is_none());
        assert_eq!(jobs.completed(true), Some(numbers));
        assert!(jobs.completed(false).is_some() && jobs.completed(false).is_none());
    }
}
