//! Taking over running guests when the daemon starts: ours and libvirtd's alike.

use crate::domain::adopt::status::{Pending, Sidecar, StatusFile};
use crate::domain::adopt::strays::is_qemu_of;
use crate::domain::agent::link::AgentPatience;
use crate::domain::devices::blockjobs::BlockJob;
use crate::domain::record::{Domain, Live};
use crate::domain::save::{SaveNote, forget_unfinished, go_on};
use crate::domain::start::{foreign, teardown};
use crate::domain::tuning::perf::Counters;
use crate::domain::view::power_policy;
use crate::domain::vm::look::{self, Look};
use crate::domain::vm::{self, ActorParts};
use crate::engine::Engine;
use crate::hooks::GuestHook;
use host::monitor::{Connected, Monitor, MonitorError};
use host::process::Process;
use lifecycle::{
    GuestEvent, OnEvent, PausedReason, Phase, PowerPolicy, RunningReason, ShutdownReason,
    ShutoffReason, Status, StoppedDetail,
};
use plan::Undo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a QEMU may take to answer before the daemon goes on without it for now.
const MONITOR_DEADLINE: Duration = Duration::from_secs(5);

/// How long the start of the daemon waits for one guest; the others are served from then on.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// How long the start of the daemon waits for what is taken back of starts that were cut short.
const CUT_START_PATIENCE: Duration = Duration::from_secs(10);

/// How long a QEMU that is to be destroyed without a monitor has between SIGTERM and SIGKILL.
const TERM_PATIENCE: Duration = Duration::from_secs(5);

/// How often a QEMU that did not answer is tried again.
const RETRY: Duration = Duration::from_secs(10);

impl Engine {
    /// Takes over every guest that a status file tells of. Guests that ended meanwhile are cleaned
    /// up after; one that does not answer is tried again later and never harmed.
    pub async fn reattach(self: &Arc<Self>) {
        let mut waiting = Vec::new();
        for path in self.status_paths() {
            let engine = Arc::clone(self);
            waiting.push(self.runtime().spawn(async move { engine.reattach_one(path).await }));
        }
        for task in waiting {
            let _ = task.await;
        }
        // With storage that hangs it is left to the next start of the daemon.
        let _ = tokio::time::timeout(CUT_START_PATIENCE, self.take_back_cut_starts()).await;
    }

