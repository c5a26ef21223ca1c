//! Interfaces: the cable, and what else can change while a guest talks.

use super::{Change, Updated, place, unsupported};
use crate::domain::Domain;
use crate::domain::devices::Devices;
use crate::domain::devices::interface::{Bandwidth, Interface, InterfaceType, LinkState};
use crate::domain::hotplug::device::{Device, DeviceKind};
use crate::domain::hotplug::find;
use diag::VirError;
use xml::OnOff;

/// Works out what changes.
pub(super) fn running(
    domain: &Domain,
    devices: &Devices,
    wanted: &Interface,
) -> Result<Updated, VirError> {
    let found = find::running(domain, &Device::Interface(Box::new(wanted.clone())))?;
    let Some(old) = devices.interfaces.get(found.index) else {
        return Err(unsupported("the interface cannot be changed"));
    };
    if let Some(text) = refusal(old, wanted) {
        return Err(unsupported(text));
    }
    let up = |nic: &Interface| nic.link.as_ref().is_none_or(|link| link.state == LinkState::Up);
    // What the host may refuse comes before what the guest sees.
    let mut changes: Vec<_> = other_limits(old, wanted)?.into_iter().collect();
    let moves = other_bridge(old, wanted);
    let moved = moves.is_some();
    changes.extend(moves);
    changes.extend(other_vlans(old, wanted, moved));
    changes.extend(other_coalescing(old, wanted));
    if up(old) != up(wanted) {
        changes.push(Change::Link { up: up(wanted) });
    }
    let source = if changes.iter().any(|change| matches!(change, Change::Bridge { .. })) {
        wanted.source.clone()
    } else {
        old.source.clone()
    };
    let device = Interface {
        source,
        teaming: wanted.teaming.clone(),
        link: wanted.link.clone(),
        bandwidth: wanted.bandwidth.clone(),
        vlan: wanted.vlan.clone(),
        coalesce: wanted.coalesce.clone(),
        trust_guest_rx_filters: wanted.trust_guest_rx_filters,
        ..old.clone()
    };
    Ok(Updated {
        place: place(DeviceKind::Interface, found.index),
        device: Device::Interface(Box::new(device)),
        changes,
    })
}

fn model(nic: &Interface) -> &str {
    nic.model.as_ref().map_or("rtl8139", |model| model.kind.as_str())
}

/// Why an interface cannot become as wanted.
fn refusal(old: &Interface, wanted: &Interface) -> Option<String> {
    let kind = wanted.kind.as_str();
    if old.kind != wanted.kind || old.kind == InterfaceType::Hostdev {
        return Some(format!("unable to change config on '{kind}' network type"));
    }
    if wanted.model.is_none() || model(old) != model(wanted) {
        let (from, to) = (model(old), model(wanted));
        if from != to {
            return Some(format!("cannot modify network device model from {from} to {to}"));
        }
    }
    let mac = |nic: &Interface| nic.mac.as_ref().map(|mac| mac.address);
    if mac(old) != mac(wanted) {
        let text = |nic: &Interface| mac(nic).map_or_else(String::new, |mac| mac.to_string());
        let (from, to) = (text(old), text(wanted));
        return Some(format!("cannot change network interface mac address from {from} to {to}"));
    }
    let driver = |nic: &Interface| nic.driver.clone().unwrap_or_default();
    let virtio = model(old).starts_with("virtio");
    if virtio && driver(old) != driver(wanted) {
        return Some("cannot modify virtio network device driver attributes".to_owned());
    }
    if old.script != wanted.script {
        return Some("cannot modify network device script attribute".to_owned());
    }
    let dev = |nic: &Interface| nic.target.as_ref().and_then(|target| target.dev.clone());
    if dev(wanted).is_some() && dev(old) != dev(wanted) {
        return Some("cannot modify network device tap name".to_owned());
    }
    let guest = |nic: &Interface| nic.guest.clone();
    if guest(wanted).is_some() && guest(old) != guest(wanted) {
        return Some("cannot modify network device guest name".to_owned());
    }
    if wanted.alias.is_some() && old.alias != wanted.alias {
        return Some("cannot modify network device alias".to_owned());
    }
    let bar = |nic: &Interface| nic.rom.as_ref().and_then(|rom| rom.bar);
    if bar(old) != bar(wanted) && !(bar(old).is_none() && bar(wanted) == Some(OnOff::On)) {
        return Some("cannot modify network device rom bar setting".to_owned());
    }
    let rom = |nic: &Interface| nic.rom.as_ref().and_then(|rom| rom.file.clone());
    if rom(old) != rom(wanted) {
        return Some("cannot modify network rom file".to_owned());
    }
    let enabled = |nic: &Interface| nic.rom.as_ref().and_then(|rom| rom.enabled);
    if enabled(old) != enabled(wanted) {
        return Some("cannot modify network device rom enabled setting".to_owned());
    }
    if wanted.boot.is_some() && old.boot != wanted.boot {
        return Some("cannot modify network device boot index setting".to_owned());
    }
    if old.mtu != wanted.mtu {
        return Some("cannot modify MTU".to_owned());
    }
    if old.backend != wanted.backend {
        return Some("cannot modify network device backend settings".to_owned());
    }
    if old.tune != wanted.tune {
        return Some("cannot modify network device tune settings".to_owned());
    }
    let address = wanted.address.is_some() && old.address != wanted.address;
    if address {
        return Some("cannot modify network device address".to_owned());
    }
    // The host's end: nobody here changes it while it is used.
    for (same, what) in [
        (source(old) == source(wanted) || other_bridge(old, wanted).is_some(), "source"),
        (old.vlan == wanted.vlan || old.kind == InterfaceType::Bridge, "vlan"),
        (old.virtual_port == wanted.virtual_port, "virtualport"),
        (old.filter_ref == wanted.filter_ref, "filterref"),
        (old.port == wanted.port, "port"),
        (old.ips == wanted.ips, "ip"),
    ] {
        if !same {
            return Some(format!(
                "changing <{what}> of a running guest's interface is not supported yet"
            ));
        }
    }
    None
}

