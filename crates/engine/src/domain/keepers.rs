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
    command.args(&helper.args).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.current_dir("/").status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("starting one ended with {status}"))),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
