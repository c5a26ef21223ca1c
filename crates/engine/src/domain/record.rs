//! One domain as everybody may see it: a snapshot that is replaced as a whole.

use super::descriptors::Groups;
use super::job::JobGate;
use super::save::Jobs;
use super::vm::Vm;
use crate::domain::agent::link::AgentPatience;
use crate::events::DomainRef;
use lifecycle::{Phase, ShutoffReason, Status};
use model::domain::Domain as Definition;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};
use units::Uuid;

/// The persistent definition, in the compact form an inactive domain is kept in.
///
/// Ten thousand of these are held by a host with ten thousand domains: the text (which is also
/// what most readers want) and the few numbers that listings ask for, never the typed tree.
#[derive(Debug)]
pub struct Config {
    /// The definition as libvirt prints it for `--inactive --security-info`.
    pub xml: Box<str>,
    /// The text holds something that is shown only to those who ask with the secure flag.
    pub has_secrets: bool,
    /// What listings need.
    pub summary: Summary,
}

/// The few facts of a definition that are asked for all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Maximum memory in KiB.
    pub memory_max_kib: u64,
    /// Memory at boot in KiB.
    pub memory_kib: u64,
    /// Maximum number of virtual CPUs.
    pub vcpus_max: u32,
    /// Virtual CPUs at boot.
    pub vcpus: u32,
    /// `hvm`, `xen` …
    pub os_type: Box<str>,
}

/// The running domain's definition and identity, replaced whenever something of it changes.
#[derive(Debug)]
pub struct Live {
    /// The live definition, with aliases, ports and paths.
    pub definition: Definition,
    /// QEMU's process id.
    pub pid: u32,
    /// The CPU as configured, where the definition is more precise: what another host is told.
    pub configured_cpu: Option<model::domain::cpu::Cpu>,
    /// The live XML without secrets, made when first asked for.
    pub(super) xml: OnceLock<Box<str>>,
}

impl Live {
    /// A live view of `definition` run by process `pid`.
    pub fn new(definition: Definition, pid: u32) -> Self {
        Self { definition, pid, configured_cpu: None, xml: OnceLock::new() }
    }

    /// The view with the CPU as configured.
    pub fn with_configured_cpu(mut self, cpu: Option<model::domain::cpu::Cpu>) -> Self {
        self.configured_cpu = cpu;
        self
    }
}

/// What is published of a domain. Immutable; a change makes a new one.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Name.
    pub name: Arc<str>,
    /// Run-time id, −1 when inactive.
    pub id: i32,
    /// State and reason.
    pub status: Status,
    /// Started with the host.
    pub autostart: bool,
    /// Started with the next boot of the host, and then no more.
    pub autostart_once: bool,
    /// It has a managed save image, which its next start takes up.
    pub managed_save: bool,
    /// The persistent definition, if there is one.
    pub config: Option<Arc<Config>>,
    /// The persistent definition that a running guest had until it was undefined.
    pub last_config: Option<Arc<Config>>,
    /// The running definition, if it runs.
    pub live: Option<Arc<Live>>,
    /// Counts the changes.
    pub generation: u64,
}

impl Snapshot {
    /// A QEMU belongs to it.
    pub fn is_active(&self) -> bool {
        self.id >= 0
    }

    /// It survives being stopped.
    pub fn is_persistent(&self) -> bool {
        self.config.is_some()
    }

    /// It runs or is defined; anything else is on its way in or out and shown to nobody.
    pub fn is_there(&self) -> bool {
        self.is_active() || self.is_persistent()
    }

    /// The facts of what runs, else of what is defined.
    pub fn summary(&self) -> Summary {
        match (&self.live, &self.config) {
            (Some(live), _) => Summary::of(&live.definition),
            (None, Some(config)) => config.summary.clone(),
            (None, None) => Summary::nothing(),
        }
    }
}

/// How many may look at a domain's images at a time.
const LOOKS: usize = 2;

