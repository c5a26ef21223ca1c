//! What interfaces of virtual networks are connected to.

use super::super::found::Found;
use model::domain::Domain;
use model::domain::alias::Alias;
use model::domain::devices::interface::{Interface, InterfaceType};

/// One more than the greatest number of a host device's name.
fn next_hostdev(domain: &Domain) -> u32 {
    let devices = domain.devices.as_ref();
    let hostdevs = devices.into_iter().flat_map(|d| &d.hostdevs).map(|hostdev| &hostdev.alias);
    let nics = devices.into_iter().flat_map(|d| &d.interfaces).map(|nic| &nic.alias);
    hostdevs
        .chain(nics)
        .filter_map(|alias| alias.as_ref()?.name.strip_prefix("hostdev")?.parse::<u32>().ok())
        .max()
        .map_or(0, |number| number + 1)
}

/// Names the interfaces that a network turns into host devices as such.
pub(in crate::qemu) fn name_host_devices(domain: &mut Domain, found: &Found) {
    let mut next = next_hostdev(domain);
    for (position, connection) in &found.connections {
        let nic = domain.devices.as_mut().and_then(|d| d.interfaces.get_mut(*position));
        let Some(nic) = nic.filter(|_| connection.kind == InterfaceType::Hostdev) else {
            continue;
        };
        let own = |alias: &Alias| alias.name.starts_with("net");
        if nic.alias.as_ref().is_none_or(own) {
            nic.alias = Some(Alias { name: format!("hostdev{next}") });
            next += 1;
        }
    }
}

/// The interfaces as they are really connected.
pub(in crate::qemu) fn connected(interfaces: &mut [Interface], found: &Found) {
    for (position, nic) in interfaces.iter_mut().enumerate() {
        let Some(connection) = found.connections.get(&position) else {
            continue;
        };
        nic.kind = connection.kind;
        nic.source.clone_from(&connection.source);
        nic.managed = connection.managed.or(nic.managed);
        nic.bandwidth = nic.bandwidth.take().or_else(|| connection.bandwidth.clone());
        nic.vlan = nic.vlan.take().or_else(|| connection.vlan.clone());
        nic.virtual_port = nic.virtual_port.take().or_else(|| connection.virtual_port.clone());
        nic.port = nic.port.take().or_else(|| connection.port.clone());
        nic.mtu = nic.mtu.take().or_else(|| connection.mtu.clone());
    }
}
