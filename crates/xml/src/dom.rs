//! The document tree: an arena in document order, borrowing from the text it was read from.
//!
//! Nodes lie in pre-order, and each knows where its subtree ends, so the children of an element
//! are found by stepping from one sibling's end to the next; no node has pointers. Attributes of an
//! element are one range of one array. White space between elements is left out, by the rule of
//! libvirt's own parser (see [`crate::parse`]), so that raw subtrees come out as libvirt prints them.

use std::borrow::Cow;

use diag::{Diagnostic, Span};

use crate::Name;
use crate::key::{bit, bit_of, is_whole, key};

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Element,
    Text,
    CData,
    Comment,
    Pi,
}

/// No owned string: the text is a range of the source.
pub(crate) const BORROWED: u32 = u32::MAX;
/// The number of "no namespace".
pub(crate) const NO_NS: u32 = 0;
/// The number of a prefix that nothing declares.
pub(crate) const UNBOUND_NS: u32 = u32::MAX;

/// One node. `a..b` is the qualified name of an element or instruction, or the text.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub kind: Kind,
    pub prefix_len: u16,
    pub parent: u32,
    /// Index of the first node after the subtree.
    pub end: u32,
    pub a: u32,
    pub b: u32,
    /// Elements: the first attribute. Others: the owned string, or [`BORROWED`].
    pub first: u32,
    /// Elements: one past the last attribute.
    pub last: u32,
    pub ns: u32,
    pub start: u32,
    /// End of the start tag (elements) or of the node (others).
    pub tag_end: u32,
    /// End of the whole element.
    pub close: u32,
    /// Elements: the [`key`] of the local name.
    pub key: u64,
    /// The [`bit`]s of the names of all attributes.
    pub attr_bits: u64,
    pub below: Below,
}

/// The names of the child elements of an element, as [`bit`]s.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Below {
    /// All names.
    pub all: u64,
    /// Those that more than one child has.
    pub repeated: u64,
    /// Those of children that do not stand together: others are between them.
    pub scattered: u64,
}

/// Which names may be found in an element: a quick first answer for derived code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    attrs: u64,
    children: u64,
}

impl Holds {
    /// Whether an attribute of this name may be there; if not, there is none.
    #[inline(always)]
    pub const fn attr(self, name: Name) -> bool {
        self.attrs & bit_of(name.key) != 0
    }

    /// Whether a child of this name may be there; if not, there is none.
    #[inline(always)]
    pub const fn child(self, name: Name) -> bool {
        self.children & bit_of(name.key) != 0
    }
}

/// One attribute that is not a namespace declaration.
#[derive(Clone, Debug)]
pub(crate) struct AttrNode {
    pub name: u32,
    pub name_end: u32,
    pub value: u32,
    pub value_end: u32,
    pub owned: u32,
    pub ns: u32,
    pub prefix_len: u16,
    /// The [`key`] of the local name.
    pub key: u64,
}

/// One namespace declaration, in document order.
#[derive(Clone, Debug)]
pub(crate) struct Decl<'s> {
    pub node: u32,
    pub prefix: &'s str,
    pub ns: u32,
}

/// A parsed document. It borrows the text it was read from.
#[derive(Clone, Debug)]
pub struct Document<'s> {
    pub(crate) source: &'s str,
    pub(crate) nodes: Vec<Node>,
    pub(crate) attrs: Vec<AttrNode>,
    pub(crate) owned: Vec<Box<str>>,
    /// Namespace names by number; 0 is "none".
    pub(crate) namespaces: Vec<Cow<'s, str>>,
    pub(crate) decls: Vec<Decl<'s>>,
    pub(crate) root: u32,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl<'s> Document<'s> {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// All faults of syntax that could be told apart, in the order of the text; see
    /// [`crate::parse`] for what is refused and for the limits.
    pub fn parse(source: &'s str) -> Result<Self, Vec<Diagnostic>> {
        crate::parse::parse(source)
    }

    /// The root element.
    pub fn root(&self) -> Element<'_> {
        Element { doc: self, id: self.root }
    }

    /// The text the document was read from.
    pub fn source(&self) -> &'s str {
        self.source
    }

    /// What was accepted but deserves a word (a prefix that nothing declares).
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    pub(crate) fn str(&self, a: u32, b: u32) -> &str {
        self.source.get(a as usize..b as usize).unwrap_or("")
    }

    /// Whether the source has this name at this place. Compares bytes: a place between two characters
    /// cannot equal a name.
    #[inline]
    fn reads(&self, a: u32, b: u32, name: &str) -> bool {
        b.wrapping_sub(a) as usize == name.len()
            && self.source.as_bytes().get(a as usize..b as usize) == Some(name.as_bytes())
    }

    /// Whether an attribute has this name, which has this key, and no namespace.
    #[inline]
    fn is_attr(&self, a: &AttrNode, key: u64, name: &str) -> bool {
        a.key == key && a.ns == NO_NS && (is_whole(key) || self.reads(a.name, a.name_end, name))
    }

    fn ns(&self, id: u32) -> Option<&str> {
        match id {
            NO_NS | UNBOUND_NS => None,
            id => self.namespaces.get(id as usize).map(|s| &**s),
        }
    }
}

