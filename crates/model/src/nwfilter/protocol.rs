//! The protocols of rules and the attributes each has.

use xml::XmlEnum;

use super::kind::Kind;

/// An attribute of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// The attribute whose negation it shares; without that one it is not negated.
    pub follows: Option<&'static str>,
}

const fn own(name: &'static str, kind: Kind) -> Attribute {
    Attribute { name, kind, follows: None }
}

const fn with(name: &'static str, kind: Kind, follows: &'static str) -> Attribute {
    Attribute { name, kind, follows: Some(follows) }
}

const SOURCE_MAC: &[Attribute] = &[own("srcmacaddr", Kind::Mac)];
const SOURCE_MAC_MASK: &[Attribute] = &[own("srcmacmask", Kind::MacMask)];
const DESTINATION_MAC: &[Attribute] =
    &[own("dstmacaddr", Kind::Mac), own("dstmacmask", Kind::MacMask)];
const MAC: &[Attribute] = &[own("protocolid", Kind::EtherType)];
const VLAN: &[Attribute] =
    &[own("vlanid", Kind::VlanId), own("encap-protocol", Kind::Encapsulated)];
const STP: &[Attribute] = &[
    own("type", Kind::U8),
    own("flags", Kind::U8),
    own("root-priority", Kind::U16),
    with("root-priority-hi", Kind::U16, "root-priority"),
    own("root-address", Kind::Mac),
    own("root-address-mask", Kind::MacMask),
    own("root-cost", Kind::U32),
    with("root-cost-hi", Kind::U32, "root-cost"),
    own("sender-priority", Kind::U16),
    with("sender-priority-hi", Kind::U16, "sender-priority"),
    own("sender-address", Kind::Mac),
    own("sender-address-mask", Kind::MacMask),
    own("port", Kind::U16),
    with("port-hi", Kind::U16, "port"),
    own("age", Kind::U16),
    with("age-hi", Kind::U16, "age"),
    own("max-age", Kind::U16),
    with("max-age-hi", Kind::U16, "max-age"),
    own("hello-time", Kind::U16),
    with("hello-time-hi", Kind::U16, "hello-time"),
    own("forward-delay", Kind::U16),
    with("forward-delay-hi", Kind::U16, "forward-delay"),
];
const ARP: &[Attribute] = &[
    own("hwtype", Kind::U16),
    own("protocoltype", Kind::U16),
    own("opcode", Kind::ArpOpcode),
    own("arpsrcmacaddr", Kind::Mac),
    own("arpdstmacaddr", Kind::Mac),
    own("arpsrcipaddr", Kind::Ipv4),
    own("arpsrcipmask", Kind::Ipv4Mask),
    own("arpdstipaddr", Kind::Ipv4),
    own("arpdstipmask", Kind::Ipv4Mask),
    own("gratuitous", Kind::Boolean),
];
const ADDRESSES: &[Attribute] = &[
    own("srcipaddr", Kind::Ipv4),
    with("srcipmask", Kind::Ipv4Mask, "srcipaddr"),
    own("dstipaddr", Kind::Ipv4),
    with("dstipmask", Kind::Ipv4Mask, "dstipaddr"),
];
const ADDRESSES6: &[Attribute] = &[
    own("srcipaddr", Kind::Ipv6),
    with("srcipmask", Kind::Ipv6Mask, "srcipaddr"),
    own("dstipaddr", Kind::Ipv6),
    with("dstipmask", Kind::Ipv6Mask, "dstipaddr"),
];
const RANGES: &[Attribute] = &[
    own("srcipfrom", Kind::Ipv4),
    with("srcipto", Kind::Ipv4, "srcipfrom"),
    own("dstipfrom", Kind::Ipv4),
    with("dstipto", Kind::Ipv4, "dstipfrom"),
];
const RANGES6: &[Attribute] = &[
    own("srcipfrom", Kind::Ipv6),
    with("srcipto", Kind::Ipv6, "srcipfrom"),
    own("dstipfrom", Kind::Ipv6),
    // libvirt takes an IPv4 address here, which no rule could use.
    with("dstipto", Kind::AnyIp, "dstipfrom"),
];
const CONNECTION: &[Attribute] = &[
    own("dscp", Kind::SixBits),
    own("connlimit-above", Kind::Decimal16),
    own("state", Kind::State),
    own("ipset", Kind::IpSet),
    own("ipsetflags", Kind::IpSetFlags),
];
const PROTOCOL: &[Attribute] = &[own("protocol", Kind::IpProtocol)];
/// Ports of `ip` and `ipv6`.
const IP_PORTS: &[Attribute] = &[
    own("srcportstart", Kind::U16),
    with("srcportend", Kind::U16, "srcportstart"),
    own("dstportstart", Kind::U16),
    with("dstportend", Kind::U16, "dstportstart"),
];
/// Ports of protocols above IP; libvirt has one sign for all four.
const PORTS: &[Attribute] = &[
    own("srcportstart", Kind::U16),
    with("srcportend", Kind::U16, "srcportstart"),
    with("dstportstart", Kind::U16, "srcportstart"),
    with("dstportend", Kind::U16, "srcportstart"),
];
const DSCP: &[Attribute] = &[own("dscp", Kind::SixBits)];
const ICMP_RANGES: &[Attribute] = &[
    own("type", Kind::U8),
    with("typeend", Kind::U8, "type"),
    with("code", Kind::U8, "type"),
    with("codeend", Kind::U8, "type"),
];
const ICMP: &[Attribute] = &[own("type", Kind::U8), with("code", Kind::U8, "type")];
const FLAGS: &[Attribute] = &[own("flags", Kind::TcpFlags)];
const COMMENT: &[Attribute] = &[own("comment", Kind::Comment)];

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, XmlEnum)]
pub enum Protocol {
    /// Ethernet.
    Mac,
    /// VLAN tags.
    Vlan,
    /// Spanning tree.
    Stp,
    /// ARP.
    Arp,
    /// Reverse ARP.
    Rarp,
    /// IPv4, seen from the bridge.
    Ip,
    /// IPv6, seen from the bridge.
    Ipv6,
    /// TCP over IPv4.
    Tcp,
    /// ICMP.
    Icmp,
    /// IGMP.
    Igmp,
    /// UDP over IPv4.
    Udp,
    /// UDP-Lite over IPv4.
    Udplite,
    /// ESP over IPv4.
    Esp,
    /// AH over IPv4.
    Ah,
    /// SCTP over IPv4.
    Sctp,
    /// Anything over IPv4.
    All,
    /// TCP over IPv6.
    #[xml(name = "tcp-ipv6")]
    TcpV6,
    /// ICMPv6.
    Icmpv6,
    /// UDP over IPv6.
    #[xml(name = "udp-ipv6")]
    UdpV6,
    /// UDP-Lite over IPv6.
    #[xml(name = "udplite-ipv6")]
    UdpliteV6,
    /// ESP over IPv6.
    #[xml(name = "esp-ipv6")]
    EspV6,
    /// AH over IPv6.
    #[xml(name = "ah-ipv6")]
    AhV6,
    /// SCTP over IPv6.
    #[xml(name = "sctp-ipv6")]
    SctpV6,
    /// Anything over IPv6.
    #[xml(name = "all-ipv6")]
    AllV6,
}

