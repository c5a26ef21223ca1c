//! The form of `<cpu>` documents that clients ask to be kept to (`--validate`): what libvirt's
//! schema gives to the CPUs of guests and to those of hosts. Reading is more generous, and what it
//! passes over may be a slip of the pen.

use super::CpuError;
use crate::domain::ARCHITECTURES;
use xml::{Diagnostic, Document, Element, ErrorCode, Severity, Span};

/// What an attribute's value may be.
#[derive(Clone, Copy, Debug)]
enum Value {
    Any,
    OneOf(&'static [&'static str]),
    /// A number of 32 bits.
    Number,
    /// A number above zero.
    Positive,
    /// A name of a CPU feature.
    Feature,
    /// Twelve characters and no comma, as CPUID tells vendors.
    Vendor,
}

/// How often an element may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    AtMostOnce,
    Any,
    AtLeastOnce,
}

/// An attribute: its name, whether it must be there, and its values.
type Attribute = (&'static str, bool, Value);

/// An element's attributes and children.
#[derive(Debug)]
struct Shape {
    attributes: &'static [Attribute],
    children: &'static [(&'static str, Times, &'static Shape)],
    /// Text is part of it.
    text: bool,
}

const ON_OFF: Value = Value::OneOf(&["on", "off"]);
const YES_NO: Value = Value::OneOf(&["yes", "no"]);

const fn leaf(attributes: &'static [Attribute]) -> Shape {
    Shape { attributes, children: &[], text: false }
}

const fn text(attributes: &'static [Attribute]) -> Shape {
    Shape { attributes, children: &[], text: true }
}

static EMPTY: Shape = leaf(&[]);
static TEXT: Shape = text(&[]);
static TOPOLOGY: Shape = leaf(&[
    ("sockets", true, Value::Positive),
    ("dies", false, Value::Positive),
    ("clusters", false, Value::Positive),
    ("cores", true, Value::Positive),
    ("threads", true, Value::Positive),
]);
static MAX_PHYS_ADDR: Shape = leaf(&[
    ("mode", true, Value::OneOf(&["emulate", "passthrough"])),
    ("bits", false, Value::Number),
    ("limit", false, Value::Number),
]);
static MODEL: Shape = text(&[
    ("fallback", false, Value::OneOf(&["allow", "forbid"])),
    ("vendor_id", false, Value::Vendor),
]);
static FEATURE: Shape = leaf(&[
    ("policy", true, Value::OneOf(&["force", "require", "optional", "disable", "forbid"])),
    ("name", true, Value::Feature),
]);
static CACHE: Shape = leaf(&[
    ("level", false, Value::OneOf(&["1", "2", "3"])),
    ("mode", true, Value::OneOf(&["emulate", "passthrough", "disable"])),
]);
static SIZE: Shape = leaf(&[("value", true, Value::Number), ("unit", true, Value::Any)]);
static SIBLING: Shape = leaf(&[("id", true, Value::Number), ("value", true, Value::Number)]);
static DISTANCES: Shape =
    Shape { attributes: &[], children: &[("sibling", Times::AtLeastOnce, &SIBLING)], text: false };
static CELL_CACHE: Shape = Shape {
    attributes: &[
        ("level", true, Value::Number),
        ("associativity", true, Value::OneOf(&["none", "direct", "full"])),
        ("policy", true, Value::OneOf(&["none", "writeback", "writethrough"])),
    ],
    children: &[("size", Times::Once, &SIZE), ("line", Times::Once, &SIZE)],
    text: false,
};
static CELL: Shape = Shape {
    attributes: &[
        ("id", false, Value::Number),
        ("cpus", false, Value::Any),
        ("memory", true, Value::Any),
        ("unit", false, Value::Any),
        ("memAccess", false, Value::OneOf(&["shared", "private"])),
        ("discard", false, YES_NO),
    ],
    children: &[("distances", Times::AtMostOnce, &DISTANCES), ("cache", Times::Any, &CELL_CACHE)],
    text: false,
};
const ACCESS: Value = Value::OneOf(&["access", "read", "write"]);
static LATENCY: Shape = leaf(&[
    ("initiator", true, Value::Number),
    ("target", true, Value::Number),
    ("cache", false, Value::Number),
    ("type", true, ACCESS),
    ("value", true, Value::Number),
]);
static BANDWIDTH: Shape = leaf(&[
    ("initiator", true, Value::Number),
    ("target", true, Value::Number),
    ("cache", false, Value::Number),
    ("type", true, ACCESS),
    ("value", true, Value::Number),
    ("unit", true, Value::Any),
]);
static INTERCONNECTS: Shape = Shape {
    attributes: &[],
    children: &[("latency", Times::Any, &LATENCY), ("bandwidth", Times::Any, &BANDWIDTH)],
    text: false,
};
static NUMA: Shape = Shape {
    attributes: &[],
    children: &[
        ("cell", Times::AtLeastOnce, &CELL),
        ("interconnects", Times::AtMostOnce, &INTERCONNECTS),
    ],
    text: false,
};

/// The CPU of a guest.
static GUEST: Shape = Shape {
    attributes: &[
        ("mode", false, Value::OneOf(&["custom", "host-model", "host-passthrough", "maximum"])),
        ("match", false, Value::OneOf(&["minimum", "exact", "strict"])),
        ("check", false, Value::OneOf(&["none", "partial", "full"])),
        ("deprecated_features", false, ON_OFF),
        ("migratable", false, ON_OFF),
    ],
    children: &[
        ("model", Times::AtMostOnce, &MODEL),
        ("vendor", Times::AtMostOnce, &TEXT),
        ("topology", Times::AtMostOnce, &TOPOLOGY),
        ("feature", Times::Any, &FEATURE),
        ("numa", Times::AtMostOnce, &NUMA),
        ("cache", Times::AtMostOnce, &CACHE),
        ("maxphysaddr", Times::AtMostOnce, &MAX_PHYS_ADDR),
    ],
    text: false,
};

static HOST_FEATURES: Shape = Shape {
    attributes: &[],
    children: &[
        ("pae", Times::AtMostOnce, &EMPTY),
        ("nonpae", Times::AtMostOnce, &EMPTY),
        ("vmx", Times::AtMostOnce, &EMPTY),
        ("svm", Times::AtMostOnce, &EMPTY),
    ],
    text: false,
};
static MICROCODE: Shape = leaf(&[("version", true, Value::Positive)]);
static SIGNATURE: Shape = leaf(&[
    ("family", true, Value::Positive),
    ("model", true, Value::Number),
    ("stepping", true, Value::Number),
]);
static COUNTER: Shape =
    leaf(&[("name", true, Value::Any), ("frequency", true, Value::Any), ("scaling", true, YES_NO)]);
/// libvirt's schema knows no dots in names here, and so refuses what libvirt itself writes of hosts
/// that have `sse4.1`; they are features of guests' CPUs as well.
static HOST_FEATURE: Shape = leaf(&[("name", true, Value::Feature)]);
static PAGES: Shape = leaf(&[("unit", false, Value::Any), ("size", true, Value::Number)]);

/// The CPU of a host, as capabilities show it.
static HOST: Shape = Shape {
    attributes: &[],
    children: &[
        ("arch", Times::Once, &TEXT),
        ("features", Times::AtMostOnce, &HOST_FEATURES),
        ("model", Times::AtMostOnce, &TEXT),
        ("vendor", Times::AtMostOnce, &TEXT),
        ("microcode", Times::AtMostOnce, &MICROCODE),
        ("signature", Times::AtMostOnce, &SIGNATURE),
        ("counter", Times::AtMostOnce, &COUNTER),
        ("topology", Times::AtMostOnce, &TOPOLOGY),
        ("maxphysaddr", Times::AtMostOnce, &MAX_PHYS_ADDR),
        ("feature", Times::Any, &HOST_FEATURE),
        ("pages", Times::Any, &PAGES),
    ],
    text: false,
};

impl Value {
    fn takes(self, text: &str) -> bool {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::Any => true,
            Self::OneOf(words) => words.contains(&text),
            Self::Number => digits && text.parse::<u32>().is_ok(),
            Self::Positive => digits && text.bytes().any(|byte| byte != b'0'),
            Self::Feature => {
                let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                !text.is_empty() && text.chars().all(known)
            }
            Self::Vendor => text.chars().count() == 12 && !text.contains(','),
        }
    }
}