/// A view of one element.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub(crate) doc: &'a Document<'a>,
    pub(crate) id: u32,
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.doc, other.doc) && self.id == other.id
    }
}

impl<'a> Element<'a> {
    #[inline]
    fn node(self) -> &'a Node {
        &self.doc.nodes[self.id as usize]
    }

    /// The local name, without prefix.
    pub fn name(self) -> &'a str {
        let n = self.node();
        self.doc.str(n.a + u32::from(n.prefix_len), n.b)
    }

    /// The name as written, with its prefix.
    pub fn qualified_name(self) -> &'a str {
        let n = self.node();
        self.doc.str(n.a, n.b)
    }

    /// The prefix, when one is written.
    pub fn prefix(self) -> Option<&'a str> {
        let n = self.node();
        let len = u32::from(n.prefix_len);
        if len == 0 { None } else { Some(self.doc.str(n.a, n.a + len - 1)) }
    }

    /// The namespace, if the element is in one.
    pub fn ns(self) -> Option<&'a str> {
        self.doc.ns(self.node().ns)
    }

    /// Whether the element has this name and namespace.
    #[inline]
    pub fn is(self, name: &str, ns: Option<&str>) -> bool {
        self.is_keyed(key(name.as_bytes()), name, ns)
    }

    /// The same for a name whose key is known.
    #[inline]
    fn is_keyed(self, key: u64, name: &str, ns: Option<&str>) -> bool {
        let n = self.node();
        // What is no element has the key 0, which no name has.
        if n.key != key
            || !is_whole(key) && !self.doc.reads(n.a + u32::from(n.prefix_len), n.b, name)
        {
            return false;
        }
        match ns {
            None => n.ns == NO_NS,
            Some(uri) => self.ns() == Some(uri),
        }
    }

    /// The attributes, namespace declarations left out.
    pub fn attrs(self) -> impl DoubleEndedIterator<Item = Attr<'a>> + ExactSizeIterator + Clone {
        let n = self.node();
        let doc = self.doc;
        (n.first..n.last).map(move |id| Attr { doc, id })
    }

    /// The numbers of its attributes.
    #[inline]
    pub(crate) fn attr_ids(self) -> std::ops::Range<u32> {
        let n = self.node();
        n.first..n.last
    }

    /// What may be found in it.
    #[doc(hidden)]
    #[inline]
    pub fn holds(self) -> Holds {
        let n = self.node();
        Holds { attrs: n.attr_bits, children: n.below.all }
    }

    /// Whether a child of this name may be there; if not, there is none.
    #[inline]
    pub(crate) fn may_have_child(self, name: Name) -> bool {
        self.node().below.all & bit_of(name.key) != 0
    }

    /// Whether an attribute of this name may be there; if not, there is none.
    #[inline]
    pub(crate) fn may_have_attr(self, name: Name) -> bool {
        self.node().attr_bits & bit_of(name.key) != 0
    }

    /// The attribute of this name (without namespace), with its position.
    #[inline]
    pub fn attr_node(self, name: &str) -> Option<Attr<'a>> {
        if self.node().attr_bits & bit(name.as_bytes()) == 0 { None } else { self.find_attr(name) }
    }

    /// The same for a name that is probably there.
    pub(crate) fn find_attr(self, name: &str) -> Option<Attr<'a>> {
        self.attr_keyed(key(name.as_bytes()), name)
    }

    /// The same for a name whose key is known.
    #[inline(never)]
    pub(crate) fn attr_keyed(self, key: u64, name: &str) -> Option<Attr<'a>> {
        let n = self.node();
        let attrs = self.doc.attrs.get(n.first as usize..n.last as usize)?;
        let i = attrs.iter().position(|a| self.doc.is_attr(a, key, name))?;
        Some(Attr { doc: self.doc, id: n.first + i as u32 })
    }

    /// The attribute with this number, if it is one of the element and has this name.
    #[inline]
    pub(crate) fn attr_at(self, id: u32, name: Name) -> Option<Attr<'a>> {
        let n = self.node();
        let attr = self.doc.attrs.get(id as usize)?;
        let it = n.first <= id && id < n.last && self.doc.is_attr(attr, name.key, name.local);
        it.then_some(Attr { doc: self.doc, id })
    }

    /// The value of the attribute of this name (without namespace).
    pub fn attr(self, name: &str) -> Option<&'a str> {
        self.attr_node(name).map(Attr::value)
    }

    /// All nodes below, elements or not.
    pub(crate) fn nodes(self) -> NodeIter<'a> {
        NodeIter { doc: self.doc, next: self.id + 1, end: self.node().end }
    }

    /// The child elements.
    pub fn children(self) -> Children<'a> {
        Children(self.nodes())
    }

    /// The child elements of this name, without search when there is none.
    #[inline]
    pub(crate) fn named(self, name: Name) -> Named<'a> {
        self.named_after(name, u32::MAX)
    }

    /// The same where the child with the number `last` was read last: most documents have the order
    /// in which a reader asks.
    pub(crate) fn named_after(self, name: Name, last: u32) -> Named<'a> {
        let n = self.node();
        let bit = bit_of(name.key);
        let together = n.below.scattered & bit == 0;
        let mut named = Named { doc: self.doc, next: n.end, end: n.end, bit, together, name };
        if n.below.all & bit == 0 {
            return named;
        }
        named.next = self.id + 1;
        if together {
            // All of them are behind the last one, or all before it; it is none of them itself.
            let last = self.doc.nodes.get(last as usize);
            let last = last.filter(|l| l.parent == self.id && bit_of(l.key) != bit);
            let behind = last.and_then(|l| named.first_with_bit(l.end));
            if let Some(first) = behind.or_else(|| named.first_with_bit(self.id + 1)) {
                named.next = first;
            }
        }
        named
    }

    /// The only child of this name, where it is the one behind the child with the number `last`.
    #[inline]
    pub(crate) fn only_after(self, name: Name, last: u32) -> Option<Element<'a>> {
        let n = self.node();
        if n.below.repeated & bit_of(name.key) != 0 {
            return None;
        }
        let id = match self.doc.nodes.get(last as usize) {
            Some(last) if last.parent == self.id => last.end,
            _ => self.id + 1,
        };
        let found = Element { doc: self.doc, id };
        (id < n.end && found.is_keyed(name.key, name.local, name.ns)).then_some(found)
    }

    /// Whether there is a child element of this name.
    pub fn has_child(self, name: crate::Name) -> bool {
        self.named(name).next().is_some()
    }

    /// The first child element of this name and of no namespace.
    pub fn child(self, name: &str) -> Option<Element<'a>> {
        if self.node().below.all & bit(name.as_bytes()) == 0 {
            return None;
        }
        self.children().find(|c| c.is(name, None))
    }

    /// The first child element of this name and namespace.
    pub fn child_ns(self, name: &str, ns: &str) -> Option<Element<'a>> {
        self.children().find(|c| c.is(name, Some(ns)))
    }

    /// The parent element; none for the root.
    pub fn parent(self) -> Option<Element<'a>> {
        if self.id == self.doc.root {
            None
        } else {
            Some(Element { doc: self.doc, id: self.node().parent })
        }
    }

    /// The element's own text: all text and CDATA directly below, joined.
    pub fn text(self) -> Cow<'a, str> {
        let mut out: Option<Cow<'a, str>> = None;
        for id in self.nodes() {
            let n = &self.doc.nodes[id as usize];
            if matches!(n.kind, Kind::Text | Kind::CData) {
                let piece = self.doc.node_text(id);
                out = Some(match out {
                    None => Cow::Borrowed(piece),
                    Some(mut all) => {
                        all.to_mut().push_str(piece);
                        all
                    }
                });
            }
        }
        out.unwrap_or(Cow::Borrowed(""))
    }

    /// All text in it, that of the elements inside included: what XPath calls its string value, and
    /// what libvirt takes for an element's content.
    pub fn string_value(self) -> Cow<'a, str> {
        let node = self.node();
        if node.below.all == 0 {
            return self.text();
        }
        let mut all = String::new();
        for id in self.id + 1..node.end {
            if matches!(self.doc.nodes[id as usize].kind, Kind::Text | Kind::CData) {
                all.push_str(self.doc.node_text(id));
            }
        }
        Cow::Owned(all)
    }

    /// The bytes of the element's text when it is one piece, else those of the start tag.
    pub fn text_span(self) -> Span {
        let mut only = None;
        for id in self.nodes() {
            let n = &self.doc.nodes[id as usize];
            if matches!(n.kind, Kind::Text | Kind::CData) {
                if only.is_some() {
                    return self.span();
                }
                only = Some(Span { start: n.start as usize, end: n.tag_end as usize });
            }
        }
        only.unwrap_or_else(|| self.span())
    }

    /// The bytes of the start tag.
    pub fn span(self) -> Span {
        let n = self.node();
        Span { start: n.start as usize, end: n.tag_end as usize }
    }

    /// The bytes of the name in the start tag.
    pub fn name_span(self) -> Span {
        let n = self.node();
        Span { start: n.a as usize, end: n.b as usize }
    }

    /// The bytes of the whole element, from `<` to the end tag's `>`.
    pub fn full_span(self) -> Span {
        let n = self.node();
        Span { start: n.start as usize, end: n.close as usize }
    }

    /// The text of the whole element as it stands in the source.
    pub fn source(self) -> &'a str {
        let n = self.node();
        self.doc.str(n.start, n.close)
    }

    /// The document the element is of.
    pub fn document(self) -> &'a Document<'a> {
        self.doc
    }

    /// The namespace declarations on this element: prefix ("" for the default one) and name.
    pub fn namespace_decls(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let decls = &self.doc.decls;
        let from = decls.partition_point(|d| d.node < self.id);
        let doc = self.doc;
        decls[from..]
            .iter()
            .take_while(move |d| d.node == self.id)
            .map(move |d| (d.prefix, doc.ns(d.ns).unwrap_or("")))
    }
}

