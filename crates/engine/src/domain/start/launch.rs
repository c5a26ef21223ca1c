//! Carrying out a launch plan: the steps before QEMU, QEMU itself, the first words with it.
//!
//! A plan makes all choices; here each step is done in order, what it yields is kept under its
//! name, and when one fails, everything done so far is taken back, last first.

use crate::domain::adopt::status::{Pending, Sidecar, StatusFile};
use crate::domain::devices::plug::lends;
use crate::domain::start::qemu_log;
use crate::domain::start::results::Results;
use crate::domain::start::steps;
use crate::domain::start::teardown::{self, Made};
use crate::domain::tuning::perf::Counters;
use crate::engine::Engine;
use crate::hooks::GuestHook;
use crate::ports::is_free;
use diag::{ErrorCode, VirError};
use host::monitor::{Connected, Monitor, MonitorError};
use host::process::Process;
use host::spawn::{SpawnError, Started};
use lifecycle::ShutoffReason;
use plan::{Action, Exec, LaunchPlan, QmpCommand, Step, Undo};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long QEMU may take from exec to its greeting.
const GREETING_DEADLINE: Duration = Duration::from_secs(30);

/// What a successful launch leaves: QEMU, stopped, greeted, with everything asked that the plan
/// asks.
pub(in crate::domain) struct Launched {
    pub process: Process,
    pub connected: Connected,
    pub results: Results,
    /// What the host's kernel counts of it.
    pub counters: Counters,
}

/// A launch under way; holds what must be taken back if it ends early.
pub(in crate::domain) struct Launch {
    pub engine: Arc<Engine>,
    pub name: Arc<str>,
    pub plan: LaunchPlan,
    done: usize,
    results: Results,
    process: Option<Process>,
    counters: Counters,
    /// Pid and start time of the exec helper, which is waited for when the launch ends early.
    helper: Option<(u32, u64)>,
    /// The writing down under way: it goes on when the launch is aborted.
    writing: Option<JoinHandle<Result<(), VirError>>>,
    log: Option<(PathBuf, u64)>,
}

/// Why nothing was launched.
pub(in crate::domain) struct NotLaunched {
    pub error: VirError,
    /// Somebody else took a port that we had chosen, before QEMU could: another one may do.
    pub lost_port: bool,
}

impl From<VirError> for NotLaunched {
    fn from(error: VirError) -> Self {
        Self { error, lost_port: false }
    }
}

/// How QEMU says that somebody listens there.
const PORT_IN_USE: &str = "Address already in use";

/// What is written down of a start, so that nothing of it is left when the daemon is killed.
#[derive(Clone)]
pub(in crate::domain) struct Notes {
    pub status: StatusFile,
    /// What is taken back when the guest stops.
    pub undo: Vec<Undo>,
}

impl Notes {
    /// Before the first step: what the steps may do. No status file tells of a guest yet.
    fn begin(&self, undo: Vec<Undo>, steps: &[Step]) -> Result<(), VirError> {
        let made = Made { lent: Some(lends(steps)), ..Made::default() };
        self.status.write_sidecar(&Sidecar { undo, made, ..Sidecar::default() })
    }

    /// Between "the process exists" and "it may go on".
    fn process(mut self, pid: u32, start_time: u64, made: Made) -> Result<(), VirError> {
        self.status.set_pid(pid);
        let sidecar =
            Sidecar { pid, start_time, undo: self.undo, made, pending: Pending::default() };
        self.status.write_sidecar(&sidecar).and_then(|()| self.status.write())
    }
}

impl Launch {
    pub fn new(engine: &Arc<Engine>, name: &Arc<str>, plan: LaunchPlan) -> Self {
        Self {
            engine: Arc::clone(engine),
            name: Arc::clone(name),
            plan,
            done: 0,
            results: Results::default(),
            process: None,
            counters: Counters::default(),
            helper: None,
            writing: None,
            log: None,
        }
    }

