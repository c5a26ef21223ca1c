//! The shared heart of a connection: who waits for what, and the thread that reads.
//!
//! One thread reads all frames and hands them to whoever waits: replies by serial, stream frames by serial, events to
//! a queue. It answers keepalive questions at once, so an idle program stays connected. Callers write for themselves.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diag::VirError;
use protocol::message::{Header, Kind, Status, StreamHole};
use protocol::{WireError, keepalive, remote};
use xdr::{Decoder, Encode};

use super::connection::CloseReason;
use super::error;
use super::event::RawEvent;
use super::link::{self, Frame, ReadFault};
use super::options::Keepalive;
use super::stream::StreamItem;
use super::transport::Tunnel;

/// Events kept for a program that does not fetch them; then the oldest are dropped.
const EVENTS_KEPT: usize = 65_536;
/// How long a failed writer waits for the reader to see the end of the connection.
const END_SEEN: Duration = Duration::from_secs(2);
/// Bytes of stream data kept before reading pauses.
const STREAM_KEPT: usize = 16 * 1024 * 1024;

pub(super) struct Core {
    fd: OwnedFd,
    /// Held while a frame is written.
    writing: Mutex<()>,
    /// Keepalive answers not written yet.
    pongs: AtomicU32,
    state: Mutex<State>,
    /// Told whenever the state changes.
    changed: Condvar,
    tunnel: Option<Tunnel>,
}

#[derive(Default)]
struct State {
    next_serial: u32,
    calls: HashMap<u32, Option<Frame>>,
    streams: HashMap<u32, StreamState>,
    events: VecDeque<RawEvent>,
    closed: Option<(CloseReason, VirError)>,
    announced: Option<CloseReason>,
    keepalive: Option<Keepalive>,
    heard: Option<Instant>,
    asked: u32,
}

/// What came in for one stream.
#[derive(Default)]
struct StreamState {
    items: VecDeque<StreamItem>,
    bytes: usize,
    end: Option<End>,
}

/// How a stream ended, from the daemon's side.
#[derive(Clone)]
enum End {
    /// No more data will come; the stream is still open.
    Data,
    /// Finished or aborted, confirmed.
    Done,
    Failed(VirError),
}

/// What a caller waiting for stream input gets.
pub(super) enum StreamNext {
    Item(StreamItem),
    End,
    TimedOut,
}

impl Core {
    pub(super) fn start(fd: OwnedFd, tunnel: Option<Tunnel>) -> std::io::Result<Arc<Self>> {
        let core = Arc::new(Self {
            fd,
            writing: Mutex::new(()),
            pongs: AtomicU32::new(0),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            tunnel,
        });
        let reader = Arc::clone(&core);
        std::thread::Builder::new().name("libvirt-client".into()).spawn(move || reader.read())?;
        Ok(core)
    }

