//! A device changes.

use super::FORCE;
use super::converse::Failure;
use super::host_end;
use super::note::UpdateNote;
use crate::domain::affect::{Affect, not_running, running};
use crate::domain::record::Domain;
use crate::domain::start::launch::parse_command;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::{ErrorCode, Severity, VirError};
use model::domain::Domain as Definition;
use model::domain::defaults;
use model::domain::hotplug::update::{self, Change, Updated};
use model::domain::hotplug::{Device, find};
use std::sync::Arc;
use std::time::SystemTime;

/// What updating a device does, worked out before anything is done.
pub(super) struct Prepared {
    pub live: Option<Updated>,
    config: Option<Definition>,
}

impl Engine {
    /// Changes a device of a domain to what a document says.
    ///
    /// # Errors
    /// There is no such device, or it cannot be changed that way.
    pub async fn update_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        xml: String,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let sides = flags & !FORCE;
        let (job, affect) = self.job_for(domain, sides, "update-device", client).await?;
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.detached(async move {
            let _job = job;
            let prepared = {
                let (engine, domain) = (Arc::clone(&engine), Arc::clone(&domain));
                crate::blocking(move || engine.prepare_update(&domain, &xml, affect)).await?
            };
            if let Some(updated) = prepared.live {
                engine.update_running(&domain, updated, flags & FORCE != 0).await?;
            }
            if let Some(definition) = prepared.config {
                engine.store_definition(&domain, definition).await?;
            }
            Ok(())
        })
        .await
    }

    pub(super) fn prepare_update(
        &self,
        domain: &Domain,
        xml: &str,
        affect: Affect,
    ) -> Result<Prepared, VirError> {
        let snapshot = domain.snapshot();
        let mut device = self.read_device(xml, affect.live)?;
        device.guess_bus();
        let mut prepared = Prepared { live: None, config: None };
        if let (true, Some(config)) = (affect.config, &snapshot.config) {
            let stored = self.definition_of(config)?;
            self.refuse_faulty_update(&stored, &device)?;
            let place = update::stored(&stored, &device)?;
            let mut whole = stored.clone();
            let replacement = update::replacement(&stored, place, device.clone());
            place.put(whole.devices_mut(), replacement);
            let faults = self
                .in_context(&stored, |context| defaults::apply(&mut whole, context))?
                .into_iter()
                .filter(|fault| fault.severity == Severity::Error)
                .collect::<Vec<_>>();
            if !faults.is_empty() {
                return Err(super::inputs::refused(faults));
            }
            self.refuse_new_faults(&stored, &whole)?;
            prepared.config = Some(whole);
        }
        if let (true, Some(live)) = (affect.live, &snapshot.live) {
            running(domain)?;
            let definition = &live.definition;
            self.refuse_faulty_update(definition, &device)?;
            let updated = update::running(definition, &device)?;
            let mut whole = definition.clone();
            updated.place.put(whole.devices_mut(), updated.device.clone());
            self.refuse_new_faults(definition, &whole)?;
            prepared.live = Some(updated);
        }
        Ok(prepared)
    }

    /// What is wrong with a device by itself comes before whether it can change.
    fn refuse_faulty_update(
        &self,
        definition: &Definition,
        device: &Device,
    ) -> Result<(), VirError> {
        let Ok(place) = find::running(definition, device) else {
            return self.refuse_faulty(definition, device);
        };
        let mut whole = definition.clone();
        let replacement = update::replacement(definition, place, device.clone());
        place.put(whole.devices_mut(), replacement);
        self.refuse_new_faults(definition, &whole)
    }

    pub(in crate::domain) async fn update_running(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        updated: Updated,
        force: bool,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        if vm.pending().await.update.is_some() {
            return Err(VirError::new(
                ErrorCode::OPERATION_FAILED,
                "the change of a device before this one is not settled: QEMU has not answered",
            ));
        }
        match self.update_now(domain, &vm, updated, force).await {
            // Told again when QEMU answers: what it has and what is told are to be the same.
            Err(Failure { error, unanswered: true, .. }) => {
                self.check_devices(domain, vm);
                Err(error)
            }
            done => done.map_err(|failure| failure.error),
        }
    }

    /// The same, or the rest of it, whatever is under way. Where QEMU gives no answer, it is under
    /// way still.
    pub(super) async fn update_now(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        updated: Updated,
        force: bool,
    ) -> Result<(), Failure> {
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let definition = live.definition.clone();
        let alias = updated.place.alias(&definition).unwrap_or_default();
        if updated.changes.contains(&Change::Medium) {
            return Ok(self.change_medium(domain, updated, force).await?);
        }
        let place = updated.place;
        let mut after = definition.clone();
        place.put(after.devices_mut(), updated.device.clone());
        // A daemon that takes over half way does the rest.
        if !updated.changes.is_empty() {
            let note = UpdateNote { place, after: after.clone(), medium: None };
            let definition = definition.clone();
            let update = Some(Some(Box::new(note)));
            let change = super::Change { definition, update, ..Default::default() };
            vm.begin_change(change).await?;
        }
        let done = self.tell_changes(vm, &definition, &updated.changes, &alias).await;
        if done.as_ref().is_err_and(|failure| failure.unanswered) {
            return done;
        }
        let (definition, publish) = if done.is_ok() { (after, true) } else { (definition, false) };
        let update = Some(None);
        vm.change(super::Change { definition, publish, update, ..Default::default() }).await;
        done
    }

    /// Tells host and emulator what changes of a device. What was done on the host is taken back
    /// where the emulator refuses the rest.
    async fn tell_changes(
        self: &Arc<Self>,
        vm: &Vm,
        definition: &Definition,
        changes: &[Change],
        alias: &str,
    ) -> Result<(), Failure> {
        for (done, change) in changes.iter().enumerate() {
            let Err(failure) = self.tell_change(vm, definition, change, alias).await else {
                continue;
            };
            if !failure.unanswered {
                let done: Vec<Change> = changes.iter().take(done).rev().cloned().collect();
                let name = definition.name.clone();
                crate::blocking(move || {
                    done.iter().for_each(|change| host_end::take_back(&name, change));
                    Ok(())
                })
                .await?;
            }
            return Err(failure);
        }
        Ok(())
    }

    async fn tell_change(
        &self,
        vm: &Vm,
        definition: &Definition,
        change: &Change,
        alias: &str,
    ) -> Result<(), Failure> {
        let (name, on_host) = (definition.name.clone(), change.clone());
        crate::blocking(move || host_end::apply(&name, &on_host)).await?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        for command in plan::qemu::update(change, alias, &self.settings.qemu, now) {
            let parsed = parse_command(&command)?;
            let name = parsed.name().to_owned();
            vm.monitor.execute(parsed).await.map_err(|error| Failure::of(&name, &error))?;
        }
        Ok(())
    }
}
