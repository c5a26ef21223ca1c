//! What else a definition asks of the host's end of an interface: VLANs of a bridge's port, how many
//! frames it collects, addresses and routes.

use crate::domain::start::steps::system;
use crate::domain::stored::store::os_words;
use diag::{ErrorCode, VirError};
use host::addresses::{self, Address, Route};
use host::netdev::{self, VlanError};
use host::netlink::PortVlan;
use plan::{HostAddress, HostRoute, PortVlans, Tap};

/// Between two addresses or routes that are remembered; part of none.
const BETWEEN: &str = ", ";

/// Sets up a new device of a guest. Where it stays when the guest has gone: what has to be taken back
/// then is remembered, for [`end`].
///
/// # Errors
/// The kernel refuses; of addresses and routes none is left then.
pub(in crate::domain) fn begin(device: &str, tap: &Tap) -> Result<(), VirError> {
    if let Some(vlans) = &tap.vlans {
        change_vlans(device, None, Some(vlans))?;
    }
    if let Some(frames) = tap.coalesce {
        coalesce(device, frames)?;
    }
    for (done, address) in tap.addresses.iter().enumerate() {
        if let Err(error) = addresses::add(device, &kernels(address)) {
            take_back(device, tap.addresses.iter().take(done), [].iter());
            let broadcast = kernels(address).broadcast();
            let broadcast = broadcast.map_or_else(String::new, |all| format!(" bcast {all}"));
            let text = format!("Failed to add IP address {address}{broadcast} to {device}");
            let why = format!("the kernel says: {}", os_words(&error));
            return Err(VirError::new(ErrorCode::SYSTEM_ERROR, text).hint(why));
        }
    }
    for (done, route) in tap.routes.iter().enumerate() {
        if let Err(error) = addresses::add_route(device, &way(route)) {
            take_back(device, tap.addresses.iter(), tap.routes.iter().take(done));
            return Err(system(&format!("Error adding route to {device}"), &error));
        }
    }
    Ok(())
}

/// What [`begin`] did to a device, to be kept until the end of the guest; none for nothing.
pub(super) fn to_take_back(tap: &Tap) -> Option<String> {
    let addresses = tap.addresses.iter().map(ToString::to_string);
    let all: Vec<_> = addresses.chain(tap.routes.iter().map(ToString::to_string)).collect();
    (!all.is_empty()).then(|| all.join(BETWEEN))
}

/// Takes back what [`to_take_back`] told of.
pub(super) fn end(device: &str, told: &str) {
    let routes: Vec<HostRoute> = told.split(BETWEEN).filter_map(|text| text.parse().ok()).collect();
    let own: Vec<HostAddress> = told.split(BETWEEN).filter_map(|text| text.parse().ok()).collect();
    take_back(device, own.iter(), routes.iter());
}

fn take_back<'a>(
    device: &str,
    own: impl Iterator<Item = &'a HostAddress>,
    routes: impl Iterator<Item = &'a HostRoute>,
) {
    let routes = routes.map(|route| addresses::remove_route(device, &way(route)));
    let own = own.map(|address| addresses::remove(device, &kernels(address)));
    for error in routes.chain(own).filter_map(Result::err) {
        tracing::debug!(device, %error, "an address or route was gone");
    }
}

/// Has a device tell of frames only so many at a time; 0: of each.
///
/// # Errors
/// The kernel or the device refuses.
pub(in crate::domain) fn coalesce(device: &str, frames: u32) -> Result<(), VirError> {
    netdev::set_coalesce(device, frames).map_err(super::words)
}

/// Has a bridge's port be in other VLANs; in none: as a port is that nobody said anything of.
///
/// # Errors
/// The kernel refuses.
pub(in crate::domain) fn change_vlans(
    device: &str,
    from: Option<&PortVlans>,
    to: Option<&PortVlans>,
) -> Result<(), VirError> {
    let (leave, join) = (members(from), members(to));
    netdev::set_vlans(device, &leave, &join).map_err(|VlanError(error)| {
        let failed = system(&format!("error adding vlan filter to interface {device}"), &error);
        let lacks = Some(rustix::io::Errno::OPNOTSUPP.raw_os_error());
        match error.raw_os_error() {
            number if number == lacks => failed.hint(
                "the kernel filters no VLANs of bridges (CONFIG_BRIDGE_VLAN_FILTERING); a bridge \
                 below whose device is one VLAN's needs no <vlan>",
            ),
            _ => failed
                .hint("the bridge has to filter: ip link set BRIDGE type bridge vlan_filtering 1"),
        }
    })
}

fn members(vlans: Option<&PortVlans>) -> Vec<(u16, PortVlan)> {
    let native = vlans.and_then(|vlans| vlans.native).map(|(id, tagged)| {
        (id, if tagged { PortVlan::NativeTagged } else { PortVlan::NativeUntagged })
    });
    let tagged = vlans.into_iter().flat_map(|vlans| &vlans.tagged);
    native.into_iter().chain(tagged.map(|id| (*id, PortVlan::Tagged))).collect()
}

fn kernels(address: &HostAddress) -> Address {
    Address { address: address.address, prefix: address.prefix, peer: address.peer }
}

fn way(route: &HostRoute) -> Route {
    let HostRoute { destination, prefix, gateway, metric } = *route;
    Route { destination, prefix, gateway, metric }
}
