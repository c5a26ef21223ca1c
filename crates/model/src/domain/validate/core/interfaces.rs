//! Network interfaces.

use core::net::IpAddr;

use diag::ErrorCode;
use xml::{XmlValue, YesNo};

use super::super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::interface::{
    HostAddress, Interface, InterfaceType, IpAddress, Route, TeamingType,
};
use crate::network::{Family, VirtualPortType};

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    for x in &dev.interfaces {
        if let Some(HostAddress::Pci(a)) = x.source.as_ref().and_then(|s| s.device_address.as_ref())
        {
            super::unique::pci_range(a, out);
        }
        if let Some(m) = &x.mac
            && m.address.is_multicast()
        {
            out.xml(
                "domain.mac-multicast",
                format!("expected unicast mac address, found multicast '{}'", m.address),
            );
        }
        if let Some(m) = &x.model
            && !m.kind.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        {
            out.code(
                "domain.nic-model",
                ErrorCode::INVALID_ARG,
                "Model name contains invalid characters",
            );
        }
        source(x, out);
        virtual_port(x, out);
        host_side(x, out);
        bandwidth(x, out);
        for ip in &x.ips {
            address(ip, out);
        }
        routes(x, out);
        if let Some(t) = &x.teaming {
            let transient = t.kind == TeamingType::Transient;
            if !transient && t.persistent.is_some() {
                out.unsupported(
                    "domain.nic-teaming",
                    "teaming persistent attribute not allowed if teaming type is 'persistent'",
                );
            } else if transient && t.persistent.is_none() {
                out.unsupported(
                    "domain.nic-teaming",
                    "teaming persistent attribute must be set if teaming type is 'transient'",
                );
            } else if transient
                && !matches!(x.kind, InterfaceType::Hostdev | InterfaceType::Network)
            {
                let kind = x.kind.as_str();
                out.unsupported(
                    "domain.nic-teaming",
                    format!("virtio-net teaming transient interface must be type='hostdev', not '{kind}'"),
                );
            }
            let model = x.model.as_ref().map_or("", |m| m.kind.as_str());
            if !transient && !model.starts_with("virtio") && x.kind != InterfaceType::Hostdev {
                out.unsupported(
                    "domain.nic-teaming",
                    format!("virtio-net teaming persistent interface must be <model type='virtio'/>, not '{model}'"),
                );
            }
        }
        for f in &x.port_forwards {
            if let Some(a) = &f.address
                && a.parse::<IpAddr>().is_err()
            {
                out.xml("domain.port-forward", format!("Invalid address '{a}' in <portForward>"));
            }
            if !matches!(f.proto.as_str(), "tcp" | "udp") {
                out.xml(
                    "domain.port-forward",
                    format!(
                        "Invalid value for attribute 'proto' in element 'portForward': '{}'.",
                        f.proto
                    ),
                );
            }
        }
    }
}

/// What each type of interface must say of its source.
fn source(x: &Interface, out: &mut Faults) {
    use InterfaceType::*;
    let kind = x.kind.as_str();
    let s = x.source.as_ref();
    let needs_element = match x.kind {
        Bridge | Network | Direct | Vdpa | Server | Client | Mcast | Udp | Internal | Vds => {
            s.is_none()
        }
        _ => false,
    };
    if needs_element {
        out.xml(
            "domain.nic-source",
            format!("interface type='{kind}' requires a 'source' element"),
        );
        return;
    }
    let mut missing = |present: bool, name: &str| {
        if !present {
            out.xml(
                "domain.nic-source",
                format!("Missing required attribute '{name}' in element 'source'"),
            );
        }
    };
    match (x.kind, s) {
        (Bridge, Some(s)) => missing(s.bridge.is_some(), "bridge"),
        (Network, Some(s)) => missing(s.network.is_some(), "network"),
        (Vdpa, Some(s)) => missing(s.dev.is_some(), "dev"),
        (Server, Some(s)) => missing(s.port.is_some(), "port"),
        (Client | Mcast | Udp, Some(s)) => {
            missing(s.address.is_some(), "address");
            missing(s.port.is_some(), "port");
            if x.kind == Udp && s.local.is_none() && s.address.is_some() {
                out.xml(
                    "domain.nic-source",
                    "'<local>' element missing for 'udp' socket interface",
                );
            }
        }
        (Internal, Some(s)) => missing(s.name.is_some(), "name"),
        (Vds, Some(s)) => missing(s.switch_id.is_some(), "switchid"),
        (Vhostuser, s) => vhostuser(x, s.is_some(), out),
        (Hostdev, s) => {
            let by_kind = s.is_some_and(|s| s.vendor.is_some());
            if s.is_none_or(|s| s.device_address.is_none()) && !by_kind {
                out.unsupported(
                    "domain.nic-source",
                    "unknown host device source address type '(null)'",
                );
            }
            if by_kind && s.is_some_and(|s| s.product.is_none()) {
                out.internal("domain.nic-source", "missing product");
            }
        }
        (Direct, Some(s)) => {
            missing(s.dev.is_some(), "dev");
            if let Some(mode) = &s.mode
                && !matches!(mode.as_str(), "vepa" | "private" | "bridge" | "passthrough")
            {
                out.xml(
                    "domain.nic-source",
                    format!("Invalid value for attribute 'mode' in element 'source': '{mode}'."),
                );
            }
        }
        _ => {}
    }
}

