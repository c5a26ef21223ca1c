//! One running VM: its handle for everybody, and the actor that alone changes its live state.
//!
//! The actor waits for three things: events of the monitor, messages of the verbs, and the end of
//! QEMU's process. It never waits for the guest: verbs talk to the monitor themselves (holding
//! the domain's job) and tell the actor what came of it. The order of every change is: status
//! file, snapshot, event, reply. One exception: whether the virtual CPUs run is known to QEMU
//! itself, and a daemon that takes the guest over asks it; of such a change the file keeps no more
//! than the reason. So the order there is: snapshot, event, status file, reply.

use super::agent_link::AgentLink;
use super::devices::{Answer, Change, Waiting};
use super::guest_events::{Intent, meaning};
use super::ports::{PortChange, Ports};
use super::record::{Domain, Live};
use super::save::SaveNote;
use super::status::{Sidecar, StatusFile};
use super::taint::Taint;
use super::teardown;
use super::tuning::{perf, plug, threshold};
use crate::engine::Engine;
use crate::events::{DomainEvent, Event};
use diag::VirError;
use host::monitor::{Events, Monitor, MonitorError, MonitorEvent};
use host::process::Process;
use lifecycle::{
    Action, GuestEvent, LifecycleEvent, PausedReason, Phase, PowerPolicy, RunningReason,
    ShutoffReason, Status, StoppedDetail, on_guest_event,
};
use model::domain::Domain as Definition;
use model::domain::devices::watchdog::WatchdogAction;
use plan::Undo;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// How long QEMU may take to end after SIGTERM before SIGKILL follows.
const TERM_PATIENCE: Duration = Duration::from_secs(5);

/// How long events that were sent before QEMU's end may still arrive after it.
const LAST_EVENTS: Duration = Duration::from_millis(200);

/// Events after which requests, QEMU's end and the clock get a look in: a QEMU that never stops
/// talking must not keep itself from being destroyed.
const EVENTS_IN_A_ROW: u32 = 256;

/// The handle on a running VM.
#[derive(Debug)]
pub struct Vm {
    /// Run-time id.
    pub id: i32,
    /// QEMU's process.
    pub process: Process,
    /// QEMU's monitor.
    pub monitor: Monitor,
    intent: Mutex<Intent>,
    /// Raw commands that clients gave so far.
    raw_commands: AtomicU64,
    /// Images whose thresholds were set by their number, not by their disk's name.
    indexed: Mutex<BTreeSet<String>>,
    /// Whether thresholds were set, which only QEMU can tell of a guest that was taken over: a
    /// number of [`NodesWanted`].
    nodes_wanted: AtomicU8,
    /// QEMU did not answer in time when it was last asked for statistics.
    silent: AtomicBool,
    /// Events that the kernel counts for it.
    pub(super) counters: perf::Counters,
    /// The state of the migration, as QEMU told it last.
    migration: watch::Sender<String>,
    /// How the last dump of memory ended: with this error, or without one.
    dump: watch::Sender<Option<String>>,
    /// The greatest number that an image of the guest has or had.
    last_node: AtomicU32,
    /// Who waits for the guest to let something go.
    pub(super) waiting: Waiting,
    /// The line to its agent.
    pub(super) agent: AgentLink,
    /// What makes support harder.
    taints: Mutex<BTreeSet<Taint>>,
    /// The last error of each image, by its number.
    io_errors: Mutex<BTreeMap<u32, IoError>>,
    inbox: mpsc::UnboundedSender<Message>,
}

/// What verbs tell the actor. A closed set: everything that can change a running VM is here or is
/// an event of its monitor.
enum Message {
    /// Answer once everything that came before is done.
    Sync(oneshot::Sender<()>),
    /// Take this as the status: nothing of QEMU's will say so.
    Settle(Status, oneshot::Sender<()>),
    /// Replace the live definition.
    Redefine(Box<Definition>, oneshot::Sender<()>),
    /// The guest's devices change.
    Devices(Box<Change>, oneshot::Sender<()>),
    /// Something makes support harder from now on.
    Taint(Taint),
    /// Tell what was made for the guest.
    Made(oneshot::Sender<teardown::Made>),
    /// Tell what will be taken back when the guest stops.
    Undo(oneshot::Sender<Vec<Undo>>),
    /// Write down whether the next power-off stands for a reboot.
    FakeReboot(oneshot::Sender<()>),
    /// Write down what a save, dump or restore is about to do.
    Note(Option<SaveNote>, oneshot::Sender<std::io::Result<()>>),
    /// Tell subscribers something about this domain, in order with its other events.
    Tell(DomainEvent),
    /// The guest opened or closed its end of a channel.
    Port { alias: String, open: bool },
    /// How long answers of the agent are waited for was changed.
    AgentPatience,
    /// The guest gave a virtual processor back, which no event told.
    VcpuGone(u32),
    /// End QEMU.
    End { why: EndReason, graceful: bool },
}

