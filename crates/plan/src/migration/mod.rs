//! Migration: what is set on QEMU's side.

mod file;
mod params;

pub use file::{FileMigration, file_uri, packer};
pub use params::{ParamValue, Params};
