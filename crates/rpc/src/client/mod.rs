//! A synchronous client, for commands: it blocks the caller and needs no runtime.
//!
//! ```no_run
//! use protocol::remote::{self, procs};
//! use rpc::client::{Connection, OpenOptions};
//!
//! # fn main() -> Result<(), diag::VirError> {
//! let connection = Connection::open("qemu:///system", &OpenOptions::default())?;
//! let args = remote::DomainLookupByNameArgs { name: "demo".into() };
//! let dom = connection.call::<procs::DomainLookupByName>(&args)?.dom;
//! connection.call::<procs::DomainCreate>(&remote::DomainCreateArgs { dom })?;
//! # Ok(())
//! # }
//! ```
//!
//! * [`Connection::call`] makes any call of any program; [`Connection::call_with_fds`] and
//!   [`Connection::open_stream`] those that carry descriptors or open a [`Stream`].
//! * [`Connection::next_event`] waits for events, after one of the `register_…` calls.
//! * A thread reads the socket, so keepalive questions are answered while the program does something else.
//!
//! Errors are worded as libvirt's client words them.

mod connection;
mod core;
mod endpoint;
mod error;
mod event;
mod link;
mod options;
mod stream;
mod transport;
mod uri;

pub use connection::{CloseReason, Connection, feature};
pub use event::RawEvent;
pub use options::{Keepalive, OpenOptions};
pub use stream::{Received, Stream, StreamItem};
pub use uri::ConnUri;

/// Feeds arbitrary bytes to what the client reads from outside: as a URI and as an error payload. For fuzzing.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = ConnUri::parse(&text).map(|uri| uri.name());
    let _ = core::wire_error(data);
}