fn fault(out: &mut Vec<Diagnostic>, span: Span, message: String) {
    out.push(Diagnostic {
        rule: "cpu.schema",
        severity: Severity::Error,
        code: ErrorCode::XML_INVALID_SCHEMA,
        domain: None,
        span: Some(span),
        message,
        hints: Vec::new(),
    });
}

/// Compares an element with its shape; goes no deeper than shapes do.
fn compare(element: Element<'_>, shape: &Shape, out: &mut Vec<Diagnostic>) {
    let name = element.name();
    for attribute in element.attrs().filter(|attribute| attribute.ns().is_none()) {
        let (own, value) = (attribute.name(), attribute.value());
        match shape.attributes.iter().find(|(known, ..)| *known == own) {
            Some((.., values)) if values.takes(value) => {}
            Some(_) => {
                let message = format!("<{name}> has an invalid value '{value}' of '{own}'");
                fault(out, element.span(), message);
            }
            None => fault(out, element.span(), format!("<{name}> has no attribute '{own}'")),
        }
    }
    for (own, needed, _) in shape.attributes {
        if *needed && element.attr(own).is_none() {
            fault(out, element.span(), format!("<{name}> lacks the attribute '{own}'"));
        }
    }
    for child in element.children() {
        match shape.children.iter().find(|(known, ..)| *known == child.name()) {
            Some((.., shape)) => compare(child, shape, out),
            None => {
                fault(out, child.span(), format!("<{name}> has no element <{}>", child.name()));
            }
        }
    }
    for (own, times, _) in shape.children {
        let mut all = element.children().filter(|child| child.name() == *own);
        let (first, second) = (all.next(), all.next());
        if first.is_none() && matches!(times, Times::Once | Times::AtLeastOnce) {
            fault(out, element.span(), format!("<{name}> lacks the element <{own}>"));
        }
        if let (Some(second), Times::Once | Times::AtMostOnce) = (second, times) {
            fault(out, second.span(), format!("<{name}> has one element <{own}> at most"));
        }
    }
    if !shape.text && !element.text().trim().is_empty() {
        fault(out, element.span(), format!("<{name}> has no text"));
    }
}

