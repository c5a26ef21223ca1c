//! One running VM: its handle for everybody, and the actor that alone changes its live state.
//!
//! The actor waits for three things: events of the monitor, messages of the verbs, and the end of
//! QEMU's process. It never waits for the guest: verbs talk to the monitor themselves (holding
//! the domain's job) and tell the actor what came of it. The order of every change is: status
//! file, snapshot, event, reply. One exception: whether the virtual CPUs run is known to QEMU
//! itself, and a daemon that takes the guest over asks it; of such a change the file keeps no more
//! than the reason. So the order there is: snapshot, event, status file, reply.

mod actor;
pub(in crate::domain) mod guest_events;
mod helpers;
pub(in crate::domain) mod look;
pub(in crate::domain) mod memory;
mod nic;
pub(in crate::domain) mod ports;
mod renewed;
mod seen;
pub(in crate::domain) mod taint;

use super::devices::blockjobs::BlockJob;
use super::devices::{Change, DeviceGuard, Waiting};
use super::disk_locks::DiskLocks;
use super::save::SaveNote;
use super::tuning::{LimitsNote, perf};
use crate::domain::adopt::status::Pending;
use crate::domain::agent::link::AgentLink;
use crate::domain::start::teardown;
use crate::domain::vm::guest_events::Intent;
use crate::domain::vm::helpers::Ended;
use crate::domain::vm::taint::Taint;
use crate::events::DomainEvent;
use diag::VirError;
use host::monitor::{Monitor, MonitorError};
use host::process::Process;
use lifecycle::{PausedReason, RunningReason, ShutoffReason, Status, StoppedDetail};
use model::domain::Domain as Definition;
use plan::Undo;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot, watch};

pub(super) use actor::{ActorParts, retire, spawn};