    pub(super) fn status_paths(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.layout.qemu_run()) else { return Vec::new() };
        let mut paths: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
            .collect();
        paths.sort();
        paths
    }

    async fn reattach_one(self: Arc<Self>, path: PathBuf) {
        let read = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || StatusFile::read(&path)).await
        };
        let mut status = match read {
            Ok(Ok(status)) => status,
            Ok(Err(why)) => {
                tracing::error!(file = %path.display(), why, "a status file cannot be used");
                return;
            }
            Err(_) => return,
        };
        let (process, sidecar) = find_process(&self, &status);
        if let Some(process) = process.as_ref().filter(|p| p.pid() != status.content().pid) {
            let (domain, pid) = (&status.content().name, process.pid());
            tracing::warn!(domain, pid, told = status.content().pid, "its status file was wrong");
            status.set_pid(pid);
        }
        let (undo, made) = match &sidecar {
            Some(sidecar) => to_take_back(&status, sidecar).await,
            None => {
                let pid = process.as_ref().map_or(0, Process::pid);
                foreign::undo(&self, status.content(), pid)
            }
        };
        let pending = sidecar.as_ref().map(|sidecar| sidecar.pending.clone()).unwrap_or_default();
        let starting = is_starting(&status);
        match process {
            Some(process) if !starting => {
                for port in made.ports.values() {
                    self.ports.take(*port);
                }
                self.take_over(status, process, undo, made, pending).await;
            }
            process => {
                // It ended while nobody looked, or was never let run: nothing of it may stay.
                if let Some(process) = process {
                    let _ = process.kill();
                    let _ = process.exited().await;
                }
                // A guest that was given its state and never ran has it in the image alone.
                let never_ran =
                    starting || status.content().status == Status::Paused(PausedReason::Migration);
                let note = pending
                    .note
                    .filter(|note| !never_ran || !matches!(note, SaveNote::Restored { .. }));
                if let Some(note) = note {
                    let _ = tokio::task::spawn_blocking(move || forget_unfinished(&note)).await;
                }
                let definition = &status.content().definition;
                let (name, why) = (&definition.name, ShutoffReason::Unknown);
                // The daemon before may have died while it took back.
                let made = self.still_lent(made).await;
                teardown::run(&self, name, Some(definition), why, undo, made).await;
                let _ = status.remove();
            }
        }
    }

    async fn take_over(
        self: &Arc<Self>,
        status: StatusFile,
        process: Process,
        undo: Vec<Undo>,
        made: teardown::Made,
        pending: Pending,
    ) {
        let content = status.content().clone();
        let Some(uuid) = content.definition.uuid else {
            tracing::error!(domain = content.name, "its status file has no uuid");
            return;
        };
        let id = content.definition.id.unwrap_or(0);
        let claimed = self
            .registry
            .claim(&content.name, &uuid, || Domain::inactive(uuid, &content.name, None));
        let domain = match claimed {
            Ok((domain, _)) => domain,
            Err(error) => {
                tracing::error!(domain = content.name, error = %error.detail, "not taken over");
                return;
            }
        };
        let id = if id > 0 {
            self.registry.restore_id(&domain, id);
            id
        } else {
            self.registry.assign_id(&domain)
        };
        let live = Live::new((*content.definition).clone(), process.pid());
        let live = Arc::new(live.with_configured_cpu(content.configured_cpu.clone()));
        domain.publish(|snapshot| {
            snapshot.id = id;
            snapshot.status = content.status;
            snapshot.live = Some(live);
        });
        domain.gate.set_phase(Phase::Active(content.status));
        let guest = Guest { domain, id, status, process, undo, made, pending };
        let engine = Arc::clone(self);
        // Until it is under control, only destroy can do something about it.
        let (abort, aborted) = watch::channel(false);
        guest.domain.begin_start(abort);
        let control = engine.gain_control(guest, content.monitor, aborted);
        let control = self.runtime().spawn(control);
        let _ = tokio::time::timeout(START_PATIENCE, control).await;
    }

    /// Connects to a guest's monitor, however long that takes, unless the guest ends or is
    /// destroyed meanwhile.
    async fn gain_control(
        self: Arc<Self>,
        guest: Guest,
        monitor: String,
        mut aborted: watch::Receiver<bool>,
    ) {
        let name = &guest.status.content().name;
        tokio::select! {
            (connected, run_state) = connect_at_last(name, &monitor) => {
                self.welcome_back(guest, connected, run_state).await;
            }
            true = async { aborted.wait_for(|aborted| *aborted).await.is_ok() } => {
                let _ = guest.process.terminate();
                let ended = tokio::time::timeout(TERM_PATIENCE, guest.process.exited()).await;
                if ended.is_err() {
                    let _ = guest.process.kill();
                    let _ = guest.process.exited().await;
                }
                self.bury(guest, ShutoffReason::Destroyed, StoppedDetail::Destroyed).await;
            }
            _ = guest.process.exited() => {
                self.bury(guest, ShutoffReason::Unknown, StoppedDetail::Failed).await;
            }
        }
    }

    /// Takes back what was made for a guest that ended before it was under control.
    async fn bury(self: &Arc<Self>, guest: Guest, reason: ShutoffReason, detail: StoppedDetail) {
        if let Some(note) = guest.pending.note {
            let _ = tokio::task::spawn_blocking(move || forget_unfinished(&note)).await;
        }
        let definition = &guest.status.content().definition;
        let name = &definition.name;
        teardown::run(self, name, Some(definition), reason, guest.undo, guest.made).await;
        let _ = guest.status.remove();
        guest.domain.end_start();
        vm::retire(self, &guest.domain, guest.id, reason, Some(detail));
    }

    /// The monitor answers: the administrator's scripts may have the guest ended, else it is ours.
    async fn welcome_back(self: &Arc<Self>, guest: Guest, connected: Connected, run_state: String) {
        let definition = &guest.status.content().definition;
        if self.guest_hook(definition, GuestHook::Reconnect).await.is_ok() {
            dismiss_pulls(&guest.status, &connected.monitor).await;
            return self.resume_control(guest, connected, run_state);
        }
        tracing::error!(domain = definition.name, "ended, as the reconnect hook asks by failing");
        let _ = guest.process.kill();
        let _ = guest.process.exited().await;
        self.bury(guest, ShutoffReason::Daemon, StoppedDetail::Failed).await;
    }

    /// The guest is ours: believe QEMU about what the guest does now, and start its actor.
    fn resume_control(self: &Arc<Self>, guest: Guest, connected: Connected, run_state: String) {
        let Guest { domain, id, mut status, process, undo, made, pending } = guest;
        let note = pending.note.clone();
        let before = status.content().status;
        let now = reconcile(before, &run_state);
        status.set_status(now);
        if let Err(error) = status.write() {
            tracing::error!(domain = status.content().name, %error, "status not written");
        }
        domain.end_start();
        domain.publish(|snapshot| snapshot.status = now);
        domain.gate.set_phase(Phase::Active(now));
        let policy = power_policy(&status.content().definition);
        tracing::info!(domain = status.content().name, pid = process.pid(), "taken over");
        let patience = status.agent_seconds().map(AgentPatience::from_seconds);
        if let Some(Ok(patience)) = patience {
            domain.set_agent_patience(patience);
        }
        // Before its actor, so that a power-off which comes at once is understood.
        let fake_reboot = status.content().fake_reboot;
        let counters = Counters::of_running(process.pid(), &status.content().definition);
        let vm = vm::spawn(ActorParts {
            engine: Arc::clone(self),
            domain: Arc::clone(&domain),
            id,
            process,
            monitor: connected.monitor,
            events: connected.events,
            counters,
            policy,
            status_file: status,
            fake_reboot,
            found: Some(matches!(now, lifecycle::Status::Running(_))),
            loads: false,
            missed: missed(before, &run_state, policy),
            undo,
            made,
            pending,
        });
        if let Some(note) = note {
            go_on(self, &domain, &vm, note);
        }
        self.check_devices(&domain, Arc::clone(&vm));
        self.runtime().spawn(look::again(vm, domain, Look::Missed));
    }
}

