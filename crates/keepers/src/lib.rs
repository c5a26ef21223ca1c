//! Small daemons that outlive the main one and keep what guests must not lose with it.
//!
//! [`log`] has the far ends of the pipes that guests write their logs into (libvirt's virtlogd). It
//! is its own process so that the main daemon may end, crash and be replaced while guests write on,
//! and it replaces itself ([`reexec`]) without closing a pipe. [`lock`] holds the locks of guests'
//! disks (libvirt's virtlockd), and does so over the same.

mod doors;
pub mod lock;
pub mod log;
pub mod reexec;
