//! One conversation with a monitor, without a socket.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Command, CommandId, Event, Greeting, LineSplitter, Message, ProtocolError, QmpError};

/// What came out of the bytes received.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The first line of the connection. Answer with `cmd::qmp_capabilities`.
    Greeting(Greeting),
    /// The answer to a command.
    Reply {
        /// The id that [`Session::submit`] gave.
        id: CommandId,
        /// What QEMU returned.
        result: Result<Value, QmpError>,
    },
    /// Something happened.
    Event(Event),
    /// An answer that belongs to no waiting command: given up on ([`Session::forget`]), or QEMU
    /// could not read what we sent.
    Stray {
        /// The id, if QEMU gave one.
        id: Option<CommandId>,
        /// What QEMU returned.
        result: Result<Value, QmpError>,
    },
}

/// The state of one monitor connection: the receive buffer and the commands not yet answered.
///
/// Commands may be pipelined: submit as many as wanted, QEMU answers them in order. One that is given
/// while no other is unanswered goes without its id, as QEMU reads commands byte by byte (about 3 µs
/// each); until it is answered, those after it have theirs.
#[derive(Debug, Default)]
pub struct Session {
    lines: LineSplitter,
    last_id: u64,
    waiting: BTreeSet<CommandId>,
    /// The command that was sent without its id, until its answer is there.
    unnamed: Option<CommandId>,
    /// Every command has its id.
    names_all: bool,
}

impl Session {
    /// A session on a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// A session on another connection to the same QEMU: its ids go on where these end, so that an
    /// answer to a command of before belongs to no later one. All have theirs: what is answered
    /// without is of before.
    pub fn continued(&self) -> Self {
        Self { last_id: self.last_id, names_all: true, ..Self::default() }
    }

    /// Registers a command and returns its id and the bytes to send.
    pub fn submit<R>(&mut self, command: &Command<R>) -> (CommandId, Vec<u8>) {
        self.last_id += 1;
        let id = CommandId(self.last_id);
        let alone = !self.names_all && self.waiting.is_empty() && self.unnamed.is_none();
        self.waiting.insert(id);
        if alone {
            self.unnamed = Some(id);
        }
        (id, command.encode((!alone).then_some(id)))
    }

    /// Gives a command up: its answer, should it come, will be [`Output::Stray`].
    pub fn forget(&mut self, id: CommandId) {
        self.waiting.remove(&id);
    }

    /// The commands not yet answered, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = CommandId> + '_ {
        self.waiting.iter().copied()
    }

    /// Adds received bytes; then call [`Session::poll`] until it returns `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next message.
    ///
    /// # Errors
    /// The peer does not speak QMP; close the connection.
    pub fn poll(&mut self) -> Result<Option<Output>, ProtocolError> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        Ok(Some(match Message::parse(line)? {
            Message::Greeting(greeting) => Output::Greeting(greeting),
            Message::Event(event) => Output::Event(event),
            Message::Reply { id, result } => self.reply(id, result)?,
        }))
    }

    fn reply(
        &mut self,
        id: Option<CommandId>,
        result: Result<Value, QmpError>,
    ) -> Result<Output, ProtocolError> {
        let id = id.or(self.unnamed);
        if id == self.unnamed {
            self.unnamed = None;
        }
        match id {
            Some(id) if self.waiting.remove(&id) => Ok(Output::Reply { id, result }),
            Some(CommandId(id)) if id > self.last_id => {
                let excerpt = format!("an answer to command {id}, which was never given");
                Err(ProtocolError::Unknown { excerpt })
            }
            id => Ok(Output::Stray { id, result }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, ResetReason, cmd};

    /// Recorded from QEMU 10.0.2 (`-machine pc -S`), commands numbered in order from 1.
    const TRANSCRIPT: &[u8] = include_bytes!("../tests/data/pc.qmp");

    fn replay(chunk: usize) -> Vec<Output> {
        let mut session = Session::new();
        for _ in 0..25 {
            session.submit(&cmd::query_status());
        }
        let mut out = Vec::new();
        for bytes in TRANSCRIPT.chunks(chunk) {
            session.receive(bytes);
            while let Some(output) = session.poll().unwrap() {
                out.push(output);
            }
        }
        // Commands 22 (swallowed with the malformed input after it by the recording) and 23 got no answer.
        assert_eq!(session.waiting().collect::<Vec<_>>(), [CommandId(23)]);
        out
    }

    #[test]
    fn recorded_conversation() {
        let whole = replay(usize::MAX);
        for chunk in [1, 2, 7, 100, 4096] {
            assert_eq!(replay(chunk), whole, "in pieces of {chunk}");
        }
        assert!(matches!(&whole[0], Output::Greeting(g) if g.version.major == 10 && g.oob));
        let reply = |n| {
            whole.iter().find_map(|o| match o {
                Output::Reply { id, result } if *id == CommandId(n) => Some(result.clone()),
                _ => None,
            })
        };
        assert!(reply(8).unwrap().unwrap_err().is_command_not_found());
        let status = cmd::query_status().decode(reply(2).unwrap().unwrap()).unwrap();
        assert_eq!((status.status.as_str(), status.running), ("prelaunch", false));
        let cpus = cmd::query_cpus_fast().decode(reply(5).unwrap().unwrap()).unwrap();
        assert_eq!((cpus[0].cpu_index, cpus[0].thread_id), (0, 18215));
        let chardevs = cmd::query_chardev().decode(reply(6).unwrap().unwrap()).unwrap();
        assert_eq!(chardevs[1].label, "n0");
        let kinds: Vec<_> = whole
            .iter()
            .filter_map(|o| if let Output::Event(e) = o { Some(e.kind()) } else { None })
            .collect();
        assert_eq!(
            kinds,
            [
                EventKind::Resume,
                EventKind::Stop,
                EventKind::Reset { guest: false, reason: ResetReason::HostQmpSystemReset },
                EventKind::Powerdown,
                EventKind::Shutdown { guest: false, reason: ResetReason::HostQmpQuit },
            ]
        );
        let strays = whole.iter().filter(|o| matches!(o, Output::Stray { .. })).count();
        assert_eq!(strays, 6, "answers to malformed input");
    }

    #[test]
    fn an_answer_to_what_was_never_asked_is_nonsense() {
        for line in [&b"{\"return\": {}, \"id\": \"x\"}\n"[..], b"{\"return\": {}, \"id\": 2}\n"] {
            let mut session = Session::new();
            session.submit(&cmd::cont());
            session.receive(line);
            assert!(matches!(session.poll(), Err(ProtocolError::Unknown { .. })));
        }
    }

    #[test]
    fn forgotten_command() {
        let mut session = Session::new();
        let (id, bytes) = session.submit(&cmd::cont());
        assert_eq!(bytes, b"{\"execute\":\"cont\"}\n");
        session.forget(id);
        let (next, bytes) = session.submit(&cmd::cont());
        assert_eq!(bytes, b"{\"execute\":\"cont\",\"id\":2}\n");
        session.receive(b"{\"return\": {}}\r\n{\"return\": {}, \"id\": 2}\r\n{\"return\": {}}\r\n");
        assert!(matches!(session.poll(), Ok(Some(Output::Stray { id: Some(CommandId(1)), .. }))));
        assert!(matches!(session.poll(), Ok(Some(Output::Reply { id, .. })) if id == next));
        assert!(matches!(session.poll(), Ok(Some(Output::Stray { id: None, .. }))));
        session.receive(b"SSH-2.0\r\n");
        assert!(session.poll().is_err());
    }
}
