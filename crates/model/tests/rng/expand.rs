//! From patterns to documents: one for each thing that a schema allows somewhere, otherwise as small
//! as it can be.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::grammar::{Grammar, Pattern};
use super::sample;

/// An element of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its namespace, empty for none.
    pub ns: String,
    /// What it holds.
    pub content: Content,
}

/// What an element holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Attributes and their values.
    pub attrs: Vec<(String, String)>,
    /// Elements in it.
    pub children: Vec<Rc<Node>>,
    /// Text.
    pub text: String,
}

impl Content {
    fn add(&mut self, other: &Self) {
        for a in &other.attrs {
            if !self.attrs.iter().any(|b| b.0 == a.0) {
                self.attrs.push(a.clone());
            }
        }
        self.children.extend(other.children.iter().cloned());
        self.text.push_str(&other.text);
    }

    fn size(&self) -> usize {
        self.attrs.len()
            + usize::from(!self.text.is_empty())
            + self.children.iter().map(|c| 2 + c.content.size()).sum::<usize>()
    }
}

/// What a document was made for: a path such as `/domain/devices/disk/@type`, and a value there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Names of elements from the root down, an attribute with `@`.
    pub path: String,
    /// The value of an attribute or text; none for an element.
    pub value: Option<String>,
    /// Whether the value is one of the words that the schema lists.
    pub word: bool,
}

/// One way to fill a place, and what it shows.
struct Case {
    content: Content,
    /// The path from the place down.
    path: String,
    value: Option<String>,
    word: bool,
}

/// Makes documents of a grammar.
pub struct Expander<'g> {
    grammar: &'g Grammar,
    least: RefCell<HashMap<String, Option<Content>>>,
    /// The patterns whose least content is being found.
    open: RefCell<Vec<String>>,
    /// Ends of paths of optional parts that are always put in: libvirt asks for them where the
    /// schema does not. With `=` behind, the value that is taken where there is a choice.
    wanted: &'g [&'g str],
    /// Beginnings of the paths that are looked into; none for all.
    only: &'g [&'g str],
}

