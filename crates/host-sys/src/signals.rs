//! Signals over an exec of ourselves.

use std::io;

/// Signals that are ignored as long as this lives, and over exec: a program that becomes itself
/// anew must not be ended by a signal that comes before it listens again.
#[derive(Debug)]
pub struct IgnoredSignals(Vec<(libc::c_int, Saved)>);

struct Saved(libc::sigaction);

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Saved")
    }
}

impl IgnoredSignals {
    /// Ignores SIGHUP, SIGINT, SIGTERM and SIGUSR1.
    ///
    /// # Errors
    /// The kernel refuses; then nothing is changed.
    pub fn steering() -> io::Result<Self> {
        let mut ignored = Self(Vec::new());
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1] {
            // SAFETY: all-zero is a valid value of the struct; its fields are set below.
            let (mut ignore, mut saved): (libc::sigaction, libc::sigaction) =
                unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            ignore.sa_sigaction = libc::SIG_IGN;
            // SAFETY: both structs are ours and live through the call; ignoring runs no code.
            if unsafe { libc::sigaction(signal, &ignore, &mut saved) } != 0 {
                return Err(io::Error::last_os_error());
            }
            ignored.0.push((signal, Saved(saved)));
        }
        Ok(ignored)
    }
}

impl Drop for IgnoredSignals {
    fn drop(&mut self) {
        for (signal, saved) in &self.0 {
            // SAFETY: what was in force before, handlers included, which are functions of this program.
            unsafe { libc::sigaction(*signal, &saved.0, std::ptr::null_mut()) };
        }
    }
}
