//! What a start looks up outside the domain: volumes, descriptors, network ports, programs.

use crate::request::Request;
use model::domain::Domain;
use model::domain::address::PciAddress;
use model::domain::devices::disk::{
    AuthSecret, DiskAuth, DiskSource, NetworkHost, StorageType, VolumeMode,
};
use model::domain::devices::interface::{HostAddress, Interface, InterfaceSource, InterfaceType};
use model::storage::{Auth, Pool, PoolType};
use plan::qemu::{FdGroup, Found, FoundVolume, Nbdkit};
use serde_json::Value;
use xml::RawElement;

/// All that the domain refers to.
pub fn found(request: &Request<'_>, domain: &Domain) -> Found {
    let mut found = Found { rdp: true, ..Found::default() };
    for (name, group) in request.value("fds").as_object().into_iter().flatten() {
        let fds = group.get("fds").and_then(Value::as_array);
        let writable = group.get("writable").and_then(Value::as_bool).unwrap_or(false);
        let group = FdGroup { count: fds.map_or(0, Vec::len), writable };
        found.fd_groups.insert(name.clone(), group);
    }
    let plugins = request.list("nbdkit");
    let wanted = request.value("conf").get("storage_use_nbdkit").and_then(Value::as_i64);
    if wanted == Some(1) && !plugins.is_empty() {
        let plugins = plugins.into_iter().map(str::to_owned).collect();
        found.nbdkit = Some(Nbdkit { program: "/fakebindir/nbdkit".to_owned(), plugins });
    }
    let disks = domain.devices.iter().flat_map(|devices| &devices.disks);
    for source in disks.filter_map(|disk| disk.source.as_ref()) {
        let (Some(pool), Some(volume)) = (&source.pool, &source.volume) else { continue };
        if let Some(there) = look_up(request, pool, volume, source.mode) {
            found.volumes.insert((pool.clone(), volume.clone()), there);
        }
    }
    let interfaces = domain.devices.iter().flat_map(|devices| &devices.interfaces);
    for (position, nic) in interfaces.enumerate() {
        let name = nic.source.as_ref().and_then(|source| source.network.as_deref());
        let port = name.and_then(|name| request.value("networks").get(name)?.get("port")?.as_str());
        if let (InterfaceType::Network, Some(port)) = (nic.kind, port)
            && let Some(connection) = connection(port)
        {
            found.connections.insert(position, connection);
        }
    }
    for (name, network) in request.value("networks").as_object().into_iter().flatten() {
        let text = network.get("xml").and_then(Value::as_str);
        if let Some(address) = text.and_then(first_address) {
            found.network_addresses.insert(name.clone(), address);
        }
    }
    let hostdevs = domain.devices.iter().flat_map(|devices| &devices.hostdevs);
    for source in hostdevs.filter_map(|hostdev| hostdev.source.as_ref()) {
        let (Some(adapter), Some(address)) = (&source.adapter, &source.address) else { continue };
        let bus = address.bus.as_deref().and_then(|bus| bus.parse().ok()).unwrap_or(0);
        let (target, unit) = (address.target.unwrap_or(0), address.unit.unwrap_or(0));
        let place = (adapter.name.clone(), bus, target, unit);
        found.scsi_generic.insert(place, "/dev/sg0".to_owned());
    }
    found
}

/// The address that the host has on a network.
fn first_address(network: &str) -> Option<String> {
    let network = RawElement::parse(network).ok()?;
    let ip = network.elements().find(|element| element.local_name() == "ip")?;
    ip.attr("address").map(str::to_owned)
}

/// What a network's port connects an interface to.
fn connection(port: &str) -> Option<Interface> {
    let port = RawElement::parse(port).ok()?;
    let plug = port.elements().find(|element| element.local_name() == "plug")?;
    let attr = |name: &str| plug.attr(name).map(str::to_owned);
    let mut source = InterfaceSource::default();
    let kind = match plug.attr("type")? {
        "network" | "bridge" => {
            source.bridge = attr("bridge");
            InterfaceType::Bridge
        }
        "direct" => {
            source.dev = attr("dev");
            source.mode = attr("mode");
            InterfaceType::Direct
        }
        "hostdev-pci" => {
            let address = plug.elements().find(|element| element.local_name() == "address")?;
            let number = |name: &str| {
                let text = address.attr(name).unwrap_or("0");
                u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
            };
            source.device_address = Some(HostAddress::Pci(PciAddress {
                domain: number("domain").into(),
                bus: number("bus").into(),
                slot: number("slot").into(),
                function: number("function").into(),
                ..PciAddress::default()
            }));
            InterfaceType::Hostdev
        }
        _ => return None,
    };
    Some(Interface { kind, source: Some(source), ..Interface::default() })
}

/// A volume of the assumed host: its kind is part of its name.
fn look_up(
    request: &Request<'_>,
    pool: &str,
    volume: &str,
    mode: Option<VolumeMode>,
) -> Option<FoundVolume> {
    let text = request.value("pools").get(pool).and_then(Value::as_str);
    if pool == "inactive" || volume == "nonexistent" {
        return None;
    }
    let (kind, device) = volume.split_once('+').unwrap_or(("block", volume));
    let described = text.and_then(|text| Pool::parse(text).value);
    if mode == Some(VolumeMode::Direct)
        && let Some(described) = &described
        && matches!(described.kind, PoolType::Iscsi | PoolType::IscsiDirect)
    {
        return Some(direct(described, volume));
    }
    let path = Some(format!("/some/{kind}/device/{device}"));
    let (kind, source) = match kind {
        "file" => (StorageType::File, DiskSource { file: path, ..DiskSource::default() }),
        "dir" => (StorageType::Dir, DiskSource { dir: path, ..DiskSource::default() }),
        _ => (StorageType::Block, DiskSource { dev: path, ..DiskSource::default() }),
    };
    Some(FoundVolume { kind, source })
}

/// How a pool logs in.
fn credentials(auth: &Auth) -> DiskAuth {
    let secret = auth.secret.as_ref().map(|secret| AuthSecret {
        kind: "iscsi".to_owned(),
        usage: secret.usage.clone(),
        uuid: secret.uuid.as_deref().and_then(|uuid| uuid.parse().ok()),
    });
    DiskAuth { username: auth.username.clone().unwrap_or_default(), secret }
}

/// A unit of an iSCSI pool that QEMU reaches by itself: the last part of `unit:H:B:L` is its number.
fn direct(pool: &Pool, volume: &str) -> FoundVolume {
    let unit = volume.rsplit(':').next().unwrap_or("0");
    let source = &pool.source;
    let target = source.devices.first().and_then(|device| device.path.clone()).unwrap_or_default();
    let hosts = source.hosts.iter().map(|host| NetworkHost {
        name: host.name.clone(),
        port: host.port.map(|port| port.to_string()),
        ..NetworkHost::default()
    });
    FoundVolume {
        kind: StorageType::Network,
        source: DiskSource {
            protocol: Some("iscsi".to_owned()),
            name: Some(format!("{target}/{unit}")),
            hosts: hosts.collect(),
            auth: source.auth.as_ref().map(credentials).map(Box::new),
            ..DiskSource::default()
        },
    }
}
