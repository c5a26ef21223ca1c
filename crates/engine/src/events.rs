//! The event bus: what happened, told to whoever subscribed, in the order it happened.

use lifecycle::LifecycleEvent;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use units::Uuid;

/// Name, UUID and id of a domain at the time of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRef {
    /// Name.
    pub name: Arc<str>,
    /// UUID.
    pub uuid: Uuid,
    /// Run-time id, −1 when inactive.
    pub id: i32,
}

/// Name and UUID of a storage pool at the time of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRef {
    /// Name.
    pub name: Arc<str>,
    /// UUID.
    pub uuid: Uuid,
}

/// What happened to a domain. Numbers are those of `virDomainEventID` callbacks.
#[derive(Clone, Debug, PartialEq)]
pub enum DomainEvent {
    /// Its life changed.
    Lifecycle(LifecycleEvent),
    /// The guest rebooted.
    Reboot,
    /// The guest moved its clock; seconds against the host.
    RtcChange {
        /// Offset in seconds.
        offset: i64,
    },
    /// The watchdog fired (`virDomainEventWatchdogAction`).
    Watchdog {
        /// What QEMU did about it.
        action: i32,
    },
    /// A disk failed (`virDomainEventIOErrorAction`).
    IoError {
        /// Source path.
        source: String,
        /// Device alias.
        alias: String,
        /// What QEMU did about it.
        action: i32,
        /// `enospc` or empty.
        reason: String,
    },
    /// A display client came or went.
    Graphics(Box<GraphicsEvent>),
    /// A removable medium's tray moved (`virDomainEventTrayChangeReason`).
    TrayChange {
        /// Device alias.
        alias: String,
        /// 0 opened, 1 closed.
        reason: i32,
    },
    /// Woken up.
    PmWakeup,
    /// Suspended to memory.
    PmSuspend,
    /// Suspended to disk.
    PmSuspendDisk,
    /// The balloon has a new size.
    BalloonChange {
        /// Actual size in KiB.
        actual_kib: u64,
    },
    /// A device came.
    DeviceAdded {
        /// Its alias.
        alias: String,
    },
    /// A device is gone.
    DeviceRemoved {
        /// Its alias.
        alias: String,
    },
    /// A device could not be removed.
    DeviceRemovalFailed {
        /// Its alias.
        alias: String,
    },
    /// The guest agent came or went.
    AgentLifecycle {
        /// 1 connected, 2 disconnected.
        state: i32,
        /// 0 unknown, 1 domain started, 2 channel event.
        reason: i32,
    },
    /// Title, description or metadata changed (`virDomainMetadataType`).
    MetadataChange {
        /// 0 description, 1 title, 2 element.
        kind: i32,
        /// Namespace of an element.
        uri: Option<String>,
    },
    /// Limits of a running guest were changed.
    Tunable {
        /// Which, and to what.
        params: crate::typed::Params,
    },
    /// A job of a disk's images came to another state.
    BlockJob {
        /// The disk's target.
        device: String,
        /// Where the disk's image is.
        path: String,
        /// `virDomainBlockJobType`.
        kind: i32,
        /// `virConnectDomainEventBlockJobStatus`.
        status: i32,
    },
    /// More of an image was written than a client wanted to be told of.
    BlockThreshold {
        /// The disk's target, or `TARGET[INDEX]` of an image in its chain.
        device: String,
        /// The image, where it has a path.
        path: Option<String>,
        /// What was set, in bytes.
        threshold: u64,
        /// How far beyond.
        excess: u64,
    },
    /// QEMU begins to go over the guest's memory once more, to save or to move it.
    MigrationIteration {
        /// How often, this time included.
        iteration: i32,
    },
    /// A disk's image was missing at the start (`virConnectDomainEventDiskChangeReason`).
    DiskChange {
        /// Device alias.
        alias: String,
        /// The image that is missing.
        old: Option<String>,
        /// 0: the drive is empty; 1: the guest goes without the disk.
        reason: i32,
    },
    /// The monitor of a guest's QEMU failed.
    ControlError,
    /// The guest has another amount of a memory device.
    MemoryDeviceSizeChange {
        /// Device alias.
        alias: String,
        /// How much of it now, in KiB.
        kib: u64,
    },
    /// The guest gave an interface another hardware address.
    NicMacChange {
        /// Device alias.
        alias: String,
        /// What it was.
        old: units::MacAddr,
        /// What it is.
        new: units::MacAddr,
    },
    /// A save or dump came to its end.
    JobCompleted(Box<crate::domain::save::JobNumbers>),
    /// Memory of the guest failed.
    MemoryFailure {
        /// 0 hypervisor, 1 guest.
        recipient: i32,
        /// 0 ignore, 1 inject, 2 fatal, 3 reset.
        action: i32,
        /// 1: action required; 2: recursive.
        flags: u32,
    },
}

