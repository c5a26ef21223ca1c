//! What changes of a running guest's interface on the host: done, and taken back where a later part
//! of the change fails.

use crate::domain::start::links::{self, limits, settings};
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::devices::interface::{Bandwidth, InterfaceType, Vlan};
use model::domain::hotplug::update::Change;
use model::domain::hotplug::{Device, Place};
use plan::{PortVlans, Traffic};

/// Does on the host what a change asks of it.
///
/// # Errors
/// What the kernel refuses; all is as it was then.
pub(super) fn apply(guest: &str, change: &Change) -> Result<(), VirError> {
    match change {
        Change::Bridge { port, to, .. } => links::move_to_bridge(guest, port, to),
        Change::Bandwidth { device, kind, from, to } => {
            limits::change(device, &traffic(*kind, from), &traffic(*kind, to))
        }
        Change::Vlan { device, from, to } => {
            let vlans = |vlan: &Option<Vlan>| vlan.as_ref().map(PortVlans::of);
            settings::change_vlans(device, vlans(from).as_ref(), vlans(to).as_ref())
        }
        Change::Coalesce { device, to, .. } => {
            settings::coalesce(device, plan::coalesced_frames(to.as_ref()).unwrap_or_default())
        }
        _ => Ok(()),
    }
}

/// Takes back what [`apply`] did.
pub(super) fn take_back(guest: &str, change: &Change) {
    if let Err(error) = apply(guest, &reverse(change.clone())) {
        tracing::warn!(domain = guest, ?change, error = %error.message(), "not taken back");
    }
}

/// Takes the limits of an interface that leaves a definition from a device that stays.
pub(super) fn leave(definition: &Definition, place: Place) {
    if let Some(Device::Interface(interface)) =
        definition.devices.as_ref().and_then(|devices| place.get(devices))
    {
        limits::end(&interface);
    }
}

fn reverse(change: Change) -> Change {
    match change {
        Change::Bridge { port, from, to } => Change::Bridge { port, from: to, to: from },
        Change::Bandwidth { device, kind, from, to } => {
            Change::Bandwidth { device, kind, from: to, to: from }
        }
        Change::Vlan { device, from, to } => Change::Vlan { device, from: to, to: from },
        Change::Coalesce { device, from, to } => Change::Coalesce { device, from: to, to: from },
        other => other,
    }
}

fn traffic(kind: InterfaceType, bandwidth: &Option<Box<Bandwidth>>) -> Traffic {
    Traffic::of(kind, bandwidth.as_deref()).unwrap_or_default()
}
