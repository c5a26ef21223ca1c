//! What differs between two values, as paths into their XML.

use crate::{Document, Element, WriteOptions, Writer, Xml};

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where: `devices/disk[1]/driver/@cache`; `text()` for an element's text. Elements that repeat
    /// are counted from 1, as in XPath.
    pub path: String,
    /// The old text; an element's whole XML when the element went away.
    pub old: Option<String>,
    /// The new text; an element's whole XML when the element is new.
    pub new: Option<String>,
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
    let mut changes = Vec::new();
    match (Document::parse(&old), Document::parse(&new)) {
        (Ok(old), Ok(new)) => element(old.root(), new.root(), "", &mut changes),
        // What is beyond the reader's limits is compared as a whole.
        _ => changes.push(Change { path: String::new(), old: Some(old), new: Some(new) }),
    }
    changes
}

fn element(a: Element<'_>, b: Element<'_>, path: &str, out: &mut Vec<Change>) {
    let join = |step: &str| {
        if path.is_empty() { step.to_owned() } else { format!("{path}/{step}") }
    };
    let mut change = |step: String, old: Option<String>, new: Option<String>| {
        if old != new {
            out.push(Change { path: join(&step), old, new });
        }
    };
    let value = |e: Element<'_>, name: &str| {
        e.attrs().find(|x| x.qualified_name() == name).map(|x| x.value().to_owned())
    };
    for x in a.attrs() {
        let name = x.qualified_name();
        change(format!("@{name}"), Some(x.value().to_owned()), value(b, name));
    }
    for x in b.attrs() {
        let name = x.qualified_name();
        if value(a, name).is_none() {
            change(format!("@{name}"), None, Some(x.value().to_owned()));
        }
    }
    let own_text = |e: Element<'_>| Some(e.text().into_owned()).filter(|t| !t.is_empty());
    change("text()".to_owned(), own_text(a), own_text(b));

    let mut done: Vec<&str> = Vec::new();
    for c in a.children().chain(b.children()) {
        let name = c.qualified_name();
        if done.contains(&name) {
            continue;
        }
        done.push(name);
        let of = |e: Element<'_>| e.children().filter(|c| c.qualified_name() == name).count();
        let (count_a, count_b) = (of(a), of(b));
        let mut left = a.children().filter(|c| c.qualified_name() == name);
        let mut right = b.children().filter(|c| c.qualified_name() == name);
        for i in 1..=count_a.max(count_b) {
            let step =
                if count_a.max(count_b) > 1 { join(&format!("{name}[{i}]")) } else { join(name) };
            match (left.next(), right.next()) {
                (Some(x), Some(y)) => element(x, y, &step, out),
                (x, y) => out.push(Change {
                    path: step,
                    old: x.map(|e| e.source().to_owned()),
                    new: y.map(|e| e.source().to_owned()),
                }),
            }
        }
    }
}
