//! What an actor writes down for the next daemon: the status file, and beside it what only we keep.

use super::Actor;
use crate::domain::adopt::status::{Sidecar, StatusFile};
use diag::VirError;
use std::time::Duration;

/// How long it takes until a status that could not be written is written again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

impl Actor {
    /// Writes what only we keep.
    pub(super) async fn write_sidecar(&self) -> Result<(), VirError> {
        let sidecar = self.sidecar();
        self.put(move |status| status.write_sidecar(&sidecar)).await
    }

    /// What only we keep, as it is now.
    pub(super) fn sidecar(&self) -> Sidecar {
        Sidecar {
            pid: self.vm.process.pid(),
            start_time: self.vm.process.start_time(),
            undo: self.undo.clone(),
            made: self.made.clone(),
            pending: self.pending.clone(),
        }
    }

    pub(super) async fn write_status(&mut self) {
        self.write(None).await;
    }

    /// Writes the status file, what only we keep first, if that changed; later, if not now.
    pub(super) async fn write(&mut self, sidecar: Option<Sidecar>) {
        if let Err(error) = self.try_write(sidecar).await {
            self.unwritten(&error);
        }
    }

    /// The guest goes on; what is lost for now is only what a restarted daemon would know.
    pub(super) fn unwritten(&mut self, error: &VirError) {
        let name = &self.domain.snapshot().name;
        tracing::error!(domain = %name, error = %error.detail, "status not written; trying again");
        self.write_later();
    }

    pub(super) fn write_later(&mut self) {
        self.write_at = Some(tokio::time::Instant::now() + WRITE_AGAIN);
    }

    pub(super) async fn try_write(&self, sidecar: Option<Sidecar>) -> Result<(), VirError> {
        self.put(move |status| {
            if let Some(sidecar) = sidecar {
                status.write_sidecar(&sidecar)?;
            }
            status.write()
        })
        .await
    }

    /// Writes on a thread that may wait; in memory there is nothing to wait for, and it is quicker
    /// done than handed to another thread.
    async fn put(
        &self,
        write: impl FnOnce(&StatusFile) -> Result<(), VirError> + Send + 'static,
    ) -> Result<(), VirError> {
        if self.status_file.in_memory() {
            return write(&self.status_file);
        }
        let status = self.status_file.clone();
        let written = tokio::task::spawn_blocking(move || write(&status)).await;
        written.unwrap_or_else(|error| Err(VirError::failed(format!("{error}"))))
    }
}
