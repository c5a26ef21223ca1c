//! One connection: the task that reads its frames, answers them and writes what others send to it.

mod outcomes;
mod scratch;
mod streams;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use scratch::Scratch;

use super::answers::{put_error, put_reply};
use super::keepalive::{Keepalive, Tick, ping, pong};
use super::outbox::{Closing, Mail, Mailbox};
use super::output::{Output, send};
use super::shards::Load;
use super::stream::{StreamClosed, StreamState};
use super::{Call, Outcome, Service, input, tasks};
use crate::fault;
use crate::frame::{self, Found, FrameBuffer, FrameError, Header, Kind, Status};

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the client")]
    Eof,
    #[error("closed by us")]
    Ours,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("descriptors do not match the frame")]
    Fds,
    #[error("no sign of life")]
    Silent,
}

/// Replies of a batch are written when they exceed this.
const BATCH: usize = 256 << 10;
/// Frames and reads in one turn, before other connections get theirs.
const FRAMES: usize = 256;
const READS: usize = 4;
/// Bytes of calls set aside because too many run, each counted with [`HELD_COST`] more.
const MOST_HELD: usize = 64 << 10;
const HELD_COST: usize = 256;

/// A connection on its thread.
pub(crate) struct Conn<S: Service> {
    socket: AsyncFd<Arc<OwnedFd>>,
    /// A second registration, for writing, while the socket takes no more. (Watching for writability all the time
    /// would wake us each time the client reads.)
    writer: Option<AsyncFd<OwnedFd>>,
    /// The socket may hold bytes that were not read.
    readable: bool,
    /// The kernel said that the client will send no more.
    half_closed: bool,
    input: FrameBuffer,
    fds: VecDeque<OwnedFd>,
    output: Output,
    /// Calls that wait until fewer run. They are set aside so that what is behind them is still heard: keepalive
    /// questions and stream data.
    held: VecDeque<Held>,
    held_cost: usize,
    /// Frames that may still be handled in this turn.
    turn: usize,
    streams: Vec<Arc<StreamState>>,
    keepalive: Option<Keepalive>,
    closing: Option<Closing>,
    life: Life<S>,
}

/// A call set aside.
struct Held {
    header: Header,
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// Tells everybody when the connection ends, whatever way it does.
struct Life<S: Service> {
    service: Arc<S>,
    session: Arc<S::Session>,
    mailbox: Arc<Mailbox>,
    _load: Load,
}

impl<S: Service> Drop for Life<S> {
    fn drop(&mut self) {
        self.mailbox.hang_up();
        self.mailbox.core.leave(&self.mailbox);
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.service.disconnected(&self.session);
        }));
        if told.is_err() {
            tracing::error!(client = self.mailbox.peer.id, "panic while a client left");
        }
    }
}

/// A connection before its thread has it.
pub(crate) struct Arrival<S: Service> {
    socket: OwnedFd,
    life: Life<S>,
}

impl<S: Service> Arrival<S> {
    pub(crate) fn new(
        socket: OwnedFd,
        service: Arc<S>,
        session: Arc<S::Session>,
        mailbox: Arc<Mailbox>,
        load: Load,
    ) -> Self {
        Self { socket, life: Life { service, session, mailbox, _load: load } }
    }

    /// Serves the connection to its end.
    pub(crate) async fn serve(self) {
        let client = self.life.mailbox.peer.id;
        let socket = match input::watch(Arc::new(self.socket), Interest::READABLE) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(client, %error, "cannot watch a connection");
                return;
            }
        };
        let mut conn = Conn {
            socket,
            writer: None,
            // It may well have sent something already; the first look is a read, not a wait.
            readable: true,
            half_closed: false,
            input: FrameBuffer::default(),
            fds: VecDeque::new(),
            output: Output::default(),
            held: VecDeque::new(),
            held_cost: 0,
            turn: 0,
            streams: Vec::new(),
            keepalive: None,
            closing: None,
            life: self.life,
        };
        let end = poll_fn(|cx| conn.poll(cx)).await;
        match end {
            End::Eof | End::Ours => tracing::debug!(client, "connection ended: {end}"),
            End::Io(_) => tracing::debug!(client, "connection lost: {end}"),
            _ => tracing::warn!(
                client,
                pid = conn.life.mailbox.peer.pid,
                "connection dropped: {end}"
            ),
        }
    }
}

impl<S: Service> Drop for Conn<S> {
    fn drop(&mut self) {
        for stream in self.streams.drain(..) {
            stream.shut(StreamClosed::Lost);
        }
    }
}

