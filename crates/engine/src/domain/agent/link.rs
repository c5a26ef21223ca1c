//! The line to a guest's agent: one for each running guest, kept open, one command at a time.
//!
//! It is opened when the guest opens its end: an agent whose other end nobody holds keeps looking
//! for one, ten times a second in every idle guest. No command holds the domain's job, so an agent
//! that does not answer is in the way of nothing but further commands to it.

use crate::domain::job::QUEUE_DEADLINE;
use crate::domain::record::Domain;
use crate::domain::view::agent_channel;
use crate::domain::vm::Vm;
use diag::{ErrorCode, VirError};
use host::agent::{Agent, AgentError, Patience};
use lifecycle::Status;
use qmp::Value;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, watch};

/// How long the agent may take to show that it is there, unless it was given less.
const SYNC_DEADLINE: Duration = Duration::from_secs(5);

/// How long it may take for an answer: libvirt waits for ever; an hour is longer than any agent
/// command runs and still ends.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3600);

/// How long an order that has no answer may take to show in the guest; libvirt waits as long.
const ORDER_DEADLINE: Duration = Duration::from_secs(60);

/// How long a call waits for the agent's answer (`virDomainAgentResponseTimeoutValues`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentPatience {
    /// As long as it takes (-2).
    Block,
    /// libvirt's own 5 seconds (-1).
    Default,
    /// Do not wait at all (0).
    NoWait,
    /// This long.
    Seconds(u32),
}

impl AgentPatience {
    /// From the wire's number.
    ///
    /// # Errors
    /// For numbers below -2.
    pub fn from_seconds(seconds: i32) -> Result<Self, VirError> {
        match seconds {
            -2 => Ok(Self::Block),
            -1 => Ok(Self::Default),
            0 => Ok(Self::NoWait),
            other => u32::try_from(other).map(Self::Seconds).map_err(|_| {
                VirError::invalid_arg(format!(
                    "guest agent timeout '{other}' is less than the minimum '-2'"
                ))
            }),
        }
    }

    /// The wire's number.
    pub fn to_seconds(self) -> i32 {
        match self {
            Self::Block => -2,
            Self::Default => -1,
            Self::NoWait => 0,
            Self::Seconds(seconds) => i32::try_from(seconds).unwrap_or(i32::MAX),
        }
    }

    fn answer(self) -> Duration {
        match self {
            Self::Block => ANSWER_DEADLINE,
            Self::Default => SYNC_DEADLINE,
            Self::NoWait => Duration::ZERO,
            Self::Seconds(seconds) => Duration::from_secs(u64::from(seconds)),
        }
    }

    fn sync(self) -> Duration {
        self.answer().min(SYNC_DEADLINE)
    }
}

/// What the actor and the calls share about the agent of a running guest.
#[derive(Debug)]
pub(crate) struct AgentLink {
    turn: Arc<tokio::sync::Mutex<Option<Agent>>>,
    holder: Mutex<Option<(&'static str, Arc<str>, Instant)>>,
    /// The guest holds its end of the channel.
    open: watch::Sender<bool>,
    /// Counts what the guest did that an order without an answer can lead to.
    signs: watch::Sender<u64>,
}

impl Default for AgentLink {
    fn default() -> Self {
        Self {
            turn: Arc::default(),
            holder: Mutex::default(),
            open: watch::channel(false).0,
            signs: watch::channel(0).0,
        }
    }
}

impl AgentLink {
    /// The guest opened its end or closed it.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// The guest powers off, starts over or falls asleep.
    pub fn sign(&self) {
        self.signs.send_modify(|count| *count += 1);
    }

    /// Holds the host's end too, from now on.
    pub async fn hold(&self, path: &Path) {
        let mut agent = self.turn.lock().await;
        if agent.is_none() {
            match Agent::connect(path).await {
                Ok(connected) => *agent = Some(connected),
                Err(error) => tracing::debug!(path = %path.display(), %error, "no agent yet"),
            }
        }
    }

    fn held_by(&self) -> std::sync::MutexGuard<'_, Option<(&'static str, Arc<str>, Instant)>> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to talk to the agent.
pub(crate) struct Turn {
    vm: Arc<Vm>,
    agent: OwnedMutexGuard<Option<Agent>>,
    sync: AgentPatience,
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.vm.agent.held_by() = None;
    }
}

