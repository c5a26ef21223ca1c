//! Mode, owner, group and label of what a pool or volume is made of.

use diag::ErrorCode;
use xml::{Element, Reader, Schema, ValueKind, Writer, Xml};

/// Permissions. What is not set is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Permission bits, at most 0777.
    pub mode: Option<u32>,
    /// Numeric user.
    pub owner: Option<u32>,
    /// Numeric group.
    pub group: Option<u32>,
    /// Security label.
    pub label: Option<String>,
}

impl Permissions {
    /// True when nothing is set; then there is no element.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads a user or group number; −1 (in either writing) means not set.
fn id(el: Element<'_>, cx: &mut Reader, name: &'static str) -> Option<Option<u32>> {
    let Some(child) = cx.child(el, name) else { return Some(None) };
    match child.string_value().trim_ascii().parse::<i64>() {
        Ok(-1) => Some(None),
        Ok(id) if id == i64::from(u32::MAX) => Some(None),
        Ok(id) if u32::try_from(id).is_ok() => Some(u32::try_from(id).ok()),
        _ => {
            let message = format!("malformed {name} element");
            cx.error("storage.id", ErrorCode::XML_ERROR, child.span(), message, Vec::new());
            None
        }
    }
}

fn mode(el: Element<'_>, cx: &mut Reader) -> Option<Option<u32>> {
    let Some(child) = cx.child(el, "mode") else { return Some(None) };
    let text = child.string_value();
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return Some(None);
    }
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => Some(Some(mode)),
        _ => {
            let hints = vec!["A mode is three octal digits, for example 0644.".to_owned()];
            let (code, span) = (ErrorCode::XML_ERROR, child.span());
            cx.error("storage.mode", code, span, "malformed octal mode", hints);
            None
        }
    }
}

impl Xml for Permissions {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let mode = mode(el, cx);
        let owner = id(el, cx, "owner");
        let group = id(el, cx, "group");
        let label = cx.child_text_optional::<String>(el, "label".into());
        Some(Self { mode: mode?, owner: owner?, group: group?, label: label? })
    }
    fn write_attrs(&self, _: &mut Writer) {}
    fn write_children(&self, w: &mut Writer) {
        if let Some(mode) = self.mode {
            w.child_text("mode", &format!("0{mode:o}"));
        }
        if let Some(owner) = self.owner {
            w.child_text("owner", &owner);
        }
        if let Some(group) = self.group {
            w.child_text("group", &group);
        }
        if let Some(label) = &self.label {
            w.child_text("label", label);
        }
    }
    fn schema() -> Schema {
        let number = || xml::Content::Text(ValueKind::Named("number"));
        Schema::new()
            .child("mode".into(), false, false, number())
            .child("owner".into(), false, false, number())
            .child("group".into(), false, false, number())
            .child("label".into(), false, false, xml::Content::Text(ValueKind::Text))
    }
}
