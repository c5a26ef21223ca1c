//! What changes of a running guest's interface on the host: done, and taken back where a later part
//! of the change fails.

use crate::domain::start::links::{self, limits};
use diag::VirError;
use model::domain::devices::interface::{Bandwidth, InterfaceType};
use model::domain::hotplug::update::Change;
use plan::Traffic;

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
        _ => Ok(()),
    }
}

/// Takes back what [`apply`] did.
pub(super) fn take_back(guest: &str, change: &Change) {
    let outcome = match change {
        Change::Bridge { port, from, .. } => links::move_to_bridge(guest, port, from),
        Change::Bandwidth { device, kind, from, to } => {
            limits::change(device, &traffic(*kind, to), &traffic(*kind, from))
        }
        _ => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::warn!(domain = guest, ?change, error = %error.message(), "not taken back");
    }
}

fn traffic(kind: InterfaceType, bandwidth: &Option<Box<Bandwidth>>) -> Traffic {
    Traffic::of(kind, bandwidth.as_deref()).unwrap_or_default()
}
