//! Network devices of guests: taps, made and removed.

use super::results::Results;
use super::steps::named;
use diag::{ErrorCode, VirError};
use host::netdev::TapSpec;
use plan::{ResultName, Step, Tap, TapKind};

/// Makes a tap and keeps its descriptors.
///
/// # Errors
/// When the kernel refuses, or it is a kind that cannot be made.
pub(super) fn make_tap(step: &Step, tap: &Tap, results: &mut Results) -> Result<(), VirError> {
    let bridge = match &tap.kind {
        TapKind::Bridge { bridge, .. } => Some(bridge.clone()),
        TapKind::Ethernet { managed: true, script: None } => None,
        TapKind::Ethernet { .. } => {
            return Err(VirError::config(
                "an <interface type='ethernet'> with a script or managed='no' cannot be started yet",
            ));
        }
        TapKind::Macvtap { lower, .. } => {
            return Err(VirError::config(format!(
                "<interface type='direct'> on '{lower}' cannot be started yet: \
                 macvtap devices are not made so far"
            )));
        }
    };
    let spec = TapSpec {
        name: tap.name.clone().unwrap_or_else(|| "vnet%d".to_owned()),
        queues: tap.queues,
        vnet_hdr: tap.vnet_hdr,
        bridge,
        mac: host_end(&tap.mac),
        mtu: tap.mtu,
        up: tap.up,
    };
    let device = host::netdev::make_tap(&spec)
        .map_err(|error| VirError::new(ErrorCode::SYSTEM_ERROR, error.to_string()))?;
    let queues = tap.queues.max(1);
    for (queue, fd) in device.queues.into_iter().enumerate() {
        let queue = u32::try_from(queue).unwrap_or(0);
        if let Some(name) = queue_name(step, queue, queues) {
            results.fds.insert(name, fd);
        }
    }
    if let Some(name) = &step.result {
        results.links.insert(name.clone(), device.name);
    }
    Ok(())
}

/// The address of the host's end: the guest's with a high first byte, so that a bridge never
/// takes it for its own address.
fn host_end(guest: &str) -> Option<[u8; 6]> {
    let mac: units::MacAddr = guest.parse().ok()?;
    let mut bytes = mac.0;
    bytes[0] = 0xfe;
    Some(bytes)
}

/// The result that holds the descriptor of one queue.
pub(super) fn queue_name(step: &Step, queue: u32, queues: u32) -> Option<ResultName> {
    if queues == 1 { named(step, ".fd") } else { named(step, &format!(".fd{queue}")) }
}

/// Removes a device that we made. A tap vanishes by itself with the last of its descriptors,
/// which QEMU has.
pub(super) fn remove(_link: &str) -> Result<(), String> {
    Ok(())
}