    /// Does everything up to a stopped QEMU. On an error everything is taken back.
    pub async fn run(
        mut self,
        notes: &Notes,
        mut abort: watch::Receiver<bool>,
    ) -> Result<Launched, NotLaunched> {
        let result = self.attempt(notes, &mut abort).await;
        match result {
            Ok(connected) => match self.process.take() {
                Some(process) => Ok(Launched {
                    process,
                    connected,
                    results: std::mem::take(&mut self.results),
                    counters: std::mem::take(&mut self.counters),
                }),
                None => Err(VirError::internal("a plan without an exec step").into()),
            },
            Err(error) => {
                let lost_port = self.has_lost_port(&error);
                self.take_back().await;
                Err(NotLaunched { error, lost_port })
            }
        }
    }

    async fn attempt(
        &mut self,
        notes: &Notes,
        abort: &mut watch::Receiver<bool>,
    ) -> Result<Connected, VirError> {
        let exec_at = self
            .plan
            .steps
            .iter()
            .position(|step| matches!(step.action, Action::Exec(_)))
            .ok_or_else(|| VirError::internal("a plan without an exec step"))?;
        self.hook(GuestHook::Prepare, abort).await?;
        // The exec helper loads while the steps are done.
        let engine = Arc::clone(&self.engine);
        let (tell, leader) = oneshot::channel();
        self.results.leader = Some(leader);
        let starting = crate::blocking(move || {
            let started = host::spawn::start(engine.exec_helper());
            let _ = started.as_ref().map(|started| tell.send(started.pid()));
            Ok(started)
        });
        let (started, prepared) = tokio::join!(starting, self.prepare_steps(exec_at, notes));
        let mut started = started?;
        self.note_helper(&started);
        prepared?;
        if self.results.leader_is_lost {
            let engine = Arc::clone(&self.engine);
            let starting = crate::blocking(move || Ok(host::spawn::start(engine.exec_helper())));
            started = starting.await?;
            self.note_helper(&started);
        }
        self.hook(GuestHook::Start, abort).await?;
        let connected = tokio::select! {
            biased;
            result = self.exec_and_greet(exec_at, started, notes) => result?,
            _ = abort.wait_for(|abort| *abort) => return Err(aborted(&self.name)),
        };
        self.hook(GuestHook::Started, abort).await?;
        Ok(connected)
    }

    fn note_helper(&mut self, started: &Result<Started, SpawnError>) {
        if let Ok(started) = started {
            self.helper = Some((started.pid(), started.start_time()));
        }
    }

    /// The administrator's scripts may prevent the start; `destroy` does not wait for them.
    async fn hook(
        &self,
        hook: GuestHook,
        abort: &mut watch::Receiver<bool>,
    ) -> Result<(), VirError> {
        if !self.engine.has_guest_hooks() {
            return Ok(());
        }
        // With what is known by then: the ports of its displays.
        let observed = plan::qemu::observe(&self.plan, &self.results.observed()).domain;
        tokio::select! {
            biased;
            _ = abort.wait_for(|abort| *abort) => Err(aborted(&self.name)),
            result = self.engine.guest_hook(&observed, hook) => result,
        }
    }

    /// The steps before the exec touch files: on a thread that may block.
    async fn prepare_steps(&mut self, count: usize, notes: &Notes) -> Result<(), VirError> {
        let steps = self.plan.steps.get(..count).unwrap_or_default().to_vec();
        let undo = self.plan.rollback(count).into_iter().cloned().collect();
        let notes = notes.clone();
        let engine = Arc::clone(&self.engine);
        let mut results = std::mem::take(&mut self.results);
        results.lock_owner = self.engine.lock_owner(&self.plan.live);
        results.id = self.plan.live.id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        results.uuid = self.plan.live.uuid.map_or([0; 16], |uuid| uuid.0);
        if let (Some(exec), Some(uuid)) = (self.plan.exec(), self.plan.live.uuid)
            && let Some(domain) = self.engine.registry.any_by_uuid(&uuid)
        {
            let wanted = exec.args.iter().flat_map(plan::Arg::fds);
            self.engine.hand_over_descriptors(&domain, wanted, &mut results)?;
        }
        let name = Arc::clone(&self.name);
        let (results, done, outcome) = crate::blocking(move || {
            let mut done = 0;
            let mut outcome = Ok(());
            notes.begin(undo, &steps)?;
            for step in &steps {
                match steps::perform(&engine, &name, step, &mut results) {
                    Ok(()) => done += 1,
                    Err(error) => {
                        // A step that failed half-way is taken back as if it were done.
                        done += 1;
                        outcome = Err(error);
                        break;
                    }
                }
            }
            Ok((results, done, outcome))
        })
        .await?;
        self.results = results;
        self.done = done;
        self.log = self.results.log_path.clone().map(|path| {
            let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            (path, length)
        });
        outcome
    }

