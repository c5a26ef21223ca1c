//! From text to [`Document`]: XML 1.0 with namespaces, in one pass.
//!
//! Understood: the XML declaration, elements, attributes, text, CDATA, comments, processing
//! instructions, character references and the five predefined entities. A document type declaration
//! and every other entity is refused: nothing in libvirt's formats needs one, and both are the
//! classic ways to make a parser read files or burn memory.
//!
//! Reading goes on after a fault where the rest still makes sense, so one pass finds many. The
//! message of a fault has the words libvirt's clients know, and its span ends where they expect the
//! caret; what to do about it is in the hints.
//!
//! Limits: 16 MiB of text, [`MAX_DEPTH`] levels, [`MAX_NODES`] nodes and as many attributes,
//! [`MAX_BINDINGS`] namespace declarations in scope. Time is linear in the length of the text.
//!
//! White space alone between two tags is no node, unless it is all an element holds or stands
//! beside text: so libvirt's parser does it, and raw subtrees are printed accordingly.

mod attributes;
mod names;
mod other;
mod prolog;
mod text;

use std::borrow::Cow;

use diag::{Diagnostic, ErrorCode, Severity, Span};

use crate::chars::{self, CLASS, NAME, SPACE};
use crate::dom::{Below, Document, Kind, NO_NS, Node};
use crate::key::{bit_of, is_whole, key_at};

/// Longest text that is read.
pub const MAX_SIZE: usize = 16 << 20;
/// Deepest nesting. libvirt allows 200 levels of backing files below a disk, the deepest thing there
/// is, and its parser stops at 256 by tradition.
pub const MAX_DEPTH: usize = 256;
/// Most nodes, and most attributes, of a document: a hundred times the largest real one.
pub const MAX_NODES: usize = 1 << 20;
/// Most namespace declarations in scope at one place.
pub const MAX_BINDINGS: usize = 128;
/// After so many faults reading stops.
const MAX_FAULTS: usize = 50;

const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";

/// Up to so many attributes are compared one by one.
const FEW: usize = 12;

/// Reading cannot go on; the fault is recorded.
struct Stop;
type Step<T = ()> = Result<T, Stop>;

/// An element whose end tag is still to come.
struct Open {
    node: u32,
    bindings: usize,
    has_child: bool,
    first_is_text: bool,
    last_is_text: bool,
    below: Below,
    /// The bit of the child element read last.
    last_bit: u64,
    /// The key of the name as written.
    key: u64,
}

impl Open {
    /// Takes note of a child.
    #[inline]
    fn add_child(&mut self, is_text: bool) {
        if !self.has_child {
            self.has_child = true;
            self.first_is_text = is_text;
        }
        self.last_is_text = is_text;
    }

    /// Takes note of the name of a child element.
    #[inline]
    fn add_name(&mut self, key: u64) {
        let bit = bit_of(key);
        let known = self.below.all & bit;
        self.below.repeated |= known;
        if self.last_bit != bit {
            self.below.scattered |= known;
        }
        self.below.all |= bit;
        self.last_bit = bit;
    }
}

/// A start tag whose attributes are being read.
struct Tag {
    /// Where the element's name is.
    name: (usize, usize),
    /// The number its node will have.
    node: u32,
    /// The number of its first attribute, and that of its first namespace declaration.
    first: usize,
    decls: usize,
    /// The bits of the attributes' names.
    bits: u64,
    /// Whether an attribute has a prefix.
    prefixed: bool,
}

struct Parser<'s> {
    doc: Document<'s>,
    b: &'s [u8],
    pos: usize,
    open: Vec<Open>,
    bindings: Vec<(&'s str, u32)>,
    /// The keys of plain names that were read, each at its slot.
    seen: [u64; 64],
    faults: Vec<Diagnostic>,
}

pub(crate) fn parse(source: &str) -> Result<Document<'_>, Vec<Diagnostic>> {
    // More would mean growing: the nodes of a usual document are copied by nobody.
    let guess = source.len() / 32 + 8;
    let mut p = Parser {
        doc: Document {
            source,
            nodes: Vec::new(),
            attrs: Vec::new(),
            owned: Vec::new(),
            namespaces: vec![Cow::Borrowed(""), Cow::Borrowed(XML_NS)],
            decls: Vec::new(),
            root: 0,
            warnings: Vec::new(),
        },
        b: source.as_bytes(),
        pos: 0,
        open: Vec::new(),
        bindings: vec![("xml", 1)],
        seen: [0; 64],
        faults: Vec::new(),
    };
    if source.len() > MAX_SIZE {
        p.fault(0, 0, "Document is too large", &format!("At most {MAX_SIZE} bytes are read."));
        return Err(p.faults);
    }
    p.doc.nodes.reserve(guess);
    p.doc.attrs.reserve(2 * guess);
    p.open.reserve(16);
    let _ = p.document();
    if p.faults.is_empty() { Ok(p.doc) } else { Err(p.faults) }
}

