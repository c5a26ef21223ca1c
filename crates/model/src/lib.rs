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
