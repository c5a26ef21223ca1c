//! Values of a rule's attributes.

use units::MacAddr;

use super::kind::Kind;
use super::variable::Variable;
use crate::network::IpAddress;

/// A value, or the variable that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A variable.
    Variable(Variable),
    /// A MAC address or a mask of such.
    Mac(MacAddr),
    /// An IP address.
    Ip(IpAddress),
    /// A mask of IP addresses, as a number of bits.
    Mask(u32),
    /// A number.
    Number {
        /// The number.
        number: u32,
        /// Whether it was written in hexadecimal.
        hex: bool,
    },
    /// Yes or no.
    Boolean(bool),
    /// States of a connection.
    State(State),
    /// Flags of TCP.
    TcpFlags(TcpFlags),
    /// Which addresses are looked up.
    Directions(Vec<Direction>),
    /// Text.
    Text(String),
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// States of a connection: any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct State {
    bits: u8,
    /// The rule looks at no state at all.
    pub none: bool,
}

const STATES: [&str; 4] = ["NEW", "ESTABLISHED", "RELATED", "INVALID"];

/// Bits of `words` in a list; what separates words may be repeated.
fn bits(text: &str, words: &[&str], none: &str, all: &str) -> Option<(u8, bool)> {
    let (mut bits, mut is_none) = (0u8, false);
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        match words.iter().position(|known| known.eq_ignore_ascii_case(word)) {
            Some(at) => bits |= 1 << at,
            None if word.eq_ignore_ascii_case(none) => is_none = true,
            None if !all.is_empty() && word.eq_ignore_ascii_case(all) => {
                bits |= ((1u16 << words.len()) - 1) as u8;
            }
            None => return None,
        }
    }
    Some((bits, is_none))
}

fn list(bits: u8, words: &[&str]) -> String {
    let set: Vec<&str> =
        words.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, w)| *w).collect();
    set.join(",")
}

impl State {
    /// Reads a list of states.
    pub fn parse(text: &str) -> Option<Self> {
        let (bits, none) = bits(text, &STATES, "NONE", "")?;
        Some(Self { bits, none })
    }

    /// The list.
    pub fn text(self) -> String {
        if self.none { "NONE".to_owned() } else { list(self.bits, &STATES) }
    }
}

/// Flags of TCP: those looked at, and those of them that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpFlags {
    mask: u8,
    set: u8,
}

const FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

impl TcpFlags {
    /// Reads `MASK/FLAGS`.
    pub fn parse(text: &str) -> Option<Self> {
        let (mask, set) = text.split_once('/')?;
        let flags = |text: &str| Some(bits(text, &FLAGS, "NONE", "ALL")?.0);
        Some(Self { mask: flags(mask)?, set: flags(set)? })
    }

    fn side(bits: u8) -> String {
        match bits {
            0 => "NONE".to_owned(),
            0b11_1111 => "ALL".to_owned(),
            _ => list(bits, &FLAGS),
        }
    }

    /// The flags looked at.
    pub fn mask(self) -> String {
        Self::side(self.mask)
    }

    /// Those of them that are set.
    pub fn set(self) -> String {
        Self::side(self.set)
    }
}

impl Value {
    /// The value as it is written in XML, `kind` being its attribute's.
    pub fn text(&self, kind: Kind) -> String {
        match self {
            Self::Variable(variable) => variable.to_string(),
            Self::Mac(mac) => mac.to_string(),
            Self::Ip(ip) => ip.to_string(),
            Self::Mask(bits) => bits.to_string(),
            Self::Number { number, hex } => {
                match kind.names().iter().find(|(known, _)| known == number) {
                    Some((_, name)) => (*name).to_owned(),
                    None if *hex => format!("0x{number:x}"),
                    None => number.to_string(),
                }
            }
            Self::Boolean(yes) => yes.to_string(),
            Self::State(state) => state.text(),
            Self::TcpFlags(flags) => format!("{}/{}", flags.mask(), flags.set()),
            Self::Directions(list) => {
                let words: Vec<&str> = list
                    .iter()
                    .map(|d| if *d == Direction::Source { "src" } else { "dst" })
                    .collect();
                words.join(",")
            }
            Self::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_kind_and_written_in_one_way() {
        for (kind, text, expected) in [
            (Kind::Mac, "1:2:3:4:5:F", Some("01:02:03:04:05:0f")),
            (Kind::MacMask, "ff:ff:80:0:0:0", Some("ff:ff:80:00:00:00")),
            (Kind::MacMask, "ff:0:ff:0:0:0", None),
            (Kind::MacMask, "ff:ff:ff:ff:ff:ff", Some("ff:ff:ff:ff:ff:ff")),
            (Kind::MacMask, "0:0:0:0:0:0", Some("00:00:00:00:00:00")),
            (Kind::Ipv4, "::1", None),
            (Kind::Ipv6, "1.2.3.4", None),
            (Kind::Ipv4Mask, "255.255.0.0", Some("16")),
            (Kind::Ipv4Mask, "33", None),
            (Kind::Ipv4Mask, "0x10", None),
            (Kind::Ipv6Mask, "ffff::", Some("16")),
            (Kind::Ipv6Mask, "129", None),
            (Kind::U8, "0xff", Some("0xff")),
            (Kind::U8, "256", None),
            (Kind::U16, "010", Some("10")),
            (Kind::U16, "9a", Some("0x9a")),
            (Kind::U16, "fffff", None),
            (Kind::Decimal16, "1f", None),
            (Kind::U16, "0x", None),
            (Kind::U16, "-1", None),
            (Kind::U32, "-1", Some("4294967295")),
            (Kind::Decimal16, "0x10", None),
            (Kind::SixBits, "0x40", None),
            (Kind::EtherType, "ARP", Some("arp")),
            (Kind::EtherType, "0x86DD", Some("ipv6")),
            (Kind::EtherType, "1535", None),
            (Kind::Encapsulated, "1535", Some("1535")),
            (Kind::ArpOpcode, "reply", Some("Reply")),
            (Kind::ArpOpcode, "0x12", Some("18")),
            (Kind::IpProtocol, "17", Some("udp")),
            (Kind::IpProtocol, "0xfe", Some("0xfe")),
            (Kind::Boolean, "yes", Some("true")),
            (Kind::Boolean, "Yes", Some("false")),
            (Kind::State, "related,NEW", Some("NEW,RELATED")),
            (Kind::State, "NONE", Some("NONE")),
            (Kind::State, "X", None),
            (Kind::TcpFlags, "ack,SYN/SYN", Some("SYN,ACK/SYN")),
            (Kind::TcpFlags, "ALL/", Some("ALL/NONE")),
            (Kind::TcpFlags, "SYN", None),
            (Kind::IpSet, "a b", Some("a b")),
            (Kind::IpSet, "a/b", None),
            (Kind::IpSetFlags, "SRC,dst", Some("src,dst")),
            (Kind::IpSetFlags, "src,", None),
        ] {
            let got = kind.parse(text).map(|value| value.text(kind));
            assert_eq!(got.as_deref(), expected, "{kind:?} {text}");
        }
        let long = "é".repeat(200);
        let Some(Value::Text(cut)) = Kind::Comment.parse(&long) else { panic!("a comment") };
        assert_eq!(cut.len(), 256);
    }
}
