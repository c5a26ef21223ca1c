//! Attributes, namespace declarations, and which namespace a prefix means.

use std::borrow::Cow;
use std::collections::HashSet;

use diag::{Diagnostic, ErrorCode, Severity, Span};

use super::{FEW, MAX_BINDINGS, MAX_FAULTS, MAX_NODES, Parser, Step, Tag, XML_NS};
use crate::chars::{self, CLASS, NAME_START, PLAIN};
use crate::dom::{AttrNode, BORROWED, Decl, NO_NS, UNBOUND_NS};
use crate::key::{bit_of, key, key_at};

/// The key of the attribute that declares a namespace.
const XMLNS: u64 = key(b"xmlns");

impl<'s> Parser<'s> {
    /// The attributes of the usual form, ` name='value'` with nothing to be resolved, up to the first
    /// that is of another form or needs a closer look.
    #[inline]
    pub(super) fn plain_attributes(&mut self, tag: &mut Tag) {
        while let Some((key, b, to)) = self.plain_attribute() {
            let bit = bit_of(key);
            if tag.bits & bit != 0 || key == XMLNS || self.doc.attrs.len() >= MAX_NODES {
                break;
            }
            tag.bits |= bit;
            self.doc.attrs.push(AttrNode {
                name: self.pos as u32 + 1,
                name_end: b as u32,
                value: b as u32 + 2,
                value_end: to as u32,
                owned: BORROWED,
                ns: NO_NS,
                prefix_len: 0,
                key,
            });
            self.pos = to + 1;
        }
    }

    /// The key of the attribute that follows, where its name ends, and where its value ends, if it is
    /// of the usual form.
    #[inline]
    fn plain_attribute(&mut self) -> Option<(u64, usize, usize)> {
        let a = self.pos + 1;
        let word = chars::word(self.b, a)?;
        if self.b.get(self.pos) != Some(&b' ') {
            return None;
        }
        let len = chars::before_equals(word);
        let (key, b) = match self.short_name(word, len) {
            Some(key) => (key, a + len),
            None => {
                let b = chars::find(self.b, a, PLAIN, false);
                if CLASS[usize::from(*self.b.get(a)?)] & NAME_START == 0 {
                    return None;
                }
                (key_at(self.b, a, b), b)
            }
        };
        Some((key, b, self.plain_value(b)?.1))
    }

