//! All command handlers under one name, for the registry's tables.

pub use super::domain::*;
pub use super::hostcmds::*;
pub use super::session::*;
pub use super::storage::*;
