//! The guest agent: the line to it, questions, what it tells, freezes left behind.

pub mod calls;
pub(in crate::domain) mod freezes;
pub mod info;
pub mod link;
