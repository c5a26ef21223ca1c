//! Virtual CPUs and I/O threads: what they do, where they run, how many there are.

use super::affect::{Affect, exclusive, running};
use super::limits;
use super::power::monitor_error;
use super::record::Domain;
use super::threads::set_affinity;
use crate::engine::Engine;
use diag::{ErrorDomain, VirError};
use host::cgroup::Part;
use model::domain::Domain as Definition;
use model::domain::tune::{
    CpuTune, EmulatorPin, IoThread as IoThreadDefinition, IoThreadPin, VcpuPin,
};
use qmp::{Command, Value, cmd};
use std::path::Path;
use std::sync::Arc;
use units::CpuSet;

/// `VIR_DOMAIN_VCPU_MAXIMUM`.
pub const VCPU_MAXIMUM: u32 = 4;
/// `VIR_DOMAIN_VCPU_GUEST`.
pub const VCPU_GUEST: u32 = 8;
/// `VIR_DOMAIN_VCPU_HOTPLUGGABLE`.
pub const VCPU_HOTPLUGGABLE: u32 = 16;

/// What one virtual CPU does (`virVcpuInfo` with its affinity).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuInfo {
    /// Its number.
    pub number: u32,
    /// The host thread that runs it, where QEMU tells.
    pub thread: Option<u32>,
    /// Processor time in nanoseconds.
    pub time: u64,
    /// The host CPU it ran on last, −1 where unknown.
    pub cpu: i32,
    /// The host CPUs it may run on.
    pub affinity: CpuSet,
}

/// An I/O thread (`virDomainIOThreadInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoThreadInfo {
    /// Its number.
    pub id: u32,
    /// The host CPUs it may run on.
    pub affinity: CpuSet,
}

impl Engine {
    /// All host CPUs that are online.
    pub fn host_cpus(&self) -> CpuSet {
        let mut set = CpuSet::new();
        for cpu in self.cpu_map().1 {
            set.insert(usize::try_from(cpu).unwrap_or(usize::MAX));
        }
        set
    }

    /// How many host CPUs there are, online or not: the width of CPU maps.
    pub fn host_cpu_count(&self) -> usize {
        self.cpu_map().0.iter().max().map_or(0, |last| usize::try_from(*last).unwrap_or(0) + 1)
    }

    /// The virtual CPUs of a running guest, from the host's point of view.
    ///
    /// # Errors
    /// When it does not run.
    pub fn vcpus(&self, domain: &Domain) -> Result<Vec<VcpuInfo>, VirError> {
        let snapshot = domain.snapshot();
        let Some(live) = &snapshot.live else {
            return Err(VirError::invalid_state(
                "cannot retrieve vcpu information for inactive domain",
            ));
        };
        let all = self.host_cpus();
        let threads = thread_names(live.pid);
        let online = online_vcpus(&live.definition);
        Ok(online
            .into_iter()
            .map(|number| {
                let thread = vcpu_thread(&threads, number);
                let (time, cpu) =
                    thread.and_then(|thread| time_and_place(live.pid, thread)).unwrap_or((0, -1));
                let affinity = thread.and_then(affinity_of).unwrap_or_else(|| all.clone());
                VcpuInfo { number, thread, time, cpu, affinity }
            })
            .collect())
    }

    /// The host CPUs each virtual CPU may run on, by the definition that `flags` mean.
    ///
    /// # Errors
    /// When there is no such definition.
    pub fn vcpu_pins(&self, domain: &Domain, flags: u32) -> Result<Vec<CpuSet>, VirError> {
        let all = self.host_cpus();
        self.with_side(domain, flags, |definition, _| {
            let tune = definition.cpu_tune.as_ref();
            let maximum = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
            Ok((0..maximum)
                .map(|number| {
                    let own = tune
                        .and_then(|tune| tune.vcpu_pins.iter().find(|pin| pin.vcpu == number))
                        .map(|pin| from_model(&pin.cpuset));
                    own.or_else(|| common_set(definition)).unwrap_or_else(|| all.clone())
                })
                .collect())
        })
    }

