//! A grammar: patterns by name, read from a file and those it includes.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use xml::{Document, Element};

use super::FOLDER;

/// A pattern. Order does not matter to us: groups and interleaved patterns are the same.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// An element; `None` stands for any name.
    Element(Option<Name>, Box<Pattern>),
    /// An attribute.
    Attribute(String, Box<Pattern>),
    /// This very text.
    Value(String),
    /// A text of this type, with facets.
    Data(String, Vec<(String, String)>),
    /// Any text.
    Text,
    /// Nothing.
    Empty,
    /// What no document has.
    NotAllowed,
    /// All of them.
    Group(Vec<Pattern>),
    /// One of them.
    Choice(Vec<Pattern>),
    /// None or more.
    Optional(Box<Pattern>),
    /// What is defined under this name.
    Ref(String),
}

/// The name of an element.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// Without prefix.
    pub local: String,
    /// Its namespace, empty for none.
    pub ns: String,
}

/// Patterns by name.
pub struct Grammar {
    defines: HashMap<String, Pattern>,
    /// What a document is.
    pub start: Pattern,
}

impl Grammar {
    /// Reads `file` and what it includes.
    pub fn load(file: &str) -> Self {
        let mut new = Self { defines: HashMap::new(), start: Pattern::Empty };
        new.include(file, &mut HashSet::new());
        new
    }

    /// What is defined under a name.
    pub fn define(&self, name: &str) -> &Pattern {
        self.defines.get(name).unwrap_or_else(|| panic!("no pattern '{name}'"))
    }

    fn include(&mut self, file: &str, seen: &mut HashSet<String>) {
        if !seen.insert(file.to_owned()) {
            return;
        }
        let path = Path::new(FOLDER).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let doc = Document::parse(&text).unwrap_or_else(|e| panic!("{path:?}: {e:?}"));
        self.contents(doc.root(), seen);
    }

    fn contents(&mut self, el: Element<'_>, seen: &mut HashSet<String>) {
        for c in el.children() {
            match c.name() {
                "include" => {
                    self.include(c.attr("href").expect("href"), seen);
                    // What stands inside replaces what was included.
                    for inner in c.children().filter(|e| e.name() == "define") {
                        self.defines.remove(inner.attr("name").expect("name"));
                    }
                    self.contents(c, seen);
                }
                "start" => self.start = group(c),
                "define" => {
                    let name = c.attr("name").expect("name").to_owned();
                    let mut pattern = group(c);
                    if let Some(old) = self.defines.remove(&name) {
                        pattern = match c.attr("combine") {
                            Some("choice") => Pattern::Choice(vec![old, pattern]),
                            _ => Pattern::Group(vec![old, pattern]),
                        };
                    }
                    self.defines.insert(name, pattern);
                }
                "div" => self.contents(c, seen),
                _ => {}
            }
        }
    }
}

fn all(el: Element<'_>) -> Vec<Pattern> {
    el.children().filter(|c| !matches!(c.name(), "name" | "anyName" | "param")).map(read).collect()
}

fn group(el: Element<'_>) -> Pattern {
    let mut all = all(el);
    match all.len() {
        0 => Pattern::Empty,
        1 => all.remove(0),
        _ => Pattern::Group(all),
    }
}

fn read(el: Element<'_>) -> Pattern {
    let attr = |name: &str| el.attr(name).unwrap_or_default().to_owned();
    match el.name() {
        "element" => {
            let name = el.attr("name").map(str::to_owned);
            let name = name.or_else(|| el.child("name").map(|n| n.text().trim().to_owned()));
            let ns = std::iter::successors(Some(el), |e| e.parent())
                .find_map(|e| e.attr("ns"))
                .unwrap_or_default()
                .to_owned();
            Pattern::Element(name.map(|local| Name { local, ns }), Box::new(group(el)))
        }
        "attribute" => {
            let value = if all(el).is_empty() { Pattern::Text } else { group(el) };
            Pattern::Attribute(attr("name"), Box::new(value))
        }
        "value" => Pattern::Value(el.text().trim().to_owned()),
        "data" => {
            let facets = el.children().filter(|c| c.name() == "param");
            let facets = facets
                .map(|p| (p.attr("name").unwrap_or_default().to_owned(), p.text().into_owned()));
            Pattern::Data(attr("type"), facets.collect())
        }
        "text" => Pattern::Text,
        "empty" => Pattern::Empty,
        "notAllowed" | "grammar" => Pattern::NotAllowed,
        "choice" => Pattern::Choice(all(el)),
        "optional" | "zeroOrMore" => Pattern::Optional(Box::new(group(el))),
        "group" | "interleave" | "oneOrMore" | "mixed" | "list" => group(el),
        "ref" => Pattern::Ref(attr("name")),
        other => panic!("RELAX NG's <{other}> is not read here"),
    }
}
