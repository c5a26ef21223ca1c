//! A QEMU that did not answer while a device was to come may still take it. The client was told
//! that it failed; so when QEMU answers again, the device goes again, or is told to be there.

use super::Change;
use super::release::close_behind;
use crate::domain::affect::running;
use crate::domain::record::Domain;
use crate::domain::start::teardown::Made;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::hotplug::Place;
use plan::{PlugPlan, Undo};
use std::sync::Arc;

/// A device of which nobody knows yet whether it came.
#[derive(Debug)]
pub(super) struct Unsettled {
    /// The definition without it.
    pub before: Definition,
    /// The definition with it.
    pub definition: Definition,
    /// Where it is in that.
    pub place: Place,
    /// How it was to come.
    pub plan: PlugPlan,
    /// What is taken back on the host.
    pub undo: Vec<Undo>,
    /// What taking back needs to know.
    pub made: Made,
}

impl Engine {
    /// Waits for QEMU to answer and settles what became of the device; meanwhile `job` is held, so
    /// that nobody else changes the guest.
    pub(super) fn settle_later<J: Send + 'static>(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        unsettled: Unsettled,
        job: J,
    ) {
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.runtime().spawn(async move {
            let _job = job;
            if let Err(error) = engine.settle(&domain, unsettled).await {
                let name = &domain.snapshot().name;
                tracing::warn!(domain = %name, error = %error.message(), "a device stays");
            }
        });
    }

    async fn settle(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        unsettled: Unsettled,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        // QEMU does one thing after the other: its answer to this tells that all before is done.
        let there = loop {
            match vm.monitor.execute(qmp::cmd::qom_list("/machine/peripheral")).await {
                Ok(there) => break there,
                Err(error) if error.is_unanswered() => {}
                // It ended; whoever cleans up after it knows of the device.
                Err(_) => return Ok(()),
            }
        };
        let alias = unsettled.place.alias(&unsettled.definition).unwrap_or_default();
        if there.iter().any(|property| property.name == alias) {
            let definition = unsettled.definition;
            vm.change(Change { definition, publish: true, ..Change::default() }).await;
            vm.tell(DomainEvent::DeviceAdded { alias });
            let plan = self.plan_unplug(domain, unsettled.place).await?;
            return self.unplug_device(domain, unsettled.place, plan, true).await;
        }
        let undo = unsettled.plan.rollback(unsettled.plan.commands.len());
        let kept = close_behind(&vm, &undo).await;
        drop(undo);
        let (after, closed) = (unsettled.definition.clone(), kept.is_empty());
        self.did_not_come(domain, &vm, unsettled, kept).await;
        // What QEMU has open stays locked.
        if closed {
            vm.unlock_change(&after).await;
        }
        Ok(())
    }
}
