//! Virtual CPUs and I/O threads: what they do, where they run, how many there are.

use crate::domain::affect::running;
use crate::domain::power::execute;
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::tune::IoThread as IoThreadDefinition;
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

    /// The I/O threads and the host CPUs they may run on; those of a running guest in the order in
    /// which QEMU lists them, which is how libvirt does.
    ///
    /// # Errors
    /// When there is no such definition, or QEMU does not answer.
    pub async fn io_threads(
        &self,
        domain: &Domain,
        flags: u32,
    ) -> Result<Vec<IoThreadInfo>, VirError> {
        let mut ids = self
            .with_side(domain, flags, |definition, live| Ok((io_thread_ids(definition), live)))?;
        let mut threads = Vec::new();
        if let (true, Some(vm)) = (ids.1, domain.vm()) {
            threads = execute(&vm, cmd::query_iothreads()).await?;
            let number = |id: &str| id.strip_prefix("iothread")?.parse().ok();
            ids.0 = threads.iter().filter_map(|thread| number(&thread.id)).collect();
        }
        self.with_side(domain, flags, |definition, _| {
            let info = |id: u32| {
                let name = format!("iothread{id}");
                let thread = threads.iter().find(|thread| thread.id == name);
                let thread = thread.and_then(|thread| u32::try_from(thread.thread_id).ok());
                let pins = definition.cpu_tune.iter().flat_map(|tune| &tune.iothread_pins);
                let own = pins.into_iter().find(|pin| pin.iothread == id);
                let affinity = thread
                    .and_then(affinity_of)
                    .or_else(|| own.map(|pin| from_model(&pin.cpuset)))
                    .or_else(|| common_set(definition))
                    .unwrap_or_else(|| self.host_cpus());
                IoThreadInfo { id, affinity }
            };
            Ok(ids.0.iter().copied().map(info).collect())
        })
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
        running(domain)?;
        let command = Command::<Vec<Value>>::new("guest-get-vcpus");
        let cpus = self.ask_agent(domain, command, "vcpucount", client).await?;
        let online = |cpu: &&Value| cpu.get("online").and_then(Value::as_bool) == Some(true);
        Ok(if maximum { cpus.len() } else { cpus.iter().filter(online).count() })
    }

    pub(crate) async fn set_guest_vcpu_count(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        count: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let command = Command::<Vec<Value>>::new("guest-get-vcpus");
        let mut cpus = self.ask_agent(domain, command, "setvcpus", client).await?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > cpus.len() {
            return Err(VirError::invalid_arg(format!(
                "requested vcpu count is greater than the count of enabled vcpus in the domain: \
                 {count} > {}",
                cpus.len()
            )));
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
        if changed.is_empty() {
            return Ok(());
        }
        let command = Command::<Value>::new("guest-set-vcpus").arg("vcpus", changed);
        self.ask_agent(domain, command, "setvcpus", client).await.map(|_| ())
    }
}

/// The set that holds for everything without one of its own (`<vcpu cpuset=…>`).
pub(crate) fn common_set(definition: &Definition) -> Option<CpuSet> {
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
        !["CPU ", "ALL CPUs/", "IO iothread"].iter().any(|start| name.starts_with(start))
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

pub(crate) fn affinity_of(thread: u32) -> Option<CpuSet> {
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
}
