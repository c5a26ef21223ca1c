//! Interfaces: of every kind just what that kind has.

use crate::domain::devices::interface::{
    HostAddress, Interface, InterfaceSource, InterfaceType, IpAddress, NetBackendType, Route,
};
use crate::domain::seclabel::DeviceSeclabel;
use core::net::IpAddr;
use diag::{Diagnostic, ErrorCode, ErrorDomain, Severity};
use xml::YesNo;

/// Drops what an interface's kind has no use for, and what says nothing.
pub(super) fn canonicalize(all: &mut [Interface], out: &mut Vec<Diagnostic>) {
    for i in all {
        floors(i, out);
        one(i);
    }
}

/// A floor of nothing is none, but it stands only where others may.
fn floors(i: &mut Interface, out: &mut Vec<Diagnostic>) {
    let kind = i.kind;
    let Some(bandwidth) = i.bandwidth.as_mut() else { return };
    for (limit, may) in
        [(&mut bandwidth.inbound, kind == InterfaceType::Network), (&mut bandwidth.outbound, false)]
    {
        let Some(floor) = limit.as_mut().map(|limit| &mut limit.floor) else { continue };
        if *floor == Some(0) && !may {
            out.push(Diagnostic {
                rule: "domain.nic-bandwidth",
                severity: Severity::Error,
                code: ErrorCode::CONFIG_UNSUPPORTED,
                span: None,
                message: "floor attribute is not supported for this config".to_owned(),
                domain: Some(ErrorDomain::NONE),
                hints: Vec::new(),
            });
        }
        *floor = floor.filter(|floor| *floor != 0);
    }
}

/// Every address says of which family it is.
fn families(ips: &mut [IpAddress], routes: &mut [Route]) {
    let of = |address: &str| match address.parse() {
        Ok(IpAddr::V4(_)) => Some("ipv4".to_owned()),
        Ok(IpAddr::V6(_)) => Some("ipv6".to_owned()),
        Err(_) => None,
    };
    for ip in ips {
        ip.family = ip.family.take().or_else(|| of(&ip.address));
    }
    for route in routes {
        route.family = route.family.take().or_else(|| of(&route.address));
    }
}

fn one(i: &mut Interface) {
    use InterfaceType::*;
    families(&mut i.ips, &mut []);
    if let Some(s) = i.source.as_mut() {
        families(&mut s.ips, &mut []);
    }
    let passt = i.backend.as_ref().is_some_and(|b| b.kind == Some(NetBackendType::Passt));
    if let Some(s) = i.source.as_mut() {
        source(s, i.kind, passt);
    }
    let may_be_empty = matches!(i.kind, Ethernet | User | Null);
    i.source = i.source.take().filter(|s| !may_be_empty || *s != InterfaceSource::default());
    if !matches!(i.kind, Network | Bridge | Ethernet) {
        i.filter_ref = None;
    }
    if i.kind != Hostdev || i.managed == Some(YesNo::No) {
        i.managed = None;
    }
    let virtio = i.model.as_ref().is_some_and(|m| m.kind.starts_with("virtio"));
    if let Some(b) = i.backend.as_mut() {
        b.kind = b.kind.filter(|kind| *kind != NetBackendType::Default);
        if !virtio {
            b.vhost = None;
        }
    }
    i.backend = i.backend.take().filter(|b| *b != Default::default());
    if let Some(b) = i.bandwidth.as_mut() {
        for limit in [&mut b.inbound, &mut b.outbound] {
            *limit = limit.take().filter(|l| l.average != Some(0) || l.floor.is_some());
        }
    }
    i.bandwidth = i.bandwidth.take().filter(|b| *b != Default::default());
    i.mtu = i.mtu.take().filter(|m| m.size.is_some());
    let max = i.coalesce.as_ref().and_then(|c| c.rx.as_ref()?.frames.as_ref()).map_or(0, |f| f.max);
    if max == 0 {
        i.coalesce = None;
    }
}

/// Drops the fields of a source that its type does not have.
fn source(s: &mut InterfaceSource, kind: InterfaceType, passt: bool) {
    use InterfaceType::*;
    let had = std::mem::take(s);
    let mut kept = InterfaceSource { ips: had.ips, routes: had.routes, ..Default::default() };
    match kind {
        Network => {
            kept.network = had.network;
            kept.port_id = had.port_id;
            kept.portgroup = had.portgroup;
            // What a running guest's network turned out to be.
            kept.bridge = had.bridge;
            kept.mac_table_manager = had.mac_table_manager;
            kept.dev = had.dev;
            kept.mode = had.mode;
            kept.device_address = had.device_address;
        }
        Bridge => {
            kept.bridge = had.bridge;
            kept.mac_table_manager = had.mac_table_manager;
        }
        Direct => {
            kept.dev = had.dev;
            kept.mode = had.mode;
        }
        User if passt => kept.dev = had.dev,
        User | Ethernet | Null => {}
        Vdpa => kept.dev = had.dev,
        Internal => kept.name = had.name,
        Hostdev => {
            kept.device_address = had.device_address;
            match kept.device_address.as_mut() {
                Some(HostAddress::Pci(pci)) => pci.multifunction = None,
                _ => {
                    kept.vendor = had.vendor;
                    kept.product = had.product;
                }
            }
        }
        Vhostuser => {
            kept.kind = had.kind;
            kept.path = had.path;
            kept.mode = had.mode;
            kept.reconnect = had.reconnect;
        }
        Server | Client | Mcast | Udp => {
            kept.address = had.address;
            kept.port = had.port;
            kept.local = had.local.filter(|_| kind == Udp);
        }
        Vds => {
            kept.switch_id = had.switch_id;
            kept.port_id = had.port_id;
            kept.port_group_id = had.port_group_id;
            kept.connection_id = had.connection_id;
        }
    }
    *s = kept;
}

/// The labels of a device's source: one that says nothing is none, and one with a label relabels.
/// Only a skipped label is told.
pub(super) fn seclabels(labels: &mut Vec<DeviceSeclabel>) {
    for l in labels.iter_mut() {
        l.label_skip = l.label_skip.filter(|skip| *skip == YesNo::Yes);
    }
    labels.retain(|l| l.label.is_some() || l.relabel.is_some() || l.label_skip.is_some());
    for l in labels.iter_mut().filter(|l| l.label.is_some()) {
        l.relabel.get_or_insert(YesNo::Yes);
    }
}
