//! Storage: what activates a pool and what makes a volume, as commands.
//!
//! Sources: mount(8), vgchange(8), qemu-img(1), and the commands that libvirt 11.3 reports when they
//! fail.

mod image;
mod pool;
mod volume;

pub use pool::start_pool;
pub use volume::{Image, VolumeOptions, create_volume};
