//! What the server asks of those who know the procedures.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

use diag::VirError;

use super::{ListenerKind, Outbox, Peer, Stream};

/// A future that lives on after the connection it answers.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The procedures behind a server.
///
/// All methods run on the thread that reads the connection: they must return at once and never block. What takes
/// longer goes into [`Outcome::Later`].
pub trait Service: Send + Sync + 'static {
    /// What the service keeps for each connection.
    type Session: Send + Sync + 'static;

    /// The (program, version) pairs spoken on listeners of this kind. Calls to others are answered with an error
    /// by the server itself; keepalive is the server's own.
    fn programs(&self, kind: ListenerKind) -> &[(u32, u32)];

    /// A client came. `out` reaches it from anywhere, at any time.
    fn connected(&self, peer: &Arc<Peer>, out: Outbox) -> Self::Session;

    /// A call came, with status 0, for one of [`Service::programs`].
    ///
    /// `reply` is empty: an answer that is ready is put there and announced by [`Outcome::Reply`]. The buffer is
    /// used again for the next call. With any other outcome it is ignored.
    fn call(&self, session: &Arc<Self::Session>, call: Call<'_>, reply: &mut Vec<u8>) -> Outcome;

    /// The client is gone; nothing sent to its [`Outbox`] arrives any more. Calls of it that are still running
    /// ([`Outcome::Later`]) run on.
    fn disconnected(&self, session: &Arc<Self::Session>);
}

/// One request.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which protocol.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// Which procedure of it.
    pub procedure: i32,
    /// The client's number for the call.
    pub serial: u32,
    /// The arguments, in XDR.
    pub payload: &'a [u8],
    /// Descriptors that came with the call.
    pub fds: Vec<OwnedFd>,
}

/// What to do with a call.
pub enum Outcome {
    /// The reply's payload is in `reply` (nothing there: an empty reply).
    Reply,
    /// The reply's payload, built elsewhere (the form for [`Outcome::Later`]).
    ReplyWith(Vec<u8>),
    /// The reply's payload and descriptors to send with it (at most 32).
    ReplyFds(Vec<u8>, Vec<OwnedFd>),
    /// The call failed.
    Error(VirError),
    /// The answer comes later. The future always runs to its end, even if the client goes away; then only the
    /// answer is dropped. [`Outcome::Reply`] from it means an empty reply.
    Later(BoxFuture<Outcome>),
    /// As [`Outcome::Later`], but the first steps are taken at once, on the connection's thread: for calls that only
    /// have to ask somebody, who then is asked without a change of thread before. It becomes a task when it is woken.
    Prompt(BoxFuture<Outcome>),
    /// The answer comes from work that blocks (files): it runs on a thread for that, handed over directly and
    /// answered directly, and like [`Outcome::Later`] always to its end. It may itself leave a rest for later.
    Blocking(Box<dyn FnOnce() -> Outcome + Send>),
    /// The call opens a stream: `reply` is the reply's payload; then `start` is called and its future run.
    ///
    /// The future's end is the stream's: `Ok` answers the client's finish (now, or when it comes), an error goes to
    /// the client and ends the stream, as do a panic and a dropped future.
    Stream {
        /// The reply's payload.
        reply: Vec<u8>,
        /// Makes the future that serves the stream.
        start: Box<dyn FnOnce(Stream) -> BoxFuture<Result<(), VirError>> + Send>,
        /// See [`Outcome::on_close`].
        closing: Option<Box<dyn FnOnce() + Send>>,
    },
    /// Reply with this payload, then close the connection.
    Close(Vec<u8>),
}

impl Outcome {
    /// Shorthand for [`Outcome::Later`].
    pub fn later(future: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Shorthand for [`Outcome::Prompt`].
    pub fn prompt(future: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Self::Prompt(Box::pin(future))
    }

    /// Shorthand for [`Outcome::Blocking`].
    pub fn blocking(work: impl FnOnce() -> Outcome + Send + 'static) -> Self {
        Self::Blocking(Box::new(work))
    }

    /// Shorthand for [`Outcome::Stream`].
    pub fn stream<F>(reply: Vec<u8>, start: impl FnOnce(Stream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), VirError>> + Send + 'static,
    {
        let start = Box::new(move |stream| Box::pin(start(stream)) as BoxFuture<_>);
        Self::Stream { reply, start, closing: None }
    }

    /// For a stream: has `closing` called when the client aborts it or is gone, before the abort is
    /// answered, so that what the stream held is free for what the client asks for next. It must not
    /// wait. Nothing for other outcomes.
    #[must_use]
    pub fn on_close(mut self, release: impl FnOnce() + Send + 'static) -> Self {
        if let Self::Stream { closing, .. } = &mut self {
            *closing = Some(Box::new(release));
        }
        self
    }
}

impl From<VirError> for Outcome {
    fn from(error: VirError) -> Self {
        Self::Error(error)
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reply => f.write_str("Reply"),
            Self::ReplyWith(payload) => write!(f, "ReplyWith({} bytes)", payload.len()),
            Self::ReplyFds(payload, fds) => {
                write!(f, "ReplyFds({} bytes, {} fds)", payload.len(), fds.len())
            }
            Self::Error(error) => write!(f, "Error({error:?})"),
            Self::Later(_) => f.write_str("Later"),
            Self::Prompt(_) => f.write_str("Prompt"),
            Self::Blocking(_) => f.write_str("Blocking"),
            Self::Stream { .. } => f.write_str("Stream"),
            Self::Close(payload) => write!(f, "Close({} bytes)", payload.len()),
        }
    }
}
