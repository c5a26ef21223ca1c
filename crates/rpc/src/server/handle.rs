//! A running server, from outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::core::Core;
use super::listener::{Door, accept};
use super::outbox::{Closing, Mailbox};
use super::{BindError, Limits, ListenerKind, ListenerSpec, ServerConfig, Service, Shards};

/// Starts servers.
pub struct Server;

impl Server {
    /// Opens the doors and begins to accept. Either all doors open or none.
    ///
    /// The server ends by [`ServerHandle::shutdown`], or when the last handle and the last [`Shards`] reference go.
    pub fn start<S: Service>(
        shards: &Arc<Shards>,
        service: Arc<S>,
        config: ServerConfig,
        listeners: Vec<ListenerSpec>,
    ) -> Result<ServerHandle, BindError> {
        let backlog = config.max_queued;
        let doors = listeners
            .into_iter()
            .map(|spec| Door::open(spec, backlog))
            .collect::<Result<Vec<_>, _>>()?;
        let core = Arc::new(Core::new(config));
        let mut acceptors = Vec::new();
        for door in doors {
            acceptors.push(shards.first().spawn(accept(
                door,
                Arc::clone(&core),
                Arc::clone(&service),
                Arc::downgrade(shards),
            )));
        }
        Ok(ServerHandle {
            shards: Arc::clone(shards),
            core,
            acceptors: Arc::new(std::sync::Mutex::new(acceptors)),
        })
    }
}

/// What is known of a connected client (for the administration protocol).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// The server's number for it.
    pub id: u64,
    /// "unix".
    pub transport: &'static str,
    /// When it connected.
    pub since: SystemTime,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process, if known.
    pub pid: Option<i32>,
    /// The process's name, if it runs and was asked for.
    pub process_name: Option<String>,
    /// Which door it came through.
    pub kind: ListenerKind,
    /// May it only read?
    pub read_only: bool,
    /// Has it authenticated?
    pub authenticated: bool,
}

/// A running server. Clones mean the same server.
#[derive(Clone)]
pub struct ServerHandle {
    shards: Arc<Shards>,
    core: Arc<Core>,
    acceptors: Arc<std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

/// How long running calls and unread replies may take at the end.
const DRAIN: Duration = Duration::from_millis(400);
/// How long connections may take to notice that they are closed.
const FORCED: Duration = Duration::from_millis(200);

impl ServerHandle {
    /// The server's name.
    pub fn name(&self) -> &str {
        &self.core.config.name
    }

    /// The number of clients; changes can be waited for (a daemon that ends when nobody needs it).
    pub fn client_count(&self) -> watch::Receiver<usize> {
        self.core.count.subscribe()
    }

    /// Clients that are not authenticated yet.
    pub fn anonymous_count(&self) -> usize {
        self.core.mailboxes().iter().filter(|mailbox| !mailbox.is_authenticated()).count()
    }

    /// All clients, by id.
    pub fn clients(&self) -> Vec<ClientInfo> {
        let info = |mailbox: &Arc<Mailbox>| self.info(mailbox);
        self.core.mailboxes().iter().map(info).collect()
    }

    /// One client.
    pub fn client(&self, id: u64) -> Option<ClientInfo> {
        self.core.mailbox(id).map(|mailbox| self.info(&mailbox))
    }

    fn info(&self, mailbox: &Arc<Mailbox>) -> ClientInfo {
        let peer = &mailbox.peer;
        ClientInfo {
            id: peer.id,
            transport: "unix",
            since: peer.since,
            uid: peer.uid,
            gid: peer.gid,
            pid: peer.pid,
            process_name: peer.process_name(),
            kind: peer.kind,
            read_only: peer.read_only,
            authenticated: mailbox.is_authenticated(),
        }
    }

    /// Closes a client's connection. False: there is no such client.
    pub fn client_close(&self, id: u64) -> bool {
        let mailbox = self.core.mailbox(id);
        if let Some(mailbox) = &mailbox {
            mailbox.close(Closing::Now);
        }
        mailbox.is_some()
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.core.limits()
    }

    /// Changes the limits. Clients above a lowered limit stay.
    pub fn set_limits(&self, limits: Limits) {
        self.core.set_limits(limits);
    }

    /// Stops: doors closed and their files removed, no new calls, running calls and unread replies given 0.4 s,
    /// then every connection closed. Always done within a second. Works on any runtime.
    pub async fn shutdown(&self) {
        let this = self.clone();
        let work = self.shards.first().spawn(async move { this.stop().await });
        let _ = work.await;
    }

    /// [`Self::shutdown`] for callers without a runtime. Not to be called on a thread of the server.
    pub fn shutdown_blocking(&self) {
        let this = self.clone();
        let (done, finished) = std::sync::mpsc::channel();
        self.shards.first().spawn(async move {
            this.stop().await;
            let _ = done.send(());
        });
        let _ = finished.recv_timeout(Duration::from_millis(900));
    }

    async fn stop(&self) {
        self.core.stopping.store(true, Ordering::Relaxed);
        self.core.gate.notify_waiters();
        let acceptors = std::mem::take(
            &mut *self.acceptors.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for acceptor in acceptors {
            // It holds nothing that could be lost half-way; its door closes and its file goes with it.
            acceptor.abort();
            let _ = acceptor.await;
        }
        for (how, patience) in [(Closing::Drained, DRAIN), (Closing::Now, FORCED)] {
            for mailbox in self.core.mailboxes() {
                mailbox.close(how);
            }
            let mut count = self.core.count.subscribe();
            let none = count.wait_for(|count| *count == 0);
            if tokio::time::timeout(patience, none).await.is_ok() {
                return;
            }
        }
        tracing::warn!(server = self.core.config.name, "connections are left at the end");
    }
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerHandle({})", self.core.config.name)
    }
}
