//! The client's own errors, worded as libvirt's client words them.

use std::io;

use diag::{ErrorCode, ErrorDomain, VirError};
use rustix::io::Errno;

fn rpc(code: ErrorCode, detail: impl Into<String>) -> VirError {
    VirError::new(code, detail).from_domain(ErrorDomain::RPC)
}

/// "No such file or directory": the system's words for an error number, without the number.
fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

pub(super) fn cannot_connect(path: &str, e: &io::Error) -> VirError {
    system(format!("Failed to connect socket to '{path}'"), e)
}

pub(super) fn cannot_connect_tcp(host: &str, port: u16, e: &io::Error) -> VirError {
    system(format!("unable to connect to server at '{host}:{port}'"), e)
}

/// A system error of the transport: what was tried, then the system's words.
pub(super) fn system(what: impl Into<String>, e: &io::Error) -> VirError {
    rpc(ErrorCode::SYSTEM_ERROR, format!("{}: {}", what.into(), reason(e)))
}

/// The daemon is gone.
pub(super) fn end_of_file() -> VirError {
    system("End of file while reading data", &io::Error::from(Errno::IO))
}

/// Reading failed; a tunnel may have said why on its standard error.
pub(super) fn cannot_receive(said: Option<&str>, e: &io::Error) -> VirError {
    match said {
        None => system("Cannot recv data", e),
        Some(said) => system(format!("Cannot recv data: {said}"), e),
    }
}

pub(super) fn cannot_send(e: &io::Error) -> VirError {
    system("Cannot write data", e)
}

pub(super) fn closed() -> VirError {
    rpc(ErrorCode::INTERNAL_ERROR, "client socket is closed")
}

pub(super) fn keepalive_timeout() -> VirError {
    rpc(ErrorCode::INTERNAL_ERROR, "connection closed due to keepalive timeout")
}

pub(super) fn undecodable(e: &xdr::Error) -> VirError {
    rpc(ErrorCode::RPC, "Unable to decode message payload").hint(e.to_string())
}

pub(super) fn unencodable(e: &xdr::Error) -> VirError {
    rpc(ErrorCode::RPC, "Unable to encode message payload").hint(e.to_string())
}

pub(super) fn bad_frame(what: impl Into<String>) -> VirError {
    rpc(ErrorCode::RPC, what)
}

pub(super) fn invalid_arg(detail: impl Into<String>) -> VirError {
    VirError::new(ErrorCode::INVALID_ARG, detail).from_domain(ErrorDomain::REMOTE)
}

pub(super) fn bad_uri(uri: &str) -> VirError {
    VirError::new(ErrorCode::INTERNAL_ERROR, format!("Unable to parse URI {uri}"))
        .from_domain(ErrorDomain::URI)
}

pub(super) fn auth(detail: impl Into<String>) -> VirError {
    VirError::new(ErrorCode::AUTH_FAILED, detail).from_domain(ErrorDomain::REMOTE)
}
