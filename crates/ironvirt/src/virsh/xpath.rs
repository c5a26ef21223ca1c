//! The part of XPath that is used to look into libvirt's documents: location paths with names,
//! `*`, `.`, `..`, `//`, attributes, `text()`, and predicates that compare or count.

use super::fail::{Fail, Outcome};
use super::util::parse_xml;
use xml::Element;

/// What a path selects.
#[derive(Clone)]
enum Node<'a> {
    Root(Element<'a>),
    Element(Element<'a>),
    Attr(String, String),
    Text(String),
}

/// The nodes that `path` selects in the document, as text.
pub fn select(document: &str, path: &str, wrap: bool) -> Outcome<Vec<String>> {
    let doc = parse_xml(document)?;
    let bad = || Fail::new(format!("internal error: Incorrect xpath '{path}'"));
    let steps = parse(path).ok_or_else(bad)?;
    let mut nodes = vec![Node::Root(doc.root())];
    for step in &steps {
        nodes = apply(&nodes, step);
    }
    Ok(nodes
        .iter()
        .map(|n| match n {
            Node::Root(e) | Node::Element(e) => {
                let mut out = String::new();
                serialize(*e, usize::from(wrap), &mut out);
                out
            }
            Node::Attr(name, value) => format!(" {name}=\"{}\"", quote(value)),
            Node::Text(t) => text_escape(t),
        })
        .collect())
}

/// An element in the layout of an XML library: double quotes, children on lines of their own.
fn serialize(e: Element<'_>, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    out.push_str(&pad);
    let name = e.qualified_name();
    out.push('<');
    out.push_str(name);
    for (prefix, uri) in e.namespace_decls() {
        let colon = if prefix.is_empty() { "" } else { ":" };
        out.push_str(&format!(" xmlns{colon}{prefix}=\"{}\"", quote(uri)));
    }
    for a in e.attrs() {
        out.push_str(&format!(" {}=\"{}\"", a.qualified_name(), quote(a.value())));
    }
    let text = e.text();
    let mut children = e.children().peekable();
    if children.peek().is_some() {
        out.push_str(">\n");
        for c in children {
            serialize(c, depth + 1, out);
            out.push('\n');
        }
        out.push_str(&format!("{pad}</{name}>"));
    } else if text.is_empty() {
        out.push_str("/>");
    } else {
        out.push_str(&format!(">{}</{name}>", text_escape(&text)));
    }
}

fn text_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn quote(text: &str) -> String {
    text_escape(text).replace('"', "&quot;")
}

/// An element as it stands in its document, white space included, with double quotes.
pub fn verbatim(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let (mut tag, mut quoted) = (false, None);
    for c in source.chars() {
        match (quoted, c) {
            (None, '<') => tag = true,
            (None, '>') => tag = false,
            (None, '\'' | '"') if tag => {
                quoted = Some(c);
                out.push('"');
                continue;
            }
            (Some(q), c) if q == c => {
                quoted = None;
                out.push('"');
                continue;
            }
            (Some('\''), '"') => {
                out.push_str("&quot;");
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

#[derive(Debug, PartialEq)]
struct Step {
    deep: bool,
    test: Test,
    predicates: Vec<Predicate>,
}

#[derive(Debug, PartialEq)]
enum Test {
    Name(String),
    Attr(String),
    Text,
    Current,
    Parent,
}

#[derive(Debug, PartialEq)]
enum Predicate {
    Index(usize),
    Last,
    Exists(Vec<Step>),
    Equals(Vec<Step>, String, bool),
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut p = Scan { rest: path.trim() };
    let steps = p.path()?;
    p.rest.is_empty().then_some(steps)
}

struct Scan<'a> {
    rest: &'a str,
}

impl Scan<'_> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(r) => {
                self.rest = r;
                true
            }
            None => false,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn name(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || "-_.:*".contains(c)))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn path(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        let mut deep = self.eat("//");
        if !deep {
            self.eat("/");
        }
        loop {
            if self.rest.is_empty() {
                return Some(steps);
            }
            steps.push(self.step(deep)?);
            if self.eat("//") {
                deep = true;
            } else if self.eat("/") {
                deep = false;
            } else {
                return Some(steps);
            }
        }
    }

    fn step(&mut self, deep: bool) -> Option<Step> {
        let test = if self.eat("..") {
            Test::Parent
        } else if self.rest.starts_with('.') && !self.rest.starts_with("..") {
            self.eat(".");
            Test::Current
        } else if self.eat("@") {
            Test::Attr(self.name()?)
        } else if self.eat("text()") {
            Test::Text
        } else {
            Test::Name(self.name()?)
        };
        let mut predicates = Vec::new();
        while self.eat("[") {
            self.blanks();
            predicates.push(self.predicate()?);
            self.blanks();
            if !self.eat("]") {
                return None;
            }
        }
        Some(Step { deep, test, predicates })
    }

    fn predicate(&mut self) -> Option<Predicate> {
        if self.eat("last()") {
            return Some(Predicate::Last);
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.name()?.parse().ok().map(Predicate::Index);
        }
        let path = self.path()?;
        self.blanks();
        let equal = if self.eat("!=") {
            false
        } else if self.eat("=") {
            true
        } else {
            return Some(Predicate::Exists(path));
        };
        self.blanks();
        let quote = self.rest.chars().next().filter(|c| "'\"".contains(*c))?;
        let (value, rest) = self.rest[1..].split_once(quote)?;
        self.rest = rest;
        Some(Predicate::Equals(path, value.to_owned(), equal))
    }
}

fn apply<'a>(nodes: &[Node<'a>], step: &Step) -> Vec<Node<'a>> {
    let mut out = Vec::new();
    for node in nodes {
        let mut found = Vec::new();
        if step.deep {
            descend(node, &mut |n| found.extend(matches(n, &step.test)));
        } else {
            found.extend(matches(node, &step.test));
        }
        for p in &step.predicates {
            found = filter(found, p);
        }
        out.extend(found);
    }
    out
}

