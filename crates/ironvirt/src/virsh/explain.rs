//! What is wrong with a document the user gave us, shown on standard error: line, column, caret and
//! the cure. Below what the daemon says, which keeps libvirt's words.

use diag::{Diagnostic, Severity, SourceText, render};

/// Everything found in a document: the faults if there is one, else what was left out.
pub fn faults(xml: &str) -> Vec<Diagnostic> {
    let read = super::document::read(xml);
    // The part of an object (a device to attach) is no document of its own.
    if read.kind.is_some() { read.diagnostics } else { Vec::new() }
}

/// The daemon's message without the further faults that our daemon puts on lines of their own, as
/// far as `found` shows them anyway.
pub fn first_fault<'a>(message: &'a str, found: &[Diagnostic]) -> &'a str {
    let mut end = None;
    for (at, _) in message.match_indices('\n') {
        let line = message.get(at + 1..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let shown = found.iter().any(|d| {
            line.strip_suffix(d.message.as_str())
                .is_some_and(|place| place.is_empty() || place.starts_with("at line "))
        });
        let counted =
            !found.is_empty() && line.starts_with("and ") && line.ends_with(" more faults");
        match (shown || counted, end) {
            (true, None) => end = Some(at),
            (true, Some(_)) => {}
            // A line that is shown nowhere else stays, and so does what stands before it.
            (false, _) => end = None,
        }
    }
    message.get(..end.unwrap_or(message.len())).unwrap_or(message)
}

/// Prints pictures of what was found.
pub fn show(found: &[Diagnostic], xml: &str, file: &str) {
    if !found.is_empty() {
        let source = SourceText::new(file, xml);
        eprint!("\n{}", render::human_all(found, Some(&source)));
    }
}

/// Shows what of an accepted document is unknown and was left out.
pub fn left_out(xml: &str, file: &str) {
    let mut unknown = faults(xml);
    unknown.retain(|d| d.severity == Severity::Warning);
    if !unknown.is_empty() {
        let source = SourceText::new(file, xml);
        eprint!("{}", render::human_all(&unknown, Some(&source)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_faults_are_cut_when_they_are_shown_below() {
        let xml = "<domain type='qemu'><name>a</name><memory>x</memory><vcpu>y</vcpu>\
                   <os><type>hvm</type></os></domain>";
        let found = faults(xml);
        let second = found.get(1).map(|d| d.message.clone()).unwrap_or_default();
        let message = format!("XML error: first\nat line 1, column 9: {second}\nand 3 more faults");
        for (message, expected) in [
            (message.as_str(), "XML error: first"),
            ("first\nsomething else", "first\nsomething else"),
            ("first", "first"),
        ] {
            assert_eq!(first_fault(message, &found), expected);
        }
        let mixed = format!("first\n{second}\nnot known here");
        assert_eq!(first_fault(&mixed, &found), mixed);
        assert_eq!(first_fault(&message, &[]), message);
    }
}
