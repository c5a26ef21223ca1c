//! Errors of the storage driver.

use diag::{ErrorCode, ErrorDomain, SourceText, VirError};
use model::storage::PoolType;
use std::io;
use units::Uuid;
use xml::Parsed;

/// An error that the storage driver reports.
pub fn storage(code: ErrorCode, detail: impl Into<String>) -> VirError {
    VirError::new(code, detail).from_domain(ErrorDomain::STORAGE)
}

/// An error of the operating system: `what` failed, for the reason `error`.
pub fn system(what: impl Into<String>, error: &io::Error) -> VirError {
    let words = crate::domain::stored::store::os_words(error);
    storage(ErrorCode::SYSTEM_ERROR, format!("{}: {words}", what.into()))
}

pub fn no_pool_named(name: &str) -> VirError {
    storage(ErrorCode::NO_STORAGE_POOL, format!("no storage pool with matching name '{name}'"))
}

pub fn no_pool_uuid(uuid: Uuid) -> VirError {
    storage(ErrorCode::NO_STORAGE_POOL, format!("no storage pool with matching uuid '{uuid}'"))
}

pub fn no_volume(what: &str, value: &str) -> VirError {
    storage(ErrorCode::NO_STORAGE_VOL, format!("no storage vol with matching {what} '{value}'"))
}

pub fn not_active(name: &str) -> VirError {
    storage(ErrorCode::OPERATION_INVALID, format!("storage pool '{name}' is not active"))
}

pub fn already_active(name: &str) -> VirError {
    storage(ErrorCode::OPERATION_INVALID, format!("storage pool '{name}' is already active"))
}

pub fn still_active(name: &str) -> VirError {
    storage(ErrorCode::OPERATION_INVALID, format!("storage pool '{name}' is still active"))
}

/// Says that pools of this type are kept but not carried out.
pub fn not_carried_out(kind: PoolType, what: &str) -> VirError {
    storage(
        ErrorCode::CONFIG_UNSUPPORTED,
        format!("{what} storage pools of type '{kind}' is not supported"),
    )
    .hint("Pools of type 'dir' are supported: mount the storage and make a pool of the folder.")
}

/// The value that was read, or the error for what is wrong; `validate` makes unknown content wrong.
pub fn accepted<T>(parsed: Parsed<T>, text: &str, validate: bool) -> Result<T, VirError> {
    let Parsed { value, mut diagnostics } = parsed;
    if validate {
        for diagnostic in &mut diagnostics {
            if diagnostic.severity == diag::Severity::Warning {
                diagnostic.severity = diag::Severity::Error;
                diagnostic.code = ErrorCode::XML_INVALID_SCHEMA;
            }
        }
    }
    let refused = diagnostics.iter().any(|d| d.severity == diag::Severity::Error);
    match value.filter(|_| !refused) {
        Some(value) => {
            for diagnostic in &diagnostics {
                tracing::warn!(message = %diagnostic.message, "storage XML");
            }
            Ok(value)
        }
        None => {
            let source = SourceText::new("xml", text);
            let error =
                VirError::from_diagnostics(ErrorDomain::STORAGE, diagnostics, Some(&source));
            Err(error)
        }
    }
}
