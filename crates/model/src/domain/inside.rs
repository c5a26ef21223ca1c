//! A domain inside another document: a snapshot's or checkpoint's.

use diag::Diagnostic;
use units::Uuid;
use xml::{Content, Element, Reader, Schema, ValueKind, Writer, Xml};

use super::defaults::{self, DefaultsContext};
use super::{Domain, ParseOptions, refine, text, validate};

/// Rules across values that libvirt asks while it fills in defaults. The others it leaves out for a
/// definition inside another document: the guest was like that once.
const ASKED: &[&str] = &["domain.vcpu-current", "domain.vcpu-zero", "domain.usb-none"];

/// What it passes over there although no such guest can start.
const PASSED_OVER: &[&str] = &["domain.pci-index"];

/// The guest another document belongs to.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Inside {
    /// Nothing is said.
    #[default]
    None,
    /// Only its UUID.
    Stub(Uuid),
    /// Its definition.
    Full(Box<Domain>),
}

impl Inside {
    /// The definition, when there is one.
    pub fn full(&self) -> Option<&Domain> {
        match self {
            Self::Full(domain) => Some(domain),
            _ => None,
        }
    }

    /// The same to change it.
    pub fn full_mut(&mut self) -> Option<&mut Domain> {
        match self {
            Self::Full(domain) => Some(domain),
            _ => None,
        }
    }

    /// Fills in what the definition leaves open, as libvirt does when such a document comes back to
    /// it, and says why it cannot be completed.
    pub fn complete(&mut self, ctx: &mut DefaultsContext<'_>) -> Vec<Diagnostic> {
        let Self::Full(domain) = self else { return Vec::new() };
        let mut found = defaults::apply(domain, ctx);
        found.retain(|d| !PASSED_OVER.contains(&d.rule));
        found.extend(validate(domain).into_iter().filter(|d| ASKED.contains(&d.rule)));
        found
    }

    /// Reads the child called `name`. Without a type it is a stub.
    pub(crate) fn read(el: Element<'_>, cx: &mut Reader, name: &'static str) -> Option<Self> {
        let Some(child) = cx.child(el, name) else { return Some(Self::None) };
        if child.attr("type").is_none() {
            let uuid = child.child("uuid").and_then(|uuid| uuid.string_value().parse().ok());
            cx.use_subtree(child);
            return Some(uuid.map_or(Self::None, Self::Stub));
        }
        let mut domain = cx.element::<Domain>(child)?;
        let mut found = Vec::new();
        text::settle(&mut domain, ParseOptions::default(), &mut found);
        for mut d in found {
            d.span.get_or_insert_with(|| child.span());
            cx.push(d);
        }
        Some(Self::Full(Box::new(domain)))
    }

    /// Writes it under a name.
    pub(crate) fn write(&self, w: &mut Writer, name: &str) {
        match self {
            Self::None => {}
            Self::Stub(uuid) => {
                w.start(name);
                w.child_text("uuid", uuid);
                w.end(name);
            }
            Self::Full(domain) => text::write_domain_as(name, domain, w),
        }
    }

    /// The schema of such a child.
    pub(crate) fn schema(name: &'static str) -> Schema {
        fn inner() -> Schema {
            // A stub has nothing but this, which the full form has too.
            Domain::schema().child(
                "uuid".into(),
                false,
                false,
                Content::Text(ValueKind::Named("uuid")),
            )
        }
        Schema::new().child(name.into(), false, false, Content::Element(inner))
    }

    /// Gives a fault inside the domain libvirt's code and words.
    pub(crate) fn refine(d: &mut Diagnostic) {
        refine::refine(std::slice::from_mut(d), "");
        super::reporters::name(d);
    }
}
