//! Asking a silent client whether it is there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep};

use protocol::keepalive::{self, Procedure};

use super::KeepaliveConfig;
use crate::frame::{Header, Kind, Status};

/// The keepalive frame with this procedure.
fn message(procedure: Procedure) -> Header {
    Header {
        program: keepalive::PROGRAM,
        version: keepalive::VERSION,
        procedure: procedure.number(),
        kind: Kind::MESSAGE,
        serial: 0,
        status: Status::OK,
    }
}

/// The question.
pub(crate) fn ping() -> Header {
    message(Procedure::Ping)
}

/// The answer to a frame, if it asks.
pub(crate) fn pong(header: &Header) -> Option<Header> {
    let asks = header.kind == Kind::MESSAGE
        && header.version == keepalive::VERSION
        && header.procedure == Procedure::Ping.number();
    asks.then(|| message(Procedure::Pong))
}

/// What the clock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tick {
    /// Ask now.
    Ask,
    /// The client left all questions unanswered.
    Dead,
}

/// The clock of one connection. It wakes only when silence has lasted an interval.
pub(crate) struct Keepalive {
    config: KeepaliveConfig,
    timer: Pin<Box<Sleep>>,
    heard: Instant,
    asked: u32,
}

impl Keepalive {
    pub(crate) fn new(config: KeepaliveConfig) -> Self {
        Self { config, timer: Box::pin(sleep(config.interval)), heard: Instant::now(), asked: 0 }
    }

    /// Something came from the client; anything counts as life.
    pub(crate) fn heard(&mut self) {
        self.heard = Instant::now();
        self.asked = 0;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tick> {
        loop {
            std::task::ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let due = self.heard + self.config.interval;
            if self.asked == 0 && due > now {
                self.timer.as_mut().reset(due);
                continue;
            }
            if self.asked >= self.config.count {
                return Poll::Ready(Tick::Dead);
            }
            self.asked += 1;
            self.timer.as_mut().reset(now + self.config.interval);
            return Poll::Ready(Tick::Ask);
        }
    }
}