/// A request to an image that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoError {
    /// When QEMU said so.
    pub at: SystemTime,
    /// In words.
    pub reason: String,
}

/// Whether statistics need QEMU's list of its nodes.
#[derive(Clone, Copy, Debug)]
enum NodesWanted {
    Unknown,
    No,
    Yes,
}

/// Why QEMU ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// On request.
    Destroyed,
    /// The guest powered off.
    Shutdown,
    /// Its state is saved.
    Saved,
    /// The guest crashed.
    Crashed,
    /// QEMU ended without having been told to and without saying why.
    Vanished,
    /// It was being started and that failed.
    Failed,
}

impl EndReason {
    /// What the domain is afterwards, and what is told; nothing of one that never was told to
    /// have started.
    fn outcome(self) -> (ShutoffReason, Option<StoppedDetail>) {
        match self {
            Self::Destroyed => (ShutoffReason::Destroyed, Some(StoppedDetail::Destroyed)),
            Self::Shutdown => (ShutoffReason::Shutdown, Some(StoppedDetail::Shutdown)),
            Self::Saved => (ShutoffReason::Saved, Some(StoppedDetail::Saved)),
            Self::Crashed => (ShutoffReason::Crashed, Some(StoppedDetail::Crashed)),
            Self::Vanished => (ShutoffReason::Crashed, Some(StoppedDetail::Failed)),
            Self::Failed => (ShutoffReason::Failed, None),
        }
    }
}

impl Vm {
    /// Announces why the virtual CPUs are about to stop.
    pub fn announce_pause(&self, reason: PausedReason) {
        self.lock_intent().pause = Some(reason);
    }

    /// Announces why the virtual CPUs are about to run.
    pub fn announce_run(&self, reason: RunningReason) {
        self.lock_intent().run = Some(reason);
    }

