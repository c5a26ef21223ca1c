//! Faults in the rest of a document whose reading failed.
//!
//! A value that cannot be read leaves no object, so rules across its parts have nothing to look at;
//! whoever corrects such a document would meet them only afterwards. So the elements at fault are
//! left out and the rest is read again, until that brings nothing new. Of what comes out only those
//! faults are kept that stand whatever the left-out elements were meant to say.

use std::cmp::Reverse;

use diag::{Diagnostic, Severity, Span};
use xml::{Document, Element, Parsed};

use super::{path_to, splice};
use crate::domain::MOST_FAULTS;

/// Longer documents are made by programs; they get the faults of the first reading alone.
const LONGEST: usize = 256 * 1024;

/// So often the rest is read.
const ROUNDS: usize = 4;

/// What a kind of object is without some of its parts.
pub(crate) struct Rest {
    /// Attributes of the root without which nothing is read: name and a plain value.
    pub attrs: &'static [(&'static str, &'static str)],
    /// Children of the root without which nothing is read: name and a plain element.
    pub children: &'static [(&'static str, &'static str)],
    /// Rules that look at other parts than the element they blame, each with the names of those; an
    /// attribute of the root has `@` in front. A fault of the root as a whole is kept only where its
    /// rule stands here.
    pub asks: &'static [(&'static str, &'static [&'static str])],
}

/// Reads a document and, where that fails, finds what else is wrong in it. What the first reading
/// found stays first: by it libvirt's own answer is chosen.
pub(crate) fn with_rest<T>(text: &str, rest: &Rest, read: impl Fn(&str) -> Parsed<T>) -> Parsed<T> {
    let mut parsed = read(text);
    if parsed.value.is_none() && text.len() <= LONGEST {
        find(text, rest, &mut parsed.diagnostics, |text| read(text).diagnostics);
    }
    parsed
}

/// Faults of documents that are none, or none of the kind.
const HOPELESS: &[&str] = &["xml.root", "xml.more", "xml.syntax"];

fn find(
    text: &str,
    rest: &Rest,
    found: &mut Vec<Diagnostic>,
    read: impl Fn(&str) -> Vec<Diagnostic>,
) {
    let Ok(doc) = Document::parse(text) else { return };
    if found.iter().any(|d| HOPELESS.contains(&d.rule)) {
        return;
    }
    let mut cuts = Cuts { rest, root: doc.root(), edits: Vec::new(), left_out: Vec::new() };
    let mut fresh: Vec<Diagnostic> = errors(found).cloned().collect();
    for _ in 0..ROUNDS {
        let before = cuts.edits.len();
        for d in &fresh {
            cuts.cut(d);
        }
        if cuts.edits.len() == before || found.len() >= MOST_FAULTS {
            return;
        }
        let Some((shorter, edits)) = cuts.apply(text) else { return };
        fresh = read(&shorter);
        fresh.retain_mut(|d| d.severity == Severity::Error && restore(d, &edits));
        fresh.retain(|d| !errors(found).any(|old| old.span == d.span && old.message == d.message));
        if fresh.iter().any(|d| HOPELESS.contains(&d.rule)) {
            return;
        }
        found.extend(fresh.iter().filter(|d| cuts.stands(d)).cloned());
    }
}

fn errors(found: &[Diagnostic]) -> impl Iterator<Item = &Diagnostic> {
    found.iter().filter(|d| d.severity == Severity::Error)
}

/// A piece of the text and what stands there instead.
#[derive(Clone, PartialEq, Eq)]
struct Edit {
    start: usize,
    end: usize,
    instead: String,
}

/// What is left out of a document.
struct Cuts<'a> {
    rest: &'a Rest,
    root: Element<'a>,
    edits: Vec<Edit>,
    left_out: Vec<String>,
}

