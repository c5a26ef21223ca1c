//! One device that cannot be read must not make the checks of the others complain.

use std::path::{Path, PathBuf};

use diag::Severity;
use model::domain::{ParseOptions, parse};
use xml::Document;

fn guests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            guests(&path, found);
        } else if path.extension().is_some_and(|e| e == "xml") {
            found.push(path);
        }
    }
}

/// The faults of a text.
fn faults(text: &str) -> Vec<String> {
    let found = parse(text, ParseOptions::default()).diagnostics;
    found.into_iter().filter(|d| d.severity == Severity::Error).map(|d| d.message).collect()
}

/// How many faults the reading alone finds.
fn reading(text: &str) -> usize {
    let found = parse(text, ParseOptions { live: true }).diagnostics;
    found.iter().filter(|d| d.severity == Severity::Error).count()
}

#[test]
fn each_device_broken_in_turn_is_one_fault() {
    let mut paths = Vec::new();
    guests(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")), &mut paths);
    guests(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../plan/tests")), &mut paths);
    let (mut broken, mut wrong) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a text");
        let Ok(doc) = Document::parse(&text) else { continue };
        if !doc.root().is("domain", None) || parse(&text, ParseOptions::default()).domain.is_none()
        {
            continue;
        }
        let devices = doc.root().child("devices");
        for part in doc.root().children().chain(devices.iter().flat_map(|d| d.children())) {
            let (whole, name) = (part.full_span(), part.name());
            let inside = part.source().strip_suffix(&format!("</{name}>"));
            // An address of no kind; a number that is none.
            let with_address = inside.map(|i| format!("{i}<address type='broken'/></{name}>"));
            for bad in with_address.into_iter().chain([format!("<{name}>!</{name}>")]) {
                let bad = format!("{}{bad}{}", &text[..whole.start], &text[whole.end..]);
                let found = faults(&bad);
                // An element may have no address, one already, or any text.
                let at_fault = !found.is_empty();
                broken += usize::from(at_fault);
                if at_fault && reading(&bad) != found.len() {
                    wrong.push((path.clone(), name.to_owned(), found));
                }
            }
        }
    }
    assert!(broken > 100, "{broken}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
