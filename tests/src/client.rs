//! Real clients run as programs: Debian's virsh, python3-libvirt, virt-install, and our own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::paths;

/// How a client ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Exit status; -1 when a signal ended it.
    pub status: i32,
    /// What it wrote on standard output.
    pub stdout: String,
    /// What it wrote on standard error.
    pub stderr: String,
}

impl Outcome {
    /// Its standard output; panics with everything it said when it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status == 0, "expected success:\n{self}");
        self.stdout
    }

    /// Its standard error; panics when it succeeded.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(self.status != 0, "expected a failure:\n{self}");
        self.stderr
    }

    /// Its standard error, which must hold every one of `parts`; panics when it succeeded.
    #[track_caller]
    pub fn fails_with(self, parts: &[&str]) -> String {
        for part in parts {
            assert!(
                self.status != 0 && self.stderr.contains(part),
                "expected {part:?} in:\n{self}"
            );
        }
        self.stderr
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ {} (exit {})", self.command, self.status)?;
        write!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs a program with `timeout` around it, so that a hang fails one test and not the run.
pub fn tool<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S], stdin: &str) -> Outcome {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program.as_ref()).args(args);
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env_remove("LIBVIRT_DEFAULT_URI");
    run(command, stdin)
}

/// Runs `tests/python/NAME.py ARGS` with the system's python, which has python3-libvirt.
pub fn python<S: AsRef<OsStr>>(name: &str, args: &[S]) -> Outcome {
    let program = paths::fixture(&format!("python/{name}.py"));
    let mut words = vec![program.into_os_string()];
    words.extend(args.iter().map(|word| word.as_ref().to_owned()));
    tool("/usr/bin/python3", &words, "")
}

/// Runs a prepared command, feeds `stdin` and collects what it says.
pub fn run(mut command: Command, stdin: &str) -> Outcome {
    let shown = shown(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    if let Some(mut pipe) = child.stdin.take() {
        // The program may end without reading: that is its own affair.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let output = child.wait_with_output().expect("a started program can be waited for");
    Outcome {
        command: shown,
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The URI by which clients reach the daemon behind `socket`.
pub fn uri(socket: &Path, session: bool) -> String {
    let mode = if session { "session" } else { "system" };
    format!("qemu+unix:///{mode}?socket={}", socket.display())
}
