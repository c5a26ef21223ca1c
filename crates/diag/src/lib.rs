//! Diagnostics and libvirt's error structure: what went wrong, where, and what to do.
//!
//! Invariant: no I/O, no terminal. A [`Diagnostic`] is data; renderers turn it into text.

mod code;
mod diagnostic;
mod message;
mod names;
pub mod render;
mod source;
mod virerror;

pub use code::{ErrorCode, ErrorDomain};
pub use diagnostic::{Diagnostic, Severity, Span};
pub use source::{Position, SourceText};
pub use virerror::VirError;
