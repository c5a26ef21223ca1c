//! The sending side of a monitor's connection, shared between those who ask and the task that reads:
//! a command is written by whoever gives it, where nothing is before it, which saves the change of
//! thread to the task.

use super::{MonitorError, io_error};
use crate::scm;
use qmp::{Command, CommandId, Output, ProtocolError, Session, Value};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Who is told an answer.
pub(super) type Answer = oneshot::Sender<Result<Value, MonitorError>>;

/// A command and who waits for its answer.
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) waiting: Waiting,
}

/// Who waits for an answer, and until when.
pub(super) struct Waiting {
    pub(super) answer: Answer,
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
    /// The answer follows the events that came before it.
    pub(super) in_order: bool,
    pub(super) command: String,
}

impl Waiting {
    /// Its time is over.
    pub(super) fn has_waited(self) {
        let Waiting { answer, timeout, command, .. } = self;
        let seconds = timeout.as_secs_f64();
        let _ = answer.send(Err(MonitorError::Timeout { command, seconds }));
    }

    /// The connection broke before its answer.
    pub(super) fn lose(self) {
        let Waiting { answer, command, .. } = self;
        let _ = answer.send(Err(MonitorError::Lost { command }));
    }
}

/// What the task is told.
pub(super) enum Order {
    /// Sends this.
    Send(Request),
    /// Something was accepted that it is to send the rest of, or to watch the time of.
    Look,
}

struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// The sending side.
pub(super) struct Line {
    /// The connection that commands may be written to by anybody; none while the task has commands
    /// that come first.
    open: Option<Arc<UnixStream>>,
    session: Session,
    answers: HashMap<CommandId, Waiting>,
    outgoing: VecDeque<Outgoing>,
    /// When the task looks whose time is over.
    looks_at: Option<Instant>,
}

/// The sending side, as everybody has it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Line>>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(Line {
            open: None,
            session,
            answers: HashMap::new(),
            outgoing: VecDeque::new(),
            looks_at: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command at once if nothing is before it, or has the task do it. If that is gone, who
    /// waits learns it by the drop of `request`.
    pub(super) fn send(&self, request: Request, task: &mpsc::UnboundedSender<Order>) {
        let mut line = self.lock();
        // Orders are given under the lock, so that none overtakes another.
        let Some(stream) = line.open.clone().filter(|_| line.outgoing.is_empty()) else {
            // What comes next must not be quicker than this one.
            line.open = None;
            let _ = task.send(Order::Send(request));
            return;
        };
        let deadline = request.waiting.deadline;
        line.accept(request);
        let written = line.write(&stream);
        let unwatched = line.looks_at.is_none_or(|at| at > deadline);
        if written.is_err() || !line.outgoing.is_empty() || unwatched {
            // What is wrong with the connection is the task's to find out.
            let _ = task.send(Order::Look);
        }
    }
}

impl Line {
    /// From now on anybody writes.
    pub(super) fn open(&mut self, stream: &Arc<UnixStream>) {
        if self.open.is_none() {
            self.open = Some(Arc::clone(stream));
        }
    }

    /// From now on only the task does.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn accept(&mut self, request: Request) {
        if request.waiting.answer.is_closed() {
            return; // Its caller gave up before it was sent.
        }
        let (id, bytes) = self.session.submit(&request.command);
        self.answers.insert(id, request.waiting);
        self.outgoing.push_back(Outgoing { bytes, sent: 0, fds: request.fds });
    }

    /// Whether all is sent.
    pub(super) fn is_sent(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn write(&mut self, stream: &UnixStream) -> Result<(), MonitorError> {
        while let Some(front) = self.outgoing.front_mut() {
            let rest = front.bytes.get(front.sent..).unwrap_or_default();
            let borrowed: Vec<_> = front.fds.iter().map(AsFd::as_fd).collect();
            match stream.try_io(Interest::WRITABLE, || scm::send(stream, rest, &borrowed)) {
                Ok(sent) => {
                    drop(borrowed);
                    front.fds.clear();
                    front.sent += sent;
                    if front.sent >= front.bytes.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(io_error(error)),
            }
        }
        Ok(())
    }

    /// Adds what was read.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.session.receive(bytes);
    }

    /// The next message.
    ///
    /// # Errors
    /// No QMP.
    pub(super) fn poll(&mut self) -> Result<Option<Output>, ProtocolError> {
        self.session.poll()
    }

    /// Who waits for this answer.
    pub(super) fn answered(&mut self, id: CommandId) -> Option<Waiting> {
        self.answers.remove(&id)
    }

    /// Those who have waited long enough; their answers are no longer waited for.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waiting> {
        let over = |(id, waiting): (&CommandId, &Waiting)| (waiting.deadline <= now).then_some(*id);
        let expired: Vec<_> = self.answers.iter().filter_map(over).collect();
        let forget = |id: CommandId| {
            self.session.forget(id);
            self.answers.remove(&id)
        };
        expired.into_iter().filter_map(forget).collect()
    }

    /// When the time of the first of those who wait is over.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.answers.values().map(|waiting| waiting.deadline).min()
    }

    /// The task says when it looks whose time is over.
    pub(super) fn looks_at(&mut self, at: Option<Instant>) {
        self.looks_at = at;
    }

    /// The connection broke: all who wait. Nothing more is sent on it.
    pub(super) fn break_off(&mut self) -> Vec<Waiting> {
        self.open = None;
        self.outgoing.clear();
        self.answers.drain().map(|(_, waiting)| waiting).collect()
    }

    /// A conversation on another connection, whose commands are none of this one's.
    pub(super) fn continued(&self) -> Session {
        self.session.continued()
    }

    /// There is another connection.
    pub(super) fn replace(&mut self, session: Session) {
        self.session = session;
    }
}
