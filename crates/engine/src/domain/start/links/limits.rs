//! Limits of what passes guests' interfaces.

use crate::domain::start::steps::system;
use diag::{ErrorCode, VirError};
use host::traffic::{self, Limits, Rate, TrafficError};
use model::domain::devices::interface::{Interface, InterfaceType};
use plan::{Traffic, TrafficLimit};
use xml::YesNo;

/// Has a new device of a guest queue nothing, and limits what passes it.
///
/// # Errors
/// The kernel refuses, or lacks what it takes; there are no limits then.
pub(in crate::domain) fn begin(device: &str, traffic: &Traffic) -> Result<(), VirError> {
    if let Err(error) = traffic::skip_queue(device) {
        tracing::debug!(device, %error, "its packets are queued");
    }
    if traffic.is_empty() { Ok(()) } else { set(device, traffic) }
}

/// Has a guest's device have other limits.
///
/// # Errors
/// As [`begin`]; it has the limits that it had then.
pub(in crate::domain) fn change(
    device: &str,
    from: &Traffic,
    to: &Traffic,
) -> Result<(), VirError> {
    let changed = set(device, to);
    let now = if changed.is_ok() { to } else { from };
    if changed.is_err()
        && let Err(error) = set(device, from)
    {
        tracing::warn!(device, error = %error.message(), "its limits are gone");
    }
    if now.sent.is_none()
        && let Err(error) = traffic::skip_queue(device)
    {
        tracing::debug!(device, %error, "its packets are queued");
    }
    changed
}

/// Takes the limits of a guest's interface from a device that stays when the guest has gone. Others
/// are no more, and their names may be another guest's by now.
pub(in crate::domain) fn end(interface: &Interface) {
    let target = interface.target.as_ref();
    let stays = target.is_some_and(|target| target.managed == Some(YesNo::No));
    let device = target.and_then(|target| target.dev.as_ref());
    if let (InterfaceType::Ethernet, true, true, Some(device)) =
        (interface.kind, stays, interface.bandwidth.is_some(), device)
    {
        traffic::clear(device);
    }
}

fn set(device: &str, traffic: &Traffic) -> Result<(), VirError> {
    let rate = |limit: &TrafficLimit| Rate {
        average: limit.average,
        peak: limit.peak,
        burst: limit.burst,
    };
    let limits = Limits {
        sent: traffic.sent.as_ref().map(rate),
        received: traffic.received.as_ref().map(rate),
    };
    let without = traffic::set(device, &limits).map_err(|error| words(device, traffic, error))?;
    if !without.is_empty() {
        tracing::info!(device, modules = ?without, "limited without what the kernel lacks");
    }
    Ok(())
}

fn words(device: &str, traffic: &Traffic, error: TrafficError) -> VirError {
    let element = |sent: bool| {
        let limit = if sent { &traffic.sent } else { &traffic.received };
        limit.as_ref().map_or("", |limit| limit.element)
    };
    match error {
        TrafficError::NoInterface(_) => {
            let gone = std::io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error());
            system(&format!("Unable to get index for interface {device}"), &gone)
        }
        TrafficError::Missing { sent, part, module } => {
            let element = element(sent);
            let text =
                format!("cannot limit {element} traffic of '{device}': the kernel has no {part}");
            VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text).hint(format!(
                "have the kernel load its module {module}, or leave <{element}> out of <bandwidth>"
            ))
        }
        TrafficError::Refused { sent, what, source } => {
            let what = format!("cannot limit {} traffic of '{device}': {what}", element(sent));
            system(&what, &source)
        }
    }
}
