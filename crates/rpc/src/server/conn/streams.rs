//! Leading stream frames to their handlers, and handlers' ends to the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use diag::VirError;

use super::super::answers::put_stream_error;
use super::super::stream::{StreamClosed, StreamIn, StreamState};
use super::super::{Service, input};
use super::Conn;
use crate::fault;
use crate::frame::{self, Header, Kind, Status};

impl<S: Service> Conn<S> {
    pub(super) fn has_stream(&self, stream: &Arc<StreamState>) -> bool {
        self.streams.iter().any(|s| Arc::ptr_eq(s, stream))
    }

    pub(super) fn forget_backlog(&self, cost: usize) {
        self.life.mailbox.backlog.fetch_sub(cost, Ordering::AcqRel);
    }

    pub(super) fn stream_frame(&mut self, header: &Header, payload: &[u8], out: &mut Vec<u8>) {
        let Some(at) = self.streams.iter().position(|s| s.is_for(header)) else {
            return;
        };
        let stream = Arc::clone(&self.streams[at]);
        let item = match (header.status, header.kind) {
            (Status::CONTINUE, Kind::STREAM) => Some(StreamIn::Data(payload.to_vec())),
            (Status::CONTINUE, _) => input::hole(payload),
            (Status::OK, _) if stream.is_handled() => {
                self.streams.swap_remove(at);
                return frame::put(out, &header.answer(Kind::STREAM, Status::OK), &[]);
            }
            (Status::OK, _) => Some(StreamIn::Finish),
            (Status::ERROR, _) => {
                self.streams.swap_remove(at);
                self.forget_backlog(stream.shut(StreamClosed::Aborted));
                return frame::put(out, &header.answer(Kind::STREAM, Status::OK), &[]);
            }
            _ => None,
        };
        let Some(item) = item else {
            let error = match header.status {
                Status::CONTINUE => fault::undecodable(),
                Status(status) => fault::unexpected_status(status),
            };
            self.streams.swap_remove(at);
            self.forget_backlog(stream.shut(StreamClosed::Lost));
            return put_stream_error(out, &stream.call, &error);
        };
        // Counted first: the handler may take it at once, on another thread.
        let mailbox = &self.life.mailbox;
        let cost = item.cost();
        mailbox.backlog.fetch_add(cost, Ordering::AcqRel);
        if !stream.deliver(item) {
            self.forget_backlog(cost);
        }
    }

    pub(super) fn stream_ended(
        &mut self,
        stream: &Arc<StreamState>,
        result: Result<(), VirError>,
        out: &mut Vec<u8>,
    ) {
        let Some(at) = self.streams.iter().position(|s| Arc::ptr_eq(s, stream)) else {
            return;
        };
        match result {
            Ok(()) => {
                let (finished, dropped) = stream.handler_done();
                self.forget_backlog(dropped);
                if finished {
                    self.streams.swap_remove(at);
                    frame::put(out, &stream.call.answer(Kind::STREAM, Status::OK), &[]);
                }
            }
            Err(error) => {
                self.streams.swap_remove(at);
                self.forget_backlog(stream.shut(StreamClosed::Ended));
                put_stream_error(out, &stream.call, &error);
            }
        }
    }
}
