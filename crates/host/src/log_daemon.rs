//! The log daemon as its client sees it: libvirt's virtlogd or our own, which speak alike.
//!
//! A guest writes into a pipe whose other end the log daemon has, which bounds what reaches the
//! disk. The daemon outlives us, so a restart of ours loses nothing that the guest says.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use protocol::log::{
    AppendLogFileArgs, GetLogFilePositionArgs, NonnullDomain, OpenLogFileArgs, ReadLogFileArgs,
    procs,
};

use crate::peer_call::Peer;
pub use crate::peer_call::PeerError;

/// The flag of an opening that empties the file first.
const TRUNCATE: u32 = 1;

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UUID.
    pub uuid: [u8; 16],
}

impl Guest<'_> {
    fn wire(&self) -> NonnullDomain {
        NonnullDomain { uuid: self.uuid, name: self.name.to_owned() }
    }
}

/// A place in a log: the file, which may have been renamed since, and the byte in it.
pub type Position = protocol::log::Position;

/// A connection to the log daemon.
#[derive(Debug)]
pub struct LogDaemon(Peer);

impl LogDaemon {
    /// Connects.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` when none runs there.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Peer::connect(socket).map(Self)
    }

    /// Opens a log for a guest, emptied if `truncate`: where its output goes to, and where in the
    /// file it begins.
    ///
    /// # Errors
    /// The file cannot be opened, or another guest writes to it.
    pub fn open(
        &mut self,
        guest: Guest<'_>,
        path: &str,
        truncate: bool,
    ) -> Result<(OwnedFd, Position), PeerError> {
        let args = OpenLogFileArgs {
            driver: "qemu".into(),
            dom: guest.wire(),
            path: path.into(),
            flags: if truncate { TRUNCATE } else { 0 },
        };
        let (ret, fds) = self.0.call::<procs::OpenLogFile>(&args)?;
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "no descriptor came");
        let fd = fds.into_iter().next().ok_or_else(missing)?;
        Ok((fd, ret.pos))
    }

    /// Where an open log ends now, with all that was written to its descriptor.
    ///
    /// # Errors
    /// The log is not open.
    pub fn position(&mut self, path: &str) -> Result<Position, PeerError> {
        let args = GetLogFilePositionArgs { path: path.into(), flags: 0 };
        self.0.call::<procs::GetLogFilePosition>(&args).map(|(ret, _)| ret.pos)
    }

    /// At most `limit` bytes of a log from `position` on.
    ///
    /// # Errors
    /// The file is not there any more.
    pub fn read(
        &mut self,
        path: &str,
        position: &Position,
        limit: u64,
    ) -> Result<String, PeerError> {
        let args =
            ReadLogFileArgs { path: path.into(), pos: position.clone(), maxlen: limit, flags: 0 };
        self.0.call::<procs::ReadLogFile>(&args).map(|(ret, _)| ret.data)
    }

    /// Adds text to a log, open or not.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&mut self, guest: Guest<'_>, path: &str, text: &str) -> Result<(), PeerError> {
        let args = AppendLogFileArgs {
            driver: "qemu".into(),
            dom: guest.wire(),
            path: path.into(),
            message: text.into(),
            flags: 0,
        };
        self.0.call::<procs::AppendLogFile>(&args).map(|_| ())
    }
}
