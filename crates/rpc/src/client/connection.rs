//! Opening, calling, closing.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use diag::VirError;
use protocol::message::Status;
use protocol::{Procedure, remote};
use xdr::{Decode, Decoder};

use super::core::{self, Core};
use super::endpoint;
use super::error;
use super::event::RawEvent;
use super::options::{Keepalive, OpenOptions};
use super::stream::Stream;
use super::transport;
use super::uri::ConnUri;

/// Features a daemon may have (`CONNECT_SUPPORTS_FEATURE`).
pub mod feature {
    /// The daemon asks whether the client lives.
    pub const KEEPALIVE: i32 = 10;
    /// Events carry the number of their registration.
    pub const EVENT_CALLBACK: i32 = 14;
    /// The daemon can say why it closes the connection.
    pub const CLOSE_CALLBACK: i32 = 15;
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A fault of the transport or the protocol.
    Error,
    /// The daemon closed it.
    Eof,
    /// The daemon did not answer keepalive questions.
    Keepalive,
    /// We closed it.
    Client,
}

/// A connection to a daemon. Clones share it; the last one to go closes it. Calls may be made by several threads at
/// the same time.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<Handle>,
}

/// Closes the connection when the last user goes (the reading thread is none).
struct Handle {
    core: Arc<Core>,
    uri: String,
    read_only: bool,
    opened: bool,
    close_callback: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("uri", &self.handle.uri).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, authenticates and opens `uri`; an empty one lets the daemon choose.
    ///
    /// # Errors
    /// As libvirt's client words them: the URI is malformed, the socket does not answer, authentication fails, or
    /// the daemon refuses the name.
    pub fn open(uri: &str, options: &OpenOptions) -> Result<Self, VirError> {
        let parsed = if uri.is_empty() {
            ConnUri { driver: "remote".into(), path: "/".into(), ..ConnUri::default() }
        } else {
            ConnUri::parse(uri)?
        };
        let privileged = options.privileged.unwrap_or_else(|| rustix::process::geteuid().is_root());
        let endpoint = endpoint::choose(&parsed, options, privileged, |p| p.exists())?;
        let (fd, tunnel) = transport::connect(&endpoint, options)?;
        Self::over(fd, tunnel, uri, &parsed.name(), options)
    }

    /// Opens `name` over a socket that is connected already.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_fd(fd: OwnedFd, name: &str, options: &OpenOptions) -> Result<Self, VirError> {
        Self::over(fd, None, name, name, options)
    }

    fn over(
        fd: OwnedFd,
        tunnel: Option<transport::Tunnel>,
        uri: &str,
        name: &str,
        options: &OpenOptions,
    ) -> Result<Self, VirError> {
        let core =
            Core::start(fd, tunnel).map_err(|e| error::system("Unable to start a thread", &e))?;
        let mut handle = Handle {
            core,
            uri: uri.to_owned(),
            read_only: options.read_only,
            opened: false,
            close_callback: false,
        };
        handle.greet(name, options).map_err(|e| {
            // A connection lost on the way: why, not that a later call found it closed.
            handle.core.closed().map_or(e, |(_, reason)| reason)
        })?;
        let connection = Self { handle: Arc::new(handle) };
        if options.keepalive.is_some() {
            connection.set_keepalive(options.keepalive);
        }
        Ok(connection)
    }

    pub(super) fn core(&self) -> &Core {
        &self.handle.core
    }

    /// The URI as it was given; for an empty one, what the daemon chose.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.handle.uri
    }

    /// Whether a read-only connection was asked for.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.handle.read_only
    }

    /// Makes a call and waits for its result: `connection.call::<remote::procs::DomainCreate>(&args)`.
    ///
    /// # Errors
    /// The daemon's, or the connection is lost.
    pub fn call<P: Procedure>(&self, args: &P::Args) -> Result<P::Ret, VirError> {
        self.handle.call::<P>(args)
    }

    /// Makes a call that takes or gives file descriptors.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn call_with_fds<P: Procedure>(
        &self,
        args: &P::Args,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(P::Ret, Vec<OwnedFd>), VirError> {
        self.handle.exchange::<P>(args, fds, false).map(|(ret, fds, _)| (ret, fds))
    }

    /// Makes a call that opens a stream.
    ///
    /// # Errors
    /// As [`Connection::call`]; then there is no stream.
    pub fn open_stream<P: Procedure>(&self, args: &P::Args) -> Result<(P::Ret, Stream), VirError> {
        let (ret, _, serial) = self.handle.exchange::<P>(args, &[], true)?;
        Ok((ret, Stream::new(self.clone(), (P::PROGRAM, P::VERSION, P::NUMBER), serial)))
    }

    /// Whether the daemon has a feature (see [`feature`]).
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn supports_feature(&self, feature: i32) -> Result<bool, VirError> {
        self.handle.supports(feature)
    }

    /// The next event, waiting at most `timeout` (none: for ever). None when nothing came in time.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<RawEvent>, VirError> {
        self.core().event(timeout)
    }

    /// Begins, changes or ends asking the daemon whether it lives.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) {
        self.core().set_keepalive(keepalive);
    }

    /// Whether the connection stands.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.core().closed().is_none()
    }

    /// Why the connection ended, if it did. What the daemon announced comes before what the socket showed.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.core().closed().map(|c| c.0)
    }
}

