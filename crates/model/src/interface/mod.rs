//! Host interfaces: ethernet, bridge, bond and VLAN, as a network configuration tool sees them.
//!
//! Sources: `interface.rng`, and answers of libvirt 11.3.

mod bond;
#[cfg(test)]
mod tests;

use diag::ErrorCode;
use xml::{Element, Parsed, Reader, WriteOptions, Xml, XmlEnum, YesNo};

use crate::object::{self, Rule, fault};

pub use bond::{ArpMonitor, ArpValidate, Bond, BondMode, MiiCarrier, MiiMonitor};

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Interface {
    /// Its device name.
    #[xml(attr)]
    pub name: String,
    /// When it is brought up.
    #[xml(child)]
    pub start: Option<Start>,
    /// Greatest packet.
    #[xml(child)]
    pub mtu: Option<Mtu>,
    /// Addresses, a protocol family each.
    #[xml(child, name = "protocol")]
    pub protocols: Vec<Protocol>,
    /// What it is.
    #[xml(flatten, attrs_first)]
    pub kind: Kind,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum Kind {
    /// A network card.
    Ethernet(Ethernet),
    /// A bridge.
    Bridge(BridgeKind),
    /// Several cards as one.
    Bond(BondKind),
    /// A VLAN on another interface.
    Vlan(VlanKind),
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Ethernet {
    /// State of the cable.
    #[xml(child)]
    pub link: Option<Link>,
    /// Hardware address.
    #[xml(child)]
    pub mac: Option<Mac>,
}

/// The part of an interface that only a bridge has.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct BridgeKind {
    /// State of the link.
    #[xml(child)]
    pub link: Option<Link>,
    /// Settings and ports.
    #[xml(child)]
    pub bridge: Bridge,
}

/// The part of an interface that only a bond has.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct BondKind {
    /// State of the link.
    #[xml(child)]
    pub link: Option<Link>,
    /// Settings and members.
    #[xml(child)]
    pub bond: Bond,
}

/// The part of an interface that only a VLAN has.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct VlanKind {
    /// State of the link.
    #[xml(child)]
    pub link: Option<Link>,
    /// Number and device.
    #[xml(child)]
    pub vlan: Vlan,
}

/// When an interface is brought up.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Start {
    /// The moment.
    #[xml(attr)]
    pub mode: Option<StartMode>,
}

/// The moment at which an interface is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum StartMode {
    /// When the host starts.
    Onboot,
    /// When somebody asks.
    None,
    /// When its device appears.
    Hotplug,
}

/// Greatest packet, bytes.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Mtu {
    /// The size.
    #[xml(attr)]
    pub size: Option<u32>,
}

/// State of a link.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct Link {
    /// Speed in megabits a second.
    #[xml(attr)]
    pub speed: Option<u32>,
    /// What the kernel says of it.
    #[xml(attr)]
    pub state: Option<LinkState>,
}

/// The kernel's operational state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum LinkState {
    /// Not known.
    Unknown,
    /// The device is not there.
    Notpresent,
    /// Down.
    Down,
    /// What it stands on is down.
    #[xml(name = "lowerlayerdown")]
    LowerLayerDown,
    /// Being tested.
    Testing,
    /// Waiting for something outside.
    Dormant,
    /// Up.
    Up,
}

impl Link {
    /// Drops an element that says nothing: libvirt takes speed 0 for none.
    pub(crate) fn settle(link: &mut Option<Self>) {
        if let Some(l) = link {
            l.speed = l.speed.filter(|speed| *speed != 0);
            if *l == Self::default() {
                *link = None;
            }
        }
    }
}

/// A hardware address, kept as it is written.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Mac {
    /// The address.
    #[xml(attr)]
    pub address: Option<String>,
}

/// Addresses of one protocol family.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Protocol {
    /// `ipv4` or `ipv6`.
    #[xml(attr)]
    pub family: Family,
    /// IPv6 addresses from router advertisements.
    #[xml(flag)]
    pub autoconf: bool,
    /// Addresses from a DHCP server.
    #[xml(child)]
    pub dhcp: Option<Dhcp>,
    /// Fixed addresses.
    #[xml(child, name = "ip")]
    pub ips: Vec<Ip>,
    /// The default route.
    #[xml(child)]
    pub route: Option<Route>,
}

/// A protocol family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

/// Use of DHCP.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Dhcp {
    /// Whether name servers are taken from the answer.
    #[xml(attr)]
    pub peerdns: Option<YesNo>,
}

/// A fixed address.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Ip {
    /// The address.
    #[xml(attr)]
    pub address: Option<String>,
    /// Bits of the network part.
    #[xml(attr)]
    pub prefix: Option<i32>,
}

/// The default route.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Route {
    /// The next router.
    #[xml(attr)]
    pub gateway: Option<String>,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Bridge {
    /// `on` or `off`: the spanning tree protocol. Other words are dropped.
    #[xml(attr)]
    pub stp: Option<String>,
    /// Forward delay in seconds.
    #[xml(attr)]
    pub delay: Option<String>,
    /// Its ports.
    #[xml(child, name = "interface")]
    pub ports: Vec<Port>,
}

/// An interface inside another: without addresses.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Port {
    /// Its device name.
    #[xml(attr)]
    pub name: String,
    /// What it is.
    #[xml(flatten, attrs_first)]
    pub kind: Kind,
}

/// A VLAN.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Vlan {
    /// Its number.
    #[xml(attr)]
    pub tag: String,
    /// The device it is on.
    #[xml(child)]
    pub interface: VlanDevice,
}

