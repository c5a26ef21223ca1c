//! One fault, with its place and its cure.

use crate::ErrorCode;

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
    /// Where in the text, if it stands in a text.
    pub span: Option<Span>,
    /// What is wrong, naming the element, the value and the rule.
    pub message: String,
    /// What to do about it ("did you mean `virtio`?"), each a sentence.
    pub hints: Vec<String>,
}
