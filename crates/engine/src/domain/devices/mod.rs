//! Devices that come to domains, leave them and change: live, in the stored definition, or both.
//!
//! Nothing here runs in a guest's actor. Each verb is a job of its own: it works out everything
//! first, then does what the plan says on the host and through the monitor, and has the actor
//! write down what came of it. A device that is on its way is in the status file before QEMU hears
//! of it, so that a daemon that was killed asks QEMU whether it came ([`recover`]).

mod attach;
pub mod blockjobs;
mod change;
mod converse;
mod detach;
mod guard;
mod host_end;
mod inputs;
mod inventory;
mod media;
mod note;
pub(in crate::domain) mod plug;
mod recover;
mod rehearse;
mod release;
mod removal;
mod settle;
mod unfinished;
mod update;
mod waiting;

pub(super) use change::Change;
pub(super) use guard::DeviceGuard;
pub(super) use note::{Held, UpdateNote};
pub(super) use waiting::{Answer, Waiting};

/// `VIR_DOMAIN_DEVICE_MODIFY_FORCE`: a drive is opened even where the guest has it locked.
pub const FORCE: u32 = 4;