fn descend<'a>(node: &Node<'a>, visit: &mut impl FnMut(&Node<'a>)) {
    visit(node);
    match node {
        Node::Root(e) => descend(&Node::Element(*e), visit),
        Node::Element(e) => {
            for c in e.children() {
                descend(&Node::Element(c), visit);
            }
        }
        _ => {}
    }
}

fn matches<'a>(node: &Node<'a>, test: &Test) -> Vec<Node<'a>> {
    let children: Vec<Element<'a>> = match node {
        Node::Root(e) => vec![*e],
        Node::Element(e) => e.children().collect(),
        _ => Vec::new(),
    };
    match (test, node) {
        (Test::Current, n) => vec![n.clone()],
        (Test::Parent, Node::Element(e)) => e.parent().map(Node::Element).into_iter().collect(),
        (Test::Name(name), _) => children
            .into_iter()
            .filter(|c| name == "*" || c.qualified_name() == name)
            .map(Node::Element)
            .collect(),
        (Test::Attr(name), Node::Element(e)) => e
            .attrs()
            .filter(|a| name == "*" || a.qualified_name() == name)
            .map(|a| Node::Attr(a.qualified_name().to_owned(), a.value().to_owned()))
            .collect(),
        (Test::Text, Node::Element(e)) => {
            let t = e.text();
            if t.is_empty() { Vec::new() } else { vec![Node::Text(t.into_owned())] }
        }
        _ => Vec::new(),
    }
}

fn filter<'a>(nodes: Vec<Node<'a>>, predicate: &Predicate) -> Vec<Node<'a>> {
    let count = nodes.len();
    nodes
        .into_iter()
        .enumerate()
        .filter(|(i, n)| match predicate {
            Predicate::Index(k) => i + 1 == *k,
            Predicate::Last => i + 1 == count,
            Predicate::Exists(path) => !walk(n, path).is_empty(),
            Predicate::Equals(path, value, equal) => {
                walk(n, path).iter().any(|m| (string(m) == *value) == *equal)
            }
        })
        .map(|(_, n)| n)
        .collect()
}

fn walk<'a>(node: &Node<'a>, path: &[Step]) -> Vec<Node<'a>> {
    let mut nodes = vec![node.clone()];
    for step in path {
        nodes = apply(&nodes, step);
    }
    nodes
}

fn string(node: &Node<'_>) -> String {
    match node {
        Node::Root(e) | Node::Element(e) => e.text().into_owned(),
        Node::Attr(_, v) => v.clone(),
        Node::Text(t) => t.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let doc = "<d><n>x</n><k><disk t='file'><target dev='vda'/></disk><disk t='block'><target dev='vdb'/></disk></k></d>";
        for (path, expected) in [
            ("/d/n/text()", vec!["x"]),
            ("//target/@dev", vec![" dev=\"vda\"", " dev=\"vdb\""]),
            ("//disk[@t='block']/target", vec!["<target dev=\"vdb\"/>"]),
            ("//disk[target/@dev='vda']/@t", vec![" t=\"file\""]),
            ("/d/k/disk[2]/@t", vec![" t=\"block\""]),
            ("/d/nothing", vec![]),
            (
                "//target[@dev='vda']/..",
                vec!["<disk t=\"file\">\n  <target dev=\"vda\"/>\n</disk>"],
            ),
        ] {
            assert_eq!(select(doc, path, false).unwrap(), expected, "{path}");
        }
        assert!(select(doc, "count(//disk)", false).is_err());
    }
}
