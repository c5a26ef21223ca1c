//! One fault, with its place and its cure.

use crate::{ErrorCode, ErrorDomain};

/// A range of bytes in the text that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Severity {
    /// Accepted, but the user should know (unknown content that is left out, for example).
    Warning,
    /// Refused.
    Error,
}

/// One fault found in an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Stable name of the rule, e.g. `xml.unknown-attribute`.
    pub rule: &'static str,
    /// Warning or error.
    pub severity: Severity,
    /// libvirt's number for the fault, used when this is the one reported on the wire.
    pub code: ErrorCode,
    /// Which part of libvirt reports it; `None` for the part that reads such documents.
    pub domain: Option<ErrorDomain>,
    /// Where in the text, if it stands in a text.
    pub span: Option<Span>,
    /// What is wrong, naming the element, the value and the rule.
    pub message: String,
    /// What to do about it ("did you mean `virtio`?"), each a sentence.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// The part that reports it, when that is known: the fault's own, else the one whose words they
    /// are. libvirt's helpers for XML values, bit sets and sizes report for themselves.
    pub fn reporter(&self) -> Option<ErrorDomain> {
        let of_xml = ["Invalid value for attribute '", "Missing required attribute '"]
            .iter()
            .any(|words| self.message.starts_with(words))
            || self.message.starts_with("Invalid value '")
                && self.message.contains("' for element or attribute '")
            || self.message.starts_with("missing element or attribute '");
        let of_none = [
            "unknown suffix '",
            "Failed to parse bitmap '",
            "value too large: ",
            "floor attribute is not supported",
        ]
        .iter()
        .any(|words| self.message.starts_with(words));
        match self.domain {
            Some(domain) => Some(domain),
            None if of_xml && self.code == ErrorCode::XML_ERROR => Some(ErrorDomain::XML),
            None if of_none => Some(ErrorDomain::NONE),
            None => None,
        }
    }
}
