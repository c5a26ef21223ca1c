//! Content of the daemon's private files that is carried, looked into where needed, and written back.

use xml::{Element, RawElement, RawNode, Reader, Schema, Writer, Xml};

/// An element kept as it was read, written in the same layout as everything else.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque(pub Box<RawElement>);

impl Opaque {
    /// Reads an element from text, for content the daemon makes itself. `None` when it is not XML.
    pub fn from_text(text: &str) -> Option<Self> {
        RawElement::parse(text).ok().map(|raw| Self(Box::new(raw)))
    }
}

impl Xml for Opaque {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        cx.use_subtree(el);
        Some(Self(Box::new(RawElement::from_element(el))))
    }
    fn write_attrs(&self, w: &mut Writer) {
        write_attrs(&self.0, w);
    }
    fn write_children(&self, w: &mut Writer) {
        write_children(&self.0, w);
    }
    fn schema() -> Schema {
        Schema::new()
    }
}

fn write_attrs(e: &RawElement, w: &mut Writer) {
    for (name, value) in &e.attrs {
        w.attr_str(name, value);
    }
}

fn write_children(e: &RawElement, w: &mut Writer) {
    let has_elements = e.elements().next().is_some();
    for c in &e.children {
        match c {
            RawNode::Element(c) => {
                w.start(&c.name);
                write_attrs(c, w);
                write_children(c, w);
                w.end(&c.name);
            }
            RawNode::Text(t) if !has_elements => w.text_str(t),
            _ => {}
        }
    }
}
