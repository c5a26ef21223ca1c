//! A client of QEMU's monitor on tokio.
//!
//! One task for each monitor reads from the socket; it sleeps until QEMU speaks, or a command comes
//! that cannot be written at once by whoever gives it (`line`). It has one timer, for the command whose time ends first; the timer is left alone when the answer
//! comes and looks once more when it fires, so that a quick command costs none. [`Monitor`] is a
//! cheap handle to it; any number of tasks may use it at once, and their commands are pipelined.
//!
//! No event is ever lost, because losing one (a SHUTDOWN, say) would leave a wrong state. QEMU itself
//! limits the events that a guest can provoke at will to one a second each; a QEMU that a guest took
//! over does not, so when the queue is full, the socket is not read until there is room again.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qmp::{Command, Event, Greeting, Output, ProtocolError, QmpError, Session, Value};
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use line::{Answer, Order, Request, Shared, Waiting};
use renewal::Renewal;

mod line;
mod renewal;

/// Why a monitor did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MonitorError {
    /// QEMU answered with an error.
    #[error("{0}")]
    Qmp(#[from] QmpError),
    /// QEMU did not answer in time. It may still carry the command out.
    #[error("QEMU did not answer '{command}' within {seconds} seconds")]
    Timeout {
        /// The command.
        command: String,
        /// The time it had.
        seconds: f64,
    },
    /// The connection broke before the answer, and there is another. QEMU may have carried the
    /// command out.
    #[error("QEMU's answer to '{command}' is lost: its monitor was connected anew")]
    Lost {
        /// The command.
        command: String,
    },
    /// It took the connection and said nothing.
    #[error("QEMU did not greet on its monitor within {waited} seconds")]
    NoGreeting {
        /// Seconds.
        waited: u64,
    },
    /// The connection ended: QEMU is gone or closed it.
    #[error("the monitor connection ended")]
    Closed,
    /// The connection broke.
    #[error("monitor connection failed: {0}")]
    Io(String),
    /// QEMU sent something that is no QMP, or an answer of another shape than documented.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// No connection came about in time.
    #[error("cannot connect to monitor {}: {detail}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The last refusal.
        detail: String,
    },
}

impl MonitorError {
    /// Whether nobody knows if QEMU carried the command out, or will.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Lost { .. })
    }

    /// Whether the line itself broke, or what came over it makes no sense; its end is none of that.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Protocol(_))
    }
}

/// What a monitor tells whoever listens to it, in QEMU's order.
#[derive(Debug)]
pub enum MonitorEvent {
    /// Something happened in QEMU.
    Event(Event),
    /// The answer to a command of [`Monitor::execute_after_events`]: to be delivered once the events
    /// before it are dealt with.
    Answer(AnswerInOrder),
    /// The connection broke and there is another: what QEMU said meanwhile is lost.
    Renewed {
        /// Why it broke.
        why: MonitorError,
        /// What the guest does now, in QEMU's word.
        run_state: String,
    },
    /// QEMU did something after all that nobody waits for any more.
    Late,
    /// The connection ended; nothing follows.
    Closed(MonitorError),
}

/// The receiving end of a monitor's events.
pub type Events = mpsc::Receiver<MonitorEvent>;

/// Events that wait for their reader.
const EVENTS_MAX: usize = 8192;

/// Room without which no more is read: one read brings fewer events.
const EVENTS_ROOM: usize = 2048;

/// Bytes of one read; an event has at least 12.
const READ_SIZE: usize = 16 << 10;

/// Reads in one turn, before others get theirs.
const READS: usize = 4;

/// The answer to a command that was asked for in order with the events.
#[derive(Debug)]
pub struct AnswerInOrder {
    answer: Answer,
    result: Result<Value, MonitorError>,
}

impl AnswerInOrder {
    /// Gives the answer to whoever asked.
    pub fn deliver(self) {
        let _ = self.answer.send(self.result);
    }
}

/// A handle to a monitor. When the last one is dropped, the connection is closed.
#[derive(Clone, Debug)]
pub struct Monitor {
    line: Shared,
    task: mpsc::UnboundedSender<Order>,
    timeout: Duration,
    /// Where to connect anew.
    path: Arc<OnceLock<PathBuf>>,
}

