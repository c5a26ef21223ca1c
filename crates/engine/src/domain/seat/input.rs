//! Keys and interrupts pressed from outside.

use crate::domain::affect::{acquire, running};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::seat::keycodes::translate;
use crate::engine::Engine;
use diag::VirError;
use lifecycle::Request;
use qmp::cmd;
use std::sync::Arc;

/// The greatest number that a key of QEMU's may have.
const LAST_KEY: u32 = 0xffff;

impl Engine {
    /// Presses keys together, by the codes of one of libvirt's sets, for `hold_ms` milliseconds
    /// (0: QEMU's own 100).
    ///
    /// # Errors
    /// An unknown set, a code that the set does not have, a domain that does not run.
    pub async fn send_key(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        codeset: u32,
        codes: &[u32],
        hold_ms: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let mut keys = Vec::with_capacity(codes.len());
        for code in codes {
            keys.push(translate(codeset, *code)?);
        }
        let job = acquire(domain, Request::ModifyLive, "send-key", client).await?;
        let vm = running(domain)?;
        if let Some(at) = keys.iter().position(|key| *key > LAST_KEY) {
            return Err(VirError::failed(format!("keycode {at} is invalid: 0x{:X}", keys[at])));
        }
        self.detached(async move {
            let _job = job;
            let hold = (hold_ms > 0).then_some(hold_ms);
            let sent = vm.monitor.execute(cmd::send_key_numbers(&keys, hold)).await;
            sent.map(|_| ()).map_err(|error| monitor_error(&error))
        })
        .await
    }

    /// Interrupts the guest in a way that it cannot mask.
    ///
    /// # Errors
    /// When it does not run, or its machine has no such interrupt.
    pub async fn inject_nmi(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = acquire(domain, Request::ModifyLive, "inject-nmi", client).await?;
        let vm = running(domain)?;
        self.detached(async move {
            let _job = job;
            let done = vm.monitor.execute(cmd::inject_nmi()).await;
            done.map(|_| ()).map_err(|error| monitor_error(&error))
        })
        .await
    }
}
