//! A filter: rules, and references to other filters.

use units::Uuid;
use xml::{
    Content, Element, ErrorCode, Name, Parsed, Reader, Schema, ValueKind, WriteOptions, Writer, Xml,
};

use super::rule::Rule;
use crate::object::{self, fault};

/// A parameter of a reference: a value of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Parameter {
    /// The variable.
    #[xml(attr)]
    pub name: Option<String>,
    /// A value of it; a variable with several values stands several times.
    #[xml(attr)]
    pub value: Option<String>,
}

/// A reference to a filter.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = FilterRef::check)]
pub struct FilterRef {
    /// Its name.
    #[xml(attr)]
    pub filter: String,
    /// Values of variables, sorted by their names.
    #[xml(child, name = "parameter")]
    pub parameters: Vec<Parameter>,
}

impl Parameter {
    /// Name and value, where both are such that a rule can use them.
    pub fn usable(&self) -> Option<(&str, &str)> {
        let (name, value) = (self.name.as_deref()?, self.value.as_deref()?);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = name.chars().all(word)
            && !value.is_empty()
            && value.chars().all(|c| word(c) || c == '.' || c == ':');
        good.then_some((name, value))
    }
}

impl FilterRef {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        self.tidy(el, cx);
    }

    /// Drops what no rule can use, and sorts the rest.
    pub(super) fn tidy(&mut self, el: Element<'_>, cx: &mut Reader) {
        let parameters = el.children().filter(|c| c.is("parameter", None));
        for (parameter, el) in self.parameters.iter().zip(parameters) {
            if parameter.usable().is_none() {
                let message = "A parameter needs a name of letters, digits and '_', and a value \
                               of these and '.' and ':'; this one is left out";
                cx.warning("nwfilter.parameter", el.span(), message, Vec::new());
            }
        }
        self.parameters.retain(|parameter| parameter.usable().is_some());
        self.parameters.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// Something in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A rule.
    Rule(Rule),
    /// Another filter, whose rules come in here.
    Include(FilterRef),
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its name.
    pub name: String,
    /// The chain its rules are in: `root`, or one that begins with the name of a protocol.
    pub chain: String,
    /// Chains of lower priority come first.
    pub priority: i32,
    /// Its UUID; one is made when there is none.
    pub uuid: Option<Uuid>,
    /// What is in it, in order.
    pub entries: Vec<Entry>,
}

/// Beginnings of the names of chains and their priorities.
pub const CHAINS: [(&str, i32); 8] = [
    ("root", 0),
    ("mac", -800),
    ("vlan", -750),
    ("stp", 0),
    ("arp", -500),
    ("rarp", -400),
    ("ipv4", -700),
    ("ipv6", -600),
];

/// The longest name of a chain.
const LONGEST_CHAIN: usize = 12;

const RULE: &str = "nwfilter.chain";

fn chain_priority(el: Element<'_>, cx: &mut Reader, chain: &str) -> i32 {
    let mut bad = |code, message: String| fault(cx, el, RULE, code, message);
    if chain.len() > LONGEST_CHAIN {
        bad(
            ErrorCode::INVALID_ARG,
            format!("Name of chain is longer than {LONGEST_CHAIN} characters"),
        );
    } else if !chain.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c)) {
        bad(ErrorCode::INVALID_ARG, "Chain name contains invalid characters".to_owned());
    } else if let Some((_, priority)) = CHAINS.iter().find(|(prefix, _)| chain.starts_with(prefix))
    {
        if chain.starts_with("root") && chain != "root" {
            // libvirt refuses it too, without a reason.
            bad(ErrorCode::INTERNAL_ERROR, format!("Invalid chain name '{chain}'"));
        }
        return *priority;
    } else {
        bad(
            ErrorCode::INVALID_ARG,
            format!(
                "Invalid chain name '{chain}'. Please use a chain name called 'root' or any of \
                 the following prefixes: mac, vlan, stp, arp, rarp, ipv4, ipv6"
            ),
        );
    }
    0
}

impl Xml for Filter {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let name = cx.attr(el, "name").map(|attr| attr.value().to_owned()).unwrap_or_default();
        if name.is_empty() {
            fault(cx, el, "nwfilter.name", ErrorCode::INTERNAL_ERROR, "filter has no name");
        }
        let given = cx.attr(el, "chain").map(|attr| attr.value()).filter(|c| !c.is_empty());
        let priority_text =
            cx.attr(el, "priority").map(|attr| attr.value()).filter(|p| !p.is_empty());
        let mut priority = given.map_or(0, |chain| chain_priority(el, cx, chain));
        if let Some(text) = priority_text {
            let mut bad = |message: String| fault(cx, el, RULE, ErrorCode::INVALID_ARG, message);
            match text.trim_ascii_start().parse::<i32>() {
                Err(_) => bad(format!("Could not parse chain priority '{text}'")),
                Ok(n) if !(-1000..=1000).contains(&n) => {
                    bad(format!("Priority '{n}' is outside valid range of [-1000,1000]"));
                }
                // Without a chain it says nothing.
                Ok(n) if given.is_some() => priority = n,
                Ok(_) => {}
            }
        }
        let rules = xml::ValueRules {
            fault: Some((ErrorCode::XML_ERROR, "malformed uuid element")),
            ..xml::ValueRules::default()
        };
        let uuid = cx.child_text_ruled_optional::<Uuid>(el, Name::new("uuid"), rules);
        let mut entries = Vec::new();
        for child in el.children() {
            if child.is("rule", None) {
                cx.use_element(child);
                entries.extend(Rule::read(child, cx).map(Entry::Rule));
            } else if child.is("filterref", None) {
                cx.use_element(child);
                entries.extend(cx.element::<FilterRef>(child).map(Entry::Include));
            }
        }
        let chain = given.unwrap_or("root").to_owned();
        Some(Self { name, chain, priority, uuid: uuid?, entries })
    }

    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("name", &self.name);
        w.attr_str("chain", &self.chain);
        if self.priority != 0 {
            w.attr("priority", &self.priority);
        }
    }

    fn write_children(&self, w: &mut Writer) {
        if let Some(uuid) = &self.uuid {
            w.child_text("uuid", uuid);
        }
        for entry in &self.entries {
            match entry {
                Entry::Rule(rule) => rule.write(w),
                Entry::Include(reference) => w.child("filterref", reference),
            }
        }
    }

    fn schema() -> Schema {
        Schema::new()
            .attr("name", true, ValueKind::Text)
            .attr("chain", false, ValueKind::Text)
            .attr("priority", false, ValueKind::Integer { min: -1000, max: 1000 })
            .child("uuid".into(), false, false, Content::Text(ValueKind::Named("uuid")))
            .child("rule".into(), false, true, Content::Element(Rule::schema))
            .child("filterref".into(), false, true, Content::Element(FilterRef::schema))
    }
}

/// Reads a filter's XML: all faults at once, defaults filled in.
pub fn parse(text: &str) -> Parsed<Filter> {
    object::read(text, "filter", |_, _| (), |_, _, _| ())
}

/// A filter's XML.
pub fn format(filter: &Filter) -> String {
    xml::write(filter, "filter", &WriteOptions::default())
}

impl Filter {
    /// The rules, without those of filters it refers to.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Rule(rule) => Some(rule),
            Entry::Include(_) => None,
        })
    }

    /// The filters it refers to.
    pub fn includes(&self) -> impl Iterator<Item = &FilterRef> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Include(reference) => Some(reference),
            Entry::Rule(_) => None,
        })
    }
}
