//! Asking a silent client whether it is there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep};

use super::KeepaliveConfig;
use crate::frame::{
    Header, KEEPALIVE_PING, KEEPALIVE_PONG, KEEPALIVE_PROGRAM, KEEPALIVE_VERSION, Kind, Status,
};

/// The keepalive frame with this procedure.
fn message(procedure: i32) -> Header {
    Header {
        program: KEEPALIVE_PROGRAM,
        version: KEEPALIVE_VERSION,
        procedure,
        kind: Kind::MESSAGE,
        serial: 0,
        status: Status::OK,
    }
}

/// The question.
pub(crate) fn ping() -> Header {
    message(KEEPALIVE_PING)
}

/// The answer to a frame, if it asks.
pub(crate) fn pong(header: &Header) -> Option<Header> {
    let asks = header.kind == Kind::MESSAGE
        && header.version == KEEPALIVE_VERSION
        && header.procedure == KEEPALIVE_PING;
    asks.then(|| message(KEEPALIVE_PONG))
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
