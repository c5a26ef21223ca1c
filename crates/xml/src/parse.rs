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

use std::borrow::Cow;
use std::collections::HashSet;

use diag::{Diagnostic, ErrorCode, Severity, Span};

use crate::chars::{CLASS, NAME, NAME_START, SPACE, TEXT_STOP, VALUE_STOP};
use crate::chars::{is_char, is_name, is_name_start};
use crate::dom::{AttrNode, BORROWED, Decl, Document, Kind, NO_NS, Node, UNBOUND_NS};

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
}

struct Parser<'s> {
    doc: Document<'s>,
    b: &'s [u8],
    pos: usize,
    open: Vec<Open>,
    bindings: Vec<(&'s str, u32)>,
    faults: Vec<Diagnostic>,
}

pub(crate) fn parse(source: &str) -> Result<Document<'_>, Vec<Diagnostic>> {
    let guess = source.len() / 48 + 8;
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
        faults: Vec::new(),
    };
    if source.len() > MAX_SIZE {
        p.fault(0, 0, "Document is too large", &format!("At most {MAX_SIZE} bytes are read."));
        return Err(p.faults);
    }
    p.doc.nodes.reserve(guess);
    p.doc.attrs.reserve(guess);
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

    fn peek(&self) -> u8 {
        self.b.get(self.pos).copied().unwrap_or(0)
    }

    fn starts(&self, s: &str) -> bool {
        self.b[self.pos.min(self.b.len())..].starts_with(s.as_bytes())
    }

    fn slice(&self, a: usize, b: usize) -> &'s str {
        self.doc.source.get(a..b).unwrap_or("")
    }

    fn skip_space(&mut self) -> bool {
        let from = self.pos;
        while self.pos < self.b.len() && CLASS[self.b[self.pos] as usize] & SPACE != 0 {
            self.pos += 1;
        }
        self.pos > from
    }

    /// Finds `needle` from `pos` on.
    fn find(&self, needle: &str) -> Option<usize> {
        self.doc.source.get(self.pos..)?.find(needle).map(|i| self.pos + i)
    }

    fn document(&mut self) -> Step {
        if self.starts("\u{FEFF}") {
            self.pos += 3;
        }
        if self.starts("<?xml") && self.b.get(self.pos + 5).is_some_and(u8::is_ascii_whitespace) {
            self.declaration()?;
        }
        if self.pos >= self.b.len() {
            return self.hard(self.pos, self.pos, "Document is empty", "");
        }
        self.misc()?;
        if self.peek() != b'<' {
            return self.hard(self.pos, self.pos, NO_START_TAG, "");
        }
        self.doc.root = self.doc.nodes.len() as u32;
        self.content()?;
        self.misc()?;
        if self.pos < self.b.len() {
            let at = self.pos;
            return self.hard(
                at,
                at,
                "Extra content at the end of the document",
                "A document has one root element; nothing but comments may follow it.",
            );
        }
        Ok(())
    }

    /// `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`.
    fn declaration(&mut self) -> Step {
        let start = self.pos;
        let Some(end) = self.find("?>") else {
            return self.hard(start, start + 5, "parsing XML declaration: '?>' expected", "");
        };
        self.pos += 5;
        let mut seen = 0;
        loop {
            let spaced = self.skip_space();
            if self.pos >= end {
                break;
            }
            let at = self.pos;
            let name_end = self.name_end();
            let name = self.slice(at, name_end);
            self.pos = name_end;
            self.skip_space();
            let rank = match name {
                "version" => 1,
                "encoding" => 2,
                "standalone" => 3,
                _ => 0,
            };
            if !spaced || rank <= seen || (seen == 0 && rank != 1) || self.peek() != b'=' {
                return self.hard(at, end, "Malformed declaration expecting version", "");
            }
            seen = rank;
            self.pos += 1;
            self.skip_space();
            let quote = self.peek();
            let from = self.pos + 1;
            let close = self.b.get(from..end).and_then(|r| r.iter().position(|c| *c == quote));
            let (Some(len), b'\'' | b'"') = (close, quote) else {
                return self.hard(self.pos, end, "AttValue: \" or ' expected", "");
            };
            let value = self.slice(from, from + len);
            let good = match rank {
                1 => value
                    .strip_prefix("1.")
                    .is_some_and(|r| !r.is_empty() && r.bytes().all(|c| c.is_ascii_digit())),
                2 => ["utf-8", "us-ascii", "ascii"].iter().any(|n| value.eq_ignore_ascii_case(n)),
                _ => matches!(value, "yes" | "no"),
            };
            if !good {
                let hint =
                    if rank == 2 { "Only UTF-8 is read; convert the text first." } else { "" };
                let quote = if rank == 2 { "" } else { "'" };
                let message = format!("Unsupported {name} {quote}{value}{quote}");
                self.soft(from, from + len + 1, &message, hint)?;
            }
            self.pos = from + len + 1;
        }
        if seen == 0 {
            return self.hard(start, end, "Malformed declaration expecting version", "");
        }
        self.pos = end + 2;
        Ok(())
    }

    /// Comments, instructions and white space outside the root.
    fn misc(&mut self) -> Step {
        loop {
            self.skip_space();
            if self.starts("<!--") {
                self.comment()?;
            } else if self.starts("<?") {
                self.instruction()?;
            } else if self.starts("<!DOCTYPE") {
                self.refuse_doctype()?;
            } else {
                return Ok(());
            }
        }
    }

    fn refuse_doctype<T>(&mut self) -> Step<T> {
        let at = self.pos;
        self.hard(
            at,
            at + 9,
            "Document type declarations are not accepted",
            "Remove the <!DOCTYPE …> and write out what its entities stand for.",
        )
    }

    fn push(&mut self, kind: Kind, start: usize, a: usize, b: usize, owned: u32) -> Step<u32> {
        if self.doc.nodes.len() >= MAX_NODES {
            let hint = format!("At most {MAX_NODES} nodes are read.");
            return self.hard(start, start + 1, "Document has too many nodes", &hint);
        }
        let id = self.doc.nodes.len() as u32;
        let text = matches!(kind, Kind::Text);
        let parent = match self.open.last_mut() {
            Some(o) => {
                if !o.has_child {
                    o.has_child = true;
                    o.first_is_text = text;
                }
                o.last_is_text = text;
                o.node
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
        });
        Ok(id)
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

    /// The end of the name that begins here; `pos` itself when none does.
    fn name_end(&self) -> usize {
        let mut i = self.pos;
        match self.b.get(i) {
            Some(c) if CLASS[*c as usize] & NAME_START != 0 => i += 1,
            Some(c) if *c >= 0x80 => match self.char_at(i) {
                Some(c) if is_name_start(c) => i += c.len_utf8(),
                _ => return i,
            },
            _ => return i,
        }
        while let Some(c) = self.b.get(i) {
            if CLASS[*c as usize] & NAME != 0 {
                i += 1;
            } else if *c >= 0x80 {
                match self.char_at(i) {
                    Some(c) if is_name(c) => i += c.len_utf8(),
                    _ => break,
                }
            } else {
                break;
            }
        }
        i
    }

    fn char_at(&self, i: usize) -> Option<char> {
        self.doc.source.get(i..)?.chars().next()
    }

    /// Length of the prefix with its colon; 0 for none. A name with more than one colon, or one at
    /// an edge, is taken as it stands, without prefix.
    fn prefix(&mut self, a: usize, b: usize) -> u16 {
        let name = self.slice(a, b);
        let Some(i) = name.bytes().position(|c| c == b':') else { return 0 };
        let local = &name[i + 1..];
        let bad_local = match local.chars().next() {
            None => true,
            Some(c) if c.is_ascii() => CLASS[c as usize] & NAME_START == 0,
            Some(c) => !is_name_start(c),
        };
        if i == 0 || bad_local || local.contains(':') || i > 1000 {
            let message = format!("Failed to parse QName '{name}'");
            self.warn(a, b, message, "A name has at most one colon, between prefix and name.");
            return 0;
        }
        i as u16 + 1
    }

    fn start_tag(&mut self) -> Step {
        let start = self.pos;
        self.pos += 1;
        let a = self.pos;
        let b = self.name_end();
        if a == b {
            let hint = "Write a literal '<' as &lt;.";
            let message = if self.open.is_empty() { NO_START_TAG } else { BAD_START_TAG };
            return self.hard(start, a, message, hint);
        }
        self.pos = b;
        if self.open.len() >= MAX_DEPTH {
            let message =
                format!("Excessive depth in document: {MAX_DEPTH} use XML_PARSE_HUGE option");
            return self.hard(start, b, &message, "No option makes it deeper: nest less.");
        }
        let prefix_len = self.prefix(a, b);
        let id = self.push(Kind::Element, start, a, b, 0)?;
        let (first, bindings, decls) =
            (self.doc.attrs.len(), self.bindings.len(), self.doc.decls.len());
        let empty = loop {
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
                _ => self.attribute(id, spaced, first, decls)?,
            }
        };
        let last = self.doc.attrs.len();
        self.resolve(first, last)?;
        let ns = self.namespace_of(a, prefix_len);
        let n = &mut self.doc.nodes[id as usize];
        n.prefix_len = prefix_len;
        n.first = first as u32;
        n.last = last as u32;
        n.ns = ns;
        n.tag_end = self.pos as u32;
        n.close = self.pos as u32;
        if empty {
            self.bindings.truncate(bindings);
        } else {
            self.open.push(Open {
                node: id,
                bindings,
                has_child: false,
                first_is_text: false,
                last_is_text: false,
            });
        }
        Ok(())
    }

    fn attribute(&mut self, node: u32, spaced: bool, first: usize, decls: usize) -> Step {
        let a = self.pos;
        let b = self.name_end();
        if a == b || !spaced {
            let at = self.doc.nodes[node as usize].start as usize;
            let message =
                if a == b { "error parsing attribute name" } else { "attributes construct error" };
            let hint = if a == b {
                format!("The start tag of line {} does not end before this.", self.line(at))
            } else {
                "Put white space between attributes.".to_owned()
            };
            return self.hard(a, a, message, &hint);
        }
        self.pos = b;
        self.skip_space();
        if self.peek() != b'=' {
            let name = self.slice(a, b);
            let message = format!("Specification mandates value for attribute {name}");
            return self.soft(a, b, &message, &format!("Write {name}='…'."));
        }
        self.pos += 1;
        self.skip_space();
        let quote = self.peek();
        if quote != b'\'' && quote != b'"' {
            let at = self.pos;
            return self.hard(at, at, "AttValue: \" or ' expected", "Quote the value.");
        }
        self.pos += 1;
        let from = self.pos;
        let owned = self.value(quote)?;
        let to = self.pos;
        self.pos += 1;
        let name = self.slice(a, b);
        if name == "xmlns" || name.starts_with("xmlns:") {
            return self.declare(node, name, a, (from, to), owned, decls);
        }
        if self.doc.attrs.len() >= MAX_NODES {
            return self.hard(a, b, "Document has too many attributes", "");
        }
        let prefix_len = self.prefix(a, b);
        // A few attributes are compared one by one; many, once all are known (see `resolve`).
        let before = self.doc.attrs.get(first..).unwrap_or(&[]);
        if before.len() < FEW
            && before.iter().any(|o| {
                (o.name_end - o.name) as usize == b - a && self.doc.str(o.name, o.name_end) == name
            })
        {
            let message = format!("Attribute {name} redefined");
            return self.soft(a, to + 1, &message, "Keep one of the two.");
        }
        self.doc.attrs.push(AttrNode {
            name: a as u32,
            name_end: b as u32,
            value: from as u32,
            value_end: to as u32,
            owned: owned.map_or(BORROWED, |s| {
                self.doc.owned.push(s.into());
                self.doc.owned.len() as u32 - 1
            }),
            ns: NO_NS,
            prefix_len,
        });
        Ok(())
    }

    /// A namespace declaration.
    fn declare(
        &mut self,
        node: u32,
        name: &'s str,
        at: usize,
        (from, to): (usize, usize),
        owned: Option<String>,
        decls: usize,
    ) -> Step {
        let prefix = name.strip_prefix("xmlns:").unwrap_or("");
        let uri: Cow<'s, str> = match owned {
            Some(s) => Cow::Owned(s),
            None => Cow::Borrowed(self.slice(from, to)),
        };
        if self.doc.decls[decls..].iter().any(|d| d.prefix == prefix) {
            let message = format!("Attribute {name} redefined");
            return self.soft(at, to + 1, &message, "Keep one of the two.");
        }
        let reserved = prefix == "xmlns"
            || (prefix == "xml") != (uri == XML_NS)
            || uri == "http://www.w3.org/2000/xmlns/";
        if reserved || (name != "xmlns" && (uri.is_empty() || prefix.is_empty())) {
            let message = format!("xmlns:{prefix}: '{uri}' is not a usable namespace name");
            self.warn(at, to + 1, message, "The declaration is ignored.");
            return Ok(());
        }
        if self.bindings.len() >= MAX_BINDINGS {
            return self.hard(at, to + 1, "Too many namespace declarations", "");
        }
        let ns = if uri.is_empty() {
            NO_NS
        } else {
            self.doc.namespaces.push(uri);
            self.doc.namespaces.len() as u32 - 1
        };
        self.bindings.push((prefix, ns));
        self.doc.decls.push(Decl { node, prefix, ns });
        Ok(())
    }

    /// The namespace number of the name at `a`.
    fn namespace_of(&mut self, a: usize, prefix_len: u16) -> u32 {
        let prefix = match prefix_len {
            0 => "",
            len => self.slice(a, a + len as usize - 1),
        };
        match self.bindings.iter().rev().find(|(p, _)| *p == prefix) {
            Some((_, ns)) => *ns,
            None if prefix.is_empty() => NO_NS,
            None => {
                let message = format!("Namespace prefix {prefix} is not defined");
                let hint = format!("Declare it with xmlns:{prefix}='…'.");
                self.warn(a, a + prefix.len(), message, &hint);
                UNBOUND_NS
            }
        }
    }

    /// A fault in the use of namespaces is accepted, as libvirt does, but not in silence.
    fn warn(&mut self, start: usize, end: usize, message: String, hint: &str) {
        if self.doc.warnings.len() >= MAX_FAULTS {
            return;
        }
        self.doc.warnings.push(Diagnostic {
            rule: "xml.namespace",
            severity: Severity::Warning,
            code: ErrorCode::XML_ERROR,
            span: Some(Span { start, end }),
            message,
            hints: vec![hint.to_owned()],
        });
    }

    /// Resolves prefixes of attributes and finds the duplicates among many.
    fn resolve(&mut self, first: usize, last: usize) -> Step {
        let mut prefixed = false;
        for i in first..last {
            let (at, len) = (self.doc.attrs[i].name, self.doc.attrs[i].prefix_len);
            if len != 0 {
                prefixed = true;
                self.doc.attrs[i].ns = self.namespace_of(at as usize, len);
            }
        }
        if last - first >= FEW || (prefixed && last - first > 1) {
            let mut seen = HashSet::new();
            let mut twice = None;
            for n in &self.doc.attrs[first..last] {
                let name = self.doc.str(n.name, n.name_end);
                let local = &name[n.prefix_len as usize..];
                let ns = match n.ns {
                    UNBOUND_NS => &name[..n.prefix_len as usize],
                    id => self.doc.namespaces.get(id as usize).map_or("", |s| s),
                };
                if !seen.insert((ns, local)) {
                    twice = Some((n.name as usize, n.name_end as usize, name.to_owned()));
                    break;
                }
            }
            if let Some((a, b, name)) = twice {
                self.soft(a, b, &format!("Attribute {name} redefined"), "Keep one of the two.")?;
            }
        }
        Ok(())
    }

    /// An attribute's value up to its quote, which is left unread.
    fn value(&mut self, quote: u8) -> Step<Option<String>> {
        let from = self.pos;
        let mut out: Option<String> = None;
        let mut plain = from;
        loop {
            while self.pos < self.b.len() && CLASS[self.b[self.pos] as usize] & VALUE_STOP == 0 {
                self.pos += 1;
            }
            let Some(&c) = self.b.get(self.pos) else {
                return self.hard(
                    from - 1,
                    from,
                    "AttValue: ' expected",
                    "The quote is never closed.",
                );
            };
            if c == quote {
                break;
            }
            match c {
                b'\'' | b'"' => self.pos += 1,
                b'&' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    let c = self.reference()?;
                    out.push(c);
                    plain = self.pos;
                }
                b'\t' | b'\n' | b'\r' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    out.push(' ');
                    self.pos += if self.starts("\r\n") { 2 } else { 1 };
                    plain = self.pos;
                }
                b'<' => {
                    let at = self.pos;
                    self.pos += 1;
                    let hint = "Write &lt;, or close the value's quote before.";
                    return self.hard(
                        at,
                        at,
                        "Unescaped '<' not allowed in attributes values",
                        hint,
                    );
                }
                _ => self.odd_char()?,
            }
        }
        if let Some(out) = &mut out {
            out.push_str(self.doc.source.get(plain..self.pos).unwrap_or(""));
        }
        Ok(out)
    }

    /// A byte that may begin a forbidden character. Steps over it.
    fn odd_char(&mut self) -> Step {
        let at = self.pos;
        match self.char_at(at) {
            Some(c) if is_char(c) => {
                self.pos += c.len_utf8();
                Ok(())
            }
            c => {
                let c = c.unwrap_or('\0');
                self.pos += c.len_utf8();
                let message = format!("PCDATA invalid Char value {}", c as u32);
                self.soft(at, self.pos, &message, "XML cannot hold this character.")
            }
        }
    }

    /// A character reference or predefined entity.
    fn reference(&mut self) -> Step<char> {
        let start = self.pos;
        self.pos += 1;
        if self.peek() == b'#' {
            self.pos += 1;
            let hex = self.peek() == b'x';
            self.pos += usize::from(hex);
            let from = self.pos;
            let mut n: u32 = 0;
            while let Some(d) = (self.peek() as char).to_digit(if hex { 16 } else { 10 }) {
                n = n.saturating_mul(if hex { 16 } else { 10 }).saturating_add(d);
                self.pos += 1;
            }
            if self.peek() != b';' || self.pos == from {
                let message = if hex {
                    "CharRef: invalid hexadecimal value"
                } else {
                    "CharRef: invalid decimal value"
                };
                self.soft(start, self.pos, message, "Write it as &#65; or &#x41;.")?;
                return Ok(' ');
            }
            self.pos += 1;
            return match char::from_u32(n) {
                Some(c) if is_char(c) => Ok(c),
                _ => {
                    let message = format!("xmlParseCharRef: invalid xmlChar value {n}");
                    self.soft(start, self.pos, &message, "XML cannot hold this character.")?;
                    Ok(' ')
                }
            };
        }
        let end = self.name_end();
        let name = self.slice(self.pos, end);
        if name.is_empty() {
            self.soft(
                start,
                start + 1,
                "xmlParseEntityRef: no name",
                "Write a literal '&' as &amp;.",
            )?;
            return Ok('&');
        }
        self.pos = end;
        if self.peek() != b';' {
            let hint = "Write a literal '&' as &amp;.";
            self.soft(start, end, "EntityRef: expecting ';'", hint)?;
            return Ok('&');
        }
        self.pos += 1;
        Ok(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let message = format!("Entity '{name}' not defined");
                let hint = "Known are &lt; &gt; &amp; &quot; &apos; and &#number;.";
                self.soft(start, self.pos, &message, hint)?;
                '&'
            }
        })
    }

    fn text(&mut self) -> Step {
        let start = self.pos;
        let mut out: Option<String> = None;
        let mut plain = start;
        // Most text is the white space between two tags.
        self.skip_space();
        let blank = self.peek() == b'<' && !self.b[start..self.pos].contains(&b'\r');
        if blank && self.ignorable() {
            return Ok(());
        }
        self.pos = start;
        loop {
            while self.pos < self.b.len() && CLASS[self.b[self.pos] as usize] & TEXT_STOP == 0 {
                self.pos += 1;
            }
            let Some(&c) = self.b.get(self.pos) else { break };
            match c {
                b'<' => break,
                b'&' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    let c = self.reference()?;
                    out.push(c);
                    plain = self.pos;
                }
                b'\r' => {
                    let text = self.slice(plain, self.pos);
                    let out = out.get_or_insert_with(String::new);
                    out.push_str(text);
                    out.push('\n');
                    self.pos += if self.starts("\r\n") { 2 } else { 1 };
                    plain = self.pos;
                }
                b']' => {
                    if self.starts("]]>") {
                        let at = self.pos;
                        let message = "Sequence ']]>' not allowed in content";
                        self.soft(at, at, message, "Write ]]&gt;.")?;
                    }
                    self.pos += 1;
                }
                _ => self.odd_char()?,
            }
        }
        let rest = self.slice(plain, self.pos);
        let owned = match out {
            None => BORROWED,
            Some(mut s) => {
                s.push_str(rest);
                if self.peek() == b'<'
                    && s.bytes().all(|c| CLASS[c as usize] & SPACE != 0)
                    && !self.b[start..self.pos].contains(&b'&')
                    && self.ignorable()
                {
                    return Ok(());
                }
                self.doc.owned.push(s.into());
                self.doc.owned.len() as u32 - 1
            }
        };
        self.push(Kind::Text, start, start, self.pos, owned)?;
        Ok(())
    }

    /// Whether white space that ends here, before a tag, is only layout.
    fn ignorable(&self) -> bool {
        let Some(o) = self.open.last() else { return true };
        if !o.has_child {
            return self.b.get(self.pos + 1) != Some(&b'/');
        }
        !(o.last_is_text || o.first_is_text)
    }

    fn cdata(&mut self) -> Step {
        let start = self.pos;
        let Some(end) = self.find("]]>") else {
            return self.hard(start, self.b.len(), "CData section not finished", "");
        };
        self.check_chars(start + 9, end)?;
        self.pos = end + 3;
        let owned = self.normalized(start + 9, end);
        self.push(Kind::CData, start, start + 9, end, owned)?;
        Ok(())
    }

    fn comment(&mut self) -> Step {
        let start = self.pos;
        self.pos += 4;
        let Some(end) = self.find("--") else {
            return self.hard(start, self.b.len(), "Comment not terminated", "");
        };
        if self.b.get(end + 2) != Some(&b'>') {
            let shown: String = self.slice(start, end).chars().take(50).collect();
            let message = format!("Double hyphen within comment: {shown}");
            self.soft(start, end, &message, "Inside a comment no '--' may stand.")?;
        }
        let from = self.pos;
        let end = self.find("-->").unwrap_or(end);
        self.check_chars(from, end)?;
        self.pos = (end + 3).min(self.b.len());
        if !self.open.is_empty() {
            let owned = self.normalized(from, end);
            self.push(Kind::Comment, start, from, end, owned)?;
        }
        Ok(())
    }

    fn instruction(&mut self) -> Step {
        let start = self.pos;
        self.pos += 2;
        let b = self.name_end();
        let target = self.slice(self.pos, b);
        if target.is_empty() {
            return self.hard(start, start + 2, "xmlParsePI : no target name", "");
        }
        if target.eq_ignore_ascii_case("xml") {
            let message = "XML declaration allowed only at the start of the document";
            self.soft(start, b, message, "")?;
        }
        let Some(end) = self.find("?>") else {
            let message = format!("ParsePI: PI {target} never end ...");
            return self.hard(start, self.b.len(), &message, "");
        };
        if b != end && CLASS[self.b[b] as usize] & SPACE == 0 {
            let message = format!("ParsePI: PI {target} space expected");
            self.soft(b, b + 1, &message, "")?;
        }
        self.check_chars(b, end)?;
        self.pos = end + 2;
        if !self.open.is_empty() {
            self.push(Kind::Pi, start, start + 2, end, BORROWED)?;
        }
        Ok(())
    }

    fn check_chars(&mut self, a: usize, b: usize) -> Step {
        let mut i = a;
        while i < b {
            let c = self.b[i];
            if (c < 0x20 && CLASS[c as usize] & SPACE == 0) || c == 0xEF {
                self.pos = i;
                self.odd_char()?;
                i = self.pos;
            } else {
                i += 1;
            }
        }
        Ok(())
    }

    /// Line ends are `\n` whatever the text has.
    fn normalized(&mut self, a: usize, b: usize) -> u32 {
        let s = self.slice(a, b);
        if !s.contains('\r') {
            return BORROWED;
        }
        self.doc.owned.push(s.replace("\r\n", "\n").replace('\r', "\n").into());
        self.doc.owned.len() as u32 - 1
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
        let same = self.b.get(a..a + len) == self.b.get(na..nb)
            && !self.b.get(a + len).is_some_and(|c| CLASS[*c as usize] & NAME != 0 || *c >= 0x80);
        if same {
            self.pos = a + len;
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
            let end = b + usize::from(self.peek() == b'>');
            self.soft(start, end, &message, &hint)?;
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
            self.bindings.truncate(o.bindings);
        }
    }
}

/// Up to so many attributes are compared one by one.
const FEW: usize = 12;
const NO_START_TAG: &str = "Start tag expected, '<' not found";
const BAD_START_TAG: &str = "StartTag: invalid element name";
