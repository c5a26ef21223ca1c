//! Network interfaces.

use xml::YesNo;

use super::super::Faults;
use super::shares_memory;
use crate::domain::Domain;
use crate::domain::devices::Devices;
use crate::domain::devices::interface::{Interface, InterfaceType, NetBackendType};

pub(super) fn check(d: &Domain, dev: &Devices, out: &mut Faults) {
    let shared = shares_memory(d);
    for x in &dev.interfaces {
        one(x, out);
        if x.kind == InterfaceType::Vhostuser && !shared {
            out.unsupported("domain.shared-memory", "'interface' requires shared memory");
        }
    }
    for r in &dev.redirdevs {
        usb_address(r.address.as_ref(), out);
    }
}

fn usb_address(a: Option<&crate::domain::address::Address>, out: &mut Faults) {
    if a.is_some_and(|a| crate::domain::address::kind(a) != "usb") {
        out.xml("domain.usb-address", "Invalid address for a USB device");
    }
}

fn one(x: &Interface, out: &mut Faults) {
    use InterfaceType::*;
    let kind = x.kind.as_str();
    let model = x.model.as_ref().map_or("", |m| m.kind.as_str());
    let virtio = model.starts_with("virtio");
    let mac = x.mac.as_ref().map(|m| m.address.to_string()).unwrap_or_default();
    if x.kind == Vdpa && !model.is_empty() && !virtio {
        out.unsupported(
            "domain.nic-model",
            format!("invalid model for interface of type 'vdpa': '{model}' - must be 'virtio'"),
        );
    }
    if let Some(v) = &x.driver {
        if virtio {
            for (name, size) in
                [("rx_queue_size", v.rx_queue_size), ("tx_queue_size", v.tx_queue_size)]
            {
                if size.is_some_and(|s| !s.is_power_of_two()) {
                    out.unsupported(
                        "domain.nic-queue-size",
                        format!("{name} has to be a power of two"),
                    );
                }
            }
        } else {
            super::super::virtio_options(&v.virtio, out);
        }
    }
    if x.target.as_ref().is_some_and(|t| t.managed == Some(YesNo::No)) && x.kind != Ethernet {
        out.unsupported(
            "domain.nic-target",
            format!("unmanaged target dev is not supported on interfaces of type '{kind}'"),
        );
    }
    let tap = matches!(x.kind, Network | Bridge | Direct | Ethernet | Hostdev | Vhostuser | Vdpa);
    if x.mtu.is_some() && !tap {
        out.unsupported(
            "domain.nic-mtu",
            format!("setting MTU on interface type {kind} is not supported yet"),
        );
    }
    if x.coalesce.is_some() && !matches!(x.kind, Network | Bridge) {
        out.unsupported(
            "domain.nic-coalesce",
            format!("coalesce settings on interface type {kind} are not supported"),
        );
    }
    let isolated = x.port.as_ref().is_some_and(|p| p.isolated == Some(YesNo::Yes));
    if isolated && !matches!(x.kind, Network | Bridge) {
        out.unsupported(
            "domain.nic-isolated",
            format!(
                "interface {mac} - <port isolated='yes'/> is not supported for network interfaces with type='{kind}'"
            ),
        );
    }
    guest_ips(x, out);
    if x.virtual_port.is_some() && !matches!(x.kind, Network | Bridge | Direct | Hostdev) {
        out.unsupported(
            "domain.nic-virtualport",
            format!("<virtualport> element unsupported for <interface type='{kind}'>"),
        );
    }
    let passt = x.backend.as_ref().and_then(|b| b.kind) == Some(NetBackendType::Passt);
    let own = matches!(x.kind, User | Vhostuser);
    if passt && !own {
        out.unsupported(
            "domain.nic-backend",
            "The 'passt' backend can only be used with interface type='user' or type='vhostuser'",
        );
    }
    let forwards = passt && own;
    if !x.port_forwards.is_empty() && !forwards {
        out.unsupported(
            "domain.port-forward",
            "The <portForward> element can only be used with the 'passt' backend of interface type='user' or type='vhostuser'",
        );
    }
    if let Some(rom) = &x.rom
        && rom.enabled == Some(YesNo::No)
        && (rom.file.is_some() || rom.bar.is_some())
    {
        out.unsupported("domain.rom", "ROM tuning is not supported when ROM is disabled");
    }
}

fn guest_ips(x: &Interface, out: &mut Faults) {
    use InterfaceType::{User, Vhostuser};
    let (mut v4, mut v6) = (0, 0);
    for ip in &x.ips {
        match ip.address.parse::<core::net::IpAddr>() {
            Ok(a) if a.is_ipv6() => v6 += 1,
            _ => v4 += 1,
        }
    }
    if matches!(x.kind, User | Vhostuser) {
        for ip in &x.ips {
            let Some(prefix) = ip.prefix.filter(|prefix| *prefix > 0) else { continue };
            let six = ip.address.contains(':');
            if six && prefix != 64 {
                out.unsupported(
                    "domain.nic-ip",
                    format!("unsupported IPv6 address prefix='{prefix}' - must be 64"),
                );
            } else if !six && !(4..=27).contains(&prefix) {
                out.xml("domain.nic-ip", "invalid prefix, must be in range of 4-27");
            }
        }
        if x.ips.iter().any(|ip| ip.peer.is_some()) {
            out.unsupported("domain.nic-ip", "Invalid attempt to set peer IP for guest");
        }
        if v4 > 1 {
            out.unsupported("domain.nic-ip", "Only one IPv4 address per interface is allowed");
        }
        if v6 > 1 {
            out.unsupported("domain.nic-ip", "Only one IPv6 address per interface is allowed");
        }
    } else if !x.ips.is_empty() {
        out.unsupported(
            "domain.nic-ip",
            "Invalid attempt to set network interface guest-side IP address info, not supported by QEMU",
        );
    }
    if !x.routes.is_empty() {
        out.unsupported(
            "domain.nic-route",
            "Invalid attempt to set network interface guest-side IP route, not supported by QEMU",
        );
    }
}
