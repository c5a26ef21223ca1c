//! Streams: the data of one call that goes on after its reply, in both directions.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use diag::VirError;

use super::outbox::{Mail, Mailbox};
use crate::frame::{self, Header, Kind, MAX_STREAM_DATA, Status};

/// What a client sent on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamIn {
    /// Bytes.
    Data(Vec<u8>),
    /// A hole of a sparse stream. A handler whose call did not allow holes ends with an error.
    Hole {
        /// Its length in bytes.
        length: i64,
        /// 0 so far.
        flags: u32,
    },
    /// The client sent everything and waits for the answer: end the handler's future with `Ok` when all is safe.
    Finish,
    /// The client gave up (it has its answer already).
    Abort,
}

/// Why nothing more can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamClosed {
    /// The connection is gone.
    #[error("the client's connection is gone")]
    Lost,
    /// The client aborted the stream.
    #[error("the client aborted the stream")]
    Aborted,
    /// The stream's outgoing side was ended already.
    #[error("the stream was ended already")]
    Ended,
}

#[derive(Default)]
struct Inner {
    incoming: VecDeque<StreamIn>,
    reader: Option<Waker>,
    /// A frame of ours is in the connection's queue.
    in_flight: bool,
    writer: Option<Waker>,
    closed: Option<StreamClosed>,
    /// The client's finish arrived.
    finished: bool,
    /// The handler ended well; data is dropped, finish is answered.
    handled: bool,
    /// Called when the stream is shut.
    closing: Option<Closing>,
}

/// What is to be done when a client aborts a stream or is gone.
pub(crate) type Closing = Box<dyn FnOnce() + Send>;

/// What a connection and a stream's handler share.
pub(crate) struct StreamState {
    pub(crate) call: Header,
    inner: Mutex<Inner>,
}

impl StreamState {
    pub(crate) fn new(call: Header, closing: Option<Closing>) -> Self {
        Self { call, inner: Mutex::new(Inner { closing, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is this the stream of that frame?
    pub(crate) fn is_for(&self, header: &Header) -> bool {
        let call = &self.call;
        (call.program, call.procedure, call.serial)
            == (header.program, header.procedure, header.serial)
    }

    /// Something arrived. False: nobody will take it.
    pub(crate) fn deliver(&self, item: StreamIn) -> bool {
        let mut inner = self.lock();
        if inner.handled || inner.finished || inner.closed.is_some() {
            return false;
        }
        inner.finished = item == StreamIn::Finish;
        inner.incoming.push_back(item);
        let waker = inner.reader.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The handler ended well. Returns whether the client's finish is there to be answered, and the cost of the data
    /// that nobody will take any more.
    pub(crate) fn handler_done(&self) -> (bool, usize) {
        let mut inner = self.lock();
        inner.handled = true;
        let dropped = inner.incoming.iter().map(StreamIn::cost).sum();
        inner.incoming.clear();
        (inner.finished, dropped)
    }

    /// Has the handler ended?
    pub(crate) fn is_handled(&self) -> bool {
        self.lock().handled
    }

    /// The frame in flight left the connection.
    pub(crate) fn frame_left(&self) {
        let mut inner = self.lock();
        inner.in_flight = false;
        let waker = inner.writer.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No more traffic: abort or loss. Data not yet taken is dropped; returns its cost.
    pub(crate) fn shut(&self, why: StreamClosed) -> usize {
        let mut inner = self.lock();
        if inner.closed.is_some() {
            return 0;
        }
        inner.closed = Some(why);
        let dropped = inner.incoming.iter().map(StreamIn::cost).sum();
        inner.incoming.clear();
        if why == StreamClosed::Aborted {
            inner.incoming.push_back(StreamIn::Abort);
        }
        let wakers = [inner.reader.take(), inner.writer.take()];
        let closing = inner.closing.take();
        drop(inner);
        if let Some(closing) = closing {
            closing();
        }
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        dropped
    }
}

impl StreamIn {
    /// What it counts in the backlog: its bytes, and a little so that holes and empty frames are bounded too.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len() + 64,
            Self::Hole { .. } => 64,
            Self::Finish | Self::Abort => 0,
        }
    }
}

/// The handler's end of a stream.
pub struct Stream {
    pub(crate) state: Arc<StreamState>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) ended: bool,
}

impl Stream {
    /// The next thing the client sent. `None`: nothing more comes, because the connection is gone or the finish or
    /// abort was received before. Safe to cancel.
    pub async fn recv(&mut self) -> Option<StreamIn> {
        let item = poll_fn(|cx| {
            let mut inner = self.state.lock();
            if let Some(item) = inner.incoming.pop_front() {
                return Poll::Ready(Some(item));
            }
            if inner.finished || inner.closed.is_some() {
                return Poll::Ready(None);
            }
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await?;
        let cost = item.cost();
        if cost > 0 {
            let before = self.mailbox.backlog.fetch_sub(cost, Ordering::AcqRel);
            let limit = self.mailbox.core.config.max_stream_backlog;
            if before >= limit && before - cost < limit {
                self.mailbox.nudge();
            }
        }
        Some(item)
    }

    /// Sends bytes, in as many frames as needed. Waits until the frame before left for the socket, so the memory a
    /// slow client costs is one frame. Cancelled in between, only some of the bytes were sent.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), StreamClosed> {
        for piece in data.chunks(MAX_STREAM_DATA) {
            self.put(Kind::STREAM, piece).await?;
        }
        Ok(())
    }

    /// Sends a hole; only for calls whose flags allowed it.
    pub async fn send_hole(&mut self, length: i64) -> Result<(), StreamClosed> {
        let mut payload = [0; 12];
        payload[..8].copy_from_slice(&length.to_be_bytes());
        self.put(Kind::STREAM_HOLE, &payload).await
    }

    /// Says that no more data comes from us (an empty frame). The client then finishes; the handler may end before.
    pub async fn finish_sending(&mut self) -> Result<(), StreamClosed> {
        self.put(Kind::STREAM, &[]).await?;
        self.ended = true;
        Ok(())
    }

    async fn put(&mut self, kind: Kind, payload: &[u8]) -> Result<(), StreamClosed> {
        if self.ended {
            return Err(StreamClosed::Ended);
        }
        poll_fn(|cx| {
            let mut inner = self.state.lock();
            if let Some(why) = inner.closed {
                return Poll::Ready(Err(why));
            }
            if inner.in_flight {
                inner.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            inner.in_flight = true;
            Poll::Ready(Ok(()))
        })
        .await?;
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &self.state.call.answer(kind, Status::CONTINUE), payload);
        if self.mailbox.post(Mail::Stream(bytes, Arc::clone(&self.state))) {
            Ok(())
        } else {
            Err(StreamClosed::Lost)
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({:?})", self.state.call)
    }
}

/// Reports the end of a stream's handler, whatever way it ends.
pub(crate) struct EndReport {
    pub(crate) state: Arc<StreamState>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) result: Option<Result<(), VirError>>,
}

impl EndReport {
    pub(crate) fn post(mut self, result: Result<(), VirError>) {
        self.result = Some(result);
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        let result = self
            .result
            .take()
            .unwrap_or_else(|| Err(VirError::internal("the stream's handler ended unexpectedly")));
        self.mailbox.post(Mail::StreamEnd(Arc::clone(&self.state), result));
    }
}
