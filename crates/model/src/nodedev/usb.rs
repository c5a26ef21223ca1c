//! USB devices and their interfaces.

use xml::{Content, Element, Hex, Reader, Schema, ValueKind, Writer, Xml, XmlValue};

use super::pci::Identity;

/// A USB device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct UsbDevice {
    /// Number of its bus.
    #[xml(child_text)]
    pub bus: u32,
    /// Its number on the bus.
    #[xml(child_text)]
    pub device: u32,
    /// What it is.
    #[xml(with = product)]
    pub product: Identity,
    /// Who made it.
    #[xml(with = vendor)]
    pub vendor: Identity,
}

/// An interface of a USB device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct UsbInterface {
    /// Its number.
    #[xml(child_text)]
    pub number: u32,
    /// Class of its protocol.
    #[xml(child_text)]
    pub class: u32,
    /// Subclass.
    #[xml(child_text)]
    pub subclass: u32,
    /// Protocol.
    #[xml(child_text)]
    pub protocol: u32,
    /// What it is.
    #[xml(child_text)]
    pub description: Option<String>,
}

mod product {
    use super::{Element, Identity, Reader, Schema, Writer};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Identity> {
        super::read_identity(el, cx, "product")
    }
    pub fn write_attrs(_: &Identity, _: &mut Writer) {}
    pub fn write_children(identity: &Identity, w: &mut Writer) {
        super::write_identity(identity, w, "product");
    }
    pub fn schema() -> Schema {
        super::identity_schema("product")
    }
}

mod vendor {
    use super::{Element, Identity, Reader, Schema, Writer};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Identity> {
        super::read_identity(el, cx, "vendor")
    }
    pub fn write_attrs(_: &Identity, _: &mut Writer) {}
    pub fn write_children(identity: &Identity, w: &mut Writer) {
        super::write_identity(identity, w, "vendor");
    }
    pub fn schema() -> Schema {
        super::identity_schema("vendor")
    }
}

/// Reads a product or vendor, whose number is hexadecimal with or without `0x`.
pub(super) fn read_identity(
    el: Element<'_>,
    cx: &mut Reader,
    name: &'static str,
) -> Option<Identity> {
    let child = cx.child(el, name);
    let Some(attr) = child.and_then(|child| cx.attr(child, "id")) else {
        cx.missing_child(el, name);
        return None;
    };
    let child = child?;
    let text: Option<String> = cx.text_optional(child)?;
    let digits = attr.value().trim_ascii();
    let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).unwrap_or(digits);
    match u32::from_str_radix(digits, 16) {
        Ok(id) if !digits.starts_with('+') => Some(Identity { id: Hex(id), name: text }),
        _ => {
            cx.bad_attr(attr, child, &xml::ValueError::expected("a hexadecimal number"));
            None
        }
    }
}

fn write_identity(identity: &Identity, w: &mut Writer, name: &str) {
    w.start(name);
    w.attr("id", &identity.id);
    if let Some(text) = &identity.name {
        w.text_str(text);
    }
    w.end_spaced(name);
}

/// The schema of such an element.
pub(super) fn identity_schema(name: &'static str) -> Schema {
    fn inner() -> Schema {
        Schema::new().attr("id", true, <Hex<u32, 4> as XmlValue>::kind()).text(ValueKind::Text)
    }
    Schema::new().child(name.into(), true, false, Content::Element(inner))
}
