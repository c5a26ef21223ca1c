//! The log daemon: virtlogd's protocol and files.
//!
//! A client asks for a log to be opened and gets the writing end of a pipe, which it hands to a
//! guest. What the guest says goes into the log ([`file`], rolled over at its limit) as long as
//! anybody has that end. The daemon ends only when it is told to and no guest writes any more.

mod expire;
pub mod file;
mod pump;
mod serve;
mod service;
mod table;

pub use expire::expire;
pub use serve::{Config, Reloaded, serve};
pub use table::{Kept, Logs, Owner};