fn vhostuser(x: &Interface, there: bool, out: &mut Faults) {
    use crate::domain::devices::interface::NetBackendType;
    if x.backend.as_ref().and_then(|b| b.kind) == Some(NetBackendType::Passt) {
        return;
    }
    let Some(s) = x.source.as_ref().filter(|_| there) else {
        out.xml("domain.nic-source", "interface type='vhostuser' requires a 'source' element");
        return;
    };
    if s.path.is_none() {
        out.xml("domain.nic-source", "Missing required attribute 'path' in element 'source'");
    }
    if let Some(kind) = s.kind.as_deref()
        && kind != "unix"
    {
        out.unsupported(
            "domain.nic-source",
            format!("Type='{kind}' unsupported for <interface type='vhostuser'>"),
        );
    }
    if let Some(mode) = s.mode.as_deref()
        && !matches!(mode, "server" | "client")
    {
        out.xml(
            "domain.nic-source",
            format!("Invalid value for attribute 'mode' in element 'source': '{mode}'."),
        );
    }
    if let Some(r) = &s.reconnect
        && r.enabled == Some(YesNo::Yes)
    {
        if s.mode.as_deref() == Some("server") {
            out.unsupported(
                "domain.nic-reconnect",
                "'reconnect' attribute is not supported when source mode='server' for <interface type='vhostuser'>",
            );
        } else if r.timeout.is_none() {
            out.xml(
                "domain.nic-reconnect",
                "Missing required attribute 'timeout' in element 'reconnect'",
            );
        }
    }
}

/// What a kind of switch must be told; who leaves the kind to a network says it there.
fn virtual_port(x: &Interface, out: &mut Faults) {
    let Some(port) = &x.virtual_port else { return };
    let Some(kind) = port.kind else {
        if x.kind != InterfaceType::Network {
            out.xml("domain.nic-virtualport", "missing required virtualport type");
        }
        return;
    };
    let p = port.parameters.clone().unwrap_or_default();
    let missing = match kind {
        VirtualPortType::Qbg if p.manager_id.is_none() => "managerid",
        VirtualPortType::Qbg if p.type_id.is_none() => "typeid",
        VirtualPortType::Qbg if p.type_id_version.is_none() => "typeidversion",
        VirtualPortType::Qbh if p.profile_id.is_none() => "profileid",
        VirtualPortType::Midonet if p.interface_id.is_none() => "interfaceid",
        _ => return,
    };
    // A network may still say it.
    if x.kind != InterfaceType::Network {
        out.xml(
            "domain.nic-virtualport",
            format!("missing {missing} in <virtualport type='{kind}'>"),
        );
    }
}

/// Addresses and routes of the host's end.
fn host_side(x: &Interface, out: &mut Faults) {
    let Some(s) = &x.source else { return };
    if x.kind != InterfaceType::Ethernet && !(s.ips.is_empty() && s.routes.is_empty()) {
        out.unsupported(
            "domain.nic-host-side",
            format!(
                "Invalid attempt to set network interface host-side IP route and/or address info \
                 on interface of type '{}'. This is only supported on interfaces of type \
                 'ethernet'",
                x.kind.as_str()
            ),
        );
    }
    s.ips.iter().for_each(|ip| address(ip, out));
    s.routes.iter().for_each(|route| host_route(route, out));
}

