//! Where in the text a fault lies that was found in the values read from it.
//!
//! Values do not know where they were read. So the document is asked: the checks run again without
//! parts of it, and the part without which the fault is gone is where it lies. Of elements that are
//! at fault only together, such as two disks with one name, it is the last one.

use std::collections::{HashMap, HashSet};

use diag::{Diagnostic, Span};
use xml::{Document, Element};

/// Longer documents are made by programs; their faults are placed by the words they quote.
const LONGEST: usize = 256 * 1024;

/// Bytes checked again at most: some thousand times a usual domain.
const MOST: usize = 16 * 1024 * 1024;

/// So many children are tried one by one.
const FEW: usize = 32;

/// Gives faults without a place one. `check` finds the faults of another text.
pub fn find(text: &str, found: &mut [Diagnostic], check: &dyn Fn(&str) -> Vec<Diagnostic>) {
    if found.iter().all(|d| d.span.is_some()) {
        return;
    }
    let Ok(doc) = Document::parse(text) else { return };
    let whole = found.iter().map(Fault::of).collect();
    let mut trials = Trials { text, check, whole, known: HashMap::new(), left: MOST };
    for d in found.iter_mut().filter(|d| d.span.is_none()) {
        d.span = trials.place(doc.root(), &Fault::of(d));
        if d.span.is_none() {
            d.span = only_quoted(doc.root(), &d.message);
        }
    }
}

/// What tells one fault from another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Fault {
    rule: &'static str,
    message: String,
}

impl Fault {
    fn of(d: &Diagnostic) -> Self {
        Self { rule: d.rule, message: d.message.clone() }
    }
}

/// The document without parts of it.
struct Trials<'a> {
    text: &'a str,
    check: &'a dyn Fn(&str) -> Vec<Diagnostic>,
    /// The faults of the whole.
    whole: HashSet<Fault>,
    /// The faults without each part that was taken out.
    known: HashMap<(usize, usize), HashSet<Fault>>,
    /// How many bytes may still be checked.
    left: usize,
}

impl Trials<'_> {
    /// The faults without a part; none where that is not looked at any more.
    fn without(&mut self, part: Span) -> Option<&HashSet<Fault>> {
        let key = (part.start, part.end);
        if !self.known.contains_key(&key) {
            if self.text.len() > LONGEST {
                return None;
            }
            self.left = self.left.checked_sub(self.text.len())?;
            let (before, after) = (self.text.get(..part.start)?, self.text.get(part.end..)?);
            let faults = (self.check)(&format!("{before}{after}")).iter().map(Fault::of).collect();
            self.known.insert(key, faults);
        }
        self.known.get(&key)
    }

    fn has(&mut self, fault: &Fault, without: Span) -> Option<bool> {
        Some(self.without(without)?.contains(fault))
    }

    /// The first of some parts without which the fault is gone. One that is missed then, so that
    /// there is another fault, is the second choice. `Some(None)` where no part alone will do.
    fn cure<T: Copy>(
        &mut self,
        fault: &Fault,
        parts: impl Iterator<Item = (T, Span)>,
    ) -> Option<Option<T>> {
        let mut second = None;
        for (part, span) in parts {
            if self.has(fault, span)? {
                continue;
            }
            let faults = self.known.get(&(span.start, span.end))?;
            if faults.is_subset(&self.whole) {
                return Some(Some(part));
            }
            second = second.or(Some(part));
        }
        Some(second)
    }

    /// The innermost element or value at fault; none where there is too much to look at.
    fn place(&mut self, root: Element<'_>, fault: &Fault) -> Option<Span> {
        let mut el = root;
        while let Some(child) = self.child_at_fault(el, fault)? {
            el = child;
        }
        // Something is missing, or the values do not go together: one that is named is the best place.
        if let Some(span) = only_quoted(el, &fault.message) {
            return Some(span);
        }
        // The value is between quotes.
        let attrs = el.attrs().rev().map(|attr| {
            let end = attr.value_span().end.saturating_add(1);
            (attr.value_span(), Span { start: attr.name_span().start, end })
        });
        match self.cure(fault, attrs)? {
            Some(value) => Some(value),
            None if el.children().next().is_none() && !el.text().trim().is_empty() => {
                Some(el.text_span())
            }
            None => Some(el.name_span()),
        }
    }

    /// The child that an element's fault lies in: the last without which it is gone. Of the parts of a
    /// whole document devices are asked first, as much about them depends on machine and architecture.
    fn child_at_fault<'d>(
        &mut self,
        el: Element<'d>,
        fault: &Fault,
    ) -> Option<Option<Element<'d>>> {
        let mut children: Vec<_> = el.children().collect();
        if children.len() <= FEW {
            children.reverse();
            children.sort_by_key(|child| !child.is("devices", None));
            let parts = children.into_iter().map(|child| (child, child.full_span()));
            if let Some(child) = self.cure(fault, parts)? {
                return Some(Some(child));
            }
        }
        self.last_needed(el, fault)
    }

    /// The child with which the fault comes, one after the other being added.
    fn last_needed<'d>(&mut self, el: Element<'d>, fault: &Fault) -> Option<Option<Element<'d>>> {
        let children: Vec<_> = el.children().collect();
        let (Some(first), Some(last)) = (children.first(), children.last()) else {
            return Some(None);
        };
        let end = last.full_span().end;
        if self.has(fault, Span { start: first.full_span().start, end })? {
            return Some(None);
        }
        // With so many of them the fault is not there, with so many it is.
        let (mut without, mut with) = (0, children.len());
        while without + 1 < with {
            let middle = without.midpoint(with);
            let start = children.get(middle)?.full_span().start;
            if self.has(fault, Span { start, end })? {
                with = middle;
            } else {
                without = middle;
            }
        }
        Some(children.get(without).copied())
    }
}

