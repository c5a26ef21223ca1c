//! A client of the guest agent on tokio.
//!
//! The agent lives in the guest: it may be absent, hang, or lie. Every exchange has a deadline and
//! begins by getting in step, which drops whatever came in between: late answers, garbage, half
//! ones. An exchange that was cut off, whether by its deadline or because nobody waits any more,
//! leaves the connection usable.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use qmp::{AgentOutput, AgentSession, Command, ProtocolError, QmpError, Value};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Why an exchange with the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent answered with an error.
    #[error("{0}")]
    Agent(#[from] QmpError),
    /// The agent did not get in step in time: it is probably not running.
    #[error("guest agent is not responding")]
    NotResponding,
    /// The agent did not answer the command in time.
    #[error("guest agent did not answer '{command}' in time")]
    Timeout {
        /// The command.
        command: String,
    },
    /// The connection ended: the guest's port was closed or QEMU is gone.
    #[error("guest agent connection ended")]
    Closed,
    /// The socket failed.
    #[error("guest agent socket failed: {0}")]
    Io(#[from] io::Error),
    /// The agent sent something that is no answer.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// How long an exchange waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the agent to show that it is there. Zero: not at all, then nor for its answer.
    pub sync: Duration,
    /// For the answer to the command.
    pub answer: Duration,
}

/// A connection to the guest agent's socket.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    session: AgentSession,
}

