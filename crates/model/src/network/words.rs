//! The last touch of a diagnostic: words that need what only the whole document says.

use diag::Diagnostic;
use xml::Element;

use super::virtualport::number_words;
use crate::object::path_to;

/// Where a network's name belongs in a message.
const NETWORK: &str = "{network}";

/// Puts the network's name into a message.
pub(super) fn name(d: &mut Diagnostic, network: &str) {
    if d.message.contains(NETWORK) {
        d.message = d.message.replace(NETWORK, network);
    }
}

/// Completes a diagnostic of a document whose root is a network.
pub(super) fn refine(root: Element<'_>, d: &mut Diagnostic) {
    refine_part(root, d);
    if d.message.contains(NETWORK) {
        name(d, &root.child("name").map(|el| el.string_value()).unwrap_or_default());
    }
}

/// Completes a diagnostic as far as the part that was read allows.
pub(super) fn refine_part(root: Element<'_>, d: &mut Diagnostic) {
    let refined = |m: &str| m.contains('{') || m.ends_with("must be yes or no");
    if d.rule != "xml.invalid-value" || !refined(&d.message) {
        return;
    }
    let path = path_to(root, d);
    let Some(el) = path.last() else { return };
    if el.is("vlan", None) && el.children().filter(|c| c.is("tag", None)).count() > 1 {
        let more = "trunk='yes' is required for more than one vlan tag";
        d.message = d.message.replace("must be yes or no", more);
    }
    if d.message.contains("{service}") {
        d.message = d.message.replace("{service}", el.attr("service").unwrap_or_default());
    }
    for attribute in ["managerid", "typeid", "typeidversion"] {
        if d.message == format!("{{{attribute}}}") {
            d.message = number_words(attribute, el.attr(attribute).unwrap_or_default());
        }
    }
}