/// Other limits of what passes it.
fn other_limits(old: &Interface, wanted: &Interface) -> Result<Option<Change>, VirError> {
    if old.bandwidth == wanted.bandwidth {
        return Ok(None);
    }
    limits(old, wanted.bandwidth.clone()).map(Some).ok_or_else(|| {
        unsupported("Unable to set bandwidth for interface because device name is unknown")
    })
}

/// Other VLANs of its port. A port that is another bridge's by then is in none that was said.
fn other_vlans(old: &Interface, wanted: &Interface, moves: bool) -> Option<Change> {
    let device = old.target.as_ref()?.dev.clone()?;
    let from = old.vlan.clone().filter(|_| !moves);
    let to = wanted.vlan.clone();
    (from != to).then_some(Change::Vlan { device, from, to })
}

/// Another number of frames that it collects.
fn other_coalescing(old: &Interface, wanted: &Interface) -> Option<Change> {
    let device = old.target.as_ref()?.dev.clone()?;
    let (from, to) = (old.coalesce.clone(), wanted.coalesce.clone());
    (from != to).then_some(Change::Coalesce { device, from, to })
}

/// What sets the limits of a running guest's interface, whichever it has; none where it has no
/// device on the host whose traffic the kernel can hold back.
pub fn limits(nic: &Interface, to: Option<Bandwidth>) -> Option<Change> {
    let device = nic.target.as_ref()?.dev.clone()?;
    let (from, to) = (nic.bandwidth.clone().map(Box::new), to.map(Box::new));
    let kind = nic.kind;
    kind.has_limits().then_some(Change::Bandwidth { device, kind, from, to })
}

/// The move to another bridge, where that alone is other about the source.
fn other_bridge(old: &Interface, wanted: &Interface) -> Option<Change> {
    let bridge = |nic: &Interface| source(nic).and_then(|source| source.bridge);
    let (from, to) = (bridge(old)?, bridge(wanted)?);
    let mut same = source(wanted)?;
    same.bridge = Some(from.clone());
    let only = old.kind == InterfaceType::Bridge && Some(same) == source(old) && from != to;
    let port = old.target.as_ref()?.dev.clone()?;
    only.then_some(Change::Bridge { port, from, to })
}

/// Where it is connected, without what only a running guest's has.
fn source(nic: &Interface) -> Option<crate::domain::devices::interface::InterfaceSource> {
    let mut source = nic.source.clone()?;
    source.port_id = None;
    Some(source)
}
