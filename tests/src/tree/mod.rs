//! What a running QEMU is made of, read back over QMP and compared with its domain's XML.
//!
//! [`Seen`] is what QEMU says. [`expect`] says what a document must have led to; it is written
//! from libvirt's documentation and QEMU's own names, and shares nothing with the planner under
//! test. [`compare`] holds the two against each other both ways: what the document names must be
//! there, and what is there must be named, or be part of the machine itself (a `bare` one of the
//! same kind shows what that is).

mod compare;
mod controllers;
mod expect;
mod kinds;
mod monitor;
mod seen;
mod storage;

pub use compare::{Tally, compare};
pub use monitor::Monitor;
pub use seen::{Object, Seen};
