//! Turning outcomes into frames.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use diag::VirError;

use super::super::outbox::Closing;
use super::super::stream::{StreamClosed, StreamState};
use super::super::{Outcome, Service, tasks};
use super::Conn;
use crate::fault;
use crate::frame::{self, Header, Kind, Status};

impl<S: Service> Conn<S> {
    /// Answers a call; `out` follows what is in the queue.
    pub(super) fn answer(&mut self, call: Header, outcome: Outcome, out: &mut Vec<u8>) {
        match outcome {
            Outcome::Reply => put_reply(out, &call, &[]),
            Outcome::ReplyWith(payload) => put_reply(out, &call, &payload),
            Outcome::Error(error) => put_error(out, &call, &error),
            Outcome::ReplyFds(payload, fds) => self.put_fds(out, &call, &payload, fds),
            Outcome::Later(future) => {
                self.running += 1;
                tasks::later(&self.life.mailbox, call, future);
            }
            Outcome::Blocking(work) => {
                self.running += 1;
                tasks::blocking(&self.life.mailbox, call, work);
            }
            Outcome::Stream { reply, start, closing } => {
                put_reply(out, &call, &reply);
                if self.closing.is_some() {
                    return;
                }
                // A client that uses a serial twice loses the older stream.
                if let Some(at) = self.streams.iter().position(|s| s.is_for(&call)) {
                    let old = self.streams.swap_remove(at);
                    self.forget_backlog(old.shut(StreamClosed::Lost));
                }
                let stream = Arc::new(StreamState::new(call, closing));
                self.streams.push(Arc::clone(&stream));
                tasks::stream(&self.life.mailbox, &stream, start);
            }
            Outcome::Close(payload) => {
                put_reply(out, &call, &payload);
                self.closing = self.closing.max(Some(Closing::Flushed));
            }
        }
    }

    fn put_fds(&mut self, out: &mut Vec<u8>, call: &Header, payload: &[u8], fds: Vec<OwnedFd>) {
        if fds.len() > frame::MAX_FDS || payload.len() > frame::MAX_PAYLOAD - 4 {
            let error = VirError::internal("reply too long or with too many descriptors");
            return put_error(out, call, &error);
        }
        let header = call.answer(Kind::REPLY_WITH_FDS, Status::OK);
        out.extend_from_slice(&header.prologue(4 + payload.len()));
        out.extend_from_slice(&(fds.len() as u32).to_be_bytes());
        out.extend_from_slice(payload);
        self.output.push_bytes(out, 0);
        out.clear();
        for fd in fds {
            self.output.push_fd(fd);
        }
    }
}

pub(super) fn put_reply(out: &mut Vec<u8>, call: &Header, payload: &[u8]) {
    if payload.len() > frame::MAX_PAYLOAD {
        return put_error(out, call, &fault::unencodable());
    }
    frame::put(out, &call.answer(Kind::REPLY, Status::OK), payload);
}

pub(super) fn put_error(out: &mut Vec<u8>, call: &Header, error: &VirError) {
    put_error_frame(out, &call.answer(Kind::REPLY, Status::ERROR), error);
}

pub(super) fn put_stream_error(out: &mut Vec<u8>, call: &Header, error: &VirError) {
    put_error_frame(out, &call.answer(Kind::STREAM, Status::ERROR), error);
}

fn put_error_frame(out: &mut Vec<u8>, header: &Header, error: &VirError) {
    let start = frame::begin(out, header);
    fault::encode(out, error);
    // Its strings are bounded, so it always fits.
    let fits = frame::finish(out, start);
    debug_assert!(fits);
}
