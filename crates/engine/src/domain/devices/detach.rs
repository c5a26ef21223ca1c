//! A device is asked to leave.

use super::blockjobs::refuse_working;
use super::converse::refusal;
use super::waiting::Answer;
use crate::domain::affect::{self, Affect, running};
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::{Diagnostic, ErrorCode, ErrorDomain, Severity, VirError};
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::defaults;
use model::domain::hotplug::{self, Place, find, support};
use plan::UnplugPlan;
use std::sync::Arc;
use std::time::Duration;

/// How long a guest has to let a device go before the call ends without it; it may still go later.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same for POWER guests, whose firmware takes its time.
const PATIENCE_POWER: Duration = Duration::from_secs(10);

/// What detaching a device does, worked out before anything is done.
pub(super) struct Prepared {
    pub live: Option<(Place, UnplugPlan)>,
    config: Option<Definition>,
}

/// How a client names a device.
pub(super) enum Wanted {
    /// By a document like its own.
    Document(String),
    /// By its name.
    Alias(String),
}

impl Engine {
    /// Takes a device away from a domain. A guest that does not let go in time keeps it for now;
    /// an event tells when it is gone.
    ///
    /// # Errors
    /// There is no such device, it cannot leave, or the guest refuses.
    pub async fn detach_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        xml: String,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.detach(domain, Wanted::Document(xml), flags, "detach-device", client).await
    }

    /// Asks for a device to leave by its name, without waiting for the guest.
    ///
    /// # Errors
    /// As [`Engine::detach_device`].
    pub async fn detach_device_alias(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        alias: String,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.detach(domain, Wanted::Alias(alias), flags, "detach-device-alias", client).await
    }

    async fn detach(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        wanted: Wanted,
        flags: u32,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let (job, affect) = self.job_for(domain, flags, verb, client).await?;
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.detached(async move {
            let _job = job;
            let waits = matches!(wanted, Wanted::Document(_));
            let prepared = {
                let (engine, domain) = (Arc::clone(&engine), Arc::clone(&domain));
                crate::blocking(move || engine.prepare_detach(&domain, &wanted, affect)).await?
            };
            if let Some((place, plan)) = prepared.live {
                engine.unplug_device(&domain, place, plan, waits).await?;
            }
            if let Some(definition) = prepared.config {
                engine.store_definition(&domain, definition).await?;
            }
            Ok(())
        })
        .await
    }

    pub(super) fn prepare_detach(
        &self,
        domain: &Domain,
        wanted: &Wanted,
        affect: Affect,
    ) -> Result<Prepared, VirError> {
        let snapshot = domain.snapshot();
        let mut prepared = Prepared { live: None, config: None };
        let device = match wanted {
            Wanted::Document(xml) => Some(self.read_device(xml, affect.live)?),
            Wanted::Alias(_) => None,
        };
        let place_in = |definition: &Definition, live: bool| match (wanted, &device) {
            (Wanted::Alias(alias), _) => Place::of_alias(definition, alias).ok_or_else(|| {
                VirError::internal(format!("no device found with alias {alias}"))
                    .from_domain(ErrorDomain::DOMAIN)
            }),
            (_, Some(device)) if live => find::running(definition, device),
            (_, Some(device)) => find::stored(definition, device),
            (_, None) => Err(VirError::internal("no device was named")),
        };
        if let (true, Some(config)) = (affect.config, &snapshot.config) {
            let mut stored = self.definition_of(config)?;
            if let Some(device) = &device {
                support::stored(support::Verb::Detach, device.kind())?;
            }
            let place = place_in(&stored, false)?;
            support::stored(support::Verb::Detach, place.kind)?;
            hotplug::take_out(&mut stored, place);
            // What every such guest has comes back.
            let written = stored.clone();
            let faults =
                self.in_context(&written, |context| defaults::apply(&mut stored, context))?;
            let faulty = |fault: &Diagnostic| fault.severity == Severity::Error;
            if faults.iter().any(faulty) {
                stored = written;
            }
            prepared.config = Some(stored);
        }
        if let (true, Some(live)) = (affect.live, &snapshot.live) {
            running(domain)?;
            let definition = &live.definition;
            if let Some(device) = &device {
                // What no guest can lose is not looked for.
                refuse_kind(definition, device)?;
            }
            let place = place_in(definition, true)?;
            let there = definition.devices.as_ref().and_then(|devices| place.get(devices));
            let there = there.ok_or_else(affect::not_running)?;
            support::can_unplug(definition, &there)?;
            if let hotplug::Device::Disk(disk) = &there {
                refuse_working(&running(domain)?.block_jobs(), disk)?;
            }
            prepared.live = Some((place, self.plan_unplug_now(definition, place)?));
        }
        Ok(prepared)
    }

    /// Plans how a device leaves.
    pub(super) fn plan_unplug_now(
        &self,
        definition: &Definition,
        place: Place,
    ) -> Result<UnplugPlan, VirError> {
        self.with_inputs(definition, |inputs| plan::qemu::unplug(definition, place, inputs))
    }

    /// The same of a running guest's device, on a thread that may block.
    pub(super) async fn plan_unplug(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        place: Place,
    ) -> Result<UnplugPlan, VirError> {
        let live = domain.snapshot().live.clone().ok_or_else(affect::not_running)?;
        let engine = Arc::clone(self);
        crate::blocking(move || engine.plan_unplug_now(&live.definition, place)).await
    }

    /// Has a device leave a running guest; `waits`: until the guest let go or its time is up.
    pub(super) async fn unplug_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        place: Place,
        plan: UnplugPlan,
        waits: bool,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone().ok_or_else(affect::not_running)?;
        let Some(alias) = plan.device.clone() else {
            return self.remove_device(domain, place, plan).await;
        };
        let answer = waits.then(|| vm.waiting.register(&alias));
        match vm.monitor.execute(qmp::cmd::device_del(&alias)).await {
            Ok(_) => {}
            // It went by itself, and nobody heard.
            Err(MonitorError::Qmp(error)) if error.class == "DeviceNotFound" => {
                vm.waiting.forget(&alias);
                return self.remove_device(domain, place, plan).await;
            }
            Err(error) => {
                vm.waiting.forget(&alias);
                return Err(refusal("device_del", &error));
            }
        }
        let Some(answer) = answer else { return Ok(()) };
        let arch = live.definition.os.as_ref().and_then(|os| os.kind.arch.as_deref());
        let power = arch.is_some_and(|arch| arch.starts_with("ppc64"));
        let patience = if power { PATIENCE_POWER } else { PATIENCE };
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Answer::Done)) => self.remove_device(domain, place, plan).await,
            Ok(Ok(Answer::Refused)) => Err(VirError::new(
                ErrorCode::OPERATION_FAILED,
                "unplug of device was rejected by the guest",
            )),
            Ok(Err(_)) => Err(affect::not_running()),
            Err(_) => {
                // The guest may still let go; whoever hears it then finishes the work.
                vm.waiting.forget(&alias);
                Ok(())
            }
        }
    }
}

/// Refuses a document of a kind that never leaves, or of a bus that does not let go.
fn refuse_kind(definition: &Definition, wanted: &hotplug::Device) -> Result<(), VirError> {
    use hotplug::Device;
    match wanted {
        // These are told apart by the device that is there.
        Device::Disk(_) => support::running(support::Verb::Detach, wanted.kind()),
        Device::Controller(_) | Device::Hostdev(_) => support::can_unplug(definition, wanted),
        _ => support::running(support::Verb::Detach, wanted.kind()),
    }
}
