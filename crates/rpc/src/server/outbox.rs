//! What reaches a connection from elsewhere: events, late answers, stream frames, orders to close.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::answers::put_plain;
use super::core::Core;
use super::output::send;
use super::stream::StreamState;
use super::{Outcome, Peer};
use crate::frame::{self, Header, Kind, Status};
use diag::VirError;

/// Something for the connection's own task to do.
pub(crate) enum Mail {
    /// Frames as they are to be written.
    Bytes(Letter),
    /// A whole stream frame; the stream is told when it left.
    Stream(Vec<u8>, Arc<StreamState>),
    /// The answer to a call, where it is more than bytes.
    Answer(Header, Outcome),
    /// A stream's handler ended.
    StreamEnd(Arc<StreamState>, Result<(), VirError>),
}

/// A frame, or what is left of it.
pub(crate) struct Letter {
    pub(crate) bytes: Vec<u8>,
    /// What it counts among queued events.
    pub(crate) events: usize,
    /// It answers a call that ran.
    pub(crate) answers: bool,
}

/// How to close.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Closing {
    /// When running calls are answered and the output is written; no new calls.
    Drained,
    /// When the output is written.
    Flushed,
    /// Now.
    Now,
}

#[derive(Default)]
struct Inner {
    mail: VecDeque<Mail>,
    waker: Option<Waker>,
    closing: Option<Closing>,
    gone: bool,
    /// The socket, while the connection's task rests and has nothing of its own to write: whoever
    /// has a frame for the client then writes it, which saves waking the task for it.
    resting: Option<Arc<OwnedFd>>,
}

/// The meeting point of a connection's task and everybody else.
pub(crate) struct Mailbox {
    pub(crate) peer: Arc<Peer>,
    pub(crate) core: Arc<Core>,
    inner: Mutex<Inner>,
    authenticated: AtomicBool,
    keepalive: AtomicBool,
    /// Bytes of events not yet written, each event counted with [`EVENT_COST`] more.
    queued_events: AtomicUsize,
    /// Bytes of stream data their handlers have not taken.
    pub(crate) backlog: AtomicUsize,
    /// Calls whose answers are on their way.
    running: AtomicUsize,
}

/// What an event costs beyond its bytes.
const EVENT_COST: usize = 64;

