//! How a network reaches the world.

use std::collections::HashSet;

use xml::{Element, ErrorCode, Reader, ValueError, ValueKind, Xml, XmlEnum, XmlValue, YesNo};

use super::address::{IpAddress, check_range};
use super::pci::PciAddress;
use crate::object::fault;

/// How a network reaches the world. A network without one is isolated.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = Forward::check)]
pub struct Forward {
    /// The first of the interfaces, once more.
    #[xml(attr, empty_absent)]
    pub dev: Option<String>,
    /// The way.
    #[xml(
        attr,
        empty_absent,
        default = ForwardMode::Nat,
        fault = (ErrorCode::CONFIG_UNSUPPORTED, "unknown forwarding type '{}'")
    )]
    pub mode: ForwardMode,
    /// The daemon takes the devices from the host and gives them back; `hostdev` only.
    #[xml(attr)]
    pub managed: Option<Managed>,
    /// The driver for devices handed to guests.
    #[xml(child)]
    pub driver: Option<HostdevDriver>,
    /// How addresses are translated.
    #[xml(child)]
    pub nat: Option<Nat>,
    /// A physical function whose virtual functions are the pool.
    #[xml(child)]
    pub pf: Option<PhysicalFunction>,
    /// Interfaces of the host, as a pool or as the only ways out.
    #[xml(child, name = "interface")]
    pub interfaces: Vec<ForwardInterface>,
    /// PCI devices, as a pool.
    #[xml(child, name = "address")]
    pub addresses: Vec<ForwardAddress>,
}

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, XmlEnum)]
pub enum ForwardMode {
    /// No way at all; written as no forward element.
    None,
    /// Routed, addresses translated.
    #[default]
    Nat,
    /// Routed.
    Route,
    /// Routed, and the host's firewall is left alone.
    Open,
    /// A bridge of the host, or macvtap in bridge mode.
    Bridge,
    /// macvtap in private mode.
    Private,
    /// macvtap in VEPA mode.
    Vepa,
    /// macvtap in passthrough mode.
    Passthrough,
    /// PCI devices handed to guests.
    Hostdev,
}

impl ForwardMode {
    /// Whether the daemon makes a bridge for the network.
    pub fn has_own_bridge(self) -> bool {
        matches!(self, Self::None | Self::Nat | Self::Route | Self::Open)
    }
}

/// Whether devices are managed: anything but `yes` means they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managed {
    /// They are.
    Yes,
    /// They are not.
    No,
}

impl XmlValue for Managed {
    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(if text == "yes" { Self::Yes } else { Self::No })
    }
    fn write(&self, out: &mut String) {
        out.push_str(if *self == Self::Yes { "yes" } else { "no" });
    }
    fn kind() -> ValueKind {
        ValueKind::Enum(&["yes", "no"])
    }
}

/// The driver for devices handed to guests.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct HostdevDriver {
    /// Which.
    #[xml(attr)]
    pub name: Option<HostdevDriverName>,
    /// The kernel module, where it is not VFIO's own.
    #[xml(attr)]
    pub model: Option<String>,
}

/// A driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum HostdevDriverName {
    /// KVM's own; long gone.
    Kvm,
    /// VFIO.
    Vfio,
    /// Xen's.
    Xen,
}

/// How addresses are translated.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = Nat::check)]
pub struct Nat {
    /// Those of IPv6 too.
    #[xml(attr)]
    pub ipv6: Option<YesNo>,
    /// The addresses guests appear with; the outgoing interface's otherwise.
    #[xml(child)]
    pub address: Option<NatAddress>,
    /// The ports guests appear with.
    #[xml(child)]
    pub port: Option<NatPorts>,
}

/// A range of IPv4 addresses.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = NatAddress::check)]
pub struct NatAddress {
    /// The first.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "missing 'start' attribute in <address> element in <nat> in <forward> in network \
             {network}"
        ),
        fault = (
            ErrorCode::XML_ERROR,
            "Bad ipv4 start address '{}' in <nat> in <forward> in network '{network}'"
        )
    )]
    pub start: IpAddress,
    /// The last.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "missing 'end' attribute in <address> element in <nat> in <forward> in network \
             {network}"
        ),
        fault = (
            ErrorCode::XML_ERROR,
            "Bad ipv4 end address '{}' in <nat> in <forward> in network '{network}'"
        )
    )]
    pub end: IpAddress,
}

const BAD_START: (ErrorCode, &str) = (
    ErrorCode::XML_DETAIL,
    "Missing or invalid 'start' attribute in <port> in <nat> in <forward> in network {network}",
);
const BAD_END: (ErrorCode, &str) = (
    ErrorCode::XML_DETAIL,
    "Missing or invalid 'end' attribute in <port> in <nat> in <forward> in network {network}",
);

/// A range of ports.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = NatPorts::check)]
pub struct NatPorts {
    /// The first.
    #[xml(attr, missing = BAD_START, fault = BAD_START)]
    pub start: u16,
    /// The last.
    #[xml(attr, missing = BAD_END, fault = BAD_END)]
    pub end: u16,
}

