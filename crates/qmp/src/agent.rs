//! The guest agent's dialect: no greeting, no ids, one command at a time, and a line that may hold
//! left-overs of an earlier conversation.
//!
//! Before a command the two sides agree on where they are: we send the byte 0xFF (which makes the
//! agent drop a half-read command) and `guest-sync-delimited` with a number; the agent answers 0xFF
//! and that number. All that came before is old and dropped.
//!
//! Everything the agent says comes from the guest and is not to be trusted.

use serde_json::{Map, Value};

use crate::error::excerpt;
use crate::{Command, LineSplitter, ProtocolError, QmpError, cmd, message};

/// The longest agent answer accepted, in bytes. libvirt takes 10 MiB.
pub const MAX_AGENT_LINE: usize = 16 << 20;

/// Most values in an answer: one byte of JSON can become 32 bytes of memory. Honest answers have
/// some thousands; the contents of a file, however long, are one.
const MAX_AGENT_VALUES: usize = 1 << 19;

/// Most bytes kept of a line while nothing is expected but the answer to a sync, which is short.
const MAX_SYNC_LINE: usize = 4 << 10;

/// What came out of the bytes received.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentOutput {
    /// The agent answered the last [`AgentSession::sync`]: it is there and both sides are in step.
    Synced,
    /// The answer to the command sent after that.
    Reply(Result<Value, QmpError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not in step: everything is dropped.
    Idle,
    /// Waiting for the number after 0xFF.
    Syncing(u64),
    /// In step.
    Synced,
}

/// The state of one agent connection.
#[derive(Debug)]
pub struct AgentSession {
    lines: LineSplitter,
    state: State,
    /// What the last answer held beside its result.
    extra: Map<String, Value>,
}

impl Default for AgentSession {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentSession {
    /// A session on a new connection, not in step.
    pub fn new() -> Self {
        Self { lines: LineSplitter::new(MAX_AGENT_LINE), state: State::Idle, extra: Map::new() }
    }

    /// The bytes that bring both sides in step. `number` should not repeat soon: the time in
    /// milliseconds does. Only its low 52 bits are used, which every JSON reader keeps exactly.
    pub fn sync(&mut self, number: u64) -> Vec<u8> {
        let number = number & ((1 << 52) - 1);
        self.state = State::Syncing(number);
        let mut bytes = vec![0xff];
        bytes.extend(cmd::guest::sync_delimited(number).encode(None));
        bytes
    }

    /// The bytes of a command; send them only after [`AgentOutput::Synced`] and one at a time.
    pub fn submit<R>(&self, command: &Command<R>) -> Vec<u8> {
        command.encode(None)
    }

    /// Declares the conversation broken (a command timed out): all input is dropped until the next sync.
    pub fn desync(&mut self) {
        self.state = State::Idle;
    }

    /// Whether both sides are in step.
    pub fn is_synced(&self) -> bool {
        self.state == State::Synced
    }

    /// What the last answer held beside its result: an id, where the command had one.
    pub fn take_extra(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.extra)
    }

    /// Adds received bytes; then call [`AgentSession::poll`] until it returns `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.state != State::Synced && self.lines.pending().len() > MAX_SYNC_LINE {
            // No answer to a sync is that long, but one may have begun at the end of this.
            self.lines.keep_tail(MAX_SYNC_LINE);
        }
        self.lines.push(bytes);
    }

    /// The next message.
    ///
    /// # Errors
    /// The agent sent an endless line, or, once in step, no JSON. Call [`AgentSession::sync`] again.
    pub fn poll(&mut self) -> Result<Option<AgentOutput>, ProtocolError> {
        loop {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.lines.clear();
                    self.state = State::Idle;
                    return Err(error);
                }
            };
            // What stands before the last 0xFF is the rest of an older answer.
            let delimited = line.iter().rposition(|&b| b == 0xff);
            let text = delimited.and_then(|at| line.get(at + 1..)).unwrap_or(line);
            match self.state {
                State::Idle => {}
                State::Syncing(number) => {
                    // Anything longer is an older answer, and not worth reading.
                    let short = text.get(..text.len().min(MAX_SYNC_LINE)).unwrap_or_default();
                    let answer = reply(short).ok().and_then(|(result, _)| result.ok());
                    if delimited.is_some() && answer.is_some_and(|v| v.as_u64() == Some(number)) {
                        self.state = State::Synced;
                        return Ok(Some(AgentOutput::Synced));
                    }
                }
                State::Synced => {
                    let (result, extra) = match reply(text) {
                        Ok(answer) => answer,
                        Err(error) => {
                            self.state = State::Idle;
                            return Err(error);
                        }
                    };
                    self.extra = extra;
                    return Ok(Some(AgentOutput::Reply(result)));
                }
            }
        }
    }
}