/// Which of the host's filters carries a rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The bridge: ebtables.
    Ethernet,
    /// IPv4: iptables.
    Ipv4,
    /// IPv6: ip6tables.
    Ipv6,
}

impl Protocol {
    /// The filter that carries its rules out.
    pub fn layer(self) -> Layer {
        match self {
            Self::Mac | Self::Vlan | Self::Stp | Self::Arp | Self::Rarp | Self::Ip | Self::Ipv6 => {
                Layer::Ethernet
            }
            Self::Tcp
            | Self::Icmp
            | Self::Igmp
            | Self::Udp
            | Self::Udplite
            | Self::Esp
            | Self::Ah
            | Self::Sctp
            | Self::All => Layer::Ipv4,
            _ => Layer::Ipv6,
        }
    }

    /// Groups of attributes, in the order they are written.
    fn groups(self) -> [&'static [Attribute]; 9] {
        const NONE: &[Attribute] = &[];
        let end = [COMMENT, NONE];
        let l2 = |own: [&'static [Attribute]; 4]| {
            let [a, b, c, d] = own;
            [SOURCE_MAC, SOURCE_MAC_MASK, DESTINATION_MAC, a, b, c, d, end[0], end[1]]
        };
        let above = |ports: &'static [Attribute], own: &'static [Attribute]| {
            let (addresses, ranges) = match self.layer() {
                Layer::Ipv6 => (ADDRESSES6, RANGES6),
                _ => (ADDRESSES, RANGES),
            };
            [SOURCE_MAC, addresses, ranges, CONNECTION, ports, own, COMMENT, NONE, NONE]
        };
        match self {
            Self::Mac => l2([MAC, NONE, NONE, NONE]),
            Self::Vlan => l2([VLAN, NONE, NONE, NONE]),
            Self::Stp => [SOURCE_MAC, SOURCE_MAC_MASK, STP, COMMENT, NONE, NONE, NONE, NONE, NONE],
            Self::Arp | Self::Rarp => l2([ARP, NONE, NONE, NONE]),
            Self::Ip => l2([ADDRESSES, PROTOCOL, IP_PORTS, DSCP]),
            Self::Ipv6 => l2([ADDRESSES6, PROTOCOL, IP_PORTS, ICMP_RANGES]),
            Self::Tcp => above(PORTS, FLAGS),
            Self::Udp | Self::Sctp | Self::TcpV6 | Self::UdpV6 | Self::SctpV6 => above(PORTS, NONE),
            Self::Icmp | Self::Icmpv6 => above(ICMP, NONE),
            _ => above(NONE, NONE),
        }
    }

    /// Its attributes, in the order they are written.
    pub fn attributes(self) -> impl Iterator<Item = &'static Attribute> {
        self.groups().into_iter().flatten()
    }
}