impl Cuts<'_> {
    /// Leaves out the element a fault is in.
    fn cut(&mut self, d: &Diagnostic) {
        let path = path_to(self.root, d);
        let [_, .., inner] = path.as_slice() else { return self.mend_root(d) };
        let plain = self.rest.children.iter().find(|(name, _)| inner.is(name, None));
        let instead = plain.filter(|_| path.len() == 2).map_or("", |(_, plain)| plain);
        let span = inner.full_span();
        self.edit(span.start, span.end, instead, inner.name().to_owned());
    }

    /// Gives the root what it cannot do without, and takes a wrong attribute from it.
    fn mend_root(&mut self, d: &Diagnostic) {
        let Some(at) = d.span else { return };
        let (root, rest) = (self.root, self.rest);
        for (name, plain) in rest.attrs.iter().filter(|(name, _)| root.attr(name).is_none()) {
            let end = root.name_span().end;
            self.edit(end, end, &format!(" {name}='{plain}'"), format!("@{name}"));
        }
        for (name, plain) in rest.children.iter().filter(|(name, _)| root.child(name).is_none()) {
            let end = root.span().end;
            self.edit(end, end, plain, (*name).to_owned());
        }
        let holds = |attr: &xml::Attr<'_>| {
            attr.name_span().start <= at.start && at.start <= attr.value_span().end
        };
        let Some(attr) = root.attrs().find(holds) else { return };
        let (name, value) = (attr.name_span(), attr.value_span());
        let left_out = format!("@{}", attr.name());
        match rest.attrs.iter().find(|(name, _)| *name == attr.name()) {
            Some((_, plain)) => self.edit(value.start, value.end, plain, left_out),
            // With the closing quote.
            None => self.edit(name.start, value.end + 1, "", left_out),
        }
    }

    fn edit(&mut self, start: usize, end: usize, instead: &str, left_out: String) {
        let edit = Edit { start, end, instead: instead.to_owned() };
        if !self.edits.contains(&edit) {
            self.edits.push(edit);
            self.left_out.push(left_out);
        }
    }

    /// The text with all of that done, and what was done: of two edits that lie in each other the
    /// outer.
    fn apply(&self, text: &str) -> Option<(String, Vec<Edit>)> {
        let mut edits = self.edits.clone();
        edits.sort_by_key(|edit| (edit.start, Reverse(edit.end)));
        let mut at = 0;
        edits.retain(|edit| {
            let outer = edit.start >= at;
            at = if outer { edit.end } else { at };
            outer
        });
        let pieces = edits.iter().map(|edit| (edit.start, edit.end, edit.instead.as_str()));
        Some((splice(text, pieces)?, edits))
    }

    /// Whether a fault has nothing to do with what was left out.
    fn stands(&self, d: &Diagnostic) -> bool {
        let asked = self.rest.asks.iter().find(|(rule, _)| *rule == d.rule);
        let lacks = |asked: &&str| self.left_out.iter().any(|out| out == asked);
        if asked.is_some_and(|(_, asked)| asked.iter().any(lacks)) {
            return false;
        }
        match path_to(self.root, d).as_slice() {
            [_, .., inner] => {
                let span = inner.full_span();
                !self.edits.iter().any(|edit| span.start <= edit.start && edit.end <= span.end)
            }
            _ => asked.is_some(),
        }
    }
}

/// Moves a fault to its place in the whole text; false for one in what was put there instead.
fn restore(d: &mut Diagnostic, edits: &[Edit]) -> bool {
    let Some(span) = d.span else { return true };
    let last = span.end.saturating_sub(1).max(span.start);
    let (Some(start), Some(last)) = (place(span.start, edits), place(last, edits)) else {
        return false;
    };
    d.span = Some(Span { start, end: if span.end > span.start { last + 1 } else { start } });
    true
}

/// Where something in the shorter text stands in the whole one.
fn place(at: usize, edits: &[Edit]) -> Option<usize> {
    let (mut short, mut whole) = (0, 0);
    for edit in edits {
        let same = edit.start.checked_sub(whole)?;
        if at < short + same {
            break;
        }
        short += same + edit.instead.len();
        whole = edit.end;
        if at < short {
            return None;
        }
    }
    at.checked_sub(short).map(|beyond| whole + beyond)
}

#[cfg(test)]
mod tests;
