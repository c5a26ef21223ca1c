//! The error that leaves the system: libvirt's structure, plus hints and diagnostics as data.

use crate::{Diagnostic, ErrorCode, ErrorDomain};

/// An error as libvirt's clients see it (`virError`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirError {
    /// What went wrong.
    pub code: ErrorCode,
    /// Who reports it.
    pub domain: ErrorDomain,
    /// The detail alone ("no domain with matching name 'x'"); `str2` on the wire.
    pub detail: String,
    /// What to do about it, each a sentence.
    pub hints: Vec<String>,
    /// All faults found, for our own client.
    pub diagnostics: Vec<Diagnostic>,
}

impl VirError {
    /// An error of the QEMU driver (the most frequent reporter).
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            domain: ErrorDomain::QEMU,
            detail: detail.into(),
            hints: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// The same error, reported by another part.
    #[must_use]
    pub fn from_domain(mut self, domain: ErrorDomain) -> Self {
        self.domain = domain;
        self
    }

    /// Adds a sentence on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Shorthands for the codes used everywhere.
impl VirError {
    /// A bug or a state that should not occur.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::INTERNAL_ERROR, detail)
    }
    /// An argument outside its domain.
    pub fn invalid_arg(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_ARG, detail)
    }
    /// Valid, but not now.
    pub fn invalid_state(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::OPERATION_INVALID, detail)
    }
    /// It was tried and did not work.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::OPERATION_FAILED, detail)
    }
    /// The configuration asks for what cannot be done.
    pub fn config(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::CONFIG_UNSUPPORTED, detail)
    }
}