/// A guest on its way to being under control.
struct Guest {
    domain: Arc<Domain>,
    id: i32,
    status: StatusFile,
    process: Process,
    undo: Vec<Undo>,
    made: teardown::Made,
    pending: Pending,
}

/// Whether the daemon before died in the middle of its start: it was never let run.
pub(super) fn is_starting(status: &StatusFile) -> bool {
    status.content().status == Status::Paused(PausedReason::StartingUp)
}

/// What is taken back at the end of a guest that we started.
async fn to_take_back(status: &StatusFile, sidecar: &Sidecar) -> (Vec<Undo>, teardown::Made) {
    let noted = (sidecar.undo.clone(), sidecar.made.clone());
    let (status, (mut undo, mut made)) = (status.clone(), noted.clone());
    let found = tokio::task::spawn_blocking(move || {
        foreign::lent_meanwhile(status.content(), &mut undo, &mut made);
        (undo, made)
    });
    // Storage that hangs holds up nobody.
    match tokio::time::timeout(START_PATIENCE, found).await {
        Ok(Ok(found)) => found,
        _ => noted,
    }
}

/// The process of a status file, and what only we know of it. A file that names another process than
/// the guest's is not believed in that: the notes beside it and the pid file know, too.
pub(super) fn find_process(
    engine: &Engine,
    status: &StatusFile,
) -> (Option<Process>, Option<Sidecar>) {
    let pid = status.content().pid;
    let name = &status.content().name;
    let uuid = status.content().definition.uuid;
    let (ours, others) = match status.read_sidecar() {
        Some(sidecar) if sidecar.pid == pid => (Some(sidecar), None),
        others => (None, others),
    };
    if let Some(known) = ours.as_ref().filter(|_| pid != 0)
        && let Some(process) = Process::reopen(pid, known.start_time).ok().flatten()
    {
        return (Some(process), ours);
    }
    // Another daemon started it, or the file was written before it was.
    let found = Some(pid).filter(|pid| is_qemu_of(*pid, name, uuid)).or_else(|| engine.stray(name));
    match found.and_then(|pid| Process::open(pid).ok()) {
        Some(process) => {
            let is_it = |known: &Sidecar| {
                (known.pid, known.start_time) == (process.pid(), process.start_time())
            };
            let noted = others.filter(is_it).or_else(|| ours.filter(|_| pid == 0));
            (Some(process), noted)
        }
        None => (None, ours),
    }
}

