//! Entry point for the fuzzer.

use crate::{Document, RawElement};

/// Reads arbitrary bytes; what is accepted must survive writing and reading again.
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(doc) = Document::parse(text) else { return };
    let raw = RawElement::from_element(doc.root());
    let written = raw.to_xml();
    if let Ok(again) = RawElement::parse(&written) {
        assert_eq!(again.to_xml(), written);
    }
}
