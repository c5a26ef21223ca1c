//! The procedures of the log manager, and those of the admin program on the daemon's other socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diag::{ErrorCode, ErrorDomain, VirError};
use dispatch::Session;
use dispatch::admin::{Control, Governed};
use dispatch::bind::{Request, arguments, encode, payload, rpc_error};
use host::users::Users;
use protocol::log::{self, Position, Procedure, procs};
use rpc::server::{Call, ListenerKind, Outbox, Outcome, Peer, Service};

use super::file;
use super::table::{Logs, Owner};

/// Empty the file first.
const TRUNCATE: u32 = 1;

/// Answers clients.
pub(super) struct LogService {
    pub logs: Arc<Logs>,
    pub control: Control,
    pub users: Users,
}

impl Service for LogService {
    type Session = Session;

    fn programs(&self, kind: ListenerKind) -> &[(u32, u32)] {
        match kind {
            ListenerKind::Admin => &[(protocol::admin::PROGRAM, protocol::admin::VERSION)],
            _ => &[(log::PROGRAM, log::VERSION)],
        }
    }

    fn connected(&self, peer: &Arc<Peer>, out: Outbox) -> Session {
        out.set_authenticated();
        Session::new(peer, out)
    }

    fn call(&self, session: &Arc<Session>, call: Call<'_>, reply: &mut Vec<u8>) -> Outcome {
        let program = call.program;
        let request = Request { call, reply, read_only: false };
        if program == protocol::admin::PROGRAM {
            return dispatch::admin::call(self, session, request);
        }
        match Procedure::try_from(request.call.procedure) {
            Ok(Procedure::OpenLogFile) => self.open(&request),
            Ok(Procedure::GetLogFilePosition) => self.position(&request),
            Ok(Procedure::ReadLogFile) => self.read(&request),
            Ok(Procedure::AppendLogFile) => self.append(&request),
            Err(_) => {
                let number = request.call.procedure;
                Outcome::Error(rpc_error(&format!("unknown procedure: {number}")))
            }
        }
    }

    fn disconnected(&self, session: &Arc<Session>) {
        session.close();
    }
}

impl Governed for LogService {
    fn control(&self) -> &Control {
        &self.control
    }

    fn runtime(&self) -> &tokio::runtime::Handle {
        self.logs.runtime()
    }

    fn account_names(&self, uid: u32, gid: u32) -> (Option<String>, Option<String>) {
        let user = self.users.user_by_id(uid).map(|user| user.name.clone());
        (user, self.users.group_by_id(gid).map(|group| group.name.clone()))
    }
}

impl LogService {
    fn open(&self, request: &Request<'_, '_>) -> Outcome {
        let args = match arguments::<procs::OpenLogFile>(request) {
            Ok(args) => args,
            Err(error) => return error.into(),
        };
        if args.flags & !TRUNCATE != 0 {
            return flags(args.flags, "DomainOpenLogFile").into();
        }
        let logs = Arc::clone(&self.logs);
        Outcome::later(async move {
            let owner = Owner { driver: args.driver, uuid: args.dom.uuid, name: args.dom.name };
            let opened = logs.open(owner, PathBuf::from(&args.path), args.flags & TRUNCATE != 0);
            match opened.await {
                Ok(Some((fd, position))) => {
                    match payload(&log::OpenLogFileRet { pos: wire(position) }) {
                        Ok(bytes) => Outcome::ReplyFds(bytes, vec![fd]),
                        Err(error) => error.into(),
                    }
                }
                Ok(None) => {
                    let busy = io::Error::from(rustix::io::Errno::BUSY);
                    system(&format!("Cannot open log file: '{}'", args.path), &busy)
                        .from_domain(ErrorDomain::LOGGING)
                        .into()
                }
                Err(error) => system(&format!("Unable to open file: {}", args.path), &error).into(),
            }
        })
    }

    fn position(&self, request: &Request<'_, '_>) -> Outcome {
        let args = match arguments::<procs::GetLogFilePosition>(request) {
            Ok(args) => args,
            Err(error) => return error.into(),
        };
        if args.flags != 0 {
            return flags(args.flags, "DomainGetLogFilePosition").into();
        }
        let logs = Arc::clone(&self.logs);
        Outcome::later(async move {
            logs.flush(Path::new(&args.path)).await;
            Outcome::blocking(move || match logs.position(Path::new(&args.path)) {
                Some(position) => encode(&log::GetLogFilePositionRet { pos: wire(position) }),
                None => VirError::internal(format!("No open log file {}", args.path))
                    .from_domain(ErrorDomain::LOGGING)
                    .into(),
            })
        })
    }

    fn read(&self, request: &Request<'_, '_>) -> Outcome {
        let args = match arguments::<procs::ReadLogFile>(request) {
            Ok(args) => args,
            Err(error) => return error.into(),
        };
        if args.flags != 0 {
            return flags(args.flags, "DomainReadLogFile").into();
        }
        let limit = match usize::try_from(args.maxlen) {
            Ok(limit) if limit <= log::READ_MAX => limit,
            _ => {
                let detail = format!(
                    "Requested data len {} is larger than maximum {}",
                    args.maxlen,
                    log::READ_MAX
                );
                return VirError::internal(detail).from_domain(ErrorDomain::RPC).into();
            }
        };
        let logs = Arc::clone(&self.logs);
        Outcome::later(async move {
            logs.flush(Path::new(&args.path)).await;
            Outcome::blocking(move || {
                let from = (args.pos.inode, args.pos.offset);
                match file::read(Path::new(&args.path), logs.guest, logs.limits(), from, limit) {
                    Ok(text) => encode(&log::ReadLogFileRet { data: printable(&text, limit) }),
                    Err(error) => system(
                        &format!("Unable to seek to inode {} offset {}", from.0, from.1),
                        &error,
                    )
                    .into(),
                }
            })
        })
    }

    fn append(&self, request: &Request<'_, '_>) -> Outcome {
        let args = match arguments::<procs::AppendLogFile>(request) {
            Ok(args) => args,
            Err(error) => return error.into(),
        };
        if args.flags != 0 {
            return flags(args.flags, "DomainAppendLogFile").into();
        }
        let logs = Arc::clone(&self.logs);
        Outcome::blocking(move || {
            match logs.append(Path::new(&args.path), args.message.as_bytes()) {
                Ok(()) => encode(&log::AppendLogFileRet { ret: 0 }),
                Err(error) => system(&format!("Unable to open file: {}", args.path), &error).into(),
            }
        })
    }
}

fn wire((inode, offset): (u64, u64)) -> Position {
    Position { inode, offset }
}

/// Bytes as the wire's text: without NUL, valid, not longer than asked for.
fn printable(bytes: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
    if text.len() > limit {
        let cut = (0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}

fn system(what: &str, error: &io::Error) -> VirError {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("{what}: {words}"))
        .from_domain(ErrorDomain::NONE)
}

fn flags(flags: u32, function: &str) -> VirError {
    let detail = format!("unsupported flags (0x{flags:x}) in function virLogHandler{function}");
    let mut error = VirError::new(ErrorCode::INVALID_ARG, detail);
    // The message is these words alone.
    error.verbatim = true;
    error.from_domain(ErrorDomain::LOGGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_become_text_of_the_size_asked_for() {
        for (bytes, limit, expected) in [
            (&b"plain\n"[..], 100, "plain\n"),
            (b"a\0b", 100, "a\u{fffd}b"),
            (b"\xff\xff", 5, "\u{fffd}"),
        ] {
            assert_eq!(printable(bytes, limit), expected);
        }
    }
}
