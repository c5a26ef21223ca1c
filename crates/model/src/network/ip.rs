//! Addresses of a network's bridge, and DHCP and TFTP there.

use units::MacAddr;
use xml::{Element, ErrorCode, Reader, Xml, XmlEnum, YesNo};

use super::address::{Family, IpAddress, RangeNetwork, check_range};
use crate::object::fault;

/// An address of the bridge, and what is served there.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(open, check = Ip::check)]
pub struct Ip {
    /// The family, as it was given; IPv4 without.
    #[xml(
        attr,
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "Unrecognized family '{}' in network '{network}'")
    )]
    pub family: Option<Family>,
    /// The address.
    #[xml(
        attr,
        empty_absent,
        missing = (
            ErrorCode::XML_ERROR,
            "Missing required address attribute in network '{network}'"
        ),
        fault = (ErrorCode::XML_ERROR, "Invalid address '{}' in network '{network}'")
    )]
    pub address: IpAddress,
    /// The network's mask; IPv4 only, and not together with a prefix.
    #[xml(
        attr,
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "Invalid netmask '{}' in network '{network}'")
    )]
    pub netmask: Option<IpAddress>,
    /// The network's prefix; never 0.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// Reverse lookups of these addresses never leave the host.
    #[xml(attr, name = "localPtr")]
    pub local_ptr: Option<YesNo>,
    /// TFTP; IPv4 only.
    #[xml(child)]
    pub tftp: Option<Tftp>,
    /// DHCP.
    #[xml(child)]
    pub dhcp: Option<Dhcp>,
}

/// A TFTP server.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Tftp {
    /// The folder it serves.
    #[xml(attr, empty_absent)]
    pub root: Option<String>,
}

/// A DHCP server.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct Dhcp {
    /// Addresses for anybody.
    #[xml(child, name = "range")]
    pub ranges: Vec<DhcpRange>,
    /// Addresses for some.
    #[xml(child, name = "host")]
    pub hosts: Vec<DhcpHost>,
    /// Boot over the network; IPv4 only.
    #[xml(child)]
    pub bootp: Option<Bootp>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct DhcpRange {
    /// The first.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "Missing 'start' attribute in dhcp range for network '{network}'"
        ),
        fault = NO_ADDRESS
    )]
    pub start: IpAddress,
    /// The last.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "Missing 'end' attribute in dhcp range for network '{network}'"
        ),
        fault = NO_ADDRESS
    )]
    pub end: IpAddress,
    /// For how long.
    #[xml(child)]
    pub lease: Option<Lease>,
}

const NO_ADDRESS: (ErrorCode, &str) =
    (ErrorCode::SYSTEM_ERROR, "Cannot parse socket address '{}': Name or service not known");

/// How long an address is lent.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = Lease::check)]
pub struct Lease {
    /// How many units; 0 is for ever.
    #[xml(attr)]
    pub expiry: Option<u64>,
    /// The unit; none with 0.
    #[xml(attr)]
    pub unit: Option<LeaseUnit>,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum LeaseUnit {
    /// Seconds.
    Seconds,
    /// Minutes.
    #[default]
    Minutes,
    /// Hours.
    Hours,
}

impl LeaseUnit {
    /// Seconds in it.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3600,
        }
    }
}

/// An address for one guest. In an update that deletes or changes, parts may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = DhcpHost::check)]
pub struct DhcpHost {
    /// The guest by its MAC address, as written; IPv4 only.
    #[xml(attr)]
    pub mac: Option<String>,
    /// The guest by its client identifier.
    #[xml(attr)]
    pub id: Option<String>,
    /// The guest's name.
    #[xml(attr)]
    pub name: Option<String>,
    /// The address.
    #[xml(
        attr,
        fault = (
            ErrorCode::XML_ERROR,
            "Invalid IP address in static host definition for network '{network}'"
        )
    )]
    pub ip: Option<IpAddress>,
    /// For how long.
    #[xml(child)]
    pub lease: Option<Lease>,
}

