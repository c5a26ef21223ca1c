//! The host's own word that it stops, by systemd-logind: while guests run it is asked to wait, and when
//! it says that the host is about to stop, they end as `auto_shutdown_*` of `qemu.conf` wants.

use crate::engine::Engine;
use host::logind::{self, Delay};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

impl Engine {
    /// Follows logind on the message bus that listens at `bus`. Hosts without are none the worse.
    pub fn follow_host(self: &Arc<Self>, bus: PathBuf) {
        if !bus.exists() {
            tracing::debug!(bus = %bus.display(), "there is no message bus to hear of the host's end");
            return;
        }
        let delay: Arc<Mutex<Option<Delay>>> = Arc::default();
        let (begins, mut begun) = mpsc::unbounded_channel();
        let path = bus.clone();
        let watch = move || {
            let told = logind::watch_shutdown(&path, || begins.send(()).is_ok());
            if let Err(error) = told {
                tracing::warn!(%error, "the host's end will not be heard of: logind");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("logind".into()).spawn(watch) {
            tracing::warn!(%error, "the host's end will not be heard of");
        }
        let (engine, held) = (Arc::downgrade(self), Arc::clone(&delay));
        self.runtime().spawn(async move {
            while begun.recv().await.is_some() {
                let Some(engine) = engine.upgrade() else { return };
                tracing::info!("the host is about to stop");
                engine.host_stops().await;
                // Nothing is left to be waited for.
                held.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
        });
        let mut running = self.registry.running();
        self.runtime().spawn(async move {
            loop {
                let any = *running.borrow_and_update();
                let (bus, delay) = (bus.clone(), Arc::clone(&delay));
                let change = move || {
                    let new = any.then(|| {
                        let why = "QEMU/KVM virtual machines are running";
                        logind::delay_shutdown(&bus, "Libvirt QEMU", why)
                            .inspect_err(
                                |error| tracing::debug!(%error, "no delay of the host's end"),
                            )
                            .ok()
                    });
                    *delay.lock().unwrap_or_else(PoisonError::into_inner) = new.flatten();
                };
                let _ = tokio::task::spawn_blocking(change).await;
                if running.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}
