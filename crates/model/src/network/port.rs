//! Ports of a network: what the daemon remembers of a guest's interface that uses it.

use units::{MacAddr, Uuid};
use xml::{Element, ErrorCode, Parsed, Reader, WriteOptions, Xml, XmlEnum, YesNo};

use super::bandwidth::Bandwidth;
use super::bridge::{MacTableManager, PortOptions};
use super::forward::HostdevDriver;
use super::pci::PciAddress;
use super::virtualport::VirtualPort;
use super::vlan::Vlan;
use super::words;
use crate::object::{self, fault};

/// A port.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct NetworkPort {
    /// Its UUID.
    #[xml(
        child_text,
        missing = (ErrorCode::INTERNAL_ERROR, "network port has no uuid"),
        fault = (ErrorCode::INTERNAL_ERROR, "Unable to parse UUID '{}'")
    )]
    pub uuid: Uuid,
    /// The guest.
    #[xml(child)]
    pub owner: Owner,
    /// The port group it is in.
    #[xml(child_text)]
    pub group: Option<String>,
    /// The interface's address.
    #[xml(with = mac_element)]
    pub mac: MacAddr,
    /// Profile of the switch port.
    #[xml(child, name = "virtualport")]
    pub virtual_port: Option<VirtualPort>,
    /// Limits.
    #[xml(child)]
    pub bandwidth: Option<Bandwidth>,
    /// Tags.
    #[xml(child)]
    pub vlan: Option<Vlan>,
    /// Options of the bridge's port.
    #[xml(child)]
    pub port: Option<PortOptions>,
    /// Whether the guest is believed about the packets it wants.
    #[xml(child, name = "rxfilters")]
    pub rx_filters: Option<RxFilters>,
    /// How the interface is connected; not at all without.
    #[xml(child)]
    pub plug: Option<Plug>,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Owner {
    /// Its name.
    #[xml(
        child_text,
        missing = (ErrorCode::INTERNAL_ERROR, "network port has no owner name")
    )]
    pub name: String,
    /// Its UUID.
    #[xml(
        child_text,
        missing = (ErrorCode::INTERNAL_ERROR, "network port has no owner UUID"),
        fault = (ErrorCode::INTERNAL_ERROR, "Unable to parse UUID '{}'")
    )]
    pub uuid: Uuid,
}

/// Whether the guest is believed about the packets it wants.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct RxFilters {
    /// It is.
    #[xml(attr, name = "trustGuest")]
    pub trust_guest: Option<YesNo>,
}

/// How an interface is connected.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type", default = "none")]
pub enum Plug {
    /// Not at all; the same as no plug.
    None,
    /// To the network's own bridge.
    Network(BridgePlug),
    /// To a bridge of the host.
    Bridge(BridgePlug),
    /// By macvtap.
    Direct(DirectPlug),
    /// By a PCI device.
    HostdevPci(HostdevPlug),
}

/// To a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct BridgePlug {
    /// Its name.
    #[xml(
        attr,
        empty_absent,
        missing = (ErrorCode::XML_ERROR, "Missing network port bridge name")
    )]
    pub bridge: String,
    /// Who keeps its table of addresses.
    #[xml(
        attr,
        name = "macTableManager",
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "Invalid macTableManager setting '{}' in network port")
    )]
    pub mac_table_manager: Option<MacTableManager>,
}

/// By macvtap.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct DirectPlug {
    /// The interface below.
    #[xml(
        attr,
        empty_absent,
        missing = (ErrorCode::XML_ERROR, "Missing network port link device name")
    )]
    pub dev: String,
    /// The mode.
    #[xml(
        attr,
        empty_absent,
        default = DirectMode::Vepa,
        fault = (ErrorCode::XML_ERROR, "Invalid mode setting '{}' in network port")
    )]
    pub mode: DirectMode,
}

/// A mode of macvtap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum DirectMode {
    /// Packets between guests pass the switch.
    Vepa,
    /// Guests do not reach each other.
    Private,
    /// Guests reach each other.
    Bridge,
    /// The guest has the interface for itself.
    Passthrough,
}

