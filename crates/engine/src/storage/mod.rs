//! Storage pools and their volumes.
//!
//! Each pool is a world of its own: one gate that whoever changes it passes, and a published
//! [`Snapshot`] that readers take without waiting. The table of pools holds names and UUIDs only;
//! no operation on it touches a pool's folder, so that a mount that hangs holds up nobody but the
//! users of that very pool.
//!
//! Pools of type `dir` are carried out. Pools of all other types are kept, listed and shown;
//! starting one is refused.

mod create;
mod define;
mod dir;
mod error;
mod images;
mod load;
mod power;
pub(crate) mod probe;
mod query;
mod record;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod volume;

pub use create::VolumeFlags;
pub use define::CreateOptions;
pub(crate) use dir::open as open_image;
pub use images::BuildOptions;
pub use probe::fuzz_one;
pub use query::{PoolInfo, VolumeInfo, unsupported_flags};
pub use record::{Pool, Snapshot, Volumes};
pub use transfer::{Download, Piece, Upload};
pub use volume::Place;

use crate::domain::stored::store::Store;
use crate::events::{Event, EventBus, PoolEvent, PoolRef};
use crate::layout::Layout;
use model::storage::PoolType;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use table::Table;

/// All storage pools. Clones are the same pools.
#[derive(Clone, Debug)]
pub struct Pools(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    run: PathBuf,
    events: Arc<EventBus>,
    table: RwLock<Table>,
    /// Held by whoever adds a pool or takes one away, from the check for duplicates to the end.
    changes: tokio::sync::Mutex<()>,
}

impl Pools {
    /// No pools yet; [`Pools::load`] reads them.
    pub fn new(layout: &Layout, events: &Arc<EventBus>) -> Self {
        Self(Arc::new(Inner {
            store: Store::pools(layout),
            run: layout.pool_run(),
            events: Arc::clone(events),
            table: RwLock::default(),
            changes: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether pools of this type can be started.
    pub fn supports(kind: PoolType) -> bool {
        kind == PoolType::Dir
    }

    /// What kinds of pools there are, as XML.
    pub fn capabilities(&self) -> String {
        model::storage::pool_capabilities(Self::supports)
    }

    fn tell(&self, pool: &Pool, event: PoolEvent) {
        let who = PoolRef { name: Arc::clone(&pool.name), uuid: pool.uuid };
        self.0.events.publish(&Event::Pool(who, event));
    }

    /// The file that says a pool is active, and as what.
    fn state_file(&self, name: &str) -> PathBuf {
        self.0.run.join(format!("{name}.xml"))
    }
}

/// Numbers of `virStoragePoolEventLifecycleType`.
mod lifecycle {
    use crate::events::PoolEvent;
    pub const DEFINED: PoolEvent = PoolEvent::Lifecycle(0);
    pub const UNDEFINED: PoolEvent = PoolEvent::Lifecycle(1);
    pub const STARTED: PoolEvent = PoolEvent::Lifecycle(2);
    pub const STOPPED: PoolEvent = PoolEvent::Lifecycle(3);
    pub const CREATED: PoolEvent = PoolEvent::Lifecycle(4);
    pub const DELETED: PoolEvent = PoolEvent::Lifecycle(5);
}
