//! A client of the guest agent on tokio.
//!
//! The agent lives in the guest: it may be absent, hang, or lie. Every exchange has a deadline and
//! begins by getting in step; after any failure the next exchange starts over.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use qmp::{AgentOutput, AgentSession, Command, ProtocolError, QmpError, Value};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

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

    /// Gets in step (within `sync_timeout`), sends a command, and waits for its answer until `timeout`.
    ///
    /// # Errors
    /// See [`AgentError`]. The connection stays usable except after `Closed` and `Io`.
    pub async fn execute<R: DeserializeOwned>(
        &mut self,
        command: Command<R>,
        sync_timeout: Duration,
        timeout: Duration,
    ) -> Result<R, AgentError> {
        let result = self.exchange(&command, sync_timeout, Some(timeout)).await;
        if result.is_err() {
            self.session.desync();
        }
        Ok(command.decode(result?.unwrap_or_default())?)
    }

    /// As [`Agent::execute`] for commands that have no answer on success (shutdown, suspend): waits
    /// a short while for an error only.
    ///
    /// # Errors
    /// As [`Agent::execute`], but silence and the end of the connection are success.
    pub async fn execute_silent<R>(
        &mut self,
        command: Command<R>,
        sync_timeout: Duration,
        grace: Duration,
    ) -> Result<(), AgentError> {
        let result = self.exchange(&command, sync_timeout, Some(grace)).await;
        self.session.desync();
        match result {
            Ok(_) | Err(AgentError::Timeout { .. } | AgentError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn exchange<R>(
        &mut self,
        command: &Command<R>,
        sync_timeout: Duration,
        timeout: Option<Duration>,
    ) -> Result<Option<Value>, AgentError> {
        // A time in microseconds does not repeat, so an answer of an earlier sync never matches.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let bytes = self.session.sync(u64::try_from(now.as_micros()).unwrap_or(1));
        let synced = async {
            self.stream.write_all(&bytes).await?;
            self.receive().await
        };
        match tokio::time::timeout(sync_timeout, synced).await {
            Ok(Ok(AgentOutput::Synced)) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(AgentOutput::Reply(_))) | Err(_) => return Err(AgentError::NotResponding),
        }
        let bytes = self.session.submit(command);
        let deadline = timeout.map(|t| Instant::now() + t);
        let answered = async {
            self.stream.write_all(&bytes).await.map_err(closed)?;
            self.receive().await
        };
        let output = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, answered)
                .await
                .map_err(|_| AgentError::Timeout { command: command.name().to_owned() })??,
            None => answered.await?,
        };
        match output {
            AgentOutput::Reply(result) => Ok(Some(result?)),
            AgentOutput::Synced => Ok(None),
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
