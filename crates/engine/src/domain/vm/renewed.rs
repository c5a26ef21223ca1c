//! QEMU's monitor was lost and is there again: what happened meanwhile.

use lifecycle::{PausedReason, Status};
use qmp::{EventKind, ResetReason};

/// The event that nobody heard, by the status that is known and QEMU's word for what the guest does
/// now; and why its virtual CPUs stopped, if that tells.
pub(super) fn missed(status: Status, run_state: &str) -> Option<(EventKind, Option<PausedReason>)> {
    let runs = matches!(status, Status::Running(_));
    let event = match run_state {
        "running" if !runs => EventKind::Resume,
        "shutdown" if !matches!(status, Status::Shutdown(_)) => {
            EventKind::Shutdown { guest: true, reason: ResetReason::GuestShutdown }
        }
        "guest-panicked" if !matches!(status, Status::Crashed(_)) => {
            EventKind::GuestPanicked { action: "pause".to_owned(), info: None }
        }
        "suspended" if status != Status::PmSuspended => EventKind::Suspend,
        "running" | "shutdown" | "guest-panicked" | "suspended" => return None,
        "io-error" if runs => return Some((EventKind::Stop, Some(PausedReason::IoError))),
        "watchdog" if runs => return Some((EventKind::Stop, Some(PausedReason::Watchdog))),
        _ if runs => EventKind::Stop,
        _ => return None,
    };
    Some((event, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::{RunningReason, ShutdownReason};

    #[test]
    fn what_was_missed() {
        let running = Status::Running(RunningReason::Booted);
        let paused = Status::Paused(PausedReason::Save);
        let off = Status::Shutdown(ShutdownReason::User);
        for (status, run_state, event, reason) in [
            (running, "running", "", None),
            (running, "paused", "Stop", None),
            (running, "io-error", "Stop", Some(PausedReason::IoError)),
            (running, "shutdown", "Shutdown", None),
            (running, "guest-panicked", "GuestPanicked", None),
            (running, "suspended", "Suspend", None),
            (paused, "running", "Resume", None),
            (paused, "postmigrate", "", None),
            (paused, "io-error", "", None),
            (off, "shutdown", "", None),
            (Status::PmSuspended, "suspended", "", None),
            (Status::PmSuspended, "running", "Resume", None),
        ] {
            let (found, why) = match missed(status, run_state) {
                Some((event, why)) => (format!("{event:?}"), why),
                None => (String::new(), None),
            };
            assert_eq!(found.split([' ', '{']).next(), Some(event), "{status:?} {run_state}");
            assert_eq!(why, reason, "{status:?} {run_state}");
        }
    }
}