impl Handle {
    /// What every client says first.
    fn greet(&mut self, name: &str, options: &OpenOptions) -> Result<(), VirError> {
        self.authenticate()?;
        if options.answer_keepalive {
            self.supports(feature::KEEPALIVE)?;
        }
        let flags = if options.read_only { protocol::consts::connect::flags::RO } else { 0 };
        let args = remote::ConnectOpenArgs { name: Some(name.to_owned()), flags };
        self.call::<remote::procs::ConnectOpen>(&args)?;
        self.opened = true;
        self.supports(feature::EVENT_CALLBACK)?;
        if self.supports(feature::CLOSE_CALLBACK)? && options.close_callback {
            self.call::<remote::procs::ConnectRegisterCloseCallback>(&())?;
            self.close_callback = true;
        }
        if self.uri.is_empty() {
            self.uri = self.call::<remote::procs::ConnectGetUri>(&())?.uri;
        }
        Ok(())
    }

    fn authenticate(&self) -> Result<(), VirError> {
        let types = self.call::<remote::procs::AuthList>(&())?.types;
        use remote::AuthType;
        match types.first() {
            None | Some(AuthType::None) => Ok(()),
            Some(AuthType::Polkit) => {
                let done = self.call::<remote::procs::AuthPolkit>(&())?.complete;
                if done == 0 {
                    return Err(error::auth("polkit did not complete the authentication"));
                }
                Ok(())
            }
            Some(AuthType::Sasl) => Err(error::auth("SASL is not supported by this client")),
        }
    }

    fn supports(&self, feature: i32) -> Result<bool, VirError> {
        use remote::procs::ConnectSupportsFeature as P;
        Ok(self.call::<P>(&remote::ConnectSupportsFeatureArgs { feature })?.supported != 0)
    }

    fn call<P: Procedure>(&self, args: &P::Args) -> Result<P::Ret, VirError> {
        self.exchange::<P>(args, &[], false).map(|(ret, _, _)| ret)
    }

    /// A call and its reply: result, descriptors, serial. On any fault, nothing of it is left behind.
    fn exchange<P: Procedure>(
        &self,
        args: &P::Args,
        fds: &[BorrowedFd<'_>],
        stream: bool,
    ) -> Result<(P::Ret, Vec<OwnedFd>, u32), VirError> {
        let serial = self.core.begin(stream)?;
        let done = self.exchange_as::<P>(serial, args, fds);
        if done.is_err() {
            self.core.forget(serial);
        }
        done
    }

    fn exchange_as<P: Procedure>(
        &self,
        serial: u32,
        args: &P::Args,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(P::Ret, Vec<OwnedFd>, u32), VirError> {
        let ids = (P::PROGRAM, P::VERSION, P::NUMBER);
        let count = (!fds.is_empty()).then_some(fds.len());
        let bytes = core::call_bytes(ids, serial, args, count)?;
        self.core.send(&bytes, fds)?;
        let reply = self.core.reply(serial)?;
        if reply.header.status == Status::ERROR {
            return Err(core::wire_error(&reply.payload));
        }
        let ret = P::Ret::decode(&mut Decoder::lossy(&reply.payload))
            .map_err(|e| error::undecodable(&e))?;
        Ok((ret, reply.fds, serial))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.core.closed().is_none() && self.opened {
            if self.close_callback {
                let _ = self.call::<remote::procs::ConnectUnregisterCloseCallback>(&());
            }
            let _ = self.call::<remote::procs::ConnectClose>(&());
        }
        self.core.close(CloseReason::Client, error::closed());
        self.core.reap();
    }
}