    /// Announces that the next power-off stands for a reboot (or no longer does), and returns once
    /// that is written down: the daemon may be another one by then.
    pub async fn announce_fake_reboot(&self, fake: bool) {
        self.lock_intent().fake_reboot = fake;
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::FakeReboot(done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Remembers how the image of a node was named when its threshold was set.
    pub(super) fn threshold_named(&self, node: &str, by_index: bool) {
        let mut indexed = self.indexed.lock().unwrap_or_else(PoisonError::into_inner);
        if by_index {
            indexed.insert(node.to_owned());
        } else {
            indexed.remove(node);
        }
    }

    /// Whether statistics need QEMU's list of its nodes.
    pub(super) fn are_nodes_wanted(&self) -> bool {
        self.nodes_wanted.load(Ordering::Relaxed) != NodesWanted::No as u8
    }

    /// A threshold was set for one of them.
    pub(super) fn nodes_wanted(&self) {
        self.nodes_wanted.store(NodesWanted::Yes as u8, Ordering::Relaxed);
    }

    /// What QEMU says of a guest of which nothing was known.
    pub(super) fn nodes_found(&self, thresholds: bool) {
        let found = if thresholds { NodesWanted::Yes } else { NodesWanted::No };
        let (order, before) = (Ordering::Relaxed, NodesWanted::Unknown as u8);
        // Already known otherwise: somebody has just set one.
        let _ = self.nodes_wanted.compare_exchange(before, found as u8, order, order);
    }

    /// QEMU did not answer in time when it was last asked for statistics.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Notes whether it answered.
    pub(super) fn note_silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// What makes support harder, in libvirt's order.
    pub fn taints(&self) -> Vec<Taint> {
        self.taints.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Something makes support harder from now on; that is written down soon.
    pub fn taint(&self, taint: Taint) {
        if self.taints.lock().unwrap_or_else(PoisonError::into_inner).insert(taint) {
            let _ = self.inbox.send(Message::Taint(taint));
        }
    }

    /// The last error of each image, by its number.
    pub(super) fn io_errors(&self) -> BTreeMap<u32, IoError> {
        self.io_errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An id as libvirt puts into the answers to raw commands: no two are alike for one guest.
    pub fn raw_id(&self) -> String {
        format!("libvirt-{}", self.raw_commands.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Has QEMU carry out a command, and returns when the actor has dealt with everything that QEMU
    /// said before it answered.
    ///
    /// # Errors
    /// Those of [`Monitor::execute`].
    pub(super) async fn carry_out<R: serde::de::DeserializeOwned>(
        &self,
        command: qmp::Command<R>,
    ) -> Result<R, MonitorError> {
        self.monitor.execute_after_events(command).await
    }

    /// Waits until the actor has dealt with everything that was sent and received before.
    pub async fn sync(&self) {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::Sync(done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Sets a status that no event of QEMU announces, then returns.
    pub async fn settle(&self, status: Status) {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::Settle(status, done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Replaces the live definition (status file, snapshot), then returns.
    pub async fn redefine(&self, definition: Definition) {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::Redefine(Box::new(definition), done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Writes down what a save, dump or restore is about to do (nothing: it is over), for a daemon
    /// that takes the guest over, and returns once that is on disk.
    ///
    /// # Errors
    /// Those of writing, and a QEMU that ended.
    pub async fn note(&self, note: Option<SaveNote>) -> Result<(), VirError> {
        let (done, wait) = oneshot::channel();
        let sent = self.inbox.send(Message::Note(note, done)).is_ok();
        match (sent, wait.await) {
            (true, Ok(written)) => written
                .map_err(|error| super::steps::system("cannot write the status file", &error)),
            _ => Err(VirError::failed("domain is no longer running")),
        }
    }

    /// The states of QEMU's migrations as they come.
    pub fn migration_states(&self) -> watch::Receiver<String> {
        self.migration.subscribe()
    }

    /// The ends of dumps as they come.
    pub fn dump_ends(&self) -> watch::Receiver<Option<String>> {
        self.dump.subscribe()
    }

    /// Presses the reset button and lets the guest run.
    pub async fn reset_and_run(&self, why: RunningReason) {
        self.announce_run(why);
        let reset = self.monitor.execute(qmp::cmd::system_reset()).await;
        let run = self.monitor.execute(qmp::cmd::cont()).await;
        if let Err(error) = reset.and(run) {
            tracing::warn!(id = self.id, %error, "the guest could not be restarted");
        }
    }

    /// Writes down that the guest's devices change, then returns; false if the guest has ended.
    pub(super) async fn change(&self, change: Change) -> bool {
        let (done, wait) = oneshot::channel();
        self.inbox.send(Message::Devices(Box::new(change), done)).is_ok() && wait.await.is_ok()
    }

    /// What was made for the guest, which taking back needs to know.
    pub(super) async fn made(&self) -> teardown::Made {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::Made(done)).is_err() {
            return teardown::Made::default();
        }
        wait.await.unwrap_or_default()
    }

    /// What will be taken back when the guest stops, first step first.
    pub(super) async fn undo(&self) -> Vec<Undo> {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::Undo(done)).is_err() {
            return Vec::new();
        }
        wait.await.unwrap_or_default()
    }

    /// The greatest number that an image of the guest has or had.
    pub(super) fn last_node(&self) -> u32 {
        self.last_node.load(Ordering::Relaxed)
    }

    /// An image got this number.
    pub(super) fn note_node(&self, number: u32) {
        self.last_node.fetch_max(number, Ordering::Relaxed);
    }

    /// Notes whether the guest holds its end of a channel.
    pub(super) fn port(&self, alias: &str, open: bool) {
        let _ = self.inbox.send(Message::Port { alias: alias.to_owned(), open });
    }

    /// Notes that the guest gave a virtual processor back, which no event told.
    pub(super) fn vcpu_is_gone(&self, number: u32) {
        let _ = self.inbox.send(Message::VcpuGone(number));
    }

    /// Has it written down how long answers of the agent are waited for.
    pub(super) fn agent_patience_changed(&self) {
        let _ = self.inbox.send(Message::AgentPatience);
    }

    /// Tells subscribers, in order with the domain's other events.
    pub fn tell(&self, event: DomainEvent) {
        let _ = self.inbox.send(Message::Tell(event));
    }

    /// Has QEMU ended; `graceful` never uses SIGKILL. Returns at once.
    pub fn end(&self, why: EndReason, graceful: bool) {
        let _ = self.inbox.send(Message::End { why, graceful });
    }

    fn lock_intent(&self) -> std::sync::MutexGuard<'_, Intent> {
        self.intent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the actor starts with.
pub(super) struct ActorParts {
    pub engine: Arc<Engine>,
    pub domain: Arc<Domain>,
    pub id: i32,
    pub process: Process,
    pub monitor: Monitor,
    pub events: Events,
    pub policy: PowerPolicy,
    pub status_file: StatusFile,
    /// The next power-off stands for a reboot.
    pub fake_reboot: bool,
    /// What the guest did while no daemon listened.
    pub missed: Option<GuestEvent>,
    pub undo: Vec<Undo>,
    pub made: teardown::Made,
}

/// Makes the handle, installs it in the domain, and starts the actor.
pub(super) fn spawn(parts: ActorParts) -> Arc<Vm> {
    let (inbox, messages) = mpsc::unbounded_channel();
    let vm = Arc::new(Vm {
        id: parts.id,
        process: parts.process,
        monitor: parts.monitor,
        intent: Mutex::new(Intent { fake_reboot: parts.fake_reboot, ..Intent::default() }),
        raw_commands: AtomicU64::new(0),
        indexed: Mutex::default(),
        nodes_wanted: AtomicU8::new(NodesWanted::Unknown as u8),
        silent: AtomicBool::new(false),
        counters: perf::Counters::default(),
        migration: watch::channel(String::new()).0,
        dump: watch::channel(None).0,
        last_node: AtomicU32::new(parts.status_file.last_node()),
        waiting: Waiting::default(),
        agent: AgentLink::default(),
        taints: Mutex::new(parts.status_file.taints()),
        io_errors: Mutex::default(),
        inbox,
    });
    if let Some(live) = &parts.domain.snapshot().live {
        perf::start_counters(&vm, &live.definition);
    }
    parts.domain.set_vm(Some(Arc::clone(&vm)));
    let actor = Actor {
        engine: parts.engine,
        domain: parts.domain,
        vm: Arc::clone(&vm),
        policy: parts.policy,
        status_file: parts.status_file,
        undo: parts.undo,
        made: parts.made,
        ports: Ports::default(),
        end: None,
        kill_at: None,
    };
    let runtime = actor.engine.runtime().clone();
    runtime.spawn(actor.run(parts.missed, parts.events, messages));
    vm
}

struct Actor {
    engine: Arc<Engine>,
    domain: Arc<Domain>,
    vm: Arc<Vm>,
    policy: PowerPolicy,
    status_file: StatusFile,
    undo: Vec<Undo>,
    made: teardown::Made,
    ports: Ports,
    end: Option<EndReason>,
    kill_at: Option<tokio::time::Instant>,
}

impl Actor {
    async fn run(
        mut self,
        missed: Option<GuestEvent>,
        mut events: Events,
        mut inbox: mpsc::UnboundedReceiver<Message>,
    ) {
        if let Some(event) = missed {
            self.missed(event).await;
        }
        let mut monitor_open = true;
        let mut in_a_row = 0;
        loop {
            let kill_at = self.kill_at;
            tokio::select! {
                // Guest events outrank requests: a verb's report comes after the events it caused.
                biased;
                event = events.recv(), if monitor_open && in_a_row < EVENTS_IN_A_ROW => match event {
                    Some(MonitorEvent::Event(event)) => {
                        in_a_row += 1;
                        self.guest_event(&event).await;
                    }
                    Some(MonitorEvent::Answer(answer)) => {
                        in_a_row += 1;
                        answer.deliver();
                    }
                    Some(MonitorEvent::Closed(_)) | None => {
                        monitor_open = false;
                        self.monitor_lost();
                    }
                },
                Some(message) = inbox.recv() => self.message(message).await,
                _ = self.vm.process.exited() => break,
                () = sleep_until(kill_at) => self.kill(),
                () = std::future::ready(()), if in_a_row >= EVENTS_IN_A_ROW => in_a_row = 0,
            }
        }
        // What QEMU said last tells why it ended.
        let drain = async {
            loop {
                match events.recv().await {
                    Some(MonitorEvent::Event(event)) => self.guest_event(&event).await,
                    Some(MonitorEvent::Answer(answer)) => answer.deliver(),
                    Some(MonitorEvent::Closed(_)) | None => break,
                }
            }
        };
        let _ = tokio::time::timeout(LAST_EVENTS, drain).await;
        self.finish().await;
        // Those who still wait for this VM are answered by the channel's end.
        inbox.close();
    }

    async fn guest_event(&mut self, event: &qmp::Event) {
        self.tell_raw(event);
        let kind = event.kind();
        match &kind {
            qmp::EventKind::Migration { status } => {
                self.vm.migration.send_replace(status.clone());
            }
            qmp::EventKind::DumpCompleted { error, .. } => {
                self.vm.dump.send_replace(error.clone());
            }
            qmp::EventKind::BlockIoError { node_name: Some(node), reason, .. } => {
                self.image_failed(node, reason.clone(), event.timestamp);
            }
            // Our own doing, of a guest whose end was told already.
            qmp::EventKind::Shutdown { .. } if self.end == Some(EndReason::Shutdown) => return,
            qmp::EventKind::BlockWriteThreshold { node_name, amount_exceeded, write_threshold } => {
                self.threshold_passed(node_name, *write_threshold, *amount_exceeded);
            }
            qmp::EventKind::VserportChange { id, open } => self.port_changed(id, *open, true).await,
            qmp::EventKind::Shutdown { .. }
            | qmp::EventKind::Reset { .. }
            | qmp::EventKind::Suspend
            | qmp::EventKind::SuspendDisk => self.vm.agent.sign(),
            _ => {}
        }
        let stopped_by_disk =
            matches!(&kind, qmp::EventKind::BlockIoError { action, .. } if action == "stop");
        let translated = meaning(kind, &mut self.vm.lock_intent());
        if stopped_by_disk && let Status::Paused(reason) = self.domain.snapshot().status {
            // QEMU 10 holds the second error of a second back: the stop it explains is over.
            self.vm.lock_intent().pause = None;
            if reason == PausedReason::Unknown {
                self.publish(Status::Paused(PausedReason::IoError)).await;
            }
        }
        // What the event used up is over; the status that follows is written with it.
        let fake = self.vm.lock_intent().fake_reboot;
        self.status_file.set_fake_reboot(fake);
        for told in translated.tell {
            let told = self.complete(told);
            if let DomainEvent::DeviceRemoved { alias } = &told
                && let Some(number) = plug::vcpu_of(alias)
            {
                // No device that clients know of.
                self.vcpu_removed(number).await;
                continue;
            }
            if let DomainEvent::BalloonChange { actual_kib } = told {
                self.balloon_changed(actual_kib).await;
            }
            if matches!(told, DomainEvent::Watchdog { .. }) && self.watchdog_dumps() {
                let (engine, domain) = (Arc::clone(&self.engine), Arc::clone(&self.domain));
                let dump = super::save::watchdog_dump(engine, domain, Arc::clone(&self.vm));
                self.engine.runtime().spawn(dump);
            }
            if self.device_event(&told) {
                self.tell(told);
            }
        }
        let Some(guest_event) = translated.lifecycle else { return };
        let status = self.domain.snapshot().status;
        let mut unwritten = false;
        for action in on_guest_event(status, self.policy, guest_event) {
            match action {
                Action::Publish(status @ (Status::Running(_) | Status::Paused(_))) => {
                    self.show(status);
                    unwritten = true;
                }
                action => self.act(action).await,
            }
        }
        if unwritten {
            self.write_status().await;
        }
    }

    /// More of an image was written than somebody wanted to be told of.
    fn threshold_passed(&mut self, node: &str, threshold: u64, excess: u64) {
        let Some(live) = self.domain.snapshot().live.clone() else { return };
        let indexed = self.vm.indexed.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        for event in threshold::passed(&live.definition, node, threshold, excess, indexed) {
            self.tell(event);
        }
    }

    /// The guest's watchdog is to have its memory dumped: QEMU itself only stops it.
    fn watchdog_dumps(&self) -> bool {
        let snapshot = self.domain.snapshot();
        let devices = snapshot.live.as_ref().and_then(|live| live.definition.devices.as_ref());
        let first = devices.and_then(|devices| devices.watchdogs.first());
        first.is_some_and(|watchdog| watchdog.action == WatchdogAction::Dump)
    }

    /// A request to an image failed.
    fn image_failed(&self, node: &str, reason: String, at: qmp::Timestamp) {
        let Some(number) = super::view::number_of_node(node) else { return };
        let micros = u64::try_from(at.seconds).unwrap_or(0).saturating_mul(1_000_000);
        let micros = micros.saturating_add(u64::try_from(at.microseconds).unwrap_or(0));
        let at = UNIX_EPOCH + Duration::from_micros(micros);
        let mut errors = self.vm.io_errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.insert(number, IoError { at, reason });
    }

    /// Something makes support harder from now on.
    async fn tainted(&mut self, taint: Taint) {
        if !self.status_file.add_taint(taint) {
            return;
        }
        self.write_status().await;
        let snapshot = self.domain.snapshot();
        let (engine, uuid) = (Arc::clone(&self.engine), *self.domain.uuid.as_bytes());
        let line = taint.log_line(self.vm.id, &[]);
        let note = move || engine.note_in_log(&snapshot.name, uuid, &line);
        let _ = tokio::task::spawn_blocking(note).await;
    }

    /// The guest gave a virtual processor back.
    async fn vcpu_removed(&mut self, number: u32) {
        let Some(live) = self.domain.snapshot().live.clone() else { return };
        let mut definition = live.definition.clone();
        plug::set_live(&mut definition, number, false);
        self.keep(definition).await;
        let group = self.engine.cgroups.as_ref().and_then(|all| all.machine_of(live.pid));
        // Empty by now; what is left goes with the guest.
        let _ = group.map(|group| group.remove(host::cgroup::Part::Vcpu(number)));
    }

    /// The guest opened or closed its end of a channel. `said`: QEMU said so unasked, which is told
    /// of an agent even where it is no news, as after a restore.
    async fn port_changed(&mut self, alias: &str, open: bool, said: bool) {
        let Some(live) = self.domain.snapshot().live.clone() else { return };
        let mut definition = live.definition.clone();
        let agent = super::view::agent_channel(&definition);
        if agent.and_then(|channel| channel.alias.as_ref()).is_some_and(|own| own.name == alias) {
            self.vm.agent.set_open(open);
            if let (true, Some(path)) = (open, super::view::agent_path(&definition)) {
                let (vm, path) = (Arc::clone(&self.vm), PathBuf::from(path));
                self.engine.runtime().spawn(async move { vm.agent.hold(&path).await });
            }
        }
        let agent = super::view::agent_channel(&definition);
        let agent = agent.and_then(|channel| channel.alias.as_ref());
        let agent = agent.is_some_and(|own| own.name == alias);
        let change = self.ports.note(&mut definition, alias, open);
        if change != PortChange::Nothing {
            self.keep(definition).await;
        }
        if change == PortChange::Agent || (said && agent) {
            // By an event of the channel.
            self.tell(DomainEvent::AgentLifecycle { state: if open { 1 } else { 2 }, reason: 2 });
        }
    }

    /// Makes a changed definition the live one.
    async fn keep(&mut self, mut definition: Definition) {
        self.ports.show_in(&mut definition);
        self.status_file.set_definition(&definition);
        self.write(None).await;
        self.show_live(definition);
    }

    /// Publishes the live definition, which is written down.
    fn show_live(&self, definition: Definition) {
        let live = Live::new(definition, self.vm.process.pid());
        let live =
            Arc::new(live.with_configured_cpu(self.status_file.content().configured_cpu.clone()));
        self.domain.publish(|snapshot| snapshot.live = Some(live));
    }

    /// Makes up for an event that came while no daemon listened.
    async fn missed(&mut self, event: GuestEvent) {
        let pending = std::mem::take(&mut self.vm.lock_intent().fake_reboot);
        let event = match event {
            GuestEvent::Shutdown { by_guest, .. } => {
                GuestEvent::Shutdown { by_guest, fake_reboot: pending }
            }
            other => other,
        };
        self.status_file.set_fake_reboot(false);
        for action in on_guest_event(self.domain.snapshot().status, self.policy, event) {
            self.act(action).await;
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Publish(status) => self.publish(status).await,
            Action::Emit(event) => self.tell(DomainEvent::Lifecycle(event)),
            Action::EmitReboot => self.tell(DomainEvent::Reboot),
            Action::EndQemu => self.begin_end(EndReason::Shutdown, false),
            Action::EndQemuCrashed => self.begin_end(EndReason::Crashed, false),
            Action::ResetAndRun => {
                // A child task: the monitor's answer must not keep the actor from its events.
                let vm = Arc::clone(&self.vm);
                let why = match self.domain.snapshot().status {
                    Status::Crashed(_) => RunningReason::Crashed,
                    _ => RunningReason::Unpaused,
                };
                self.engine.runtime().spawn(async move { vm.reset_and_run(why).await });
            }
            Action::DumpCore { restart } => {
                let (engine, domain) = (Arc::clone(&self.engine), Arc::clone(&self.domain));
                let dump = super::save::auto_dump(engine, domain, Arc::clone(&self.vm), restart);
                self.engine.runtime().spawn(dump);
            }
        }
    }

    async fn message(&mut self, message: Message) {
        match message {
            Message::Sync(done) => {
                let _ = done.send(());
            }
            Message::FakeReboot(done) => {
                self.note_fake_reboot().await;
                let _ = done.send(());
            }
            Message::Note(note, done) => {
                let sidecar = Sidecar {
                    start_time: self.vm.process.start_time(),
                    undo: self.undo.clone(),
                    made: self.made.clone(),
                    note,
                };
                let status = self.status_file.clone();
                let written =
                    tokio::task::spawn_blocking(move || status.write_sidecar(&sidecar)).await;
                let _ =
                    done.send(written.unwrap_or_else(|error| Err(std::io::Error::other(error))));
            }
            Message::Settle(status, done) => {
                self.publish(status).await;
                let _ = done.send(());
            }
            Message::Redefine(definition, done) => {
                self.policy = super::view::power_policy(&definition);
                self.keep(*definition).await;
                let _ = done.send(());
            }
            Message::Devices(change, done) => {
                self.devices_change(*change).await;
                let _ = done.send(());
            }
            Message::Undo(done) => {
                let _ = done.send(self.undo.clone());
            }
            Message::Taint(taint) => self.tainted(taint).await,
            Message::Made(done) => {
                let _ = done.send(self.made.clone());
            }
            Message::Tell(event) => self.tell(event),
            Message::Port { alias, open } => self.port_changed(&alias, open, false).await,
            Message::VcpuGone(number) => self.vcpu_removed(number).await,
            Message::AgentPatience => {
                let seconds = self.domain.agent_patience().to_seconds();
                self.status_file.set_agent_seconds(seconds);
                self.write_status().await;
            }
            Message::End { why, graceful } => self.begin_end(why, graceful),
        }
    }

    /// The guest's devices are others now: what is to be taken back first, then the definition.
    async fn devices_change(&mut self, mut change: Change) {
        let sidecar = change.apply(&mut self.undo, &mut self.made).then(|| Sidecar {
            start_time: self.vm.process.start_time(),
            undo: self.undo.clone(),
            made: self.made.clone(),
            // A save is a job as this is: there is none now.
            note: None,
        });
        self.status_file.note_node(self.vm.last_node());
        self.status_file.set_definition(&change.definition);
        self.write(sidecar).await;
        if change.publish {
            self.show_live(change.definition);
        }
    }

    /// What a guest says about a device that somebody may be waiting for. False: nobody is to be
    /// told, because whoever waits (or will be started for it) tells it when all is done.
    fn device_event(&self, told: &DomainEvent) -> bool {
        match told {
            DomainEvent::DeviceRemoved { alias } => {
                if !self.vm.waiting.answer(alias, Answer::Done) {
                    self.engine.device_left(&self.domain, alias.clone());
                }
                false
            }
            DomainEvent::DeviceRemovalFailed { alias } => {
                self.vm.waiting.answer(alias, Answer::Refused);
                true
            }
            DomainEvent::TrayChange { alias, reason: 0 } => {
                self.vm.waiting.answer(&format!("tray:{alias}"), Answer::Done);
                true
            }
            _ => true,
        }
    }

    /// The guest gave memory back or took some: that is its memory now.
    async fn balloon_changed(&mut self, kib: u64) {
        let Some(live) = self.domain.snapshot().live.clone() else { return };
        let mut definition = live.definition.clone();
        definition.current_memory = Some(model::domain::scalar::Kib(kib));
        self.keep(definition).await;
    }

    async fn publish(&mut self, status: Status) {
        self.status_file.set_status(status);
        self.write_status().await;
        self.show(status);
    }

    /// What everybody may see; the status file is written by the caller.
    fn show(&mut self, status: Status) {
        self.status_file.set_status(status);
        self.domain.publish(|snapshot| snapshot.status = status);
        if self.end.is_none() {
            self.domain.gate.set_phase(Phase::Active(status));
        }
    }

    async fn note_fake_reboot(&mut self) {
        let fake = self.vm.lock_intent().fake_reboot;
        if self.status_file.set_fake_reboot(fake) {
            self.write_status().await;
        }
    }

    async fn write_status(&self) {
        self.write(None).await;
    }

    /// Writes the status file, what only we keep first, if that changed.
    async fn write(&self, sidecar: Option<Sidecar>) {
        let status = self.status_file.clone();
        let in_memory = status.in_memory();
        let write = move || {
            if let Some(sidecar) = sidecar {
                status.write_sidecar(&sidecar)?;
            }
            status.write()
        };
        // In memory there is nothing to wait for: quicker done than handed to another thread.
        let written = match in_memory {
            true => Ok(write()),
            false => tokio::task::spawn_blocking(write).await,
        };
        if let Ok(Err(error)) = written {
            // The guest goes on; what is lost is only what a restarted daemon would know.
            tracing::error!(domain = %self.domain.snapshot().name, %error, "status not written");
        }
    }

    fn begin_end(&mut self, why: EndReason, graceful: bool) {
        // The first reason counts, but a request outranks nothing-known.
        if self.end.is_none() {
            self.end = Some(why);
            self.domain.gate.set_phase(Phase::Stopping);
            self.signal(self.vm.process.terminate());
        }
        if !graceful && self.kill_at.is_none() {
            self.kill_at = Some(tokio::time::Instant::now() + TERM_PATIENCE);
        }
    }

    fn kill(&mut self) {
        self.kill_at = None;
        tracing::warn!(
            domain = %self.domain.snapshot().name,
            pid = self.vm.process.pid(),
            "QEMU did not end on SIGTERM; killing it"
        );
        self.signal(self.vm.process.kill());
    }

    fn signal(&self, sent: std::io::Result<()>) {
        if let Err(error) = sent {
            tracing::error!(pid = self.vm.process.pid(), %error, "QEMU cannot be signalled");
        }
    }

    /// QEMU closed its monitor: it is ending, or no longer under control. Either way it must go.
    fn monitor_lost(&mut self) {
        if self.kill_at.is_none() {
            self.kill_at = Some(tokio::time::Instant::now() + TERM_PATIENCE);
        }
    }

    /// QEMU is gone: take back what was made for it, then say so.
    async fn finish(mut self) {
        let seen_off = matches!(self.domain.snapshot().status, Status::Shutdown(_));
        let why = match self.end {
            Some(why) => why,
            None if seen_off => EndReason::Shutdown,
            None => EndReason::Vanished,
        };
        self.domain.gate.set_phase(Phase::Stopping);
        if why == EndReason::Vanished {
            tracing::warn!(
                domain = %self.domain.snapshot().name,
                pid = self.vm.process.pid(),
                exit = ?self.vm.process.try_exited(),
                "QEMU ended without having been told to"
            );
        }
        let (reason, detail) = why.outcome();
        let (engine, name) = (Arc::clone(&self.engine), self.domain.snapshot().name.clone());
        let (uuid, words) =
            (self.domain.uuid.0, format!("shutting down, reason={}", reason.as_str()));
        let noted = move || engine.note_in_log(&name, uuid, &words);
        let _ = tokio::task::spawn_blocking(noted).await;
        let undo = std::mem::take(&mut self.undo);
        let made = std::mem::take(&mut self.made);
        let snapshot = self.domain.snapshot();
        let definition = snapshot.live.as_ref().map(|live| &live.definition);
        teardown::run(&self.engine, &snapshot.name, definition, reason, undo, made).await;
        let status_file = self.status_file.clone();
        let _ = tokio::task::spawn_blocking(move || status_file.remove()).await;
        retire(&self.engine, &self.domain, self.vm.id, reason, detail);
    }

    /// Fills in what QEMU's event does not say but the definition does.
    fn complete(&self, event: DomainEvent) -> DomainEvent {
        let snapshot = self.domain.snapshot();
        let Some(live) = &snapshot.live else { return event };
        match event {
            DomainEvent::IoError { alias, action, reason, .. } => {
                let (alias, source) = super::view::disk_of_drive(&live.definition, &alias);
                DomainEvent::IoError { source, alias, action, reason }
            }
            other => other,
        }
    }

    fn tell(&self, event: DomainEvent) {
        self.engine.events.publish(&Event::Domain(self.domain.reference(), event));
    }

    fn tell_raw(&self, event: &qmp::Event) {
        self.engine.events.publish(&Event::Monitor {
            domain: self.domain.reference(),
            name: event.name.clone(),
            seconds: event.timestamp.seconds,
            micros: u32::try_from(event.timestamp.microseconds).unwrap_or(0),
            details: (!event.data.is_null()).then(|| event.data.to_string()),
        });
    }
}

/// Publishes that a domain no longer runs, gives its id back, and says so. `detail`: none for one
/// that was never said to have started.
pub(super) fn retire(
    engine: &Engine,
    domain: &Arc<Domain>,
    id: i32,
    reason: ShutoffReason,
    detail: Option<StoppedDetail>,
) {
    let reference = domain.reference();
    domain.set_vm(None);
    let snapshot = domain.snapshot();
    if let (Some(live), false) = (&snapshot.live, snapshot.is_persistent())
        && let Err(error) = super::tpm::forget(&engine.settings.qemu, &live.definition, false)
    {
        tracing::warn!(domain = %snapshot.name, error = %error.detail, "TPM state stays");
    }
    engine.registry.release_id(id);
    domain.publish(|snapshot| {
        snapshot.id = -1;
        snapshot.status = Status::Shutoff(reason);
        snapshot.live = None;
    });
    engine.registry.remove_if_gone(domain);
    if let Some(detail) = detail {
        let stopped = DomainEvent::Lifecycle(LifecycleEvent::Stopped(detail));
        engine.events.publish(&Event::Domain(reference, stopped));
    }
    domain.gate.set_phase(Phase::Inactive);
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
