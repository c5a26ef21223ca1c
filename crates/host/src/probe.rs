//! A short conversation with a QEMU that runs no guest, to learn what the binary can do.
//!
//! Blocking, with a deadline after which the process is killed: a binary that hangs costs its
//! caller that long and no more.

use qmp::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longest answer that is read; the longest known (the schema) has about 0.3 MiB.
const ANSWER_MAX: u64 = 64 << 20;

/// Commands in flight at once: few enough that neither side's pipe can fill up.
const PIPELINE: usize = 16;

/// A QEMU being questioned. Dropping it ends it.
pub struct Conversation {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Dropped to call the watchdog off.
    alarm: Option<mpsc::Sender<()>>,
    watchdog: Option<thread::JoinHandle<bool>>,
}

impl Conversation {
    /// Starts `program` with `-machine none` and the accelerators of `accel` (`kvm:tcg`), as user
    /// and group `ids` if given.
    ///
    /// # Errors
    /// When it cannot be started or does not greet; the error then holds what it printed.
    pub fn start(
        program: &str,
        accel: &str,
        ids: Option<(u32, u32)>,
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
            .stderr(Stdio::piped());
        if let Some((uid, gid)) = ids {
            command.uid(uid).gid(gid);
        }
        // A QEMU does not end with its monitor: without this, a daemon killed in the middle of a
        // probe would leave it behind.
        host_sys::die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = pipes else {
            return Err(io::Error::other("no pipes to the probed program"));
        };
        let pid = rustix::process::Pid::from_child(&child);
        let (alarm, calm) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            let late = calm.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // The child is not reaped before this thread is joined, so the pid is its own.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            late
        });
        let mut conversation = Self {
            child,
            input,
            output: BufReader::new(output),
            alarm: Some(alarm),
            watchdog: Some(watchdog),
        };
        let greeting = conversation.receive();
        let greeting = greeting.map_err(|error| conversation.explain(&error))?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other("it does not greet like a QEMU monitor"));
        }
        conversation.ask(&[qmp::json!({"execute": "qmp_capabilities"})])?;
        Ok(conversation)
    }

    /// Sends commands and returns their answer objects in order.
    ///
    /// # Errors
    /// When the program ends, hangs beyond the deadline, or answers what is no JSON.
    pub fn ask(&mut self, commands: &[Value]) -> io::Result<Vec<Value>> {
        let mut answers = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(PIPELINE) {
            let lines: String = chunk.iter().map(|command| format!("{command}\n")).collect();
            self.input.write_all(lines.as_bytes())?;
            for _ in chunk {
                let answer = self.receive();
                answers.push(answer.map_err(|error| self.explain(&error))?);
            }
        }
        Ok(answers)
    }

    /// The next object that is no event.
    fn receive(&mut self) -> io::Result<Value> {
        loop {
            let mut line = Vec::new();
            (&mut self.output).take(ANSWER_MAX).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let object: Value = serde_json::from_slice(&line)
                .map_err(|_| io::Error::other("an answer is not JSON"))?;
            if object.get("event").is_none() {
                return Ok(object);
            }
        }
    }

    /// The error with what the program printed, or that it took too long.
    fn explain(&mut self, error: &io::Error) -> io::Error {
        if self.settle() {
            return io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
        }
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = stderr.take(4096).read_to_string(&mut said);
        }
        let said = said.trim();
        if said.is_empty() { io::Error::other(error.to_string()) } else { io::Error::other(said) }
    }

    /// Ends the program; true if the watchdog had to.
    fn settle(&mut self) -> bool {
        let _ = self.child.kill();
        self.alarm = None;
        let late = self.watchdog.take().is_some_and(|thread| thread.join().unwrap_or(false));
        let _ = self.child.wait();
        late
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.settle();
    }
}