/// A monitor just connected: not yet negotiated.
#[derive(Debug)]
pub struct Connected {
    /// The handle. Its first command must be `qmp_capabilities`.
    pub monitor: Monitor,
    /// The events.
    pub events: Events,
    /// What QEMU said first.
    pub greeting: Greeting,
}

/// Longest wait for an answer unless set otherwise. QEMU answers within milliseconds, except for
/// commands that wait for a disk.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

impl Monitor {
    /// Connects to a monitor's socket, trying anew until `deadline`, since a QEMU that has just
    /// started has no socket yet, and waits for the greeting.
    ///
    /// # Errors
    /// [`MonitorError::Connect`] at the deadline, and whatever goes wrong afterwards.
    pub async fn connect(path: &Path, deadline: Instant) -> Result<Connected, MonitorError> {
        Self::connect_with(path, deadline, Session::new()).await
    }

    /// As [`Monitor::connect`], to the monitor of a QEMU that had another client before: what it was
    /// told then it may answer now.
    ///
    /// # Errors
    /// As [`Monitor::connect`].
    pub async fn connect_anew(path: &Path, deadline: Instant) -> Result<Connected, MonitorError> {
        Self::connect_with(path, deadline, Session::new().continued()).await
    }

    async fn connect_with(
        path: &Path,
        deadline: Instant,
        session: Session,
    ) -> Result<Connected, MonitorError> {
        let mut pause = Duration::from_millis(1);
        loop {
            let error = match UnixStream::connect(path).await {
                Ok(stream) => return Self::start(stream, deadline, session).await,
                Err(error) => error,
            };
            let early =
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
            if !early || Instant::now() + pause >= deadline {
                return Err(MonitorError::Connect {
                    path: path.to_owned(),
                    detail: error.to_string(),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Starts on a socket that is connected, or will be: with a listening socket that we made and
    /// QEMU inherits, connecting succeeds at once and the greeting comes when QEMU is up.
    ///
    /// # Errors
    /// No greeting until `deadline`, or the connection ends before.
    pub async fn from_stream(
        stream: StdUnixStream,
        deadline: Instant,
    ) -> Result<Connected, MonitorError> {
        stream.set_nonblocking(true).map_err(io_error)?;
        let stream = UnixStream::from_std(stream).map_err(io_error)?;
        Self::start(stream, deadline, Session::new()).await
    }

    async fn start(
        stream: UnixStream,
        deadline: Instant,
        session: Session,
    ) -> Result<Connected, MonitorError> {
        let start = Instant::now();
        let (orders, inbox) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let (greeted, greeting) = oneshot::channel();
        let path = Arc::default();
        let line = Shared::new(session);
        let task = Task {
            path: Arc::clone(&path),
            renewal: Renewal::default(),
            stream: Arc::new(stream),
            line: line.clone(),
            events: event_sender,
            greeted: Some(greeted),
            turn_over: false,
            timer: None,
        };
        tokio::spawn(task.run(inbox));
        let monitor = Self { line, task: orders, timeout: DEFAULT_TIMEOUT, path };
        match tokio::time::timeout_at(deadline, greeting).await {
            Ok(Ok(Ok(greeting))) => Ok(Connected { monitor, events, greeting }),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(MonitorError::Closed),
            Err(_) => Err(MonitorError::NoGreeting { waited: start.elapsed().as_secs() }),
        }
    }

    /// The same monitor with another longest wait for answers.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// From now on a connection that breaks is made anew at `path`, as long as somebody listens
    /// there: [`MonitorEvent::Renewed`].
    pub fn renew_at(&self, path: PathBuf) {
        let _ = self.path.set(path);
    }

    /// Sends a command and waits for its answer.
    ///
    /// Dropping the future gives up the answer, not the command: once sent, QEMU carries it out.
    ///
    /// # Errors
    /// QEMU's own error, no answer in time, or the end of the connection (also in the middle of
    /// this command).
    pub async fn execute<R: DeserializeOwned>(
        &self,
        command: Command<R>,
    ) -> Result<R, MonitorError> {
        self.execute_with_fds(command, Vec::new()).await
    }

    /// As [`Monitor::execute`], with descriptors for `getfd`, `add-fd` and the like.
    ///
    /// # Errors
    /// As [`Monitor::execute`].
    pub async fn execute_with_fds<R: DeserializeOwned>(
        &self,
        command: Command<R>,
        fds: Vec<OwnedFd>,
    ) -> Result<R, MonitorError> {
        let name = command.name().to_owned();
        let value = self.submit(command.with_reply(), fds).wait().await?;
        Ok(qmp::decode(&name, value)?)
    }

    /// As [`Monitor::execute`], but the answer takes its place behind the events that QEMU sent
    /// before it: whoever receives the events delivers it when they are dealt with
    /// ([`MonitorEvent::Answer`]). Only for monitors whose events are received.
    ///
    /// # Errors
    /// As [`Monitor::execute`].
    pub async fn execute_after_events<R: DeserializeOwned>(
        &self,
        command: Command<R>,
    ) -> Result<R, MonitorError> {
        let name = command.name().to_owned();
        let value = self.request(command.with_reply(), Vec::new(), true).wait().await?;
        Ok(qmp::decode(&name, value)?)
    }

    /// Queues a command without waiting, so that several go out in a row whatever becomes of the caller.
    pub fn submit(&self, command: Command, fds: Vec<OwnedFd>) -> PendingReply {
        self.request(command, fds, false)
    }

    fn request(&self, command: Command, fds: Vec<OwnedFd>, in_order: bool) -> PendingReply {
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting {
            answer,
            timeout: self.timeout,
            deadline: Instant::now() + self.timeout,
            in_order,
            command: command.name().to_owned(),
        };
        self.line.send(Request { command, fds, waiting }, &self.task);
        PendingReply { receiver }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.task.is_closed()
    }
}

/// The answer to come of a command that is on its way.
#[derive(Debug)]
pub struct PendingReply {
    receiver: oneshot::Receiver<Result<Value, MonitorError>>,
}

impl PendingReply {
    /// Waits for the answer, as long as the monitor that was asked waits.
    ///
    /// # Errors
    /// As [`Monitor::execute`].
    pub async fn wait(self) -> Result<Value, MonitorError> {
        self.receiver.await.unwrap_or(Err(MonitorError::Closed))
    }
}

fn io_error(error: io::Error) -> MonitorError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => MonitorError::Closed,
        _ => MonitorError::Io(error.to_string()),
    }
}

async fn fires(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.as_mut().await,
        None => std::future::pending().await,
    }
}

struct Task {
    stream: Arc<UnixStream>,
    line: Shared,
    events: mpsc::Sender<MonitorEvent>,
    greeted: Option<oneshot::Sender<Result<Greeting, MonitorError>>>,
    /// There may be more to read, but others come first.
    turn_over: bool,
    /// Fires when the first of those who wait has waited long enough, or before.
    timer: Option<Pin<Box<Sleep>>>,
    /// Where to connect anew.
    path: Arc<OnceLock<PathBuf>>,
    renewal: Renewal,
}

/// However it ends, nobody waits for it any more.
impl Drop for Task {
    fn drop(&mut self) {
        let waiting = self.line.lock().break_off();
        drop(waiting);
    }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let error = loop {
            let Some(error) = self.carry(&mut inbox).await else { return };
            if let Err(error) = self.renew(error, &mut inbox).await {
                break error;
            }
        };
        // From here on, commands are refused by the closed channel; those in it are answered by drop.
        inbox.close();
        if let Some(greeted) = self.greeted.take() {
            let _ = greeted.send(Err(error.clone()));
        }
        let waiting = self.line.lock().break_off();
        for waiting in waiting {
            let _ = waiting.answer.send(Err(error.clone()));
        }
        let _ = self.events.send(MonitorEvent::Closed(error)).await;
    }

    /// Carries commands and answers, until the connection breaks; nothing when nobody needs it any
    /// more.
    async fn carry(&mut self, inbox: &mut mpsc::UnboundedReceiver<Order>) -> Option<MonitorError> {
        loop {
            if std::mem::take(&mut self.turn_over) {
                tokio::task::yield_now().await;
            }
            let full = !self.has_room();
            let sent = self.is_sent(inbox);
            let interest = match (full, sent) {
                (true, _) => Interest::WRITABLE,
                (false, true) => Interest::READABLE,
                (false, false) => Interest::READABLE | Interest::WRITABLE,
            };
            let room = self.events.clone();
            tokio::select! {
                // An error means that nobody listens any more, which is room enough.
                _ = room.reserve_many(EVENTS_ROOM), if full => {}
                () = fires(&mut self.timer), if self.timer.is_some() => self.expire(),
                order = inbox.recv() => {
                    match order? {
                        Order::Send(request) => self.line.lock().accept(request),
                        Order::Look => {}
                    }
                    self.watch_time();
                    // Usually the socket takes it at once, which saves a turn through the poller.
                    if let Err(error) = self.write() {
                        return Some(error);
                    }
                },
                ready = self.stream.ready(interest), if !full || !sent => {
                    let result = ready.map_err(io_error).and_then(|ready| {
                        if !full && (ready.is_readable() || ready.is_read_closed()) {
                            self.read()?;
                        }
                        if ready.is_writable() { self.write() } else { Ok(()) }
                    });
                    if let Err(error) = result {
                        return Some(error);
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.events.is_closed() || self.events.capacity() >= EVENTS_ROOM
    }

    /// Whether all commands are sent. If none waits for this task either, anybody may send the
    /// next.
    fn is_sent(&self, inbox: &mpsc::UnboundedReceiver<Order>) -> bool {
        let mut line = self.line.lock();
        if inbox.is_empty() {
            line.open(&self.stream);
        }
        line.is_sent()
    }

    /// Sees to it that those who wait hear when their time is over.
    fn watch_time(&mut self) {
        let first = self.line.lock().first_deadline();
        if let Some(first) = first {
            self.wake_by(first);
        }
    }

    fn wake_by(&mut self, deadline: Instant) {
        let at = match &mut self.timer {
            Some(timer) if timer.deadline() <= deadline => timer.deadline(),
            Some(timer) => {
                timer.as_mut().reset(deadline);
                deadline
            }
            None => {
                self.timer = Some(Box::pin(tokio::time::sleep_until(deadline)));
                deadline
            }
        };
        self.line.lock().looks_at(Some(at));
    }

    /// Tells those who have waited long enough.
    fn expire(&mut self) {
        self.timer = None;
        let now = Instant::now();
        let (expired, next) = {
            let mut line = self.line.lock();
            line.looks_at(None);
            (line.expire(now), line.first_deadline())
        };
        expired.into_iter().for_each(Waiting::has_waited);
        let parked = self.renewal.expire(now);
        if let Some(next) = next.into_iter().chain(parked).min() {
            self.wake_by(next);
        }
    }

    fn write(&mut self) -> Result<(), MonitorError> {
        let written = self.line.lock().write(&self.stream);
        if written.is_err() {
            // QEMU may have said why it ends before it ended: read that first.
            self.read()?;
        }
        written
    }

    fn read(&mut self) -> Result<(), MonitorError> {
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READS {
            if !self.has_room() {
                return Ok(());
            }
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(MonitorError::Closed),
                Ok(count) => {
                    self.line.lock().receive(buffer.get(..count).unwrap_or_default());
                    self.deliver_all()?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(io_error(error)),
            }
        }
        self.turn_over = true;
        Ok(())
    }

    fn deliver_all(&mut self) -> Result<(), ProtocolError> {
        loop {
            let output = self.line.lock().poll()?;
            let Some(output) = output else { return Ok(()) };
            self.deliver(output);
        }
    }

    fn deliver(&mut self, output: Output) {
        match output {
            Output::Greeting(greeting) => {
                if let Some(greeted) = self.greeted.take() {
                    let _ = greeted.send(Ok(greeting));
                }
            }
            Output::Reply { id, result } => {
                let waiting = self.line.lock().answered(id);
                let Some(Waiting { answer, in_order, command, .. }) = waiting else { return };
                let result =
                    result.map_err(|error| MonitorError::Qmp(QmpError { command, ..error }));
                if in_order {
                    let answer = AnswerInOrder { answer, result };
                    drop(self.events.try_send(MonitorEvent::Answer(answer)));
                } else {
                    let _ = answer.send(result);
                }
            }
            // Nobody may be listening for events; that is the caller's choice.
            Output::Event(event) => drop(self.events.try_send(MonitorEvent::Event(event))),
            Output::Stray { id: Some(_), .. } => drop(self.events.try_send(MonitorEvent::Late)),
            // QEMU could not read a command. It says not which; the waiting ones time out.
            Output::Stray { id: None, .. } => {}
        }
    }
}
