//! Consoles and channels of running guests: the host's end of their character devices, one client
//! at a time.

use crate::domain::affect::not_running;
use crate::domain::record::Domain;
use crate::domain::seat::history;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::chardev::{CharType, Serial};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Who has which character device open.
#[derive(Debug, Default)]
pub struct Consoles {
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    next: u64,
    by_path: HashMap<PathBuf, User>,
}

#[derive(Debug)]
struct User {
    number: u64,
    taken: watch::Sender<bool>,
}

impl Consoles {
    fn lock(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the caller the only user of `path`; `None` when another one is and `force` is not
    /// set. With `force`, the other one is told that it lost it.
    fn claim(self: &Arc<Self>, path: &Path, force: bool) -> Option<Claim> {
        let mut users = self.lock();
        if let Some(user) = users.by_path.get(path) {
            if !force {
                return None;
            }
            // Nobody listens when it is just going away by itself.
            let _ = user.taken.send(true);
        }
        users.next += 1;
        let number = users.next;
        let (taken, receiver) = watch::channel(false);
        users.by_path.insert(path.to_owned(), User { number, taken });
        Some(Claim { consoles: Arc::clone(self), path: path.to_owned(), number, taken: receiver })
    }

    /// What stands for the device of a guest that does not run: any number may have it.
    fn nothing(self: &Arc<Self>) -> Claim {
        let (_, taken) = watch::channel(false);
        Claim { consoles: Arc::clone(self), path: PathBuf::new(), number: 0, taken }
    }

    /// Ends the use of `path` by user `number`, if it is still that one's.
    fn release(&self, path: &Path, number: u64) {
        let mut users = self.lock();
        if users.by_path.get(path).is_some_and(|user| user.number == number) {
            users.by_path.remove(path);
        }
    }
}

/// A device is in use as long as this lives.
#[derive(Debug)]
struct Claim {
    consoles: Arc<Consoles>,
    path: PathBuf,
    number: u64,
    taken: watch::Receiver<bool>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.consoles.release(&self.path, self.number);
    }
}

/// The host's end of a guest's character device, open for one client.
#[derive(Debug)]
pub struct ConsolePort {
    end: End,
    claim: Claim,
    history: Vec<u8>,
}

#[derive(Debug)]
enum End {
    Terminal(AsyncFd<File>),
    Socket(UnixStream),
    /// The guest does not run: there is nobody to hear or to talk to.
    Gone,
}

/// How a console is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsoleOptions {
    /// Take it from whoever has it.
    pub force: bool,
    /// Begin with what was said before, also where the guest is gone.
    pub history: bool,
}

impl ConsolePort {
    /// What was said before it was opened, where that was asked for; empty from the second call on.
    pub fn take_history(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.history)
    }

    /// Waits for bytes from the guest; 0 at the end. Safe to cancel.
    ///
    /// # Errors
    /// The device fails.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match &self.end {
            End::Terminal(file) => {
                file.async_io(Interest::READABLE, |mut file| file.read(buffer)).await
            }
            End::Socket(stream) => {
                stream.async_io(Interest::READABLE, || stream.try_read(buffer)).await
            }
            End::Gone => Ok(0),
        };
        match result {
            // What a terminal says when QEMU closed the other end.
            Err(error) if error.raw_os_error() == Some(EIO) => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            other => other,
        }
    }

    /// Writes some of `bytes` as soon as there is room. Safe to cancel.
    ///
    /// # Errors
    /// The device fails.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.end {
            End::Terminal(file) => {
                file.async_io(Interest::WRITABLE, |mut file| file.write(bytes)).await
            }
            End::Socket(stream) => {
                stream.async_io(Interest::WRITABLE, || stream.try_write(bytes)).await
            }
            End::Gone => Ok(bytes.len()),
        }
    }

    /// What frees the device for the next client at once, before this one's end is noticed here.
    pub fn release(&self) -> impl FnOnce() + Send + 'static {
        let consoles = Arc::clone(&self.claim.consoles);
        let (path, number) = (self.claim.path.clone(), self.claim.number);
        move || consoles.release(&path, number)
    }

    /// Waits until another client takes the device by force.
    pub async fn taken(&self) {
        let mut taken = self.claim.taken.clone();
        if taken.wait_for(|taken| *taken).await.is_err() {
            // Released, or never anybody's: nobody can take it any more.
            std::future::pending().await
        }
    }
}

