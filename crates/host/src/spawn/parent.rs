//! The daemon's side: start the helper, hear *ready*, say *go*.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::wire::*;
use super::{Helper, SpawnError, SpawnSpec};
use crate::process::Process;
use crate::scm;

/// A helper that has done everything and waits for *go*. Dropping it ends the helper.
#[derive(Debug)]
pub struct Prepared {
    socket: Option<UnixStream>,
    process: Option<Process>,
}

/// A helper that runs and waits for its specification. Dropping it ends the helper.
#[derive(Debug)]
pub struct Started {
    program: PathBuf,
    prepared: Prepared,
}

/// Starts the helper. It takes a millisecond or two to load: start it before what the
/// specification needs is there, and hand that over when it is.
///
/// To be called inside a tokio runtime, where blocking is allowed.
///
/// # Errors
/// The helper cannot be started.
pub fn start(helper: &Helper) -> Result<Started, SpawnError> {
    let failed = |source| SpawnError::Helper { program: helper.program.clone(), source };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    let mut command = Command::new(&helper.program);
    command.args(&helper.args).env_clear();
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(failed)?;
    // `command` still holds the helper's end of the socket; without this drop we would never see
    // the end of file that means "started".
    drop(command);
    // Nobody has reaped the child yet, so its pid is its own.
    let process = Process::open(child.id()).map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let socket = UnixStream::from_std(ours).map_err(failed)?;
    let prepared = Prepared { socket: Some(socket), process: Some(process) };
    Ok(Started { program: helper.program.clone(), prepared })
}

impl Started {
    /// The process id, which stays the program's.
    pub fn pid(&self) -> u32 {
        self.prepared.pid()
    }

    /// The process's start time, which together with the pid identifies it until the next boot.
    pub fn start_time(&self) -> u64 {
        self.prepared.start_time()
    }

    /// Hands the helper its specification. If this future is dropped, the helper exits.
    ///
    /// # Errors
    /// The specification cannot be carried out as written, or the helper is gone.
    pub async fn hand_over(mut self, spec: SpawnSpec) -> Result<Prepared, SpawnError> {
        let (bytes, fds) = encode(spec)?;
        let sent = self.prepared.send(&bytes, fds).await;
        sent.map_err(|source| SpawnError::Helper { program: self.program, source })?;
        Ok(self.prepared)
    }
}

/// Starts the helper and hands it the specification. [`Prepared::ready`] waits until it is done.
///
/// To be called inside a tokio runtime. If this future is dropped, the helper exits.
///
/// # Errors
/// The helper cannot be started, or the specification cannot be carried out as written.
pub async fn prepare(helper: &Helper, spec: SpawnSpec) -> Result<Prepared, SpawnError> {
    start(helper)?.hand_over(spec).await
}

impl Prepared {
    /// The process id, which stays the program's.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    /// The process's start time, which together with the pid identifies it until the next boot.
    pub fn start_time(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::start_time)
    }

    /// Waits until the helper has done all its steps. [`prepare`] does not wait for it, so that the
    /// caller can do other work meanwhile; [`Prepared::go`] does.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn ready(&mut self) -> Result<(), SpawnError> {
        let Some(socket) = &mut self.socket else { return Err(SpawnError::HelperDied) };
        match socket.read_u8().await {
            Ok(READY) => Ok(()),
            Ok(ERROR) => Err(failure(socket).await),
            Ok(_) | Err(_) => Err(SpawnError::HelperDied),
        }
    }

    /// Says *go* to a helper that is [`ready`](Prepared::ready), and waits until it has become the program.
    ///
    /// # Errors
    /// The program cannot be executed.
    pub async fn go(mut self) -> Result<Process, SpawnError> {
        let Some(mut socket) = self.socket.take() else { return Err(SpawnError::HelperDied) };
        if socket.write_all(&[GO]).await.is_err() {
            return Err(SpawnError::HelperDied);
        }
        match socket.read_u8().await {
            Ok(ERROR) => Err(failure(&mut socket).await),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                self.process.take().ok_or(SpawnError::HelperDied)
            }
            Ok(_) | Err(_) => Err(SpawnError::HelperDied),
        }
    }

    /// Ends the helper and waits until it is gone.
    pub async fn abort(mut self) {
        self.socket = None;
        if let Some(process) = self.process.take() {
            let _ = process.exited().await;
        }
    }

    async fn send(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        socket.write_all(bytes).await?;
        for bunch in fds.chunks(scm::MAX_FDS) {
            let borrowed: Vec<_> = bunch.iter().map(AsFd::as_fd).collect();
            socket
                .async_io(tokio::io::Interest::WRITABLE, || scm::send(&*socket, &[0], &borrowed))
                .await?;
        }
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Closing the socket ends a helper that waits. One that was just told to go on is the
        // program by now and would live on unknown to everybody, hence the kill.
        self.socket = None;
        let Some(process) = self.process.take() else { return };
        let _ = process.kill();
        // Somebody has to collect its exit status.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { process.exited().await });
        }
    }
}

async fn failure(socket: &mut UnixStream) -> SpawnError {
    let mut text = Vec::new();
    let read = socket.take(u64::from(MAX_TEXT)).read_to_end(&mut text).await;
    match read.ok().and_then(|_| serde_json::from_slice::<Failure>(&text).ok()) {
        Some(failure) => SpawnError::Step(failure),
        None => SpawnError::HelperDied,
    }
}

fn encode(spec: SpawnSpec) -> Result<(Vec<u8>, Vec<OwnedFd>), SpawnError> {
    let invalid = |text: &str| Err(SpawnError::Invalid(text.to_owned()));
    let (mut fds, numbers): (Vec<OwnedFd>, Vec<i32>) = spec.fds.into_iter().unzip();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    if sorted.first().is_some_and(|&n| n < 3) || sorted.windows(2).any(|w| w.first() == w.last()) {
        return invalid("descriptor numbers must be 3 or more and differ");
    }
    fds.push(spec.log);
    let bytes_of = |path: &Path| Bytes::from(path);
    let text = Text {
        program: bytes_of(&spec.program),
        args: spec.args.iter().map(|a| a.as_os_str().into()).collect(),
        env: spec.env.iter().map(|(n, v)| (n.as_os_str().into(), v.as_os_str().into())).collect(),
        directory: bytes_of(&spec.directory),
        umask: spec.umask,
        user: spec.user,
        clear_capabilities: spec.clear_capabilities,
        no_new_privs: spec.no_new_privs,
        limits: spec.limits,
        oom_score_adj: spec.oom_score_adj,
        cgroups: spec.cgroups.iter().map(|p| bytes_of(p)).collect(),
        pid_file: spec.pid_file.as_deref().map(bytes_of),
        locks: spec.locks.map(|(socket, guest)| (bytes_of(&socket), guest)),
        numbers,
    };
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, &text).map_err(|e| SpawnError::Invalid(e.to_string()))?;
    let (Ok(length), Ok(count)) = (u32::try_from(bytes.len() - 8), u32::try_from(fds.len())) else {
        return invalid("too long");
    };
    if length > MAX_TEXT || count > MAX_DESCRIPTORS {
        return invalid("too long");
    }
    for (slot, byte) in
        bytes.iter_mut().zip(length.to_le_bytes().into_iter().chain(count.to_le_bytes()))
    {
        *slot = byte;
    }
    Ok((bytes, fds))
}
