//! The rules of the host's firewall that a network needs, independent of the tool that sets them.
//!
//! Every rule is put in front of those before it, so the last one counts first.
//!
//! Sources: firewall.html, and the commands libvirt 11.3 runs.

use model::network::{Family, ForwardMode, Ip, IpAddress, NatAddress, NatPorts, Network};
use xml::YesNo;

use super::{iptables, nftables};
use crate::Command;

/// The tool that sets rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// iptables and ip6tables.
    Iptables,
    /// nft, and tc for what it cannot do.
    Nftables,
}

/// The protocol a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// The addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The first.
    pub address: IpAddress,
    /// The length of their common prefix.
    pub prefix: u32,
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Subnet {
    /// The protocol of its addresses.
    pub fn layer(self) -> Layer {
        if self.address.is_v4() { Layer::Ipv4 } else { Layer::Ipv6 }
    }
}

/// A rule, or a service of the host that guests may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Guests may ask the host: what comes in to this port passes.
    AllowRequest(Layer, &'static str, u16),
    /// The host may answer guests: what goes out to this port passes.
    AllowAnswer(Layer, &'static str, u16),
    /// Nothing else leaves the network.
    RejectOut(Layer),
    /// Nothing else enters it.
    RejectIn(Layer),
    /// Guests reach each other.
    AllowCross(Layer),
    /// Guests reach the world.
    AllowOut(Subnet, Option<String>),
    /// The world reaches guests; only in answer, if `true`.
    AllowIn(Subnet, Option<String>, bool),
    /// Guests appear with another address.
    Translate {
        /// The guests.
        guests: Subnet,
        /// The way out.
        dev: Option<String>,
        /// Packets of this protocol only.
        protocol: Option<&'static str>,
        /// The addresses they appear with; that of the way out otherwise.
        addresses: Option<NatAddress>,
        /// The ports they appear with.
        ports: Option<NatPorts>,
    },
    /// What goes to these addresses keeps its own.
    Keep(Subnet, Option<String>, Subnet),
    /// DHCP answers get a checksum, which some guests ask for.
    Checksum,
}

fn subnet(address: &str, prefix: u32) -> Option<Subnet> {
    Some(Subnet { address: IpAddress::parse(address)?, prefix })
}

/// The rules a network needs, in the order they are set. An open network needs none, and neither
/// does one on a bridge of the host.
pub fn rules(network: &Network) -> Vec<Rule> {
    let mode = network.mode();
    if !mode.has_own_bridge() || mode == ForwardMode::Open {
        return Vec::new();
    }
    let mut out = Vec::new();
    host_services(network, &mut out);
    for ip in &network.ips {
        let Some(prefix) = ip.effective_prefix() else { continue };
        let guests = Subnet { address: ip.address.network(prefix), prefix };
        forwarding(network, mode, ip, guests, &mut out);
    }
    let serves = |ip: &Ip| ip.family() == Family::Ipv4 && ip.dhcp.is_some();
    if network.ips.iter().any(serves) {
        out.push(Rule::Checksum);
    }
    out
}

/// What the host itself serves, and the last resort of everything else.
fn host_services(network: &Network, out: &mut Vec<Rule>) {
    let both = |layer, port, out: &mut Vec<Rule>, answer_port| {
        out.extend(["tcp", "udp"].map(|protocol| Rule::AllowRequest(layer, protocol, port)));
        out.extend(["tcp", "udp"].map(|protocol| Rule::AllowAnswer(layer, protocol, answer_port)));
    };
    let last = |layer| [Rule::RejectOut(layer), Rule::RejectIn(layer), Rule::AllowCross(layer)];
    let v4 = Layer::Ipv4;
    both(v4, 67, out, 68);
    both(v4, 53, out, 53);
    if network.ips.iter().any(|ip| ip.tftp.is_some()) {
        out.push(Rule::AllowRequest(v4, "udp", 69));
        out.push(Rule::AllowAnswer(v4, "udp", 69));
    }
    out.extend(last(v4));
    let v6 = Layer::Ipv6;
    let has_v6 = network.ips.iter().any(|ip| ip.family() == Family::Ipv6);
    if has_v6 || network.ipv6 == YesNo::Yes {
        out.extend(last(v6));
    }
    if has_v6 {
        both(v6, 53, out, 53);
        out.push(Rule::AllowRequest(v6, "udp", 547));
        out.push(Rule::AllowAnswer(v6, "udp", 546));
    }
}

/// What passes between guests and the world.
fn forwarding(network: &Network, mode: ForwardMode, ip: &Ip, guests: Subnet, out: &mut Vec<Rule>) {
    let Some(forward) = network.forward.as_ref().filter(|_| mode != ForwardMode::None) else {
        return;
    };
    let dev = forward.interfaces.first().map(|interface| interface.dev.clone());
    let nat = forward.nat.clone().unwrap_or_default();
    let v4 = ip.family() == Family::Ipv4;
    let translated = mode == ForwardMode::Nat && (v4 || nat.ipv6 == Some(YesNo::Yes));
    out.push(Rule::AllowOut(guests, dev.clone()));
    out.push(Rule::AllowIn(guests, dev.clone(), translated));
    if !translated {
        return;
    }
    // Some services answer privileged ports only to privileged ports: guests get none of these.
    let ports = nat.port.unwrap_or(NatPorts { start: 1024, end: 65535 });
    // The addresses are IPv4 ones.
    let addresses = nat.address.filter(|_| v4);
    for protocol in [None, Some("udp"), Some("tcp")] {
        out.push(Rule::Translate {
            guests,
            dev: dev.clone(),
            protocol,
            addresses: addresses.clone(),
            ports: protocol.map(|_| ports.clone()),
        });
    }
    let kept: &[(&str, u32)] =
        if v4 { &[("255.255.255.255", 32), ("224.0.0.0", 24)] } else { &[("ff02::", 16)] };
    for (address, prefix) in kept {
        out.extend(subnet(address, *prefix).map(|to| Rule::Keep(guests, dev.clone(), to)));
    }
}

/// The commands that set rules for the bridge of this name.
pub fn to_commands(rules: &[Rule], bridge: &str, backend: Backend) -> Vec<Command> {
    match backend {
        Backend::Iptables => rules.iter().map(|rule| iptables::command(rule, bridge)).collect(),
        Backend::Nftables => nftables::commands(rules, bridge),
    }
}

/// The commands that make what rules of all networks share, once.
pub fn set_up(backend: Backend) -> Vec<Command> {
    let one = match backend {
        Backend::Iptables => iptables::set_up,
        Backend::Nftables => nftables::set_up,
    };
    [Layer::Ipv4, Layer::Ipv6].into_iter().flat_map(one).collect()
}