/// `EIO`.
const EIO: i32 = 5;

impl Engine {
    /// Opens the guest's console, or the serial, parallel or console device with the alias `name`.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When the domain does not run, has no such device, it is in use, or it cannot be opened; with
    /// its history, when nothing keeps that.
    pub async fn open_console(
        self: &Arc<Self>,
        domain: &Domain,
        name: Option<&str>,
        options: ConsoleOptions,
    ) -> Result<ConsolePort, VirError> {
        let snapshot = domain.snapshot();
        let missing = || {
            let name = name.unwrap_or("<null>");
            VirError::internal(format!("cannot find character device {name}"))
        };
        if let (None, Some(config), true) = (&snapshot.live, &snapshot.config, options.history) {
            let stored = self.definition_of(config)?;
            let device = history::find_stored(&stored, name).ok_or_else(missing)?;
            let history = self.history_of(device).await?;
            return Ok(ConsolePort { end: End::Gone, claim: self.consoles.nothing(), history });
        }
        let live = snapshot.live.as_ref().ok_or_else(not_running)?;
        let device = find_console(&live.definition, name).ok_or_else(missing)?;
        let path = path_of(device).ok_or_else(|| {
            let name = alias_of(device);
            VirError::internal(format!("character device {name} is not using a PTY"))
        })?;
        // Before the terminal is opened: QEMU hands out what comes later there.
        let history = if options.history { self.history_of(device).await? } else { Vec::new() };
        let mut port = self
            .open_port(device, Path::new(path), options.force)
            .await?
            .ok_or_else(|| VirError::failed("Active console session exists for this domain"))?;
        port.history = history;
        Ok(port)
    }

    /// Opens the first channel, or the one whose target is called `name`. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`Engine::open_console`].
    pub async fn open_channel(
        &self,
        domain: &Domain,
        name: Option<&str>,
        force: bool,
    ) -> Result<ConsolePort, VirError> {
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().ok_or_else(not_running)?;
        let mut channels = live.definition.devices.iter().flat_map(|devices| &devices.channels);
        let target = |channel: &Serial| channel.target.as_ref().and_then(|t| t.name.clone());
        let channel = match name {
            None => channels.next(),
            Some(name) => channels.find(|channel| {
                target(channel).as_deref() == Some(name) || alias_of(channel) == name
            }),
        };
        let shown = name.unwrap_or("<null>");
        let channel =
            channel.ok_or_else(|| VirError::internal(format!("cannot find channel {shown}")))?;
        let unix = channel.source.kind == CharType::Unix;
        let path = path_of(channel).filter(|_| unix).ok_or_else(|| {
            VirError::internal(format!("channel {shown} is not using a UNIX socket"))
        })?;
        self.open_port(channel, Path::new(path), force)
            .await?
            .ok_or_else(|| VirError::failed("Active channel stream exists for this domain"))
    }

    /// `None`: in use.
    async fn open_port(
        &self,
        device: &Serial,
        path: &Path,
        force: bool,
    ) -> Result<Option<ConsolePort>, VirError> {
        let Some(claim) = self.consoles.claim(path, force) else { return Ok(None) };
        let failed = |error: io::Error| {
            VirError::new(
                ErrorCode::SYSTEM_ERROR,
                format!("unable to open '{}': {error}", path.display()),
            )
        };
        let end = if device.source.kind == CharType::Unix {
            End::Socket(UnixStream::connect(path).await.map_err(failed)?)
        } else {
            let file = host::pty::open(path).map_err(failed)?;
            // Deprecated because a type could change its descriptor under tokio's feet. A File
            // cannot, and the replacement is an unsafe function.
            #[allow(deprecated)]
            let file = AsyncFd::with_interest(file, Interest::READABLE | Interest::WRITABLE);
            End::Terminal(file.map_err(failed)?)
        };
        Ok(Some(ConsolePort { end, claim, history: Vec::new() }))
    }
}