impl<'s> Parser<'s> {
    fn fault(&mut self, start: usize, end: usize, message: &str, hint: &str) {
        let hints = if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] };
        self.faults.push(Diagnostic {
            rule: "xml.syntax",
            severity: Severity::Error,
            code: ErrorCode::XML_DETAIL,
            span: Some(Span { start, end }),
            message: message.to_owned(),
            domain: None,
            hints,
        });
    }

    /// A fault after which reading goes on, unless there are too many.
    fn soft(&mut self, start: usize, end: usize, message: &str, hint: &str) -> Step {
        self.fault(start, end, message, hint);
        if self.faults.len() >= MAX_FAULTS { Err(Stop) } else { Ok(()) }
    }

    /// A fault that ends reading.
    fn hard<T>(&mut self, start: usize, end: usize, message: &str, hint: &str) -> Step<T> {
        self.fault(start, end, message, hint);
        Err(Stop)
    }

    #[inline]
    fn peek(&self) -> u8 {
        self.b.get(self.pos).copied().unwrap_or(0)
    }

    fn starts(&self, s: &str) -> bool {
        self.b[self.pos.min(self.b.len())..].starts_with(s.as_bytes())
    }

    fn slice(&self, a: usize, b: usize) -> &'s str {
        self.doc.source.get(a..b).unwrap_or("")
    }

    #[inline]
    fn skip_space(&mut self) -> bool {
        let from = self.pos;
        while CLASS[usize::from(self.peek())] & SPACE != 0 {
            self.pos += 1;
        }
        self.pos > from
    }

    /// Finds `needle` from `pos` on.
    fn find(&self, needle: &str) -> Option<usize> {
        self.doc.source.get(self.pos..)?.find(needle).map(|i| self.pos + i)
    }

    /// The number of the next node, which begins at `start`.
    #[inline]
    fn next_node(&mut self, start: usize) -> Step<u32> {
        if self.doc.nodes.len() >= MAX_NODES {
            let hint = format!("At most {MAX_NODES} nodes are read.");
            return self.hard(start, start + 1, "Document has too many nodes", &hint);
        }
        Ok(self.doc.nodes.len() as u32)
    }

    /// Adds what is no element.
    fn push(&mut self, kind: Kind, start: usize, a: usize, b: usize, owned: u32) -> Step {
        let id = self.next_node(start)?;
        let parent = match self.open.last_mut() {
            Some(open) => {
                open.add_child(matches!(kind, Kind::Text));
                open.node
            }
            None => u32::MAX,
        };
        self.doc.nodes.push(Node {
            kind,
            prefix_len: 0,
            parent,
            end: id + 1,
            a: a as u32,
            b: b as u32,
            first: owned,
            last: 0,
            ns: NO_NS,
            start: start as u32,
            tag_end: self.pos as u32,
            close: self.pos as u32,
            key: 0,
            attr_bits: 0,
            below: Below::default(),
        });
        Ok(())
    }

    /// The root element and all in it.
    fn content(&mut self) -> Step {
        self.start_tag()?;
        while !self.open.is_empty() {
            if self.pos >= self.b.len() {
                return self.premature_end();
            }
            if self.b[self.pos] != b'<' {
                self.text()?;
                continue;
            }
            match self.b.get(self.pos + 1).copied().unwrap_or(0) {
                b'/' => self.end_tag()?,
                b'!' => {
                    if self.starts("<!--") {
                        self.comment()?;
                    } else if self.starts("<![CDATA[") {
                        self.cdata()?;
                    } else if self.starts("<!DOCTYPE") {
                        self.refuse_doctype()?;
                    } else {
                        let at = self.pos;
                        return self.hard(at, at + 1, BAD_START_TAG, "");
                    }
                }
                b'?' => self.instruction()?,
                _ => self.start_tag()?,
            }
        }
        Ok(())
    }

    fn premature_end(&mut self) -> Step {
        let Some(open) = self.open.last() else { return Ok(()) };
        let n = &self.doc.nodes[open.node as usize];
        let (name, start) = (self.doc.str(n.a, n.b).to_owned(), n.start as usize);
        let line = self.line(start);
        let end = self.b.len();
        let message = format!("Premature end of data in tag {name} line {line}");
        self.hard(end, end, &message, &format!("Close the element with </{name}>."))
    }

    fn line(&self, at: usize) -> usize {
        1 + self.b[..at.min(self.b.len())].iter().filter(|c| **c == b'\n').count()
    }

    fn start_tag(&mut self) -> Step {
        let start = self.pos;
        self.pos += 1;
        let a = self.pos;
        // Nearly every name is short, and has no prefix.
        let word = chars::word(self.b, a).unwrap_or_default();
        let len = chars::before_name_end(word);
        let short = self.short_name(word, len);
        let plain = if short.is_some() { Some(a + len) } else { self.plain_name() };
        let b = plain.unwrap_or_else(|| self.name_end());
        if a == b {
            let hint = "Write a literal '<' as &lt;.";
            return self.hard(start, a, BAD_START_TAG, hint);
        }
        self.pos = b;
        if self.open.len() >= MAX_DEPTH {
            let message =
                format!("Excessive depth in document: {MAX_DEPTH} use XML_PARSE_HUGE option");
            return self.hard(start, b, &message, "No option makes it deeper: nest less.");
        }
        let prefix_len = if plain.is_some() { 0 } else { self.prefix(a, b) };
        let id = self.next_node(start)?;
        let bindings = self.bindings.len();
        let first = self.doc.attrs.len();
        let decls = self.doc.decls.len();
        let mut tag = Tag { name: (a, b), node: id, first, decls, bits: 0, prefixed: false };
        let empty = loop {
            self.plain_attributes(&mut tag);
            let spaced = self.skip_space();
            match self.peek() {
                b'>' => {
                    self.pos += 1;
                    break false;
                }
                b'/' if self.b.get(self.pos + 1) == Some(&b'>') => {
                    self.pos += 2;
                    break true;
                }
                _ => self.attribute(&mut tag, spaced)?,
            }
        };
        let last = self.doc.attrs.len();
        if tag.prefixed || last - first >= FEW {
            self.resolve(&tag, last)?;
        }
        let ns = if prefix_len == 0 && self.bindings.len() == 1 {
            // Nothing is declared beside `xml`.
            NO_NS
        } else {
            self.namespace_of(a, prefix_len)
        };
        let key = short.unwrap_or_else(|| key_at(self.b, a + usize::from(prefix_len), b));
        let parent = match self.open.last_mut() {
            Some(open) => {
                open.add_child(false);
                open.add_name(key);
                open.node
            }
            None => u32::MAX,
        };
        self.doc.nodes.push(Node {
            kind: Kind::Element,
            prefix_len,
            parent,
            end: id + 1,
            a: a as u32,
            b: b as u32,
            first: first as u32,
            last: last as u32,
            ns,
            start: start as u32,
            tag_end: self.pos as u32,
            close: self.pos as u32,
            key,
            attr_bits: tag.bits,
            below: Below::default(),
        });
        if empty {
            self.bindings.truncate(bindings);
        } else {
            self.open.push(Open {
                node: id,
                bindings,
                has_child: false,
                first_is_text: false,
                last_is_text: false,
                below: Below::default(),
                last_bit: 0,
                key: if prefix_len == 0 { key } else { key_at(self.b, a, b) },
            });
        }
        Ok(())
    }

    fn end_tag(&mut self) -> Step {
        let start = self.pos;
        self.pos += 2;
        let a = self.pos;
        let Some(open) = self.open.last() else { return Err(Stop) };
        let node = open.node as usize;
        let n = &self.doc.nodes[node];
        let (na, nb) = (n.a as usize, n.b as usize);
        let len = nb - na;
        let key = key_at(self.b, a, a + len);
        let same = key == open.key
            && (is_whole(key) || self.b.get(a..a + len) == self.b.get(na..nb))
            && !self.b.get(a + len).is_some_and(|c| CLASS[*c as usize] & NAME != 0 || *c >= 0x80);
        if same {
            self.pos = a + len;
            if self.peek() == b'>' {
                self.pos += 1;
                self.close();
                return Ok(());
            }
        } else {
            let b = self.name_end();
            let (name, open_name) = (self.slice(a, b), self.slice(na, nb));
            if name.is_empty() {
                return self.hard(start, a, "expected '>'", "An end tag has a name.");
            }
            let line = self.line(na);
            let message =
                format!("Opening and ending tag mismatch: {open_name} line {line} and {name}");
            let hint = format!("Close <{open_name}> with </{open_name}>.");
            self.pos = b;
            self.skip_space();
            if self.peek() != b'>' {
                // The first fault for libvirt, and what stands here says nothing more.
                let at = self.pos;
                return self.hard(at, at, "expected '>'", "");
            }
            self.soft(start, self.pos + 1, &message, &hint)?;
            // The end tag of an outer element closes all that stands open inside it.
            let outer = self.open.iter().rposition(|o| {
                let n = &self.doc.nodes[o.node as usize];
                self.doc.str(n.a, n.b) == name
            });
            if let Some(i) = outer {
                while self.open.len() > i + 1 {
                    self.close();
                }
            }
        }
        self.skip_space();
        if self.peek() != b'>' {
            let at = self.pos;
            return self.hard(at, at, "expected '>'", "");
        }
        self.pos += 1;
        self.close();
        Ok(())
    }

    fn close(&mut self) {
        if let Some(o) = self.open.pop() {
            let end = self.doc.nodes.len() as u32;
            let n = &mut self.doc.nodes[o.node as usize];
            n.end = end;
            n.close = self.pos as u32;
            n.below = o.below;
            self.bindings.truncate(o.bindings);
        }
    }
}

const NO_START_TAG: &str = "Start tag expected, '<' not found";
const BAD_START_TAG: &str = "StartTag: invalid element name";
