//! Domains: tables, jobs, definitions on disk, and the running ones with their actors.

mod define;
mod grants;
mod guest_events;
pub mod job;
mod launch;
mod links;
mod load;
mod power;
mod qemu_log;
mod query;
mod reattach;
pub mod record;
pub mod registry;
mod results;
mod start;
mod status;
mod steps;
pub mod store;
mod teardown;
mod threads;
pub mod view;
pub mod vm;

pub(crate) use define::refuse_faults;
pub use define::{DefineOptions, UndefineOptions};
pub use power::PowerModes;
pub use query::{ListFilter, XmlOptions};
pub use record::{Domain, Snapshot, Summary};
pub use start::StartOptions;
