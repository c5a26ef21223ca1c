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
pub fn until_within<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    let value = until_some(limit, probe);
    assert!(value.is_some(), "waited {limit:?} in vain for {what}");
    value.expect("just looked at")
}

/// The same without a panic: `None` when the limit has passed.
pub fn until_some<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
