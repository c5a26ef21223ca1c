//! Where in the text a fault lies that was found in the values read from it.

use diag::{Diagnostic, Span};
use xml::{Document, Element};

/// Gives faults without a place one: that of the only attribute or text whose value the message
/// quotes. A message that quotes nothing, or what stands in several places, stays without.
pub fn find(text: &str, found: &mut [Diagnostic]) {
    if found.iter().all(|d| d.span.is_some()) {
        return;
    }
    let Ok(doc) = Document::parse(text) else { return };
    for d in found.iter_mut().filter(|d| d.span.is_none()) {
        d.span = quoted(&d.message).into_iter().find_map(|word| only(&doc, word));
    }
}

/// The words in quotes.
fn quoted(message: &str) -> Vec<&str> {
    message.split('\'').skip(1).step_by(2).filter(|w| !w.is_empty()).collect()
}

/// The place of a value that stands in the document once.
fn only(doc: &Document<'_>, word: &str) -> Option<Span> {
    let mut places = Vec::new();
    collect(doc.root(), word, &mut places);
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

    #[test]
    fn a_value_that_stands_once_is_found() {
        let text = "<a b='x'><c>yy</c><d e='z'/><d e='z'/></a>";
        for (message, expected) in [
            ("'x' is wrong", Some("x")),
            ("the 'z' of 'yy'", Some("yy")),
            ("'z'", None),
            ("nothing", None),
        ] {
            let mut found = [Diagnostic {
                rule: "r",
                severity: Severity::Error,
                code: ErrorCode::XML_ERROR,
                span: None,
                message: message.to_owned(),
                domain: None,
                hints: Vec::new(),
            }];
            find(text, &mut found);
            let place = found[0].span.map(|s| &text[s.start..s.end]);
            assert_eq!(place, expected, "{message}");
        }
    }
}
