//! What an event of the guest means for its domain.

use crate::event::LifecycleEvent;
use crate::status::{CrashedReason, PausedReason, RunningReason, ShutdownReason, Status};

/// What the definition says to do when the guest powers off, reboots or crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnEvent {
    /// End QEMU.
    Destroy,
    /// Start over.
    Restart,
    /// Keep QEMU as it is, for a look at it.
    Preserve,
    /// Dump the guest's memory, then end QEMU. For crashes only.
    DumpAndDestroy,
    /// Dump the guest's memory, then start over. For crashes only.
    DumpAndRestart,
}

/// The three `on_…` settings of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PowerPolicy {
    /// `<on_poweroff>`.
    pub poweroff: OnEvent,
    /// `<on_reboot>`.
    pub reboot: OnEvent,
    /// `<on_crash>`.
    pub crash: OnEvent,
}

/// An event that QEMU reports about the guest as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestEvent {
    /// Virtual CPUs stopped; the reason is what was announced before, if anything.
    Stopped(PausedReason),
    /// Virtual CPUs run.
    Resumed(RunningReason),
    /// The guest is off. `by_guest`: it did so itself.
    Shutdown {
        /// Some(true): the guest; Some(false): the host.
        by_guest: Option<bool>,
        /// The shutdown stands for a reboot that was asked for (a guest without reset button).
        fake_reboot: bool,
    },
    /// The guest was reset, by itself or from outside.
    Reset {
        /// Some(true): the guest; Some(false): the host.
        by_guest: Option<bool>,
    },
    /// The guest's system panicked.
    Panicked,
    /// The guest's system panicked, but its crash kernel takes over.
    Crashloaded,
    /// Suspended to memory.
    SuspendedToMemory,
    /// Suspended to disk.
    SuspendedToDisk,
    /// Woken up.
    Wakeup,
}

/// What the engine has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Publish this status.
    Publish(Status),
    /// Emit this lifecycle event.
    Emit(LifecycleEvent),
    /// Emit the reboot event.
    EmitReboot,
    /// End QEMU; the domain is then off for the reason that the guest powered off.
    EndQemu,
    /// End QEMU because the guest crashed.
    EndQemuCrashed,
    /// Reset the machine and let it run.
    ResetAndRun,
    /// Dump the guest's memory where crashed guests' are kept, then end QEMU or (`restart`) reset
    /// the machine and let it run.
    DumpCore {
        /// What follows the dump.
        restart: bool,
    },
}

/// The consequences of `event` for a domain in state `status`, in the order to carry them out.
pub fn on_guest_event(status: Status, policy: PowerPolicy, event: GuestEvent) -> Vec<Action> {
    match event {
        GuestEvent::Stopped(reason) => match status {
            Status::Running(_) => {
                let emitted = match reason {
                    PausedReason::IoError => LifecycleEvent::SuspendedIoError,
                    PausedReason::Watchdog => LifecycleEvent::SuspendedWatchdog,
                    _ => LifecycleEvent::SuspendedPaused,
                };
                vec![Action::Publish(Status::Paused(reason)), Action::Emit(emitted)]
            }
            // Powering off and crashing stop the CPUs too; that has been reported as itself.
            _ => Vec::new(),
        },
        GuestEvent::Resumed(reason) => match status {
            Status::Running(_) => Vec::new(),
            _ => {
                let emitted = match reason {
                    RunningReason::Restored | RunningReason::FromSnapshot => {
                        LifecycleEvent::ResumedFromSnapshot
                    }
                    _ => LifecycleEvent::ResumedUnpaused,
                };
                vec![Action::Publish(Status::Running(reason)), Action::Emit(emitted)]
            }
        },
        GuestEvent::Shutdown { fake_reboot: true, .. } => match policy.reboot {
            OnEvent::Destroy => shutdown_actions(OnEvent::Destroy, None),
            _ => vec![Action::ResetAndRun],
        },
        GuestEvent::Shutdown { by_guest, .. } => shutdown_actions(policy.poweroff, by_guest),
        GuestEvent::Reset { by_guest } => match (policy.reboot, by_guest) {
            // A reset button pressed from outside is no reboot of the guest's own.
            (OnEvent::Destroy, Some(true) | None) => shutdown_actions(OnEvent::Destroy, by_guest),
            _ => vec![Action::EmitReboot],
        },
        GuestEvent::Panicked => {
            let mut actions = vec![
                Action::Publish(Status::Crashed(CrashedReason::Panicked)),
                Action::Emit(LifecycleEvent::CrashedPanicked),
            ];
            match policy.crash {
                OnEvent::Destroy => actions.push(Action::EndQemuCrashed),
                OnEvent::Restart => actions.push(Action::ResetAndRun),
                OnEvent::Preserve => {}
                OnEvent::DumpAndDestroy => actions.push(Action::DumpCore { restart: false }),
                OnEvent::DumpAndRestart => actions.push(Action::DumpCore { restart: true }),
            }
            actions
        }
        // Its crash kernel runs: the guest goes on.
        GuestEvent::Crashloaded => vec![Action::Emit(LifecycleEvent::CrashedCrashloaded)],
        GuestEvent::SuspendedToMemory => vec![
            Action::Publish(Status::PmSuspended),
            Action::Emit(LifecycleEvent::PmSuspendedMemory),
        ],
        GuestEvent::SuspendedToDisk => vec![
            Action::Publish(Status::PmSuspended),
            Action::Emit(LifecycleEvent::PmSuspendedDisk),
        ],
        GuestEvent::Wakeup => match status {
            Status::PmSuspended => vec![
                Action::Publish(Status::Running(RunningReason::Wakeup)),
                Action::Emit(LifecycleEvent::StartedWakeup),
            ],
            _ => Vec::new(),
        },
    }
}

