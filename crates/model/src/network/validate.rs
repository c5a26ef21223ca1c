//! What the network driver refuses although the XML by itself is right.

use std::collections::HashSet;

use diag::{Diagnostic, ErrorCode, Severity};

use super::address::Family;
use super::bandwidth::Bandwidth;
use super::definition::Network;
use super::forward::ForwardMode;
use super::ip::Ip;
use super::portgroup::PortGroup;
use super::virtualport::{VirtualPort, VirtualPortType};
use crate::domain::MOST_FAULTS;

/// Checks a network that was read. An empty list means the driver takes it.
pub fn validate(network: &Network) -> Vec<Diagnostic> {
    let mut faults = Faults { name: &network.name, found: Vec::new() };
    if network.name.contains('\n') {
        let message = "invalid char in name: \n".to_owned();
        faults.add("network.name", ErrorCode::XML_DETAIL, message);
    }
    let mode = network.mode();
    if mode.has_own_bridge() {
        own_bridge(network, &mut faults);
    } else {
        host_bridge(network, mode, &mut faults);
    }
    pool(network, mode, &mut faults);
    port_groups(network, mode, &mut faults);
    faults.found
}

struct Faults<'a> {
    name: &'a str,
    found: Vec<Diagnostic>,
}

impl Faults<'_> {
    fn add(&mut self, rule: &'static str, code: ErrorCode, message: String) {
        if self.found.len() >= MOST_FAULTS {
            return;
        }
        self.found.push(Diagnostic {
            rule,
            severity: Severity::Error,
            code,
            span: None,
            message,
            domain: None,
            hints: Vec::new(),
        });
    }

    fn unsupported(&mut self, rule: &'static str, message: String) {
        self.add(rule, ErrorCode::CONFIG_UNSUPPORTED, message);
    }
}

fn has_dhcp(ip: &Ip) -> bool {
    ip.dhcp.as_ref().is_some_and(|dhcp| !dhcp.ranges.is_empty() || !dhcp.hosts.is_empty())
}

/// A network with a bridge of its own: one DHCP server for each family.
fn own_bridge(network: &Network, faults: &mut Faults<'_>) {
    for (family, name) in [(Family::Ipv4, "IPv4"), (Family::Ipv6, "IPv6")] {
        let servers = network.ips.iter().filter(|ip| ip.family() == family && has_dhcp(ip));
        if servers.count() > 1 {
            faults.unsupported(
                "network.dhcp-sections",
                format!(
                    "Multiple {name} dhcp sections found -- dhcp is supported only for a single \
                 {name} address on each network"
                ),
            );
        }
    }
}

/// A network without: nothing that would need one.
fn host_bridge(network: &Network, mode: ForwardMode, faults: &mut Faults<'_>) {
    let dns = network
        .dns
        .as_ref()
        .is_some_and(|d| !d.txts.is_empty() || !d.hosts.is_empty() || !d.srvs.is_empty());
    for (what, given) in [
        ("<mac> element", network.mac.is_some()),
        ("<ip> element", !network.ips.is_empty()),
        ("<dns> element", dns),
        ("<domain> element", network.domain.is_some()),
        ("network-wide <bandwidth> element", limits(network.bandwidth.as_ref())),
    ] {
        if given {
            let name = faults.name;
            faults.unsupported(
                "network.no-bridge",
                format!("Unsupported {what} in network {name} with forward mode='{mode}'"),
            );
        }
    }
}

fn limits(bandwidth: Option<&Bandwidth>) -> bool {
    bandwidth.is_some()
}

/// Devices handed to guests are listed by address.
fn pool(network: &Network, mode: ForwardMode, faults: &mut Faults<'_>) {
    let Some(forward) = &network.forward else { return };
    let name = faults.name;
    if mode != ForwardMode::Hostdev && !forward.addresses.is_empty() {
        faults.unsupported("network.pool", format!(
            "network '{name}' has forward mode '{mode}' but lists a device by PCI address in the \
             device pool. This is only supported for networks with forward mode 'hostdev'"
        ));
    }
    if mode == ForwardMode::Hostdev
        && let Some(interface) = forward.interfaces.first()
    {
        let dev = &interface.dev;
        faults.unsupported(
            "network.pool",
            format!(
                "hostdev network '{name}' lists '{dev}' in the device pool, but hostdev networks \
             require all devices to be listed by PCI address, not network device name"
            ),
        );
    }
}

fn port_groups(network: &Network, mode: ForwardMode, faults: &mut Faults<'_>) {
    let name = faults.name;
    let mut seen: HashSet<&str> = HashSet::new();
    let mut default: Option<&str> = None;
    // Tags need something that knows them: SR-IOV, Open vSwitch, or a plain bridge of the host. A
    // profile of its own hides from a port group that the network is on SR-IOV.
    let open_vswitch = |port: &VirtualPort| port.kind == Some(VirtualPortType::OpenVSwitch);
    let bridge = mode == ForwardMode::Bridge;
    let tagging = matches!(mode, ForwardMode::Hostdev | ForwardMode::Passthrough)
        || bridge && network.virtual_port.as_ref().is_none_or(open_vswitch);
    let mut untaggable = network.vlan.is_some() && !tagging;
    for PortGroup { name: group, default: is_default, vlan, virtual_port, .. } in
        &network.port_groups
    {
        let tagging = match virtual_port {
            Some(own) => bridge && open_vswitch(own),
            None => tagging,
        };
        if vlan.is_some() && !tagging {
            untaggable = true;
        }
        if !seen.insert(group) {
            faults.unsupported(
                "network.portgroup",
                format!(
                    "multiple <portgroup> elements with the same name ({group}) in network '{name}'"
                ),
            );
        }
        if is_default.0 {
            match default {
                Some(first) => faults.unsupported(
                    "network.portgroup",
                    format!(
                        "network '{name}' has multiple default <portgroup> elements ({first} and \
                     {group}), but only one default is allowed"
                    ),
                ),
                None => default = Some(group),
            }
        }
    }
    if untaggable {
        faults.unsupported(
            "network.untaggable",
            format!(
                "<vlan> element specified for network {name}, whose type doesn't support vlan \
             configuration"
            ),
        );
    }
}