/// A display client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphicsEvent {
    /// 0 connect, 1 initialize, 2 disconnect.
    pub phase: i32,
    /// Family (0 IPv4, 1 IPv6, 2 unix), node, service of our side.
    pub local: (i32, String, String),
    /// The same of the client's side.
    pub remote: (i32, String, String),
    /// Authentication scheme.
    pub auth_scheme: String,
    /// Identities the client proved.
    pub subject: Vec<(String, String)>,
}

/// What happened to a storage pool (`virStoragePoolEventID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// 0 defined, 1 undefined, 2 started, 3 stopped, 4 created, 5 deleted.
    Lifecycle(i32),
    /// Its volumes were read again.
    Refresh,
}

/// UUID and use of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// UUID.
    pub uuid: Uuid,
    /// Number of `virSecretUsageType`.
    pub usage_type: i32,
    /// What it is found by: a path, a name.
    pub usage: Arc<str>,
}

/// What happened to a secret (`virSecretEventID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEvent {
    /// 0 defined, 1 undefined.
    Lifecycle(i32),
    /// It has another value.
    ValueChanged,
}

/// One event.
#[derive(Clone, Debug)]
pub enum Event {
    /// Of a secret.
    Secret(SecretRef, SecretEvent),
    /// Of a domain.
    Domain(DomainRef, DomainEvent),
    /// Of a storage pool.
    Pool(PoolRef, PoolEvent),
    /// A raw event of a domain's monitor, for the qemu program's subscribers.
    Monitor {
        /// The domain.
        domain: DomainRef,
        /// Name of the event.
        name: String,
        /// Seconds of its time stamp.
        seconds: i64,
        /// Microseconds of its time stamp.
        micros: u32,
        /// Its data as JSON.
        details: Option<String>,
    },
}

/// Gets every event; must not block.
pub type Subscriber = Arc<dyn Fn(&Event) + Send + Sync>;

/// Tells events to subscribers.
///
/// No lock is held while they are told: a subscriber may take locks of its own, under which others
/// begin or end subscriptions.
#[derive(Default)]
pub struct EventBus {
    next: AtomicU64,
    subscribers: RwLock<Arc<BTreeMap<u64, Subscriber>>>,
}

impl std::fmt::Debug for EventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let subscribers = self.subscribers.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("EventBus").field("subscribers", &subscribers.len()).finish()
    }
}

/// Keeps a subscription alive; dropping it ends it.
pub struct Subscription {
    bus: Arc<EventBus>,
    id: u64,
}

impl EventBus {
    /// Has `subscriber` called for every event from now on.
    pub fn subscribe(self: &Arc<Self>, subscriber: Subscriber) -> Subscription {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.change(|subscribers| subscribers.insert(id, subscriber));
        Subscription { bus: Arc::clone(self), id }
    }

    /// Tells `event` to all subscribers, on this thread. One whose subscription ends meanwhile may
    /// still be told.
    pub fn publish(&self, event: &Event) {
        let subscribers =
            Arc::clone(&self.subscribers.read().unwrap_or_else(PoisonError::into_inner));
        for subscriber in subscribers.values() {
            subscriber(event);
        }
    }

    /// Changes who is told; what the change takes out goes after the lock.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, Subscriber>) -> Option<Subscriber>) {
        let mut current = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        // Who is being told keeps the older list alive.
        let out = change(Arc::make_mut(&mut current));
        drop(current);
        drop(out);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.change(|subscribers| subscribers.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_subscription_may_end_while_its_subscriber_is_told() {
        let bus = Arc::new(EventBus::default());
        let told = Arc::new(AtomicU32::new(0));
        let held: Arc<Mutex<Option<Subscription>>> = Arc::default();
        let (count, own) = (Arc::clone(&told), Arc::clone(&held));
        let subscription = bus.subscribe(Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            // A lock under which others end subscriptions, and an end of one.
            own.lock().expect("not poisoned").take();
        }));
        *held.lock().expect("not poisoned") = Some(subscription);
        let secret = SecretRef { uuid: units::Uuid([0; 16]), usage_type: 0, usage: Arc::from("") };
        for _ in 0..2 {
            bus.publish(&Event::Secret(secret.clone(), SecretEvent::ValueChanged));
        }
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_ends_a_subscription_under_a_lock_waits_for_nobody_who_is_told() {
        let bus = Arc::new(EventBus::default());
        let lock = Arc::new(Mutex::new(()));
        let secret = SecretRef { uuid: units::Uuid([0; 16]), usage_type: 0, usage: Arc::from("") };
        for _ in 0..200 {
            let own = Arc::clone(&lock);
            let subscription = bus.subscribe(Arc::new(move |_| {
                drop(own.lock().expect("not poisoned"));
            }));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    bus.publish(&Event::Secret(secret.clone(), SecretEvent::ValueChanged));
                });
                let held = lock.lock().expect("not poisoned");
                drop(subscription);
                drop(held);
            });
        }
    }
}
