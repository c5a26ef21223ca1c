//! systemd-logind: it is asked to delay the host's shutdown, and tells when that begins
//! (org.freedesktop.login1(5)).

use crate::dbus::{Bus, Call, Value};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

const MANAGER: &str = "org.freedesktop.login1.Manager";

/// How long logind may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host's shutdown waits, for as long as logind grants, until this is dropped.
#[derive(Debug)]
pub struct Delay(#[expect(dead_code, reason = "what counts is that it is open")] OwnedFd);

/// Asks for a delay; `who` and `why` are for people. Blocks.
///
/// # Errors
/// There is no bus at `bus`, no logind on it, or it refuses.
pub fn delay_shutdown(bus: &Path, who: &str, why: &str) -> io::Result<Delay> {
    let call = Call {
        to: "org.freedesktop.login1",
        path: "/org/freedesktop/login1",
        interface: MANAGER,
        member: "Inhibit",
        args: &["shutdown", who, why, "delay"].map(Value::Text),
    };
    let mut fds = Bus::connect(bus, Instant::now() + PATIENCE)?.call(&call)?.fds;
    let fd = fds.pop().ok_or_else(|| io::Error::other("logind gave no descriptor"))?;
    Ok(Delay(fd))
}

/// Calls `begins` each time that the host is about to stop, until it returns false or the bus ends.
/// Blocks all that time.
///
/// # Errors
/// There is no bus at `bus`, or it broke.
pub fn watch_shutdown(bus: &Path, mut begins: impl FnMut() -> bool) -> io::Result<()> {
    let mut bus = Bus::connect(bus, Instant::now() + PATIENCE)?;
    bus.subscribe(MANAGER, "PrepareForShutdown")?;
    bus.wait_for_ever();
    loop {
        let message = bus.receive()?;
        // It says no when a shutdown was called off.
        let now = message.is_signal(MANAGER, "PrepareForShutdown") && message.yes() == Some(true);
        if now && !begins() {
            return Ok(());
        }
    }
}