impl Agent {
    /// Connects to the socket that QEMU opened for the agent's channel. This says nothing yet about
    /// an agent in the guest.
    ///
    /// # Errors
    /// The socket refuses.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(path).await?, session: AgentSession::new() })
    }

    /// Gets in step (within `patience.sync`), sends a command, and waits for its answer.
    ///
    /// # Errors
    /// See [`AgentError`]. The connection stays usable except after `Closed` and `Io`.
    pub async fn execute<R: DeserializeOwned>(
        &mut self,
        command: Command<R>,
        patience: Patience,
    ) -> Result<R, AgentError> {
        let bytes = command.encode(None);
        let value = self.exchange(&bytes, command.name(), patience).await?;
        Ok(command.decode(value)?)
    }

    /// As [`Agent::execute`] for a line of text that is one JSON value; the whole answer.
    ///
    /// # Errors
    /// As [`Agent::execute`].
    pub async fn execute_text(
        &mut self,
        line: &[u8],
        name: &str,
        patience: Patience,
    ) -> Result<Value, AgentError> {
        let value = self.exchange(line, name, patience).await?;
        let mut answer = serde_json::Map::new();
        answer.insert("return".to_owned(), value);
        answer.extend(self.session.take_extra());
        Ok(Value::Object(answer))
    }

    /// As [`Agent::execute`] for commands that have no answer on success (shutdown, suspend): waits
    /// a while for an error only.
    ///
    /// # Errors
    /// As [`Agent::execute`], but silence and the end of the connection are success.
    pub async fn execute_silent<R>(
        &mut self,
        command: Command<R>,
        patience: Patience,
    ) -> Result<(), AgentError> {
        let bytes = command.encode(None);
        match self.exchange(&bytes, command.name(), patience).await {
            Ok(_) | Err(AgentError::Timeout { .. } | AgentError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn exchange(
        &mut self,
        line: &[u8],
        name: &str,
        patience: Patience,
    ) -> Result<Value, AgentError> {
        // A time in microseconds does not repeat, so an answer of an earlier sync never matches.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let sync = self.session.sync(u64::try_from(now.as_micros()).unwrap_or(1));
        let late = || AgentError::Timeout { command: name.to_owned() };
        if patience.sync.is_zero() {
            // Nobody waits for anything: all is sent at once, and whatever comes back is dropped.
            self.session.desync();
            let all = [&sync, line].concat();
            let sent = tokio::time::timeout(Duration::ZERO, self.stream.write_all(&all)).await;
            sent.map_err(|_| AgentError::NotResponding)?.map_err(closed)?;
            return Err(late());
        }
        let synced = async {
            self.stream.write_all(&sync).await.map_err(closed)?;
            self.receive().await
        };
        match tokio::time::timeout(patience.sync, synced).await {
            Ok(Ok(AgentOutput::Synced)) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(AgentOutput::Reply(_))) | Err(_) => return Err(AgentError::NotResponding),
        }
        let answered = async {
            self.stream.write_all(line).await.map_err(closed)?;
            self.receive().await
        };
        match tokio::time::timeout(patience.answer, answered).await.map_err(|_| late())?? {
            AgentOutput::Reply(result) => Ok(result?),
            AgentOutput::Synced => Err(AgentError::NotResponding),
        }
    }

    async fn receive(&mut self) -> Result<AgentOutput, AgentError> {
        let mut buffer = [0; 8 << 10];
        loop {
            if let Some(output) = self.session.poll()? {
                return Ok(output);
            }
            match self.stream.read(&mut buffer).await.map_err(closed)? {
                0 => return Err(AgentError::Closed),
                count => self.session.receive(buffer.get(..count).unwrap_or_default()),
            }
        }
    }
}

fn closed(error: io::Error) -> AgentError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => AgentError::Closed,
        _ => AgentError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qmp::cmd::guest;
    use tokio::io::AsyncBufReadExt;

    const LONG: Patience =
        Patience { sync: Duration::from_secs(60), answer: Duration::from_secs(60) };

    /// For what never comes.
    const SHORT: Duration = Duration::from_millis(50);

    /// A connection whose other end is in the hands of the test.
    fn pair() -> (Agent, UnixStream) {
        let (ours, guests) = UnixStream::pair().expect("a pair of sockets");
        (Agent { stream: ours, session: AgentSession::new() }, guests)
    }

    /// The number of the next sync that the guest reads.
    async fn sync_number(guest: &mut tokio::io::BufReader<UnixStream>) -> u64 {
        let mut line = Vec::new();
        while !line.contains(&0xff) {
            line.clear();
            guest.read_until(b'\n', &mut line).await.expect("a line");
        }
        let start = line.iter().position(|&byte| byte == 0xff).map_or(0, |at| at + 1);
        let value: Value = serde_json::from_slice(&line[start..]).expect("a command");
        value["arguments"]["id"].as_u64().expect("a number")
    }

    async fn answer(guest: &mut tokio::io::BufReader<UnixStream>, text: &str) {
        guest.get_mut().write_all(text.as_bytes()).await.expect("room");
    }

    /// Answers the sync, then says `text` to the command.
    async fn honest(guest: &mut tokio::io::BufReader<UnixStream>, text: &str) {
        let number = sync_number(guest).await;
        guest.get_mut().write_all(b"\xff").await.expect("room");
        answer(guest, &format!("{{\"return\": {number}}}\n")).await;
        let mut line = Vec::new();
        guest.read_until(b'\n', &mut line).await.expect("a command");
        answer(guest, text).await;
    }

    #[tokio::test]
    async fn an_agent_that_lies_or_is_late_is_asked_again_with_success() {
        let (mut agent, guest) = pair();
        let mut guest = tokio::io::BufReader::new(guest);
        // Whether a line of it ends: else nothing comes that could be judged.
        let lies = [
            ("garbage\n", true),
            ("{\"re", false),
            ("{\"return\": 5}\n{\"return\": 6}\n", true),
            ("{\"error\": 3}\n", true),
            ("[]\n\n\n", true),
            ("", false),
        ];
        for (lie, ends) in lies {
            let patience = Patience { answer: if ends { LONG.answer } else { SHORT }, ..LONG };
            let (told, ()) =
                tokio::join!(agent.execute(guest::get_time(), patience), honest(&mut guest, lie));
            // Two answers in a row: the first counts, the second is nobody's.
            assert_eq!(told.is_ok(), lie.starts_with("{\"return"), "{lie:?}: {told:?}");
            let (told, ()) = tokio::join!(
                agent.execute(guest::get_time(), LONG),
                honest(&mut guest, "{\"return\": 7}\n")
            );
            assert_eq!(told.expect("an honest answer"), 7, "after {lie:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_another_sync_is_none() {
        let (mut agent, guest) = pair();
        let mut guest = tokio::io::BufReader::new(guest);
        let wrong = async {
            let number = sync_number(&mut guest).await;
            guest.get_mut().write_all(b"\xff").await.expect("room");
            answer(&mut guest, &format!("{{\"return\": {}}}\n", number + 1)).await;
        };
        let patience = Patience { sync: SHORT, ..LONG };
        let (told, ()) = tokio::join!(agent.execute(guest::get_time(), patience), wrong);
        assert!(matches!(told, Err(AgentError::NotResponding)), "{told:?}");
    }

    #[tokio::test]
    async fn an_endless_line_ends() {
        let (mut agent, guest) = pair();
        let mut guest = tokio::io::BufReader::new(guest);
        let endless = async {
            honest(&mut guest, "").await;
            // Until the reader has had enough.
            for _ in 0..1600 {
                guest.get_mut().write_all(&[b'x'; 64 << 10]).await.expect("room");
            }
            guest
        };
        let talk = async {
            let told = agent.execute(guest::get_time(), LONG).await;
            assert!(matches!(told, Err(AgentError::Protocol(_))), "{told:?}");
            let told = agent.execute(guest::get_time(), LONG).await;
            (agent, told)
        };
        let ((_, told), mut guest) = tokio::join!(talk, async {
            let mut guest = endless.await;
            answer(&mut guest, "\n").await;
            honest(&mut guest, "{\"return\": 8}\n").await;
            guest
        });
        assert_eq!(told.expect("it recovers"), 8);
        drop(guest.get_mut().shutdown().await);
    }

    #[tokio::test]
    async fn without_patience_the_command_is_sent_all_the_same() {
        let (mut agent, guest) = pair();
        let none = Patience { sync: Duration::ZERO, answer: Duration::ZERO };
        let told = agent.execute(guest::get_time(), none).await;
        assert!(matches!(told, Err(AgentError::Timeout { .. })), "{told:?}");
        drop(agent);
        let mut said = String::new();
        tokio::io::BufReader::new(guest).read_line(&mut said).await.expect_err("no UTF-8: 0xFF");
    }
}
