//! A change of a device that a daemon before this one did not bring to its end. Another medium: what
//! is in the drive decides; what is neither in nor out is put in. Anything else is told QEMU again,
//! which does no harm where it knows already.

use super::Change;
use super::converse::Failure;
use super::media::{Exchange, closed_again};
use super::note::{MediumNote, UpdateNote};
use crate::domain::hardware::block::entry_of;
use crate::domain::record::Domain;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::VirError;
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::hotplug::{DeviceKind, Place, update};
use qmp::{Value, cmd};
use std::sync::Arc;

/// What becomes of an exchange of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The new one is in the drive; or none is, as it was to be.
    In,
    /// The old one is in it still, or again.
    Out,
    /// Neither is.
    Neither,
}

impl Engine {
    /// Finishes a change under way, or takes it back. The job is held.
    ///
    /// # Errors
    /// QEMU does not answer; the change is under way still.
    pub(super) async fn finish_update(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        note: UpdateNote,
    ) -> Result<(), VirError> {
        let name = Arc::clone(&domain.snapshot().name);
        let Some(live) = domain.snapshot().live.clone() else { return Ok(()) };
        let UpdateNote { place, after, medium } = note;
        tracing::info!(domain = %name, kind = place.kind.element(), "its change goes on");
        if let Some(medium) = medium {
            return self.finish_medium(domain, vm, place, &after, medium).await.map(|_| ());
        }
        let device = after.devices.as_ref().and_then(|devices| place.get(devices));
        let updated = device.map(|device| update::running(&live.definition, &device));
        let done = match updated {
            Some(Ok(updated)) => self.update_now(domain, vm, updated, false).await,
            Some(Err(error)) => Err(error.into()),
            None => Ok(()),
        };
        if let Err(Failure { error, unanswered, .. }) = done {
            if unanswered {
                return Err(error);
            }
            tracing::warn!(domain = %name, error = %error.message(), "its change is given up");
            let Some(live) = domain.snapshot().live.clone() else { return Ok(()) };
            let definition = live.definition.clone();
            vm.change(Change { definition, update: Some(None), ..Change::default() }).await;
        }
        Ok(())
    }

    /// Brings an exchange of media to an end, whichever; `after`: the guest with the new one. The
    /// job is held.
    ///
    /// # Errors
    /// QEMU does not answer; the exchange is under way still.
    pub(super) async fn finish_medium(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        place: Place,
        after: &Definition,
        medium: MediumNote,
    ) -> Result<Outcome, VirError> {
        let Some(live) = domain.snapshot().live.clone() else { return Ok(Outcome::Out) };
        let asked = |error: MonitorError| crate::domain::power::monitor_error(&error);
        let drives = vm.monitor.execute(cmd::query_block()).await.map_err(asked)?;
        let drive = entry_of(&drives, &medium.alias);
        let outcome = match drive {
            Some(drive) => settle(vm, &medium, inside(drive)).await.map_err(asked)?,
            // The drive itself is gone.
            None => Outcome::Out,
        };
        let open = drive.is_some_and(|drive| {
            inside(drive).is_none() || drive.get("tray_open").and_then(Value::as_bool) == Some(true)
        });
        let closed = match outcome {
            Outcome::In => true,
            Outcome::Out => !medium.was_open,
            Outcome::Neither => false,
        };
        if medium.tray && open && closed {
            let close = vm.monitor.execute(cmd::blockdev_close_tray(&medium.id)).await;
            if let Err(error) = close {
                tracing::warn!(id = vm.id, alias = medium.alias, %error, "a drive stays open");
            }
        }
        // Others may have come and gone since the change began.
        let before = live.definition.clone();
        let device = after.devices.as_ref().and_then(|devices| place.get(devices));
        let place = Place::of_alias(&before, &medium.alias).unwrap_or(place);
        let mut after = before.clone();
        if let Some(device) = device {
            place.put(after.devices_mut(), device);
        }
        let mut exchange = Exchange { before, after, old: medium.old, new: medium.new };
        match outcome {
            Outcome::In => self.medium_is_in(domain, vm, exchange).await,
            Outcome::Out => self.medium_stays_out(domain, vm, exchange).await,
            Outcome::Neither => {
                // The drive is as it was, but for what was in it.
                exchange.after.clone_from(&exchange.before);
                empty(&mut exchange.after, place);
                let new = std::mem::take(&mut exchange.new);
                exchange.old.close.extend(new.close);
                exchange.old.undo.extend(new.undo);
                self.medium_is_in(domain, vm, exchange).await;
            }
        }
        Ok(outcome)
    }
}

/// The uppermost node of what is in a drive.
fn inside(drive: &Value) -> Option<&str> {
    drive.get("inserted")?.get("node-name")?.as_str()
}

/// What becomes of an exchange, by what is in the drive; one that is between two media gets the new
/// one, or, where that is refused, the old one again.
async fn settle(
    vm: &Vm,
    medium: &MediumNote,
    inside: Option<&str>,
) -> Result<Outcome, MonitorError> {
    match (inside, &medium.new.top) {
        (None, None) => return Ok(Outcome::In),
        (Some(node), Some(new)) if node == new => return Ok(Outcome::In),
        (Some(_), _) => return Ok(Outcome::Out),
        (None, Some(_)) => {}
    }
    let media = [(&medium.new.top, Outcome::In), (&medium.old.top, Outcome::Out)];
    for (top, outcome) in media {
        let Some(top) = top else { continue };
        let mut closed = 0;
        loop {
            if medium.tray {
                // The guest may have closed it meanwhile.
                let _ = vm.monitor.execute(cmd::blockdev_open_tray(&medium.id, true)).await;
            }
            let insert = cmd::blockdev_insert_medium(&medium.id, top);
            let Err(error) = vm.monitor.execute(insert).await else { return Ok(outcome) };
            let Err(error) = closed_again(&error, &mut closed) else { continue };
            let MonitorError::Qmp(error) = error else { return Err(error) };
            tracing::warn!(id = vm.id, node = top, %error, "not put into its drive");
            break;
        }
    }
    Ok(Outcome::Neither)
}

/// Takes the medium out of the definition of a drive.
fn empty(definition: &mut Definition, place: Place) {
    if place.kind == DeviceKind::Disk
        && let Some(disk) = definition.devices_mut().disks.get_mut(place.index)
    {
        disk.source = None;
        disk.backing_store = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_in_a_drive() {
        for (drive, node) in [
            (json!({"inserted": {"node-name": "libvirt-3-format"}}), Some("libvirt-3-format")),
            (json!({"tray_open": true}), None),
            (json!({"inserted": null}), None),
        ] {
            assert_eq!(inside(&drive), node, "{drive}");
        }
    }
}
