//! Locks on the disks of running guests, held by the lock daemon (`lock_manager = "lockd"`).
//!
//! A guest's locks are taken before its virtual CPUs run and given back when they stop, so that a
//! guest that is saved or moved can run elsewhere. The daemon knows the guest's process by the
//! connection that it made (see [`host::lock_daemon`]) and lets go of everything when it is gone, so
//! nothing is given back when a guest ends.

mod wanted;

use super::record::{Domain, Live};
use super::vm::Vm;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::lock_daemon::{Guest, Lock, LockDaemon, PeerError};
use model::domain::Domain as Definition;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// The lock daemon's.
const PID_FILE: &str = "virtlockd.pid";

/// The lock manager that we have.
const LOCKD: &str = "lockd";

/// What is known of the locks of a guest.
#[derive(Debug)]
enum Held {
    /// These are held.
    These(Vec<Lock>),
    /// The guest ran when it was taken over: those of its definition.
    AsDefined,
    /// The guest was paused when it was taken over: some may be held.
    Unknown,
}

/// The locks of one running guest; empty where no lock manager is wanted.
#[derive(Debug, Default)]
pub(super) struct DiskLocks(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    engine: Weak<Engine>,
    domain: Weak<Domain>,
    guest: Guest,
    pid: u32,
    held: tokio::sync::Mutex<Held>,
    /// Counts the times that the virtual CPUs were to run: a release for an earlier stop is void.
    runs: AtomicU64,
}

impl DiskLocks {
    /// Those of a guest that was just started (`found`: none) or taken over (`found`: whether it ran).
    pub fn new(
        engine: &Arc<Engine>,
        domain: &Arc<Domain>,
        id: i32,
        pid: u32,
        found: Option<bool>,
    ) -> Self {
        if engine.settings.lock_manager.as_deref() != Some(LOCKD) {
            return Self(None);
        }
        let held = match found {
            None => Held::These(Vec::new()),
            Some(true) => Held::AsDefined,
            Some(false) => Held::Unknown,
        };
        let guest = Guest { uuid: domain.uuid.0, name: domain.snapshot().name.to_string(), id };
        Self(Some(Arc::new(Inner {
            engine: Arc::downgrade(engine),
            domain: Arc::downgrade(domain),
            guest,
            pid,
            held: tokio::sync::Mutex::new(held),
            runs: AtomicU64::new(0),
        })))
    }
}

impl Vm {
    /// Takes the locks that the guest needs to run. To be called before its virtual CPUs run.
    ///
    /// # Errors
    /// Somebody else has one, or the lock daemon cannot be reached; then none is held.
    pub(super) async fn lock_disks(&self) -> Result<(), VirError> {
        let Some(inner) = self.disk_locks.0.clone() else { return Ok(()) };
        inner.runs.fetch_add(1, Ordering::SeqCst);
        inner.in_turn(|inner, held| inner.take_all(held)).await
    }

    /// Gives the locks back. To be called when the virtual CPUs have stopped; returns at once.
    pub(super) fn unlock_disks(&self) {
        let Some(inner) = self.disk_locks.0.clone() else { return };
        let Some(engine) = inner.engine.upgrade() else { return };
        let runs = inner.runs.load(Ordering::SeqCst);
        engine.runtime().spawn(async move {
            let released = inner.in_turn(move |inner, held| {
                match inner.runs.load(Ordering::SeqCst) == runs {
                    true => inner.give_all(held),
                    // It is to run again.
                    false => Ok(()),
                }
            });
            if let Err(error) = released.await {
                tracing::warn!(error = %error.message(), "locks of a paused guest stay");
            }
        });
    }

    /// Takes the locks that a changed definition needs beyond the guest's.
    ///
    /// # Errors
    /// As [`Vm::lock_disks`].
    pub(super) async fn lock_change(&self, after: &Definition) -> Result<(), VirError> {
        let Some(inner) = self.disk_locks.0.clone() else { return Ok(()) };
        let after = after.clone();
        inner.in_turn(move |inner, held| inner.take_new(held, &after)).await
    }

    /// Gives the locks back that the guest's definition does not need and `other`, that of before a
    /// change or of one that failed, does.
    pub(super) async fn unlock_change(&self, other: &Definition) {
        let Some(inner) = self.disk_locks.0.clone() else { return };
        let other = other.clone();
        if let Err(error) = inner.in_turn(move |inner, held| inner.give_old(held, &other)).await {
            tracing::warn!(error = %error.message(), "a lock of a disk that left stays");
        }
    }
}

