//! One rule: what it does, and with which packets.

use xml::{Element, ErrorCode, Reader, Schema, ValueKind, Writer, XmlEnum};

use super::kind::Kind;
use super::protocol::{Attribute, Protocol};
use super::value::Value;
use super::variable::Variable;
use crate::object::fault;

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum Action {
    /// Throws it away.
    Drop,
    /// Lets it pass.
    Accept,
    /// Throws it away and says so.
    Reject,
    /// Goes back to the filter that included this one.
    Return,
    /// Goes on with the next rule.
    Continue,
}

/// The way of a packet, seen from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum RuleDirection {
    /// To the guest.
    In,
    /// From the guest.
    Out,
    /// Either.
    Inout,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What of the packet is looked at.
    pub attribute: &'static Attribute,
    /// What it should be.
    pub value: Value,
    /// It should be anything else.
    pub negated: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// With packets going which way.
    pub direction: RuleDirection,
    /// Rules of lower priority come first; between -1000 and 1000.
    pub priority: i32,
    /// Packets of one connection are followed.
    pub state_match: bool,
    /// With packets of which protocol; of any without.
    pub protocol: Option<Protocol>,
    /// And with which of them: all conditions hold. In the order of the protocol's attributes.
    pub conditions: Vec<Condition>,
}

/// The priority of a rule that says none.
pub const DEFAULT_PRIORITY: i32 = 500;

const RULE: &str = "nwfilter.rule";