/// Has QEMU forget jobs that ended while no daemon listened, before anybody asks it for its nodes:
/// QEMU 10 crashes over those of a pull otherwise. What became of them its nodes tell.
async fn dismiss_pulls(status: &StatusFile, monitor: &Monitor) {
    let jobs = status.block_jobs();
    if !jobs.iter().any(BlockJob::is_pull) {
        return;
    }
    for job in monitor.execute(qmp::cmd::query_jobs()).await.unwrap_or_default() {
        let text = |key: &str| job.get(key).and_then(qmp::Value::as_str).unwrap_or_default();
        let ours = jobs.iter().any(|known| known.is_pull() && known.name == text("id"));
        if ours && text("status") == "concluded" {
            let dismiss = qmp::Command::<qmp::Ack>::new("job-dismiss").arg("id", text("id"));
            let _ = monitor.execute(dismiss).await;
        }
    }
}

/// Connects to a guest's monitor, as often as it has to be tried.
async fn connect_at_last(name: &str, monitor: &str) -> (Connected, String) {
    let mut warned = false;
    loop {
        match connect(monitor).await {
            Ok(connected) => return connected,
            Err(error) if !warned => {
                warned = true;
                tracing::warn!(domain = name, %error, "QEMU does not answer; trying again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn connect(monitor: &str) -> Result<(Connected, String), MonitorError> {
    let deadline = Instant::now() + MONITOR_DEADLINE;
    let connected = Monitor::connect_anew(Path::new(monitor), deadline).await?;
    connected.monitor.execute(qmp::cmd::qmp_capabilities(false)).await?;
    let status = connected.monitor.execute(qmp::cmd::query_status()).await?;
    Ok((connected, status.status))
}

/// What the guest does now, from what was written down and what QEMU says (`RunState`).
fn reconcile(recorded: Status, run_state: &str) -> Status {
    match run_state {
        "running" => match recorded {
            Status::Running(reason) => Status::Running(reason),
            _ => Status::Running(RunningReason::Unpaused),
        },
        "suspended" => Status::PmSuspended,
        "shutdown" => Status::Shutdown(ShutdownReason::Unknown),
        "io-error" => Status::Paused(PausedReason::IoError),
        "watchdog" => Status::Paused(PausedReason::Watchdog),
        "guest-panicked" => Status::Crashed(lifecycle::CrashedReason::Panicked),
        _ => match recorded {
            Status::Paused(reason) => Status::Paused(reason),
            _ => Status::Paused(PausedReason::Unknown),
        },
    }
}

/// The event that nobody heard, by what was written down and what QEMU says. What was written down
/// already was told, but perhaps nothing followed it.
fn missed(before: Status, run_state: &str, policy: PowerPolicy) -> Option<GuestEvent> {
    match (run_state, before) {
        ("shutdown", Status::Shutdown(_)) if policy.poweroff == OnEvent::Preserve => None,
        ("shutdown", _) => Some(GuestEvent::Shutdown { by_guest: None, fake_reboot: false }),
        ("guest-panicked", Status::Crashed(_)) => None,
        ("guest-panicked", _) => Some(GuestEvent::Panicked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_is_believed_about_the_state_and_the_file_about_the_reason() {
        let booted = Status::Running(RunningReason::Booted);
        let by_user = Status::Paused(PausedReason::User);
        for (recorded, run_state, expected) in [
            (booted, "running", booted),
            (by_user, "paused", by_user),
            (by_user, "running", Status::Running(RunningReason::Unpaused)),
            (booted, "paused", Status::Paused(PausedReason::Unknown)),
            (booted, "shutdown", Status::Shutdown(ShutdownReason::Unknown)),
        ] {
            assert_eq!(reconcile(recorded, run_state), expected, "{recorded:?} {run_state}");
        }
    }
}
