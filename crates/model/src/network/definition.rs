//! A network as a whole.

use std::collections::{BTreeSet, HashSet};

use units::{MacAddr, Uuid};
use xml::{
    Document, Element, ErrorCode, Parsed, RawElement, RawNode, Reader, WriteOptions, Writer, Xml,
    YesNo,
};

use super::address::IpAddress;
use super::bandwidth::Bandwidth;
use super::bridge::{Bridge, DnsDomain, Mtu, NetworkMac, PortOptions, Stp};
use super::dns::Dns;
use super::forward::{Connections, Forward, ForwardMode};
use super::ip::Ip;
use super::portgroup::PortGroup;
use super::route::Route;
use super::validate::validate;
use super::virtualport::VirtualPort;
use super::vlan::Vlan;
use super::words;
use crate::object::{self, Rest, fault};

/// The namespace of options handed on to dnsmasq.
pub const DNSMASQ_NS: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// A network.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Network {
    /// Ports in use; written while the network runs.
    #[xml(attr, default, skip_default, live_only)]
    pub connections: Connections,
    /// Guests may talk IPv6 to each other even without an address of the host.
    #[xml(
        attr,
        empty_absent,
        default = YesNo::No,
        skip_default,
        fault = (ErrorCode::XML_ERROR, "Invalid ipv6 setting '{}' in network '{network}'")
    )]
    pub ipv6: YesNo,
    /// What a guest says about the packets it wants is believed.
    #[xml(attr, name = "trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// Its name.
    #[xml(child_text, missing = (ErrorCode::NO_NAME, "missing name information"))]
    pub name: String,
    /// Its UUID; one is made when there is none.
    #[xml(child_text, fault = (ErrorCode::INTERNAL_ERROR, "malformed uuid element"))]
    pub uuid: Option<Uuid>,
    /// One line for humans.
    #[xml(child_text)]
    pub title: Option<String>,
    /// More for humans.
    #[xml(child_text)]
    pub description: Option<String>,
    /// Data of applications, one element for each namespace.
    #[xml(raw)]
    pub metadata: Option<RawElement>,
    /// How it reaches the world; isolated without.
    #[xml(child)]
    pub forward: Option<Forward>,
    /// Its bridge.
    #[xml(child)]
    pub bridge: Option<Bridge>,
    /// The bridge's largest packet.
    #[xml(child)]
    pub mtu: Option<Mtu>,
    /// The bridge's address.
    #[xml(child)]
    pub mac: Option<NetworkMac>,
    /// Its DNS domain.
    #[xml(child)]
    pub domain: Option<DnsDomain>,
    /// Its DNS server.
    #[xml(child)]
    pub dns: Option<Dns>,
    /// Tags of all ports.
    #[xml(child)]
    pub vlan: Option<Vlan>,
    /// Limits of all traffic.
    #[xml(child)]
    pub bandwidth: Option<Bandwidth>,
    /// Options of all ports.
    #[xml(child)]
    pub port: Option<PortOptions>,
    /// Addresses of the bridge.
    #[xml(child, name = "ip")]
    pub ips: Vec<Ip>,
    /// Routes of the host through it.
    #[xml(child, name = "route")]
    pub routes: Vec<Route>,
    /// Profile of all switch ports.
    #[xml(child, name = "virtualport")]
    pub virtual_port: Option<VirtualPort>,
    /// Classes of ports.
    #[xml(child, name = "portgroup")]
    pub port_groups: Vec<PortGroup>,
    /// Lines for dnsmasq's configuration.
    #[xml(with = dnsmasq)]
    pub dnsmasq_options: Vec<String>,
}

/// `<dnsmasq:options>`: the options of all such elements in one list.
mod dnsmasq {
    use super::DNSMASQ_NS as NS;
    use xml::{AttrSchema, ErrorCode, Name, ValueKind};
    use xml::{Content, Element, Reader, Schema, Writer};