impl<S: Service> Conn<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut scratch = Scratch::take();
        let result = self.drive(cx, &mut scratch);
        scratch.put_back();
        match result {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        self.turn = FRAMES;
        for _ in 0..READS {
            self.collect(cx, scratch)?;
            self.check_keepalive(cx)?;
            self.flush(cx, scratch)?;
            self.check_closing()?;
            while self.work_off(cx, scratch)? {}
            if self.turn == 0 {
                break;
            }
            self.check_readiness(cx)?;
            if !(self.readable && self.may_read()) {
                self.check_closing()?;
                if self.output.is_empty() && self.held.is_empty() {
                    self.life.mailbox.rest(self.socket.get_ref());
                }
                return Ok(());
            }
            self.read(cx, scratch)?;
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Takes what others sent.
    fn collect(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let mailbox = Arc::clone(&self.life.mailbox);
        let closing = mailbox.collect(&mut scratch.mail, cx.waker());
        self.closing = self.closing.max(closing);
        if self.closing == Some(Closing::Now) {
            return Err(End::Ours);
        }
        while let Some(mail) = scratch.mail.pop_front() {
            match mail {
                Mail::Bytes(letter) => {
                    mailbox.letter_left(&letter);
                    self.output.push_bytes(&letter.bytes, letter.events);
                }
                Mail::Stream(bytes, stream) => {
                    if self.has_stream(&stream) {
                        self.output.push_stream(bytes, stream);
                    }
                }
                Mail::Answer(call, outcome) => {
                    mailbox.call_done();
                    self.answer(call, outcome, &mut scratch.out);
                    self.output.push_bytes(&scratch.out, 0);
                    scratch.out.clear();
                }
                Mail::StreamEnd(stream, result) => {
                    self.stream_ended(&stream, result, &mut scratch.out);
                    self.output.push_bytes(&scratch.out, 0);
                    scratch.out.clear();
                }
            }
        }
        Ok(())
    }

    fn check_closing(&self) -> Result<(), End> {
        let done = match self.closing {
            None => false,
            Some(Closing::Drained) => self.life.mailbox.running() == 0 && self.output.is_empty(),
            Some(Closing::Flushed) => self.output.is_empty(),
            Some(Closing::Now) => true,
        };
        if done { Err(End::Ours) } else { Ok(()) }
    }

    fn check_keepalive(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.keepalive.is_none() {
            let config = self.life.mailbox.core.config.keepalive;
            if !self.life.mailbox.wants_keepalive() || config.interval.is_zero() {
                return Ok(());
            }
            self.keepalive = Some(Keepalive::new(config));
        }
        // Whether the client lives cannot be told while what it sent lies unread.
        let deaf = !self.may_read() && (self.readable || !self.input.is_empty());
        while let Some(keepalive) = &mut self.keepalive
            && let Poll::Ready(tick) = keepalive.poll(cx)
        {
            if deaf {
                keepalive.heard();
                continue;
            }
            match tick {
                Tick::Ask => self.output.push_bytes(&ping().prologue(0), 0),
                Tick::Dead => return Err(End::Silent),
            }
        }
        Ok(())
    }

    /// Learns from the kernel whether there is something to read, or nobody to read from.
    fn check_readiness(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.half_closed {
            return Ok(());
        }
        while let Poll::Ready(guard) = self.socket.poll_read_ready(cx) {
            let mut guard = guard?;
            self.readable = true;
            let closed = guard.ready().is_read_closed();
            guard.clear_ready();
            if closed {
                self.half_closed = true;
                // A client that is gone altogether matters even while its requests wait unread.
                if !self.may_read() && input::hung_up(self.socket.as_fd())? {
                    return Err(End::Eof);
                }
                break;
            }
        }
        Ok(())
    }

    /// May more be read and handled, as far as limits go?
    fn may_read(&self) -> bool {
        let mailbox = &self.life.mailbox;
        let config = &mailbox.core.config;
        self.closing.is_none()
            && self.held_cost < MOST_HELD
            && self.output.bytes() < config.max_reply_backlog
            && mailbox.backlog.load(Ordering::Acquire) < config.max_stream_backlog
    }

    /// May one more call run?
    fn may_call(&self) -> bool {
        self.life.mailbox.running() < self.life.mailbox.core.max_requests()
    }

    /// Handles calls set aside and frames that were read before but could not be handled then. Returns whether
    /// there may be more to do.
    fn work_off(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        let mut worked = false;
        while self.closing.is_none()
            && self.turn > 0
            && self.may_call()
            && self.output.bytes() < self.life.mailbox.core.config.max_reply_backlog
            && let Some(held) = self.held.pop_front()
        {
            self.held_cost -= held.payload.len() + HELD_COST;
            self.turn -= 1;
            worked = true;
            self.call(&held.header, &held.payload, held.fds, scratch);
            if scratch.out.len() > BATCH {
                self.flush(cx, scratch)?;
            }
        }
        if !self.input.is_empty() && self.may_read() {
            let mut input = std::mem::take(&mut self.input);
            let taken = self.handle(input.pending(), cx, scratch)?;
            input.take(taken);
            self.input = input;
            worked |= taken > 0;
        }
        self.flush(cx, scratch)?;
        Ok(worked && self.turn > 0)
    }

    /// Reads once and handles the frames.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let mut bytes = std::mem::take(&mut scratch.input);
        let result = self.read_into(&mut bytes, cx, scratch);
        scratch.input = bytes;
        result
    }

    fn read_into(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), End> {
        let room = buffer.len();
        let fds_before = self.fds.len();
        let Some(count) = input::receive(self.socket.as_fd(), buffer, &mut self.fds)? else {
            self.readable = false;
            return Ok(());
        };
        if count == 0 {
            return Err(End::Eof);
        }
        if self.fds.len() > frame::MAX_FDS * 2 {
            return Err(End::Fds);
        }
        // A read that ends at a descriptor says nothing about what is behind it.
        if count < room && self.fds.len() == fds_before {
            self.readable = self.half_closed;
        }
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.heard();
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        if self.input.is_empty() {
            let taken = self.handle(bytes, cx, scratch)?;
            self.input.push(bytes.get(taken..).unwrap_or_default());
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.push(bytes);
            let taken = self.handle(input.pending(), cx, scratch)?;
            input.take(taken);
            self.input = input;
        }
        if self.input.is_empty() {
            // Descriptors that came with no frame to carry them.
            self.fds.clear();
        }
        self.flush(cx, scratch)
    }

    /// Handles the complete frames at the start of `bytes`, as far as limits allow; returns what they take.
    fn handle(
        &mut self,
        bytes: &[u8],
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<usize, End> {
        let mut taken = 0;
        while self.turn > 0 && self.may_read() {
            let rest = bytes.get(taken..).unwrap_or_default();
            let Some(found) = frame::find(rest)? else {
                break;
            };
            if found.fds > self.fds.len() {
                return Err(End::Fds);
            }
            let fds = self.fds.drain(..found.fds).collect();
            let payload = rest.get(found.payload.clone()).unwrap_or_default();
            self.turn -= 1;
            self.frame(&found, payload, fds, scratch);
            taken += found.taken();
            if scratch.out.len() > BATCH {
                self.flush(cx, scratch)?;
            }
        }
        Ok(taken)
    }

    /// Handles one frame.
    fn frame(&mut self, found: &Found, payload: &[u8], fds: Vec<OwnedFd>, scratch: &mut Scratch) {
        let header = &found.header;
        if header.program == protocol::keepalive::PROGRAM && !is_call(header) {
            if let Some(pong) = pong(header) {
                frame::put(&mut scratch.out, &pong, &[]);
            }
            return;
        }
        match header.kind {
            Kind::CALL | Kind::CALL_WITH_FDS if self.may_call() && self.held.is_empty() => {
                self.call(header, payload, fds, scratch);
            }
            Kind::CALL | Kind::CALL_WITH_FDS => {
                self.held_cost += payload.len() + HELD_COST;
                self.held.push_back(Held { header: *header, payload: payload.to_vec(), fds });
            }
            Kind::STREAM | Kind::STREAM_HOLE => {
                self.stream_frame(header, payload, &mut scratch.out);
            }
            // Replies to nothing, events and frames of unknown type: dropped, as libvirtd does.
            _ => {}
        }
    }

    fn call(&mut self, header: &Header, payload: &[u8], fds: Vec<OwnedFd>, scratch: &mut Scratch) {
        let Scratch { out, reply, .. } = scratch;
        let life = &self.life;
        let kind = life.mailbox.peer.kind;
        if !life.service.programs(kind).contains(&(header.program, header.version)) {
            let error = fault::unknown_program(header.program, header.version);
            return put_error(out, header, &error);
        }
        if header.status != Status::OK {
            return put_error(out, header, &fault::unexpected_status(header.status.0));
        }
        let call = Call {
            program: header.program,
            version: header.version,
            procedure: header.procedure,
            serial: header.serial,
            payload,
            fds,
        };
        reply.clear();
        let outcome =
            catch_unwind(AssertUnwindSafe(|| life.service.call(&life.session, call, reply)));
        match outcome {
            Ok(Outcome::Reply) => put_reply(out, header, reply),
            Ok(outcome) => self.answer(*header, outcome, out),
            Err(panic) => {
                let error = tasks::panicked(&*panic, header, life.mailbox.peer.id);
                put_error(out, header, &error);
            }
        }
    }

    /// Writes the queue and then `out`; what the socket does not take is queued.
    fn flush(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let out = &mut scratch.out;
        if self.output.is_empty() {
            if out.is_empty() {
                return Ok(());
            }
            let sent = send(self.socket.as_fd(), out)?.unwrap_or(0);
            if sent < out.len() {
                if out.len() - sent > BATCH / 4 {
                    self.output.push_rest(std::mem::take(out), sent);
                } else {
                    self.output.push_bytes(&out[sent..], 0);
                }
            }
        } else {
            self.output.push_bytes(out, 0);
        }
        out.clear();
        self.write_queue(cx)
    }

    fn write_queue(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while !self.output.write(self.socket.as_fd(), &self.life.mailbox)? {
            let writer = match &mut self.writer {
                Some(writer) => writer,
                none => {
                    let again = self.socket.get_ref().try_clone()?;
                    none.insert(input::watch(again, Interest::WRITABLE)?)
                }
            };
            match writer.poll_write_ready(cx) {
                Poll::Pending => return Ok(()),
                // It was ready before we wrote: forget that, write again, and wait if that does not help.
                Poll::Ready(guard) => guard?.clear_ready(),
            }
        }
        self.writer = None;
        Ok(())
    }
}

fn is_call(header: &Header) -> bool {
    matches!(header.kind, Kind::CALL | Kind::CALL_WITH_FDS)
}