/// The device of a VLAN.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct VlanDevice {
    /// Its name.
    #[xml(attr)]
    pub name: String,
}

const X: ErrorCode = ErrorCode::XML_ERROR;

const RULES: &[Rule] = &[
    ("!interface@name", X, "interface has no name"),
    ("start@mode", X, "unknown interface startmode {}"),
    ("!protocol@family", X, "protocol misses the family attribute"),
    ("protocol@family", X, "unsupported protocol family '{}'"),
    ("!interface/bridge", X, "bridge interface misses the bridge element"),
    ("!interface/bond", X, "bond interface misses the bond element"),
    ("!interface/vlan", X, "vlan interface misses the vlan element"),
    ("!vlan@tag", X, "vlan interface misses the tag attribute"),
    ("!vlan/interface", X, "vlan interface misses name attribute"),
    ("bond@mode", X, "unknown bonding mode {}"),
    ("!miimon@freq", X, "bond interface miimon freq missing or invalid"),
    ("miimon@freq", X, "bond interface miimon freq missing or invalid"),
    ("miimon@downdelay", X, "bond interface miimon downdelay invalid"),
    ("miimon@updelay", X, "bond interface miimon updelay invalid"),
    ("miimon@carrier", X, "unknown mii bonding carrier {}"),
    ("!arpmon@interval", X, "bond interface arpmon interval missing or invalid"),
    ("arpmon@interval", X, "bond interface arpmon interval missing or invalid"),
    ("!arpmon@target", X, "bond interface arpmon target missing"),
    ("arpmon@validate", X, "unknown arp bonding validate {}"),
];

/// Reads an `<interface>` document.
pub fn parse(text: &str) -> Parsed<Interface> {
    object::with_rest(text, &REST, read)
}

/// What an interface is without some of its parts.
const REST: object::Rest = object::Rest {
    attrs: &[("type", "ethernet"), ("name", "unnamed")],
    children: &[],
    asks: &[("interface.port", &["@type"])],
};

fn read(text: &str) -> Parsed<Interface> {
    let refine = |root: Element<'_>, d: &mut diag::Diagnostic| {
        let in_vlan =
            object::path_to(root, d).iter().rev().nth(1).is_some_and(|e| e.is("vlan", None));
        if in_vlan && object::Fault::of(d).is_some_and(|f| f.key == "!interface@name") {
            d.message = "vlan interface misses name attribute".to_owned();
        } else {
            object::refine(d, RULES, "");
        }
    };
    object::read(text, "interface", refine, complete)
}

/// Writes an `<interface>` document.
pub fn format(interface: &Interface, options: &WriteOptions) -> String {
    xml::write(interface, "interface", options)
}

fn complete(interface: &mut Interface, el: Element<'_>, cx: &mut Reader) {
    interface.start = interface.start.take().filter(|start| start.mode.is_some());
    interface.mtu = interface.mtu.take().filter(|mtu| mtu.size.is_some_and(|size| size != 0));
    for protocol in &mut interface.protocols {
        // Only IPv6 has it.
        protocol.autoconf &= protocol.family == Family::Ipv6;
        protocol.ips.retain(|ip| ip.address.is_some());
        for ip in &mut protocol.ips {
            ip.prefix = ip.prefix.filter(|prefix| *prefix != 0);
        }
        protocol.route = protocol.route.take().filter(|route| route.gateway.is_some());
    }
    complete_kind(&mut interface.kind, el, cx);
}

fn complete_kind(kind: &mut Kind, el: Element<'_>, cx: &mut Reader) {
    match kind {
        Kind::Ethernet(ethernet) => {
            Link::settle(&mut ethernet.link);
            ethernet.mac = ethernet.mac.take().filter(|mac| mac.address.is_some());
        }
        Kind::Bridge(kind) => {
            Link::settle(&mut kind.link);
            let known = |stp: &String| matches!(stp.as_str(), "on" | "off");
            kind.bridge.stp = kind.bridge.stp.take().filter(known);
            let allowed = |kind: &Kind| !matches!(kind, Kind::Bridge(_));
            complete_ports(&mut kind.bridge.ports, el.child("bridge"), allowed, cx);
        }
        Kind::Bond(kind) => {
            Link::settle(&mut kind.link);
            kind.bond.settle();
            let allowed = |kind: &Kind| matches!(kind, Kind::Ethernet(_));
            complete_ports(&mut kind.bond.ports, el.child("bond"), allowed, cx);
        }
        Kind::Vlan(kind) => Link::settle(&mut kind.link),
    }
}

fn complete_ports(
    ports: &mut [Port],
    holder: Option<Element<'_>>,
    allowed: impl Fn(&Kind) -> bool,
    cx: &mut Reader,
) {
    let Some(holder) = holder else { return };
    let elements = holder.children().filter(|el| el.is("interface", None));
    for (port, el) in ports.iter_mut().zip(elements) {
        if allowed(&port.kind) {
            complete_kind(&mut port.kind, el, cx);
        } else {
            let message = format!("interface has unsupported type '{}'", port.kind.tag());
            fault(cx, el, "interface.port", X, message);
        }
    }
}

/// Reads arbitrary bytes; what was written must be read again, and to the same value.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(interface) = parse(text).value {
        let written = format(&interface, &WriteOptions::default());
        assert_eq!(parse(&written).value.as_ref(), Some(&interface), "{written}");
    }
}
