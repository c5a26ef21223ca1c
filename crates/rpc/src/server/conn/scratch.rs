//! Buffers that all connections of a thread use in turn, so that none needs its own.

use std::cell::Cell;
use std::collections::VecDeque;

use super::super::outbox::Mail;

/// Buffers that all connections of a thread use in turn.
pub(super) struct Scratch {
    /// Room for one read.
    pub(super) input: Vec<u8>,
    /// Frames on their way out.
    pub(super) out: Vec<u8>,
    /// A reply's payload.
    pub(super) reply: Vec<u8>,
    /// What others sent.
    pub(super) mail: VecDeque<Mail>,
}

/// One read takes at most this much.
const INPUT: usize = 256 << 10;
/// An output buffer that grew beyond this is given back.
const KEEP: usize = 512 << 10;

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    pub(super) fn take() -> Box<Self> {
        SCRATCH.take().unwrap_or_else(|| {
            Box::new(Self {
                input: vec![0; INPUT],
                out: Vec::with_capacity(4096),
                reply: Vec::with_capacity(4096),
                mail: VecDeque::new(),
            })
        })
    }

    pub(super) fn put_back(mut self: Box<Self>) {
        self.out.clear();
        self.out.shrink_to(KEEP);
        self.reply.clear();
        self.reply.shrink_to(KEEP);
        self.mail.clear();
        SCRATCH.set(Some(self));
    }
}
