//! What happens at poweroff, reboot, crash; power management; performance events.

use crate::domain::prelude::*;

/// What happens to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum LifecycleAction {
    /// `destroy`.
    #[default]
    Destroy,
    /// `restart`.
    Restart,
    /// `rename-restart`.
    RenameRestart,
    /// `preserve`.
    Preserve,
    /// `coredump-destroy`.
    CoredumpDestroy,
    /// `coredump-restart`.
    CoredumpRestart,
}

/// What happens when a lock is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum LockFailureAction {
    /// `poweroff`.
    #[default]
    Poweroff,
    /// `restart`.
    Restart,
    /// `pause`.
    Pause,
    /// `ignore`.
    Ignore,
}

/// Sleep states the guest may use.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PowerManagement {
    /// Element `<suspend-to-mem>`.
    #[xml(child, name = "suspend-to-mem")]
    pub suspend_to_mem: Option<PmState>,
    /// Element `<suspend-to-disk>`.
    #[xml(child, name = "suspend-to-disk")]
    pub suspend_to_disk: Option<PmState>,
}

/// One sleep state.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct PmState {
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: YesNo,
}

/// Performance events.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Perf {
    /// Element `<event>`.
    #[xml(child, name = "event")]
    pub events: Vec<PerfEvent>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct PerfEvent {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: YesNo,
}
