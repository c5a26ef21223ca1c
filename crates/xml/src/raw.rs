//! Subtrees that are carried without being understood: `<metadata>`, foreign namespaces.

use std::collections::BTreeSet;

use crate::dom::Kind;
use crate::{Document, Element};

/// An owned element with everything in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RawElement {
    /// The name as written, prefix included.
    pub name: String,
    /// The namespace, if it has one.
    pub ns: Option<String>,
    /// Namespaces declared here: prefix ("" for the default one) and name.
    pub namespaces: Vec<(String, String)>,
    /// Attributes: name as written, and value.
    pub attrs: Vec<(String, String)>,
    /// What is inside, in order.
    pub children: Vec<RawNode>,
}

/// Something inside a [`RawElement`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RawNode {
    /// An element.
    Element(RawElement),
    /// Text.
    Text(String),
    /// Text in a CDATA section.
    CData(String),
    /// A comment.
    Comment(String),
    /// A processing instruction: target and data as written.
    Instruction(String),
}

impl RawElement {
    /// Copies a subtree. Prefixes declared further out are declared on the copy.
    pub fn from_element(el: Element<'_>) -> Self {
        let mut copy = Self::copy(el);
        let mut needed = BTreeSet::new();
        let mut order = Vec::new();
        needed_prefixes(el, &mut Vec::new(), &mut needed, &mut order);
        for prefix in order {
            let uri = std::iter::successors(el.parent(), |p| p.parent())
                .flat_map(|p| p.namespace_decls())
                .find(|(p, _)| *p == prefix);
            if let Some((prefix, uri)) = uri.filter(|(_, uri)| !uri.is_empty()) {
                copy.namespaces.push((prefix.to_owned(), uri.to_owned()));
            }
        }
        copy
    }

    fn copy(el: Element<'_>) -> Self {
        Self {
            name: el.qualified_name().to_owned(),
            ns: el.ns().map(str::to_owned),
            namespaces: el.namespace_decls().map(|(p, u)| (p.to_owned(), u.to_owned())).collect(),
            attrs: el
                .attrs()
                .map(|a| (a.qualified_name().to_owned(), a.value().to_owned()))
                .collect(),
            children: el
                .nodes()
                .map(|id| {
                    let text = || el.doc.node_text(id).to_owned();
                    match el.doc.nodes[id as usize].kind {
                        Kind::Element => RawNode::Element(Self::copy(Element { doc: el.doc, id })),
                        Kind::Text => RawNode::Text(text()),
                        Kind::CData => RawNode::CData(text()),
                        Kind::Comment => RawNode::Comment(text()),
                        Kind::Pi => RawNode::Instruction(text()),
                    }
                })
                .collect(),
        }
    }

    /// Reads one element from text.
    ///
    /// # Errors
    ///
    /// All faults of syntax.
    pub fn parse(text: &str) -> Result<Self, Vec<diag::Diagnostic>> {
        Document::parse(text).map(|doc| Self::from_element(doc.root()))
    }

    /// The local name, without prefix.
    pub fn local_name(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or(&self.name)
    }

    /// The child elements.
    pub fn elements(&self) -> impl Iterator<Item = &RawElement> {
        self.children.iter().filter_map(|c| match c {
            RawNode::Element(e) => Some(e),
            _ => None,
        })
    }

    /// The value of an attribute, by its name as written.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(n, _)| n == name).map(|(_, v)| &**v)
    }

    /// Keeps of the direct children only elements in a namespace, and of each namespace only the
    /// first: libvirt's rule for `<metadata>`.
    pub fn keep_one_per_namespace(&mut self) {
        let mut seen = BTreeSet::new();
        self.children.retain(|c| match c {
            RawNode::Element(RawElement { ns: Some(ns), .. }) => seen.insert(ns.clone()),
            _ => false,
        });
    }

    /// The text, laid out as libvirt's own library does it: double quotes, two spaces a level, and
    /// no layout at all inside an element that has text of its own. No newline at the end.
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write_formatted(&mut out, 0);
        out
    }

    pub(crate) fn write_formatted(&self, out: &mut String, depth: usize) {
        self.write(out, depth, true);
    }

    fn write(&self, out: &mut String, depth: usize, format: bool) {
        out.push('<');
        out.push_str(&self.name);
        for (prefix, uri) in &self.namespaces {
            out.push_str(" xmlns");
            if !prefix.is_empty() {
                out.push(':');
                out.push_str(prefix);
            }
            out.push_str("=\"");
            escape_raw(uri, true, out);
            out.push('"');
        }
        for (name, value) in &self.attrs {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape_raw(value, true, out);
            out.push('"');
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        let format = format
            && !self.children.iter().any(|c| matches!(c, RawNode::Text(_) | RawNode::CData(_)));
        for c in &self.children {
            if format {
                new_line(out, depth + 1);
            }
            match c {
                RawNode::Element(e) => e.write(out, depth + 1, format),
                RawNode::Text(t) => escape_raw(t, false, out),
                RawNode::CData(t) => {
                    // A CDATA section cannot hold its own end; it is split there.
                    out.push_str("<![CDATA[");
                    out.push_str(&t.replace("]]>", "]]]]><![CDATA[>"));
                    out.push_str("]]>");
                }
                RawNode::Comment(t) => {
                    out.push_str("<!--");
                    out.push_str(t);
                    out.push_str("-->");
                }
                RawNode::Instruction(t) => {
                    out.push_str("<?");
                    out.push_str(t);
                    out.push_str("?>");
                }
            }
        }
        if format {
            new_line(out, depth);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn escape_raw(text: &str, attr: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            '"' if attr => out.push_str("&quot;"),
            '\n' if attr => out.push_str("&#10;"),
            '\t' if attr => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
}

/// The prefixes used in the subtree and not declared in it, in the order of their first use.
fn needed_prefixes<'a>(
    el: Element<'a>,
    scope: &mut Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
    order: &mut Vec<&'a str>,
) {
    let before = scope.len();
    scope.extend(el.namespace_decls().map(|(p, _)| p));
    let own = std::iter::once(el.prefix().unwrap_or(""));
    let attrs = el.attrs().filter_map(|a| a.qualified_name().split_once(':').map(|(p, _)| p));
    for prefix in own.chain(attrs) {
        if prefix != "xml" && !scope.contains(&prefix) && seen.insert(prefix) {
            order.push(prefix);
        }
    }
    for c in el.children() {
        needed_prefixes(c, scope, seen, order);
    }
    scope.truncate(before);
}
