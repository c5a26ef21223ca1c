//! The way between QEMU and a file: the file's own descriptor, or a pipe to a program that packs or
//! unpacks, or to a thread that copies past the page cache.

use super::program_file;
use super::target::{Target, no_direct, write_error};
use diag::VirError;
use host::process::{Exit, Process};
use model::save_image::SaveFormat;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What QEMU gets.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A file, for QEMU to use from this offset on; the second descriptor, if there is one, is past
    /// the page cache.
    File {
        /// The file.
        file: OwnedFd,
        /// The file again.
        direct: Option<OwnedFd>,
        /// Where the guest's state begins.
        offset: u64,
    },
    /// The end of a pipe.
    Pipe(OwnedFd),
}

/// What works on the other end of the pipe.
#[derive(Debug)]
enum Worker {
    /// Nobody: QEMU has the file.
    None,
    Program {
        name: &'static str,
        process: Process,
        said: Option<ChildStderr>,
    },
    Copy {
        task: JoinHandle<io::Result<()>>,
        /// Closes with the end of the copy.
        ended: watch::Receiver<()>,
    },
}

/// What is on the other side of a [`Carrier`].
#[derive(Debug)]
pub(super) struct Stream {
    worker: Worker,
    path: PathBuf,
}

/// How a stream is made.
#[derive(Clone, Debug)]
pub(super) struct StreamOptions {
    /// What the file holds.
    pub format: SaveFormat,
    /// Past the page cache.
    pub bypass_cache: bool,
    /// Where the guest's state begins.
    pub offset: u64,
    /// The daemon's search path.
    pub search: PathBuf,
    /// The file's name, for errors.
    pub path: PathBuf,
}

impl Stream {
    /// The way into `target`. `head` is what stands before the guest's state: it is written here
    /// where all goes past the page cache, and is there already otherwise.
    ///
    /// # Errors
    /// Those of pipes, programs, and file systems without direct I/O.
    pub fn into_target(
        target: &Target,
        options: StreamOptions,
        head: Vec<u8>,
    ) -> Result<(Carrier, Self), VirError> {
        let StreamOptions { format, bypass_cache, offset, search, path } = options;
        let copy = || target.file()?.try_clone().map_err(|error| write_error(&path, &error));
        if let Some(name) = plan::migration::packer(format) {
            let file = copy()?;
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(offset))
                .map_err(|error| write_error(&path, &error.into()))?;
            let (read, write) = pipe()?;
            let worker = program(name, &["-c"], &search, read.into(), file.into())?;
            return Ok((Carrier::Pipe(write), Self { worker, path }));
        }
        let direct = bypass_cache && format == SaveFormat::Sparse;
        if !bypass_cache || direct {
            let direct = if direct { Some(target.direct()?) } else { None };
            let carrier = Carrier::File { file: copy()?.into(), direct, offset };
            return Ok((carrier, Self { worker: Worker::None, path }));
        }
        let file = copy()?;
        host::direct::set_direct(&file, true).map_err(|error| no_direct(&path, &error))?;
        let (read, write) = pipe()?;
        let worker = copying(move || host::direct::pipe_to_file(&head, read, &file).map(|_| ()));
        Ok((Carrier::Pipe(write), Self { worker, path }))
    }

    /// The way out of an image.
    ///
    /// # Errors
    /// As [`Stream::into_target`].
    pub fn out_of(file: File, options: StreamOptions) -> Result<(Carrier, Self), VirError> {
        let StreamOptions { format, bypass_cache, offset, search, path } = options;
        if let Some(name) = plan::migration::packer(format) {
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(offset))
                .map_err(|error| super::system_error("read", &path, &error.into()))?;
            let (read, write) = pipe()?;
            let worker = program(name, &["-dc"], &search, file.into(), write.into())?;
            return Ok((Carrier::Pipe(read), Self { worker, path }));
        }
        if bypass_cache && format == SaveFormat::Raw {
            host::direct::set_direct(&file, true).map_err(|error| no_direct(&path, &error))?;
            let (read, write) = pipe()?;
            let worker = copying(move || host::direct::file_to_pipe(&file, offset, write));
            return Ok((Carrier::Pipe(read), Self { worker, path }));
        }
        let direct = match bypass_cache {
            true => {
                let again = File::open(&path).and_then(|file| {
                    host::direct::set_direct(&file, true)?;
                    Ok(file)
                });
                Some(again.map_err(|error| no_direct(&path, &error))?.into())
            }
            false => None,
        };
        let carrier = Carrier::File { file: file.into(), direct, offset };
        Ok((carrier, Self { worker: Worker::None, path }))
    }

    /// Waits until everything that QEMU wrote is in the file.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn finish(&mut self) -> Result<(), VirError> {
        match &mut self.worker {
            Worker::None => Ok(()),
            Worker::Program { name, process, said } => match process.exited().await {
                Ok(Exit::Code(0)) => Ok(()),
                _ => {
                    let said = said.take();
                    let words = tokio::task::spawn_blocking(move || words_of(said)).await;
                    Err(failed(name, &self.path, &words.unwrap_or_default()))
                }
            },
            Worker::Copy { task, .. } => match task.await {
                Ok(result) => result.map_err(|error| write_error(&self.path, &error)),
                Err(_) => Err(VirError::internal("the call ended unexpectedly; the log says more")),
            },
        }
    }

    /// Returns when whoever works has ended, well or not; never where nobody does.
    pub async fn ended(&self) {
        match &self.worker {
            Worker::None => std::future::pending().await,
            Worker::Program { process, .. } => {
                let _ = process.exited().await;
            }
            Worker::Copy { ended, .. } => {
                let mut ended = ended.clone();
                while ended.changed().await.is_ok() {}
            }
        }
    }

    /// Ends whoever works, so that QEMU finds its pipe closed.
    pub fn cut(&self) {
        if let Worker::Program { process, .. } = &self.worker {
            let _ = process.kill();
        }
    }

    /// What the other side says about a failure that QEMU met, if it says anything.
    pub async fn complaint(&mut self) -> Option<VirError> {
        match &self.worker {
            Worker::Program { process, .. } => {
                // It writes to nobody any more, or has said its word and ended.
                let patience = Duration::from_secs(1);
                if tokio::time::timeout(patience, process.exited()).await.is_err() {
                    let _ = process.kill();
                }
            }
            Worker::Copy { task, .. } if !task.is_finished() => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Worker::Copy { .. } | Worker::None => {}
        }
        match &self.worker {
            // A copy that still waits for QEMU has nothing to complain of.
            Worker::Copy { task, .. } if !task.is_finished() => None,
            Worker::None => None,
            _ => self.finish().await.err(),
        }
    }
}