fn shutdown_actions(policy: OnEvent, by_guest: Option<bool>) -> Vec<Action> {
    let mut actions = vec![
        Action::Publish(Status::Shutdown(ShutdownReason::Unknown)),
        Action::Emit(LifecycleEvent::ShutdownFinished { by_guest }),
    ];
    match policy {
        OnEvent::Destroy | OnEvent::DumpAndDestroy => actions.push(Action::EndQemu),
        OnEvent::Restart | OnEvent::DumpAndRestart => actions.push(Action::ResetAndRun),
        OnEvent::Preserve => {}
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: PowerPolicy = PowerPolicy {
        poweroff: OnEvent::Destroy,
        reboot: OnEvent::Restart,
        crash: OnEvent::Destroy,
    };
    const RUNNING: Status = Status::Running(RunningReason::Booted);

    #[test]
    fn power_off_ends_qemu_unless_it_is_to_be_preserved() {
        let off = GuestEvent::Shutdown { by_guest: Some(true), fake_reboot: false };
        assert_eq!(on_guest_event(RUNNING, DEFAULT, off).last(), Some(&Action::EndQemu));
        let preserve = PowerPolicy { poweroff: OnEvent::Preserve, ..DEFAULT };
        assert_eq!(
            on_guest_event(RUNNING, preserve, off),
            vec![
                Action::Publish(Status::Shutdown(ShutdownReason::Unknown)),
                Action::Emit(LifecycleEvent::ShutdownFinished { by_guest: Some(true) }),
            ]
        );
    }

    #[test]
    fn a_stop_that_belongs_to_a_power_off_is_not_reported_as_a_pause() {
        let off = Status::Shutdown(ShutdownReason::Unknown);
        let stopped = GuestEvent::Stopped(PausedReason::Unknown);
        assert_eq!(on_guest_event(off, DEFAULT, stopped), Vec::new());
    }

    #[test]
    fn a_reboot_with_destroy_ends_qemu_but_a_reset_from_outside_does_not() {
        let destroy = PowerPolicy { reboot: OnEvent::Destroy, ..DEFAULT };
        let by = |by_guest| on_guest_event(RUNNING, destroy, GuestEvent::Reset { by_guest });
        assert_eq!(
            by(Some(true)),
            vec![
                Action::Publish(Status::Shutdown(ShutdownReason::Unknown)),
                Action::Emit(LifecycleEvent::ShutdownFinished { by_guest: Some(true) }),
                Action::EndQemu,
            ]
        );
        assert_eq!(by(Some(false)), vec![Action::EmitReboot]);
    }

    #[test]
    fn a_panic_is_published_before_its_consequence() {
        let actions = on_guest_event(RUNNING, DEFAULT, GuestEvent::Panicked);
        assert_eq!(actions[0], Action::Publish(Status::Crashed(CrashedReason::Panicked)));
        assert_eq!(actions.last(), Some(&Action::EndQemuCrashed));
    }

    #[test]
    fn a_crash_that_is_to_be_dumped_is() {
        let of = |crash| {
            let policy = PowerPolicy { crash, ..DEFAULT };
            on_guest_event(RUNNING, policy, GuestEvent::Panicked).pop()
        };
        assert_eq!(of(OnEvent::DumpAndDestroy), Some(Action::DumpCore { restart: false }));
        assert_eq!(of(OnEvent::DumpAndRestart), Some(Action::DumpCore { restart: true }));
    }

    #[test]
    fn a_restored_guest_resumes_from_its_snapshot() {
        let paused = Status::Paused(PausedReason::Migration);
        let resumed = GuestEvent::Resumed(RunningReason::Restored);
        assert_eq!(
            on_guest_event(paused, DEFAULT, resumed).pop(),
            Some(Action::Emit(LifecycleEvent::ResumedFromSnapshot))
        );
    }

    #[test]
    fn fake_reboot_restarts_instead_of_powering_off() {
        let event = GuestEvent::Shutdown { by_guest: Some(true), fake_reboot: true };
        assert_eq!(on_guest_event(RUNNING, DEFAULT, event), vec![Action::ResetAndRun]);
    }
}
