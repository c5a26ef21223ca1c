//! All command handlers under one name, for the registry's tables.

pub use super::domain::*;
pub use super::hostcmds::*;
pub use super::moments::*;
pub use super::network::*;
pub use super::objects::*;
pub use super::session::*;
pub use super::storage::*;