    pub(super) fn attribute(&mut self, tag: &mut Tag, spaced: bool) -> Step {
        let a = self.pos;
        let plain = self.plain_name();
        let b = plain.unwrap_or_else(|| self.name_end());
        if a == b || !spaced {
            return self.no_attribute(tag, a, spaced || self.is_first(tag), a == b);
        }
        let (from, to, owned) = match self.plain_value(b) {
            Some((from, to)) => (from, to, None),
            None => match self.any_value(a, b)? {
                Some(found) => found,
                None => return Ok(()),
            },
        };
        self.pos = to + 1;
        let bytes = self.b.get(a..b).unwrap_or(&[]);
        if bytes.starts_with(b"xmlns") && matches!(bytes.get(5), None | Some(b':')) {
            let name = self.slice(a, b);
            return self.declare(tag, name, a, (from, to), owned);
        }
        if self.doc.attrs.len() >= MAX_NODES {
            return self.hard(a, b, "Document has too many attributes", "");
        }
        let prefix_len = if plain.is_some() { 0 } else { self.prefix(a, b) };
        let key = key_at(self.b, a + usize::from(prefix_len), b);
        let known = tag.bits & bit_of(key) != 0;
        tag.bits |= bit_of(key);
        tag.prefixed |= prefix_len != 0;
        // A few attributes are compared one by one; many, once all are known (see `resolve`).
        let before = self.doc.attrs.get(tag.first..).unwrap_or(&[]);
        if known
            && before.len() < FEW
            && before.iter().any(|o| {
                (o.name_end - o.name) as usize == b - a
                    && self.b.get(o.name as usize..o.name_end as usize) == Some(bytes)
            })
        {
            let name = self.slice(a, b);
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
            key,
            prefix_len,
        });
        Ok(())
    }

    /// Whether the tag has no attribute and no declaration yet.
    fn is_first(&self, tag: &Tag) -> bool {
        self.doc.attrs.len() == tag.first && self.doc.decls.len() == tag.decls
    }

    /// What stands at `at` is no attribute, or not `apart` from the one before.
    #[cold]
    fn no_attribute(&mut self, tag: &Tag, at: usize, apart: bool, nameless: bool) -> Step {
        let name = self.slice(tag.name.0, tag.name.1);
        let line = self.line(tag.name.0);
        let ended = at >= self.b.len();
        let message = match (apart, ended, nameless) {
            (false, ..) => "attributes construct error".to_owned(),
            (true, true, _) => format!("Couldn't find end of Start Tag {name} line {line}"),
            _ => "error parsing attribute name".to_owned(),
        };
        let hint = if nameless {
            format!("The start tag of line {line} does not end before this.")
        } else {
            "Put white space between attributes.".to_owned()
        };
        self.hard(at, at, &message, &hint)
    }

    /// The place of a value that follows the name at once, needs nothing resolved and ends well:
    /// `='…'`. Nearly every value does.
    #[inline]
    fn plain_value(&self, name_end: usize) -> Option<(usize, usize)> {
        let [b'=', quote @ (b'\'' | b'"'), ..] = self.b.get(name_end..)? else { return None };
        let from = name_end + 2;
        let to = chars::value_end(self.b, from);
        if self.b.get(to) == Some(quote) { Some((from, to)) } else { None }
    }

    /// The place of the value of the attribute named at `a..b`, and its text if that differs from the
    /// source; none for a fault after which reading goes on.
    #[inline(never)]
    fn any_value(&mut self, a: usize, b: usize) -> Step<Option<(usize, usize, Option<String>)>> {
        self.pos = b;
        self.skip_space();
        if self.peek() != b'=' {
            let name = self.slice(a, b);
            let message = format!("Specification mandates value for attribute {name}");
            self.soft(a, b, &message, &format!("Write {name}='…'."))?;
            return Ok(None);
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
        Ok(Some((from, self.pos, owned)))
    }

    /// A namespace declaration.
    pub(super) fn declare(
        &mut self,
        tag: &Tag,
        name: &'s str,
        at: usize,
        (from, to): (usize, usize),
        owned: Option<String>,
    ) -> Step {
        let prefix = name.strip_prefix("xmlns:").unwrap_or("");
        let uri: Cow<'s, str> = match owned {
            Some(s) => Cow::Owned(s),
            None => Cow::Borrowed(self.slice(from, to)),
        };
        if self.doc.decls[tag.decls..].iter().any(|d| d.prefix == prefix) {
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
        self.doc.decls.push(Decl { node: tag.node, prefix, ns });
        Ok(())
    }

    /// The namespace number of the name at `a`.
    pub(super) fn namespace_of(&mut self, a: usize, prefix_len: u16) -> u32 {
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
    pub(super) fn warn(&mut self, start: usize, end: usize, message: String, hint: &str) {
        if self.doc.warnings.len() >= MAX_FAULTS {
            return;
        }
        self.doc.warnings.push(Diagnostic {
            rule: "xml.namespace",
            severity: Severity::Warning,
            code: ErrorCode::XML_ERROR,
            span: Some(Span { start, end }),
            message,
            domain: None,
            hints: vec![hint.to_owned()],
        });
    }

    /// Resolves prefixes of attributes and finds the duplicates among many.
    pub(super) fn resolve(&mut self, tag: &Tag, last: usize) -> Step {
        let first = tag.first;
        for i in first..last {
            let (at, len) = (self.doc.attrs[i].name, self.doc.attrs[i].prefix_len);
            if len != 0 {
                self.doc.attrs[i].ns = self.namespace_of(at as usize, len);
            }
        }
        if last - first >= FEW || (tag.prefixed && last - first > 1) {
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
}
