//! Capabilities inside a capability: elements of one name, told apart by their type.

use diag::ErrorCode;
use xml::{Content, Element, Reader, Schema, Xml};

/// What becomes of a capability whose type is not known, or not given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stray {
    /// A fault.
    Refused,
    /// A type that is not known is a fault; a missing one is read over.
    Unnamed,
    /// Read over; a missing type is a fault.
    Skipped,
    /// Read over in any case.
    Ignored,
}

/// Reads the sub-capabilities of `el`.
pub(super) fn read<T: Xml>(el: Element<'_>, cx: &mut Reader, stray: Stray) -> Option<Vec<T>> {
    let variants = T::schema().variants;
    let mut all = Some(Vec::new());
    for child in cx.children(el, "capability") {
        let kind = child.attr("type");
        let known = kind.is_some_and(|kind| variants.iter().any(|v| v.value == kind));
        let refused = match stray {
            Stray::Refused => true,
            Stray::Unnamed => kind.is_some(),
            Stray::Skipped | Stray::Ignored => false,
        };
        if !known && !refused {
            cx.use_subtree(child);
            if kind.is_some() || stray != Stray::Skipped {
                let message = format!("Unknown capability '{}'", kind.unwrap_or_default());
                let words: Vec<&'static str> = variants.iter().map(|v| v.value).collect();
                let hints = match cx.keeps_warnings() {
                    true => crate::object::hints(kind.unwrap_or_default(), &words),
                    false => Vec::new(),
                };
                cx.warning("nodedev.capability", child.span(), message, hints);
            } else {
                let (code, span) = (ErrorCode::XML_ERROR, child.span());
                cx.error("nodedev.capability", code, span, "Missing capability type", Vec::new());
                all = None;
            }
            continue;
        }
        match (cx.element::<T>(child), &mut all) {
            (Some(value), Some(all)) => all.push(value),
            _ => all = None,
        }
    }
    all
}

/// The schema of sub-capabilities of this type.
pub(super) fn schema<T: Xml>() -> Schema {
    Schema::new().child("capability".into(), false, true, Content::Element(T::schema))
}

/// Makes a module for `#[xml(with = …)]` out of a type and what to do with strays.
macro_rules! sub_capabilities {
    ($module:ident, $type:ident, $stray:ident) => {
        mod $module {
            use super::$type;
            use crate::nodedev::children::{self, Stray};
            use xml::{Element, Reader, Schema, Writer};

            pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Vec<$type>> {
                children::read(el, cx, Stray::$stray)
            }
            pub fn write_attrs(_: &[$type], _: &mut Writer) {}
            pub fn write_children(all: &[$type], w: &mut Writer) {
                for one in all {
                    w.child("capability", one);
                }
            }
            pub fn schema() -> Schema {
                children::schema::<$type>()
            }
        }
    };
}
pub(super) use sub_capabilities;
