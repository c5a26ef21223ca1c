//! The kinds of values that a rule's attributes have: reading and writing them.

use units::MacAddr;

use super::value::{Direction, State, TcpFlags, Value};
use crate::network::IpAddress;

/// A kind of value. Numbers may be hexadecimal, after `0x`, unless something else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A MAC address.
    Mac,
    /// A mask of MAC addresses: ones in front.
    MacMask,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An address of either family.
    AnyIp,
    /// A mask of IPv4 addresses, as a prefix or an address.
    Ipv4Mask,
    /// A mask of IPv6 addresses, as a prefix or an address.
    Ipv6Mask,
    /// A number up to 255.
    U8,
    /// A number up to 65535.
    U16,
    /// A number up to 2^32-1.
    U32,
    /// A number up to 65535, never hexadecimal.
    Decimal16,
    /// A number up to 63.
    SixBits,
    /// A number up to 4095.
    VlanId,
    /// A protocol above Ethernet, by name or number from 0x600.
    EtherType,
    /// A protocol inside a VLAN, by name or number.
    Encapsulated,
    /// What an ARP packet asks, by name or number.
    ArpOpcode,
    /// A protocol above IP, by name or number.
    IpProtocol,
    /// Yes or no: anything but a clear yes is no.
    Boolean,
    /// States of a connection.
    State,
    /// Flags of TCP: those looked at, and those set.
    TcpFlags,
    /// The name of an IP set.
    IpSet,
    /// Which addresses are looked up in an IP set.
    IpSetFlags,
    /// Text that stands beside the rule in the firewall; no variable can take its place.
    Comment,
}

type Names = &'static [(u32, &'static str)];

const ETHER_TYPES: Names =
    &[(0x806, "arp"), (0x8035, "rarp"), (0x800, "ipv4"), (0x86dd, "ipv6"), (0x8100, "vlan")];

const ARP_OPCODES: Names = &[
    (1, "Request"),
    (2, "Reply"),
    (3, "Request_Reverse"),
    (4, "Reply_Reverse"),
    (5, "DRARP_Request"),
    (6, "DRARP_Reply"),
    (7, "DRARP_Error"),
    (8, "InARP_Request"),
    (9, "ARP_NAK"),
];

const IP_PROTOCOLS: Names = &[
    (6, "tcp"),
    (17, "udp"),
    (136, "udplite"),
    (50, "esp"),
    (51, "ah"),
    (1, "icmp"),
    (2, "igmp"),
    (132, "sctp"),
    (58, "icmpv6"),
];

/// The longest comment; what is beyond is cut off.
const COMMENT: usize = 256;

impl Kind {
    /// The names that numbers of this kind have.
    pub fn names(self) -> &'static [(u32, &'static str)] {
        match self {
            Self::EtherType | Self::Encapsulated => ETHER_TYPES,
            Self::ArpOpcode => ARP_OPCODES,
            Self::IpProtocol => IP_PROTOCOLS,
            _ => &[],
        }
    }

    /// Least and greatest number.
    fn bounds(self) -> (u32, u32) {
        match self {
            Self::U8 | Self::IpProtocol => (0, 255),
            Self::U32 => (0, u32::MAX),
            Self::SixBits => (0, 63),
            Self::VlanId => (0, 4095),
            Self::EtherType => (0x600, 0xffff),
            _ => (0, 0xffff),
        }
    }

    /// Reads a value; `None` when the text is none of this kind.
    pub fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Mac => text.parse().ok().map(Value::Mac),
            Self::MacMask => text.parse().ok().filter(ones_in_front).map(Value::Mac),
            Self::Ipv4 => ip(text, true),
            Self::Ipv6 => ip(text, false),
            Self::AnyIp => IpAddress::parse(text).map(Value::Ip),
            Self::Ipv4Mask => mask(text, 32),
            Self::Ipv6Mask => mask(text, 128),
            Self::Boolean => Some(Value::Boolean(matches!(text, "1" | "true" | "yes"))),
            Self::State => State::parse(text).map(Value::State),
            Self::TcpFlags => TcpFlags::parse(text).map(Value::TcpFlags),
            Self::IpSet => {
                let good = |c: char| c.is_ascii_alphanumeric() || "_.:-+ ".contains(c);
                (text.len() <= 31 && text.chars().all(good)).then(|| Value::Text(text.to_owned()))
            }
            Self::IpSetFlags => directions(text),
            Self::Comment => {
                let end = (0..=text.len().min(COMMENT)).rev().find(|i| text.is_char_boundary(*i));
                Some(Value::Text(text[..end.unwrap_or(0)].to_owned()))
            }
            _ => self.number(text),
        }
    }

    fn number(self, text: &str) -> Option<Value> {
        let named = self.names().iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        if let Some((number, _)) = named {
            return Some(Value::Number { number: *number, hex: false });
        }
        let text = text.trim_ascii_start();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) if self == Self::U32 => (true, rest),
            _ => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        // What is no decimal number is taken for a hexadecimal one.
        let letters = self != Self::Decimal16
            && digits.bytes().all(|c| c.is_ascii_hexdigit())
            && digits.bytes().any(|c| c.is_ascii_alphabetic());
        let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
        let hex = hex.or_else(|| letters.then_some(digits));
        let value = match hex {
            Some(_) if self == Self::Decimal16 => return None,
            Some(digits) if digits.bytes().all(|c| c.is_ascii_hexdigit()) => {
                u32::from_str_radix(digits, 16).ok()?
            }
            Some(_) => return None,
            None if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().ok()?,
            None => return None,
        };
        let number = if negative { value.wrapping_neg() } else { value };
        let (least, most) = self.bounds();
        // Where a number has a name, the name is written.
        let named = self.names().iter().any(|(known, _)| *known == number);
        let hex = hex.is_some() && !named && self != Self::ArpOpcode;
        (least..=most).contains(&number).then_some(Value::Number { number, hex })
    }
}

fn ip(text: &str, v4: bool) -> Option<Value> {
    IpAddress::parse(text).filter(|ip| ip.is_v4() == v4).map(Value::Ip)
}

fn mask(text: &str, width: u32) -> Option<Value> {
    let digits = text.trim_ascii_start();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return digits.parse().ok().filter(|bits| *bits <= width).map(Value::Mask);
    }
    let address = IpAddress::parse(text).filter(|ip| ip.width() == width)?;
    // A text that C would read as one number is no address here.
    text.contains(['.', ':']).then(|| address.as_prefix())?.map(Value::Mask)
}

fn ones_in_front(mask: &MacAddr) -> bool {
    let bits = mask.0.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte)) << 16;
    bits << bits.leading_ones().min(63) == 0 || bits.leading_ones() == 64
}

fn directions(text: &str) -> Option<Value> {
    let all: Option<Vec<Direction>> = text
        .split(',')
        .map(|word| match word.to_ascii_lowercase().as_str() {
            "src" => Some(Direction::Source),
            "dst" => Some(Direction::Destination),
            _ => None,
        })
        .collect();
    all.filter(|list| list.len() <= 6).map(Value::Directions)
}
