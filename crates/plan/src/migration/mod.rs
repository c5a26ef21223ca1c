//! Migration: what is set on QEMU's side.

mod params;

pub use params::{ParamValue, Params};
