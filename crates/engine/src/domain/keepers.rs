//! The small daemons beside us (log daemon, lock daemon): connecting to one that runs, whoever
//! started it, else starting ours.

use host::spawn::Helper;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one that was just started may take to answer.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the daemon behind `socket`, which `helper` starts if there is none. May block.
///
/// # Errors
/// Why there is none.
pub(super) fn reach<T>(
    socket: &Path,
    helper: Option<&Helper>,
    connect: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<T> {
    match connect(socket) {
        Err(error) if is_absent(&error) => {}
        reached => return reached,
    }
    let helper = helper.ok_or(io::ErrorKind::NotFound)?;
    let deadline = Instant::now() + START_PATIENCE;
    let started = run(helper);
    // Also when ours did not start: another start may have been faster with its own.
    loop {
        let error = match connect(socket) {
            Ok(daemon) => return Ok(daemon),
            Err(error) => error,
        };
        let hopeless = started.is_err() && socket.symlink_metadata().is_err();
        if hopeless || Instant::now() > deadline || !is_absent(&error) {
            return Err(started.err().unwrap_or(error));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the program that starts a daemon and returns when that is ready.
fn run(helper: &Helper) -> io::Result<()> {
    let mut command = Command::new(&helper.program);
    command.args(&helper.args).stdin(Stdio::null()).current_dir("/");
    // What it starts has a log of its own: what is read here ends with it.
    let ended = command.stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(why(&ended.stderr, &ended.status.to_string()))),
    }
}

/// Why one did not start: its last words, else how it ended.
fn why(said: &[u8], ended: &str) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    match last {
        Some(line) => {
            format!("starting one failed: {}", line.strip_prefix("error: ").unwrap_or(line))
        }
        None => format!("starting one ended with {ended}"),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn the_last_words_say_why() {
        let said = b"a warning\nerror: /run/x.pid is locked by process 7 (x)\n\n";
        let expected = "starting one failed: /run/x.pid is locked by process 7 (x)";
        assert_eq!(why(said, "exit status: 1"), expected);
        assert_eq!(why(b"\n", "exit status: 1"), "starting one ended with exit status: 1");
    }
}
