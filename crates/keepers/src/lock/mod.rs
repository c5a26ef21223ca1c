//! The lock daemon: virtlockd's protocol.
//!
//! It holds locks (fcntl, on the first byte) of disk images, or of files that stand for them, as
//! long as the guest runs that they were taken for: the connection that a guest's process made, or
//! the end of that process, tells. Two hosts that share the files exclude each other, and so do the
//! guests of one host.

mod serve;
mod service;
mod table;

pub use serve::{Config, serve};
pub use table::{KeptLock, KeptSpace, LockError, Locks};
