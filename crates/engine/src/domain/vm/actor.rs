//! The actor of a running VM: the one task that changes its live state, from its start to the end
//! of QEMU and of all that was made for it.

mod jobs;
mod noted;
mod outlived;
mod writing;

use super::look::{self, Look};
use super::seen::{self, Seen};
use super::{EndReason, IoError, Message, NodesWanted, Vm, memory};
use crate::domain::adopt::status::{Pending, StatusFile};
use crate::domain::agent::link::AgentLink;
use crate::domain::devices::{Answer, Change, DeviceGuard, Waiting};
use crate::domain::disk_locks::DiskLocks;
use crate::domain::record::{Domain, Live};
use crate::domain::save;
use crate::domain::start::teardown;
use crate::domain::start::tpm;
use crate::domain::tuning::{perf, plug, threshold};
use crate::domain::view;
use crate::domain::vm::guest_events::{Intent, meaning};
use crate::domain::vm::helpers::Helpers;
use crate::domain::vm::ports::PortChange;
use crate::domain::vm::renewed;
use crate::domain::vm::taint::Taint;
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
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};

/// How long QEMU may take to end after SIGTERM before SIGKILL follows.
const TERM_PATIENCE: Duration = Duration::from_secs(5);

/// How long events that were sent before QEMU's end may still arrive after it.
const LAST_EVENTS: Duration = Duration::from_millis(200);

/// How long late answers of QEMU may take to come one after the other.
const LATE_ANSWERS: Duration = Duration::from_millis(200);

/// How long after a reset QEMU is asked what it changed.
const AFTER_RESET: Duration = Duration::from_millis(20);

/// Events after which requests, QEMU's end and the clock get a look in: a QEMU that never stops
/// talking must not keep itself from being destroyed.
const EVENTS_IN_A_ROW: u32 = 256;

/// What the actor starts with.
pub(in crate::domain) struct ActorParts {
    pub engine: Arc<Engine>,
    pub domain: Arc<Domain>,
    pub id: i32,
    pub process: Process,
    pub monitor: Monitor,
    pub events: Events,
    pub counters: perf::Counters,
    pub policy: PowerPolicy,
    pub status_file: StatusFile,
    /// The next power-off stands for a reboot.
    pub fake_reboot: bool,
    /// The guest was there before us, and ran (or not).
    pub found: Option<bool>,
    /// Its state comes from an image: only then QEMU can be asked for it.
    pub loads: bool,
    /// What the guest did while no daemon listened.
    pub missed: Option<GuestEvent>,
    pub undo: Vec<Undo>,
    pub made: teardown::Made,
    /// What the daemon before left under way.
    pub pending: Pending,
}

/// Makes the handle, installs it in the domain, and starts the actor.
pub(in crate::domain) fn spawn(parts: ActorParts) -> Arc<Vm> {
    let (inbox, messages) = mpsc::unbounded_channel();
    let pid = parts.process.pid();
    parts.monitor.renew_at(PathBuf::from(&parts.status_file.content().monitor));
    let vm = Arc::new(Vm {
        id: parts.id,
        disk_locks: DiskLocks::new(&parts.engine, &parts.domain, parts.id, pid, parts.found),
        device_guard: DeviceGuard::new(&parts.engine, &parts.domain, pid),
        process: parts.process,
        monitor: parts.monitor,
        intent: Mutex::new(Intent { fake_reboot: parts.fake_reboot, ..Intent::default() }),
        raw_commands: AtomicU64::new(0),
        indexed: Mutex::default(),
        nodes_wanted: AtomicU8::new(NodesWanted::Unknown as u8),
        silent: AtomicBool::new(false),
        counters: parts.counters,
        migration: watch::channel(String::new()).0,
        dump: watch::channel(None).0,
        last_node: AtomicU32::new(parts.status_file.last_node()),
        waiting: Waiting::default(),
        agent: AgentLink::default(),
        taints: Mutex::new(parts.status_file.taints()),
        io_errors: Mutex::default(),
        block_jobs: Mutex::new(parts.status_file.block_jobs()),
        helpers_ended: Mutex::default(),
        inbox,
    });
    parts.domain.set_vm(Some(Arc::clone(&vm)));
    let actor = Actor {
        engine: parts.engine,
        domain: parts.domain,
        vm: Arc::clone(&vm),
        policy: parts.policy,
        status_file: parts.status_file,
        undo: parts.undo,
        made: parts.made,
        pending: parts.pending,
        seen: Seen::default(),
        helpers: Helpers::default(),
        end: None,
        kill_at: None,
        write_at: None,
        check_at: None,
        look_at: None,
    };
    let runtime = actor.engine.runtime().clone();
    if parts.found.is_none() && !parts.loads {
        runtime.spawn(look::again(Arc::clone(&vm), Arc::clone(&actor.domain), Look::Fresh));
    }
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
    pending: Pending,
    seen: Seen,
    helpers: Helpers,
    end: Option<EndReason>,
    kill_at: Option<tokio::time::Instant>,
    /// When a status that could not be written is written again.
    write_at: Option<tokio::time::Instant>,
    /// When QEMU is looked at that did late what it was told.
    check_at: Option<tokio::time::Instant>,
    /// When QEMU is asked what a reset of the guest changed.
    look_at: Option<tokio::time::Instant>,
}

