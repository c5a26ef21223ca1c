//! Reading typed values: one context per document, which collects what is wrong and remembers what
//! has been used, so that everything nobody asked for can be named at the end.

use std::borrow::Cow;

use diag::{Diagnostic, ErrorCode, Severity, Span};

use crate::key::key;
use crate::{Attr, Document, Element, RawElement, Schema, ValueError, Xml, XmlValue, closest};

/// The name of an element or attribute: local name, and namespace if it is in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Name {
    /// The name without prefix.
    pub local: &'static str,
    /// The namespace.
    pub ns: Option<&'static str>,
    /// The key of the local name.
    pub(crate) key: u64,
}

impl Name {
    /// A name without namespace.
    #[inline]
    pub const fn new(local: &'static str) -> Self {
        Self { local, ns: None, key: key(local.as_bytes()) }
    }

    /// A name in a namespace.
    #[inline]
    pub const fn with_ns(local: &'static str, ns: &'static str) -> Self {
        Self { local, ns: Some(ns), key: key(local.as_bytes()) }
    }
}

impl From<&'static str> for Name {
    #[inline]
    fn from(local: &'static str) -> Self {
        Self::new(local)
    }
}

/// What a field says about its value beyond the plain rules: libvirt has a code and words of its
/// own for some values, and takes some empty attributes for absent ones.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ValueRules {
    /// An empty value counts as absent.
    pub empty_absent: bool,
    /// A bad value counts as absent: it is a warning.
    pub lenient: bool,
    /// libvirt reads the number as one that may be negative, and then refuses the negative ones.
    pub signed: bool,
    /// The words there are; the type alone decides otherwise.
    pub one_of: Option<&'static [&'static str]>,
    /// Code and words for a bad value; `{}` stands for the value.
    pub fault: Option<(ErrorCode, &'static str)>,
    /// Code and words for a value that must be there and is not.
    pub missing: Option<(ErrorCode, &'static str)>,
}

/// The outcome of reading.
#[derive(Clone, PartialEq, Debug)]
pub struct Parsed<T> {
    /// The value; none when there is an error among the diagnostics.
    pub value: Option<T>,
    /// Errors and warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T> Parsed<T> {
    /// The value, or all diagnostics.
    ///
    /// # Errors
    ///
    /// The diagnostics when there is no value.
    pub fn into_result(self) -> Result<T, Vec<Diagnostic>> {
        self.value.ok_or(self.diagnostics)
    }
}

/// The context of reading one document.
#[derive(Debug, Default)]
pub struct Reader {
    used_attrs: Bits,
    used_nodes: Bits,
    /// The number of the attribute behind the one found last: probably the next one asked for.
    next_attr: u32,
    /// The number of the element read last: the next one asked for is probably behind it.
    last_node: u32,
    /// Wrapper elements met: a stack, from `wrappers_from` on those of the element being read.
    wrappers: Vec<u32>,
    wrappers_from: usize,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn sized(n: usize) -> Self {
        Self(vec![0; n / 64 + 1])
    }
    /// Sets the bit; says whether it was set before.
    #[inline]
    fn set(&mut self, i: u32) -> bool {
        let (word, bit) = (i as usize / 64, 1u64 << (i % 64));
        match self.0.get_mut(word) {
            Some(w) => {
                let was = *w & bit != 0;
                *w |= bit;
                was
            }
            None => false,
        }
    }
    /// Whether all bits of `from..to` are set.
    #[inline]
    fn all(&self, from: u32, to: u32) -> bool {
        let (word, bit, len) = (from as usize / 64, from % 64, to.saturating_sub(from));
        if len == 0 {
            return true;
        }
        if bit + len > 64 {
            return (from..to).all(|i| self.get(i));
        }
        let mask = (u64::MAX >> (64 - len)) << bit;
        self.0.get(word).is_some_and(|w| w & mask == mask)
    }
    fn get(&self, i: u32) -> bool {
        self.0.get(i as usize / 64).is_some_and(|w| w & (1 << (i % 64)) != 0)
    }
}

/// So many errors, and so many warnings, are kept.
pub const MAX_SHOWN: usize = 200;

/// A longest value that is quoted in full in a message.
const QUOTED: usize = 120;

fn quoted(text: &str) -> Cow<'_, str> {
    if text.len() <= QUOTED {
        return Cow::Borrowed(text);
    }
    let end = (0..=QUOTED).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

impl Reader {
    /// The context for reading from `doc`.
    pub fn new(doc: &Document<'_>) -> Self {
        Self {
            used_attrs: Bits::sized(doc.attrs.len()),
            used_nodes: Bits::sized(doc.nodes.len()),
            ..Self::default()
        }
    }

    /// What was found so far.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether an error was found.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether another error would be kept. For one that is only counted nobody needs to look for
    /// hints, which takes longer than all the rest of reading.
    pub fn keeps_errors(&self) -> bool {
        self.errors < MAX_SHOWN
    }

    /// The same for a warning.
    pub fn keeps_warnings(&self) -> bool {
        self.warnings < MAX_SHOWN
    }

    /// Records a finding. Of errors and of warnings the first [`MAX_SHOWN`] are kept, the others
    /// counted, so that hostile input costs neither memory nor time.
    pub fn push(&mut self, d: Diagnostic) {
        let count = match d.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MAX_SHOWN {
            self.diagnostics.push(d);
        }
    }

    /// Records an error at a place.
    pub fn error(
        &mut self,
        rule: &'static str,
        code: ErrorCode,
        span: Span,
        message: impl Into<String>,
        hints: Vec<String>,
    ) {
        self.push(Diagnostic {
            rule,
            severity: Severity::Error,
            code,
            span: Some(span),
            message: message.into(),
            domain: None,
            hints,
        });
    }

    /// Records a warning at a place.
    pub fn warning(
        &mut self,
        rule: &'static str,
        span: Span,
        message: impl Into<String>,
        hints: Vec<String>,
    ) {
        self.push(Diagnostic {
            rule,
            severity: Severity::Warning,
            code: ErrorCode::XML_ERROR,
            span: Some(span),
            message: message.into(),
            domain: None,
            hints,
        });
    }

    /// The attribute, marked as used.
    #[inline]
    pub fn attr<'a>(&mut self, el: Element<'a>, name: impl Into<Name>) -> Option<Attr<'a>> {
        let name = name.into();
        if el.may_have_attr(name) { self.find_attr(el, name) } else { None }
    }

    /// The same for a name that is probably there.
    #[inline(always)]
    fn find_attr<'a>(&mut self, el: Element<'a>, name: Name) -> Option<Attr<'a>> {
        let a = match el.attr_at(self.next_attr, name) {
            Some(a) => a,
            None => el.attr_keyed(name.key, name.local)?,
        };
        self.next_attr = a.id + 1;
        self.used_attrs.set(a.id);
        Some(a)
    }

    /// Marks an attribute as used.
    pub fn use_attr(&mut self, attr: Attr<'_>) {
        self.used_attrs.set(attr.id);
    }

    /// Marks an element as used by its parent. Its own content is not marked.
    pub fn use_element(&mut self, el: Element<'_>) {
        self.used_nodes.set(el.id);
    }

    /// Marks an element and everything in it as used: nothing in it will be called unknown.
    pub fn use_subtree(&mut self, el: Element<'_>) {
        self.used_nodes.set(el.id);
        for a in el.attrs() {
            self.used_attrs.set(a.id);
        }
        for c in el.children() {
            self.use_subtree(c);
        }
    }

    /// The first child of this name, marked as used. Further ones are marked too, with a warning:
    /// libvirt takes the first and drops the others.
    #[inline]
    pub fn child<'a>(&mut self, el: Element<'a>, name: impl Into<Name>) -> Option<Element<'a>> {
        let name = name.into();
        if el.may_have_child(name) { self.first_child(el, name) } else { None }
    }

    fn first_child<'a>(&mut self, el: Element<'a>, name: Name) -> Option<Element<'a>> {
        if let Some(only) = el.only_after(name, self.last_node) {
            self.used_nodes.set(only.id);
            self.last_node = only.id;
            return Some(only);
        }
        let mut first = None;
        for c in el.named_after(name, self.last_node) {
            let was = self.used_nodes.set(c.id);
            if first.is_none() {
                self.last_node = c.id;
                first = Some(c);
            } else if !was {
                let message = format!(
                    "Only the first '{}' of element '{}' counts; this one is left out",
                    name.local,
                    el.name()
                );
                self.warning("xml.repeated-element", c.span(), message, Vec::new());
            }
        }
        first
    }

    /// Whether the first child of this name has an attribute, or text where `attr` is empty. A
    /// child without it counts for nothing, with a warning.
    pub fn child_has(&mut self, el: Element<'_>, name: Name, attr: &str, filled: bool) -> bool {
        let only = el.only_after(name, self.last_node);
        let Some(child) = only.or_else(|| el.named(name).next()) else { return false };
        let there = match child.attr(attr) {
            _ if attr.is_empty() => !child.string_value().trim_ascii().is_empty(),
            Some(value) => !filled || !value.is_empty(),
            None => false,
        };
        if !there {
            let lacks = if attr.is_empty() { "text".to_owned() } else { format!("'{attr}'") };
            let message = format!("Element '{}' without {lacks} counts for nothing", child.name());
            self.warning("xml.ignored-value", child.span(), message, Vec::new());
            self.use_subtree(child);
        }
        there
    }

    /// All children of this name, marked as used.
    pub fn children<'a>(&mut self, el: Element<'a>, name: impl Into<Name>) -> Vec<Element<'a>> {
        let name = name.into();
        let found: Vec<_> = el.named(name).collect();
        for c in &found {
            self.used_nodes.set(c.id);
        }
        found
    }

    /// The wrapper element of this name; what is unknown in it is reported at the end.
    pub fn wrapper<'a>(&mut self, el: Element<'a>, name: impl Into<Name>) -> Option<Element<'a>> {
        let name = name.into();
        let first = el.named(name).next()?;
        if !self.used_nodes.get(first.id) {
            self.child(el, name);
        }
        if !self.wrappers.get(self.wrappers_from..).is_some_and(|own| own.contains(&first.id)) {
            self.wrappers.push(first.id);
        }
        Some(first)
    }

    /// Reads a whole element: its content, then a warning for each part of it nobody used.
    pub fn element<T: Xml>(&mut self, el: Element<'_>) -> Option<T> {
        let outer = self.wrappers_from;
        self.wrappers_from = self.wrappers.len();
        let value = T::read(el, self);
        self.report_unknown(el, T::schema);
        let mut next = self.wrappers_from;
        while let Some(id) = self.wrappers.get(next).copied() {
            let w = Element { doc: el.doc, id };
            self.report_unknown(w, || {
                T::schema().child_schema(w.name(), w.ns()).unwrap_or_default()
            });
            next += 1;
        }
        self.wrappers.truncate(self.wrappers_from);
        self.wrappers_from = outer;
        self.last_node = el.id;
        value
    }

    /// Warns of each attribute and child of `el` that nobody used. [`Reader::element`] does so by
    /// itself; who reads an element by hand asks for it when done.
    #[inline]
    pub fn report_unknown(&mut self, el: Element<'_>, schema: impl Fn() -> Schema) {
        let attrs = el.attr_ids();
        let all = self.used_attrs.all(attrs.start, attrs.end)
            && el.children().all(|c| self.used_nodes.get(c.id));
        if !all {
            self.report_unknown_parts(el, &schema);
        }
    }

    #[cold]
    fn report_unknown_parts(&mut self, el: Element<'_>, schema: &dyn Fn() -> Schema) {
        let mut known: Option<Schema> = None;
        for a in el.attrs() {
            if self.used_attrs.set(a.id) {
                continue;
            }
            if !self.keeps_warnings() {
                self.warnings += 1;
                continue;
            }
            let schema = known.get_or_insert_with(schema);
            let message =
                format!("Unknown attribute '{}' in element '{}'", a.qualified_name(), el.name());
            let hints = did_you_mean(a.name(), schema.attr_names());
            self.warning("xml.unknown-attribute", a.name_span(), message, hints);
        }
        for c in el.children() {
            if self.used_nodes.set(c.id) {
                continue;
            }
            if !self.keeps_warnings() {
                self.warnings += 1;
                continue;
            }
            let schema = known.get_or_insert_with(schema);
            let message =
                format!("Unknown element '{}' in element '{}'", c.qualified_name(), el.name());
            let names = schema.child_names().into_iter().map(|n| n.local).collect();
            let hints = did_you_mean(c.name(), names);
            self.warning("xml.unknown-element", c.name_span(), message, hints);
        }
    }

    fn bad_value(&mut self, what: &str, span: Span, text: &str, e: &ValueError) {
        if !self.keeps_errors() {
            return self.error("xml.invalid-value", ErrorCode::XML_ERROR, span, "", Vec::new());
        }
        let mut message = format!("Invalid value for {what}: '{}'.", quoted(text));
        if !e.expected.is_empty() {
            message.push_str(" Expected ");
            message.push_str(&e.expected);
        }
        self.error("xml.invalid-value", ErrorCode::XML_ERROR, span, message, value_hints(text, e));
    }

    /// Reports a value that an attribute must not have.
    pub fn bad_attr(&mut self, attr: Attr<'_>, el: Element<'_>, e: &ValueError) {
        let what = format!("attribute '{}' in element '{}'", attr.name(), el.name());
        self.bad_value(&what, attr.value_span(), attr.value(), e);
    }

    /// Reports a value that libvirt passes over.
    pub fn ignored_attr(&mut self, attr: Attr<'_>, el: Element<'_>, e: &ValueError) {
        let value = quoted(attr.value());
        let (name, element) = (attr.name(), el.name());
        let message = format!(
            "Value '{value}' of attribute '{name}' in element '{element}' counts for nothing"
        );
        let hints = match self.keeps_warnings() {
            true => did_you_mean(attr.value(), e.alternatives.to_vec()),
            false => Vec::new(),
        };
        self.warning("xml.ignored-value", attr.value_span(), message, hints);
    }

    /// Reports an attribute that should choose a variant and names none. What depends on the choice
    /// cannot be known then, so everything in the element counts as used.
    pub fn bad_tag(&mut self, attr: Attr<'_>, el: Element<'_>, e: &ValueError) {
        self.bad_attr(attr, el, e);
        for a in el.attrs() {
            self.used_attrs.set(a.id);
        }
        for c in el.children() {
            self.used_nodes.set(c.id);
        }
    }

    /// Reports a text that an element must not have.
    pub fn bad_text(&mut self, el: Element<'_>, e: &ValueError) {
        let what = format!("element '{}'", el.name());
        self.bad_value(&what, el.text_span(), &el.string_value(), e);
    }

    /// Reports that a required attribute is missing.
    pub fn missing_attr(&mut self, el: Element<'_>, name: &str) {
        let message = format!("Missing required attribute '{name}' in element '{}'", el.name());
        let hints = vec![format!("Add {name}='…' to <{}>.", el.name())];
        self.error("xml.missing-attribute", ErrorCode::XML_ERROR, el.span(), message, hints);
    }

    /// Reports that a required child is missing.
    pub fn missing_child(&mut self, el: Element<'_>, name: &str) {
        let message = format!("Missing required element '{name}' in element '{}'", el.name());
        let hints = vec![format!("Add <{name}> inside <{}>.", el.name())];
        self.error("xml.missing-element", ErrorCode::XML_ERROR, el.span(), message, hints);
    }

    /// Reports that an element's text is missing.
    pub fn missing_text(&mut self, el: Element<'_>) {
        let message = format!("Missing content of element '{}'", el.name());
        self.error("xml.missing-text", ErrorCode::XML_ERROR, el.span(), message, Vec::new());
    }

    /// An attribute that may be absent. The outer `None` is a fault, recorded.
    pub fn attr_optional<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: impl Into<Name>,
    ) -> Option<Option<T>> {
        let Some(a) = self.find_attr(el, name.into()) else { return Some(None) };
        match T::parse(a.value()) {
            Ok(v) => Some(Some(v)),
            Err(e) => {
                self.bad_attr(a, el, &e);
                None
            }
        }
    }

    /// An attribute that must be there.
    pub fn attr_required<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: impl Into<Name>,
    ) -> Option<T> {
        let name = name.into();
        let value = self.attr_optional(el, name)?;
        if value.is_none() {
            self.missing_attr(el, name.local);
        }
        value
    }

    /// Reports a bad value in the words the field has for it; false when it has none.
    fn ruled_fault(
        &mut self,
        span: Span,
        text: &str,
        e: &ValueError,
        words: Option<(ErrorCode, &'static str)>,
    ) -> bool {
        let Some((code, words)) = words else { return false };
        if !self.keeps_errors() {
            self.error("xml.invalid-value", code, span, "", Vec::new());
            return true;
        }
        let mut hints = value_hints(text, e);
        if !e.expected.is_empty() {
            hints.push(format!("Expected {}.", e.expected));
        }
        let message = words.replace("{}", &quoted(text));
        self.error("xml.invalid-value", code, span, message, hints);
        true
    }

    /// An attribute that may be absent, with rules of its own.
    pub fn attr_ruled_optional<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: impl Into<Name>,
        rules: ValueRules,
    ) -> Option<Option<T>> {
        let Some(a) = self.find_attr(el, name.into()) else { return Some(None) };
        if rules.empty_absent && a.value().is_empty() {
            return Some(None);
        }
        let parsed = match rules.one_of {
            Some(words) if !words.contains(&a.value()) => {
                Err(ValueError { alternatives: words, ..ValueError::default() })
            }
            _ => T::parse(a.value()),
        };
        match parsed {
            Ok(v) => Some(Some(v)),
            Err(e) if rules.lenient => {
                self.ignored_attr(a, el, &e);
                Some(None)
            }
            Err(mut e) => {
                if rules.signed {
                    e.expected = match a.value().trim_ascii().parse::<i32>() {
                        Ok(..0) => "non-negative value".into(),
                        _ => "integer value".into(),
                    };
                }
                if !self.ruled_fault(a.value_span(), a.value(), &e, rules.fault) {
                    self.bad_attr(a, el, &e);
                }
                None
            }
        }
    }

    /// Refuses the zero of an attribute that must not be zero.
    pub fn not_zero<T: Default + PartialEq>(
        &mut self,
        el: Element<'_>,
        name: &str,
        value: Option<Option<T>>,
    ) -> Option<Option<T>> {
        if !value.as_ref()?.as_ref().is_some_and(|v| *v == T::default()) {
            return value;
        }
        let span = el.find_attr(name).map_or_else(|| el.span(), |a| a.value_span());
        let element = el.name();
        let message = format!(
            "Invalid value for attribute '{name}' in element '{element}': Zero is not permitted"
        );
        self.error("xml.invalid-value", ErrorCode::XML_ERROR, span, message, Vec::new());
        None
    }

    /// An attribute that must be there, with rules of its own.
    pub fn attr_ruled_required<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: impl Into<Name>,
        rules: ValueRules,
    ) -> Option<T> {
        let name = name.into();
        let value = self.attr_ruled_optional(el, name, rules)?;
        match (&value, rules.missing) {
            (Some(_), _) => {}
            (None, Some((code, words))) => {
                let hints = vec![format!("Add {}='…' to <{}>.", name.local, el.name())];
                self.error("xml.missing-attribute", code, el.span(), words, hints);
            }
            (None, None) => self.missing_attr(el, name.local),
        }
        value
    }

    /// The text of a child that may be absent or empty, with rules of its own.
    pub fn child_text_ruled_optional<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: Name,
        rules: ValueRules,
    ) -> Option<Option<T>> {
        let Some(c) = self.child(el, name) else { return Some(None) };
        let text = c.string_value();
        let value = if text.is_empty() {
            Some(None)
        } else {
            match T::parse(&text) {
                Ok(v) => Some(Some(v)),
                Err(_) if rules.lenient => {
                    let message = format!(
                        "Value '{}' of element '{}' counts for nothing",
                        quoted(&text),
                        c.name()
                    );
                    self.warning("xml.ignored-value", c.text_span(), message, Vec::new());
                    Some(None)
                }
                Err(e) => {
                    if !self.ruled_fault(c.text_span(), &text, &e, rules.fault) {
                        self.bad_text(c, &e);
                    }
                    None
                }
            }
        };
        self.report_unknown(c, Schema::new);
        value
    }

    /// The text of a child that must be there, with rules of its own.
    pub fn child_text_ruled_required<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: Name,
        rules: ValueRules,
    ) -> Option<T> {
        let value = self.child_text_ruled_optional(el, name, rules)?;
        match (&value, rules.missing) {
            (Some(_), _) => {}
            (None, Some((code, words))) => {
                let hints = vec![format!("Add <{}> inside <{}>.", name.local, el.name())];
                self.error("xml.missing-element", code, el.span(), words, hints);
            }
            (None, None) => self.missing_child(el, name.local),
        }
        value
    }

    /// A child that may be absent. The outer `None` is a fault, recorded.
    pub fn child_optional<T: Xml>(&mut self, el: Element<'_>, name: Name) -> Option<Option<T>> {
        match self.child(el, name) {
            Some(c) => self.element(c).map(Some),
            None => Some(None),
        }
    }

    /// A child that must be there.
    pub fn child_required<T: Xml>(&mut self, el: Element<'_>, name: Name) -> Option<T> {
        let value = self.child_optional(el, name)?;
        if value.is_none() {
            self.missing_child(el, name.local);
        }
        value
    }

    /// All children of a name.
    pub fn child_list<T: Xml>(&mut self, el: Element<'_>, name: Name) -> Option<Vec<T>> {
        // Elements are large: counted first, they are written to their place once.
        let named = el.named_after(name, self.last_node);
        let mut all = Some(Vec::with_capacity(named.clone().count()));
        for c in named {
            self.used_nodes.set(c.id);
            // Not matched as a pair, which would move the large one once more.
            let value = self.element(c);
            let Some(list) = &mut all else { continue };
            match value {
                Some(value) => list.push(value),
                None => all = None,
            }
        }
        all
    }

    /// The text of an element that holds nothing else, empty text being no value.
    fn text_value<T: XmlValue>(&mut self, el: Element<'_>) -> Option<Option<T>> {
        let text = el.string_value();
        if text.is_empty() {
            return Some(None);
        }
        match T::parse(&text) {
            Ok(v) => Some(Some(v)),
            Err(e) => {
                self.bad_text(el, &e);
                None
            }
        }
    }

    /// The text of a child that may be absent or empty. The outer `None` is a fault, recorded.
    pub fn child_text_optional<T: XmlValue>(
        &mut self,
        el: Element<'_>,
        name: Name,
    ) -> Option<Option<T>> {
        let Some(c) = self.child(el, name) else { return Some(None) };
        let value = self.text_value(c);
        self.report_unknown(c, Schema::new);
        value
    }

    /// The text of a child that must be there.
    pub fn child_text_required<T: XmlValue>(&mut self, el: Element<'_>, name: Name) -> Option<T> {
        let value = self.child_text_optional(el, name)?;
        if value.is_none() {
            self.missing_child(el, name.local);
        }
        value
    }

    /// The texts of all children of a name; empty ones are left out.
    pub fn child_text_list<T: XmlValue>(&mut self, el: Element<'_>, name: Name) -> Option<Vec<T>> {
        // Elements are large: counted first, they are written to their place once.
        let named = el.named_after(name, self.last_node);
        let mut all = Some(Vec::with_capacity(named.clone().count()));
        for c in named {
            self.used_nodes.set(c.id);
            match (self.text_value(c), &mut all) {
                (Some(v), Some(all)) => all.extend(v),
                _ => all = None,
            }
            self.last_node = c.id;
            self.report_unknown(c, Schema::new);
        }
        all
    }

    /// Whether a child is there.
    pub fn flag(&mut self, el: Element<'_>, name: Name) -> Option<bool> {
        let child = self.child(el, name);
        if let Some(c) = child {
            self.report_unknown(c, Schema::new);
        }
        Some(child.is_some())
    }

    /// The element's own text, when it has some. The outer `None` is a fault, recorded.
    pub fn text_optional<T: XmlValue>(&mut self, el: Element<'_>) -> Option<Option<T>> {
        self.text_value(el)
    }

    /// The element's own text, which must be there.
    pub fn text_required<T: XmlValue>(&mut self, el: Element<'_>) -> Option<T> {
        let value = self.text_value(el)?;
        if value.is_none() {
            self.missing_text(el);
        }
        value
    }

    /// A child kept as it is.
    pub fn raw_optional(&mut self, el: Element<'_>, name: Name) -> Option<Option<RawElement>> {
        Some(self.child(el, name).map(|c| {
            self.use_subtree(c);
            RawElement::from_element(c)
        }))
    }

    /// Children kept as they are.
    pub fn raw_list(&mut self, el: Element<'_>, name: Name) -> Option<Vec<RawElement>> {
        let found = self.children(el, name);
        Some(
            found
                .into_iter()
                .map(|c| {
                    self.use_subtree(c);
                    RawElement::from_element(c)
                })
                .collect(),
        )
    }

    /// What was found, in the order of the text.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|d| d.span.map_or(0, |s| s.start));
        let left_out =
            self.errors.saturating_sub(MAX_SHOWN) + self.warnings.saturating_sub(MAX_SHOWN);
        if left_out > 0 {
            self.diagnostics.push(Diagnostic {
                rule: "xml.more",
                severity: Severity::Warning,
                code: ErrorCode::XML_ERROR,
                span: None,
                message: format!("{left_out} further findings are left out"),
                domain: None,
                hints: Vec::new(),
            });
        }
        self.diagnostics
    }
}

