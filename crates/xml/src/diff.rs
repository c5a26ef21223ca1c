//! What differs between two values or documents, as paths into their XML.

use std::collections::HashMap;

use crate::{Document, Element, WriteOptions, Writer, Xml};

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where: `devices/disk[1]/driver/@cache`; `text()` for an element's text. Elements that repeat
    /// are counted from 1, as in XPath, or told apart by what identifies them
    /// (`disk[target/@dev='vda']`).
    pub path: String,
    /// The old text; an element's whole XML when the element went away.
    pub old: Option<String>,
    /// The new text; an element's whole XML when the element is new.
    pub new: Option<String>,
}

/// One difference with the elements it lies in.
#[derive(Clone, Debug)]
pub struct Difference<'a> {
    /// What differs.
    pub change: Change,
    /// From the root to the element that differs: those of the old document, but for a last one
    /// that only the new document has.
    pub within: Vec<Element<'a>>,
}

/// The differences from `a` to `b`, in document order. Everything is compared, secrets and live
/// state too.
pub fn diff<T: Xml>(a: &T, b: &T) -> Vec<Change> {
    let options = WriteOptions { live: true, secure: true, ..WriteOptions::default() };
    let text = |v: &T| {
        let mut w = Writer::new(&options);
        w.child("root", v);
        w.finish()
    };
    let (old, new) = (text(a), text(b));
    if old == new {
        return Vec::new();
    }
    match (Document::parse(&old), Document::parse(&new)) {
        (Ok(old), Ok(new)) => compare(old.root(), new.root(), &|_| None)
            .into_iter()
            .map(|difference| difference.change)
            .collect(),
        // What is beyond the reader's limits is compared as a whole.
        _ => vec![Change { path: String::new(), old: Some(old), new: Some(new) }],
    }
}

/// The differences between the contents of two elements, in document order. `identity` says what
/// tells an element from its siblings of the same name, as an XPath condition on it
/// (`target/@dev='vda'`): siblings of the same identity belong together wherever they stand. Those
/// without any belong together in their order.
pub fn compare<'a>(
    old: Element<'a>,
    new: Element<'a>,
    identity: &dyn Fn(Element<'_>) -> Option<String>,
) -> Vec<Difference<'a>> {
    let mut walk = Walk { identity, path: Vec::new(), within: Vec::new(), out: Vec::new() };
    walk.element(old, new);
    walk.out
}

/// The items of two sequences that have the same name, in the order of their first occurrence.
fn group<'n, T>(
    a: impl Iterator<Item = (&'n str, T)>,
    b: impl Iterator<Item = (&'n str, T)>,
) -> Vec<(&'n str, Vec<T>, Vec<T>)> {
    let mut all: Vec<(&str, Vec<T>, Vec<T>)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    let items = a.map(|(n, x)| (n, x, true)).chain(b.map(|(n, x)| (n, x, false)));
    for (name, item, old) in items {
        let i = *index.entry(name).or_insert(all.len());
        if i == all.len() {
            all.push((name, Vec::new(), Vec::new()));
        }
        if old { all[i].1.push(item) } else { all[i].2.push(item) }
    }
    all
}

struct Walk<'a, 'f> {
    identity: &'f dyn Fn(Element<'_>) -> Option<String>,
    path: Vec<String>,
    within: Vec<Element<'a>>,
    out: Vec<Difference<'a>>,
}

