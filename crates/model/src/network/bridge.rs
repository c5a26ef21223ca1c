//! The host's bridge behind a network, and what belongs to it.

use units::MacAddr;
use xml::{Element, ErrorCode, Reader, ValueError, ValueKind, Xml, XmlEnum, XmlValue, YesNo};

use crate::object::fault;

/// A bridge. Networks with a bridge of their own always have STP and a delay.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct Bridge {
    /// Its name; the daemon finds a free one when there is none. `%d` in it stands for a number.
    #[xml(attr, empty_absent)]
    pub name: Option<String>,
    /// firewalld's zone.
    #[xml(attr, empty_absent)]
    pub zone: Option<String>,
    /// Spanning tree protocol.
    #[xml(attr, empty_absent)]
    pub stp: Option<Stp>,
    /// Seconds until a port forwards.
    #[xml(
        attr,
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "Invalid delay value in network '{network}'")
    )]
    pub delay: Option<u64>,
    /// Who keeps the table of addresses.
    #[xml(
        attr,
        name = "macTableManager",
        empty_absent,
        fault = (
            ErrorCode::XML_ERROR,
            "Invalid macTableManager setting '{}' in network '{network}'"
        )
    )]
    pub mac_table_manager: Option<MacTableManager>,
}

/// Whether a bridge speaks STP: anything but `off` means it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stp {
    /// It does.
    On,
    /// It does not.
    Off,
}

impl XmlValue for Stp {
    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(if text == "off" { Self::Off } else { Self::On })
    }
    fn write(&self, out: &mut String) {
        out.push_str(if *self == Self::On { "on" } else { "off" });
    }
    fn kind() -> ValueKind {
        ValueKind::Enum(&["on", "off"])
    }
}

/// Who keeps the table of a bridge's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum MacTableManager {
    /// The kernel learns it.
    Kernel,
    /// The daemon sets it.
    Libvirt,
}

/// The bridge's own address.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = NetworkMac::check)]
pub struct NetworkMac {
    /// A unicast address.
    #[xml(
        attr,
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "Invalid bridge mac address '{}' in network '{network}'")
    )]
    pub address: Option<MacAddr>,
}

impl NetworkMac {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.address.is_some_and(MacAddr::is_multicast) {
            let written = el.attr("address").unwrap_or_default();
            let message = format!(
                "Invalid multicast bridge mac address '{written}' in network '{{network}}'"
            );
            fault(cx, el, "network.mac", ErrorCode::XML_ERROR, message);
        }
    }
}

/// The bridge's largest packet.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Mtu {
    /// Bytes.
    #[xml(
        attr,
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "Invalid mtu size '{}' in network '{network}'")
    )]
    pub size: Option<u32>,
}

/// The DNS domain of a network.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = DnsDomain::check)]
pub struct DnsDomain {
    /// Its name.
    #[xml(attr)]
    pub name: Option<String>,
    /// Questions about it never leave the host.
    #[xml(attr, name = "localOnly")]
    pub local_only: Option<YesNo>,
    /// The host's resolver asks here about it.
    #[xml(attr)]
    pub register: Option<YesNo>,
}

impl DnsDomain {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.register == Some(YesNo::Yes) && self.local_only != Some(YesNo::Yes) {
            let message = "attribute 'register=yes' in <domain> element requires \
                           'localOnly=yes' in network {network}";
            fault(cx, el, "network.domain", ErrorCode::CONFIG_UNSUPPORTED, message);
        }
    }
}

/// Options of every port of the network.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct PortOptions {
    /// Ports reach the uplink only, not each other.
    #[xml(attr)]
    pub isolated: Option<YesNo>,
}