/// Boot over the network.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Bootp {
    /// The file.
    #[xml(attr)]
    pub file: String,
    /// Who serves it; the network's own TFTP server otherwise.
    #[xml(attr, fault = NO_ADDRESS)]
    pub server: Option<IpAddress>,
}

impl Lease {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let Some(expiry) = self.expiry.filter(|n| *n != 0) else {
            self.unit = None;
            return;
        };
        let unit = *self.unit.get_or_insert_default();
        if expiry.saturating_mul(unit.seconds()) < 120 {
            let message = "The minimum lease time should be greater than 2 minutes";
            fault(cx, el, "network.lease", ErrorCode::CONFIG_UNSUPPORTED, message);
        }
    }
}

impl DhcpRange {
    /// Checks the range against its network.
    pub(super) fn check_in(&mut self, network: RangeNetwork, el: Element<'_>, cx: &mut Reader) {
        if let Err(message) = check_range(self.start, self.end, Some(network)) {
            fault(cx, el, "network.dhcp-range", ErrorCode::INTERNAL_ERROR, message);
        }
        drop_empty_lease(&mut self.lease);
    }
}

fn drop_empty_lease(lease: &mut Option<Lease>) {
    *lease = lease.take().filter(|lease| lease.expiry.is_some());
}

impl DhcpHost {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let mut bad =
            |message: String| fault(cx, el, "network.dhcp-host", ErrorCode::XML_ERROR, message);
        if let Some(mac) = &self.mac {
            match mac.parse::<MacAddr>() {
                Err(_) => bad(format!("Cannot parse MAC address '{mac}' in network '{{network}}'")),
                Ok(parsed) if parsed.is_multicast() => bad(format!(
                    "expected unicast mac address, found multicast '{mac}' in network \
                     '{{network}}'"
                )),
                Ok(_) => {}
            }
        }
        if let Some(id) = &self.id
            && let Some(c) = id.chars().find(|c| !c.is_ascii_hexdigit() && *c != ':')
        {
            bad(format!("Invalid character '{c}' in id '{id}' of network '{{network}}'"));
        }
        if let Some(name) = &self.name
            && !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            bad(format!("Cannot use host name '{name}' in network '{{network}}'"));
        }
        drop_empty_lease(&mut self.lease);
    }

    /// What an address of this family needs. In an update that deletes (`partial`) something to
    /// find it by is enough.
    pub(super) fn check_in(&self, family: Family, partial: bool, el: Element<'_>, cx: &mut Reader) {
        let mut bad =
            |message: String| fault(cx, el, "network.dhcp-host", ErrorCode::XML_ERROR, message);
        if let (Some(mac), Family::Ipv6) = (&self.mac, family) {
            bad(format!(
                "Invalid to specify MAC address '{mac}' in network '{{network}}' IPv6 static host \
                 definition"
            ));
        }
        if partial {
            if self.mac.is_none() && self.name.is_none() && self.ip.is_none() {
                bad(
                    "At least one of name, mac, or ip attribute must be specified for static host \
                     definition in network '{network}'"
                        .to_owned(),
                );
            }
            return;
        }
        let (known, needed) = match family {
            Family::Ipv6 => {
                (self.mac.is_some() || self.id.is_some(), "IPv6 network '{network}' must have id")
            }
            Family::Ipv4 => (self.mac.is_some(), "IPv4 network '{network}' must have mac"),
        };
        if !known && self.name.is_none() {
            bad(format!("Static host definition in {needed} or name attribute"));
        }
        if self.ip.is_none() {
            bad("Missing IP address in static host definition for network '{network}'".to_owned());
        }
    }
}

impl Ip {
    /// The family.
    pub fn family(&self) -> Family {
        self.family.unwrap_or(Family::Ipv4)
    }

