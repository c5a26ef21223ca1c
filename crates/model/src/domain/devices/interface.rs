//! Network interfaces.

use super::disk::BackendDomain;
use super::hostdev::HostdevDriver;
use xml::{Element, Reader};

use crate::domain::prelude::*;

mod driver;
mod source;

pub use crate::network::{VirtualPort, VirtualPortParameters, Vlan, VlanTag};
pub use driver::{GuestOffload, HostOffload, InterfaceDriver, NetDriverName, TxMode};
pub use source::{HostAddress, InterfaceSource, MacTableManager, PortId};

/// How the interface reaches the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum InterfaceType {
    /// `user`.
    #[default]
    User,
    /// `ethernet`.
    Ethernet,
    /// `vhostuser`.
    Vhostuser,
    /// `server`.
    Server,
    /// `client`.
    Client,
    /// `mcast`.
    Mcast,
    /// `network`.
    Network,
    /// `bridge`.
    Bridge,
    /// `internal`.
    Internal,
    /// `direct`.
    Direct,
    /// `hostdev`.
    Hostdev,
    /// `udp`.
    Udp,
    /// `vdpa`.
    Vdpa,
    /// `null`.
    Null,
    /// `vds`.
    Vds,
}

impl InterfaceType {
    /// Whether interfaces of this kind have a device on the host whose traffic the kernel can hold
    /// back.
    pub fn has_limits(self) -> bool {
        matches!(self, Self::Bridge | Self::Direct | Self::Ethernet | Self::Network)
    }
}

/// Who chose the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MacType {
    /// `generated`.
    #[default]
    Generated,
    /// `static`.
    Static,
}

/// macvtap mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum DirectMode {
    /// `vepa`.
    #[default]
    Vepa,
    /// `private`.
    Private,
    /// `bridge`.
    Bridge,
    /// `passthrough`.
    Passthrough,
}

/// Link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum LinkState {
    /// `up`.
    #[default]
    Up,
    /// `down`.
    Down,
}

/// Role in a failover pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TeamingType {
    /// `persistent`.
    #[default]
    Persistent,
    /// `transient`.
    Transient,
}

/// User networking by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum NetBackendType {
    /// `default`.
    #[default]
    Default,
    /// `passt`.
    Passt,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = Interface::check)]