impl Inner {
    /// One change of the locks after the other, on a thread that may block.
    async fn in_turn(
        self: Arc<Self>,
        change: impl FnOnce(&Self, &mut Held) -> Result<(), VirError> + Send + 'static,
    ) -> Result<(), VirError> {
        crate::blocking(move || {
            let mut held = self.held.blocking_lock();
            change(&self, &mut held)
        })
        .await
    }

    fn live(&self) -> Result<(Arc<Engine>, Arc<Live>), VirError> {
        let live = self.domain.upgrade().and_then(|domain| domain.snapshot().live.clone());
        self.engine.upgrade().zip(live).ok_or_else(super::affect::not_running)
    }

    fn connect(&self, engine: &Engine) -> Result<LockDaemon, VirError> {
        // One must be there to be waited for.
        engine.lock_daemon()?;
        let socket = engine.layout.lock_daemon_socket();
        LockDaemon::registered(&socket, &self.guest, self.pid).map_err(|error| refusal(&error))
    }

    fn take_all(&self, held: &mut Held) -> Result<(), VirError> {
        let (engine, live) = self.live()?;
        let wanted = engine.wanted_locks(&live.definition)?;
        if matches!(held, Held::Unknown) {
            // What a daemon before us took for it would be in its own way.
            let mut daemon = self.connect(&engine)?;
            for lock in &wanted {
                let _ = daemon.release(lock);
            }
            *held = Held::These(Vec::new());
        }
        self.take(&engine, held, &wanted, &live.definition)
    }

    fn take_new(&self, held: &mut Held, after: &Definition) -> Result<(), VirError> {
        let (engine, live) = self.live()?;
        let before = engine.wanted_locks(&live.definition)?;
        let new = engine.wanted_locks(after)?.into_iter().filter(|lock| !before.contains(lock));
        let new: Vec<Lock> = new.collect();
        if matches!(held, Held::AsDefined) {
            *held = Held::These(before);
        }
        self.take(&engine, held, &new, &live.definition)
    }

    /// Takes those of `wanted` that are not held; all or none.
    fn take(
        &self,
        engine: &Engine,
        held: &mut Held,
        wanted: &[Lock],
        definition: &Definition,
    ) -> Result<(), VirError> {
        let there = match held {
            Held::These(there) => std::mem::take(there),
            Held::AsDefined => return Ok(()),
            Held::Unknown => Vec::new(),
        };
        let new: Vec<&Lock> = wanted.iter().filter(|lock| !there.contains(lock)).collect();
        let taken = self.acquire(engine, &new, definition);
        let mut all = there;
        if taken.is_ok() {
            all.extend(new.into_iter().cloned());
        }
        if !matches!(held, Held::Unknown) || taken.is_ok() {
            *held = Held::These(all);
        }
        taken
    }

    fn acquire(
        &self,
        engine: &Engine,
        new: &[&Lock],
        definition: &Definition,
    ) -> Result<(), VirError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut daemon = self.connect(engine)?;
        for (at, lock) in new.iter().enumerate() {
            let space = match lock.space.is_empty() {
                true => Ok(()),
                // Ours are made; that of a lease is its administrator's to make.
                false if lock.create || Path::new(&lock.space).is_dir() => {
                    daemon.create_space(&lock.space)
                }
                false => Ok(()),
            };
            if let Err(error) = space.and_then(|()| daemon.acquire(lock)) {
                for taken in new.iter().take(at) {
                    let _ = daemon.release(taken);
                }
                return Err(engine.explain_lock(refusal(&error), lock, definition, self.pid));
            }
        }
        Ok(())
    }

    fn give_all(&self, held: &mut Held) -> Result<(), VirError> {
        let (engine, live) = self.live()?;
        let locks = match held {
            Held::These(there) => std::mem::take(there),
            Held::AsDefined | Held::Unknown => engine.wanted_locks(&live.definition)?,
        };
        *held = Held::These(Vec::new());
        self.give(&engine, &locks)
    }

    fn give_old(&self, held: &mut Held, other: &Definition) -> Result<(), VirError> {
        let (engine, live) = self.live()?;
        let wanted = engine.wanted_locks(&live.definition)?;
        if matches!(held, Held::AsDefined) {
            let mut all = engine.wanted_locks(other)?;
            all.extend(
                wanted.iter().filter(|lock| !all.contains(lock)).cloned().collect::<Vec<_>>(),
            );
            *held = Held::These(all);
        }
        let Held::These(there) = held else { return Ok(()) };
        let old: Vec<Lock> = there.extract_if(.., |lock| !wanted.contains(lock)).collect();
        self.give(&engine, &old)
    }

    fn give(&self, engine: &Engine, locks: &[Lock]) -> Result<(), VirError> {
        if locks.is_empty() {
            return Ok(());
        }
        let mut daemon = self.connect(engine)?;
        for lock in locks {
            if let Err(error) = daemon.release(lock) {
                // A guest of a time without a lock manager has none.
                tracing::debug!(guest = self.guest.name, lock = lock.name, %error, "not released");
            }
        }
        Ok(())
    }
}

