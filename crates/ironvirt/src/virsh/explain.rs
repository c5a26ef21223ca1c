//! What is wrong with a document the user gave us, shown on standard error: line, column, caret and
//! the cure. Beside what the daemon says, which keeps libvirt's words.

use diag::{Severity, SourceText, render};
use model::domain::ParseOptions;

/// Shows everything found in a domain's XML: the faults if there is one, else what was left out.
pub fn domain(xml: &str, file: &str) {
    let found = model::domain::parse(xml, ParseOptions::default()).diagnostics;
    if !found.is_empty() {
        let source = SourceText::new(file, xml);
        eprint!("\n{}", render::human_all(&found, Some(&source)));
    }
}

/// Shows what of a domain's XML that was accepted is unknown and was left out.
pub fn left_out(xml: &str, file: &str) {
    let found = model::domain::parse(xml, ParseOptions::default()).diagnostics;
    let unknown: Vec<_> = found.into_iter().filter(|d| d.severity == Severity::Warning).collect();
    if !unknown.is_empty() {
        let source = SourceText::new(file, xml);
        eprint!("{}", render::human_all(&unknown, Some(&source)));
    }
}