    /// The network's prefix, given or implied; `None` where the netmask is no prefix.
    pub fn effective_prefix(&self) -> Option<u32> {
        match (self.prefix, self.netmask) {
            (Some(prefix), _) => Some(prefix),
            (None, Some(netmask)) => netmask.as_prefix(),
            (None, None) => self.address.default_prefix(),
        }
    }

    /// The network as ranges are checked against it.
    pub(super) fn range_network(&self) -> RangeNetwork {
        RangeNetwork { address: self.address, prefix: self.effective_prefix() }
    }

    /// The DHCP server, made when there is none.
    pub(super) fn dhcp_mut(&mut self) -> &mut Dhcp {
        self.dhcp.get_or_insert_default()
    }

    /// Drops a DHCP server that serves nobody.
    pub(super) fn tidy(&mut self) {
        if self.family() == Family::Ipv6
            && let Some(dhcp) = &mut self.dhcp
        {
            dhcp.bootp = None;
        }
        self.dhcp =
            self.dhcp.take().filter(|dhcp| !dhcp.ranges.is_empty() || !dhcp.hosts.is_empty());
    }

    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        self.prefix = self.prefix.filter(|prefix| *prefix != 0);
        self.tftp = self.tftp.take().filter(|tftp| tftp.root.is_some());
        if let Err(message) = self.check_address(el.attr("address").unwrap_or_default()) {
            return fault(cx, el, "network.ip", ErrorCode::CONFIG_UNSUPPORTED, message);
        }
        let family = self.family();
        if self.tftp.is_some() && family == Family::Ipv6 {
            let message = "Unsupported <tftp> element in an IPv6 element in network '{network}'";
            fault(cx, el, "network.ip", ErrorCode::CONFIG_UNSUPPORTED, message);
        }
        let network = self.range_network();
        if let (Some(dhcp), Some(el)) = (&mut self.dhcp, el.child("dhcp")) {
            let named = |name: &'static str| el.children().filter(move |c| c.is(name, None));
            for (range, el) in dhcp.ranges.iter_mut().zip(named("range")) {
                range.check_in(network, el, cx);
            }
            for (host, el) in dhcp.hosts.iter().zip(named("host")) {
                host.check_in(family, false, el, cx);
            }
        }
        self.tidy();
    }

    /// The address stands in messages as it was written.
    fn check_address(&self, written: &str) -> Result<(), String> {
        let address = self.address;
        match self.family {
            None if !address.is_v4() => {
                return Err(format!(
                    "no family specified for non-IPv4 address '{written}' in network '{{network}}'"
                ));
            }
            Some(Family::Ipv4) if !address.is_v4() => {
                return Err(format!(
                    "ipv4 family specified for non-IPv4 address '{written}' in network \
                     '{{network}}'"
                ));
            }
            Some(Family::Ipv6) if address.is_v4() => {
                return Err(format!(
                    "Family 'ipv6' specified for non-IPv6 address '{written}' in network \
                     '{{network}}'"
                ));
            }
            _ => {}
        }
        if let Some(netmask) = self.netmask {
            if !address.is_v4() {
                return Err(format!(
                    "netmask not allowed for IPv6 address '{address}' in network '{{network}}'"
                ));
            }
            if self.prefix.is_some() {
                return Err("Network '{network}' IP address cannot have both a prefix and a \
                            netmask"
                    .to_owned());
            }
            if !netmask.is_v4() {
                return Err(format!(
                    "Invalid netmask '{netmask}' for address '{address}' in network \
                     '{{network}}' (both must be IPv4)"
                ));
            }
        }
        match self.prefix {
            Some(prefix) if prefix > address.width() => {
                let family = if address.is_v4() { "IPv4" } else { "IPv6" };
                Err(format!("Invalid {family} prefix '{prefix}' in network '{{network}}'"))
            }
            _ => Ok(()),
        }
    }
}