    /// A panic of another thread leaves the state consistent: every change is a single assignment or insertion.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        match until {
            None => (self.changed.wait(state).unwrap_or_else(PoisonError::into_inner), false),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return (state, true);
                }
                let (state, _) =
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                (state, false)
            }
        }
    }

    /// Takes the next serial, and registers a call (and a stream) under it.
    pub(super) fn begin(&self, stream: bool) -> Result<u32, VirError> {
        let mut s = self.state();
        if s.closed.is_some() {
            return Err(error::closed());
        }
        let serial = s.next_serial;
        s.next_serial = serial.wrapping_add(1);
        s.calls.insert(serial, None);
        if stream {
            s.streams.insert(serial, StreamState::default());
        }
        Ok(serial)
    }

    /// Forgets a call and its stream; frames that still come for them are dropped.
    pub(super) fn forget(&self, serial: u32) {
        let mut s = self.state();
        s.calls.remove(&serial);
        s.streams.remove(&serial);
        self.changed.notify_all();
    }

    /// Writes a frame, then any keepalive answers that became due meanwhile.
    pub(super) fn send(&self, frame: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), VirError> {
        let written = {
            let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            link::write_frame(&self.fd, frame, fds)
        };
        self.flush_pongs();
        let Err(e) = written else { return Ok(()) };
        // The reader sees the end too, and knows more: what a tunnel said, for example.
        let until = Instant::now().checked_add(END_SEEN);
        let mut s = self.state();
        loop {
            if let Some((_, reason)) = &s.closed {
                return Err(reason.clone());
            }
            let (next, late) = self.wait(s, until);
            if late {
                return Err(error::cannot_send(&e));
            }
            s = next;
        }
    }

    /// Writes due keepalive answers, unless somebody is writing: then that one will.
    fn flush_pongs(&self) {
        while self.pongs.load(Ordering::SeqCst) > 0 {
            let Ok(_guard) = self.writing.try_lock() else { return };
            for _ in 0..self.pongs.swap(0, Ordering::SeqCst) {
                let _ = self.write_keepalive(keepalive::Procedure::Pong);
            }
        }
    }

    fn write_keepalive(&self, procedure: keepalive::Procedure) -> std::io::Result<()> {
        let header = Header {
            program: keepalive::PROGRAM,
            version: keepalive::VERSION,
            procedure: procedure.number(),
            kind: Kind::MESSAGE,
            serial: 0,
            status: Status::OK,
        };
        match link::frame_bytes(&header, None, |_| {}) {
            Ok(frame) => link::write_frame(&self.fd, &frame, &[]),
            Err(_) => Ok(()),
        }
    }

    /// Waits for the reply to a call.
    pub(super) fn reply(&self, serial: u32) -> Result<Frame, VirError> {
        let mut s = self.state();
        loop {
            if let Some(frame) = s.calls.get_mut(&serial).and_then(Option::take) {
                s.calls.remove(&serial);
                return Ok(frame);
            }
            if let Some((_, e)) = &s.closed {
                let e = e.clone();
                s.calls.remove(&serial);
                return Err(e);
            }
            s = self.wait(s, None).0;
        }
    }

    /// Waits for the next event.
    pub(super) fn event(&self, timeout: Option<Duration>) -> Result<Option<RawEvent>, VirError> {
        let until = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut s = self.state();
        loop {
            if let Some(event) = s.events.pop_front() {
                return Ok(Some(event));
            }
            if let Some((_, e)) = &s.closed {
                return Err(e.clone());
            }
            let (next, late) = self.wait(s, until);
            if late {
                return Ok(None);
            }
            s = next;
        }
    }

    /// Waits for the next piece of a stream.
    pub(super) fn stream_next(
        &self,
        serial: u32,
        timeout: Option<Duration>,
    ) -> Result<StreamNext, VirError> {
        let until = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut s = self.state();
        loop {
            let Some(stream) = s.streams.get_mut(&serial) else { return Ok(StreamNext::End) };
            if let Some(item) = stream.items.pop_front() {
                if let StreamItem::Data(data) = &item {
                    stream.bytes = stream.bytes.saturating_sub(data.len());
                }
                self.changed.notify_all();
                return Ok(StreamNext::Item(item));
            }
            match stream.end.clone() {
                Some(End::Failed(e)) => return Err(e),
                Some(End::Data | End::Done) => return Ok(StreamNext::End),
                None => {}
            }
            if let Some((_, e)) = &s.closed {
                return Err(e.clone());
            }
            let (next, late) = self.wait(s, until);
            if late {
                return Ok(StreamNext::TimedOut);
            }
            s = next;
        }
    }

    /// The error that the daemon sent for a stream, if it did.
    pub(super) fn stream_fault(&self, serial: u32) -> Option<VirError> {
        match self.state().streams.get(&serial)?.end.clone() {
            Some(End::Failed(e)) => Some(e),
            _ => None,
        }
    }

    /// Waits until the daemon confirmed the end of a stream; data that still comes is dropped.
    pub(super) fn stream_done(&self, serial: u32) -> Result<(), VirError> {
        let mut s = self.state();
        loop {
            let Some(stream) = s.streams.get_mut(&serial) else { return Ok(()) };
            stream.items.clear();
            stream.bytes = 0;
            match stream.end.clone() {
                Some(End::Failed(e)) => return Err(e),
                Some(End::Done) => return Ok(()),
                Some(End::Data) | None => {}
            }
            if let Some((_, e)) = &s.closed {
                return Err(e.clone());
            }
            self.changed.notify_all();
            s = self.wait(s, None).0;
        }
    }

    pub(super) fn set_keepalive(&self, keepalive: Option<Keepalive>) {
        let mut s = self.state();
        s.keepalive = keepalive;
        s.heard = Some(Instant::now());
        s.asked = 0;
        drop(s);
        // The reader may be waiting without a limit. A question whose answer arms it costs nothing.
        if keepalive.is_some() {
            let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = self.write_keepalive(keepalive::Procedure::Ping);
        }
    }

    pub(super) fn closed(&self) -> Option<(CloseReason, VirError)> {
        self.state().closed.clone()
    }

    /// Ends the connection; everybody who waits gets `e`.
    pub(super) fn close(&self, reason: CloseReason, e: VirError) {
        let mut s = self.state();
        if s.closed.is_none() {
            let reason = s.announced.unwrap_or(reason);
            s.closed = Some((reason, e));
        }
        drop(s);
        self.changed.notify_all();
        let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Both);
    }

    pub(super) fn reap(&self) {
        if let Some(tunnel) = &self.tunnel {
            tunnel.reap();
        }
    }

    // The reader's side.

    fn read(&self) {
        loop {
            match self.idle() {
                Ok(true) => {}
                Ok(false) => continue,
                Err((reason, e)) => return self.close(reason, e),
            }
            match link::read_frame(&self.fd) {
                Ok(frame) => self.handle(frame),
                Err(fault) => {
                    let said = self.tunnel.as_ref().map(Tunnel::said);
                    let said = said.as_deref();
                    let (reason, e) = match fault {
                        // A tunnel that ends takes our socket's other end with it.
                        ReadFault::Eof if self.tunnel.is_some() => {
                            let reset = rustix::io::Errno::CONNRESET.into();
                            (CloseReason::Eof, error::cannot_receive(said, &reset))
                        }
                        ReadFault::Eof => (CloseReason::Eof, error::end_of_file()),
                        ReadFault::Io(e) => (CloseReason::Error, error::cannot_receive(said, &e)),
                        ReadFault::Bad(what) => (CloseReason::Error, error::bad_frame(what)),
                    };
                    return self.close(reason, e);
                }
            }
        }
    }

    /// Waits for input, asking the daemon whether it lives when it is silent. True: there is input.
    fn idle(&self) -> Result<bool, (CloseReason, VirError)> {
        let io = |e: std::io::Error| (CloseReason::Error, error::cannot_receive(None, &e));
        let s = self.state();
        let Some(Keepalive { interval, count }) = s.keepalive else {
            drop(s);
            return link::wait_readable(&self.fd, None).map_err(io);
        };
        let heard = s.heard.unwrap_or_else(Instant::now);
        let asked = s.asked;
        drop(s);
        let due = heard + interval * (asked + 1);
        let left = due.saturating_duration_since(Instant::now());
        if link::wait_readable(&self.fd, Some(left)).map_err(io)? {
            return Ok(true);
        }
        if Instant::now() < due {
            return Ok(false);
        }
        if asked >= count {
            return Err((CloseReason::Keepalive, error::keepalive_timeout()));
        }
        self.state().asked += 1;
        if let Ok(_guard) = self.writing.try_lock() {
            let _ = self.write_keepalive(keepalive::Procedure::Ping);
        }
        Ok(false)
    }

    fn handle(&self, frame: Frame) {
        let mut s = self.state();
        s.heard = Some(Instant::now());
        s.asked = 0;
        let h = frame.header;
        match h.kind {
            Kind::REPLY | Kind::REPLY_WITH_FDS => {
                // The first reply counts; further ones are nobody's.
                if let Some(slot @ None) = s.calls.get_mut(&h.serial) {
                    *slot = Some(frame);
                }
            }
            Kind::STREAM | Kind::STREAM_HOLE => {
                self.handle_stream(s, &frame);
                self.changed.notify_all();
                return;
            }
            Kind::MESSAGE if h.program == keepalive::PROGRAM => {
                drop(s);
                if h.procedure == keepalive::Procedure::Ping.number() {
                    self.pongs.fetch_add(1, Ordering::SeqCst);
                    self.flush_pongs();
                }
                return;
            }
            Kind::MESSAGE => {
                let event = RawEvent::new(h.program, h.procedure, frame.payload);
                if let Some(reason) = event.close_reason() {
                    s.announced = Some(reason);
                } else {
                    if s.events.len() >= EVENTS_KEPT {
                        s.events.pop_front();
                    }
                    s.events.push_back(event);
                }
            }
            // Calls are a client's to make; unknown kinds never come this far.
            _ => {}
        }
        drop(s);
        self.changed.notify_all();
    }

    fn handle_stream(&self, mut s: MutexGuard<'_, State>, frame: &Frame) {
        let h = frame.header;
        let Some(stream) = s.streams.get_mut(&h.serial) else { return };
        match (h.kind, h.status) {
            (_, Status::ERROR) if frame.payload.is_empty() => stream.end = Some(End::Done),
            (_, Status::ERROR) => stream.end = Some(End::Failed(wire_error(&frame.payload))),
            (_, Status::OK) => stream.end = Some(End::Done),
            (Kind::STREAM_HOLE, Status::CONTINUE) => {
                match xdr::from_slice::<StreamHole>(&frame.payload) {
                    Ok(hole) => {
                        stream.items.push_back(StreamItem::Hole(hole.length.max(0).unsigned_abs()))
                    }
                    Err(e) => stream.end = Some(End::Failed(error::undecodable(&e))),
                }
            }
            (_, Status::CONTINUE) if frame.payload.is_empty() => stream.end = Some(End::Data),
            _ => {
                stream.bytes += frame.payload.len();
                stream.items.push_back(StreamItem::Data(frame.payload.clone()));
            }
        }
        self.changed.notify_all();
        // Pause while the program is slower than the daemon, unless somebody waits for a reply, which may be the
        // very program: then reading on is the only way.
        loop {
            let full = s.streams.get(&h.serial).is_some_and(|st| st.bytes > STREAM_KEPT);
            let waited_for = s.calls.values().any(Option::is_none);
            if !full || waited_for || s.closed.is_some() {
                return;
            }
            s = self.wait(s, None).0;
        }
    }
}

/// The error in a payload.
pub(super) fn wire_error(payload: &[u8]) -> VirError {
    match <WireError as xdr::Decode>::decode(&mut Decoder::lossy(payload)) {
        Ok(e) => e.into(),
        Err(e) => error::undecodable(&e),
    }
}

/// The bytes of a call.
pub(super) fn call_bytes<A: Encode>(
    ids: (u32, u32, i32),
    serial: u32,
    args: &A,
    fds: Option<usize>,
) -> Result<Vec<u8>, VirError> {
    let header = Header {
        program: ids.0,
        version: ids.1,
        procedure: ids.2,
        kind: if fds.is_some() { Kind::CALL_WITH_FDS } else { Kind::CALL },
        serial,
        status: Status::OK,
    };
    link::frame_bytes(&header, fds, |e| args.encode(e)).map_err(|e| error::unencodable(&e))
}

/// The number of the event that announces the end of the connection.
pub(super) const CLOSE_EVENT: i32 =
    <remote::events::ConnectEventConnectionClosed as protocol::Event>::NUMBER;
