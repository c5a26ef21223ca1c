//! libvirt's wire: frames, server connections, client.
//!
//! * [`client`]: the synchronous client that commands use.
//! * [`frame`]: the 28-byte frame and its limits, incremental reading, writing.
//! * [`fault`]: the error structure of the wire, and the errors the transport itself reports.
//! * [`server`]: listeners and connections, generic over a [`server::Service`] that knows the procedures.
//!
//! This crate moves frames; it knows no procedure but the two of the keepalive program.

pub mod client;
pub mod fault;
pub mod frame;
pub mod server;
