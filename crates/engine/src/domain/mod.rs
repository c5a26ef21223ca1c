//! Domains: tables, jobs, definitions on disk, and the running ones with their actors.

mod adopt;
pub mod affect;
pub mod agent;
mod descriptors;
pub mod devices;
mod disk_locks;
pub mod hardware;
mod host_bus;
pub mod host_stop;
pub mod job;
mod keepers;
mod native;
mod power;
mod query;
pub mod record;
pub mod registry;
pub mod rehearse;
pub mod save;
pub mod seat;
pub mod start;
pub mod stats;
pub mod stored;
mod tuning;
pub mod view;
pub mod vm;
pub mod why;

pub use agent::freezes::Freezes;
pub use descriptors::HandedIn;
pub use power::PowerModes;
pub use query::{ListFilter, XmlOptions};
pub use record::{Domain, Snapshot, Summary};
pub use save::{DumpOptions, RestoreOptions, SaveOptions};
pub use start::StartOptions;
pub(crate) use stored::define::refuse_faults;
pub use stored::define::{DefineOptions, UndefineOptions};