impl Document<'_> {
    pub(crate) fn node_text(&self, id: u32) -> &str {
        let n = &self.nodes[id as usize];
        match self.owned.get(n.first as usize) {
            Some(s) if n.first != BORROWED => s,
            _ => self.str(n.a, n.b),
        }
    }
}

/// Steps over the direct children of an element.
#[derive(Clone, Debug)]
pub(crate) struct NodeIter<'a> {
    doc: &'a Document<'a>,
    next: u32,
    end: u32,
}

impl Iterator for NodeIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.next >= self.end {
            return None;
        }
        let id = self.next;
        self.next = self.doc.nodes[id as usize].end;
        Some(id)
    }
}

/// The child elements of an element, in order.
#[derive(Clone, Debug)]
pub struct Children<'a>(NodeIter<'a>);

impl<'a> Iterator for Children<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let doc = self.0.doc;
        loop {
            let id = self.0.next()?;
            if doc.nodes[id as usize].kind == Kind::Element {
                return Some(Element { doc, id });
            }
        }
    }
}

/// The child elements of one name, in order.
#[derive(Clone, Debug)]
pub(crate) struct Named<'a> {
    doc: &'a Document<'a>,
    next: u32,
    end: u32,
    /// The bit of the name.
    bit: u64,
    /// Behind the first child with that bit, one with another bit ends the search.
    together: bool,
    name: Name,
}