/// Routes of the host's end, by the rules of a network's.
fn host_route(route: &Route, out: &mut Faults) {
    let mut bad =
        |text: String| out.xml("domain.nic-host-route", format!("interface host IP: {text}"));
    let at = "in route definition";
    let read = |text: &str| crate::network::IpAddress::parse(text);
    let Some(gateway) = &route.gateway else {
        return bad(format!("Missing required gateway attribute {at}"));
    };
    let Some(address) = read(&route.address) else {
        return bad(format!("Bad network address '{}' {at}", route.address));
    };
    let Some(over) = read(gateway) else {
        return bad(format!("Bad gateway address '{gateway}' {at}"));
    };
    let netmask = match route.netmask.as_deref().map(|mask| (mask, read(mask))) {
        Some((mask, None)) => return bad(format!("Bad netmask address '{mask}' {at}")),
        other => other.and_then(|(_, mask)| mask),
    };
    let family = match route.family.as_deref().map(|family| (family, Family::parse(family))) {
        Some((family, Err(_))) => return bad(format!("Unrecognized family '{family}' {at}")),
        other => other.and_then(|(_, family)| family.ok()),
    };
    if route.metric == Some(0) {
        return out.xml(
            "domain.nic-host-route",
            "Invalid value for attribute 'metric' in element 'route': Zero is not permitted",
        );
    }
    let (prefix, metric) = (route.prefix, route.metric);
    let route_of =
        crate::network::Route { family, address, netmask, prefix, gateway: over, metric };
    if let Err(text) = route_of.check_addresses(&route.address, gateway) {
        bad(text);
    }
}

fn bandwidth(x: &Interface, out: &mut Faults) {
    let Some(b) = &x.bandwidth else { return };
    if let Some(text) = b.overflow() {
        out.code("domain.nic-bandwidth", ErrorCode::OVERFLOW, text);
    }
    for limit in [&b.inbound, &b.outbound].into_iter().flatten() {
        if limit.average.is_none() && limit.floor.is_none() {
            out.detail("domain.nic-bandwidth", "Missing mandatory average or floor attributes");
        }
    }
    let floor = |l: &Option<crate::domain::devices::interface::BandwidthLimit>| {
        l.as_ref().is_some_and(|l| l.floor.is_some())
    };
    if floor(&b.outbound) || floor(&b.inbound) && x.kind != InterfaceType::Network {
        out.unsupported("domain.nic-bandwidth", "floor attribute is not supported for this config");
    }
}

fn address(ip: &IpAddress, out: &mut Faults) {
    let Ok(parsed) = ip.address.parse::<IpAddr>() else {
        out.xml("domain.nic-ip", format!("Invalid address '{}' in <ip>", ip.address));
        return;
    };
    let family = if parsed.is_ipv4() { "ipv4" } else { "ipv6" };
    if ip.family.as_ref().is_some_and(|named| named != family) {
        out.xml("domain.nic-ip", format!("Invalid address '{}' in <ip>", ip.address));
    }
    let most = if parsed.is_ipv4() { 32 } else { 128 };
    if let Some(p) = ip.prefix.filter(|p| *p > most) {
        out.xml("domain.nic-ip", format!("Invalid prefix value '{p}' in <ip>"));
    }
    if let Some(peer) = &ip.peer
        && peer.parse::<IpAddr>().ok().is_none_or(|peer| peer.is_ipv4() != parsed.is_ipv4())
    {
        let text = format!("Invalid peer '{peer}' in <ip>");
        out.code("domain.nic-ip", ErrorCode::INVALID_ARG, text);
    }
}

fn routes(x: &Interface, out: &mut Faults) {
    for r in &x.routes {
        let Ok(IpAddr::V4(a)) = r.address.parse::<IpAddr>() else { continue };
        let prefix = r.prefix.unwrap_or(if a.is_unspecified() { 0 } else { 8 }).min(32);
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        if r.netmask.is_none() && u32::from(a) & !mask != 0 {
            out.xml(
                "domain.nic-route",
                format!(
                    "guest interface: Address '{}' in route definition is not a network address",
                    r.address
                ),
            );
        }
    }
}
