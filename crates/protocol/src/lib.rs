//! libvirt's RPC programs: procedures and typed messages.
//!
//! * [`remote`], [`qemu`], [`lxc`], [`admin`], [`log`], [`lockspace`], [`keepalive`]: one module per program with its number, its messages
//!   (`remote::DomainCreateXmlArgs`), its calls as types (`remote::procs::DomainCreateXml`), its events
//!   (`remote::events::…`), the enum of all procedures and a table of facts ([`info()`]). All generated from the
//!   interface table in `interface/` by `cargo run -p xtask -- protocol`.
//! * [`consts`]: the public constants of libvirt's headers, generated in the same way.
//! * [`message`]: what frames consist of. [`TypedParam`], [`WireError`]: used by all programs.
//!
//! Invariant: no sockets, no I/O.

mod error;
#[doc(hidden)]
pub mod fuzzing;
#[rustfmt::skip]
mod generated;
pub mod info;
pub mod message;
mod procedure;
mod typed_param;

pub use error::{UnknownProcedure, WireError};
pub use generated::{admin, consts, keepalive, lockspace, log, lxc, qemu, remote};
pub use info::{ProcedureInfo, info};
pub use procedure::{Event, Procedure};
pub use typed_param::{ParamValue, TypedParam, TypedParamValue, TypedParams};

/// A UUID: 16 packed bytes on the wire.
pub type Uuid = [u8; 16];

/// The API level that we speak and report: 11.3.0 as major * 1,000,000 + minor * 1,000 + micro.
pub const API_VERSION: u64 = 11_003_000;

/// Most bytes of any string on the wire.
pub const STRING_MAX: usize = 4_194_304;
