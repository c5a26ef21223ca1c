//! A device comes.

use super::plug::{Coming, Refused};
use crate::domain::affect::{Affect, running};
use crate::domain::record::Domain;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use lifecycle::LifecycleEvent;
use model::domain::Domain as Definition;
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
            support::stored(support::Verb::Attach, device.kind())?;
            hotplug::refuse_duplicate(&stored, &device)?;
            let (whole, _) = self
                .in_context(&stored, |context| hotplug::prepare(&stored, device.clone(), context))?
                .map_err(super::inputs::refused)?;
            self.refuse_new_faults(&stored, &whole)?;
            prepared.config = Some(whole);
        }
        if let (true, Some(live)) = (affect.live, &snapshot.live) {
            let definition = &live.definition;
            running(domain)?;
            if is_medium(definition, &device) {
                let updated = update::running(definition, &device)?;
                prepared.live = Some(Live::Medium(Box::new(updated)));
                return Ok(prepared);
            }
            self.identify(definition, &mut device)?;
            if support::running(support::Verb::Attach, device.kind()).is_err() {
                // What is wrong with it is told even of a kind that never comes.
                let mut whole = definition.clone();
                device.clone().append(whole.devices_mut());
                self.refuse_new_faults(definition, &whole)?;
            }
            // The kind before its place, and what is wrong in itself before both.
            support::can_plug(definition, &device)?;
            let attached = self
                .in_context(definition, |context| hotplug::attach(definition, device, context))?
                .map_err(super::inputs::refused)?;
            self.refuse_new_faults(definition, &attached.domain)?;
            let coming = self.plan_attached(domain, attached)?;
            prepared.live = Some(Live::Device(Box::new(coming)));
        }
        Ok(prepared)
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

/// Whether what is attached is a medium for a drive that is there: clients of old change media so.
fn is_medium(definition: &Definition, device: &Device) -> bool {
    let Device::Disk(wanted) = device else { return false };
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    wanted.device.is_removable()
        && disks
            .into_iter()
            .any(|there| there.target.dev == wanted.target.dev && there.device.is_removable())
}