pub struct Interface {
    /// Attribute `type`; a user network where it is not said, as in libvirt.
    #[xml(attr, name = "type", default = InterfaceType::User)]
    pub kind: InterfaceType,
    /// Whether a device of the host is taken from its driver and given back.
    #[xml(attr, lenient)]
    pub managed: Option<YesNo>,
    /// Attribute `trustGuestRxFilters`.
    #[xml(attr, name = "trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// Element `<mac>`.
    #[xml(child)]
    pub mac: Option<InterfaceMac>,
    /// Element `<driver>` of a device of the host.
    #[xml(with = driver::assigned)]
    pub host_driver: Option<HostdevDriver>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<InterfaceSource>,
    /// Element `<vlan>`.
    #[xml(child)]
    pub vlan: Option<Vlan>,
    /// Element `<virtualport>`.
    #[xml(child, name = "virtualport")]
    pub virtual_port: Option<VirtualPort>,
    /// Element `<bandwidth>`.
    #[xml(child, empty_absent)]
    pub bandwidth: Option<Bandwidth>,
    /// Element `<port>`.
    #[xml(child, empty_absent)]
    pub port: Option<PortOptions>,
    /// Element `<ip>`.
    #[xml(child, name = "ip")]
    pub ips: Vec<IpAddress>,
    /// Element `<route>`.
    #[xml(child, name = "route")]
    pub routes: Vec<Route>,
    /// Element `<portForward>`.
    #[xml(child, name = "portForward")]
    pub port_forwards: Vec<PortForward>,
    /// What a network made of it; only in status files.
    #[xml(child, live_only)]
    pub actual: Option<Opaque>,
    /// Element `<script>`.
    #[xml(child, needs_text = "path")]
    pub script: Option<ScriptRef>,
    /// Element `<downscript>`.
    #[xml(child, name = "downscript", needs_text = "path")]
    pub down_script: Option<ScriptRef>,
    /// Element `<backenddomain>`.
    #[xml(child)]
    pub backenddomain: Option<BackendDomain>,
    /// Element `<target>`.
    #[xml(child)]
    pub target: Option<InterfaceTarget>,
    /// Element `<guest>`.
    #[xml(child, empty_absent)]
    pub guest: Option<InterfaceGuest>,
    /// Element `<model>`.
    #[xml(child)]
    pub model: Option<InterfaceModel>,
    /// Element `<driver>`.
    #[xml(with = driver::emulated)]
    pub driver: Option<InterfaceDriver>,
    /// Element `<backend>`.
    #[xml(child, empty_absent)]
    pub backend: Option<InterfaceBackend>,
    /// Element `<filterref>`.
    #[xml(child, name = "filterref", needs = "filter")]
    pub filter_ref: Option<FilterRef>,
    /// Element `<tune>`.
    #[xml(child, empty_absent)]
    pub tune: Option<InterfaceTune>,
    /// Element `<teaming>`.
    #[xml(child)]
    pub teaming: Option<Teaming>,
    /// Element `<link>`.
    #[xml(child, needs_text = "state")]
    pub link: Option<Link>,
    /// Element `<mtu>`.
    #[xml(child, empty_absent)]
    pub mtu: Option<Mtu>,
    /// Element `<coalesce>`.
    #[xml(child, empty_absent)]
    pub coalesce: Option<Coalesce>,
    /// Element `<boot>`.
    #[xml(child)]
    pub boot: Option<DeviceBoot>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<rom>`.
    #[xml(child, empty_absent)]
    pub rom: Option<Rom>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

impl Interface {
    /// An element that does not say its one thing says nothing.
    fn check(&mut self, el: Element<'_>, _: &mut Reader) {
        let lacks =
            |child: &str, attr: &str| el.child(child).is_some_and(|c| c.attr(attr).is_none());
        if lacks("mac", "address") {
            self.mac = None;
        }
        if lacks("model", "type") || self.model.as_ref().is_some_and(|m| m.kind.is_empty()) {
            self.model = None;
        }
    }
}

/// Hardware address.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceMac {
    /// Attribute `address`; without it the element is dropped.
    #[xml(attr, default)]
    pub address: MacAddr,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<MacType>,
    /// Attribute `check`.
    #[xml(attr)]
    pub check: Option<YesNo>,
    /// Attribute `currentAddress`.
    #[xml(attr, name = "currentAddress", live_only)]
    pub current_address: Option<MacAddr>,
}

/// Local end of a UDP tunnel.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct LocalAddress {
    /// Attribute `address`.
    #[xml(attr)]
    pub address: String,
    /// Attribute `port`.
    #[xml(attr, signed)]
    pub port: u32,
}

/// Bridge port options.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PortOptions {
    /// Attribute `isolated`.
    #[xml(attr)]
    pub isolated: Option<YesNo>,
}

/// Traffic shaping, KiB a second.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Bandwidth {
    /// Element `<inbound>`.
    #[xml(child)]
    pub inbound: Option<BandwidthLimit>,
    /// Element `<outbound>`.
    #[xml(child)]
    pub outbound: Option<BandwidthLimit>,
}

impl Bandwidth {
    /// The largest rate, in kilobytes a second: in bytes it fits 64 bits.
    const LARGEST_RATE: u64 = u64::MAX / 1024 + 1;
    /// The largest burst, in KiB: in bytes it fits 32 bits.
    const LARGEST_BURST: u64 = (u32::MAX / 1024) as u64;

    /// What is said of the first number that is too large, in libvirt's words.
    pub fn overflow(&self) -> Option<String> {
        let limits = [&self.inbound, &self.outbound].into_iter().flatten();
        let numbers = limits.flat_map(|limit| {
            [
                ("average", limit.average, Self::LARGEST_RATE),
                ("peak", limit.peak, Self::LARGEST_RATE),
                ("floor", limit.floor, Self::LARGEST_RATE),
                ("burst", limit.burst, Self::LARGEST_BURST),
            ]
        });
        numbers.into_iter().find_map(|(name, number, most)| {
            let number = number.filter(|number| *number > most)?;
            Some(format!("value '{number}' is too big for '{name}' parameter, maximum is '{most}'"))
        })
    }
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BandwidthLimit {
    /// Attribute `average`.
    #[xml(attr)]
    pub average: Option<u64>,
    /// Attribute `peak`.
    #[xml(attr, zero_absent)]
    pub peak: Option<u64>,
    /// Attribute `floor`.
    #[xml(attr)]
    pub floor: Option<u64>,
    /// Attribute `burst`.
    #[xml(attr, zero_absent)]
    pub burst: Option<u64>,
}

/// An address of the guest's side.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IpAddress {
    /// Attribute `address`.
    #[xml(attr)]
    pub address: String,
    /// Attribute `family`.
    #[xml(attr)]
    pub family: Option<String>,
    /// Attribute `prefix`.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// Attribute `peer`.
    #[xml(attr)]
    pub peer: Option<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Route {
    /// Attribute `family`.
    #[xml(attr)]
    pub family: Option<String>,
    /// Attribute `address`.
    #[xml(attr)]
    pub address: String,
    /// Attribute `netmask`.
    #[xml(attr)]
    pub netmask: Option<String>,
    /// Attribute `prefix`.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// Attribute `gateway`.
    #[xml(attr)]
    pub gateway: Option<String>,
    /// Attribute `metric`.
    #[xml(attr)]
    pub metric: Option<u32>,
}

/// Ports forwarded by passt.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PortForward {
    /// Attribute `proto`.
    #[xml(attr)]
    pub proto: String,
    /// Attribute `address`.
    #[xml(attr)]
    pub address: Option<String>,
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Element `<range>`.
    #[xml(child, name = "range")]
    pub ranges: Vec<PortRange>,
}

/// A range.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PortRange {
    /// Attribute `start`.
    #[xml(attr, missing = (ErrorCode::CONFIG_UNSUPPORTED, "The 'range' of a 'portForward' requires 'start' attribute if 'end', 'to', or 'exclude' is specified"))]
    pub start: u32,
    /// Attribute `end`.
    #[xml(attr)]
    pub end: Option<u32>,
    /// Attribute `to`.
    #[xml(attr)]
    pub to: Option<u32>,
    /// Attribute `exclude`.
    #[xml(attr)]
    pub exclude: Option<YesNo>,
}

/// A script of the host.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ScriptRef {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: String,
}

/// Name of the host's end.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceTarget {
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Attribute `managed`.
    #[xml(attr)]
    pub managed: Option<YesNo>,
}

/// Name inside a container.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceGuest {
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Attribute `actual`.
    #[xml(attr)]
    pub actual: Option<String>,
}

/// Device the guest sees.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceModel {
    /// Attribute `type`; without it the element is dropped.
    #[xml(attr, name = "type", default, empty_absent)]
    pub kind: String,
}

/// Devices or program behind it.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceBackend {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<NetBackendType>,
    /// Attribute `tap`.
    #[xml(attr)]
    pub tap: Option<String>,
    /// Attribute `vhost`.
    #[xml(attr)]
    pub vhost: Option<String>,
    /// Attribute `logFile`.
    #[xml(attr, name = "logFile")]
    pub log_file: Option<String>,
    /// Attribute `hostname`.
    #[xml(attr)]
    pub hostname: Option<String>,
    /// Attribute `fqdn`.
    #[xml(attr)]
    pub fqdn: Option<String>,
}

/// Network filter and its parameters.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FilterRef {
    /// Attribute `filter`.
    #[xml(attr)]
    pub filter: String,
    /// Element `<parameter>`.
    #[xml(child, name = "parameter")]
    pub parameters: Vec<FilterParameter>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FilterParameter {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// Attribute `value`.
    #[xml(attr)]
    pub value: String,
}

/// Tuning.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceTune {
    /// Element `<sndbuf>`.
    #[xml(child_text, fault = (ErrorCode::XML_ERROR, "sndbuf must be a positive integer"))]
    pub sndbuf: Option<u64>,
}

/// Failover pair.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Teaming {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: TeamingType,
    /// Attribute `persistent`.
    #[xml(attr, empty_absent)]
    pub persistent: Option<String>,
}

/// Link state.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Link {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: LinkState,
}

/// MTU.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Mtu {
    /// Attribute `size`.
    #[xml(attr, fault = (xml::ErrorCode::XML_ERROR, "malformed mtu size"), empty_absent, zero_absent)]
    pub size: Option<u32>,
}

/// Interrupt coalescing.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Coalesce {
    /// Element `<rx>`.
    #[xml(child)]
    pub rx: Option<CoalesceRx>,
}

/// Receive side.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CoalesceRx {
    /// Element `<frames>`.
    #[xml(child)]
    pub frames: Option<CoalesceFrames>,
}

/// Frames.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CoalesceFrames {
    /// Attribute `max`; 0 is none.
    #[xml(attr, default, empty_absent, fault = (ErrorCode::XML_DETAIL, "cannot parse value '{}' for coalesce parameter"))]
    pub max: u32,
}