/// The device that is meant by an alias, or by nothing: the first console.
fn find_console<'a>(definition: &'a Definition, name: Option<&str>) -> Option<&'a Serial> {
    let devices = definition.devices.as_ref()?;
    let Some(name) = name else {
        return devices.consoles.first().or_else(|| devices.serials.first());
    };
    let lists = [&devices.consoles, &devices.serials, &devices.parallels];
    lists.into_iter().flatten().find(|device| alias_of(device) == name)
}

pub(super) fn alias_of(device: &Serial) -> &str {
    device.alias.as_ref().map_or("", |alias| &alias.name)
}

/// Where a device's host side is, if it is a terminal or a socket.
fn path_of(device: &Serial) -> Option<&str> {
    let source = &device.source;
    let path = source.sources.iter().find_map(|source| source.path.as_deref());
    match source.kind {
        CharType::Pty => path.or(source.tty.as_deref()),
        CharType::Unix => path,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory><os><type>hvm</type></os>\
            <devices><serial type='pty'><source path='/dev/pts/1'/><alias name='serial0'/></serial>\
            <console type='pty' tty='/dev/pts/1'><source path='/dev/pts/1'/>\
            <alias name='serial0'/></console>\
            <console type='pty'><source path='/dev/pts/2'/><target type='virtio'/>\
            <alias name='console1'/></console></devices></domain>";
        let options = model::domain::ParseOptions { live: true };
        model::domain::parse(text, options).domain.expect("a definition")
    }

    #[test]
    fn devices_are_found_by_alias() {
        let definition = definition();
        for (name, expected) in [
            (None, Some("/dev/pts/1")),
            (Some("serial0"), Some("/dev/pts/1")),
            (Some("console1"), Some("/dev/pts/2")),
            (Some("console0"), None),
        ] {
            assert_eq!(find_console(&definition, name).and_then(path_of), expected, "{name:?}");
        }
    }

    #[test]
    fn one_user_at_a_time_and_force_takes_over() {
        let consoles = Arc::new(Consoles::default());
        let path = Path::new("/dev/pts/7");
        let first = consoles.claim(path, false).expect("free");
        assert!(consoles.claim(path, false).is_none());
        let second = consoles.claim(path, true).expect("forced");
        assert!(*first.taken.borrow());
        drop(first);
        assert!(consoles.claim(path, false).is_none(), "the older one's end frees nothing");
        drop(second);
        let third = consoles.claim(path, false).expect("free");
        consoles.release(path, third.number);
        let fourth = consoles.claim(path, false).expect("released");
        drop(third);
        assert!(consoles.claim(path, false).is_none(), "an end after the release frees nothing");
        drop(fourth);
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_seen() {
        let (control, path) = host::pty::make().expect("a terminal");
        let mut control = File::from(control);
        let consoles = Arc::new(Consoles::default());
        let file = host::pty::open(&path).expect("opens");
        #[allow(deprecated)]
        let file = AsyncFd::with_interest(file, Interest::READABLE | Interest::WRITABLE);
        let claim = consoles.claim(&path, false).expect("free");
        let end = End::Terminal(file.expect("registered"));
        let port = ConsolePort { end, claim, history: Vec::new() };
        assert_eq!(port.write(b"hi").await.expect("room"), 2);
        let mut buffer = [0; 8];
        control.read_exact(&mut buffer[..2]).expect("arrived");
        assert_eq!(&buffer[..2], b"hi");
        control.write_all(b"guest").expect("written");
        assert_eq!(port.read(&mut buffer).await.expect("reads"), 5);
        drop(control);
        assert_eq!(port.read(&mut buffer).await.expect("ends"), 0);
    }
}
