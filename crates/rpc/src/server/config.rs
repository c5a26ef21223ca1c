//! Settings of a server and of its doors.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{ListenerKind, Peer};

/// Limits that may change while the server runs (the administration protocol sets them).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// At this many clients no more are accepted; they wait in the socket's queue.
    pub max_clients: usize,
    /// The same for clients that are not authenticated yet.
    pub max_anonymous_clients: usize,
    /// Calls of one client that may run at the same time; further ones stay in the socket.
    pub max_client_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_clients: 5000, max_anonymous_clients: 20, max_client_requests: 5 }
    }
}

/// When to ask a silent client whether it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepaliveConfig {
    /// Silence before the first and between further questions; zero turns asking off.
    pub interval: Duration,
    /// Unanswered questions after which, one interval later, the connection is closed.
    pub count: u32,
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), count: 5 }
    }
}

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Name in logs and in the administration protocol ("libvirtd", "admin").
    pub name: String,
    /// Limits at the start.
    pub limits: Limits,
    /// The kernel's queue of connections not yet accepted (`max_queued_clients`).
    pub max_queued: i32,
    /// Keepalive.
    pub keepalive: KeepaliveConfig,
    /// Bytes of events (each counted with 64 bytes more) a client may leave unread before it is dropped.
    pub max_queued_event_bytes: usize,
    /// Bytes of a client's stream data that wait for their handlers before its socket is left unread.
    pub max_stream_backlog: usize,
    /// Bytes of replies a client may leave unread before its further requests are left unread.
    pub max_reply_backlog: usize,
    /// Where the futures of [`super::Outcome::Later`] and of streams run; none: on the connection's own thread.
    /// Those that run on threads of the server end with them, others do not.
    pub runtime: Option<tokio::runtime::Handle>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: "libvirtd".into(),
            limits: Limits::default(),
            max_queued: 1000,
            keepalive: KeepaliveConfig::default(),
            max_queued_event_bytes: 8 << 20,
            max_stream_backlog: 1 << 20,
            max_reply_backlog: 1 << 20,
            runtime: None,
        }
    }
}

/// Whether a peer may come in at all.
pub type Allow = Arc<dyn Fn(&Peer) -> bool + Send + Sync>;

/// Where a listening socket comes from.
#[derive(Debug)]
pub enum ListenAt {
    /// Made by us at a path (at most 107 bytes).
    Path {
        /// The path.
        path: PathBuf,
        /// Permission bits; the file never has more than these, whatever the umask.
        mode: u32,
        /// Owner, if not ours.
        uid: Option<u32>,
        /// Group, if not ours.
        gid: Option<u32>,
    },
    /// Handed over, listening already (socket activation). It is not unlinked at the end.
    Fd(OwnedFd),
}

/// One door.
pub struct ListenerSpec {
    /// The socket.
    pub at: ListenAt,
    /// What the door is for.
    pub kind: ListenerKind,
    /// Clients of this door may only read.
    pub read_only: bool,
    /// Who may come in; asked once for each connection.
    pub allow: Allow,
}

impl ListenerSpec {
    /// A socket at `path` with permission bits `mode`, open to every peer the file's mode admits.
    pub fn path(kind: ListenerKind, path: impl Into<PathBuf>, mode: u32) -> Self {
        Self {
            at: ListenAt::Path { path: path.into(), mode, uid: None, gid: None },
            kind,
            read_only: kind == ListenerKind::ReadOnly,
            allow: Arc::new(|_| true),
        }
    }

    /// A socket that listens already.
    pub fn fd(kind: ListenerKind, fd: OwnedFd) -> Self {
        Self {
            at: ListenAt::Fd(fd),
            kind,
            read_only: kind == ListenerKind::ReadOnly,
            allow: Arc::new(|_| true),
        }
    }

    /// The same, with the socket file's group set.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        if let ListenAt::Path { gid, .. } = &mut self.at {
            *gid = Some(group);
        }
        self
    }

    /// The same, letting in only peers that pass `check`.
    #[must_use]
    pub fn allow(mut self, check: impl Fn(&Peer) -> bool + Send + Sync + 'static) -> Self {
        self.allow = Arc::new(check);
        self
    }
}

impl std::fmt::Debug for ListenerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenerSpec")
            .field("at", &self.at)
            .field("kind", &self.kind)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
