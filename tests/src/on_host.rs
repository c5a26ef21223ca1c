//! Daemons on libvirt's own paths, to be used inside a namespace (see [`crate::namespace`]), and
//! virsh against them.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{self, Outcome, tool};
use crate::{paths, processes, wait};

/// libvirt's own daemon, where it is installed.
pub const LIBVIRTD: &str = "/usr/sbin/libvirtd";

/// A daemon; ends when dropped.
pub struct Running(Child);

impl Running {
    /// Starts one, whose words are only of interest when a test fails.
    pub fn start(program: impl AsRef<OsStr>, words: &[&str]) -> Running {
        let log = Path::new("/var/log/libvirt/daemons.log");
        std::fs::create_dir_all(log.parent().expect("a folder")).expect("root may");
        let log = File::options().create(true).append(true).open(log).expect("root may");
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.env("LIBVIRT_LOG_OUTPUTS", "2:file:/var/log/libvirt/libvirtd.log");
        Running(command.spawn().expect("the daemon starts"))
    }

    /// Starts one that virsh talks to, and waits until it answers.
    #[track_caller]
    pub fn serving(program: impl AsRef<OsStr>, words: &[&str]) -> Running {
        let running = Running::start(program, words);
        wait::until("the daemon to answer", || (virsh("uri").status == 0).then_some(()));
        running
    }

    /// libvirt's, once it is connected to the guests that run: a guest that is destroyed before that
    /// it answers for with "domain is not running".
    #[track_caller]
    pub fn libvirtd() -> Running {
        let running = Running::serving(LIBVIRTD, &[]);
        // Needs each guest's job, which connecting has.
        virsh("domstats --list-running").ok();
        running
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

    /// Asks it to end, and waits until it has. libvirtd now and then waits for half a minute for a
    /// thread of its own: it gets three seconds.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.0.id()));
        let is_libvirtd = exe.is_ok_and(|exe| exe == Path::new(LIBVIRTD));
        let limit = if is_libvirtd { Duration::from_secs(3) } else { wait::PATIENCE };
        let ended = wait::until_some(limit, || self.0.try_wait().expect("our own child"));
        assert!(ended.is_some() || is_libvirtd, "the daemon does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Removes the control groups of guests of this name that ended with their namespace: libvirtd would
/// put its list of devices beside the one that such a group has, and both would count.
pub fn forget_groups(guest: &str) {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
        for group in entries(&hierarchy.path().join("machine")) {
            if group.file_name().to_string_lossy().ends_with(&format!("-{guest}.libvirt-qemu")) {
                entries(&group.path()).for_each(|part| drop(std::fs::remove_dir(part.path())));
                let _ = std::fs::remove_dir(group.path());
            }
        }
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
