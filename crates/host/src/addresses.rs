//! Addresses and routes of a network interface, by the kernel's route netlink protocol
//! (`linux/if_addr.h`, `linux/rtnetlink.h`).
//!
//! All calls act in the network namespace of the calling thread.

use std::io;
use std::net::IpAddr;

use crate::netdev;
use crate::netlink::{self, Message, NLM_F_CREATE, NLM_F_EXCL};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's own.
    pub address: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
    /// Who is at the other end, where that is one host.
    pub peer: Option<IpAddr>,
}

impl Address {
    /// The address of all of its network; of IPv4, where there are more than two.
    pub fn broadcast(&self) -> Option<IpAddr> {
        let IpAddr::V4(address) = self.address else { return None };
        let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        self.peer.is_none().then(|| IpAddr::V4((u32::from(address) | hosts).into()))
    }
}

/// A route over an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpAddr,
    /// How many bits of that name the network.
    pub prefix: u8,
    /// Who passes it on.
    pub gateway: IpAddr,
    /// The lowest of several is taken.
    pub metric: u32,
}

/// Gives an interface an address.
///
/// # Errors
/// There is no such interface, it has the address (`AlreadyExists`), or the kernel refuses.
pub fn add(name: &str, address: &Address) -> io::Result<()> {
    netlink::exchange(&address_message(RTM_NEWADDR, NEW, number(name)?, address))
}

/// Takes an address from an interface.
///
/// # Errors
/// There is no such interface, or it has no such address.
pub fn remove(name: &str, address: &Address) -> io::Result<()> {
    netlink::exchange(&address_message(RTM_DELADDR, 0, number(name)?, address))
}

/// Adds a route over an interface.
///
/// # Errors
/// There is no such interface, the gateway is not reached over it, there is such a route
/// (`AlreadyExists`), or the kernel refuses.
pub fn add_route(name: &str, route: &Route) -> io::Result<()> {
    netlink::exchange(&route_message(RTM_NEWROUTE, NEW, number(name)?, route))
}

/// Removes a route over an interface.
///
/// # Errors
/// There is no such interface or route.
pub fn remove_route(name: &str, route: &Route) -> io::Result<()> {
    netlink::exchange(&route_message(RTM_DELROUTE, 0, number(name)?, route))
}

fn number(name: &str) -> io::Result<u32> {
    let gone = || io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error());
    netdev::index(name).ok_or_else(gone)
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_message(kind: u16, flags: u16, index: u32, address: &Address) -> Message {
    // struct ifaddrmsg: family, prefix, flags, scope (everywhere), interface.
    let head = [family(address.address), address.prefix, 0, 0];
    let mut message = Message::new(kind, flags, &[&head, &index.to_ne_bytes()]);
    message.attribute(IFA_LOCAL, &bytes(address.address));
    if let Some(peer) = address.peer {
        message.attribute(IFA_ADDRESS, &bytes(peer));
    } else if let Some(broadcast) = address.broadcast() {
        message.attribute(IFA_BROADCAST, &bytes(broadcast));
    }
    message
}

fn route_message(kind: u16, flags: u16, index: u32, route: &Route) -> Message {
    // struct rtmsg: family, two prefixes, type of service, table, who made it, scope, type, flags.
    let head = [family(route.destination), route.prefix, 0, 0];
    let tail = [RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
    let mut message = Message::new(kind, flags, &[&head, &tail, &[0; 4]]);
    message.attribute(RTA_DST, &bytes(route.destination));
    message.attribute(RTA_GATEWAY, &bytes(route.gateway));
    message.attribute(RTA_OIF, &index.to_ne_bytes());
    message.attribute(RTA_PRIORITY, &route.metric.to_ne_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The bytes behind the header are those that libvirtd 11.3 sends.
    #[test]
    fn addresses_and_routes_are_asked_for_as_libvirtd_does() {
        let peer = Address { address: ip("10.77.0.1"), prefix: 24, peer: Some(ip("10.77.0.2")) };
        let expected = b"\x02\x18\x00\x00\x22\x00\x00\x00\x08\x00\x02\x00\x0a\x4d\x00\x01\x08\x00\x01\x00\x0a\x4d\x00\x02";
        assert_eq!(address_message(RTM_NEWADDR, NEW, 0x22, &peer).finish()[16..], *expected);
        let alone = Address { address: ip("10.79.0.1"), prefix: 24, peer: None };
        let expected = b"\x02\x18\x00\x00\x24\x00\x00\x00\x08\x00\x02\x00\x0a\x4f\x00\x01\x08\x00\x04\x00\x0a\x4f\x00\xff";
        let message = address_message(RTM_NEWADDR, NEW, 0x24, &alone).finish();
        assert_eq!(message[16..], *expected);
        assert_eq!(message[4..8], [0x14, 0, 5, 6]);
        let six = Address { address: ip("fd00::1"), prefix: 64, peer: None };
        let expected = b"\x0a\x40\x00\x00\x22\x00\x00\x00\x14\x00\x02\x00\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01";
        assert_eq!(address_message(RTM_NEWADDR, NEW, 0x22, &six).finish()[16..], *expected);
        let route =
            Route { destination: ip("10.78.0.0"), prefix: 24, gateway: ip("10.77.0.2"), metric: 5 };
        let expected = b"\x02\x18\x00\x00\xfe\x03\x00\x01\x00\x00\x00\x00\x08\x00\x01\x00\x0a\x4e\x00\x00\x08\x00\x05\x00\x0a\x4d\x00\x02\x08\x00\x04\x00\x22\x00\x00\x00\x08\x00\x06\x00\x05\x00\x00\x00";
        assert_eq!(route_message(RTM_NEWROUTE, NEW, 0x22, &route).finish()[16..], *expected);
    }

    #[test]
    fn broadcasts() {
        for (address, prefix, expected) in [
            ("10.77.0.1", 24, "10.77.0.255"),
            ("10.77.0.1", 8, "10.255.255.255"),
            ("10.77.0.1", 32, "10.77.0.1"),
            ("10.77.0.1", 0, "255.255.255.255"),
        ] {
            let address = Address { address: ip(address), prefix, peer: None };
            assert_eq!(address.broadcast(), Some(ip(expected)), "{address:?}");
        }
    }
}
