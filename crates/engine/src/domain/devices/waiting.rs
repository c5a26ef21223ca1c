//! Who waits for a guest to let a device go, or to open a drive.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// What a guest answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Answer {
    /// It is done.
    Done,
    /// It will not.
    Refused,
}

/// Those who wait, by the name of the device.
#[derive(Debug, Default)]
pub(in crate::domain) struct Waiting(Mutex<HashMap<String, oneshot::Sender<Answer>>>);

impl Waiting {
    /// Waits for the device from now on: before the guest is asked.
    pub fn register(&self, alias: &str) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(alias.to_owned(), sender);
        receiver
    }

    /// Nobody waits any more.
    pub fn forget(&self, alias: &str) {
        self.lock().remove(alias);
    }

    /// The guest answered; false if nobody waits to hear it.
    pub fn answer(&self, alias: &str, answer: Answer) -> bool {
        let waiter = self.lock().remove(alias);
        waiter.is_some_and(|waiter| waiter.send(answer).is_ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
