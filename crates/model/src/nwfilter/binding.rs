//! A binding: a filter on a guest's interface.

use units::{MacAddr, Uuid};
use xml::{ErrorCode, Parsed, WriteOptions, Xml};

use super::filter::FilterRef;
use crate::object;

/// A filter on a guest's interface.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct FilterBinding {
    /// The guest.
    #[xml(with = owner)]
    pub owner: BindingOwner,
    /// The interface on the host.
    #[xml(with = port_dev)]
    pub port_dev: String,
    /// The interface below, for macvtap.
    #[xml(child, name = "linkdev")]
    pub link_dev: Option<LinkDevice>,
    /// The guest's address.
    #[xml(with = mac)]
    pub mac: MacAddr,
    /// The filter.
    #[xml(with = filter_ref)]
    pub filter: FilterRef,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct BindingOwner {
    /// Its name.
    #[xml(
        child_text,
        missing = (ErrorCode::INTERNAL_ERROR, "filter binding has no owner name")
    )]
    pub name: String,
    /// Its UUID.
    #[xml(
        child_text,
        missing = (ErrorCode::INTERNAL_ERROR, "filter binding has no owner UUID"),
        fault = (ErrorCode::INTERNAL_ERROR, "Unable to parse UUID '{}'")
    )]
    pub uuid: Uuid,
}

/// The interface below.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct LinkDevice {
    /// Its name.
    #[xml(
        attr,
        empty_absent,
        missing = (ErrorCode::INTERNAL_ERROR, "filter binding has no link dev name")
    )]
    pub name: String,
}

/// A child that must be there, in libvirt's words: the attribute `$attr` of `<$element>`.
macro_rules! required_attr {
    ($module:ident, $type:ty, $element:literal, $attr:literal, $missing:literal, $fault:expr) => {
        mod $module {
            use xml::{
                AttrSchema, Content, Element, ErrorCode, Reader, Schema, ValueKind, ValueRules,
                Writer,
            };
            const MISSING: (ErrorCode, &str) = (ErrorCode::INTERNAL_ERROR, $missing);
            pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<$type> {
                let Some(child) = cx.child(el, $element) else {
                    cx.error("nwfilter.binding", MISSING.0, el.span(), MISSING.1, Vec::new());
                    return None;
                };
                let rules = ValueRules {
                    empty_absent: true,
                    fault: $fault,
                    missing: Some(MISSING),
                    ..ValueRules::default()
                };
                cx.attr_ruled_required(child, $attr, rules)
            }
            pub fn write_attrs(_: &$type, _: &mut Writer) {}
            pub fn write_children(value: &$type, w: &mut Writer) {
                w.start($element);
                w.attr($attr, value);
                w.end($element);
            }
            fn inner() -> Schema {
                let attr = AttrSchema { name: $attr, required: true, value: ValueKind::Text };
                Schema { attrs: vec![attr], ..Schema::new() }
            }
            pub fn schema() -> Schema {
                Schema::new().child($element.into(), true, false, Content::Element(inner))
            }
        }
    };
}

required_attr!(port_dev, String, "portdev", "name", "filter binding has no port dev name", None);
required_attr!(
    mac,
    units::MacAddr,
    "mac",
    "address",
    "filter binding has no MAC address",
    Some((ErrorCode::INTERNAL_ERROR, "Unable to parse MAC '{}'"))
);

/// A child that must be there, in libvirt's words.
macro_rules! required_child {
    ($module:ident, $type:ident, $element:literal, $present:expr, $missing:literal) => {
        mod $module {
            use super::$type;
            use xml::{Content, Element, ErrorCode, Reader, Schema, Writer, Xml};
            pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<$type> {
                let there: fn(Element<'_>) -> bool = $present;
                match cx.child(el, $element).filter(|child| there(*child)) {
                    Some(child) => cx.element(child),
                    None => {
                        let code = ErrorCode::INTERNAL_ERROR;
                        cx.error("nwfilter.binding", code, el.span(), $missing, Vec::new());
                        None
                    }
                }
            }
            pub fn write_attrs(_: &$type, _: &mut Writer) {}
            pub fn write_children(value: &$type, w: &mut Writer) {
                w.child($element, value);
            }
            pub fn schema() -> Schema {
                Schema::new().child(
                    $element.into(),
                    true,
                    false,
                    Content::Element(<$type as Xml>::schema),
                )
            }
        }
    };
}

required_child!(owner, BindingOwner, "owner", |_| true, "filter binding has no owner name");
required_child!(
    filter_ref,
    FilterRef,
    "filterref",
    |el| el.attr("filter").is_some_and(|name| !name.is_empty()),
    "filter binding has no filter reference"
);

/// Reads a binding's XML.
pub fn parse_binding(text: &str) -> Parsed<FilterBinding> {
    let mut parsed = object::read(text, "filterbinding", |_, _| (), |_, _, _| ());
    let rank = |message: &str| ORDER.iter().position(|words| message.contains(words));
    parsed.diagnostics.sort_by_key(|d| rank(&d.message).unwrap_or(ORDER.len()));
    parsed
}

/// What faults name, in the order in which libvirt asks for it.
const ORDER: &[&str] =
    &["port dev name", "link dev name", "owner name", "UUID", "MAC", "filter reference"];

/// A binding's XML.
pub fn format_binding(binding: &FilterBinding) -> String {
    xml::write(binding, "filterbinding", &WriteOptions::default())
}
