//! Answers as frames.

use diag::VirError;

use super::Outcome;
use crate::fault;
use crate::frame::{self, Header, Kind, Status};

/// Adds the answer that `outcome` is; an outcome that is more than bytes comes back.
pub(crate) fn put_plain(out: &mut Vec<u8>, call: &Header, outcome: Outcome) -> Option<Outcome> {
    match outcome {
        Outcome::Reply => put_reply(out, call, &[]),
        Outcome::ReplyWith(payload) => put_reply(out, call, &payload),
        Outcome::Error(error) => put_error(out, call, &error),
        more => return Some(more),
    }
    None
}

pub(crate) fn put_reply(out: &mut Vec<u8>, call: &Header, payload: &[u8]) {
    if payload.len() > frame::MAX_PAYLOAD {
        return put_error(out, call, &fault::unencodable());
    }
    frame::put(out, &call.answer(Kind::REPLY, Status::OK), payload);
}

pub(crate) fn put_error(out: &mut Vec<u8>, call: &Header, error: &VirError) {
    put_error_frame(out, &call.answer(Kind::REPLY, Status::ERROR), error);
}

pub(crate) fn put_stream_error(out: &mut Vec<u8>, call: &Header, error: &VirError) {
    put_error_frame(out, &call.answer(Kind::STREAM, Status::ERROR), error);
}

fn put_error_frame(out: &mut Vec<u8>, header: &Header, error: &VirError) {
    let start = frame::begin(out, header);
    fault::encode(out, error);
    // Its strings are bounded, so it always fits.
    let fits = frame::finish(out, start);
    debug_assert!(fits);
}