    async fn exec_and_greet(
        &mut self,
        exec_at: usize,
        started: Result<Started, SpawnError>,
        notes: &Notes,
    ) -> Result<Connected, VirError> {
        let Some(Action::Exec(exec)) = self.plan.steps.get(exec_at).map(|step| &step.action) else {
            return Err(VirError::internal("a plan without an exec step"));
        };
        let exec = exec.clone();
        let fault = |launch: &Self, error| launch.spawn_error(&exec, &error);
        let started = started.map_err(|error| fault(self, error))?;
        let spec = self.results.spawn_spec(&self.engine, &exec)?;
        let mut prepared = started.hand_over(spec).await.map_err(|error| fault(self, error))?;
        // The process may only go on once a file knows of it. Written while it gets ready.
        let (notes, made) = (notes.clone(), self.results.made());
        let (pid, start_time) = (prepared.pid(), prepared.start_time());
        let writing = self
            .writing
            .insert(tokio::task::spawn_blocking(move || notes.process(pid, start_time, made)));
        let written = writing.await;
        self.writing = None;
        let ready = prepared.ready().await;
        written
            .map_err(|_| VirError::internal("the call ended unexpectedly; the log says more"))??;
        ready.map_err(|error| fault(self, error))?;
        let process = prepared.go().await.map_err(|error| fault(self, error))?;
        let pid = self.process.insert(process).pid();
        self.done = exec_at + 1;
        self.counters = Counters::of_start(pid, &self.plan.live)?;
        let connected = self.greet().await?;
        self.after_exec(exec_at + 1, &connected.monitor).await?;
        self.place_helpers(pid).await?;
        Ok(connected)
    }

    async fn place_helpers(&self, qemu: u32) -> Result<(), VirError> {
        let steps = self.plan.rollback(self.done);
        let ends = |step: &&Undo| matches!(step, Undo::EndHelper { .. });
        let helpers: Vec<_> = steps.into_iter().filter(ends).cloned().collect();
        if helpers.is_empty() {
            return Ok(());
        }
        let (engine, name) = (Arc::clone(&self.engine), Arc::clone(&self.name));
        crate::blocking(move || {
            engine.place_helpers(&name, qemu, helpers.iter());
            Ok(())
        })
        .await
    }

    async fn greet(&mut self) -> Result<Connected, VirError> {
        let path = PathBuf::from(&self.plan.monitor.path);
        let connecting = async {
            let connected = Monitor::connect(&path, Instant::now() + GREETING_DEADLINE).await?;
            Ok::<_, MonitorError>(connected)
        };
        let Some(process) = &self.process else {
            return Err(VirError::internal("no process to greet"));
        };
        let result = tokio::select! {
            result = connecting => result,
            _ = process.exited() => Err(MonitorError::Closed),
        };
        match result {
            Ok(connected) => Ok(connected),
            Err(error) => Err(self.qemu_error(&error).await),
        }
    }

