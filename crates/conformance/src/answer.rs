//! What is answered.

use diag::{Diagnostic, ErrorDomain, Severity, SourceText, VirError};
use serde_json::{Value, json};

/// An answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// Done; the operation's output.
    Out(Value),
    /// The input is refused, with the error a client would see.
    Refused(VirError),
    /// This operation, or this form of its input, is not implemented.
    Unsupported,
}

impl Answer {
    /// Output that is a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Out(Value::String(text.into()))
    }

    /// Refused for these findings.
    pub fn refused(diagnostics: Vec<Diagnostic>, text: &str) -> Self {
        let source = SourceText::new("(input)", text);
        Self::Refused(VirError::from_diagnostics(ErrorDomain::DOMAIN, diagnostics, Some(&source)))
    }

    /// A request that is wrong in itself.
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::Refused(VirError::invalid_arg(message))
    }

    /// As a line of the protocol.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Out(out) => json!({"ok": true, "out": out}),
            Self::Refused(error) => {
                json!({"ok": false, "err": error.message(), "code": error.code.0})
            }
            Self::Unsupported => json!({"ok": false, "unsupported": true}),
        }
    }
}

impl From<VirError> for Answer {
    fn from(error: VirError) -> Self {
        Self::Refused(error)
    }
}

/// The value, or the answer that refuses the text for its errors.
pub fn accepted<T>(
    value: Option<T>,
    diagnostics: Vec<Diagnostic>,
    text: &str,
) -> Result<T, Answer> {
    let failed = diagnostics.iter().any(|finding| finding.severity == Severity::Error);
    match value {
        Some(value) if !failed => Ok(value),
        _ => Err(Answer::refused(diagnostics, text)),
    }
}

/// For `fn(&Request) -> Result<Answer, Answer>`.
pub fn either(result: Result<Answer, Answer>) -> Answer {
    result.unwrap_or_else(|refusal| refusal)
}
