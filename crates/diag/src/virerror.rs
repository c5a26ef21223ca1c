//! The error that leaves the system: libvirt's structure, plus hints and diagnostics as data.

use crate::{Diagnostic, ErrorCode, ErrorDomain, Severity, SourceText, render};

/// An error as libvirt's clients see it (`virError`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirError {
    /// What went wrong.
    pub code: ErrorCode,
    /// Who reports it.
    pub domain: ErrorDomain,
    /// The detail alone ("no domain with matching name 'x'"); `str2` on the wire.
    pub detail: String,
    /// The detail is the whole message.
    pub verbatim: bool,
    /// What to do about it, each a sentence.
    pub hints: Vec<String>,
    /// All faults found, for our own client.
    pub diagnostics: Vec<Diagnostic>,
}

/// Faults told after the first: enough to mend a document by, few enough for any message.
const FURTHER_FAULTS: usize = 100;

/// The rule of faults of syntax: libvirt shows those with the line they are in. Other faults may
/// have the same code.
const SYNTAX_RULE: &str = "xml.syntax";

/// The rule of a document whose root is another element.
const ROOT_RULE: &str = "xml.root";

impl VirError {
    /// An error of the QEMU driver (the most frequent reporter).
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            domain: ErrorDomain::QEMU,
            detail: detail.into(),
            verbatim: false,
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

    /// The same error whose detail is the whole message: libvirt has no sentence of the code in
    /// front of some ("unsupported flags (0x40) in function qemuDomainReset").
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.verbatim = true;
        self
    }

    /// Adds a sentence on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Texts.
impl VirError {
    /// The whole text clients print: "Domain not found: no domain with matching name 'x'".
    pub fn message(&self) -> String {
        // Where libvirt has no detail, the reader of a document has put the short text there.
        // Further faults may follow it.
        let short = self.code.short_message();
        let rest = self.detail.strip_prefix(short);
        let whole = self.verbatim || rest.is_some_and(|r| r.is_empty() || r.starts_with('\n'));
        if whole { self.detail.clone() } else { self.code.message(&self.detail) }
    }

    /// The sentence of the code, `%1$s` standing for the detail; without a detail, the short one.
    /// `str1` on the wire.
    pub fn template(&self) -> String {
        if self.verbatim {
            "%s".to_owned()
        } else if self.detail.is_empty() {
            self.code.short_message().to_owned()
        } else {
            self.code.template()
        }
    }

    /// The error for a refused input. Code and first line are those of the first error, as libvirt
    /// would have met it; all further errors follow on lines of their own in the detail. It is
    /// reported by the fault's own reporter, for a document of another kind by
    /// [`ErrorDomain::XML`], else by `domain`.
    pub fn from_diagnostics(
        domain: ErrorDomain,
        diagnostics: Vec<Diagnostic>,
        source: Option<&SourceText<'_>>,
    ) -> Self {
        let mut errors = diagnostics.iter().filter(|d| d.severity == Severity::Error);
        let Some(first) = errors.next() else {
            let mut e = Self::internal("input refused without a reason").from_domain(domain);
            e.diagnostics = diagnostics;
            return e;
        };
        let syntax = first.rule == SYNTAX_RULE;
        let reporter = if first.rule == ROOT_RULE { ErrorDomain::XML } else { domain };
        let mut detail = match (first.span, source) {
            (Some(span), Some(source)) if syntax => {
                render::parser_detail(&first.message, span, source)
            }
            // Some codes have the sentence, and the detail is but a name.
            _ => first.code.detail_of(&first.message).to_owned(),
        };
        for d in errors.by_ref().take(FURTHER_FAULTS) {
            detail.push('\n');
            if let (Some(span), Some(source)) = (d.span, source) {
                let at = source.position(span.start);
                detail.push_str(&format!("at line {}, column {}: ", at.line, at.column));
            }
            detail.push_str(&d.message);
        }
        match errors.count() {
            0 => {}
            left => detail.push_str(&format!("\nand {left} more faults")),
        }
        Self {
            code: first.code,
            domain: first.reporter().unwrap_or(reporter),
            detail,
            verbatim: false,
            hints: first.hints.clone(),
            diagnostics,
        }
    }
}

impl std::fmt::Display for VirError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for VirError {}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn diagnostic(severity: Severity, code: ErrorCode, at: usize, message: &str) -> Diagnostic {
        Diagnostic {
            rule: "x",
            severity,
            code,
            span: Some(Span { start: at, end: at + 1 }),
            message: message.into(),
            domain: None,
            hints: Vec::new(),
        }
    }

    #[test]
    fn the_first_error_speaks_and_the_others_follow() {
        let source = SourceText::new("x", "ab\ncd");
        let found = vec![
            diagnostic(Severity::Warning, ErrorCode::XML_ERROR, 0, "odd"),
            diagnostic(Severity::Error, ErrorCode::CONFIG_UNSUPPORTED, 1, "first"),
            diagnostic(Severity::Error, ErrorCode::XML_ERROR, 4, "second"),
        ];
        let e = VirError::from_diagnostics(ErrorDomain::DOMAIN, found, Some(&source));
        assert_eq!((e.code, e.domain), (ErrorCode::CONFIG_UNSUPPORTED, ErrorDomain::DOMAIN));
        assert_eq!(e.message(), "unsupported configuration: first\nat line 2, column 2: second");
        assert_eq!(e.diagnostics.len(), 3);
    }

    #[test]
    fn a_fault_of_syntax_comes_from_the_parser() {
        let source = SourceText::new("x", "foo");
        let mut d = diagnostic(Severity::Error, ErrorCode::XML_DETAIL, 0, "Start tag expected");
        d.span = Some(Span { start: 0, end: 0 });
        let plain =
            VirError::from_diagnostics(ErrorDomain::NETWORK, vec![d.clone()], Some(&source));
        assert_eq!(plain.message(), "Start tag expected");
        d.rule = SYNTAX_RULE;
        let e = VirError::from_diagnostics(ErrorDomain::DOMAIN, vec![d], Some(&source));
        assert_eq!(e.domain, ErrorDomain::DOMAIN);
        assert_eq!(e.message(), "at line 1: Start tag expected\nfoo\n^");
    }

    #[test]
    fn a_document_of_another_kind_is_a_matter_of_xml() {
        let mut d = diagnostic(Severity::Error, ErrorCode::XML_ERROR, 0, "expecting root element");
        d.rule = ROOT_RULE;
        let e = VirError::from_diagnostics(ErrorDomain::DOMAIN, vec![d], None);
        assert_eq!(e.domain, ErrorDomain::XML);
    }

    #[test]
    fn a_text_of_its_own_is_not_said_twice_when_more_follows() {
        let short = ErrorCode::NO_NAME.short_message();
        let found = vec![
            diagnostic(Severity::Error, ErrorCode::NO_NAME, 0, short),
            diagnostic(Severity::Error, ErrorCode::XML_ERROR, 0, "second"),
        ];
        let e = VirError::from_diagnostics(ErrorDomain::DOMAIN, found, None);
        assert_eq!(e.message(), format!("{short}\nsecond"));
    }
}
