//! IP addresses as they stand in XML, and the arithmetic of networks.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use xml::{ValueError, ValueKind, XmlEnum, XmlValue};

/// An address of either family. It is read as the C library reads numeric addresses (`127.1` and
/// `0x7f.0.0.1` are IPv4 addresses) and written as it writes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpAddress(pub IpAddr);

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, XmlEnum)]
pub enum Family {
    /// `ipv4`.
    Ipv4,
    /// `ipv6`.
    Ipv6,
}

/// Why two addresses are no range. The words are libvirt's.
pub type RangeError = String;

/// So many addresses a range may have after its first.
const LARGEST_RANGE: u32 = 65535;

impl IpAddress {
    /// Reads an address; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        match parse_v4(text) {
            Some(v4) => Some(Self(IpAddr::V4(v4))),
            None => text.parse::<Ipv6Addr>().ok().map(|v6| Self(IpAddr::V6(v6))),
        }
    }

    /// Whether it is an IPv4 address.
    pub fn is_v4(self) -> bool {
        self.0.is_ipv4()
    }

    /// Its family.
    pub fn family(self) -> Family {
        if self.is_v4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// The bits of an address of this family.
    pub fn width(self) -> u32 {
        if self.is_v4() { 32 } else { 128 }
    }

    /// The address as a number.
    pub fn bits(self) -> u128 {
        match self.0 {
            IpAddr::V4(v4) => u32::from(v4).into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }

    /// The number as an address of the same family.
    fn with_bits(self, bits: u128) -> Self {
        Self(match self.0 {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(bits as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
        })
    }

    /// The first address of the network of this prefix: what is beyond it is zero.
    pub fn network(self, prefix: u32) -> Self {
        self.with_bits(self.bits() & mask(prefix, self.width()))
    }

    /// The last address of the network of this prefix.
    pub fn broadcast(self, prefix: u32) -> Self {
        let width = self.width();
        let all = u128::MAX >> (128 - width);
        self.with_bits((self.bits() | !mask(prefix, width)) & all)
    }

    /// The netmask of a prefix, in this family.
    pub fn netmask(self, prefix: u32) -> Self {
        self.with_bits(mask(prefix, self.width()))
    }

    /// The prefix that this netmask stands for; `None` when its ones are not all in front.
    pub fn as_prefix(self) -> Option<u32> {
        let bits = self.bits() << (128 - self.width());
        let ones = bits.leading_ones();
        (bits << 1 == 0 || bits.checked_shl(ones).unwrap_or(0) == 0).then_some(ones)
    }

    /// The prefix of a network for which none is given: by class for IPv4, 64 for IPv6.
    pub fn default_prefix(self) -> Option<u32> {
        let IpAddr::V4(v4) = self.0 else { return Some(64) };
        match v4.octets()[0] {
            0..=127 => Some(8),
            128..=191 => Some(16),
            192..=223 => Some(24),
            _ => None,
        }
    }
}

/// `prefix` ones in front of zeros, in the low `width` bits.
fn mask(prefix: u32, width: u32) -> u128 {
    let prefix = prefix.min(width);
    let ones = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    ones >> (128 - width)
}

/// A network that a range must lie in: an address in it and the prefix, `None` where the netmask
/// is no prefix.
#[derive(Clone, Copy, Debug)]
pub struct RangeNetwork {
    /// Any address of it.
    pub address: IpAddress,
    /// Its prefix.
    pub prefix: Option<u32>,
}

/// Checks that two addresses are a range, and one of `network` where there is one.
///
/// # Errors
///
/// The first rule that is broken, in libvirt's words.
pub fn check_range(
    start: IpAddress,
    end: IpAddress,
    network: Option<RangeNetwork>,
) -> Result<(), RangeError> {
    if start.is_v4() != end.is_v4() {
        return Err(format!("mismatch of address family in range {start} - {end}"));
    }
    if let Some(RangeNetwork { address, prefix }) = network {
        if address.is_v4() != start.is_v4() {
            return Err(mismatch(start, end, address));
        }
        let Some(prefix) = prefix else {
            return Err(format!(
                "bad prefix -1 for network {address} when checking range {start} - {end}"
            ));
        };
        let net = address.network(prefix);
        if start.network(prefix) != net || end.network(prefix) != net {
            return Err(format!(
                "range {start} - {end} is not entirely within network {address}/{prefix}"
            ));
        }
        if start.is_v4() {
            let place = format!("range {start} - {end} in network {address}/{prefix}");
            if start == net {
                return Err(format!("start of {place} is the network address"));
            }
            if end == address.broadcast(prefix) {
                return Err(format!("end of {place} is the broadcast address"));
            }
        }
    }
    if start.is_v4() {
        if end < start {
            return Err(format!("range {start} - {end} is reversed "));
        }
        if end.bits() - start.bits() > u128::from(LARGEST_RANGE) {
            return Err(format!("range {start} - {end} is too large (> {LARGEST_RANGE})"));
        }
        return Ok(());
    }
    // Of IPv6 addresses only the last 16 bits may differ.
    if start.bits() >> 16 != end.bits() >> 16 {
        return Err(format!("range {start} - {end} is too large (> {LARGEST_RANGE})"));
    }
    if end < start {
        return Err(format!("range {start} - {end} start larger than end"));
    }
    Ok(())
}

fn mismatch(start: IpAddress, end: IpAddress, network: IpAddress) -> RangeError {
    format!("mismatch of address family in range {start} - {end} for network {network}")
}

/// One to four numbers (decimal, octal after `0`, hexadecimal after `0x`); the last one fills the
/// rest of the address.
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = [0u32; 4];
    let mut count = 0;
    for piece in text.split('.') {
        *parts.get_mut(count)? = parse_part(piece)?;
        count += 1;
    }
    let last = *parts.get(count.checked_sub(1)?)?;
    let room = 8 * (5 - count as u32);
    if room < 32 && last >> room != 0 {
        return None;
    }
    let mut address = last;
    for (i, part) in parts.iter().take(count - 1).enumerate() {
        if *part > 255 {
            return None;
        }
        address |= part << (24 - 8 * i);
    }
    Some(Ipv4Addr::from(address))
}

fn parse_part(piece: &str) -> Option<u32> {
    let (digits, radix) = match piece.strip_prefix("0x").or_else(|| piece.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if piece.len() > 1 && piece.starts_with('0') => (piece, 8),
        None => (piece, 10),
    };
    // from_str_radix would take a sign.
    if !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

impl fmt::Display for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => match v6.segments() {
                // The C library writes these as IPv4 addresses too.
                [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
                    write!(f, "::{}", Ipv4Addr::from(self.bits() as u32))
                }
                _ => v6.fmt(f),
            },
        }
    }
}

