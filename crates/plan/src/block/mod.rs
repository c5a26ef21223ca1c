//! QEMU's block layer: images as graphs of nodes.
//!
//! An [`Image`] is one link of a disk's chain: where its bytes lie, in which format, and with
//! which options it is opened. [`storage`], [`slice`] and [`format`] turn it into the objects that
//! `-blockdev` and `blockdev-add` take; [`overlay`] says how an overlay names it in its header, and
//! [`json`] reads such names back. [`create`] makes new images and [`bitmap`] follows dirty
//! bitmaps through a chain. The same functions serve a cold start, hot-plug and block jobs.

mod access;
pub mod bitmap;
mod chain;
pub mod create;
mod format;
mod image;
pub mod json;
mod overlay;
mod server;
mod storage;

pub use chain::{Chain, cache_mode, names_something};
pub use format::{format, format_driver, slice, storage_node};
pub use image::{FdSet, Image, ImageOptions, Objects, server_ids};
pub use overlay::{overlay, source_only};
pub use storage::{BlockError, Purpose, storage};
pub(crate) use storage::{cookie_header, url};