impl<'g> Expander<'g> {
    /// An expander of `grammar`; `wanted` and `only` as in the fields.
    pub fn new(grammar: &'g Grammar, wanted: &'g [&'g str], only: &'g [&'g str]) -> Self {
        Self { grammar, least: RefCell::default(), open: RefCell::default(), wanted, only }
    }

    /// Calls `f` with a document for everything the grammar allows.
    pub fn each(&self, mut f: impl FnMut(&Target, &Node)) {
        for case in self.cases(&self.grammar.start, &mut Vec::new(), "") {
            if let Some(root) = case.content.children.first() {
                f(&Target { path: case.path, value: case.value, word: case.word }, root);
            }
        }
    }

    /// The smallest content that fits a pattern; `None` when there is none.
    fn least(&self, p: &Pattern, path: &str) -> Option<Content> {
        let of_text = |text: String| Some(Content { text, ..Content::default() });
        match p {
            Pattern::Element(None, _) | Pattern::Empty => Some(Content::default()),
            Pattern::Element(Some(name), inner) => {
                let path = format!("{path}/{}", name.local);
                let mut content = self.least(inner, &path)?;
                if let (Some(v), Pattern::Text) = (self.value(&path), &**inner) {
                    content.text = v.to_owned();
                }
                let node = Node { name: name.local.clone(), ns: name.ns.clone(), content };
                Some(Content { children: vec![Rc::new(node)], ..Content::default() })
            }
            Pattern::Attribute(name, value) => {
                let path = format!("{path}/@{name}");
                let value = match self.value(&path) {
                    Some(v) if !matches!(**value, Pattern::Value(_) | Pattern::Choice(_)) => {
                        v.to_owned()
                    }
                    _ => self.least(value, &path)?.text,
                };
                Some(Content { attrs: vec![(name.clone(), value)], ..Content::default() })
            }
            Pattern::Value(v) => of_text(v.clone()),
            Pattern::Data(kind, facets) => {
                let all = sample::texts(kind, facets);
                of_text(all.iter().find(|t| !t.is_empty()).unwrap_or(&all[0]).clone())
            }
            Pattern::Text => of_text("text".to_owned()),
            Pattern::NotAllowed => None,
            Pattern::Group(all) => {
                let mut content = Content::default();
                for p in all {
                    content.add(&self.least(p, path)?);
                }
                Some(content)
            }
            Pattern::Choice(all) => {
                let mut found = all.iter().filter_map(|p| self.least(p, path)).collect::<Vec<_>>();
                let rank = |c: &Content| {
                    let other = self.value(path).is_some_and(|v| v != c.text);
                    (c.size(), other, c.text.starts_with("0x"))
                };
                found.sort_by_key(rank);
                found.into_iter().next()
            }
            Pattern::Optional(inner) => {
                if self.is_wanted(inner, path, 0) {
                    self.least(inner, path)
                } else {
                    Some(Content::default())
                }
            }
            Pattern::Ref(name) => {
                let key = format!("{name} {path}");
                if let Some(known) = self.least.borrow().get(&key) {
                    return known.clone();
                }
                // A pattern within itself has no end: that branch is none to take.
                if self.open.borrow().contains(name) {
                    return None;
                }
                self.open.borrow_mut().push(name.clone());
                let found = self.least(self.grammar.define(name), path);
                self.open.borrow_mut().pop();
                self.least.borrow_mut().insert(key, found.clone());
                found
            }
        }
    }

    /// Whether an optional part begins with an element or attribute that is always wanted.
    fn value(&self, path: &str) -> Option<&str> {
        self.wanted
            .iter()
            .filter_map(|w| w.split_once('='))
            .find(|w| path.ends_with(w.0))
            .map(|w| w.1)
    }

    fn wants(&self, path: &str) -> bool {
        self.wanted.iter().any(|w| path.ends_with(w.split('=').next().unwrap_or(w)))
    }

    fn is_wanted(&self, p: &Pattern, path: &str, depth: usize) -> bool {
        match p {
            _ if depth > 8 => false,
            Pattern::Element(Some(name), _) => self.wants(&format!("{path}/{}", name.local)),
            Pattern::Attribute(name, _) => self.wants(&format!("{path}/@{name}")),
            Pattern::Group(all) | Pattern::Choice(all) => {
                all.iter().any(|p| self.is_wanted(p, path, depth + 1))
            }
            Pattern::Ref(name) => self.is_wanted(self.grammar.define(name), path, depth + 1),
            _ => false,
        }
    }

    fn cases(&self, p: &Pattern, stack: &mut Vec<String>, path: &str) -> Vec<Case> {
        let value = |text: String, word| Case {
            content: Content { text: text.clone(), ..Content::default() },
            path: String::new(),
            value: Some(text),
            word,
        };
        match p {
            Pattern::Element(None, _) | Pattern::Empty | Pattern::NotAllowed => Vec::new(),
            Pattern::Element(Some(name), inner) => {
                let wrap = |c: Case| {
                    let node =
                        Node { name: name.local.clone(), ns: name.ns.clone(), content: c.content };
                    let content = Content { children: vec![Rc::new(node)], ..Content::default() };
                    Case { content, path: format!("/{}{}", name.local, c.path), ..c }
                };
                let path = format!("{path}/{}", name.local);
                let mut found = Vec::new();
                let related = |only: &&str| path.starts_with(only) || only.starts_with(&path);
                if !self.only.is_empty() && !self.only.iter().any(related) {
                    return found;
                }
                if let Some(content) = self.least(inner, &path) {
                    let bare = Case { content, path: String::new(), value: None, word: false };
                    found.push(wrap(bare));
                }
                let mut inside = self.cases(inner, stack, &path);
                if let (Some(v), true) = (self.value(&path), matches!(**inner, Pattern::Text)) {
                    inside.push(value(v.to_owned(), false));
                }
                found.extend(inside.into_iter().map(wrap));
                found
            }
            Pattern::Attribute(name, inner) => {
                let path = format!("{path}/@{name}");
                let mut found = self.cases(inner, stack, &path);
                if let (Some(v), false) = (self.value(&path), found.iter().any(|c| c.word)) {
                    found.push(value(v.to_owned(), false));
                }
                let wrap = |c: Case| {
                    let attrs = vec![(name.clone(), c.content.text)];
                    let content = Content { attrs, ..Content::default() };
                    Case { path: format!("/@{name}"), content, ..c }
                };
                found.into_iter().map(wrap).collect()
            }
            Pattern::Value(v) => vec![value(v.clone(), true)],
            Pattern::Data(kind, facets) => sample::texts(kind, facets)
                .into_iter()
                .filter(|t| !t.is_empty())
                .map(|t| value(t, false))
                .collect(),
            Pattern::Text => vec![value("text".to_owned(), false)],
            Pattern::Optional(inner) => self.cases(inner, stack, path),
            Pattern::Choice(all) => all.iter().flat_map(|p| self.cases(p, stack, path)).collect(),
            Pattern::Group(all) => {
                let mut found = Vec::new();
                let least: Vec<_> = all.iter().map(|p| self.least(p, path)).collect();
                for (i, p) in all.iter().enumerate() {
                    if least.iter().enumerate().any(|(j, l)| j != i && l.is_none()) {
                        continue;
                    }
                    for case in self.cases(p, stack, path) {
                        let mut content = Content::default();
                        for (j, other) in least.iter().enumerate() {
                            match other {
                                _ if j == i => content.add(&case.content),
                                Some(other) => content.add(other),
                                None => {}
                            }
                        }
                        found.push(Case { content, ..case });
                    }
                }
                found
            }
            Pattern::Ref(name) => {
                if stack.contains(name) {
                    return Vec::new();
                }
                stack.push(name.clone());
                let found = self.cases(self.grammar.define(name), stack, path);
                stack.pop();
                found
            }
        }
    }
}

impl Node {
    /// The document as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, "");
        out
    }

    fn write(&self, out: &mut String, outer: &str) {
        out.push('<');
        out.push_str(&self.name);
        if self.ns != outer {
            attribute(out, "xmlns", &self.ns);
        }
        for (name, value) in &self.content.attrs {
            attribute(out, name, value);
        }
        out.push('>');
        xml::escape_into(&self.content.text, out);
        for c in &self.content.children {
            c.write(out, &self.ns);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    xml::escape_into(value, out);
    out.push('\'');
}