impl fmt::Debug for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl XmlValue for IpAddress {
    fn parse(text: &str) -> Result<Self, ValueError> {
        Self::parse(text).ok_or_else(|| ValueError::expected("an IP address"))
    }
    fn write(&self, out: &mut String) {
        use std::fmt::Write as _;
        let _ = write!(out, "{self}");
    }
    fn kind() -> ValueKind {
        ValueKind::Named("ip address")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddress {
        IpAddress::parse(text).expect(text)
    }

    #[test]
    fn addresses_are_read_and_written_like_the_c_library_does() {
        for (text, expected) in [
            ("192.168.1.1", "192.168.1.1"),
            ("192.168.257", "192.168.1.1"),
            ("127.1", "127.0.0.1"),
            ("0300.1.0x10.1", "192.1.16.1"),
            ("2130706433", "127.0.0.1"),
            ("2001:0DB8::0:1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("::1:0", "::0.1.0.0"),
            ("::5", "::5"),
            ("::", "::"),
        ] {
            assert_eq!(ip(text).to_string(), expected, "{text}");
        }
        for text in ["", ".", "1.2.3.4.5", "1.2.3.256", "1.65536.1", "08.1.1.1", "+1.2.3.4", " ::"]
        {
            assert_eq!(IpAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn networks_have_a_first_and_a_last_address() {
        assert_eq!(ip("10.1.2.3").network(8), ip("10.0.0.0"));
        assert_eq!(ip("10.1.2.3").broadcast(24), ip("10.1.2.255"));
        assert_eq!(ip("10.1.2.3").network(0), ip("0.0.0.0"));
        assert_eq!(ip("10.1.2.3").netmask(25), ip("255.255.255.128"));
        assert_eq!(ip("2001:db8::5").network(64), ip("2001:db8::"));
        assert_eq!(ip("255.255.255.0").as_prefix(), Some(24));
        assert_eq!(ip("0.0.0.0").as_prefix(), Some(0));
        assert_eq!(ip("255.255.255.255").as_prefix(), Some(32));
        assert_eq!(ip("255.0.255.0").as_prefix(), None);
        assert_eq!(ip("172.16.0.1").default_prefix(), Some(16));
    }

    #[test]
    fn a_range_lies_in_its_network() {
        let check = |start: &str, end: &str, net: &str, prefix: u32| {
            let network = RangeNetwork { address: ip(net), prefix: Some(prefix) };
            check_range(ip(start), ip(end), Some(network))
        };
        assert_eq!(check("10.0.0.2", "10.1.0.1", "10.0.0.1", 8), Ok(()));
        assert_eq!(check("fd00::2", "fd00::ffff", "fd00::1", 64), Ok(()));
        for (start, end, net, prefix, expected) in [
            ("10.0.0.9", "10.0.0.2", "10.0.0.1", 8, "reversed"),
            ("10.0.0.2", "10.1.0.2", "10.0.0.1", 8, "too large"),
            ("10.0.0.0", "10.1.0.2", "10.0.0.1", 8, "network address"),
            ("10.0.0.2", "10.0.0.255", "10.0.0.1", 24, "broadcast address"),
            ("10.0.0.2", "10.0.1.5", "10.0.0.1", 24, "not entirely within"),
            ("fd00::2", "fd00::5", "10.0.0.1", 24, "mismatch"),
            ("fd00::2", "10.0.0.1", "10.0.0.1", 24, "mismatch"),
            ("fd00::2", "fd00::1:0", "fd00::1", 64, "too large"),
            ("fd00::9", "fd00::2", "fd00::1", 64, "larger than end"),
        ] {
            let error = check(start, end, net, prefix).expect_err(start);
            assert!(error.contains(expected), "{error}");
        }
    }
}