/// The result that an answer tells, and what else it holds.
type Answer = (Result<Value, QmpError>, Map<String, Value>);

fn reply(line: &[u8]) -> Result<Answer, ProtocolError> {
    let values = line.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > MAX_AGENT_VALUES {
        return Err(ProtocolError::Unknown { excerpt: excerpt(line) });
    }
    let value: Value = serde_json::from_slice(line)
        .map_err(|e| ProtocolError::Json { detail: e.to_string(), excerpt: excerpt(line) })?;
    let unknown = || ProtocolError::Unknown { excerpt: excerpt(line) };
    let Value::Object(mut object) = value else { return Err(unknown()) };
    let result = message::reply(&mut object).ok_or_else(unknown)?;
    object.retain(|name, _| name != "return" && name != "error");
    Ok((result, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversation() {
        let mut agent = AgentSession::new();
        agent.receive(b"{\"return\": {}}\n");
        assert_eq!(agent.poll(), Ok(None), "old answers are dropped");
        assert_eq!(
            agent.sync(7),
            b"\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":7}}\n"
        );
        // The agent complains about the 0xFF when it had half a command; and another's sync comes late.
        agent.receive(b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\n\xff{\"return\": 6}\n{\"re\xff{\"return\": 7}\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Synced)));
        assert_eq!(agent.poll(), Ok(None));
        agent.receive(b"{\"return\": {}}\n{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"gone\"}}\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Reply(Ok(serde_json::json!({}))))));
        assert!(
            matches!(agent.poll(), Ok(Some(AgentOutput::Reply(Err(e)))) if e.is_command_not_found())
        );
    }

    #[test]
    fn endless_answers_cost_no_memory() {
        let mut agent = AgentSession::new();
        agent.sync(3);
        for _ in 0..2000 {
            agent.receive(&[b'x'; 64 << 10]);
            assert_eq!(agent.poll(), Ok(None));
        }
        assert!(agent.lines.pending().len() < 1 << 20, "{}", agent.lines.pending().len());
        agent.receive(b"\n\xff{\"return\": 3}\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Synced)));
        let refused = (0..2000).find_map(|_| {
            agent.receive(&[b'x'; 64 << 10]);
            agent.poll().err()
        });
        assert_eq!(refused, Some(ProtocolError::LineTooLong { limit: MAX_AGENT_LINE }));
        assert!(!agent.is_synced());
        agent.sync(4);
        agent.receive(b"xxx\n\xff{\"return\": 4}\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Synced)), "and it recovers");
        let mut many = b"{\"return\": [0".to_vec();
        many.extend(b",0".repeat(MAX_AGENT_VALUES));
        many.extend(b"]}\n");
        agent.receive(&many);
        assert!(agent.poll().is_err(), "more values than any answer has");
    }

    #[test]
    fn an_answers_id_is_kept() {
        let mut agent = AgentSession::new();
        agent.sync(3);
        agent.receive(b"\xff{\"return\": 3}\n{\"return\": {}, \"id\": \"x\"}\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Synced)));
        assert!(agent.poll().is_ok());
        assert_eq!(agent.take_extra().get("id"), Some(&serde_json::json!("x")));
    }

    #[test]
    fn garbage_ends_the_sync() {
        let mut agent = AgentSession::new();
        agent.sync(1);
        agent.receive(b"garbage\n[]\n{\"return\": 1}\n\xff{\"return\": 1}\n nonsense\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Synced)), "only a delimited answer counts");
        assert!(agent.poll().is_err());
        assert!(!agent.is_synced());
    }
}
