//! What keeps a guest from starting, from running on, or from answering: found by looking, nothing is changed.

mod active;
mod insides;
mod start;

use super::record::Domain;
use crate::engine::Engine;
use diag::VirError;
use serde_json::{Value, json};
use std::sync::Arc;
use units::Uuid;

/// The "native format" under which this is asked for (as [`crate::domain::start::explain::FORMAT`]); the "XML" is the domain's UUID.
pub const FORMAT: &str = "ironvirt-why";

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// It stands in the way; else it is only worth knowing.
    pub blocks: bool,
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it; may be empty.
    pub fix: String,
}

impl Finding {
    fn blocks(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { blocks: true, what: what.into(), fix: fix.into() }
    }

    fn note(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { blocks: false, what: what.into(), fix: fix.into() }
    }

    /// A refusal that a start would meet.
    fn of_error(error: &VirError) -> Self {
        Self::blocks(error.message(), error.hints.join("; "))
    }
}

impl Engine {
    /// Says why a domain does not run or does not answer: a JSON object with `domain`, `state`, `findings` (each with
    /// `blocks`, `what` and `fix`) and `log`, the last lines QEMU wrote where it ended badly.
    ///
    /// # Errors
    /// There is no such domain.
    pub async fn why(self: &Arc<Self>, uuid: &str) -> Result<Value, VirError> {
        let uuid: Uuid = uuid
            .parse()
            .map_err(|_| VirError::invalid_arg(format!("'{uuid}' is no UUID of a domain")))?;
        let domain = self.domain_by_uuid(&uuid)?;
        let snapshot = domain.snapshot();
        let (findings, log) = if snapshot.is_active() {
            (self.why_not_running(&domain).await, Vec::new())
        } else {
            (self.why_not_starting(&domain).await, self.last_words(&domain).await)
        };
        let findings = findings.iter().map(
            |finding| json!({"blocks": finding.blocks, "what": finding.what, "fix": finding.fix}),
        );
        let status = snapshot.status;
        Ok(json!({
            "domain": &*snapshot.name,
            "state": status.state_word(),
            "reason": status.reason_word(),
            "findings": findings.collect::<Value>(),
            "log": log,
        }))
    }

    fn log_path(&self, domain: &Domain) -> std::path::PathBuf {
        self.layout.qemu_log().join(format!("{}.log", domain.snapshot().name))
    }
}