/// Compares a document whose root is `<cpu>` with the form of such documents.
///
/// # Errors
/// Everything that departs from it.
pub(super) fn check(document: &Document<'_>) -> Result<(), CpuError> {
    let root = document.root();
    let mut out = Vec::new();
    if root.name() == "cpu" {
        let arch = root.child("arch");
        compare(root, if arch.is_some() { &HOST } else { &GUEST }, &mut out);
        if let Some(arch) = arch
            && !ARCHITECTURES.contains(&&*arch.text())
        {
            fault(&mut out, arch.span(), format!("no architecture is called '{}'", arch.text()));
        }
    } else {
        fault(&mut out, root.span(), format!("the root is <{}>, not <cpu>", root.name()));
    }
    if out.is_empty() { Ok(()) } else { Err(CpuError::Document(out)) }
}

#[cfg(test)]
mod tests {
    use crate::cpu::{CpuError, read, read_valid};

    #[test]
    fn what_departs_from_the_form_is_told() {
        let check = |text: &str, expected: &[&str]| {
            let found = match read_valid(text) {
                Ok(_) => Vec::new(),
                Err(CpuError::Document(found)) => found,
                Err(error) => panic!("{text}: {error}"),
            };
            let found: Vec<_> = found.iter().map(|fault| fault.message.as_str()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("<cpu><model>kvm64</model></cpu>", &[]);
        check("<cpu mode='host-model' check='partial' migratable='on'/>", &[]);
        check("<cpu><arch>x86_64</arch><model>kvm64</model><feature name='sse4.1'/></cpu>", &[]);
        let cell = "<cell id='0' cpus='0-1' memory='1024' unit='KiB'/>";
        check(&format!("<cpu><numa>{cell}{cell}</numa></cpu>"), &[]);
        check(
            "<cpu><model>kvm64</model><foo/>x</cpu>",
            &["<cpu> has no element <foo>", "<cpu> has no text"],
        );
        check(
            "<cpu><model>kvm64</model><feature name='aes'/></cpu>",
            &["<feature> lacks the attribute 'policy'"],
        );
        check(
            "<cpu><arch>x86_64</arch><model>kvm64</model><feature policy='x' name='a b'/></cpu>",
            &[
                "<feature> has no attribute 'policy'",
                "<feature> has an invalid value 'a b' of 'name'",
            ],
        );
        check(
            "<cpu match='exact'><arch>x86_64</arch><model>kvm64</model></cpu>",
            &["<cpu> has no attribute 'match'"],
        );
        check(
            "<cpu><model>a</model><model>b</model><topology sockets='0' cores='1'/></cpu>",
            &[
                "<topology> has an invalid value '0' of 'sockets'",
                "<topology> lacks the attribute 'threads'",
                "<cpu> has one element <model> at most",
            ],
        );
        check("<cpu><arch>nope</arch></cpu>", &["no architecture is called 'nope'"]);
        check("<domain/>", &["the root is <domain>, not <cpu>"]);
        check("<cpu><numa/></cpu>", &["<numa> lacks the element <cell>"]);
    }

    #[test]
    fn reading_is_more_generous() {
        let text = "<cpu><model>kvm64</model><foo/></cpu>";
        assert!(read(text).is_ok());
        assert!(read_valid(text).is_err());
    }
}