/// The place of the only attribute or text whose value the message quotes. A message that quotes
/// nothing, or what stands in several places, has none.
fn only_quoted(el: Element<'_>, message: &str) -> Option<Span> {
    quoted(message).into_iter().find_map(|word| only(el, word))
}

/// The words in quotes.
fn quoted(message: &str) -> Vec<&str> {
    message.split('\'').skip(1).step_by(2).filter(|w| !w.is_empty()).collect()
}

/// The place of a value that stands in the element once.
fn only(el: Element<'_>, word: &str) -> Option<Span> {
    let mut places = Vec::new();
    collect(el, word, &mut places);
    match places.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

fn collect(el: Element<'_>, word: &str, places: &mut Vec<Span>) {
    // Two are as good as many.
    if places.len() > 1 {
        return;
    }
    places.extend(el.attrs().filter(|a| a.value() == word).map(|a| a.value_span()));
    let mut leaf = true;
    for child in el.children() {
        leaf = false;
        collect(child, word, places);
    }
    if leaf && el.text().trim() == word {
        places.push(el.text_span());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diag::{ErrorCode, Severity};

    fn fault(message: &str) -> Diagnostic {
        Diagnostic {
            rule: "r",
            severity: Severity::Error,
            code: ErrorCode::XML_ERROR,
            span: None,
            message: message.to_owned(),
            domain: None,
            hints: Vec::new(),
        }
    }

    #[test]
    fn a_value_that_stands_once_is_found() {
        let text = "<a b='x'><c>yy</c><d e='z'/><d e='z'/></a>";
        for (message, expected) in [
            ("'x' is wrong", Some("x")),
            ("the 'z' of 'yy'", Some("yy")),
            ("'z'", Some("a")),
            ("nothing", Some("a")),
        ] {
            let mut found = [fault(message)];
            find(text, &mut found, &|_| vec![fault(message)]);
            let place = found[0].span.map(|s| &text[s.start..s.end]);
            assert_eq!(place, expected, "{message}");
        }
    }

    #[test]
    fn what_a_fault_needs_is_found() {
        let text = "<a><o k='z'/><devices><d e='z'/><d e='y'/><d><f g='z' h='i'>t</f></d><d e='z'/>\
                    </devices><p/></a>";
        // (words without which there is no fault, its place)
        for (needs, expected) in [
            (&["e='y'"][..], "y"),
            (&["f g"], "z"),
            (&["g='z'"], "z"),
            (&["g='z'", "h='i'"], "i"),
            (&["<o", "e='y'"], "y"),
            (&["e='z'", "e='y'"], "y"),
            (&["<o"], "o"),
            (&["<o", "<p"], "p"),
            (&["<devices"], "devices"),
            (&["<a"], "a"),
        ] {
            let check = |text: &str| {
                let there = needs.iter().all(|part| text.contains(part));
                there.then(|| fault("no word")).into_iter().collect()
            };
            let mut found = [fault("no word")];
            find(text, &mut found, &check);
            let place = found[0].span.map(|s| &text[s.start..s.end]);
            assert_eq!(place, Some(expected), "{needs:?}");
        }
    }

    #[test]
    fn what_is_missed_when_it_is_gone_is_not_at_fault() {
        let text = "<a><devices><d><s/><t/></d></devices></a>";
        let check = |text: &str| match (text.contains("<t/>"), text.contains("<s/>")) {
            (true, true) => vec![fault("s is wrong")],
            (false, _) if text.contains("<d>") => vec![fault("t is missing")],
            _ => Vec::new(),
        };
        let mut found = check(text);
        find(text, &mut found, &check);
        let place = found[0].span.map(|s| &text[s.start..s.end]);
        assert_eq!(place, Some("s"));
    }

    #[test]
    fn no_more_is_checked_than_is_allowed() {
        let devices = "<d e='1'/>".repeat(20_000);
        let text = format!("<a><devices>{devices}</devices></a>");
        let bytes = std::cell::Cell::new(0);
        let check = |text: &str| -> Vec<Diagnostic> {
            bytes.set(bytes.get() + text.len());
            let there = text.contains("<d ");
            (0..1000).filter(|_| there).map(|at| fault(&format!("fault {at}"))).collect()
        };
        let mut found = check(&text);
        bytes.set(0);
        find(&text, &mut found, &check);
        assert!(bytes.get() <= MOST, "{}", bytes.get());
    }
}