    /// The conversation of the plan and what needs QEMU's threads.
    async fn after_exec(&mut self, from: usize, monitor: &Monitor) -> Result<(), VirError> {
        let steps = self.plan.steps.get(from..).unwrap_or_default().to_vec();
        for step in &steps {
            match &step.action {
                Action::Qmp { commands } => {
                    self.converse(monitor, commands).await?;
                    plan::qemu::verify(&self.plan, &self.results.observed())?;
                    self.limit_threads()?;
                }
                Action::Threads(settings) => steps::set_threads(settings, &self.results)?,
                _ => {
                    return Err(VirError::internal("a plan with a step after QEMU that is none"));
                }
            }
            self.done += 1;
        }
        Ok(())
    }

    /// QEMU's threads go to where their limits are, now that it told which they are.
    fn limit_threads(&self) -> Result<(), VirError> {
        let cgroup = self.plan.steps.iter().find_map(|step| match &step.action {
            Action::Cgroup(cgroup) => Some(cgroup),
            _ => None,
        });
        cgroup.map_or(Ok(()), |cgroup| {
            crate::domain::start::limits::limit_threads(
                &self.engine,
                &cgroup.settings,
                &self.results,
            )
        })
    }

    /// All commands go out at once; QEMU answers in order.
    async fn converse(
        &mut self,
        monitor: &Monitor,
        commands: &[QmpCommand],
    ) -> Result<(), VirError> {
        let monitor = monitor.with_timeout(GREETING_DEADLINE);
        let pending: Vec<_> = commands
            .iter()
            .map(|command| Ok(monitor.submit(parse_command(command)?, Vec::new())))
            .collect::<Result<_, VirError>>()?;
        for (command, reply) in commands.iter().zip(pending) {
            match reply.wait().await {
                Ok(value) => {
                    if let Some(name) = &command.result {
                        self.results.values.insert(name.clone(), value);
                    }
                }
                Err(MonitorError::Closed) => {
                    return Err(self.qemu_error(&MonitorError::Closed).await);
                }
                // What only makes the live XML more precise may be missing.
                Err(error) if command_name(command) == "qom-get" => {
                    tracing::debug!(%error, command = command.json, "not answered");
                }
                Err(error) => {
                    return Err(VirError::internal(format!(
                        "unable to execute QEMU command '{}': {error}",
                        command_name(command)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Undoes what was done, last first; goes on over failures.
    async fn take_back(&mut self) {
        if let Some(process) = self.process.take() {
            if let Err(error) = process.kill() {
                tracing::error!(pid = process.pid(), %error, "QEMU cannot be killed");
            }
            let _ = process.exited().await;
        } else if let Some((pid, start_time)) = self.helper.take()
            && let Ok(Some(helper)) = Process::reopen(pid, start_time)
        {
            // Dropping it has killed it; while it is there, its control groups cannot go.
            let _ = helper.exited().await;
        }
        // A status file written after it was removed would stay.
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        let undo = self.plan.rollback(self.done).into_iter().cloned().collect();
        let results = std::mem::take(&mut self.results);
        let failed = ShutoffReason::Failed;
        teardown::run(
            &self.engine,
            &self.name,
            Some(&self.plan.live),
            failed,
            undo,
            results.made(),
        )
        .await;
    }

    fn spawn_error(&self, exec: &Exec, error: &SpawnError) -> VirError {
        if !Path::new(&exec.program).exists() {
            return VirError::new(
                ErrorCode::SYSTEM_ERROR,
                format!("Cannot find QEMU binary {}: No such file or directory", exec.program),
            );
        }
        VirError::internal(format!("cannot start QEMU '{}': {error}", exec.program))
    }

    /// QEMU's own words from its log, which say more than the broken connection.
    ///
    /// libvirtd says either this of a QEMU that ends in its start, or "process exited while connecting
    /// to monitor", by which of its threads sees the end first; this one is the more frequent.
    async fn qemu_error(&self, error: &MonitorError) -> VirError {
        let said = match &self.log {
            Some((path, from)) => {
                let (path, from) = (path.clone(), *from);
                let (engine, position) =
                    (Arc::clone(&self.engine), self.results.log_position.clone());
                let said = move || match position {
                    Some(position) => Ok(engine.said_since(&path, &position)),
                    None => Ok(qemu_log::tail(&path, from)),
                };
                crate::blocking(said).await.unwrap_or_default()
            }
            None => String::new(),
        };
        let said = match image_in_use(&said) {
            Some(path) => {
                let (engine, path) = (Arc::clone(&self.engine), path.to_owned());
                let holders = crate::blocking(move || Ok(engine.holders(&path))).await;
                format!("{said}\n{}", holders.unwrap_or_default())
            }
            None => said,
        };
        let said = match said.contains(PORT_IN_USE) {
            true => self.with_port_holders(said).await,
            false => said,
        };
        let detail = match (error, said.is_empty()) {
            (MonitorError::Closed | MonitorError::Io(_), true) => {
                format!("QEMU unexpectedly closed the monitor (vm='{}')", self.name)
            }
            (MonitorError::Closed | MonitorError::Io(_), false) => {
                format!("QEMU unexpectedly closed the monitor (vm='{}'): {said}", self.name)
            }
            (error, true) => format!("{error} (vm='{}')", self.name),
            (error, false) => format!("{error} (vm='{}'): {said}", self.name),
        };
        VirError::internal(detail)
    }
}

impl Launch {
    /// The ports that were reserved, with their addresses; true: chosen by us.
    fn ports(&self) -> impl Iterator<Item = (&str, u16, bool)> {
        self.plan.steps.iter().filter_map(|step| {
            let Action::ReservePort { listen, fixed, .. } = &step.action else { return None };
            let port = self.results.ports.get(step.result.as_ref()?)?;
            Some((listen.as_str(), *port, fixed.is_none()))
        })
    }

    fn has_lost_port(&self, error: &VirError) -> bool {
        error.detail.contains(PORT_IN_USE)
            && self.ports().any(|(listen, port, chosen)| chosen && !is_free(listen, port))
    }

    /// QEMU's words, and who has the ports that it could not have.
    async fn with_port_holders(&self, said: String) -> String {
        let taken = self.ports().filter(|(listen, port, _)| !is_free(listen, *port));
        let taken: Vec<u16> = taken.map(|(_, port, _)| port).collect();
        let engine = Arc::clone(&self.engine);
        let lines = crate::blocking(move || {
            let lines = taken.iter().filter_map(|port| {
                Some(format!("\nport {port} is in use by {}", engine.port_holders(*port)?))
            });
            Ok(lines.collect::<String>())
        });
        format!("{said}{}", lines.await.unwrap_or_default())
    }
}

/// The image that QEMU could not lock, from its words.
fn image_in_use(said: &str) -> Option<&str> {
    said.contains("Failed to get ").then_some(())?;
    let (_, rest) = said.split_once("Is another process using the image [")?;
    // A client's descriptor says nothing of its path.
    rest.split_once("]?").map(|(path, _)| path).filter(|path| !path.starts_with("/dev/fdset/"))
}

/// The command of a plan as the codec's.
pub(in crate::domain) fn parse_command(command: &QmpCommand) -> Result<qmp::Command, VirError> {
    let malformed = || VirError::internal("a plan's QMP command is malformed");
    let mut object: qmp::Value = serde_json::from_str(&command.json).map_err(|_| malformed())?;
    let name = object.get("execute").and_then(qmp::Value::as_str).ok_or_else(malformed)?.to_owned();
    let arguments = object.get_mut("arguments").map(qmp::Value::take);
    match arguments {
        Some(qmp::Value::Object(arguments)) => Ok(qmp::Command::new(name).args(arguments)),
        None => Ok(qmp::Command::new(name)),
        Some(_) => Err(malformed()),
    }
}

fn command_name(command: &QmpCommand) -> String {
    parse_command(command).map_or_else(|_| String::new(), |command| command.name().to_owned())
}

fn aborted(name: &str) -> VirError {
    VirError::new(
        ErrorCode::OPERATION_ABORTED,
        format!("the start of domain '{name}' was ended by destroy"),
    )
}
