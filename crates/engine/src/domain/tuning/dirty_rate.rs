//! How fast a guest writes its memory (`virsh domdirtyrate-calc`).

use super::super::affect::{acquire, exclusive};
use super::super::power::execute;
use super::super::record::Domain;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use lifecycle::Request;
use model::domain::Domain as Definition;
use qmp::{Ack, Command};
use std::sync::Arc;

/// `VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP` and `…_DIRTY_RING`; neither samples pages.
const BITMAP: u32 = 1;
const RING: u32 = 2;

impl Engine {
    /// All modes of measuring there are.
    pub const DIRTY_RATE_MODES: u32 = BITMAP | RING;

    /// Starts to measure, for `seconds`.
    ///
    /// # Errors
    /// A time out of range, a mode that the guest is not prepared for, QEMU's refusal.
    pub async fn start_dirty_rate(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        seconds: i32,
        mode: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        exclusive(
            mode,
            (BITMAP, "VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP"),
            (RING, "VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING"),
        )?;
        if !(1..=60).contains(&seconds) {
            return Err(VirError::config(format!(
                "seconds={seconds} is invalid, please choose value within [1, 60]."
            )));
        }
        let job = acquire(domain, Request::ModifyLive, "domdirtyrate-calc", client).await?;
        let vm = super::running(domain)?;
        let snapshot = domain.snapshot();
        let ring = snapshot.live.as_ref().is_some_and(|live| has_ring(&live.definition));
        let name = match mode {
            RING if !ring => {
                return Err(VirError::new(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "dirty-ring calculation mode requires dirty-ring feature enabled.",
                ));
            }
            RING => "dirty-ring",
            BITMAP if ring => {
                return Err(VirError::new(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "dirty-bitmap calculation mode requires dirty-ring feature disabled.",
                ));
            }
            BITMAP => "dirty-bitmap",
            _ => "page-sampling",
        };
        self.detached(async move {
            let _job = job;
            let command =
                Command::<Ack>::new("calc-dirty-rate").arg("calc-time", seconds).arg("mode", name);
            execute(&vm, command).await.map(|_| ())
        })
        .await
    }
}

fn has_ring(definition: &Definition) -> bool {
    let kvm = definition.features.as_ref().and_then(|features| features.kvm.as_ref());
    let ring = kvm.and_then(|kvm| kvm.dirty_ring.as_ref());
    ring.is_some_and(|ring| bool::from(ring.state))
}