impl Named<'_> {
    /// The first child with the bit, from a sibling on.
    #[inline]
    fn first_with_bit(&self, from: u32) -> Option<u32> {
        let mut at = from;
        while at < self.end {
            let n = self.doc.nodes.get(at as usize)?;
            if n.key != 0 && bit_of(n.key) == self.bit {
                return Some(at);
            }
            at = n.end;
        }
        None
    }
}

impl<'a> Iterator for Named<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        while self.next < self.end {
            let id = self.next;
            let n = self.doc.nodes.get(id as usize)?;
            self.next = n.end;
            let found = Element { doc: self.doc, id };
            if found.is_keyed(self.name.key, self.name.local, self.name.ns) {
                return Some(found);
            }
            if self.together && n.key != 0 && bit_of(n.key) != self.bit {
                self.next = self.end;
            }
        }
        None
    }
}

/// A view of one attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attr<'a> {
    pub(crate) doc: &'a Document<'a>,
    pub(crate) id: u32,
}

impl<'a> Attr<'a> {
    fn node(self) -> &'a AttrNode {
        &self.doc.attrs[self.id as usize]
    }

    /// The local name, without prefix.
    pub fn name(self) -> &'a str {
        let n = self.node();
        self.doc.str(n.name + u32::from(n.prefix_len), n.name_end)
    }

    /// The name as written, with its prefix.
    pub fn qualified_name(self) -> &'a str {
        let n = self.node();
        self.doc.str(n.name, n.name_end)
    }

    /// The namespace, if the attribute has a prefix that is declared.
    pub fn ns(self) -> Option<&'a str> {
        self.doc.ns(self.node().ns)
    }

    /// The value, references resolved.
    pub fn value(self) -> &'a str {
        let n = self.node();
        if n.owned == BORROWED {
            return self.doc.str(n.value, n.value_end);
        }
        self.doc.owned.get(n.owned as usize).map_or("", |s| s)
    }

    /// The bytes of the name.
    pub fn name_span(self) -> Span {
        let n = self.node();
        Span { start: n.name as usize, end: n.name_end as usize }
    }

    /// The bytes of the value, without its quotes.
    pub fn value_span(self) -> Span {
        let n = self.node();
        Span { start: n.value as usize, end: n.value_end as usize }
    }
}