    const OPTIONS: Name = Name::with_ns("options", NS);
    const OPTION: Name = Name::with_ns("option", NS);

    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Vec<String>> {
        let mut all = Vec::new();
        for options in cx.children(el, OPTIONS) {
            for option in cx.children(options, OPTION) {
                match cx.attr(option, "value") {
                    Some(value) => all.push(value.value().to_owned()),
                    None => {
                        let (code, span) = (ErrorCode::INTERNAL_ERROR, option.span());
                        let message = "No dnsmasq options value specified";
                        cx.error("network.dnsmasq", code, span, message, Vec::new());
                    }
                }
            }
        }
        Some(all)
    }
    pub fn write_attrs(options: &[String], w: &mut Writer) {
        if !options.is_empty() {
            w.declare_ns("dnsmasq", NS);
        }
    }
    pub fn write_children(options: &[String], w: &mut Writer) {
        if options.is_empty() {
            return;
        }
        w.start("dnsmasq:options");
        for option in options {
            w.start("dnsmasq:option");
            w.attr_str("value", option);
            w.end("dnsmasq:option");
        }
        w.end("dnsmasq:options");
    }
    fn option() -> Schema {
        let attr = AttrSchema { name: "value", required: true, value: ValueKind::Text };
        Schema { attrs: vec![attr], ..Schema::new() }
    }
    fn options() -> Schema {
        Schema::new().child(OPTION, false, true, Content::Element(option))
    }
    pub fn schema() -> Schema {
        Schema::new().child(OPTIONS, false, true, Content::Element(options))
    }
}

/// What is written of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FormatFlags {
    /// The configuration only: not the devices that were found behind a physical function, nor how
    /// many ports use what.
    pub inactive: bool,
    /// The level of the outermost element; each is two spaces.
    pub indent: usize,
}

/// The parts of a network in the order in which libvirt reads them.
const ORDER: &[&str] = &[
    "name",
    "uuid",
    "title",
    "domain",
    "bandwidth",
    "vlan",
    "port",
    "bridge",
    "mac",
    "mtu",
    "dns",
    "virtualport",
    "portgroup",
    "ip",
    "route",
    "forward",
];

/// Rules across the parts, which come last.
const LATE: &[&str] = &[
    "network.gateway",
    "network.mode",
    "network.dhcp-sections",
    "network.no-bridge",
    "network.pool",
    "network.portgroup",
    "network.untaggable",
];

/// What a network is without some of its parts.
const REST: Rest = Rest {
    attrs: &[],
    children: &[("name", "<name>unnamed</name>")],
    asks: &[
        ("network.name", &["name"]),
        ("network.title", &[]),
        ("network.gateway", &["ip"]),
        ("network.mode", &["@mode", "forward", "bridge", "mtu", "ip", "interface", "pf"]),
        ("network.dhcp-sections", &[]),
        ("network.no-bridge", &["forward"]),
        ("network.pool", &["forward"]),
        ("network.portgroup", &[]),
        ("network.untaggable", &["forward", "virtualport", "portgroup"]),
    ],
};

/// Reads a network's XML: all faults at once, defaults filled in.
pub fn parse(text: &str) -> Parsed<Network> {
    object::with_rest(text, &REST, |text| read(text, Network::complete))
}

/// Reads a network's XML as [`parse`] does, and checks what its driver takes.
pub fn parse_checked(text: &str) -> Parsed<Network> {
    let complete = |network: &mut Network, el: Element<'_>, cx: &mut Reader| {
        network.complete(el, cx);
        for d in validate(network) {
            cx.push(d);
        }
    };
    object::with_rest(text, &REST, |text| read(text, complete))
}

