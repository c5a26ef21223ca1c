//! Helpers of a running guest that end before it and can be started anew: they keep nothing of the
//! guest's that their end loses.

use super::{InUse, Inputs, hotplug};
use crate::step::{Action, Helper};
use diag::Diagnostic;
use model::domain::Domain;
use model::domain::hotplug::{DeviceKind, Place};

/// The helper with this pid file as it was started: passt, nbdkit, the manager of reservations. `None`
/// for any other: a TPM or a shared folder is not the same again.
///
/// # Errors
/// What stands in the way of describing the device that it serves.
pub fn helper_again(
    domain: &Domain,
    inputs: &Inputs,
    pid_file: &str,
) -> Result<Option<Helper>, Vec<Diagnostic>> {
    let devices = domain.devices.as_ref();
    let nics = devices.map_or(0, |devices| devices.interfaces.len());
    let disks = devices.map_or(0, |devices| devices.disks.len());
    let nics = (0..nics).map(|index| Place { kind: DeviceKind::Interface, index });
    let disks = (0..disks).map(|index| Place { kind: DeviceKind::Disk, index });
    for place in nics.chain(disks) {
        // Alone: what several share belongs to the only one.
        let mut alone = domain.clone();
        let Some(device) = domain.devices.as_ref().and_then(|all| place.get(all)) else { continue };
        let devices = alone.devices_mut();
        match place.kind {
            DeviceKind::Disk => devices.disks.clear(),
            _ => devices.interfaces.clear(),
        }
        let place = device.append(devices);
        // What this host could not do again was done once.
        let (plan, _) = hotplug::describe(&alone, place, inputs, InUse::default(), None)?;
        let helpers = plan.steps.into_iter().filter_map(|step| match step.action {
            Action::Helper(helper) => Some(helper),
            _ => None,
        });
        let mut wanted = helpers.filter(|helper| helper.pid_file.as_deref() == Some(pid_file));
        if let Some(helper) = wanted.next() {
            return Ok(Some(helper));
        }
    }
    Ok(None)
}
