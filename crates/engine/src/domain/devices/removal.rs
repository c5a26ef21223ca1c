//! A device has left: what stood behind it goes too.

use super::Change;
use super::host_end;
use super::release::{close_behind, not_needed};
use crate::domain::affect::{acquire, not_running, running};
use crate::domain::record::Domain;
use crate::domain::start::teardown::Made;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{BackingStore, Disk, DiskSource};
use model::domain::hotplug::{self, Place};
use plan::{Undo, UnplugPlan};
use qmp::Value;
use std::sync::Arc;

impl Engine {
    /// Takes away what stood behind a device that is gone, and the device from the definition.
    pub(super) async fn remove_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        place: Place,
        plan: UnplugPlan,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let kept = close_behind(&vm, &plan.after.iter().collect::<Vec<_>>()).await;
        if let Some(prefix) = &plan.fdsets {
            remove_fdsets(&vm, |said| {
                said.strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
            .await;
        }
        let mut definition = live.definition.clone();
        let alias = place.alias(&definition);
        host_end::leave(&definition, place);
        hotplug::take_out(&mut definition, place);
        remove_image_fdsets(&vm, &live.definition, &definition).await;
        let undo = not_needed(&definition, plan.undo);
        let name = Arc::clone(&domain.snapshot().name);
        let made = if undo.is_empty() { Made::default() } else { vm.made().await };
        let change = self.give_back(&name, made, kept, undo).await;
        let held = !change.hold.is_empty();
        vm.change(Change { definition, publish: true, ..change }).await;
        match held {
            // What QEMU has open stays locked.
            true => self.release_later(domain),
            false => vm.unlock_change(&live.definition).await,
        }
        if let Some(alias) = alias {
            vm.tell(DomainEvent::DeviceRemoved { alias });
        }
        Ok(())
    }

    /// A device left while nobody waited for it. Called by the guest's actor, which goes on.
    pub(in crate::domain) fn device_left(self: &Arc<Self>, domain: &Arc<Domain>, alias: String) {
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.runtime().spawn(async move {
            let client: Arc<str> = Arc::from("QEMU");
            let done = async {
                let _job =
                    acquire(&domain, Request::ModifyLive, "device-removed", &client).await?;
                engine.remove_by_name(&domain, &alias).await
            };
            if let Err(error) = done.await {
                let name = &domain.snapshot().name;
                tracing::warn!(domain = %name, alias, error = %error.message(), "left half removed");
            }
        });
    }

    /// Removes the device with this name, if the definition has one. The job is held.
    pub(super) async fn remove_by_name(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        alias: &str,
    ) -> Result<(), VirError> {
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let Some(place) = Place::of_alias(&live.definition, alias) else {
            // None of libvirt's: nobody is told, as under libvirtd.
            return Ok(());
        };
        let plan = self.plan_unplug(domain, place).await?;
        self.remove_device(domain, place, plan).await
    }
}

/// Whether another device of the guest needs what is to be taken back.
pub(super) fn still_needed(left: &Definition, step: &Undo) -> bool {
    match step {
        // The folder is all channels'; it goes with the guest.
        Undo::RemoveTree(_) => true,
        Undo::RestoreOwner(path) => {
            left.devices.iter().flat_map(|devices| &devices.disks).any(|disk| uses(disk, path))
        }
        _ => false,
    }
}

fn uses(disk: &Disk, path: &str) -> bool {
    let named = |source: &DiskSource| {
        source.file.as_deref() == Some(path) || source.dev.as_deref() == Some(path)
    };
    let mirror = disk.mirror.as_deref();
    let below = mirror.and_then(|mirror| mirror.backing_store.as_deref());
    let copies = below.into_iter().flat_map(BackingStore::chain).map(|layer| layer.source.as_ref());
    let copies = std::iter::once(mirror.and_then(|mirror| mirror.source.as_ref())).chain(copies);
    let images = disk.images().map(|image| image.source).chain(copies.flatten());
    images.into_iter().any(|source| named(source) || source.data_source().is_some_and(named))
}

/// Removes the descriptor sets of images that `before` has and `after` has not.
pub(super) async fn remove_image_fdsets(vm: &Vm, before: &Definition, after: &Definition) {
    let kept = plan::qemu::images_of_descriptors(after);
    let mut gone = plan::qemu::images_of_descriptors(before);
    gone.retain(|node| !kept.contains(node));
    if gone.is_empty() {
        return;
    }
    // Each descriptor is called as its image's node, and a number.
    remove_fdsets(vm, |said| gone.contains(said.trim_end_matches(|c: char| c.is_ascii_digit())))
        .await;
}

/// Removes the descriptor sets whose members are said to be `ours`.
async fn remove_fdsets(vm: &Vm, ours: impl Fn(&str) -> bool) {
    let sets = vm.monitor.execute(qmp::Command::<Vec<Value>>::new("query-fdsets")).await;
    for set in sets.unwrap_or_default() {
        let members = set.get("fds").and_then(Value::as_array);
        let ours = members
            .into_iter()
            .flatten()
            .any(|member| ours(member.get("opaque").and_then(Value::as_str).unwrap_or_default()));
        if let Some(id) = set.get("fdset-id").and_then(Value::as_i64).filter(|_| ours) {
            remove_fdset(vm, id).await;
        }
    }
}

/// Removes a set of descriptors.
pub(super) async fn remove_fdset(vm: &Vm, id: i64) {
    if let Err(error) = vm.monitor.execute(qmp::cmd::remove_fd(id, None)).await {
        tracing::debug!(id = vm.id, %error, "a descriptor set stays");
    }
}
