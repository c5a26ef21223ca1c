//! An administrator's script: started with a text on its standard input, waited for, its words kept.
//!
//! Blocking. Input and outputs are files in memory, not pipes: neither a script that does not read
//! nor one that leaves something running behind it can make its caller wait.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Most bytes kept of what a script prints, on either output.
const KEPT: u64 = 16 << 20;

/// How a script is called.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The program's path.
    pub program: &'a str,
    /// Its arguments.
    pub args: &'a [&'a str],
    /// Its whole environment.
    pub env: &'a [(&'a str, OsString)],
    /// What it can read on its standard input.
    pub input: &'a [u8],
    /// How long it may take; it and what it started in its process group are killed then.
    pub deadline: Duration,
}

/// Why a script did no good.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be started.
    #[error("Cannot run '{program}': {error}")]
    Start {
        /// The program's path.
        program: String,
        /// The system's reason.
        error: io::Error,
    },
    /// It ended with a status other than 0, or by a signal. libvirt's words.
    #[error("Child process ({command}) unexpected {}: {said}", how(*.status))]
    Failed {
        /// Environment, program and arguments as a shell would take them.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Its error output.
        said: String,
    },
    /// It did not end in time.
    #[error("'{command}' did not end within {} seconds and was killed", .deadline.as_secs())]
    Late {
        /// Program and arguments.
        command: String,
        /// How long it was given.
        deadline: Duration,
    },
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// Runs a script in `/` and returns what it printed.
///
/// # Errors
/// It cannot be started, ends badly, or takes too long.
pub fn run(call: &Call<'_>) -> Result<Vec<u8>, ScriptError> {
    let start = |error: io::Error| ScriptError::Start { program: call.program.to_owned(), error };
    let mut input = memory().map_err(start)?;
    input.write_all(call.input).and_then(|()| input.rewind()).map_err(start)?;
    let mut printed = memory().map_err(start)?;
    let mut said = memory().map_err(start)?;
    let mut child = Command::new(call.program)
        .args(call.args)
        .env_clear()
        .envs(call.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(input)
        .stdout(printed.try_clone().map_err(start)?)
        .stderr(Stdio::from(said.try_clone().map_err(start)?))
        .process_group(0)
        .spawn()
        .map_err(start)?;
    let ended = ends_in_time(Pid::from_child(&child), call.deadline);
    if !ended {
        // The group lives as long as its leader is not waited for: the number is its own.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let status = child.wait().map_err(start)?;
    if !ended {
        let command = format!("{} {}", call.program, call.args.join(" "));
        return Err(ScriptError::Late { command, deadline: call.deadline });
    }
    if !status.success() {
        let said = String::from_utf8_lossy(&kept(&mut said)).into_owned();
        return Err(ScriptError::Failed { command: command_text(call), status, said });
    }
    Ok(kept(&mut printed))
}

fn memory() -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("script", MemfdFlags::CLOEXEC)?))
}

fn kept(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    if file.rewind().is_ok() {
        let _ = file.take(KEPT).read_to_end(&mut bytes);
    }
    bytes
}

/// Waits for the end of a child that nobody has waited for yet; false after `patience`.
fn ends_in_time(pid: Pid, patience: Duration) -> bool {
    // Without descriptors left, the child is waited for without a limit rather than killed.
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return false,
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

fn command_text(call: &Call<'_>) -> String {
    let mut text = String::new();
    for (name, value) in call.env {
        text.push_str(&format!("{name}={} ", value.to_string_lossy()));
    }
    text.push_str(call.program);
    for arg in call.args {
        text.push(' ');
        text.push_str(arg);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn call(body: &str, deadline: Duration) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        let program = path.to_string_lossy();
        let env = [("PATH", OsString::from("/usr/bin:/bin"))];
        let call = Call {
            program: &program,
            args: &["a b", "-"],
            env: &env,
            input: b"<xml/>\n",
            deadline,
        };
        run(&call)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| error.to_string().replace(&*program, "SCRIPT"))
    }

    #[test]
    fn input_arguments_and_output() {
        let minute = Duration::from_secs(60);
        assert_eq!(call("echo \"$1|$2|$#\"; cat", minute), Ok("a b|-|2\n<xml/>\n".to_owned()));
        // Neither reading nothing nor leaving something running holds the caller up.
        assert_eq!(call("sleep 100 & exit 0", minute), Ok(String::new()));
    }

    #[test]
    fn a_bad_end_tells_what_was_said() {
        let minute = Duration::from_secs(60);
        let failed = call("echo no >&2; exit 3", minute);
        let words =
            "Child process (PATH=/usr/bin:/bin SCRIPT a b -) unexpected exit status 3: no\n";
        assert_eq!(failed, Err(words.to_owned()));
        let killed = call("kill -9 $$", minute).expect_err("it was killed");
        assert!(killed.contains("unexpected signal: 9"), "{killed}");
        let late = call("sleep 1000", Duration::from_millis(50)).expect_err("it hung");
        assert!(late.contains("did not end within 0 seconds and was killed"), "{late}");
    }

    #[test]
    fn what_is_not_there() {
        let call = Call {
            program: "/nonexistent/script",
            args: &[],
            env: &[],
            input: b"",
            deadline: Duration::from_secs(1),
        };
        let error = run(&call).expect_err("it is not there").to_string();
        assert_eq!(
            error,
            "Cannot run '/nonexistent/script': No such file or directory (os error 2)"
        );
    }
}