fn read(
    text: &str,
    complete: impl FnOnce(&mut Network, Element<'_>, &mut Reader),
) -> Parsed<Network> {
    let mut parsed = object::read(text, "network", words::refine, complete);
    object::sort(text, &mut parsed.diagnostics, ORDER, LATE);
    parsed
}

/// Reads the network that stands inside another document.
pub(super) fn parse_inside(doc: &Document<'_>, el: Element<'_>) -> Parsed<Network> {
    let mut cx = Reader::new(doc);
    let mut value = cx.element::<Network>(el);
    if let Some(network) = &mut value {
        network.complete(el, &mut cx);
    }
    let value = value.filter(|_| !cx.has_errors());
    let mut diagnostics = cx.finish();
    for d in &mut diagnostics {
        words::refine(el, d);
    }
    Parsed { value, diagnostics }
}

/// A network's XML.
pub fn format(network: &Network, flags: FormatFlags) -> String {
    let options =
        WriteOptions { live: !flags.inactive, indent: flags.indent, ..WriteOptions::default() };
    let mut w = Writer::new(&options);
    let found = network.forward.as_ref().is_some_and(|forward| forward.pf.is_some());
    if flags.inactive && found {
        let mut configured = network.clone();
        if let Some(forward) = &mut configured.forward {
            forward.dev = None;
            forward.interfaces.clear();
            forward.addresses.clear();
        }
        configured.write(&mut w);
    } else {
        network.write(&mut w);
    }
    w.finish()
}

impl Network {
    /// The way to the world.
    pub fn mode(&self) -> ForwardMode {
        self.forward.as_ref().map_or(ForwardMode::None, |forward| forward.mode)
    }

    /// The name of its bridge, if it has one by now.
    pub fn bridge_name(&self) -> Option<&str> {
        self.bridge.as_ref()?.name.as_deref()
    }

    /// The address of its bridge, if it has one by now.
    pub fn bridge_mac(&self) -> Option<MacAddr> {
        self.mac.as_ref()?.address
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.start("network");
        // libvirt declares the namespace before all attributes.
        dnsmasq::write_attrs(&self.dnsmasq_options, w);
        self.write_attrs(w);
        self.write_children(w);
        w.end("network");
    }

    /// Fills in defaults, drops what says nothing, checks what must fit together.
    fn complete(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.name.contains('/') {
            fault(cx, el, "network.name", ErrorCode::XML_DETAIL, "invalid char in name: /");
        }
        if self.title.as_ref().is_some_and(|title| title.contains('\n')) {
            let message = "Network title can't contain newlines";
            fault(cx, el, "network.title", ErrorCode::XML_ERROR, message);
        }
        if let Some(metadata) = &mut self.metadata {
            if metadata.children.iter().any(|c| matches!(c, RawNode::Element(_))) {
                metadata.keep_one_per_namespace();
            } else {
                self.metadata = None;
            }
        }
        if let (Some(limits), Some(el)) = (self.bandwidth.take(), el.child("bandwidth")) {
            self.bandwidth = limits.of_network(el, cx);
        }
        self.mtu = self.mtu.take().filter(|mtu| mtu.size.is_some_and(|size| size != 0));
        self.mac = self.mac.take().filter(|mac| mac.address.is_some());
        self.domain = self.domain.take().filter(|domain| domain.name.is_some());
        self.dns = self.dns.take().filter(|dns| *dns != Dns::default());
        self.port = self.port.take().filter(|port| port.isolated.is_some());
        if self.virtual_port.as_ref().is_some_and(|port| port.kind.is_none()) {
            let el = el.child("virtualport").unwrap_or(el);
            let message = "missing required virtualport type";
            fault(cx, el, "network.virtualport", ErrorCode::XML_ERROR, message);
        }
        self.check_mode(el, cx);
        self.check_routes(el, cx);
        self.complete_bridge();
        self.forward = self.forward.take().filter(|forward| forward.mode != ForwardMode::None);
    }

    /// What the way to the world demands of the rest, and forbids.
    fn check_mode(&self, el: Element<'_>, cx: &mut Reader) {
        let mode = self.mode();
        let at = |child: &str| el.child(child).unwrap_or(el);
        let mut bad = |at: Element<'_>, message: String| {
            fault(cx, at, "network.mode", ErrorCode::XML_ERROR, message);
        };
        let bridge = self.bridge.clone().unwrap_or_default();
        let forward = self.forward.clone().unwrap_or_default();
        let pool =
            forward.pf.is_some() || !forward.interfaces.is_empty() || !forward.addresses.is_empty();
        match mode {
            ForwardMode::Nat | ForwardMode::Route => {
                if self.ips.is_empty() {
                    bad(
                        at("forward"),
                        format!(
                            "{mode} forwarding requested, but no IP address provided for network \
                             '{{network}}'"
                        ),
                    );
                }
                if forward.interfaces.len() > 1 {
                    bad(
                        at("forward"),
                        "multiple forwarding interfaces specified for network '{network}', only \
                         one is supported"
                            .to_owned(),
                    );
                }
            }
            ForwardMode::Open => {
                if !forward.interfaces.is_empty() || !forward.addresses.is_empty() {
                    let message =
                        "forward dev not allowed for network '{network}' with forward mode='open'";
                    bad(at("forward"), message.to_owned());
                }
            }
            ForwardMode::Private
            | ForwardMode::Vepa
            | ForwardMode::Passthrough
            | ForwardMode::Hostdev => {
                let refused = [
                    ("name", bridge.name.is_some()),
                    ("zone", bridge.zone.is_some()),
                    ("macTableManager setting", bridge.mac_table_manager.is_some()),
                ];
                if let Some((what, _)) = refused.into_iter().find(|(_, given)| *given) {
                    bad(
                        at("bridge"),
                        format!("bridge {what} not allowed in {mode} mode (network '{{network}}')"),
                    );
                }
            }
            ForwardMode::None | ForwardMode::Bridge => {}
        }
        if !mode.has_own_bridge() {
            let only = format!(
                "only allowed in open, route, nat, and isolated mode, not in {mode} (network \
                 '{{network}}')"
            );
            if bridge.delay.is_some_and(|n| n != 0) || bridge.stp.is_some() || bridge.zone.is_some()
            {
                bad(at("bridge"), format!("bridge delay/stp/zone options {only}"));
            }
            if self.mtu.is_some() {
                bad(at("mtu"), format!("mtu size {only}"));
            }
        }
        if mode == ForwardMode::Bridge && bridge.name.is_some() && pool {
            bad(
                at("forward"),
                "A network with forward mode='bridge' can specify a bridge name or a forward dev, \
                 but not both (network '{network}')"
                    .to_owned(),
            );
        }
    }

    /// A gateway must be reachable through one of the network's addresses.
    fn check_routes(&self, el: Element<'_>, cx: &mut Reader) {
        let subnets: HashSet<(u32, IpAddress)> = self
            .ips
            .iter()
            .filter_map(|ip| ip.effective_prefix().map(|p| (p, ip.address.network(p))))
            .collect();
        // There are few prefixes, however many addresses.
        let prefixes: BTreeSet<u32> = subnets.iter().map(|(prefix, _)| *prefix).collect();
        let routes = el.children().filter(|c| c.is("route", None));
        for (route, el) in self.routes.iter().zip(routes) {
            let gateway = route.gateway;
            let reachable = prefixes
                .iter()
                .any(|prefix| subnets.contains(&(*prefix, gateway.network(*prefix))));
            if !reachable {
                let message = format!(
                    "unreachable static route gateway '{gateway}' specified for network \
                     '{{network}}'"
                );
                fault(cx, el, "network.gateway", ErrorCode::CONFIG_UNSUPPORTED, message);
            }
        }
    }

    /// A bridge of the network's own has STP and a delay; another's is only named.
    fn complete_bridge(&mut self) {
        if self.mode().has_own_bridge() {
            let bridge = self.bridge.get_or_insert_default();
            bridge.stp.get_or_insert(Stp::On);
            bridge.delay.get_or_insert(0);
        } else if let Some(bridge) = &mut self.bridge {
            bridge.delay = None;
            if *bridge == Bridge::default() {
                self.bridge = None;
            }
        }
    }
}