/// A copy on a thread of its own.
fn copying(copy: impl FnOnce() -> io::Result<()> + Send + 'static) -> Worker {
    let (running, ended) = watch::channel(());
    let task = tokio::task::spawn_blocking(move || {
        let _running = running;
        copy()
    });
    Worker::Copy { task, ended }
}

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), VirError> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    let (read, write) = rustix::pipe::pipe_with(flags)
        .map_err(|error| VirError::internal(format!("no pipe: {}", io::Error::from(error))))?;
    // As large as an ordinary user may have them; one that stays small only costs time.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, 1 << 20);
    Ok((read, write))
}

fn program(
    name: &'static str,
    arguments: &[&str],
    search: &Path,
    input: Stdio,
    output: Stdio,
) -> Result<Worker, VirError> {
    let missing = |error: io::Error| VirError::failed(format!("cannot run '{name}': {error}"));
    let file = program_file(name, search).ok_or_else(|| {
        missing(io::Error::new(io::ErrorKind::NotFound, "there is no such program"))
    })?;
    let mut child = Command::new(file)
        .args(arguments)
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .current_dir("/")
        // No signal to the daemon's group may reach it.
        .process_group(0)
        .spawn()
        .map_err(missing)?;
    let said = child.stderr.take();
    let process = Process::open(child.id()).map_err(missing)?;
    Ok(Worker::Program { name, process, said })
}

/// The last words of a program that ended.
fn words_of(said: Option<ChildStderr>) -> String {
    let mut words = String::new();
    if let Some(said) = said {
        let _ = said.take(4096).read_to_string(&mut words);
    }
    words.trim().replace('\n', "; ")
}

fn failed(name: &str, path: &Path, words: &str) -> VirError {
    let words = if words.is_empty() { "it failed without a word" } else { words };
    VirError::failed(format!("'{name}' failed with {}: {words}", path.display()))
}
