//! What a definition asks of the host's end of an interface, besides what connects it.

use core::net::IpAddr;
use model::domain::devices::interface::{Coalesce, InterfaceSource, IpAddress, Route, Vlan};
use model::network::{NativeMode, Trunk};
use std::fmt::{Display, Formatter, Result};
use std::str::FromStr;

/// An address of the host's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostAddress {
    /// The address.
    pub address: IpAddr,
    /// How many bits of it name the network.
    pub prefix: u8,
    /// The guest's address, where nobody else is in the network.
    pub peer: Option<IpAddr>,
}

/// A route of the host to what is behind the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostRoute {
    /// Where it leads.
    pub destination: IpAddr,
    /// How many bits of that name the network.
    pub prefix: u8,
    /// Who passes it on.
    pub gateway: IpAddr,
    /// The lowest of several is taken.
    pub metric: u32,
}

/// The VLANs of a bridge's port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortVlans {
    /// The one of traffic without a tag, and whether it leaves with one.
    pub native: Option<(u16, bool)>,
    /// Others that pass.
    pub tagged: Vec<u16>,
}

impl HostAddress {
    /// Those of a source, in order; what cannot be read is left out.
    pub fn all(source: &InterfaceSource) -> Vec<Self> {
        source.ips.iter().filter_map(Self::of).collect()
    }

    fn of(ip: &IpAddress) -> Option<Self> {
        let address: IpAddr = ip.address.parse().ok()?;
        let prefix = ip.prefix.filter(|prefix| *prefix > 0);
        let prefix = prefix.and_then(|prefix| u8::try_from(prefix).ok());
        let peer = ip.peer.as_ref().and_then(|peer| peer.parse().ok());
        Some(Self { address, prefix: prefix.unwrap_or_else(|| usual_prefix(address)), peer })
    }
}

/// By the class of an address.
fn usual_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(_) => 64,
        IpAddr::V4(address) => match address.octets()[0] {
            ..128 => 8,
            128..192 => 16,
            _ => 24,
        },
    }
}

impl HostRoute {
    /// Those of a source, in order; what cannot be read is left out.
    pub fn all(source: &InterfaceSource) -> Vec<Self> {
        source.routes.iter().filter_map(Self::of).collect()
    }

    fn of(route: &Route) -> Option<Self> {
        let destination: IpAddr = route.address.parse().ok()?;
        let gateway = route.gateway.as_ref()?.parse().ok()?;
        let mask = route.netmask.as_ref().and_then(|mask| mask.parse::<core::net::Ipv4Addr>().ok());
        let said = match (route.prefix, mask) {
            (Some(prefix), _) => u8::try_from(prefix).ok(),
            (None, Some(mask)) => u8::try_from(u32::from(mask).leading_ones()).ok(),
            (None, None) => None,
        };
        let metric = route.metric.unwrap_or(1);
        Some(Self { destination, prefix: said.unwrap_or(0), gateway, metric })
    }
}

impl PortVlans {
    /// Those of a definition. Without a trunk its one VLAN is that of traffic without a tag.
    pub fn of(vlan: &Vlan) -> Self {
        let mut all = Self::default();
        for tag in &vlan.tags {
            let id = u16::try_from(tag.id).unwrap_or(u16::MAX);
            match tag.native_mode {
                _ if vlan.trunk != Some(Trunk::Yes) => all.native = Some((id, false)),
                Some(mode) => all.native = Some((id, mode == NativeMode::Tagged)),
                None => all.tagged.push(id),
            }
        }
        all
    }
}

/// After how many frames at most the host's end tells of them; `None` where nothing is said.
pub fn coalesced_frames(coalesce: Option<&Coalesce>) -> Option<u32> {
    let frames = coalesce?.rx.as_ref()?.frames.as_ref()?;
    Some(frames.max).filter(|max| *max > 0)
}

impl Display for HostAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        match self.peer {
            Some(peer) => write!(f, " peer {peer}"),
            None => Ok(()),
        }
    }
}

impl FromStr for HostAddress {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (own, peer) = match text.split_once(" peer ") {
            Some((own, peer)) => (own, Some(peer.parse().map_err(drop)?)),
            None => (text, None),
        };
        let (address, prefix) = network(own).ok_or(())?;
        Ok(Self { address, prefix, peer })
    }
}

impl Display for HostRoute {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { destination, prefix, gateway, metric } = self;
        write!(f, "{destination}/{prefix} via {gateway} metric {metric}")
    }
}

impl FromStr for HostRoute {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (whole, metric) = text.split_once(" metric ").ok_or(())?;
        let (whole, gateway) = whole.split_once(" via ").ok_or(())?;
        let (destination, prefix) = network(whole).ok_or(())?;
        let (gateway, metric) = (gateway.parse().map_err(drop)?, metric.parse().map_err(drop)?);
        Ok(Self { destination, prefix, gateway, metric })
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

impl Display for PortVlans {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let native = self.native.map(|(id, tagged)| {
            format!("{id} native {}", if tagged { "tagged" } else { "untagged" })
        });
        let all = native.into_iter().chain(self.tagged.iter().map(u16::to_string));
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_routes_are_read_completed_and_told() {
        let ip = |address: &str, prefix: Option<u32>, peer: Option<&str>| IpAddress {
            address: address.to_owned(),
            prefix,
            peer: peer.map(str::to_owned),
            ..IpAddress::default()
        };
        for (given, told) in [
            (ip("10.77.0.1", Some(24), Some("10.77.0.2")), "10.77.0.1/24 peer 10.77.0.2"),
            (ip("10.77.0.1", None, None), "10.77.0.1/8"),
            (ip("10.77.0.1", Some(0), None), "10.77.0.1/8"),
            (ip("172.16.0.1", None, None), "172.16.0.1/16"),
            (ip("192.168.7.1", None, None), "192.168.7.1/24"),
            (ip("fd00::7", None, None), "fd00::7/64"),
        ] {
            let read = HostAddress::of(&given).expect("an address");
            assert_eq!(read.to_string(), told);
            assert_eq!(told.parse(), Ok(read));
        }
        let route = |address: &str, prefix, netmask: Option<&str>, metric| Route {
            address: address.to_owned(),
            prefix,
            netmask: netmask.map(str::to_owned),
            gateway: Some("10.77.0.9".to_owned()),
            metric,
            ..Route::default()
        };
        for (given, told) in [
            (route("10.78.0.0", Some(24), None, Some(5)), "10.78.0.0/24 via 10.77.0.9 metric 5"),
            (
                route("10.88.0.0", None, Some("255.255.0.0"), None),
                "10.88.0.0/16 via 10.77.0.9 metric 1",
            ),
            (route("0.0.0.0", None, None, None), "0.0.0.0/0 via 10.77.0.9 metric 1"),
        ] {
            let read = HostRoute::of(&given).expect("a route");
            assert_eq!(read.to_string(), told);
            assert_eq!(told.parse(), Ok(read));
        }
        for bad in ["", "10.0.0.1", "x/8", "10.0.0.1/x", "10.0.0.1/8 peer x"] {
            assert_eq!(bad.parse::<HostAddress>(), Err(()), "{bad}");
            assert_eq!(bad.parse::<HostRoute>(), Err(()), "{bad}");
        }
    }
}
