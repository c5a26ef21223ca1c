//! What all connections of a server share: limits, counts, the list of clients.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::outbox::Mailbox;
use super::{Limits, ServerConfig};

#[derive(Default)]
struct Clients {
    all: BTreeMap<u64, Arc<Mailbox>>,
    anonymous: usize,
}

/// The shared part of a server.
pub(crate) struct Core {
    pub(crate) config: ServerConfig,
    limits: Mutex<Limits>,
    /// A copy of the limit that every poll of a connection looks at.
    max_requests: AtomicUsize,
    clients: Mutex<Clients>,
    next_id: AtomicU64,
    /// Wakes acceptors when there may be room again, or the end came.
    pub(crate) gate: Notify,
    pub(crate) stopping: AtomicBool,
    pub(crate) count: watch::Sender<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self {
            limits: Mutex::new(config.limits),
            max_requests: AtomicUsize::new(config.limits.max_client_requests.max(1)),
            config,
            clients: Mutex::default(),
            next_id: AtomicU64::new(1),
            gate: Notify::new(),
            stopping: AtomicBool::new(false),
            count: watch::Sender::new(0),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        *lock(&self.limits)
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        *lock(&self.limits) = limits;
        self.max_requests.store(limits.max_client_requests.max(1), Ordering::Relaxed);
        self.gate.notify_waiters();
        for mailbox in self.mailboxes() {
            mailbox.nudge();
        }
    }

    pub(crate) fn max_requests(&self) -> usize {
        self.max_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// May one more client come in?
    pub(crate) fn has_room(&self) -> bool {
        let limits = self.limits();
        let clients = lock(&self.clients);
        clients.all.len() < limits.max_clients && clients.anonymous < limits.max_anonymous_clients
    }

    pub(crate) fn enter(&self, mailbox: &Arc<Mailbox>) {
        let mut clients = lock(&self.clients);
        clients.all.insert(mailbox.peer.id, Arc::clone(mailbox));
        clients.anonymous += 1;
        self.count.send_replace(clients.all.len());
    }

    /// The client no longer counts as anonymous.
    pub(crate) fn authenticated(&self, mailbox: &Mailbox) {
        let mut clients = lock(&self.clients);
        // A client that left was uncounted then.
        if clients.all.contains_key(&mailbox.peer.id) && mailbox.mark_authenticated() {
            clients.anonymous = clients.anonymous.saturating_sub(1);
        }
        drop(clients);
        self.gate.notify_waiters();
    }

    pub(crate) fn leave(&self, mailbox: &Mailbox) {
        let mut clients = lock(&self.clients);
        if clients.all.remove(&mailbox.peer.id).is_some() {
            if !mailbox.is_authenticated() {
                clients.anonymous = clients.anonymous.saturating_sub(1);
            }
            self.count.send_replace(clients.all.len());
        }
        drop(clients);
        self.gate.notify_waiters();
    }

    pub(crate) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        lock(&self.clients).all.values().cloned().collect()
    }

    pub(crate) fn mailbox(&self, id: u64) -> Option<Arc<Mailbox>> {
        lock(&self.clients).all.get(&id).cloned()
    }
}