impl Turn {
    /// Waits for the turn to talk to a guest's agent.
    ///
    /// # Errors
    /// When the domain does not run, has no agent, the agent is not there, or somebody else has the
    /// turn for too long.
    pub async fn take(
        domain: &Arc<Domain>,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<Self, VirError> {
        let vm = domain.vm().ok_or_else(not_running)?;
        look(domain, &vm)?;
        let lock = Arc::clone(&vm.agent.turn).lock_owned();
        let Ok(agent) = tokio::time::timeout(QUEUE_DEADLINE, lock).await else {
            let holder = vm.agent.held_by().clone();
            let holder = holder.map_or_else(String::new, |(verb, client, since)| {
                format!(" (held by '{verb}' of {client} since {} s)", since.elapsed().as_secs())
            });
            return Err(VirError::new(
                ErrorCode::OPERATION_TIMEOUT,
                format!(
                    "cannot acquire state change lock{holder}; {verb} waited {} s for the agent",
                    QUEUE_DEADLINE.as_secs()
                ),
            ));
        };
        *vm.agent.held_by() = Some((verb, Arc::clone(client), Instant::now()));
        let mut turn = Self { vm, agent, sync: domain.agent_patience() };
        // The wait may have been long.
        let path = look(domain, &turn.vm)?;
        if turn.agent.is_none() {
            let connected = Agent::connect(Path::new(&path)).await.map_err(|error| {
                tracing::debug!(path, %error, "the agent's socket refuses");
                unavailable()
            })?;
            *turn.agent = Some(connected);
        }
        Ok(turn)
    }

    /// Sends a command and waits for its answer until the agent's end closes or QEMU is gone.
    /// `patience`: the domain's own where there is none.
    ///
    /// # Errors
    /// libvirt's for what the agent says and does not say.
    pub async fn execute<R: DeserializeOwned>(
        &mut self,
        command: qmp::Command<R>,
        patience: Option<AgentPatience>,
    ) -> Result<R, VirError> {
        let limits = self.limits(patience);
        let name = command.name().to_owned();
        let mut agent = self.agent.take().ok_or_else(unavailable)?;
        let told = self.until_gone(agent.execute(command, limits)).await;
        self.give_back(agent, told).map_err(|error| agent_error(&error, &name, limits))
    }

    /// As [`Turn::execute`] for a line of JSON, with the whole answer.
    ///
    /// # Errors
    /// As [`Turn::execute`].
    pub async fn execute_text(
        &mut self,
        line: &[u8],
        name: &str,
        patience: AgentPatience,
    ) -> Result<Value, VirError> {
        let limits = self.limits(Some(patience));
        let mut agent = self.agent.take().ok_or_else(unavailable)?;
        let told = self.until_gone(agent.execute_text(line, name, limits)).await;
        self.give_back(agent, told).map_err(|error| agent_error(&error, name, limits))
    }

    fn limits(&self, patience: Option<AgentPatience>) -> Patience {
        let answer = patience.unwrap_or(self.sync).answer();
        // Who waits less for the answer does not wait longer for a sign of life.
        Patience { sync: self.sync.sync().min(answer), answer }
    }

    async fn until_gone<T>(
        &self,
        talk: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let mut open = self.vm.agent.open.subscribe();
        tokio::select! {
            biased;
            told = talk => told,
            _ = open.wait_for(|open| !*open) => Err(AgentError::Closed),
            _ = self.vm.process.exited() => Err(AgentError::Closed),
        }
    }

    /// Keeps the line unless it broke: then it is opened anew the next time.
    fn give_back<T>(&mut self, agent: Agent, told: Result<T, AgentError>) -> Result<T, AgentError> {
        if !matches!(told, Err(AgentError::Closed | AgentError::Io(_))) {
            *self.agent = Some(agent);
        }
        told
    }

    /// Has the agent do something that it does not answer when it succeeds: success is also what
    /// the guest then does.
    ///
    /// # Errors
    /// libvirt's for what the agent refuses and for an agent that is not there.
    pub async fn order(&mut self, command: qmp::Command<qmp::Ack>) -> Result<(), VirError> {
        let mut signs = self.vm.agent.signs.subscribe();
        let name = command.name().to_owned();
        let limits = Patience { sync: self.sync.sync(), answer: ORDER_DEADLINE };
        let mut agent = self.agent.take().ok_or_else(unavailable)?;
        let told = tokio::select! {
            biased;
            told = self.until_gone(agent.execute_silent(command, limits)) => told,
            _ = signs.changed() => Ok(()),
        };
        match self.give_back(agent, told) {
            // The agent ends with the guest that it ends.
            Ok(()) | Err(AgentError::Closed) => Ok(()),
            Err(error) => Err(agent_error(&error, &name, limits)),
        }
    }
}

/// Whether there is an agent to talk to, and where.
fn look(domain: &Domain, vm: &Vm) -> Result<String, VirError> {
    let snapshot = domain.snapshot();
    let Some(live) = &snapshot.live else { return Err(not_running()) };
    // A guest that stands still cannot answer.
    if !matches!(snapshot.status, Status::Running(_)) {
        return Err(not_running());
    }
    let not_configured =
        || VirError::new(ErrorCode::ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
    let channel = agent_channel(&live.definition).ok_or_else(not_configured)?;
    let path = channel.source.sources.iter().find_map(|source| source.path.clone());
    let path = path.ok_or_else(not_configured)?;
    if !*vm.agent.open.borrow() {
        return Err(VirError::new(
            ErrorCode::AGENT_UNRESPONSIVE,
            "QEMU guest agent is not connected",
        ));
    }
    Ok(path)
}

/// There is no agent to ask, as the guest does not run: QEMU's driver looks for the agent first.
fn not_running() -> VirError {
    VirError::invalid_state("domain is not running")
}

fn unavailable() -> VirError {
    VirError::new(
        ErrorCode::AGENT_UNRESPONSIVE,
        "QEMU guest agent is not available due to an error",
    )
}

/// An agent's refusal or silence as libvirt's error.
fn agent_error(error: &AgentError, command: &str, limits: Patience) -> VirError {
    match error {
        AgentError::Agent(refusal) => VirError::new(
            ErrorCode::AGENT_COMMAND_FAILED,
            format!("unable to execute QEMU agent command '{command}': {refusal}"),
        ),
        AgentError::Timeout { .. } => VirError::new(
            ErrorCode::AGENT_COMMAND_TIMEOUT,
            format!(
                "guest agent didn't respond to command within '{}' seconds",
                limits.answer.as_secs()
            ),
        ),
        AgentError::NotResponding => VirError::new(
            ErrorCode::AGENT_UNRESPONSIVE,
            format!(
                "guest agent didn't respond to synchronization within '{}' seconds",
                limits.sync.as_secs()
            ),
        ),
        AgentError::Closed => VirError::new(
            ErrorCode::AGENT_UNRESPONSIVE,
            "Guest agent disappeared while executing command",
        ),
        other => VirError::new(
            ErrorCode::AGENT_UNRESPONSIVE,
            format!("the guest agent's answer to '{command}' is of no use: {other}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_by_number() {
        for (seconds, sync, answer) in
            [(-2, 5, 3600), (-1, 5, 5), (0, 0, 0), (2, 2, 2), (30, 5, 30)]
        {
            let patience = AgentPatience::from_seconds(seconds).expect("a number that is known");
            assert_eq!(patience.to_seconds(), seconds);
            assert_eq!(patience.sync().as_secs(), sync, "{seconds}");
            assert_eq!(patience.answer().as_secs(), answer, "{seconds}");
        }
        assert!(AgentPatience::from_seconds(-3).is_err());
    }

    #[test]
    fn failures_in_libvirts_words() {
        let limits = Patience { sync: Duration::from_secs(5), answer: Duration::from_secs(7) };
        let late = AgentError::Timeout { command: "x".into() };
        for (error, code, words) in [
            (&late, ErrorCode::AGENT_COMMAND_TIMEOUT, "to command within '7' seconds"),
            (
                &AgentError::NotResponding,
                ErrorCode::AGENT_UNRESPONSIVE,
                "to synchronization within '5' seconds",
            ),
            (&AgentError::Closed, ErrorCode::AGENT_UNRESPONSIVE, "disappeared"),
        ] {
            let told = agent_error(error, "guest-ping", limits);
            assert_eq!(told.code, code);
            assert!(told.detail.contains(words), "{}", told.detail);
        }
    }
}
