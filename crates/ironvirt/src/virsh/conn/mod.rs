//! The connection to a daemon: typed calls, events and streams, blocking.

mod config;

use std::time::Duration;

use super::fail::{Fail, Outcome};
use diag::VirError;
use protocol::{Event, Procedure};
use rpc::client::{Connection, Keepalive, OpenOptions};
pub use rpc::client::{RawEvent, Received, Stream, StreamItem};

impl From<VirError> for Fail {
    fn from(e: VirError) -> Self {
        Self { lines: vec![e.message()], code: Some(e.code.0), ..Self::default() }
    }
}

/// An open connection.
pub struct Conn {
    inner: Connection,
}

/// Makes a typed call: `call!(ctl, DomainSuspend { dom: d.clone() })`.
macro_rules! call {
    ($ctl:expr, $p:ident) => {
        $ctl.call::<protocol::remote::procs::$p>(&())
    };
    ($ctl:expr, $p:ident { $($body:tt)* }) => {{
        type Args = <protocol::remote::procs::$p as protocol::Procedure>::Args;
        let args = Args { $($body)* };
        $ctl.call::<protocol::remote::procs::$p>(&args)
    }};
}
pub(crate) use call;

impl Conn {
    /// Opens the URI (none: the configured or probed default).
    pub fn open(
        uri: Option<&str>,
        read_only: bool,
        keepalive: (Option<i32>, Option<i32>),
    ) -> Outcome<Self> {
        let uri = config::resolve(uri);
        let interval = keepalive.0.unwrap_or(5);
        let keepalive = (interval > 0).then(|| Keepalive {
            interval: Duration::from_secs(interval.unsigned_abs().into()),
            count: keepalive.1.unwrap_or(6).unsigned_abs(),
        });
        let session_dir = config::session_dir();
        let options = OpenOptions {
            read_only,
            keepalive,
            close_callback: true,
            session_daemon: config::session_daemon(),
            session_dir,
            ..OpenOptions::default()
        };
        Ok(Self { inner: Connection::open(&uri, &options)? })
    }

    /// The daemon has not gone.
    pub fn alive(&self) -> bool {
        self.inner.is_alive()
    }

    /// The same connection once more, for a thread of its own.
    pub fn share(&self) -> Self {
        Self { inner: self.inner.clone() }
    }

    /// The URI as given.
    pub fn uri(&self) -> &str {
        self.inner.uri()
    }

    /// One call and its answer.
    pub fn call<P: Procedure>(&self, args: &P::Args) -> Outcome<P::Ret> {
        Ok(self.inner.call::<P>(args)?)
    }

    /// The daemon has the feature of that number.
    pub fn supports(&self, feature: i32) -> Outcome<bool> {
        Ok(self.inner.supports_feature(feature)?)
    }

    /// A call that hands file descriptors over.
    pub fn call_with_fds<P: Procedure>(
        &self,
        args: &P::Args,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Outcome<P::Ret> {
        Ok(self.inner.call_with_fds::<P>(args, fds)?.0)
    }

    /// A call that opens a stream.
    pub fn open_stream<P: Procedure>(&self, args: &P::Args) -> Outcome<(P::Ret, Stream)> {
        Ok(self.inner.open_stream::<P>(args)?)
    }

    /// The next event, waiting at most so long.
    pub fn next_event(&self, timeout: Option<Duration>) -> Outcome<Option<RawEvent>> {
        Ok(self.inner.next_event(timeout)?)
    }
}

/// Decodes an event if it is of that kind.
pub fn event<E: Event>(raw: &RawEvent) -> Option<E::Msg> {
    raw.is::<E>().then(|| raw.decode::<E>().ok()).flatten()
}
