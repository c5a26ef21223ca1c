//! Frozen file systems and the connections that froze them.
//!
//! A guest whose file systems are frozen stands still as soon as it writes. Whoever freezes them
//! and means it says goodbye before going (`virsh domfsfreeze` does): that freeze stays until
//! somebody thaws. A client that vanishes without a goodbye, crashed or cut off in the middle of a
//! backup, cannot thaw any more: its freezes are thawed for it.

use crate::domain::record::Domain;
use crate::engine::Engine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Freezes whose clients are still connected.
#[derive(Debug, Default)]
pub struct Freezes {
    held: Mutex<Vec<Freeze>>,
}

#[derive(Debug)]
struct Freeze {
    client: Arc<str>,
    domain: Arc<Domain>,
    /// The run of the guest that was frozen.
    run: i32,
}

impl Freezes {
    fn lock(&self) -> MutexGuard<'_, Vec<Freeze>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is about to freeze a guest: the freeze is its own, whoever froze before (which is
    /// told). Noted ahead, as it may be gone when the guest has done so.
    pub(in crate::domain) fn freezes(
        &self,
        client: &Arc<str>,
        domain: &Arc<Domain>,
    ) -> Option<Arc<str>> {
        let before = self.thawed(domain);
        self.note(client, domain);
        before
    }

    fn note(&self, client: &Arc<str>, domain: &Arc<Domain>) {
        let run = domain.snapshot().id;
        let mut held = self.lock();
        held.retain(|freeze| freeze.domain.snapshot().id == freeze.run);
        held.push(Freeze { client: Arc::clone(client), domain: Arc::clone(domain), run });
    }

    /// The guest refused to: all is as it was before.
    pub(in crate::domain) fn refused(&self, domain: &Arc<Domain>, before: Option<Arc<str>>) {
        self.thawed(domain);
        if let Some(before) = before {
            self.note(&before, domain);
        }
    }

    /// Somebody thawed a guest; tells who had frozen it.
    pub(in crate::domain) fn thawed(&self, domain: &Arc<Domain>) -> Option<Arc<str>> {
        let mut held = self.lock();
        let place = held.iter().position(|freeze| Arc::ptr_eq(&freeze.domain, domain))?;
        Some(held.swap_remove(place).client)
    }

    /// The guests that a client froze and that run on since; they are no longer its own.
    fn take(&self, client: &Arc<str>) -> Vec<Arc<Domain>> {
        let mut held = self.lock();
        let (left, kept) = held.drain(..).partition(|freeze| freeze.client == *client);
        *held = kept;
        let left: Vec<Freeze> = left;
        left.into_iter()
            .filter(|freeze| freeze.domain.snapshot().id == freeze.run)
            .map(|freeze| freeze.domain)
            .collect()
    }
}

impl Engine {
    /// A client says goodbye: what it froze stays frozen.
    pub fn client_closes(&self, client: &Arc<str>) {
        self.freezes.take(client);
    }

    /// A client is gone: what it froze and did not speak of again is thawed, and the descriptors that
    /// it handed in are closed.
    pub fn client_is_gone(self: &Arc<Self>, client: &Arc<str>) {
        self.handed_in.forget(client);
        for domain in self.freezes.take(client) {
            let (engine, client) = (Arc::clone(self), Arc::clone(client));
            self.runtime().spawn(async move {
                let name = &domain.snapshot().name;
                match engine.guest_thaw(&domain, &client).await {
                    Ok(_) => tracing::warn!(
                        domain = %name, %client, "thawed: the client that froze it vanished"
                    ),
                    Err(error) => tracing::error!(
                        domain = %name, %client, error = %error.message(),
                        "stays frozen: the client that froze it vanished"
                    ),
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::Uuid;

    #[test]
    fn a_freeze_belongs_to_the_last_who_froze() {
        let guest = |number: u8| Domain::inactive(Uuid([number; 16]), "x", None);
        let (one, other) = (guest(1), guest(2));
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let freezes = Freezes::default();
        freezes.freezes(&a, &one);
        freezes.freezes(&a, &other);
        let before = freezes.freezes(&b, &other);
        freezes.refused(&other, before);
        assert_eq!(freezes.take(&b).len(), 0, "refused");
        freezes.freezes(&b, &other);
        assert_eq!(freezes.take(&a).len(), 1);
        assert_eq!(freezes.take(&a).len(), 0, "once");
        freezes.thawed(&other);
        assert_eq!(freezes.take(&b).len(), 0, "thawed by somebody");
        freezes.freezes(&b, &one);
        one.publish(|snapshot| snapshot.id = 7);
        assert_eq!(freezes.take(&b).len(), 0, "another run of the guest");
    }
}