    /// The host CPUs QEMU's other threads may run on, by the definition that `flags` mean.
    ///
    /// # Errors
    /// When there is no such definition.
    pub fn emulator_pin(&self, domain: &Domain, flags: u32) -> Result<CpuSet, VirError> {
        self.with_side(domain, flags, |definition, _| {
            let own = definition.cpu_tune.as_ref().and_then(|tune| tune.emulator_pin.as_ref());
            Ok(own
                .map(|pin| from_model(&pin.cpuset))
                .or_else(|| common_set(definition))
                .unwrap_or_else(|| self.host_cpus()))
        })
    }

    /// The I/O threads and the host CPUs they may run on.
    ///
    /// # Errors
    /// When there is no such definition.
    pub fn io_threads(&self, domain: &Domain, flags: u32) -> Result<Vec<IoThreadInfo>, VirError> {
        let pid = domain.snapshot().live.as_ref().map(|live| live.pid);
        self.with_side(domain, flags, |definition, live| {
            let threads = match pid {
                Some(pid) if live => thread_names(pid),
                _ => Vec::new(),
            };
            Ok(io_thread_ids(definition)
                .into_iter()
                .map(|id| {
                    let thread = io_thread_thread(&threads, id).and_then(affinity_of);
                    let own = definition
                        .cpu_tune
                        .iter()
                        .flat_map(|tune| &tune.iothread_pins)
                        .find(|pin| pin.iothread == id)
                        .map(|pin| from_model(&pin.cpuset));
                    let affinity = thread
                        .or(own)
                        .or_else(|| common_set(definition))
                        .unwrap_or_else(|| self.host_cpus());
                    IoThreadInfo { id, affinity }
                })
                .collect())
        })
    }

    /// Binds a virtual CPU to host CPUs.
    ///
    /// # Errors
    /// An empty set, a CPU that is not there, the kernel's refusal.
    pub async fn pin_vcpu(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vcpu: u32,
        cpus: CpuSet,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.pin(domain, Pinned::Vcpu(vcpu), cpus, flags, "vcpupin", client).await
    }

    /// Binds QEMU's other threads to host CPUs.
    ///
    /// # Errors
    /// As [`Engine::pin_vcpu`].
    pub async fn pin_emulator(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        cpus: CpuSet,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.pin(domain, Pinned::Emulator, cpus, flags, "emulatorpin", client).await
    }

    /// Binds an I/O thread to host CPUs.
    ///
    /// # Errors
    /// As [`Engine::pin_vcpu`].
    pub async fn pin_io_thread(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        id: u32,
        cpus: CpuSet,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.pin(domain, Pinned::IoThread(id), cpus, flags, "iothreadpin", client).await
    }

