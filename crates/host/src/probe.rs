//! A short conversation with a QEMU that runs no guest, to learn what the binary can do.
//!
//! Blocking, with a deadline: a binary that hangs costs its caller that long and no more, whatever
//! it left running, and whoever else holds the other ends of its pipes.

use qmp::Value;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest answer that is read; the longest known (the schema) has about 0.3 MiB.
const ANSWER_MAX: usize = 8 << 20;

/// Most that is read in one conversation; a real one has about 2 MiB.
const CONVERSATION_MAX: usize = 64 << 20;

/// Commands in flight at once: few enough that neither side's pipe can fill up.
const PIPELINE: usize = 16;

/// How much of what the program says of its troubles is kept.
const SAID_MAX: usize = 4096;

/// How long a program that closed its output may take to end by itself.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Whom a probed program runs as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; one of them often is what opens `/dev/kvm`.
    pub groups: Vec<u32>,
}

/// A QEMU being questioned. Dropping it ends it.
#[derive(Debug)]
pub struct Conversation {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: Option<ChildStderr>,
    /// Becomes readable when the program ends, whoever else holds its pipes.
    ended: OwnedFd,
    /// No signal may be sent any more: the process id is somebody else's.
    reaped: bool,
    /// When patience ends, and how long it was.
    until: Instant,
    patience: Duration,
    /// What was read and is no whole line yet; no newline in its first `looked_at` bytes.
    pending: Vec<u8>,
    looked_at: usize,
    received: usize,
    said: Vec<u8>,
}

impl Conversation {
    /// Starts `program` with `-machine none` and the accelerators of `accel` (`kvm:tcg`), as
    /// `account` if given.
    ///
    /// # Errors
    /// When it cannot be started or does not greet; the error then holds what it printed.
    pub fn start(
        program: &str,
        accel: &str,
        account: Option<&Account>,
        deadline: Duration,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["-S", "-no-user-config", "-nodefaults", "-display", "none"])
            .args(["-machine", &format!("none,accel={accel}")])
            .args(["-chardev", "stdio,id=m,signal=off", "-mon", "chardev=m,mode=control"])
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A wrapper script's children are ended with it.
            .process_group(0);
        if let Some(Account { uid, gid, groups }) = account {
            host_sys::run_as(&mut command, *uid, *gid, groups.clone());
        }
        // A QEMU does not end with its monitor: without this, a daemon killed in the middle of a
        // probe would leave it behind.
        host_sys::die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other("no pipes to the probed program"));
        };
        for pipe in [input.as_fd(), output.as_fd(), errors.as_fd()] {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        let pid = rustix::process::Pid::from_child(&child);
        let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        let mut conversation = Self {
            child,
            input,
            output,
            errors: Some(errors),
            ended,
            reaped: false,
            until: Instant::now() + deadline,
            patience: deadline,
            pending: Vec::new(),
            looked_at: 0,
            received: 0,
            said: Vec::new(),
        };
        let greeting = conversation.receive();
        let greeting = greeting.map_err(|error| conversation.explain(error))?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other("it does not greet like a QEMU monitor"));
        }
        conversation.ask(&[qmp::json!({"execute": "qmp_capabilities"})])?;
        Ok(conversation)
    }

    /// Sends commands and returns their answer objects in order.
    ///
    /// # Errors
    /// When the program ends, hangs beyond the deadline, says more than any QEMU, or answers what
    /// is no JSON.
    pub fn ask(&mut self, commands: &[Value]) -> io::Result<Vec<Value>> {
        let mut answers = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(PIPELINE) {
            let lines: String = chunk.iter().map(|command| format!("{command}\n")).collect();
            // Who ends in the middle may have answered before: what it said last is looked at.
            let sent = match self.send(lines.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => Ok(()),
            };
            sent.map_err(|error| self.explain(error))?;
            for command in chunk {
                let answer = self.receive();
                answers.push(answer.map_err(|error| asked(command, self.explain(error)))?);
            }
        }
        Ok(answers)
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.input.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(true)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next object that is no event.
    fn receive(&mut self) -> io::Result<Value> {
        loop {
            let line = self.line()?;
            let object: Value = serde_json::from_slice(&line).map_err(|_| {
                let start: String =
                    String::from_utf8_lossy(&line).trim().chars().take(60).collect();
                io::Error::other(format!("it answered what is not JSON: {start:?}"))
            })?;
            if object.get("event").is_none() {
                return Ok(object);
            }
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let new = self.pending.get(self.looked_at..).unwrap_or_default();
            if let Some(length) = new.iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(self.looked_at + length + 1);
                self.looked_at = 0;
                return Ok(std::mem::replace(&mut self.pending, rest));
            }
            self.looked_at = self.pending.len();
            if self.looked_at > ANSWER_MAX || self.received > CONVERSATION_MAX {
                return Err(io::Error::other("it says more than any QEMU would"));
            }
            // Whoever never stops talking is not waited for longer than who says nothing.
            self.wait(false)?;
            let mut buffer = [0; 64 << 10];
            match self.output.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.received += count;
                    self.pending.extend(buffer.get(..count).unwrap_or_default());
                }
                Err(error) if may_come(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is something to read, or, if `to_write`, room for more; takes in what the
    /// program says of its troubles meanwhile.
    fn wait(&mut self, to_write: bool) -> io::Result<()> {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let pipe = if to_write {
                PollFd::new(&self.input, PollFlags::OUT)
            } else {
                PollFd::new(&self.output, PollFlags::IN)
            };
            let mut fds = vec![pipe, PollFd::new(&self.ended, PollFlags::IN)];
            fds.extend(self.errors.as_ref().map(|errors| PollFd::new(errors, PollFlags::IN)));
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
            let (pipe, ended) = (ready.next() == Some(true), ready.next() == Some(true));
            self.hear();
            match (pipe, ended) {
                (true, _) => return Ok(()),
                (false, true) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (false, false) => {}
            }
        }
    }

    /// Takes in what is there of its standard error, without waiting.
    fn hear(&mut self) {
        let Some(errors) = &mut self.errors else { return };
        let mut buffer = [0; SAID_MAX];
        match errors.read(&mut buffer) {
            Ok(0) => self.errors = None,
            Ok(count) => {
                let room = SAID_MAX.saturating_sub(self.said.len()).min(count);
                self.said.extend(buffer.get(..room).unwrap_or_default());
            }
            Err(error) if may_come(&error) => {}
            Err(_) => self.errors = None,
        }
    }

    /// The error with what the program printed, how it ended, or that it took too long.
    fn explain(&mut self, error: io::Error) -> io::Error {
        let words = match error.kind() {
            io::ErrorKind::TimedOut => {
                let seconds = self.patience.as_secs_f32();
                let text = format!("it did not answer within {seconds} seconds");
                return io::Error::new(io::ErrorKind::TimedOut, text);
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                self.end(LAST_WORDS).map_or_else(
                    || "it closed its monitor".to_owned(),
                    |status| match (status.signal(), status.code()) {
                        (Some(signal), _) => format!("it was ended by signal {signal}"),
                        (None, code) => format!("it ended with status {}", code.unwrap_or(0)),
                    },
                )
            }
            _ => error.to_string(),
        };
        self.hear();
        let said = String::from_utf8_lossy(&self.said);
        match said.trim() {
            "" => io::Error::other(words),
            said => io::Error::other(format!("{words}: {said}")),
        }
    }

    /// Ends the program and what it started; how it ended, if it did so itself within `grace`.
    fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        let time = Timespec::try_from(grace).ok();
        let mut fds = [PollFd::new(&self.ended, PollFlags::IN)];
        let alone = poll(&mut fds, time.as_ref()).is_ok_and(|ready| ready > 0);
        // Not reaped yet: the process id, and so the group's, is still its own.
        let pid = rustix::process::Pid::from_child(&self.child);
        if !self.reaped {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        self.reaped = true;
        self.child.wait().ok().filter(|_| alone)
    }
}