impl Rule {
    /// The condition on an attribute.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.attribute.name == name)
    }

    /// The value of an attribute.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.condition(name).map(|condition| &condition.value)
    }

    /// The schema, for hints and completion.
    pub fn schema() -> Schema {
        let mut schema = Schema::new()
            .attr("action", true, ValueKind::Text)
            .attr("direction", true, ValueKind::Text)
            .attr("priority", false, ValueKind::Integer { min: -1000, max: 1000 })
            .attr("statematch", false, ValueKind::Text);
        for protocol in Protocol::ALL {
            let mut inner = Schema::new().attr("match", false, ValueKind::Enum(&["yes", "no"]));
            for attribute in protocol.attributes() {
                inner = inner.attr(attribute.name, false, ValueKind::Text);
            }
            schema =
                schema.child(protocol.as_str().into(), false, true, xml::Content::Inline(inner));
        }
        schema
    }

    pub(super) fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let action = cx.attr_required(el, "action");
        let direction = cx.attr_required(el, "direction");
        let priority = cx.attr_optional::<i32>(el, "priority");
        let state = cx.attr(el, "statematch").map(|attr| attr.value());
        let no_state = state.is_some_and(|s| s == "0" || s.eq_ignore_ascii_case("false"));
        let mut rule = Self {
            // What is wrong with the conditions is told even if the rule cannot be read.
            action: action.unwrap_or(Action::Drop),
            direction: direction.unwrap_or(RuleDirection::Inout),
            priority: priority.flatten().unwrap_or(DEFAULT_PRIORITY),
            state_match: !no_state,
            protocol: None,
            conditions: Vec::new(),
        };
        if !(-1000..=1000).contains(&rule.priority) {
            let message = format!(
                "Priority '{}' is outside valid range of [-1000,1000]; {DEFAULT_PRIORITY} is taken",
                rule.priority
            );
            cx.warning(RULE, el.span(), message, Vec::new());
            rule.priority = DEFAULT_PRIORITY;
        }
        for child in el.children() {
            rule.read_protocol(child, cx);
        }
        rule.finish(el, cx);
        cx.report_unknown(el, Self::schema);
        (action.is_some() && direction.is_some() && priority.is_some()).then_some(rule)
    }

    /// Adds the conditions of one element. The first protocol counts; more elements of it add to
    /// and replace its conditions.
    fn read_protocol(&mut self, el: Element<'_>, cx: &mut Reader) {
        let known = Protocol::ALL.iter().find(|protocol| el.is(protocol.as_str(), None));
        let Some(protocol) = known.copied() else { return };
        cx.use_element(el);
        if let Some(first) = self.protocol.filter(|first| *first != protocol) {
            let message =
                format!("A rule has one protocol: '{first}' counts, this one is left out");
            cx.use_subtree(el);
            return cx.warning(RULE, el.span(), message, Vec::new());
        }
        self.protocol = Some(protocol);
        let negated = cx.attr(el, "match").is_some_and(|attr| attr.value() == "no");
        for attribute in protocol.attributes() {
            let Some(attr) = cx.attr(el, attribute.name) else { continue };
            let text = attr.value();
            let variable = match attribute.kind {
                Kind::Comment => None,
                _ => Variable::parse(text).map(Value::Variable),
            };
            match variable.or_else(|| attribute.kind.parse(text)) {
                Some(value) => {
                    self.conditions.retain(|known| known.attribute.name != attribute.name);
                    self.conditions.push(Condition { attribute, value, negated });
                }
                None => {
                    let message = format!("{} has illegal value {text}", attribute.name);
                    let (code, span) = (ErrorCode::INTERNAL_ERROR, attr.value_span());
                    let names: Vec<_> = match cx.keeps_errors() {
                        true => attribute.kind.names().iter().map(|(_, name)| *name).collect(),
                        false => Vec::new(),
                    };
                    let hints = match xml::closest(text, names) {
                        Some(name) => vec![format!("Did you mean '{name}'?")],
                        None => Vec::new(),
                    };
                    cx.error("nwfilter.value", code, span, message, hints);
                }
            }
        }
        for attr in el.attrs().filter(|attr| attr.name() != "match") {
            if !protocol.attributes().any(|attribute| attribute.name == attr.name()) {
                let names: Vec<_> = match cx.keeps_warnings() {
                    true => protocol.attributes().map(|attribute| attribute.name).collect(),
                    false => Vec::new(),
                };
                let message = format!(
                    "Unknown attribute '{}' in element '{protocol}'",
                    attr.qualified_name()
                );
                let hints =
                    xml::closest(attr.name(), names).map(|name| format!("Did you mean '{name}'?"));
                cx.use_attr(attr);
                let hints = hints.into_iter().collect();
                cx.warning("xml.unknown-attribute", attr.name_span(), message, hints);
            }
        }
    }

    /// Orders the conditions, settles which are negated, and checks what depends on several.
    fn finish(&mut self, el: Element<'_>, cx: &mut Reader) {
        let Some(protocol) = self.protocol else { return };
        let place = |condition: &Condition| {
            protocol.attributes().position(|a| a.name == condition.attribute.name)
        };
        self.conditions.sort_by_key(place);
        self.settle_signs(el, cx);
        if matches!(protocol, Protocol::Ip | Protocol::Ipv6) {
            let ports = ["srcportstart", "srcportend", "dstportstart", "dstportend"];
            let has_ports = ports.iter().any(|port| self.value(port).is_some());
            let number = match self.value("protocol") {
                Some(Value::Number { number, .. }) => Some(*number),
                _ => None,
            };
            if has_ports && !matches!(number, Some(6 | 17 | 33 | 132)) {
                let name = if protocol == Protocol::Ip { "IP" } else { "IPv6" };
                let message = format!(
                    "{name} rule with port specification requires protocol specification with \
                     protocol to be either one of tcp(6), udp(17), dccp(33), or sctp(132)"
                );
                fault(cx, el, RULE, ErrorCode::INTERNAL_ERROR, message);
            }
        }
        self.complete_ipset(protocol);
    }

    /// Dependent attributes are negated with the one they follow.
    fn settle_signs(&mut self, el: Element<'_>, cx: &mut Reader) {
        let negated: Vec<&'static str> = self
            .conditions
            .iter()
            .filter(|condition| condition.negated)
            .map(|condition| condition.attribute.name)
            .collect();
        for condition in &mut self.conditions {
            let Some(base) = condition.attribute.follows else { continue };
            let sign = negated.contains(&base);
            if condition.negated && !sign {
                let name = condition.attribute.name;
                let message = format!(
                    "match='no' has no effect on '{name}': it is negated together with '{base}' \
                     only"
                );
                cx.warning(RULE, el.span(), message, Vec::new());
            }
            condition.negated = sign;
        }
    }

    /// A set without flags is looked up by the source; flags without a set mean nothing.
    fn complete_ipset(&mut self, protocol: Protocol) {
        if matches!(protocol, Protocol::All | Protocol::AllV6) {
            return;
        }
        let set = self.conditions.iter().position(|c| c.attribute.name == "ipset");
        let flags = self.conditions.iter().position(|c| c.attribute.name == "ipsetflags");
        match (set, flags) {
            (Some(at), None) => {
                let attribute = protocol.attributes().find(|a| a.name == "ipsetflags");
                if let Some(attribute) = attribute {
                    let negated = false;
                    let value = Value::Directions(vec![super::value::Direction::Source]);
                    self.conditions.insert(at + 1, Condition { attribute, value, negated });
                }
            }
            (None, Some(at)) => drop(self.conditions.remove(at)),
            _ => {}
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.start("rule");
        w.attr("action", &self.action);
        w.attr("direction", &self.direction);
        w.attr("priority", &self.priority);
        if !self.state_match {
            w.attr_str("statematch", "false");
        }
        if let Some(protocol) = self.protocol {
            let any = |negated: bool| self.conditions.iter().any(|c| c.negated == negated);
            if any(false) || !any(true) {
                self.write_conditions(protocol, false, w);
            }
            if any(true) {
                self.write_conditions(protocol, true, w);
            }
        }
        w.end("rule");
    }

    fn write_conditions(&self, protocol: Protocol, negated: bool, w: &mut Writer) {
        w.start(protocol.as_str());
        if negated {
            w.attr_str("match", "no");
        }
        for condition in self.conditions.iter().filter(|c| c.negated == negated) {
            let Attribute { name, kind, .. } = *condition.attribute;
            w.attr_str(name, &condition.value.text(kind));
        }
        w.end(protocol.as_str());
    }
}