impl Mailbox {
    pub(crate) fn new(peer: Arc<Peer>, core: Arc<Core>) -> Self {
        Self {
            peer,
            core,
            inner: Mutex::default(),
            authenticated: AtomicBool::new(false),
            keepalive: AtomicBool::new(false),
            queued_events: AtomicUsize::new(0),
            backlog: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts mail in and wakes the connection. Returns false when the connection is gone.
    pub(crate) fn post(&self, mail: Mail) -> bool {
        Self::put(self.lock(), mail)
    }

    fn put(mut inner: MutexGuard<'_, Inner>, mail: Mail) -> bool {
        if inner.gone {
            // Dropped after the lock is released: a stream's or a future's drop may come back here.
            drop(inner);
            drop(mail);
            return false;
        }
        inner.resting = None;
        inner.mail.push_back(mail);
        Self::wake(inner);
        true
    }

    /// Writes a frame at once where nothing is before it; otherwise the connection does.
    fn write(&self, mut letter: Letter) {
        let inner = self.lock();
        if let Some(socket) = &inner.resting {
            // What is wrong with the socket is found by who reads from it.
            let sent = send(socket.as_fd(), &letter.bytes).ok().flatten().unwrap_or(0);
            if sent == letter.bytes.len() {
                self.event_left(letter.events);
                return self.letter_left(&letter);
            }
            letter.bytes.drain(..sent);
        }
        Self::put(inner, Mail::Bytes(letter));
    }

    /// Posts the answer to a call that was counted by [`Self::call_runs`].
    pub(crate) fn answer(&self, call: Header, outcome: Outcome) {
        let mut bytes = Vec::new();
        match put_plain(&mut bytes, &call, outcome) {
            None => self.write(Letter { bytes, events: 0, answers: true }),
            Some(outcome) => drop(self.post(Mail::Answer(call, outcome))),
        }
    }

    /// One more answer is on its way.
    pub(crate) fn call_runs(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// One of those answers is there.
    pub(crate) fn call_done(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Answers on their way.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// A letter is written, or in the connection's own queue.
    pub(crate) fn letter_left(&self, letter: &Letter) {
        if letter.answers {
            self.call_done();
        }
    }

    /// The connection's task goes to rest with nothing left to write.
    pub(crate) fn rest(&self, socket: &Arc<OwnedFd>) {
        let mut inner = self.lock();
        if inner.mail.is_empty() && inner.closing.is_none() && !inner.gone {
            inner.resting = Some(Arc::clone(socket));
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn nudge(&self) {
        Self::wake(self.lock());
    }

    fn wake(mut inner: MutexGuard<'_, Inner>) {
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all mail into `into` and leaves `waker` behind. Returns the order to close, if there is one.
    pub(crate) fn collect(&self, into: &mut VecDeque<Mail>, waker: &Waker) -> Option<Closing> {
        let mut inner = self.lock();
        inner.resting = None;
        if !inner.mail.is_empty() {
            into.append(&mut inner.mail);
            inner.mail.shrink_to(16);
        }
        match &inner.waker {
            Some(old) if old.will_wake(waker) => {}
            _ => inner.waker = Some(waker.clone()),
        }
        inner.closing
    }

    /// The connection ended: refuse mail from now on.
    pub(crate) fn hang_up(&self) {
        let mut inner = self.lock();
        inner.gone = true;
        inner.resting = None;
        inner.waker = None;
        let mail = std::mem::take(&mut inner.mail);
        drop(inner);
        drop(mail);
    }

    /// Returns whether that is news.
    pub(crate) fn close(&self, how: Closing) -> bool {
        let mut inner = self.lock();
        let news = inner.closing < Some(how) && !inner.gone;
        inner.closing = inner.closing.max(Some(how));
        inner.resting = None;
        Self::wake(inner);
        news
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Returns whether it was anonymous until now. Only [`Core`] calls this, under its lock.
    pub(crate) fn mark_authenticated(&self) -> bool {
        !self.authenticated.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn wants_keepalive(&self) -> bool {
        self.keepalive.load(Ordering::Relaxed)
    }

    /// An event of `bytes` was written (or dropped with the connection).
    pub(crate) fn event_left(&self, cost: usize) {
        self.queued_events.fetch_sub(cost, Ordering::Relaxed);
    }

    /// What an event frame of this size counts.
    pub(crate) fn event_cost(bytes: usize) -> usize {
        bytes + EVENT_COST
    }
}

/// The way to one client, for whoever has news for it. Cheap to clone; outlives the connection harmlessly.
#[derive(Clone)]
pub struct Outbox {
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Outbox {
    /// Who it reaches.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.mailbox.peer
    }

    /// Sends an event. Never blocks: a client that leaves too much unread is dropped.
    ///
    /// Order: events sent from one thread arrive in their order; an event sent before the future of an
    /// [`Outcome::Later`] ends arrives before that call's reply; the reply of a call answered at once goes before
    /// events sent meanwhile, so that the reply to a registration precedes the registered events.
    pub fn event(&self, program: u32, version: u32, procedure: i32, payload: &[u8]) {
        let header = Header {
            program,
            version,
            procedure,
            kind: Kind::MESSAGE,
            // libvirtd numbers all events 1; clients do not look.
            serial: 1,
            status: Status::OK,
        };
        if payload.len() > frame::MAX_PAYLOAD {
            tracing::error!(
                client = self.mailbox.peer.id,
                procedure,
                "event too long for the wire; dropped"
            );
            return;
        }
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &header, payload);
        let cost = Mailbox::event_cost(bytes.len());
        let before = self.mailbox.queued_events.fetch_add(cost, Ordering::Relaxed);
        if before + cost > self.mailbox.core.config.max_queued_event_bytes {
            self.mailbox.event_left(cost);
            if self.mailbox.close(Closing::Now) {
                tracing::warn!(
                    client = self.mailbox.peer.id,
                    pid = self.mailbox.peer.pid,
                    queued = before,
                    "client does not read its events; connection closed"
                );
            }
            return;
        }
        self.mailbox.write(Letter { bytes, events: cost, answers: false });
    }

    /// The client proved who it is (or need not): it no longer counts as anonymous.
    pub fn set_authenticated(&self) {
        self.mailbox.core.authenticated(&self.mailbox);
    }

    /// Was [`Self::set_authenticated`] called?
    pub fn is_authenticated(&self) -> bool {
        self.mailbox.is_authenticated()
    }

    /// The client can answer keepalive questions: ask it when it is silent.
    pub fn keepalive_start(&self) {
        if !self.mailbox.keepalive.swap(true, Ordering::Relaxed) {
            self.mailbox.nudge();
        }
    }

    /// Closes the connection once what is queued for it is written.
    pub fn close(&self) {
        self.mailbox.close(Closing::Flushed);
    }

    /// Is the client gone?
    pub fn is_closed(&self) -> bool {
        self.mailbox.lock().gone
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbox(client {})", self.mailbox.peer.id)
    }
}
