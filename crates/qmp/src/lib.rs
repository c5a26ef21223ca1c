//! The QEMU monitor protocol (QMP) and the guest agent's dialect of it, as pure codecs.
//!
//! Nothing here does I/O, waits, or looks at a clock: bytes go in, messages come out, and commands
//! become bytes. A caller with a socket (the `host` crate) drives a [`Session`] for QEMU's monitor
//! and an [`AgentSession`] for the guest agent.
//!
//! Source of the protocol: QEMU's published "QEMU Machine Protocol Specification" and the
//! introspection answer of the running QEMU (`query-qmp-schema`).

pub mod agent;
pub mod cmd;
mod command;
mod error;
mod event;
pub mod fuzzing;
mod line;
mod message;
pub mod reply;
mod session;

pub use agent::{AgentOutput, AgentSession};
pub use command::{Ack, Command, CommandId, decode};
pub use error::{ProtocolError, QmpError};
pub use event::{Event, EventKind, GraphicsPhase, ResetReason, Timestamp};
pub use line::{LineSplitter, MAX_LINE};
pub use message::{Greeting, Message, QemuVersion};
pub use serde_json::{Map, Value, json};
pub use session::{Output, Session};
