//! libvirt's objects as typed values: reading, defaults, validation, writing.
pub mod backup;
pub mod capabilities;
pub mod checkpoint;
pub mod cpu;
pub mod domain;
mod file_header;
pub mod host_info;
pub mod interface;
mod moment;
pub mod network;
pub mod nodedev;
pub mod nwfilter;
mod object;
pub mod save_image;
pub mod secret;
pub mod snapshot;
pub mod storage;

pub use file_header::file_header;

/// Bytes of stack that a thread should have which reads, copies, compares, writes or drops objects of
/// libvirt's. The deepest document that is read has [`xml::parse::MAX_DEPTH`] levels; a debug build takes
/// more for them than the 2 MiB that a thread has by default.
pub const STACK_SIZE: usize = 16 << 20;