/// How often a guest is let run again whose QEMU's answer was lost.
const RUN_ATTEMPTS: u32 = 5;

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
    /// The locks of its disks.
    pub(super) disk_locks: DiskLocks,
    /// The devices of the host that it may use.
    pub(in crate::domain) device_guard: DeviceGuard,
    /// The line to its agent.
    pub(super) agent: AgentLink,
    /// What makes support harder.
    taints: Mutex<BTreeSet<Taint>>,
    /// The last error of each image, by its number.
    io_errors: Mutex<BTreeMap<u32, IoError>>,
    /// The jobs of its images.
    block_jobs: Mutex<Vec<BlockJob>>,
    /// Helpers that ended while the guest runs.
    helpers_ended: Mutex<Vec<Ended>>,
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
    Devices(Box<Change>, oneshot::Sender<Result<(), VirError>>),
    /// Something makes support harder from now on.
    Taint(Taint),
    /// Tell what was made for the guest.
    Made(oneshot::Sender<teardown::Made>),
    /// Tell what will be taken back when the guest stops.
    Undo(oneshot::Sender<Vec<Undo>>),
    /// Tell what is under way.
    Pending(oneshot::Sender<Pending>),
    /// Write down whether the next power-off stands for a reboot.
    FakeReboot(oneshot::Sender<()>),
    /// Write down what a save, dump or restore is about to do.
    Note(Option<SaveNote>, oneshot::Sender<Result<(), VirError>>),
    /// Write down which limits are being changed.
    Limits(Option<LimitsNote>, oneshot::Sender<Result<(), VirError>>),
    /// A helper of the guest ended.
    HelperEnded(Ended),
    /// It was started anew (true), or is none of those; or that failed.
    HelperAgain(Ended, Result<bool, VirError>),
    /// Tell subscribers something about this domain, in order with its other events.
    Tell(DomainEvent),
    /// The guest opened or closed its end of a channel.
    Port { alias: String, open: bool },
    /// How long answers of the agent are waited for was changed.
    AgentPatience,
    /// The guest gave a virtual processor back, which no event told.
    VcpuGone(u32),
    /// The guest has this much of a memory device, in KiB, which no event told.
    MemorySize { alias: String, kib: u64 },
    /// What the balloon leaves the guest, in KiB, which no event told.
    Balloon(u64),
    /// A drive is open or closed, which no event told.
    Tray { alias: String, open: bool },
    /// The guest gave an interface this hardware address.
    NicMac { alias: String, mac: units::MacAddr },
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

    /// Helpers that ended while the guest runs.
    pub(super) fn helpers_ended(&self) -> Vec<Ended> {
        self.helpers_ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The jobs of its images.
    pub(super) fn block_jobs(&self) -> Vec<BlockJob> {
        self.block_jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Has QEMU let the virtual CPUs run. An answer that is lost with its connection, or does not
    /// come, is asked for again: the guest is not to stand still for it.
    ///
    /// # Errors
    /// Those of [`Monitor::execute`].
    pub(super) async fn let_run(&self) -> Result<(), MonitorError> {
        for _ in 0..RUN_ATTEMPTS {
            match self.carry_out(qmp::cmd::cont()).await {
                Err(MonitorError::Lost { .. }) => {}
                // Once more is enough: a QEMU that stands still finds both when it goes on.
                Err(MonitorError::Timeout { .. }) => break,
                other => return other.map(|_| ()),
            }
        }
        self.carry_out(qmp::cmd::cont()).await.map(|_| ())
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
            (true, Ok(written)) => written,
            _ => Err(VirError::failed("domain is no longer running")),
        }
    }

    /// Writes down which limits are being changed (nothing: they were), as [`Vm::note`] does.
    ///
    /// # Errors
    /// Those of writing, and a QEMU that ended.
    pub(super) async fn note_limits(&self, note: Option<LimitsNote>) -> Result<(), VirError> {
        let (done, wait) = oneshot::channel();
        let sent = self.inbox.send(Message::Limits(note, done)).is_ok();
        match (sent, wait.await) {
            (true, Ok(written)) => written,
            _ => Err(super::affect::not_running()),
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
        if let Err(error) = self.lock_disks().await {
            tracing::warn!(id = self.id, error = %error.message(), "the guest could not be restarted");
            return;
        }
        let run = self.monitor.execute(qmp::cmd::cont()).await;
        if let Err(error) = reset.and(run) {
            tracing::warn!(id = self.id, %error, "the guest could not be restarted");
        }
    }

    /// Writes down that the guest's devices change, then returns. What cannot be written is tried
    /// again later: it has happened.
    pub(super) async fn change(&self, change: Change) {
        let _ = self.begin_change(change).await;
    }

    /// Writes down that a device is about to come or to change, then returns.
    ///
    /// # Errors
    /// The guest has ended, or it cannot be written down: a daemon that takes the guest over would
    /// not know of it, so nothing may be done then.
    pub(super) async fn begin_change(&self, change: Change) -> Result<(), VirError> {
        let begins_update = matches!(change.update, Some(Some(_)));
        let wanted = match self.device_guard.widen(&change, self.block_jobs()).await {
            Err(error) if change.begins() => {
                self.device_guard.did_not_begin(begins_update);
                return Err(error);
            }
            // What is done is written down all the same.
            Err(error) => {
                tracing::warn!(id = self.id, error = %error.message(), "its device list stays");
                None
            }
            Ok(wanted) => wanted,
        };
        let (done, wait) = oneshot::channel();
        let sent = self.inbox.send(Message::Devices(Box::new(change), done)).is_ok();
        let (true, Ok(written)) = (sent, wait.await) else {
            return Err(super::affect::not_running());
        };
        if written.is_err() {
            self.device_guard.did_not_begin(begins_update);
        }
        if let (Ok(()), Some(wanted)) = (&written, wanted) {
            self.device_guard.narrow(wanted).await;
        }
        written
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

    /// What is under way, and what QEMU has not let go of.
    pub(super) async fn pending(&self) -> Pending {
        let (done, wait) = oneshot::channel();
        if self.inbox.send(Message::Pending(done)).is_err() {
            return Pending::default();
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

    /// Notes how much of a memory device the guest has, which no event told.
    pub(super) fn memory_is(&self, alias: &str, kib: u64) {
        let _ = self.inbox.send(Message::MemorySize { alias: alias.to_owned(), kib });
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
