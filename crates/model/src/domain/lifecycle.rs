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
    #[xml(child, name = "suspend-to-mem", needs = "enabled")]
    pub suspend_to_mem: Option<PmState>,
    /// Element `<suspend-to-disk>`.
    #[xml(child, name = "suspend-to-disk", needs = "enabled")]
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

/// Counters of the host's kernel that a guest can be measured with, in the order in which libvirt
/// lists them (`virsh perf`).
pub const PERF_EVENTS: &[&str] = &[
    "cmt",
    "mbmt",
    "mbml",
    "cpu_cycles",
    "instructions",
    "cache_references",
    "cache_misses",
    "branch_instructions",
    "branch_misses",
    "bus_cycles",
    "stalled_cycles_frontend",
    "stalled_cycles_backend",
    "ref_cpu_cycles",
    "cpu_clock",
    "task_clock",
    "page_faults",
    "context_switches",
    "cpu_migrations",
    "page_faults_min",
    "page_faults_maj",
    "alignment_faults",
    "emulation_faults",
];

/// Why QEMU's guests cannot have these two actions together, in libvirt's words.
pub fn conflict(
    on_poweroff: Option<LifecycleAction>,
    on_reboot: Option<LifecycleAction>,
) -> Option<&'static str> {
    let both = (on_reboot, on_poweroff)
        == (Some(LifecycleAction::Destroy), Some(LifecycleAction::Restart));
    both.then_some(
        "qemu driver doesn't support 'onReboot' set to 'destroy and 'onPoweroff' set to 'reboot'",
    )
}
