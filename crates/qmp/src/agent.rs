//! The guest agent's dialect: no greeting, no ids, one command at a time, and a line that may hold
//! left-overs of an earlier conversation.
//!
//! Before a command the two sides agree on where they are: we send the byte 0xFF (which makes the
//! agent drop a half-read command) and `guest-sync-delimited` with a number; the agent answers 0xFF
//! and that number. All that came before is old and dropped.
//!
//! Everything the agent says comes from the guest and is not to be trusted.

use serde_json::Value;

use crate::error::excerpt;
use crate::{Command, LineSplitter, ProtocolError, QmpError, cmd, message};

/// The longest agent answer accepted, in bytes: `guest-file-read` of 48 MiB in base64 is the
/// agent's own largest.
pub const MAX_AGENT_LINE: usize = 64 << 20;

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
}

impl Default for AgentSession {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentSession {
    /// A session on a new connection, not in step.
    pub fn new() -> Self {
        Self { lines: LineSplitter::new(MAX_AGENT_LINE), state: State::Idle }
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

    /// Adds received bytes; then call [`AgentSession::poll`] until it returns `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
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
                    let answer = reply(text).ok().and_then(Result::ok);
                    if delimited.is_some() && answer.is_some_and(|v| v.as_u64() == Some(number)) {
                        self.state = State::Synced;
                        return Ok(Some(AgentOutput::Synced));
                    }
                }
                State::Synced => {
                    let result = reply(text);
                    if result.is_err() {
                        self.state = State::Idle;
                    }
                    return result.map(|r| Some(AgentOutput::Reply(r)));
                }
            }
        }
    }
}

fn reply(line: &[u8]) -> Result<Result<Value, QmpError>, ProtocolError> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|e| ProtocolError::Json { detail: e.to_string(), excerpt: excerpt(line) })?;
    let unknown = || ProtocolError::Unknown { excerpt: excerpt(line) };
    let Value::Object(mut object) = value else { return Err(unknown()) };
    message::reply(&mut object).ok_or_else(unknown)
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
    fn garbage_ends_the_sync() {
        let mut agent = AgentSession::new();
        agent.sync(1);
        agent.receive(b"garbage\n[]\n{\"return\": 1}\n\xff{\"return\": 1}\n nonsense\n");
        assert_eq!(agent.poll(), Ok(Some(AgentOutput::Synced)), "only a delimited answer counts");
        assert!(agent.poll().is_err());
        assert!(!agent.is_synced());
    }
}