impl Actor {
    async fn run(
        mut self,
        missed: Option<GuestEvent>,
        mut events: Events,
        mut inbox: mpsc::UnboundedReceiver<Message>,
    ) {
        self.helpers.watch(&self.undo, self.engine.runtime(), &self.vm.inbox);
        if let Some(event) = missed {
            self.missed(event).await;
        }
        let mut monitor_open = true;
        let mut in_a_row = 0;
        loop {
            let (kill_at, write_at) = (self.kill_at, self.write_at);
            let (check_at, look_at) = (self.check_at, self.look_at);
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
                    // What else is late comes at once: one look does for all.
                    Some(MonitorEvent::Late) => {
                        let soon = tokio::time::Instant::now() + LATE_ANSWERS;
                        self.check_at.get_or_insert(soon);
                    }
                    Some(MonitorEvent::Renewed { why, run_state }) => {
                        self.monitor_renewed(&why, &run_state).await;
                    }
                    Some(MonitorEvent::Closed(error)) => {
                        monitor_open = false;
                        self.monitor_lost(Some(&error));
                    }
                    None => {
                        monitor_open = false;
                        self.monitor_lost(None);
                    }
                },
                Some(message) = inbox.recv() => self.message(message).await,
                _ = self.vm.process.exited() => break,
                () = sleep_until(kill_at) => self.kill(),
                () = sleep_until(check_at) => {
                    self.check_at = None;
                    self.engine.check_devices(&self.domain, Arc::clone(&self.vm));
                }
                () = sleep_until(look_at) => {
                    self.look_at = None;
                    self.look(Look::Fresh);
                }
                () = sleep_until(write_at) => {
                    self.write_at = None;
                    self.write(Some(self.sidecar())).await;
                }
                () = std::future::ready(()), if in_a_row >= EVENTS_IN_A_ROW => in_a_row = 0,
            }
        }
        // What QEMU said last tells why it ended.
        let drain = async {
            loop {
                match events.recv().await {
                    Some(MonitorEvent::Event(event)) => self.guest_event(&event).await,
                    Some(MonitorEvent::Answer(answer)) => answer.deliver(),
                    Some(MonitorEvent::Renewed { .. } | MonitorEvent::Late) => {}
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
        self.happened(event.kind(), event.timestamp).await;
    }

    /// QEMU's monitor was lost and is there again: makes up for what it said meanwhile.
    async fn monitor_renewed(&mut self, why: &MonitorError, run_state: &str) {
        let snapshot = self.domain.snapshot();
        tracing::warn!(domain = %snapshot.name, %why, run_state, "its monitor was connected anew");
        if let Some((event, reason)) = renewed::missed(snapshot.status, run_state) {
            if reason.is_some() {
                self.vm.lock_intent().pause = reason;
            }
            self.happened(event, qmp::Timestamp { seconds: -1, microseconds: 0 }).await;
        }
        self.engine.check_devices(&self.domain, Arc::clone(&self.vm));
        self.look(Look::Missed);
    }

    /// Has QEMU asked what it may not have told.
    fn look(&self, why: Look) {
        let looking = look::again(Arc::clone(&self.vm), Arc::clone(&self.domain), why);
        self.engine.runtime().spawn(looking);
    }

    /// What QEMU said has happened.
    async fn happened(&mut self, kind: qmp::EventKind, at: qmp::Timestamp) {
        match &kind {
            qmp::EventKind::Migration { status } => {
                self.vm.migration.send_replace(status.clone());
            }
            qmp::EventKind::DumpCompleted { error, .. } => {
                self.vm.dump.send_replace(error.clone());
            }
            qmp::EventKind::BlockIoError { node_name: Some(node), reason, .. } => {
                self.image_failed(node, reason.clone(), at);
            }
            qmp::EventKind::JobStatusChange { id, status } => self.job_changed(id, status),
            qmp::EventKind::BlockJobCompleted { device, error: Some(error), .. } => {
                self.job_failed(device, error);
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
            | qmp::EventKind::SuspendDisk => {
                self.vm.agent.sign();
                if matches!(kind, qmp::EventKind::Reset { .. }) {
                    // However often it resets itself.
                    let soon = tokio::time::Instant::now() + AFTER_RESET;
                    self.look_at.get_or_insert(soon);
                }
            }
            // No move of memory that anybody asked for.
            qmp::EventKind::MigrationPass { .. } if !self.moves_memory() => return,
            qmp::EventKind::Stop => self.vm.unlock_disks(),
            qmp::EventKind::NetdevStreamDisconnected { netdev_id } => {
                let alias = netdev_id.strip_prefix("host").unwrap_or(netdev_id);
                self.helper_lost(&format!("-{alias}-passt.pid"));
            }
            qmp::EventKind::PrManagerStatusChanged { connected: false, .. } => {
                self.helper_lost("/pr-helper0.pid");
            }
            qmp::EventKind::NicRxFilterChanged { name: Some(alias), .. } => {
                self.filter_changed(alias);
            }
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
            let Some(told) = self.complete(told) else { continue };
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
            if let DomainEvent::TrayChange { alias, reason } = &told {
                self.tray_moved(alias, *reason == 0).await;
            }
            if let DomainEvent::MemoryDeviceSizeChange { alias, kib } = &told {
                self.memory_changed(alias, *kib).await;
            }
            if let DomainEvent::RtcChange { offset } = told {
                let offset = self.clock_set(offset).await;
                self.tell(DomainEvent::RtcChange { offset });
                continue;
            }
            if matches!(told, DomainEvent::Watchdog { .. }) && self.watchdog_dumps() {
                let (engine, domain) = (Arc::clone(&self.engine), Arc::clone(&self.domain));
                let dump = save::watchdog_dump(engine, domain, Arc::clone(&self.vm));
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
        let Some(number) = view::number_of_node(node) else { return };
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
        let agent = view::agent_channel(&definition);
        if agent.and_then(|channel| channel.alias.as_ref()).is_some_and(|own| own.name == alias) {
            self.vm.agent.set_open(open);
            if let (true, Some(path)) = (open, view::agent_path(&definition)) {
                let (vm, path) = (Arc::clone(&self.vm), PathBuf::from(path));
                self.engine.runtime().spawn(async move { vm.agent.hold(&path).await });
            }
        }
        let agent = view::agent_channel(&definition);
        let agent = agent.and_then(|channel| channel.alias.as_ref());
        let agent = agent.is_some_and(|own| own.name == alias);
        let change = self.seen.port(&mut definition, alias, open);
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
        self.seen.show_in(&mut definition);
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
                    _ => RunningReason::Booted,
                };
                self.engine.runtime().spawn(async move { vm.reset_and_run(why).await });
            }
            Action::DumpCore { restart } => {
                let (engine, domain) = (Arc::clone(&self.engine), Arc::clone(&self.domain));
                let dump = save::auto_dump(engine, domain, Arc::clone(&self.vm), restart);
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
                self.pending.note = note;
                let _ = done.send(self.write_sidecar().await);
            }
            Message::Limits(note, done) => {
                let before = std::mem::replace(&mut self.pending.limits, note);
                let written = self.write_sidecar().await;
                if written.is_err() && self.pending.limits.is_some() {
                    self.pending.limits = before;
                }
                let _ = done.send(written);
            }
            Message::HelperEnded(ended) => self.helper_ended(ended),
            Message::HelperAgain(ended, done) => self.helper_again(ended, done).await,
            Message::Settle(status, done) => {
                self.publish(status).await;
                let _ = done.send(());
            }
            Message::Redefine(definition, done) => {
                self.policy = view::power_policy(&definition);
                self.keep(*definition).await;
                let _ = done.send(());
            }
            Message::Devices(change, done) => {
                let _ = done.send(self.devices_change(*change).await);
            }
            Message::Undo(done) => {
                let _ = done.send(self.undo.clone());
            }
            Message::Pending(done) => {
                let _ = done.send(self.pending.clone());
            }
            Message::Taint(taint) => self.tainted(taint).await,
            Message::Made(done) => {
                let _ = done.send(self.made.clone());
            }
            Message::Tell(event) => self.tell(event),
            Message::Port { alias, open } => self.port_changed(&alias, open, false).await,
            Message::VcpuGone(number) => self.vcpu_removed(number).await,
            Message::MemorySize { alias, kib } => {
                if self.memory_changed(&alias, kib).await {
                    self.tell(DomainEvent::MemoryDeviceSizeChange { alias, kib });
                }
            }
            Message::Balloon(kib) => {
                if self.balloon_changed(kib).await {
                    self.tell(DomainEvent::BalloonChange { actual_kib: kib });
                }
            }
            Message::Tray { alias, open } => {
                if self.tray_moved(&alias, open).await {
                    self.tell(DomainEvent::TrayChange { alias, reason: i32::from(!open) });
                }
            }
            Message::NicMac { alias, mac } => self.mac_changed(alias, mac).await,
            Message::AgentPatience => {
                let seconds = self.domain.agent_patience().to_seconds();
                self.status_file.set_agent_seconds(seconds);
                self.write_status().await;
            }
            Message::End { why, graceful } => self.begin_end(why, graceful),
        }
    }

    /// The guest's devices are others now: what is to be taken back first, then the definition.
    /// Where a change under way is over, the other way round: a daemon that finds it under way
    /// still finishes it once more.
    ///
    /// # Errors
    /// It cannot be written down, and is about to begin only: all is then as before.
    async fn devices_change(&mut self, mut change: Change) -> Result<(), VirError> {
        let over = matches!(change.update, Some(None));
        let before = change.begins().then(|| {
            let lists = (self.undo.clone(), self.made.clone(), self.pending.clone());
            (lists, self.status_file.clone())
        });
        let changed = change.apply(&mut self.undo, &mut self.made, &mut self.pending);
        let sidecar = changed.then(|| self.sidecar());
        self.helpers.watch(&self.undo, self.engine.runtime(), &self.vm.inbox);
        self.seen.show_in(&mut change.definition);
        if change.publish {
            self.follow_new(&change.definition);
        }
        self.status_file.note_node(self.vm.last_node());
        self.status_file.set_definition(&change.definition);
        if let Some(jobs) = &change.jobs {
            self.status_file.set_block_jobs(jobs);
        }
        if over {
            self.write(None).await;
        }
        let written = self.try_write(sidecar).await;
        if let (Err(_), Some(((undo, made, pending), status_file))) = (&written, before) {
            (self.undo, self.made, self.pending) = (undo, made, pending);
            self.status_file = status_file;
            self.write_later();
            return written;
        }
        if let Err(error) = written {
            self.unwritten(&error);
        }
        if let Some(jobs) = change.jobs {
            *self.vm.block_jobs.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
        }
        if change.publish {
            self.show_live(change.definition);
        }
        Ok(())
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
    fn monitor_lost(&mut self, error: Option<&MonitorError>) {
        // An end of the line is an end of QEMU's; anything else is a QEMU that cannot be steered.
        let broken = error.is_some_and(MonitorError::is_failure);
        if broken && self.end.is_none() {
            self.tell(DomainEvent::ControlError);
        }
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
        self.helpers.settle().await;
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

    /// Fills in what QEMU's event does not say but the definition does; nothing where it is about a
    /// device that the guest does not have.
    fn complete(&self, event: DomainEvent) -> Option<DomainEvent> {
        let snapshot = self.domain.snapshot();
        let Some(live) = &snapshot.live else { return Some(event) };
        Some(match event {
            DomainEvent::IoError { alias, action, reason, .. } => {
                let (alias, source) = view::disk_of_drive(&live.definition, &alias);
                DomainEvent::IoError { source, alias, action, reason }
            }
            DomainEvent::TrayChange { alias, reason } => {
                let alias = seen::drive(&live.definition, &alias)?.to_owned();
                DomainEvent::TrayChange { alias, reason }
            }
            DomainEvent::MemoryDeviceSizeChange { alias, kib } => {
                if !memory::is_elastic_one(&live.definition, &alias) {
                    return None;
                }
                DomainEvent::MemoryDeviceSizeChange { alias, kib }
            }
            other => other,
        })
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
pub(in crate::domain) fn retire(
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
        && let Err(error) = tpm::forget(&engine.settings.qemu, &live.definition, false)
    {
        tracing::warn!(domain = %snapshot.name, error = %error.detail, "TPM state stays");
    }
    engine.registry.release_id(id);
    domain.publish(|snapshot| {
        snapshot.id = -1;
        snapshot.status = Status::Shutoff(reason);
        snapshot.live = None;
        snapshot.last_config = None;
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
