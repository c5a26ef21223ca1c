//! Persistent definitions: made, changed, kept on disk, read when the daemon starts.

pub(in crate::domain) mod actions;
pub(in crate::domain) mod define;
pub(in crate::domain) mod load;
pub mod metadata;
pub mod store;
