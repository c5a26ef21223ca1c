//! Doing what an outcome says.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use diag::VirError;

use super::super::answers::{put_error, put_plain, put_reply};
use super::super::outbox::Closing;
use super::super::stream::{StreamClosed, StreamState};
use super::super::{Outcome, Service, tasks};
use super::Conn;
use crate::frame::{self, Header, Kind, Status};

impl<S: Service> Conn<S> {
    /// Answers a call; `out` follows what is in the queue.
    pub(super) fn answer(&mut self, call: Header, outcome: Outcome, out: &mut Vec<u8>) {
        let Some(outcome) = put_plain(out, &call, outcome) else { return };
        match outcome {
            Outcome::Reply | Outcome::ReplyWith(_) | Outcome::Error(_) => {}
            Outcome::ReplyFds(payload, fds) => self.put_fds(out, &call, &payload, fds),
            Outcome::Later(future) => {
                self.life.mailbox.call_runs();
                tasks::later(&self.life.mailbox, call, future);
            }
            Outcome::Prompt(future) => {
                self.life.mailbox.call_runs();
                tasks::prompt(&self.life.mailbox, call, future);
            }
            Outcome::Blocking(work) => {
                self.life.mailbox.call_runs();
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
