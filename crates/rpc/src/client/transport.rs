//! Getting a connected socket: unix, TCP, or a command such as ssh on the other end of a socket pair.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use diag::VirError;

use super::endpoint::Endpoint;
use super::error;
use super::options::OpenOptions;

/// How often and how long a starting session daemon is waited for.
const START_TRIES: u32 = 100;
const START_STEP: Duration = Duration::from_millis(50);
/// What of a command's standard error is kept.
const SAID_KEPT: usize = 4096;

/// Connects.
pub(super) fn connect(
    endpoint: &Endpoint,
    options: &OpenOptions,
) -> Result<(OwnedFd, Option<Tunnel>), VirError> {
    match endpoint {
        Endpoint::Unix { path, autostart } => {
            let daemon = options.session_daemon.as_deref().filter(|_| *autostart);
            Ok((unix(path, daemon)?.into(), None))
        }
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .map_err(|e| error::cannot_connect_tcp(host, *port, &e))?;
            // Calls are small and waited for.
            let _ = stream.set_nodelay(true);
            Ok((stream.into(), None))
        }
        Endpoint::Command(argv) => {
            let (ours, tunnel) = Tunnel::start(argv)?;
            Ok((ours.into(), Some(tunnel)))
        }
    }
}

fn unix(path: &Path, daemon: Option<&Path>) -> Result<UnixStream, VirError> {
    let fail = |e: std::io::Error| error::cannot_connect(&path.display().to_string(), &e);
    let first = match UnixStream::connect(path) {
        Ok(stream) => return Ok(stream),
        Err(e) => e,
    };
    let absent = matches!(
        first.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
    );
    let Some(daemon) = daemon.filter(|_| absent) else { return Err(fail(first)) };
    let mut child = start_daemon(daemon)?;
    let mut last = first;
    for _ in 0..START_TRIES {
        match UnixStream::connect(path) {
            Ok(stream) => {
                // Nobody else waits for it; without this it would stay a zombie after its own timeout.
                let _ = std::thread::Builder::new().spawn(move || child.wait());
                return Ok(stream);
            }
            Err(e) => last = e,
        }
        // A daemon that ends with success has lost the race against another one, which will answer soon.
        if matches!(child.try_wait(), Ok(Some(status)) if !status.success()) {
            break;
        }
        std::thread::sleep(START_STEP);
    }
    Err(fail(last)
        .hint(format!("The session daemon {} did not start to listen.", daemon.display())))
}

/// Starts a session daemon that ends by itself when it is idle, called as `libvirtd` whatever the program is.
fn start_daemon(program: &Path) -> Result<Child, VirError> {
    Command::new(program)
        .arg0("libvirtd")
        .arg("--timeout=120")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not ended by the terminal's interrupt key.
        .process_group(0)
        .spawn()
        .map_err(|e| error::system(format!("Cannot start the daemon {}", program.display()), &e))
}

/// A command whose standard input and output are the connection.
pub(super) struct Tunnel {
    child: Mutex<Child>,
    said: Arc<Said>,
}

/// What the command wrote to its standard error.
#[derive(Default)]
struct Said {
    /// The text, and whether it is complete.
    text: Mutex<(Vec<u8>, bool)>,
    complete: Condvar,
}

impl Tunnel {
    fn start(argv: &[String]) -> Result<(UnixStream, Self), VirError> {
        let (program, args) = argv.split_first().ok_or_else(|| error::invalid_arg("no command"))?;
        let fail =
            |e: std::io::Error| error::system(format!("cannot execute binary {program}"), &e);
        let (ours, theirs) = UnixStream::pair().map_err(fail)?;
        let input = OwnedFd::from(theirs.try_clone().map_err(fail)?);
        let mut child = Command::new(program)
            .args(args)
            .stdin(input)
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let said = Arc::new(Said::default());
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            let _ = std::thread::Builder::new().spawn(move || said.collect(stderr));
        }
        Ok((ours, Self { child: Mutex::new(child), said }))
    }

    /// What the command said; waits a moment for it to end.
    pub(super) fn said(&self) -> String {
        let text = self.said.text.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, _) = self
            .said
            .complete
            .wait_timeout_while(text, Duration::from_secs(1), |t| !t.1)
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text.0).trim_end().to_owned()
    }

    /// Ends the command, which has lost its connection already, and collects it.
    pub(super) fn reap(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..10 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Said {
    fn collect(&self, mut from: impl Read) {
        let mut buf = [0; 512];
        while let Ok(n @ 1..) = from.read(&mut buf) {
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            let room = SAID_KEPT.saturating_sub(text.0.len()).min(n);
            text.0.extend_from_slice(buf.get(..room).unwrap_or_default());
        }
        self.text.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.complete.notify_all();
    }
}
