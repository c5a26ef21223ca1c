//! What is kept for each connection.

use crate::events::Callbacks;
use engine::domain::Domain;
use rpc::server::{Outbox, Peer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One client's connection.
pub struct Session {
    /// Who it is.
    pub peer: Arc<Peer>,
    /// The way to it.
    pub out: Outbox,
    /// How the client is called in errors about jobs: process and user.
    pub label: Arc<str>,
    opened: AtomicBool,
    read_only: AtomicBool,
    callbacks: Mutex<Callbacks>,
    tied: Mutex<Tied>,
}

/// Guests that end with the connection.
#[derive(Default)]
struct Tied {
    /// The connection is over: nothing can be tied to it any more.
    over: bool,
    /// The domain and the id of the run that was tied.
    guests: Vec<(Arc<Domain>, i32)>,
}

impl Session {
    /// The session of a client that just came.
    pub fn new(peer: &Arc<Peer>, out: Outbox) -> Self {
        let label = match peer.pid {
            Some(pid) => format!("client {} (pid {pid}, uid {})", peer.id, peer.uid),
            None => format!("client {} (uid {})", peer.id, peer.uid),
        };
        Self {
            peer: Arc::clone(peer),
            out,
            label: Arc::from(label),
            opened: AtomicBool::new(false),
            read_only: AtomicBool::new(peer.read_only),
            callbacks: Mutex::default(),
            tied: Mutex::default(),
        }
    }

    /// The hypervisor connection is open.
    pub fn is_open(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    /// Opens the hypervisor connection; false if it was open.
    pub fn open(&self, read_only: bool) -> bool {
        if self.opened.swap(true, Ordering::Relaxed) {
            return false;
        }
        if read_only {
            self.read_only.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Closes the hypervisor connection and ends its subscriptions.
    pub fn close(&self) {
        self.opened.store(false, Ordering::Relaxed);
        self.callbacks().clear();
    }

    /// Has this run of a domain end with the connection; false if that is over already.
    pub fn tie(&self, domain: &Arc<Domain>) -> bool {
        let mut tied = self.tied.lock().unwrap_or_else(PoisonError::into_inner);
        if !tied.over {
            tied.guests.push((Arc::clone(domain), domain.snapshot().id));
        }
        !tied.over
    }

    /// The guests that have to end now; called when the connection is over.
    pub fn untie(&self) -> Vec<Arc<Domain>> {
        let mut tied = self.tied.lock().unwrap_or_else(PoisonError::into_inner);
        tied.over = true;
        let guests = std::mem::take(&mut tied.guests);
        guests
            .into_iter()
            .filter(|(domain, id)| domain.snapshot().id == *id)
            .map(|(domain, _)| domain)
            .collect()
    }

    /// The client may only read.
    pub fn read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// The client's subscriptions.
    pub fn callbacks(&self) -> MutexGuard<'_, Callbacks> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
