//! Daemons on libvirt's own paths, to be used inside a namespace (see [`crate::namespace`]), and
//! virsh against them.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::client::{self, Outcome, tool};
use crate::{paths, processes, wait};

/// libvirt's own daemon, where it is installed.
pub const LIBVIRTD: &str = "/usr/sbin/libvirtd";

/// A daemon; ends when dropped.
pub struct Running(Child);

impl Running {
    /// Starts one, whose words are of no interest.
    pub fn start(program: impl AsRef<OsStr>, words: &[&str]) -> Running {
        let mut command = Command::new(program);
        let quiet = command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        Running(quiet.stderr(Stdio::null()).spawn().expect("the daemon starts"))
    }

    /// Starts one that virsh talks to, and waits until it answers.
    #[track_caller]
    pub fn serving(program: impl AsRef<OsStr>, words: &[&str]) -> Running {
        let running = Running::start(program, words);
        wait::until("the daemon to answer", || (virsh("uri").status == 0).then_some(()));
        running
    }

    /// libvirt's.
    #[track_caller]
    pub fn libvirtd() -> Running {
        Running::serving(LIBVIRTD, &[])
    }

    /// Ours.
    #[track_caller]
    pub fn ours() -> Running {
        Running::serving(paths::ironvirt(), &["daemon"])
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.0.id() as i32, signal);
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("our own child").is_none()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        self.0.wait().expect("our own child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address of the daemon there.
pub fn uri() -> String {
    client::uri("/run/libvirt/libvirt-sock".as_ref(), false)
}

/// Runs virsh with the words of `line` against the daemon there.
pub fn virsh(line: &str) -> Outcome {
    let uri = uri();
    let mut words = vec!["-c", uri.as_str()];
    words.extend(line.split_whitespace());
    tool("virsh", &words, "")
}