/// Siblings of one name that belong together, and the step of the path that leads to them.
struct Pair<'a> {
    step: String,
    old: Option<Element<'a>>,
    new: Option<Element<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn element(&mut self, a: Element<'a>, b: Element<'a>) {
        self.within.push(a);
        // A namespace declaration follows from what uses it and is no difference of its own.
        let (old, new) = (
            a.attrs().map(|x| (x.qualified_name(), x.value())),
            b.attrs().map(|x| (x.qualified_name(), x.value())),
        );
        for (name, old, new) in group(old, new) {
            let owned = |v: &[&str]| v.first().map(|s| (*s).to_owned());
            self.leaf(format!("@{name}"), owned(&old), owned(&new));
        }
        let own_text = |e: Element<'_>| Some(e.text().into_owned()).filter(|t| !t.is_empty());
        self.leaf("text()".to_owned(), own_text(a), own_text(b));

        let (old, new) = (
            a.children().map(|c| (c.qualified_name(), c)),
            b.children().map(|c| (c.qualified_name(), c)),
        );
        for (name, old, new) in group(old, new) {
            for Pair { step, old, new } in self.pairs(name, &old, &new) {
                if let (Some(old), Some(new)) = (old, new) {
                    self.path.push(step);
                    self.element(old, new);
                    self.path.pop();
                } else if let Some(one) = old.or(new) {
                    self.within.push(one);
                    let source = |e: Element<'_>| e.source().to_owned();
                    self.leaf(step, old.map(source), new.map(source));
                    self.within.pop();
                }
            }
        }
        self.within.pop();
    }

    fn leaf(&mut self, step: String, old: Option<String>, new: Option<String>) {
        if old != new {
            let steps = self.path.iter().map(String::as_str).chain([step.as_str()]);
            let path = steps.collect::<Vec<_>>().join("/");
            let change = Change { path, old, new };
            self.out.push(Difference { change, within: self.within.clone() });
        }
    }

    fn pairs(&self, name: &str, old: &[Element<'a>], new: &[Element<'a>]) -> Vec<Pair<'a>> {
        let several = old.len() > 1 || new.len() > 1;
        let mut known: HashMap<String, Vec<Element<'a>>> = HashMap::new();
        let mut others = Vec::new();
        let mut order = Vec::new();
        // The last first: they are taken from the end.
        for e in new.iter().rev() {
            match (self.identity)(*e) {
                Some(id) => {
                    order.push((id.clone(), *e));
                    known.entry(id).or_default().push(*e);
                }
                None => others.push(*e),
            }
        }
        let mut pairs = Vec::new();
        let mut position = 0;
        let by_position = |position: usize| {
            if several { format!("{name}[{position}]") } else { name.to_owned() }
        };
        for e in old {
            let id = (self.identity)(*e);
            let partner = match &id {
                Some(id) => known.get_mut(id).and_then(Vec::pop),
                None => others.pop(),
            };
            let step = match id {
                Some(id) if several || partner.is_none() => format!("{name}[{id}]"),
                Some(_) => name.to_owned(),
                None => {
                    position += 1;
                    by_position(position)
                }
            };
            pairs.push(Pair { step, old: Some(*e), new: partner });
        }
        for (id, e) in order.into_iter().rev() {
            // Of equal identities the first ones were taken.
            if let Some(left) = known.get_mut(&id)
                && left.last().is_some_and(|x| x.full_span() == e.full_span())
            {
                left.pop();
                pairs.push(Pair { step: format!("{name}[{id}]"), old: None, new: Some(e) });
            }
        }
        while let Some(e) = others.pop() {
            position += 1;
            pairs.push(Pair { step: by_position(position), old: None, new: Some(e) });
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, new: &str, expected: &[&str]) {
        let (old, new) = (Document::parse(old).unwrap(), Document::parse(new).unwrap());
        let id = |e: Element<'_>| e.attr("id").map(|v| format!("@id='{v}'"));
        let found: Vec<String> = compare(old.root(), new.root(), &id)
            .into_iter()
            .map(|d| {
                let names: Vec<_> = d.within.iter().map(|e| e.name()).collect();
                let text = |t: Option<String>| t.unwrap_or_default();
                let Change { path, old, new } = d.change;
                format!("{path}: {} -> {} in {}", text(old), text(new), names.join("/"))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn siblings_of_the_same_identity_belong_together() {
        check(
            "<a><b id='1'>x</b><b id='2'>y</b></a>",
            "<a><b id='2'>z</b><b id='1'>x</b></a>",
            &["b[@id='2']/text(): y -> z in a/b"],
        );
        check(
            "<a><b id='1'/></a>",
            "<a><b id='2'/></a>",
            &["b[@id='1']: <b id='1'/> ->  in a/b", "b[@id='2']:  -> <b id='2'/> in a/b"],
        );
        check("<a><b id='1' c='x'/></a>", "<a><b id='1'/></a>", &["b/@c: x ->  in a/b"]);
    }

    #[test]
    fn equal_identities_and_none_keep_their_order() {
        check(
            "<a><b id='1'>x</b></a>",
            "<a><b id='1'>x</b><b id='1'>y</b></a>",
            &["b[@id='1']:  -> <b id='1'>y</b> in a/b"],
        );
        check("<a><b>x</b><b>y</b></a>", "<a><b>x</b></a>", &["b[2]: <b>y</b> ->  in a/b"]);
        check(
            "<a><b>x</b><b id='1'/></a>",
            "<a><b id='1'/><b>y</b></a>",
            &["b[1]/text(): x -> y in a/b"],
        );
    }
}