    async fn pin(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        what: Pinned,
        cpus: CpuSet,
        flags: u32,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        // Bits for CPUs this host does not have mean nothing.
        let cpus = cpus.intersection(&CpuSet::first(self.host_cpu_count()));
        let (job, affect) = self.job_for(domain, flags, verb, client).await?;
        if cpus.is_empty() {
            return Err(VirError::invalid_arg("Empty cpu list for pinning"));
        }
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let snapshot = domain.snapshot();
            if let (true, Some(live)) = (affect.live, &snapshot.live) {
                what.check(&live.definition, true)?;
            }
            if let (true, Some(config)) = (affect.config, &snapshot.config) {
                what.check(&engine.definition_of(config)?, false)?;
            }
            if let (true, Some(live)) = (affect.live, &snapshot.live) {
                let text = cpus.to_string();
                for thread in what.threads(live.pid) {
                    set_affinity(thread, &text)?;
                }
                engine
                    .modify_live(&domain, |definition| {
                        what.write(definition, &cpus);
                        Ok(())
                    })
                    .await?;
            }
            if affect.config {
                engine
                    .modify_config_later(&domain, move |definition| {
                        what.write(definition, &cpus);
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// Sets how many virtual CPUs there are, or with [`VCPU_MAXIMUM`] how many there may be.
    ///
    /// # Errors
    /// More than the maximum, a running guest's that cannot be changed, and those of the flags.
    pub async fn set_vcpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        count: u32,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        exclusive(
            flags,
            (VCPU_GUEST, "VIR_DOMAIN_VCPU_GUEST"),
            (super::affect::CONFIG, "VIR_DOMAIN_AFFECT_CONFIG"),
        )?;
        exclusive(
            flags,
            (VCPU_GUEST, "VIR_DOMAIN_VCPU_GUEST"),
            (VCPU_MAXIMUM, "VIR_DOMAIN_VCPU_MAXIMUM"),
        )?;
        if flags & VCPU_MAXIMUM != 0 && flags & super::affect::CONFIG == 0 {
            return Err(VirError::invalid_arg(
                "Flag 'VIR_DOMAIN_AFFECT_CONFIG' is required by flag 'VIR_DOMAIN_VCPU_MAXIMUM'",
            )
            .from_domain(ErrorDomain::DOMAIN));
        }
        exclusive(
            flags,
            (VCPU_MAXIMUM, "VIR_DOMAIN_VCPU_MAXIMUM"),
            (super::affect::LIVE, "VIR_DOMAIN_AFFECT_LIVE"),
        )?;
        if count == 0 {
            return Err(VirError::invalid_arg("nvcpus in virDomainSetVcpusFlags must not be zero")
                .from_domain(ErrorDomain::DOMAIN));
        }
        if flags & VCPU_GUEST != 0 {
            return self.set_guest_vcpu_count(domain, count, client).await;
        }
        let (job, affect) = self.job_for(domain, flags, "setvcpus", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            if flags & VCPU_MAXIMUM != 0 {
                return engine
                    .modify_config_later(&domain, move |definition| set_maximum(definition, count))
                    .await;
            }
            engine.check_vcpu_count(&domain, count, affect)?;
            if affect.live {
                engine.set_live_vcpus(&domain, count).await?;
            }
            if affect.config {
                engine
                    .modify_config_later(&domain, move |definition| {
                        set_current(definition, count);
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        })
        .await
    }

    fn check_vcpu_count(
        &self,
        domain: &Domain,
        count: u32,
        affect: Affect,
    ) -> Result<(), VirError> {
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().map(|_| snapshot.summary().vcpus_max);
        let config = snapshot.config.as_ref().map(|config| config.summary.vcpus_max);
        for (wanted, maximum, name) in
            [(affect.live, live, "live"), (affect.config, config, "persistent")]
        {
            if let (true, Some(maximum)) = (wanted, maximum)
                && count > maximum
            {
                return Err(VirError::invalid_arg(format!(
                    "requested vcpus is greater than max allowable vcpus for the {name} domain: \
                     {count} > {maximum}"
                )));
            }
        }
        Ok(())
    }

    /// Plugs or unplugs virtual CPUs one after another, the lowest free ones first.
    async fn set_live_vcpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        count: u32,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        let places = vm
            .monitor
            .execute(cmd::query_hotpluggable_cpus())
            .await
            .map_err(|error| monitor_error(&error))?;
        let now = u32::try_from(places.iter().filter(|place| place.qom_path.is_some()).count())
            .unwrap_or(0);
        if count == now {
            return Ok(());
        }
        if count < now {
            // Those present since the start cannot be given back, and giving back others depends
            // on the guest's consent.
            return Err(VirError::config(
                "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu \
                 count",
            ));
        }
        // QEMU lists the highest first.
        let free = places.iter().rev().filter(|place| place.qom_path.is_none());
        let needed = usize::try_from(count - now).unwrap_or(0);
        let mut plugged = now;
        for place in free.take(needed) {
            let mut properties = match &place.props {
                Value::Object(properties) => properties.clone(),
                _ => serde_json::Map::new(),
            };
            properties.insert("driver".to_owned(), place.kind.clone().into());
            properties.insert("id".to_owned(), format!("vcpu{plugged}").into());
            vm.monitor
                .execute(cmd::device_add(properties))
                .await
                .map_err(|error| monitor_error(&error))?;
            let number = plugged;
            plugged += 1;
            let reached = plugged;
            self.modify_live(domain, |definition| {
                set_current(definition, reached);
                Ok(())
            })
            .await?;
            if let Some(live) = &domain.snapshot().live {
                let thread = vcpu_thread(&thread_names(live.pid), number);
                if let Some(thread) = thread {
                    let part = Part::Vcpu(number);
                    limits::limit_plugged(self, live.pid, &live.definition, part, thread)?;
                }
            }
        }
        if plugged < count {
            return Err(VirError::config(
                "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu \
                 count",
            ));
        }
        Ok(())
    }

    /// How many virtual CPUs the guest itself uses, or with `maximum` could use: its agent knows.
    ///
    /// # Errors
    /// As all questions to the agent.
    pub async fn guest_vcpu_count(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        maximum: bool,
        client: &Arc<str>,
    ) -> Result<usize, VirError> {
        let command = Command::<Vec<Value>>::new("guest-get-vcpus");
        let cpus = self.ask_agent(domain, command, "vcpucount", client).await?;
        let online = |cpu: &&Value| cpu.get("online").and_then(Value::as_bool) == Some(true);
        Ok(if maximum { cpus.len() } else { cpus.iter().filter(online).count() })
    }

    async fn set_guest_vcpu_count(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        count: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let command = Command::<Vec<Value>>::new("guest-get-vcpus");
        let mut cpus = self.ask_agent(domain, command, "setvcpus", client).await?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > cpus.len() {
            return Err(VirError::invalid_arg(
                "requested vcpu count is greater than the count of \
                 enabled vcpus in the domain",
            ));
        }
        let is_online = |cpu: &Value| cpu.get("online").and_then(Value::as_bool) == Some(true);
        let mut online = cpus.iter().filter(|cpu| is_online(cpu)).count();
        let mut changed = Vec::new();
        for cpu in &mut cpus {
            let can_go = cpu.get("can-offline").and_then(Value::as_bool) == Some(true);
            let on = is_online(cpu);
            let set = match () {
                () if online < count && !on => true,
                () if online > count && on && can_go => false,
                () => continue,
            };
            if set {
                online += 1;
            } else {
                online -= 1;
            }
            if let Some(id) = cpu.get("logical-id") {
                changed.push(serde_json::json!({ "logical-id": id, "online": set }));
            }
        }
        if online != count {
            return Err(VirError::failed("Cannot offline enough CPUs"));
        }
        let command = Command::<Value>::new("guest-set-vcpus").arg("vcpus", changed);
        self.ask_agent(domain, command, "setvcpus", client).await.map(|_| ())
    }
}

/// What is bound to host CPUs.
#[derive(Clone, Copy, Debug)]
enum Pinned {
    Vcpu(u32),
    Emulator,
    IoThread(u32),
}

impl Pinned {
    fn check(self, definition: &Definition, live: bool) -> Result<(), VirError> {
        match self {
            Self::Vcpu(number) => {
                let maximum = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
                let there = if live {
                    online_vcpus(definition).contains(&number)
                } else {
                    number < maximum
                };
                if there {
                    return Ok(());
                }
                let which = if live { "live" } else { "persistent" };
                Err(VirError::invalid_arg(format!(
                    "vcpu {number} is out of range of {which} cpu count {maximum}"
                )))
            }
            Self::IoThread(id) if !io_thread_ids(definition).contains(&id) => {
                let word = if live { "iothread" } else { "iothreadid" };
                Err(VirError::invalid_arg(format!("{word} {id} not found")))
            }
            Self::Emulator | Self::IoThread(_) => Ok(()),
        }
    }

    fn threads(self, pid: u32) -> Vec<u32> {
        let names = thread_names(pid);
        match self {
            Self::Vcpu(number) => vcpu_thread(&names, number).into_iter().collect(),
            Self::IoThread(id) => io_thread_thread(&names, id).into_iter().collect(),
            Self::Emulator => emulator_threads(pid),
        }
    }

    fn write(self, definition: &mut Definition, cpus: &CpuSet) {
        let tune = definition.cpu_tune.get_or_insert_with(CpuTune::default);
        let cpuset = to_model(cpus);
        match self {
            Self::Vcpu(vcpu) => {
                tune.vcpu_pins.retain(|pin| pin.vcpu != vcpu);
                tune.vcpu_pins.push(VcpuPin { vcpu, cpuset });
                tune.vcpu_pins.sort_by_key(|pin| pin.vcpu);
            }
            Self::Emulator => tune.emulator_pin = Some(EmulatorPin { cpuset }),
            Self::IoThread(iothread) => {
                tune.iothread_pins.retain(|pin| pin.iothread != iothread);
                tune.iothread_pins.push(IoThreadPin { iothread, cpuset });
                tune.iothread_pins.sort_by_key(|pin| pin.iothread);
            }
        }
    }
}

/// The set that holds for everything without one of its own (`<vcpu cpuset=…>`).
fn common_set(definition: &Definition) -> Option<CpuSet> {
    definition.vcpu.as_ref()?.cpuset.as_ref().map(from_model)
}

/// The numbers of the virtual CPUs that are plugged.
pub(crate) fn online_vcpus(definition: &Definition) -> Vec<u32> {
    if let Some(list) = &definition.vcpus
        && !list.list.is_empty()
    {
        let enabled = list.list.iter().filter(|vcpu| bool::from(vcpu.enabled));
        return enabled.map(|vcpu| vcpu.id).collect();
    }
    let vcpu = definition.vcpu.as_ref();
    let maximum = vcpu.map_or(1, |vcpu| vcpu.maximum);
    (0..vcpu.and_then(|vcpu| vcpu.current).unwrap_or(maximum)).collect()
}

/// The numbers of the I/O threads, ascending.
pub(crate) fn io_thread_ids(definition: &Definition) -> Vec<u32> {
    let mut ids: Vec<u32> = definition
        .io_thread_ids
        .iter()
        .flat_map(|ids| &ids.threads)
        .map(|thread: &IoThreadDefinition| thread.id)
        .collect();
    if ids.is_empty() {
        ids = (1..=definition.io_threads.unwrap_or(0)).collect();
    }
    ids.sort_unstable();
    ids
}

fn set_maximum(definition: &mut Definition, count: u32) -> Result<(), VirError> {
    if let Some(topology) = definition.cpu.as_ref().and_then(|cpu| cpu.topology.as_ref()) {
        let cpus = topology.sockets
            * topology.dies.unwrap_or(1)
            * topology.clusters.unwrap_or(1)
            * topology.cores
            * topology.threads;
        if cpus != count {
            return Err(VirError::invalid_arg("CPU topology doesn't match the desired vcpu count"));
        }
    }
    let current = definition.vcpu.as_ref().and_then(|vcpu| vcpu.current);
    let before = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
    let vcpu = definition.vcpu.get_or_insert_default();
    vcpu.maximum = count;
    set_current(definition, current.unwrap_or(before).min(count));
    if let Some(tune) = &mut definition.cpu_tune {
        tune.vcpu_pins.retain(|pin| pin.vcpu < count);
    }
    Ok(())
}

/// Sets how many virtual CPUs are there from the start (or now).
fn set_current(definition: &mut Definition, count: u32) {
    let vcpu = definition.vcpu.get_or_insert_default();
    vcpu.current = (count < vcpu.maximum).then_some(count);
    if let Some(list) = &mut definition.vcpus {
        for entry in &mut list.list {
            entry.enabled = (entry.id < count).into();
        }
    }
}

/// The threads of a process and their names, as QEMU names them with `debug-threads=on`.
pub(crate) fn thread_names(pid: u32) -> Vec<(u32, String)> {
    host::process::threads(pid)
        .into_iter()
        .filter_map(|thread| {
            let path = format!("/proc/{pid}/task/{thread}/comm");
            Some((thread, std::fs::read_to_string(path).ok()?.trim_end().to_owned()))
        })
        .collect()
}

/// The threads of a QEMU that run neither virtual CPUs nor I/O.
pub(crate) fn emulator_threads(pid: u32) -> Vec<u32> {
    let names = thread_names(pid);
    let others = names.iter().filter(|(_, name)| {
        !["CPU ", "ALL CPUs/", "IO "].iter().any(|start| name.starts_with(start))
    });
    others.map(|(thread, _)| *thread).collect()
}

/// The thread of a virtual CPU: `CPU 0/KVM`, `CPU 0/TCG`; one thread runs all of them without
/// multi-threaded TCG (`ALL CPUs/TCG`).
pub(crate) fn vcpu_thread(threads: &[(u32, String)], number: u32) -> Option<u32> {
    let own = format!("CPU {number}/");
    threads
        .iter()
        .find(|(_, name)| name.starts_with(&own))
        .or_else(|| threads.iter().find(|(_, name)| number == 0 && name.starts_with("ALL CPUs/")))
        .map(|(thread, _)| *thread)
}

pub(crate) fn io_thread_thread(threads: &[(u32, String)], id: u32) -> Option<u32> {
    // The kernel keeps 15 characters of a name.
    let own: String = format!("IO iothread{id}").chars().take(15).collect();
    threads.iter().find(|(_, name)| *name == own).map(|(thread, _)| *thread)
}

/// Processor time in nanoseconds and the CPU last run on (fields 14, 15 and 39 of `stat`).
fn time_and_place(pid: u32, thread: u32) -> Option<(u64, i32)> {
    let line =
        std::fs::read_to_string(Path::new(&format!("/proc/{pid}/task/{thread}/stat"))).ok()?;
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let nanos = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let time = ticks(11)?.saturating_add(ticks(12)?).saturating_mul(nanos);
    let place = fields.get(36).and_then(|field| field.parse().ok()).unwrap_or(-1);
    Some((time, place))
}

fn affinity_of(thread: u32) -> Option<CpuSet> {
    let pid = i32::try_from(thread).ok().and_then(rustix::process::Pid::from_raw)?;
    let set = rustix::thread::sched_getaffinity(Some(pid)).ok()?;
    let mut cpus = CpuSet::new();
    for cpu in 0..rustix::thread::CpuSet::MAX_CPU {
        if set.is_set(cpu) {
            cpus.insert(cpu);
        }
    }
    Some(cpus)
}

pub(crate) fn from_model(set: &model::domain::scalar::CpuSet) -> CpuSet {
    let mut cpus = CpuSet::new();
    for cpu in set.iter() {
        cpus.insert(usize::try_from(cpu).unwrap_or(usize::MAX));
    }
    cpus
}

pub(crate) fn to_model(cpus: &CpuSet) -> model::domain::scalar::CpuSet {
    let mut set = model::domain::scalar::CpuSet::default();
    for cpu in cpus.iter().filter_map(|cpu| u32::try_from(cpu).ok()) {
        set.insert_range(cpu, cpu);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(xml: &str) -> Definition {
        let text = format!(
            "<domain type='qemu'><name>x</name><memory>1024</memory>{xml}\
             <os><type>hvm</type></os></domain>"
        );
        let parsed = model::domain::parse(&text, model::domain::ParseOptions::default());
        parsed.domain.expect("a definition")
    }

    #[test]
    fn counts_follow_the_maximum() {
        for (start, maximum, expected) in [
            ("<vcpu current='2'>3</vcpu>", 4, (Some(2), 4)),
            ("<vcpu current='2'>3</vcpu>", 2, (None, 2)),
            ("<vcpu>3</vcpu>", 4, (Some(3), 4)),
            ("<vcpu>3</vcpu>", 1, (None, 1)),
        ] {
            let mut definition = definition(start);
            set_maximum(&mut definition, maximum).expect("fits");
            let vcpu = definition.vcpu.expect("set");
            assert_eq!((vcpu.current, vcpu.maximum), expected, "{start} {maximum}");
        }
    }

    #[test]
    fn threads_are_found_by_their_names() {
        let named = |names: &[&str]| -> Vec<(u32, String)> {
            (1..).zip(names.iter().map(|name| (*name).to_owned())).collect()
        };
        let threads = named(&["qemu-system-x86", "IO iothread1", "CPU 1/TCG", "CPU 0/TCG"]);
        assert_eq!(vcpu_thread(&threads, 0), Some(4));
        assert_eq!(vcpu_thread(&threads, 1), Some(3));
        assert_eq!(vcpu_thread(&threads, 10), None);
        assert_eq!(io_thread_thread(&threads, 1), Some(2));
        assert_eq!(vcpu_thread(&named(&["ALL CPUs/TCG"]), 0), Some(1));
    }

    #[test]
    fn a_pin_replaces_the_one_before() {
        let mut definition = definition("<vcpu>2</vcpu>");
        let set = |text: &str| text.parse::<CpuSet>().expect("a list");
        Pinned::Vcpu(1).write(&mut definition, &set("0"));
        Pinned::Vcpu(0).write(&mut definition, &set("1"));
        Pinned::Vcpu(1).write(&mut definition, &set("0-1"));
        let pins = definition.cpu_tune.expect("made").vcpu_pins;
        let pins: Vec<_> = pins.iter().map(|pin| (pin.vcpu, pin.cpuset.to_string())).collect();
        assert_eq!(pins, [(0, "1".to_owned()), (1, "0-1".to_owned())]);
    }
}