impl Engine {
    /// That the locks which a guest would need can be had at all: where the host's owner asked for
    /// a lock manager, a guest without it could run twice and destroy its disks. May block.
    ///
    /// # Errors
    /// There is no such lock manager, it cannot be reached, or not do what the definition asks.
    pub(super) fn disks_can_be_locked(&self, definition: &Definition) -> Result<(), VirError> {
        let Some(manager) = &self.settings.lock_manager else { return Ok(()) };
        if manager != LOCKD {
            let detail =
                format!("lock manager '{manager}' of qemu.conf is not there: no guest is started");
            return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, detail).hint(
                "\"lockd\" is; where nothing else starts these guests, take lock_manager out of \
                 qemu.conf",
            ));
        }
        self.wanted_locks(definition)?;
        self.lock_daemon()
    }

    /// Whose locks the process of a guest says they are, and to whom.
    pub(super) fn lock_owner(&self, definition: &Definition) -> Option<(PathBuf, Guest)> {
        (self.settings.lock_manager.as_deref() == Some(LOCKD)).then(|| {
            let guest = Guest {
                uuid: definition.uuid.map_or([0; 16], |uuid| uuid.0),
                name: definition.name.clone(),
                id: definition.id.unwrap_or(0),
            };
            (self.layout.lock_daemon_socket(), guest)
        })
    }

    /// Sees to it that a lock daemon runs.
    fn lock_daemon(&self) -> Result<(), VirError> {
        let socket = self.layout.lock_daemon_socket();
        super::keepers::reach(&socket, self.lock_helper(), |socket| {
            LockDaemon::connect(socket).map(drop)
        })
        .map_err(|error| unreachable(&error))
    }

    fn wanted_locks(&self, definition: &Definition) -> Result<Vec<Lock>, VirError> {
        let found = self.look_up(definition)?;
        let volume = |disk: &model::domain::devices::disk::Disk| {
            let source = disk.source.as_ref()?;
            let name = (source.pool.clone()?, source.volume.clone()?);
            found.volumes.get(&name).map(|volume| (volume.kind, volume.source.clone()))
        };
        let settings = &self.settings.locks;
        wanted::locks(definition, settings, volume, |path| wanted::identity(settings, path))
    }

    /// Adds who has the image, as far as this host knows.
    fn explain_lock(
        &self,
        error: VirError,
        lock: &Lock,
        definition: &Definition,
        pid: u32,
    ) -> VirError {
        if error.code != ErrorCode::RESOURCE_BUSY {
            return error;
        }
        let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
        let mut paths = disks.filter_map(super::view::source_path);
        let path = match lock.space.is_empty() {
            true => Some(lock.name.as_str()),
            false => paths.find(|path| units::sha256_hex(path.as_bytes()) == lock.name),
        };
        // The guest itself has it open already, and the lock daemon for whoever has the lock.
        let daemon = std::fs::read_to_string(self.layout.pid_file.with_file_name(PID_FILE));
        let daemon = daemon.ok().and_then(|pid| pid.trim().parse().ok()).unwrap_or(0);
        let others = path.map(|path| self.holders_but(path, &[pid, daemon])).unwrap_or_default();
        match (path, others.is_empty()) {
            (Some(path), false) => error.hint(format!("'{path}' is open in {}", others.join(", "))),
            _ => error.hint("no other guest of this host uses it: the lock may be of another host"),
        }
    }
}

fn unreachable(error: &std::io::Error) -> VirError {
    let words = crate::domain::stored::store::os_words(error);
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("can't connect to virtlockd: {words}"))
        .from_domain(ErrorDomain::LOCKING)
        .hint("'ironvirt lockd' starts a lock daemon")
}

fn refusal(error: &PeerError) -> VirError {
    match error {
        PeerError::Refused(error) => (**error).clone(),
        PeerError::Io(error) => unreachable(error),
    }
}
