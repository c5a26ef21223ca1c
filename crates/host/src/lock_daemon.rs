//! The lock daemon as its client sees it: libvirt's virtlockd or our own, which speak alike.
//!
//! It holds locks on disk images for guests. It lets them go when the process of the guest is gone,
//! which it knows by a connection that this process made itself and has open all its life.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use diag::ErrorCode;
use protocol::lockspace::{
    AcquireResourceArgs, CreateLockspaceArgs, RegisterArgs, ReleaseResourceArgs, RestrictArgs,
    procs,
};
use serde::{Deserialize, Serialize};

use crate::peer_call::Peer;
pub use crate::peer_call::PeerError;

/// How long a daemon may take to become its successor.
const REPLACED: Duration = Duration::from_secs(10);

/// Others may share the lock.
const SHARED: u32 = 1;
/// The lock's file is made for it.
const CREATE: u32 = 2;

/// Whose locks they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its run-time id.
    pub id: i32,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// The folder of locks; empty: the name is a whole path.
    pub space: String,
    /// The name in it.
    pub name: String,
    /// Others may share it.
    pub shared: bool,
    /// Its file is made for it.
    pub create: bool,
}

/// A connection to the lock daemon.
#[derive(Debug)]
pub struct LockDaemon(Peer);

impl LockDaemon {
    /// Connects.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` when none runs there.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Peer::connect(socket).map(Self)
    }

    /// Connects for a guest, whose process is `pid`. One that is being replaced is waited for.
    ///
    /// # Errors
    /// None runs there, or it refuses.
    pub fn registered(socket: &Path, guest: &Guest, pid: u32) -> Result<Self, PeerError> {
        let deadline = Instant::now() + REPLACED;
        loop {
            let registered = Self::connect(socket)
                .map_err(PeerError::from)
                .and_then(|mut daemon| daemon.register(guest, pid).map(|()| daemon));
            match registered {
                Err(error) if is_replaced(&error) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                registered => return registered,
            }
        }
    }

    /// Says whose locks the calls that follow are about.
    fn register(&mut self, guest: &Guest, pid: u32) -> Result<(), PeerError> {
        let args = RegisterArgs {
            uuid: guest.uuid,
            name: guest.name.clone(),
            id: u32::try_from(guest.id).unwrap_or(0),
            pid,
            flags: 0,
        };
        self.0.call::<procs::Register>(&args).map(|_| ())
    }

    /// Gives up the right to do anything more, and gives the connection as it is: what has it open
    /// keeps the locks.
    ///
    /// # Errors
    /// The daemon's refusal.
    pub fn restrict(mut self) -> Result<OwnedFd, PeerError> {
        self.0.call::<procs::Restrict>(&RestrictArgs { flags: 0 })?;
        Ok(self.0.into_fd())
    }

    /// Makes a folder of locks known to the daemon, which makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create_space(&mut self, folder: &str) -> Result<(), PeerError> {
        let args = CreateLockspaceArgs { path: folder.into(), flags: 0 };
        self.0.call::<procs::CreateLockspace>(&args).map(|_| ())
    }

    /// Takes a lock.
    ///
    /// # Errors
    /// Somebody has it, or its file cannot be opened.
    pub fn acquire(&mut self, lock: &Lock) -> Result<(), PeerError> {
        let flags = if lock.shared { SHARED } else { 0 } | if lock.create { CREATE } else { 0 };
        let args = AcquireResourceArgs { path: lock.space.clone(), name: lock.name.clone(), flags };
        self.0.call::<procs::AcquireResource>(&args).map(|_| ())
    }

    /// Gives a lock back.
    ///
    /// # Errors
    /// It is not held.
    pub fn release(&mut self, lock: &Lock) -> Result<(), PeerError> {
        let args =
            ReleaseResourceArgs { path: lock.space.clone(), name: lock.name.clone(), flags: 0 };
        self.0.call::<procs::ReleaseResource>(&args).map(|_| ())
    }
}

/// Registers this very process as the one that locks are held for: the connection, which stays open
/// over exec if it is passed on.
///
/// # Errors
/// None runs there, or it refuses.
pub(crate) fn hold(socket: &Path, guest: &Guest) -> Result<OwnedFd, PeerError> {
    LockDaemon::registered(socket, guest, std::process::id())?.restrict()
}

/// Whether a daemon that was just connected to is about to become its successor.
fn is_replaced(error: &PeerError) -> bool {
    match error {
        PeerError::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        ),
        PeerError::Refused(error) => error.code == ErrorCode::RESOURCE_BUSY,
    }
}
