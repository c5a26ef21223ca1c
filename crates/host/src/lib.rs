//! The effects: processes, files, sockets, cgroups.
//!
//! Everything Ironvirt does to the machine goes through this crate (and `host-sys` below it for the
//! few calls without a safe wrapper). It holds mechanism only: which path, which user, which limit
//! is decided above. Functions that may block on a disk are plain functions, for a blocking thread;
//! async ones say so by their signature.

pub mod access;
pub mod addresses;
pub mod agent;
pub mod cgroup;
pub mod dbus;
pub mod direct;
pub mod facts;
pub mod files;
mod folder_sync;
mod journal;
pub mod lock;
pub mod lock_daemon;
pub mod log_daemon;
pub mod logind;
pub mod machined;
pub mod monitor;
mod mounts;
pub mod netdev;
pub mod netlink;
pub mod notify;
pub mod openers;
pub mod own_dev;
mod peer_call;
pub mod probe;
pub mod process;
pub mod pty;
pub mod rx_filter;
mod scm;
pub mod script;
pub mod spawn;
pub mod traffic;
pub mod users;
pub mod vsock;
