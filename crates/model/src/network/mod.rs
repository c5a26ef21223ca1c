//! Virtual networks: their XML, updates of a part, ports, and what the driver refuses.
//!
//! Reading takes the declared mapping, checks at each element what concerns it alone, and then at
//! the whole what must fit together; what says nothing is dropped, so that writing needs no rules.
//! Messages name the network, which an element does not know: they are written with `{network}`
//! in its place and completed at the end.
//!
//! Sources: `network.rng`, `networkcommon.rng`, `networkport.rng`, formatnetwork.html, and answers
//! of libvirt 11.3.

mod address;
mod bandwidth;
mod bridge;
mod definition;
mod dns;
mod forward;
mod ip;
mod pci;
mod port;
mod portgroup;
mod route;
mod status;
#[cfg(test)]
mod tests;
mod update;
mod validate;
mod virtualport;
mod vlan;
mod words;

pub use address::{Family, IpAddress, RangeNetwork, check_range};
pub use bandwidth::{Bandwidth, Rate};
pub use bridge::{Bridge, DnsDomain, MacTableManager, Mtu, NetworkMac, PortOptions, Stp};
pub use definition::{DNSMASQ_NS, FormatFlags, Network, format, parse, parse_checked};
pub use dns::{Dns, DnsHost, Forwarder, Srv, Txt};
pub use forward::{
    Connections, Forward, ForwardAddress, ForwardAddressType, ForwardInterface, ForwardMode,
    HostdevDriver, HostdevDriverName, Managed, Nat, NatAddress, NatPorts, PhysicalFunction,
};
pub use ip::{Bootp, Dhcp, DhcpHost, DhcpRange, Ip, Lease, LeaseUnit, Tftp};
pub use pci::PciAddress;
pub use port::{
    BridgePlug, DirectMode, DirectPlug, HostdevPlug, NetworkPort, Owner, Plug, RxFilters,
    format_port, parse_port,
};
pub use portgroup::{IsDefault, PortGroup};
pub use route::Route;
pub use status::{NetworkStatus, format_status, parse_status};
pub use update::{Command, Refusal, Section, update};
pub use validate::validate;
pub(crate) use virtualport::number_words;
pub use virtualport::{Number, VirtualPort, VirtualPortParameters, VirtualPortType};
pub use vlan::{NativeMode, Trunk, Vlan, VlanTag};

/// Reads arbitrary text as network, port, status file and update; must not panic.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(network) = parse(text).value {
        let _ = validate(&network);
        let written = format(&network, FormatFlags { inactive: true, indent: 0 });
        // What was written is read again.
        assert!(parse(&written).value.is_some(), "{written}");
    }
    if let Some(port) = parse_port(text).value {
        let written = format_port(&port);
        assert!(parse_port(&written).value.is_some(), "{written}");
    }
    if let Some(status) = parse_status(text).value {
        let _ = format_status(&status);
    }
    let base = "<network><name>n</name><ip address='10.0.0.1' prefix='24'/></network>";
    if let Some(network) = parse(base).value {
        for section in Section::ALL {
            for command in Command::ALL {
                let _ = update(&mut network.clone(), *section, *command, -1, text);
            }
        }
    }
}
