//! One pool: what is published of it, and the gate to changing it.

use model::storage::{Pool as Definition, Volume};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Semaphore;
use units::Uuid;

/// A pool's volumes by name.
pub type Volumes = BTreeMap<Arc<str>, Arc<Volume>>;

/// What is known of a pool at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is: the live definition while it is active.
    pub definition: Arc<Definition>,
    /// What it will be when it is started next, where that differs.
    pub next: Option<Arc<Definition>>,
    /// It has a definition on disk.
    pub persistent: bool,
    /// It is started.
    pub active: bool,
    /// It is started with the daemon.
    pub autostart: bool,
    /// Its volumes; none before they were read for the first time.
    pub volumes: Option<Arc<Volumes>>,
    /// It is gone; whoever still holds it must not act on it.
    pub removed: bool,
}

impl Snapshot {
    /// The definition that is kept on disk.
    pub fn persistent_definition(&self) -> &Arc<Definition> {
        self.next.as_ref().unwrap_or(&self.definition)
    }
}

/// A pool. Name and UUID never change.
#[derive(Debug)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// Its UUID.
    pub uuid: Uuid,
    /// Passed by whoever changes it.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
    /// Passed by those who look at its files, a few at a time.
    pub(super) looks: Arc<Semaphore>,
    published: RwLock<Arc<Snapshot>>,
}

/// How many may look at a pool's files at a time.
const LOOKS: usize = 4;

impl Pool {
    pub(super) fn new(uuid: Uuid, snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::from(snapshot.definition.name.as_str()),
            uuid,
            gate: Arc::default(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            published: RwLock::new(Arc::new(snapshot)),
        })
    }

    /// What is known now. Never waits for a job.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes a change.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&published);
        change(&mut next);
        *published = Arc::new(next);
    }

    /// Publishes one volume that was found, made or changed.
    pub(super) fn publish_volume(&self, volume: &Arc<Volume>) {
        self.publish(|snapshot| {
            let mut volumes = snapshot.volumes.as_deref().cloned().unwrap_or_default();
            volumes.insert(Arc::from(volume.name.as_str()), Arc::clone(volume));
            snapshot.volumes = Some(Arc::new(volumes));
        });
    }

    /// Publishes that a volume is gone.
    pub(super) fn forget_volume(&self, name: &str) {
        self.publish(|snapshot| {
            if let Some(volumes) = &mut snapshot.volumes {
                Arc::make_mut(volumes).remove(name);
            }
        });
    }
}
