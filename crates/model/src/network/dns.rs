//! What a network's DNS server knows.

use xml::{Element, ErrorCode, Reader, Xml, YesNo};

use super::address::IpAddress;
use crate::object::fault;

/// The settings of a network's DNS server.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = Dns::check)]
pub struct Dns {
    /// Whether there is one.
    #[xml(attr)]
    pub enable: Option<YesNo>,
    /// Names without a dot are asked for outside.
    #[xml(attr, name = "forwardPlainNames")]
    pub forward_plain_names: Option<YesNo>,
    /// Whom to ask.
    #[xml(child, name = "forwarder")]
    pub forwarders: Vec<Forwarder>,
    /// TXT records.
    #[xml(child, name = "txt")]
    pub txts: Vec<Txt>,
    /// SRV records.
    #[xml(child, name = "srv")]
    pub srvs: Vec<Srv>,
    /// Names of addresses.
    #[xml(child, name = "host")]
    pub hosts: Vec<DnsHost>,
}

/// Another DNS server to ask.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = Forwarder::check)]
pub struct Forwarder {
    /// For names of this domain; without an address they are asked for as if there were none.
    #[xml(attr)]
    pub domain: Option<String>,
    /// Its address.
    #[xml(
        attr,
        fault = (
            ErrorCode::XML_ERROR,
            "Invalid forwarder IP address '{}' in network '{network}'"
        )
    )]
    pub addr: Option<IpAddress>,
}

/// A TXT record. In an update that deletes, the value may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = Txt::check)]
pub struct Txt {
    /// The name.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_DETAIL,
            "missing required name attribute in DNS TXT record of network {network}"
        )
    )]
    pub name: String,
    /// The text.
    #[xml(attr)]
    pub value: Option<String>,
}

/// A SRV record. In an update that deletes, everything may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = Srv::check)]
pub struct Srv {
    /// The service.
    #[xml(attr)]
    pub service: Option<String>,
    /// The protocol below.
    #[xml(attr)]
    pub protocol: Option<String>,
    /// The domain that has the service; the network's otherwise.
    #[xml(attr)]
    pub domain: Option<String>,
    /// The machine that serves.
    #[xml(attr)]
    pub target: Option<String>,
    /// Its port; never 0.
    #[xml(
        attr,
        empty_absent,
        fault = (
            ErrorCode::XML_DETAIL,
            "invalid DNS SRV port attribute for service '{service}' in network '{network}'"
        )
    )]
    pub port: Option<u16>,
    /// Lower ones are tried first.
    #[xml(
        attr,
        empty_absent,
        fault = (
            ErrorCode::XML_DETAIL,
            "Invalid DNS SRV priority attribute for service '{service}' in network '{network}'"
        )
    )]
    pub priority: Option<u16>,
    /// The share among those of one priority.
    #[xml(
        attr,
        empty_absent,
        fault = (
            ErrorCode::XML_DETAIL,
            "invalid DNS SRV weight attribute for service '{service}' in network '{network}'"
        )
    )]
    pub weight: Option<u16>,
}

/// Names of an address. In an update that deletes, either part may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = DnsHost::check)]
pub struct DnsHost {
    /// The address.
    #[xml(
        attr,
        fault = (
            ErrorCode::XML_DETAIL,
            "Invalid IP address in network '{network}' DNS HOST record"
        )
    )]
    pub ip: Option<IpAddress>,
    /// Its names.
    #[xml(child_text, name = "hostname")]
    pub hostnames: Vec<String>,
}

const RULE: &str = "network.dns";

impl Forwarder {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.addr.is_none() && self.domain.is_none() {
            let message = "Invalid forwarder element, must contain at least one of addr or domain";
            fault(cx, el, RULE, ErrorCode::XML_ERROR, message);
        }
    }
}

impl Txt {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.name.contains([' ', ',']) {
            let message = format!(
                "prohibited character in DNS TXT record name '{}' of network {{network}}",
                self.name
            );
            fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
        }
    }

    /// What must be there, deletions apart.
    pub(super) fn check_whole(&self, el: Element<'_>, cx: &mut Reader) {
        if self.value.is_none() {
            let message = format!(
                "missing required value attribute in DNS TXT record named '{}' of network \
                 {{network}}",
                self.name
            );
            fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
        }
    }
}

impl Srv {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let mut bad = |message: String| fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
        let service = self.service.as_deref().unwrap_or_default();
        let protocol = self.protocol.as_deref().unwrap_or_default();
        for (what, text, more) in [("service", service, "_-+/*"), ("protocol", protocol, "-+/")] {
            if !text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c)) {
                bad(format!(
                    "invalid character in {what} attribute '{text}' in DNS SRV record of network \
                     '{{network}}'"
                ));
            }
        }
        if self.port == Some(0) {
            bad(format!(
                "invalid DNS SRV port attribute for service '{service}' in network '{{network}}'"
            ));
        }
        let given = [("port", self.port), ("priority", self.priority), ("weight", self.weight)];
        for (name, value) in given {
            if value.is_some() && self.target.is_none() {
                bad(format!(
                    "DNS SRV {name} attribute not permitted without target for service \
                     '{service}' in network '{{network}}'"
                ));
            }
        }
        // Zero is what they are without being given.
        self.priority = self.priority.filter(|n| *n != 0);
        self.weight = self.weight.filter(|n| *n != 0);
    }

    /// What must be there, deletions apart.
    pub(super) fn check_whole(&self, el: Element<'_>, cx: &mut Reader) {
        match (&self.service, &self.protocol) {
            (None, _) => {
                let message =
                    "missing required service attribute in DNS SRV record of network '{network}'";
                fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
            }
            (Some(service), None) => {
                let message = format!(
                    "missing required protocol attribute in DNS SRV record '{service}' of \
                     network '{{network}}'"
                );
                fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
            }
            _ => {}
        }
    }
}

impl DnsHost {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let named = |c: &Element<'_>| c.is("hostname", None);
        if el.children().filter(named).any(|c| c.string_value().is_empty()) {
            let message = "Missing hostname in network '{network}' DNS HOST record";
            fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
        }
    }

    /// What must be there, deletions apart.
    pub(super) fn check_whole(&self, el: Element<'_>, cx: &mut Reader) {
        let mut bad = |what: &str| {
            let message = format!("Missing {what} in network '{{network}}' DNS HOST record");
            fault(cx, el, RULE, ErrorCode::XML_DETAIL, message);
        };
        if self.hostnames.is_empty() {
            bad("hostname");
        } else if self.ip.is_none() {
            bad("IP address");
        }
    }
}

impl Dns {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        // All children were read, or there would be no value: the lists match the elements.
        let named = |name: &'static str| el.children().filter(move |c| c.is(name, None));
        for (txt, el) in self.txts.iter().zip(named("txt")) {
            txt.check_whole(el, cx);
        }
        for (srv, el) in self.srvs.iter().zip(named("srv")) {
            srv.check_whole(el, cx);
        }
        for (host, el) in self.hosts.iter().zip(named("host")) {
            host.check_whole(el, cx);
        }
        if self.enable == Some(YesNo::No) && !self.is_empty() {
            let message = "Extra data in disabled network '{network}'";
            fault(cx, el, RULE, ErrorCode::XML_ERROR, message);
        }
    }

    /// Whether it has no record and asks nobody.
    pub fn is_empty(&self) -> bool {
        self.forwarders.is_empty()
            && self.txts.is_empty()
            && self.srvs.is_empty()
            && self.hosts.is_empty()
    }
}