/// By a PCI device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(check = HostdevPlug::check)]
pub struct HostdevPlug {
    /// The daemon takes it from the host and gives it back.
    #[xml(attr)]
    pub managed: Option<YesNo>,
    /// The driver on the host.
    #[xml(child)]
    pub driver: Option<HostdevDriver>,
    /// The device; always there after reading.
    #[xml(child)]
    pub address: Option<PciAddress>,
}

impl HostdevPlug {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.address.is_none() {
            let message = "Missing network port PCI address";
            fault(cx, el, "network.port", ErrorCode::XML_ERROR, message);
        }
        self.driver = self.driver.take().filter(|driver| *driver != HostdevDriver::default());
    }
}

/// `<mac address='…'/>`, which must be there.
mod mac_element {
    use units::MacAddr;
    use xml::{
        AttrSchema, Content, Element, ErrorCode, Reader, Schema, ValueKind, ValueRules, Writer,
    };

    const MISSING: (ErrorCode, &str) = (ErrorCode::INTERNAL_ERROR, "network port has no mac");

    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<MacAddr> {
        let Some(child) = cx.child(el, "mac") else {
            cx.error("network.port-mac", MISSING.0, el.span(), MISSING.1, Vec::new());
            return None;
        };
        let rules = ValueRules {
            empty_absent: true,
            fault: Some((ErrorCode::INTERNAL_ERROR, "Unable to parse MAC '{}'")),
            missing: Some(MISSING),
            ..ValueRules::default()
        };
        cx.attr_ruled_required(child, "address", rules)
    }
    pub fn write_attrs(_: &MacAddr, _: &mut Writer) {}
    pub fn write_children(mac: &MacAddr, w: &mut Writer) {
        w.start("mac");
        w.attr("address", mac);
        w.end("mac");
    }
    fn mac() -> Schema {
        let value = ValueKind::Named("mac address");
        let attr = AttrSchema { name: "address", required: true, value };
        Schema { attrs: vec![attr], ..Schema::new() }
    }
    pub fn schema() -> Schema {
        Schema::new().child("mac".into(), true, false, Content::Element(mac))
    }
}

const RULES: &[object::Rule] =
    &[("!networkport/owner", ErrorCode::INTERNAL_ERROR, "network port has no owner name")];

/// The parts of a port in the order in which libvirt reads them.
const ORDER: &[&str] = &["uuid", "owner", "virtualport", "mac"];

/// Reads a port's XML.
pub fn parse_port(text: &str) -> Parsed<NetworkPort> {
    object::with_rest(text, &REST, read)
}

/// What a port is without some of its parts.
const REST: object::Rest = object::Rest {
    attrs: &[],
    children: &[
        (
            "owner",
            "<owner><name>unnamed</name><uuid>00000000-0000-0000-0000-000000000000</uuid></owner>",
        ),
        ("mac", "<mac address='52:54:00:00:00:00'/>"),
    ],
    asks: &[("network.port", &[])],
};

fn read(text: &str) -> Parsed<NetworkPort> {
    let refine = |root: Element<'_>, d: &mut diag::Diagnostic| {
        words::refine_part(root, d);
        object::refine(d, RULES, "");
    };
    let mut parsed = object::read(text, "networkport", refine, NetworkPort::complete);
    object::sort(text, &mut parsed.diagnostics, ORDER, &["network.port-mac", "network.port"]);
    parsed
}

/// A port's XML.
pub fn format_port(port: &NetworkPort) -> String {
    xml::write(port, "networkport", &WriteOptions::default())
}

impl NetworkPort {
    fn complete(&mut self, el: Element<'_>, cx: &mut Reader) {
        self.plug = self.plug.take().filter(|plug| *plug != Plug::None);
        self.port = self.port.take().filter(|port| port.isolated.is_some());
        self.rx_filters = self.rx_filters.take().filter(|filters| filters.trust_guest.is_some());
        self.virtual_port = self.virtual_port.take().filter(|port| !port.is_empty());
        let Some(limits) = &mut self.bandwidth else { return };
        let el = el.child("bandwidth").unwrap_or(el);
        limits.class_id = limits.class_id.filter(|id| *id != 0);
        if limits.outbound.as_ref().is_some_and(|rate| rate.floor.is_some()) {
            let message = "floor attribute is not supported for this config";
            fault(cx, el, "network.port", ErrorCode::CONFIG_UNSUPPORTED, message);
        }
        if el.children().next().is_none() {
            self.bandwidth = None;
        }
    }
}