/// A domain. Its UUID never changes; all else is in the snapshot.
#[derive(Debug)]
pub struct Domain {
    /// UUID.
    pub uuid: Uuid,
    /// Who may change it.
    pub gate: Arc<JobGate>,
    /// Its saves and dumps.
    pub jobs: Jobs,
    /// Held while the stored definition is changed, with its file: by jobs that change it, and by
    /// `define`, which needs no job.
    stored: Mutex<()>,
    /// Passed by those who look at its images, a few at a time.
    pub(super) looks: Arc<Semaphore>,
    /// Descriptors that clients handed in for its images.
    pub(in crate::domain) descriptors: Groups,
    snapshot: RwLock<Arc<Snapshot>>,
    vm: Mutex<Option<Arc<Vm>>>,
    /// Ends the start that is under way.
    abort: Mutex<Option<watch::Sender<bool>>>,
    /// How long its agent's answers are waited for, as the wire has it.
    agent_seconds: AtomicI32,
}

impl Domain {
    /// A domain that does not run.
    pub fn inactive(uuid: Uuid, name: &str, config: Option<Arc<Config>>) -> Arc<Self> {
        Arc::new(Self {
            uuid,
            gate: JobGate::new(Phase::Inactive),
            jobs: Jobs::default(),
            stored: Mutex::default(),
            looks: Arc::new(Semaphore::new(LOOKS)),
            descriptors: Groups::default(),
            snapshot: RwLock::new(Arc::new(Snapshot {
                name: Arc::from(name),
                id: -1,
                status: Status::Shutoff(ShutoffReason::Unknown),
                autostart: false,
                autostart_once: false,
                managed_save: false,
                config,
                last_config: None,
                live: None,
                generation: 0,
            })),
            vm: Mutex::new(None),
            abort: Mutex::new(None),
            agent_seconds: AtomicI32::new(AgentPatience::Block.to_seconds()),
        })
    }

    /// What is published now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes a changed snapshot and returns it.
    pub fn publish(&self, change: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
        let mut slot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&slot);
        change(&mut next);
        next.generation += 1;
        let next = Arc::new(next);
        *slot = Arc::clone(&next);
        next
    }

    /// Waits until nobody else changes the stored definition: what is read of it then is what is
    /// there when the new one is written.
    pub(super) fn change_stored(&self) -> MutexGuard<'_, ()> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name, UUID and id for events and replies.
    pub fn reference(&self) -> DomainRef {
        let snapshot = self.snapshot();
        DomainRef { name: Arc::clone(&snapshot.name), uuid: self.uuid, id: snapshot.id }
    }

    /// The handle on its QEMU, while there is one.
    pub fn vm(&self) -> Option<Arc<Vm>> {
        self.vm.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long answers of its agent are waited for.
    pub fn agent_patience(&self) -> AgentPatience {
        let seconds = self.agent_seconds.load(Ordering::Relaxed);
        AgentPatience::from_seconds(seconds).unwrap_or(AgentPatience::Block)
    }

    /// Sets how long; it stays so for this run and later ones.
    pub(super) fn set_agent_patience(&self, patience: AgentPatience) {
        self.agent_seconds.store(patience.to_seconds(), Ordering::Relaxed);
    }

    /// A start is under way, which `abort` ends.
    pub(super) fn begin_start(&self, abort: watch::Sender<bool>) {
        *self.abort.lock().unwrap_or_else(PoisonError::into_inner) = Some(abort);
    }

    /// The start is over.
    pub(super) fn end_start(&self) {
        *self.abort.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends the start that is under way, if one is.
    pub fn abort_start(&self) {
        if let Some(abort) = &*self.abort.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listening means that the start has just come to its end.
            let _ = abort.send(true);
        }
    }

    /// Sets or clears the handle on its QEMU.
    pub(super) fn set_vm(&self, vm: Option<Arc<Vm>>) {
        *self.vm.lock().unwrap_or_else(PoisonError::into_inner) = vm;
    }
}