/// A physical function.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct PhysicalFunction {
    /// Its interface on the host.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "Missing required dev attribute in <pf> element of network '{network}'"
        )
    )]
    pub dev: String,
}

/// A number of ports in use: found out, written while the network runs, never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Connections(pub u32);

impl XmlValue for Connections {
    fn parse(_: &str) -> Result<Self, ValueError> {
        Ok(Self(0))
    }
    fn write(&self, out: &mut String) {
        out.push_str(&self.0.to_string());
    }
    fn kind() -> ValueKind {
        ValueKind::Integer { min: 0, max: u32::MAX.into() }
    }
}

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ForwardInterface {
    /// Its name.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "Missing required dev attribute in <forward> <interface> element of network {network}"
        )
    )]
    pub dev: String,
    /// Ports that use it.
    #[xml(attr, default, skip_default, live_only)]
    pub connections: Connections,
}

/// What kind of address; there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum ForwardAddressType {
    /// PCI.
    Pci,
}

/// A PCI device of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ForwardAddress {
    /// Always PCI.
    #[xml(
        attr,
        name = "type",
        missing = (ErrorCode::XML_ERROR, "missing address type in network {network}"),
        fault = (ErrorCode::CONFIG_UNSUPPORTED, "unknown address type '{}' in network {network}")
    )]
    pub kind: ForwardAddressType,
    /// Where it sits.
    #[xml(flatten)]
    pub pci: PciAddress,
    /// Ports that use it.
    #[xml(attr, default, skip_default, live_only)]
    pub connections: Connections,
}

fn count(el: Element<'_>, name: &str) -> usize {
    el.children().filter(|c| c.is(name, None)).count()
}

impl NatAddress {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        for (name, address) in [("start", self.start), ("end", self.end)] {
            if !address.is_v4() {
                let message = format!(
                    "Bad ipv4 {name} address '{address}' in <nat> in <forward> in network \
                     '{{network}}'"
                );
                return fault(cx, el, "network.nat", ErrorCode::XML_ERROR, message);
            }
        }
        if let Err(message) = check_range(self.start, self.end, None) {
            fault(cx, el, "network.nat", ErrorCode::INTERNAL_ERROR, message);
        }
    }
}

impl NatPorts {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.end < self.start {
            fault(cx, el, "network.nat", BAD_END.0, BAD_END.1);
        }
    }
}

impl Nat {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        for name in ["address", "port"] {
            if count(el, name) > 1 {
                let message = format!(
                    "Only one <{name}> element is allowed in <nat> in <forward> in network \
                     {{network}}"
                );
                fault(cx, el, "network.nat", ErrorCode::XML_ERROR, message);
            }
        }
        // No port at all is how libvirt keeps "any".
        self.port = self.port.take().filter(|port| port.end != 0);
    }
}

impl Forward {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let mut bad = |message: String| {
            fault(cx, el, "network.forward", ErrorCode::XML_ERROR, message);
        };
        for name in ["nat", "pf"] {
            if count(el, name) > 1 {
                let message = "element is allowed in <forward> of network {network}";
                bad(format!("Only one <{name}> {message}"));
            }
        }
        if self.nat.is_some() && self.mode != ForwardMode::Nat {
            bad("The <nat> element can only be used when <forward> 'mode' is 'nat' in network \
                 {network}"
                .to_owned());
        }
        let mut seen = HashSet::new();
        for interface in &self.interfaces {
            if !seen.insert(interface.dev.as_str()) {
                let dev = &interface.dev;
                bad(format!("interface '{dev}' can only be listed once in network {{network}}"));
            }
        }
        let mut seen = HashSet::new();
        for address in &self.addresses {
            let name = address.pci.to_string();
            if !seen.insert(name.clone()) {
                bad(format!("PCI device '{name}' can only be listed once in network {{network}}"));
            }
        }
        match (&self.dev, self.interfaces.first()) {
            (Some(dev), None) if self.pf.is_none() && self.addresses.is_empty() => {
                let dev = dev.clone();
                self.interfaces.push(ForwardInterface { dev, connections: Connections(0) });
            }
            (Some(_), None) => bad("the <forward> 'dev' attribute cannot be used when <address> \
                                    or <pf> sub-elements are present in network {network}"
                .to_owned()),
            (Some(dev), Some(first)) if *dev != first.dev => bad(format!(
                "<forward dev='{dev}'> must match first <interface dev='{}'/> in network \
                 {{network}}",
                first.dev
            )),
            _ => {}
        }
        self.normalize();
    }

    /// Keeps of the pool what counts, and the first interface in `dev`.
    pub(super) fn normalize(&mut self) {
        if !self.interfaces.is_empty() {
            self.addresses.clear();
        }
        if !self.interfaces.is_empty() || !self.addresses.is_empty() {
            self.pf = None;
        }
        self.dev = self.interfaces.first().map(|first| first.dev.clone());
        self.managed = match self.mode {
            ForwardMode::Hostdev => Some(self.managed.unwrap_or(Managed::No)),
            _ => None,
        };
        self.nat = self.nat.take().filter(|nat| *nat != Nat::default());
        self.driver = self.driver.take().filter(|driver| *driver != HostdevDriver::default());
    }
}
