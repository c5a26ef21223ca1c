//! The state machine of a virtual machine and its policy tables.
//!
//! Pure: no I/O, no clock, no async. The engine asks [`decide`] what to do with a request, and
//! [`on_guest_event`] what an event of the guest means; both are functions of plain data.
//!
//! ```text
//!              start                     cont
//!  Inactive ─────────▶ Starting ───────────────▶ Active(Running)
//!     ▲                   │ failed / destroyed      │  ▲
//!     │                   ▼                    stop │  │ cont
//!     └──────────────  Stopping ◀───────────── Active(Paused | Shutdown | Crashed | PmSuspended)
//!          exit seen                destroy, guest powered off, QEMU died
//! ```
//!
//! A domain that is `Starting` can be destroyed at any moment; a domain that is `Stopping` accepts
//! nothing but reads. Everything else is in the tables below.

mod event;
mod guest;
mod policy;
mod status;

pub use event::{LifecycleEvent, StoppedDetail};
pub use guest::{Action, GuestEvent, OnEvent, PowerPolicy, on_guest_event};
pub use policy::{JobKind, JobView, Phase, Refusal, Request, Verdict, decide};
pub use status::{
    CrashedReason, PausedReason, RunningReason, ShutdownReason, ShutoffReason, Status,
};
