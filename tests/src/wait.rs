//! Waiting for a condition, with a limit that only a broken program reaches.

use std::time::{Duration, Instant};

/// How long anything may take before a test calls it hung. Generous: the machine may be busy and
/// guests run under emulation.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `probe` returns a value; panics naming `what` when it never does.
#[track_caller]
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, probe)
}

/// The same for what may take longer than [`PATIENCE`].
#[track_caller]
pub fn until_within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
