//! Server connections: sockets in, calls to a [`Service`], replies, events and streams out.
//!
//! Connections are spread over a few threads ([`Shards`]), each with an event loop of its own; a connection stays on
//! its thread. A call that can be answered at once is read, answered and written on that thread, without a hand-over,
//! out of buffers that belong to the thread: an idle connection holds none. What takes longer is a future
//! ([`Outcome::Later`]) and does not hold up other calls, of the same client or of others.
//!
//! What comes later (an answer, an event) is written by the thread that has it, where the connection rests and nothing
//! is before it; otherwise the connection is woken and writes it.
//!
//! Cancellation: a client's disconnection cancels nothing. Futures of calls and streams run to their end and find out
//! by what [`Stream::recv`] and [`Stream::send`] return.

mod answers;
mod config;
mod conn;
mod core;
mod handle;
mod input;
mod keepalive;
mod listener;
mod outbox;
mod output;
mod peer;
mod service;
mod shards;
mod stream;
mod tasks;

pub use config::{Allow, KeepaliveConfig, Limits, ListenAt, ListenerSpec, ServerConfig};
pub use handle::{ClientInfo, Server, ServerHandle};
pub use listener::BindError;
pub use outbox::Outbox;
pub use peer::{ListenerKind, Peer};
pub use service::{BoxFuture, Call, Outcome, Service};
pub use shards::Shards;
pub use stream::{Stream, StreamClosed, StreamIn};
