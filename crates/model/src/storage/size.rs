//! Sizes with units.

use diag::ErrorCode;
use xml::{Element, Reader, Schema, Writer, Xml};

use crate::domain::scalar::unit_bytes;

/// A size in bytes that is written only: what a pool holds is measured, never configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Xml for Size {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        cx.use_subtree(el);
        Some(Self(0))
    }
    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("unit", "bytes");
    }
    fn write_children(&self, w: &mut Writer) {
        w.text(&self.0);
    }
    fn schema() -> Schema {
        Schema::new().attr("unit", false, xml::ValueKind::Text).text(xml::ValueKind::Named("size"))
    }
}

/// Reads a size in bytes from the child called `name`; `Some(None)` when it is not there, `None`
/// after a fault, which is recorded with libvirt's words.
pub fn scaled(el: Element<'_>, cx: &mut Reader, name: &'static str) -> Option<Option<u64>> {
    let Some(child) = cx.child(el, name) else { return Some(None) };
    let unit = cx.attr(child, "unit").map(|unit| unit.value());
    let text = child.string_value();
    let fault = |cx: &mut Reader, code, message: String| {
        cx.error("storage.size", code, child.span(), message, Vec::new());
        None
    };
    if text.is_empty() {
        return Some(None);
    }
    let Ok(value) = text.trim_ascii().parse::<u64>() else {
        // Libvirt's words, one for both sizes.
        let message = match name {
            "clusterSize" => {
                format!("Invalid value '{text}' for element or attribute './target/{name}'")
            }
            _ => "malformed capacity element".to_owned(),
        };
        return fault(cx, ErrorCode::XML_ERROR, message);
    };
    let factor = match unit {
        None | Some("") => 1,
        Some(unit) => match unit_bytes(unit) {
            Some(factor) => factor,
            None => return fault(cx, ErrorCode::INVALID_ARG, format!("unknown suffix '{unit}'")),
        },
    };
    match value.checked_mul(factor) {
        Some(bytes) => Some(Some(bytes)),
        None => {
            let message = format!("value too large: {value}{}", unit.unwrap_or_default());
            fault(cx, ErrorCode::OVERFLOW, message)
        }
    }
}
