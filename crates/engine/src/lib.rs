//! Actors, stores, jobs and events: owns all state and executes plans.
//!
//! One [`Engine`] is one daemon's world. Readers get published snapshots and never wait; whoever
//! changes something holds the object's job; a running VM's live state is changed by its actor
//! alone. The order of every change: file, snapshot, event, reply.
//!
//! Invariant: no terminal, no wire format.

mod caps;
pub mod conf;
mod defaults;
pub mod domain;
mod engine;
pub mod events;
mod guest_kinds;
mod hooks;
mod host_cpu;
mod host_view;
mod huge_pages;
pub mod ksm;
mod layout;
mod ports;
mod random;
pub mod secrets;
pub mod settings;
pub mod storage;
mod turn;
pub mod typed;

pub use caps::emulator_named;
pub use engine::{Engine, EngineConfig, OpenError};
pub use guest_kinds::DomainCapsQuery;
pub use hooks::DaemonHook;
pub use host_cpu::{BaselineOptions, CompareOptions};
pub use host_view::NodeInfo;
pub use layout::{Layout, RootTooLong, SOCKET_PATH_MAX};
pub use turn::Turn;

use diag::VirError;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Runs `work` on a thread that may block, as one of few at a time: where storage hangs, those who ask
/// again wait without a thread, or there would be none for anybody else at last.
pub(crate) async fn blocking_in_turn<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, VirError> + Send + 'static,
) -> Result<T, VirError> {
    let turn = Arc::clone(turns).acquire_owned().await;
    blocking(move || {
        // Until the thread is free again, whoever has given up on it.
        let _turn = turn;
        work()
    })
    .await
}

/// Runs `work` on a thread that may block. A panic in it is an error of that one call.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VirError> + Send + 'static,
) -> Result<T, VirError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a call ended unexpectedly");
            Err(VirError::internal("the call ended unexpectedly; the log says more"))
        }
    }
}
