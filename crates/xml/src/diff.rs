//! What differs between two values, as paths into their XML.

use std::collections::HashMap;

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

/// The items of two sequences that belong together, in the order of their first occurrence.
fn pair<'n, T>(
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

fn element(a: Element<'_>, b: Element<'_>, path: &str, out: &mut Vec<Change>) {
    let join = |step: &str| {
        if path.is_empty() { step.to_owned() } else { format!("{path}/{step}") }
    };
    let mut change = |step: &str, old: Option<String>, new: Option<String>| {
        if old != new {
            out.push(Change { path: join(step), old, new });
        }
    };
    // A namespace declaration follows from what uses it and is no difference of its own.
    let (old, new) = (
        a.attrs().map(|x| (x.qualified_name(), x.value())),
        b.attrs().map(|x| (x.qualified_name(), x.value())),
    );
    for (name, old, new) in pair(old, new) {
        let owned = |v: &[&str]| v.first().map(|s| (*s).to_owned());
        change(&format!("@{name}"), owned(&old), owned(&new));
    }
    let own_text = |e: Element<'_>| Some(e.text().into_owned()).filter(|t| !t.is_empty());
    change("text()", own_text(a), own_text(b));

    let (old, new) = (
        a.children().map(|c| (c.qualified_name(), c)),
        b.children().map(|c| (c.qualified_name(), c)),
    );
    for (name, old, new) in pair(old, new) {
        let count = old.len().max(new.len());
        for i in 0..count {
            let step = if count > 1 { join(&format!("{name}[{}]", i + 1)) } else { join(name) };
            match (old.get(i), new.get(i)) {
                (Some(x), Some(y)) => element(*x, *y, &step, out),
                (x, y) => out.push(Change {
                    path: step,
                    old: x.map(|e| e.source().to_owned()),
                    new: y.map(|e| e.source().to_owned()),
                }),
            }
        }
    }
}