/// What to do about a bad value: the nearest right one, or all there are, or the limit.
fn value_hints(text: &str, e: &ValueError) -> Vec<String> {
    let mut hints = did_you_mean(text, e.alternatives.to_vec());
    if !e.alternatives.is_empty() && hints.is_empty() {
        hints.push(format!("Possible values: {}.", e.alternatives.join(", ")));
    }
    if let Some(limit) = e.limit {
        hints.push(format!("The highest value is {limit}."));
    }
    hints
}

fn did_you_mean(word: &str, names: Vec<&'static str>) -> Vec<String> {
    closest(word, names).map(|n| format!("Did you mean '{n}'?")).into_iter().collect()
}

/// Reads a `T` from the root of a document, which must have the given name.
pub fn read<T: Xml>(doc: &Document<'_>, root_name: &str) -> Parsed<T> {
    let root = doc.root();
    if root.name() != root_name || root.ns().is_some() {
        let mut cx = Reader::new(doc);
        let message =
            format!("unexpected root element <{}>, expecting <{root_name}>", root.qualified_name());
        cx.error("xml.root", ErrorCode::XML_ERROR, root.name_span(), message, Vec::new());
        return Parsed { value: None, diagnostics: cx.finish() };
    }
    read_element(root)
}

/// Reads a `T` from any element, whatever its name.
pub fn read_element<T: Xml>(el: Element<'_>) -> Parsed<T> {
    let mut cx = Reader::new(el.doc);
    for d in &el.doc.warnings {
        cx.push(d.clone());
    }
    let mut value = cx.element::<T>(el);
    if cx.has_errors() {
        value = None;
    }
    Parsed { value, diagnostics: cx.finish() }
}

/// Reads a `T` from text: faults of syntax and of content in one list.
pub fn read_str<T: Xml>(text: &str, root_name: &str) -> Parsed<T> {
    match Document::parse(text) {
        Ok(doc) => read(&doc, root_name),
        Err(diagnostics) => Parsed { value: None, diagnostics },
    }
}
