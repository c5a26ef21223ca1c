//! A device comes.

use super::plug::{Coming, Refused};
use crate::domain::affect::{Affect, running};
use crate::domain::record::Domain;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use lifecycle::LifecycleEvent;
use model::domain::Domain as Definition;
use model::domain::devices::disk::Disk;
use model::domain::devices::interface::{InterfaceMac, MacType};
use model::domain::hotplug::update::{self, Updated};
use model::domain::hotplug::{self, Device, support};
use std::sync::Arc;

/// What attaching a device does, worked out before anything is done.
pub(super) struct Prepared {
    pub live: Option<Live>,
    config: Option<Definition>,
}

/// What a running guest gets.
pub(super) enum Live {
    /// A device.
    Device(Box<Coming>),
    /// A medium: the drive is there.
    Medium(Box<Updated>),
}

impl Engine {
    /// Brings a device to a domain: to the running guest, to the stored definition, or to both.
    ///
    /// # Errors
    /// Faults of the document, a device that cannot come or has no place, QEMU's refusal. Nothing
    /// is left of the attempt then.
    pub async fn attach_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        xml: String,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let (job, affect) = self.job_for(domain, flags, "attach-device", client).await?;
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.detached(async move {
            let prepared = {
                let (engine, domain) = (Arc::clone(&engine), Arc::clone(&domain));
                crate::blocking(move || engine.prepare_attach(&domain, &xml, affect)).await?
            };
            match prepared.live {
                None => {}
                Some(Live::Medium(updated)) => {
                    engine.update_running(&domain, *updated, false).await?;
                }
                Some(Live::Device(coming)) => {
                    let vm = running(&domain)?;
                    let after = coming.first.definition.clone();
                    vm.lock_change(&after).await?;
                    if let Err(Refused { error, unsettled }) =
                        engine.plug_coming(&domain, *coming).await
                    {
                        if unsettled.is_none() {
                            vm.unlock_change(&after).await;
                        }
                        if let Some(unsettled) = unsettled {
                            engine.settle_later(&domain, *unsettled, job);
                        }
                        return Err(error);
                    }
                }
            }
            if let Some(definition) = prepared.config {
                engine.store_definition(&domain, definition).await?;
            }
            drop(job);
            Ok(())
        })
        .await
    }

    pub(super) fn prepare_attach(
        &self,
        domain: &Domain,
        xml: &str,
        affect: Affect,
    ) -> Result<Prepared, VirError> {
        let snapshot = domain.snapshot();
        let mut device = self.read_device(xml, false)?;
        device.guess_bus();
        let mut prepared = Prepared { live: None, config: None };
        if let (true, Some(config)) = (affect.config, &snapshot.config) {
            let stored = self.definition_of(config)?;
            self.identify(&stored, &mut device)?;
            let whole = self.with_device(&stored, &device);
            prepared.config = Some(self.or_faulty(&stored, &device, whole)?);
        }
        if let (true, Some(live)) = (affect.live, &snapshot.live) {
            let definition = &live.definition;
            running(domain)?;
            let comes = self.prepare_coming(domain, definition, device.clone());
            prepared.live = Some(self.or_faulty(definition, &device, comes)?);
        }
        Ok(prepared)
    }

    /// A stored definition with a device more.
    fn with_device(&self, stored: &Definition, device: &Device) -> Result<Definition, VirError> {
        support::stored(support::Verb::Attach, device.kind())?;
        hotplug::refuse_duplicate(stored, device)?;
        support::fits_memory(stored, device)?;
        support::fits_slots(stored, device, false)?;
        let (whole, _) = self
            .in_context(stored, |context| hotplug::prepare(stored, device.clone(), context))?
            .map_err(super::inputs::refused)?;
        self.refuse_new_faults(stored, &whole)?;
        Ok(whole)
    }

    /// How a device, or a medium, comes to a running guest.
    fn prepare_coming(
        &self,
        domain: &Domain,
        definition: &Definition,
        mut device: Device,
    ) -> Result<Live, VirError> {
        if let Some(drive) = drive_of(definition, &device) {
            let updated = update::running(definition, &medium_for(drive, device))?;
            return Ok(Live::Medium(Box::new(updated)));
        }
        self.identify(definition, &mut device)?;
        // The kind before its place.
        support::can_plug(definition, &device)?;
        let attached = self
            .in_context(definition, |context| hotplug::attach(definition, device, context))?
            .map_err(super::inputs::refused)?;
        self.refuse_new_faults(definition, &attached.domain)?;
        running(domain)?.device_guard.look_ahead(self, definition, &attached.domain);
        Ok(Live::Device(Box::new(self.plan_attached(domain, attached)?)))
    }

    /// What was worked out; where that failed, what is wrong with the device in itself comes first,
    /// and what it refers to that is not there when it is to come to a running guest.
    fn or_faulty<T>(
        &self,
        definition: &Definition,
        device: &Device,
        done: Result<T, VirError>,
    ) -> Result<T, VirError> {
        done.or_else(|error| {
            self.refuse_faulty(definition, device)?;
            if definition.id.is_some() {
                let mut alone = Definition::default();
                device.clone().append(alone.devices_mut());
                self.look_up(&alone)?;
            }
            Err(error)
        })
    }

    /// Gives an interface the hardware address that it has in both definitions.
    fn identify(&self, definition: &Definition, device: &mut Device) -> Result<(), VirError> {
        if let Device::Interface(nic) = device
            && nic.mac.is_none()
        {
            let address = self.in_context(definition, |context| context.mac())?;
            nic.mac = Some(InterfaceMac {
                address,
                kind: Some(MacType::Generated),
                ..InterfaceMac::default()
            });
        }
        Ok(())
    }

    /// Writes a stored definition that was worked out before, and tells that it is another one.
    pub(super) async fn store_definition(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        definition: Definition,
    ) -> Result<(), VirError> {
        self.modify_config_later(domain, move |stored| {
            *stored = definition;
            Ok(())
        })
        .await?;
        self.tell(domain, DomainEvent::Lifecycle(LifecycleEvent::DefinedUpdated));
        Ok(())
    }
}

/// The drive that is there for what is attached: clients of old change media so.
fn drive_of<'a>(definition: &'a Definition, device: &Device) -> Option<&'a Disk> {
    let Device::Disk(wanted) = device else { return None };
    let mut disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    disks.find(|there| {
        there.target.dev == wanted.target.dev
            && there.device.is_removable()
            && wanted.device.is_removable()
    })
}

/// The drive with the medium of what is attached: nothing else of the drive is asked for.
fn medium_for(drive: &Disk, attached: Device) -> Device {
    let Device::Disk(wanted) = attached else { return attached };
    let mut changed = drive.clone();
    let format = wanted.driver.and_then(|driver| driver.kind);
    changed.driver.get_or_insert_default().kind = format;
    changed.kind = wanted.kind;
    changed.source = wanted.source;
    changed.backing_store = wanted.backing_store;
    changed.encryption = wanted.encryption;
    changed.auth = wanted.auth;
    Device::Disk(Box::new(changed))
}
