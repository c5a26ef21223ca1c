//! Object + capabilities + host facts → steps, as data.
//!
//! A plan is immutable: an ordered list of [`Step`]s with *named results* that later steps refer
//! to, each with what takes it back. Executing a plan fills in the results and makes no further
//! choices, so `--dry-run`, `explain` and the golden tests are all "print the plan"
//! (`Display`).
//!
//! Invariant: no I/O, no clock, no randomness; everything outside comes in as a parameter.

mod because;
pub mod block;
mod command;
mod display;
mod host_end;
mod hot_plan;
pub mod io_limits;
mod launch_plan;
pub mod limits;
pub mod migration;
pub mod network;
pub mod nodedev;
pub mod nwfilter;
mod props;
pub mod qemu;
pub mod secret;
mod step;
pub mod storage;
mod traffic;

pub use because::{Because, Explained, Place, Reasons, Subject};
pub use command::Command;
pub use host_end::{HostAddress, HostRoute, PortVlans, coalesced_frames};
pub use hot_plan::{HotCommand, PlugPlan, UnplugPlan};
pub use launch_plan::{LaunchPlan, MonitorPlan};
pub use props::Props;
pub use step::*;
pub use traffic::{Traffic, TrafficLimit};