/// The error with the question that it came at.
fn asked(command: &Value, error: io::Error) -> io::Error {
    let name = command.get("execute").and_then(Value::as_str).unwrap_or_default();
    io::Error::new(error.kind(), format!("QMP command '{name}': {error}"))
}

/// Whether what failed may succeed later.
fn may_come(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const GREETING: &str = r#"echo '{"QMP": {"version": {}, "capabilities": []}}'; read line"#;

    /// What comes of questioning a program that does as `script` says.
    fn question(script: &str, patience: Duration) -> io::Error {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("emulator");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("our own folder");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
        let path = path.to_str().expect("a plain name");
        let asked = Conversation::start(path, "tcg", None, patience)
            .and_then(|mut talk| talk.ask(&[qmp::json!({"execute": "query-version"})]));
        asked.expect_err("it is no QEMU")
    }

    /// Patience of tests that do not expect it to end.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_error_tells_what_became_of_the_program() {
        let check = |script: &str, expected: &str| {
            let error = question(script, LONG).to_string();
            assert!(error.contains(expected), "{script}: {error}");
        };
        check("exit 3", "it ended with status 3");
        check("echo no such machine >&2; exit 1", "it ended with status 1: no such machine");
        check("kill -SEGV $$", "it was ended by signal 11");
        check("echo hello", "it answered what is not JSON: \"hello\"");
        check("echo '[]'; read line", "does not greet");
        check(&format!("{GREETING}; echo '{{}}'; exit 0"), "it ended with status 0");
        check(&format!("{GREETING}; echo oh; read line"), "it answered what is not JSON: \"oh\"");
        check("yes '' >&2 & yes | tr -d '\\n'", "it says more than any QEMU would");
        // Its output is closed, and what it left behind would hold it open.
        check("sleep 1000 & exit 4", "it ended with status 4");
    }

    #[test]
    fn who_never_answers_is_not_waited_for() {
        let patience = Duration::from_millis(300);
        for (script, at) in [
            ("exec sleep 1000".to_owned(), ""),
            // Its child holds the pipes, and has a session of its own.
            ("sleep 1000; exit 1".to_owned(), ""),
            ("setsid sleep 20 & wait".to_owned(), ""),
            (format!("{GREETING}; exec sleep 1000"), "QMP command 'qmp_capabilities': "),
            ("while echo '{\"event\": \"X\"}'; do :; done".to_owned(), ""),
            ("yes noise >&2".to_owned(), ""),
        ] {
            let error = question(&script, patience);
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}: {error}");
            // A busy machine may not get as far as the greeting.
            let text = error.to_string();
            let text = text.strip_prefix(at).unwrap_or(&text);
            assert_eq!(text, "it did not answer within 0.3 seconds");
        }
    }
}
