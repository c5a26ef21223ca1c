//! Statistics of many domains at once.
//!
//! All running guests are asked at the same time: the questions to all monitors are sent before
//! the first answer is waited for, and only questions whose answers are wanted. What the host
//! knows (processor time, memory, network counters, image sizes) is not asked of QEMU at all. A
//! guest that does not answer lacks what only it could have told; the others do not wait for it
//! longer than the deadline, and only briefly as long as it stays silent.

mod block;
mod gather;
mod images;
mod nics;

pub(crate) use block::{is_remote, node_sizes};
pub(crate) use gather::Gatherings;
pub(crate) use images::Images;
pub use nics::NicCounters;
pub(crate) use nics::nic_counters;

use self::block::{Answered, block_group};
use self::nics::net_group;
use super::record::{Domain, Live, Snapshot};
use super::vm::Vm;
use crate::domain::hardware::block::{disks, disks_in};
use crate::domain::hardware::memory::balloon;
use crate::domain::hardware::vcpus::{io_thread_ids, online_vcpus, thread_names, vcpu_thread};
use crate::engine::Engine;
use crate::events::DomainRef;
pub use crate::typed::Value as StatValue;
use diag::{ErrorDomain, VirError};
use host::cgroup::{Controller, Part};
use host::monitor::{MonitorError, PendingReply};
use model::domain::devices::interface::InterfaceType;
use model::domain::{Domain as Definition, VirtType};
use qmp::{Command, Value, cmd};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a guest's QEMU may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The same for one that did not answer the last time, and for callers who do not want to wait.
const SHORT_DEADLINE: Duration = Duration::from_millis(100);

/// The groups of statistics (`virDomainStatsTypes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsGroups(pub u32);

impl StatsGroups {
    const STATE: u32 = 1;
    const CPU: u32 = 1 << 1;
    const BALLOON: u32 = 1 << 2;
    const VCPU: u32 = 1 << 3;
    const INTERFACE: u32 = 1 << 4;
    const BLOCK: u32 = 1 << 5;
    const PERF: u32 = 1 << 6;
    const IOTHREAD: u32 = 1 << 7;
    const DIRTYRATE: u32 = 1 << 9;

    /// All that libvirt 11.3 knows.
    pub const KNOWN: u32 = (1 << 11) - 1;

    fn has(self, group: u32) -> bool {
        self.0 & group != 0
    }
}

/// What is wanted of domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsWanted {
    /// These groups.
    pub groups: StatsGroups,
    /// Of disks all images of their chains, not only the top ones.
    pub backing: bool,
    /// Only what is to be had without waiting for a guest that is busy.
    pub no_wait: bool,
}

/// The statistics of one domain, by libvirt's names and in its order.
#[derive(Clone, Debug)]
pub struct DomainStats {
    /// Which domain.
    pub domain: DomainRef,
    /// Names and values.
    pub stats: Vec<(String, StatValue)>,
}

/// The questions on their way to one guest.
#[derive(Default)]
struct Asked {
    balloon: Option<PendingReply>,
    block: Option<PendingReply>,
    nodes: Option<PendingReply>,
    iothreads: Option<PendingReply>,
    dirty_rate: Option<PendingReply>,
}

/// The answers of one guest; null where there is none.
#[derive(Default)]
struct Answers {
    balloon: Value,
    block: Value,
    nodes: Value,
    iothreads: Value,
    dirty_rate: Value,
}

/// One domain while its statistics are collected.
struct Row {
    domain: Arc<Domain>,
    snapshot: Arc<Snapshot>,
    vm: Option<Arc<Vm>>,
    answers: Answers,
}

impl Engine {
    /// Statistics of `domains`. Calls for the same that come while such statistics are gathered
    /// share the next gathering: no answer is older than its call.
    pub async fn domain_stats(
        self: &Arc<Self>,
        domains: Vec<Arc<Domain>>,
        wanted: StatsWanted,
    ) -> Arc<Vec<DomainStats>> {
        self.gatherings.join(self, domains, wanted).await
    }

    async fn gather(
        self: &Arc<Self>,
        domains: &[Arc<Domain>],
        wanted: StatsWanted,
    ) -> Vec<DomainStats> {
        let mut rows = Vec::with_capacity(domains.len());
        let mut asked = Vec::new();
        for domain in domains {
            let snapshot = domain.snapshot();
            let vm = domain.vm().filter(|_| snapshot.live.is_some());
            // With `no_wait`, a guest whose job somebody holds is not asked at all.
            let busy = wanted.no_wait && domain.gate.held_for().is_some();
            if let (false, Some(vm), Some(live)) = (busy, &vm, &snapshot.live) {
                asked.push((rows.len(), ask(vm, &live.definition, wanted)));
            }
            let domain = Arc::clone(domain);
            rows.push(Row { domain, snapshot, vm, answers: Answers::default() });
        }
        for (index, questions) in asked {
            if let Some(row) = rows.get_mut(index)
                && let Some(vm) = &row.vm
            {
                row.answers = questions.answers(vm).await;
            }
        }
        let engine = Arc::clone(self);
        // Reading files and definitions of thousands of domains keeps a thread busy.
        images::patiently(rows, move |rows| {
            let nics = match wanted.groups.has(StatsGroups::INTERFACE) {
                true => nic_counters(),
                false => HashMap::new(),
            };
            let engine = Arc::clone(&engine);
            let collect = move |row: &Row| engine.collect(row, wanted, &nics);
            (rows, collect)
        })
        .await
    }

    /// Counters of a running guest's network device, named by the host's end or by the guest's
    /// hardware address.
    ///
    /// # Errors
    /// When the domain does not run or has no such device.
    pub fn interface_counters(&self, domain: &Domain, name: &str) -> Result<NicCounters, VirError> {
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().ok_or_else(super::affect::not_running)?;
        let interfaces = live.definition.devices.iter().flat_map(|devices| &devices.interfaces);
        let unknown = || {
            VirError::invalid_arg(format!("'{name}' is not a known interface"))
                .from_domain(ErrorDomain::DOMAIN)
        };
        let interface = interfaces
            .into_iter()
            .find(|interface| {
                let target = interface.target.as_ref().and_then(|target| target.dev.as_deref());
                let mac = interface.mac.as_ref().map(|mac| mac.address.to_string());
                target == Some(name) || mac.is_some_and(|mac| mac.eq_ignore_ascii_case(name))
            })
            .ok_or_else(unknown)?;
        let Some(target) = interface.target.as_ref().and_then(|target| target.dev.as_deref())
        else {
            return Err(
                VirError::internal("Interface name not provided").from_domain(ErrorDomain::NONE)
            );
        };
        let counters = nic_counters().remove(target).ok_or_else(|| {
            VirError::internal(format!("/proc/net/dev: Interface '{target}' not found"))
                .from_domain(ErrorDomain::NONE)
        })?;
        let own_end = interface.kind == InterfaceType::Direct;
        Ok(if own_end { counters } else { counters.swapped() })
    }

    /// User and system time of a running guest in nanoseconds.
    pub fn cpu_times(&self, domain: &Domain) -> (u64, u64) {
        let pid = domain.vm().map(|vm| vm.process.pid());
        pid.and_then(|pid| self.cpu_times_of(pid)).unwrap_or((0, 0))
    }

    /// The same, as exactly as the guest's control group counts (v2), else as its process does.
    fn cpu_times_of(&self, pid: u32) -> Option<(u64, u64)> {
        let grouped = || {
            let group = self.cgroups.as_ref()?.machine_of(pid)?;
            let folder = group.folder(Part::Machine, Controller::Cpu)?;
            group_times(&std::fs::read_to_string(folder.join("cpu.stat")).ok()?)
        };
        grouped().or_else(|| host::process::cpu_time(pid, None))
    }

    fn collect(
        &self,
        row: &Row,
        wanted: StatsWanted,
        nics: &HashMap<String, NicCounters>,
    ) -> DomainStats {
        let StatsWanted { groups, backing, .. } = wanted;
        let snapshot = &row.snapshot;
        let mut out = Out(Vec::with_capacity(16));
        let live = snapshot.live.as_ref().filter(|_| row.vm.is_some());
        if groups.has(StatsGroups::STATE) {
            out.add("state.state", snapshot.status.number());
            out.add("state.reason", snapshot.status.reason_number());
        }
        if let (true, Some(live)) = (groups.has(StatsGroups::CPU), live) {
            cpu(&mut out, live, self.cpu_times_of(live.pid));
        }
        let summary = snapshot.summary();
        if groups.has(StatsGroups::BALLOON) {
            out.add("balloon.current", summary.memory_kib);
            out.add("balloon.maximum", summary.memory_max_kib);
            if let Some(live) = live {
                balloon_group(&mut out, live, &row.answers.balloon);
            }
        }
        if groups.has(StatsGroups::VCPU) {
            out.add("vcpu.current", summary.vcpus);
            out.add("vcpu.maximum", summary.vcpus_max);
            if let Some(live) = live {
                vcpu_group(&mut out, live);
            }
        }
        if let (true, Some(live)) = (groups.has(StatsGroups::INTERFACE), live) {
            net_group(&mut out, &live.definition, nics);
        }
        if groups.has(StatsGroups::BLOCK) {
            match live {
                Some(live) => {
                    let answered = Answered::new(&row.answers.block, &row.answers.nodes);
                    let disks = disks(&live.definition);
                    if let (Some(vm), true) = (&row.vm, answered.knows_nodes()) {
                        vm.nodes_found(answered.has_thresholds());
                    }
                    block_group(&mut out, disks, Some(&answered), backing, &self.images);
                }
                None => {
                    let text = snapshot.config.as_ref().map_or("", |config| &config.xml);
                    block_group(&mut out, &disks_in(text), None, backing, &self.images);
                }
            }
        }
        if let (true, Some(vm)) = (groups.has(StatsGroups::PERF), &row.vm) {
            for (name, count) in vm.counters.counts() {
                out.add(format!("perf.{name}"), count);
            }
        }
        if let (true, Some(live)) = (groups.has(StatsGroups::IOTHREAD), live) {
            iothread_group(&mut out, &live.definition, &row.answers.iothreads);
        }
        if groups.has(StatsGroups::DIRTYRATE) {
            dirty_rate_group(&mut out, &row.answers.dirty_rate);
        }
        let domain =
            DomainRef { name: Arc::clone(&snapshot.name), uuid: row.domain.uuid, id: snapshot.id };
        DomainStats { domain, stats: out.0 }
    }
}

fn ask(vm: &Vm, definition: &Definition, wanted: StatsWanted) -> Asked {
    let groups = wanted.groups;
    let patience = match wanted.no_wait || vm.is_silent() {
        true => SHORT_DEADLINE,
        false => DEADLINE,
    };
    let monitor = vm.monitor.with_timeout(patience);
    let submit = |command: Command| monitor.submit(command, Vec::new());
    let mut asked = Asked::default();
    // A balloon that does not collect numbers has none to give.
    if let (true, Some(balloon)) = (groups.has(StatsGroups::BALLOON), balloon(definition))
        && let (Some(alias), Some(_)) = (&balloon.alias, &balloon.stats)
    {
        let path = format!("/machine/peripheral/{}", alias.name);
        asked.balloon = Some(submit(cmd::qom_get(&path, "guest-stats")));
    }
    if groups.has(StatsGroups::BLOCK) && !disks(definition).is_empty() {
        asked.block = Some(submit(cmd::query_blockstats().with_reply()));
        // What QEMU need not be asked for is read from the images, without its main loop.
        if vm.are_nodes_wanted() || disks(definition).iter().any(block::is_remote) {
            asked.nodes = Some(submit(cmd::query_named_block_nodes(true).with_reply()));
        }
    }
    if groups.has(StatsGroups::IOTHREAD) && !io_thread_ids(definition).is_empty() {
        asked.iothreads = Some(submit(cmd::query_iothreads().with_reply()));
    }
    if groups.has(StatsGroups::DIRTYRATE) {
        asked.dirty_rate = Some(submit(Command::new("query-dirty-rate")));
    }
    asked
}

impl Asked {
    async fn answers(self, vm: &Vm) -> Answers {
        let wait = async |reply: Option<PendingReply>| match reply {
            Some(reply) => match reply.wait().await {
                Ok(answer) => {
                    vm.note_silence(false);
                    answer
                }
                Err(error) => {
                    vm.note_silence(matches!(error, MonitorError::Timeout { .. }));
                    Value::Null
                }
            },
            None => Value::Null,
        };
        Answers {
            balloon: wait(self.balloon).await,
            block: wait(self.block).await,
            nodes: wait(self.nodes).await,
            iothreads: wait(self.iothreads).await,
            dirty_rate: wait(self.dirty_rate).await,
        }
    }
}

/// Statistics being written down.
struct Out(Vec<(String, StatValue)>);

impl Out {
    fn add(&mut self, name: impl Into<String>, value: impl Into<StatValue>) {
        self.0.push((name.into(), value.into()));
    }

    fn count(&mut self, name: &str, count: usize) {
        self.add(name, u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// User and system time in nanoseconds from a control group's `cpu.stat`.
fn group_times(text: &str) -> Option<(u64, u64)> {
    let number = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()?.checked_mul(1000)
    };
    Some((number("user_usec ")?, number("system_usec ")?))
}

fn cpu(out: &mut Out, live: &Live, times: Option<(u64, u64)>) {
    if let Some((user, system)) = times {
        out.add("cpu.time", user.saturating_add(system));
        out.add("cpu.user", user);
        out.add("cpu.system", system);
    }
    out.add("cpu.cache.monitor.count", 0_u32);
    if live.definition.kind == VirtType::Kvm {
        if let Some((success, fail)) = halt_polling(live.pid) {
            out.add("cpu.haltpoll.success.time", success);
            out.add("cpu.haltpoll.fail.time", fail);
        }
    } else {
        // Only KVM polls.
        out.add("cpu.haltpoll.success.time", 0_u64);
        out.add("cpu.haltpoll.fail.time", 0_u64);
    }
}

/// What KVM tells about polling before halting (debugfs), summed over the virtual CPUs.
fn halt_polling(pid: u32) -> Option<(u64, u64)> {
    let prefix = format!("{pid}-");
    let mut folders = std::fs::read_dir("/sys/kernel/debug/kvm").ok()?.flatten();
    let folder = folders
        .find(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)))?;
    let mut sums = (0_u64, 0_u64);
    for entry in std::fs::read_dir(folder.path()).ok()?.flatten() {
        let number = |name| -> Option<u64> {
            std::fs::read_to_string(entry.path().join(name)).ok()?.trim().parse().ok()
        };
        sums.0 = sums.0.saturating_add(number("halt_poll_success_ns").unwrap_or(0));
        sums.1 = sums.1.saturating_add(number("halt_poll_fail_ns").unwrap_or(0));
    }
    Some(sums)
}

fn balloon_group(out: &mut Out, live: &Live, answer: &Value) {
    if balloon(&live.definition).is_some() {
        let numbers = crate::domain::hardware::memory::balloon_numbers(answer);
        let mut updated = false;
        for stat in &numbers {
            updated |= stat.name == "last-update";
            out.add(format!("balloon.{}", stat.name), stat.value);
        }
        if !updated {
            out.add("balloon.last-update", 0_u64);
        }
    }
    if let Some(bytes) = host::process::resident_memory(live.pid) {
        out.add("balloon.rss", bytes / 1024);
    }
}

fn vcpu_group(out: &mut Out, live: &Live) {
    let threads = thread_names(live.pid);
    for number in online_vcpus(&live.definition) {
        let Some(thread) = vcpu_thread(&threads, number) else { continue };
        let time = host::process::cpu_time(live.pid, Some(thread));
        // 1: running, which is all that the host can see of a virtual CPU that is plugged.
        out.add(format!("vcpu.{number}.state"), 1_i32);
        let time = time.map_or(0, |(user, system)| user.saturating_add(system));
        out.add(format!("vcpu.{number}.time"), time);
        let (wait, delay) = scheduling(live.pid, thread);
        out.add(format!("vcpu.{number}.wait"), wait);
        out.add(format!("vcpu.{number}.delay"), delay);
    }
}

/// Nanoseconds a thread waited for something, and waited for a processor.
fn scheduling(pid: u32, thread: u32) -> (u64, u64) {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}")).unwrap_or_default()
    };
    let delay = read("schedstat").split_ascii_whitespace().nth(1).and_then(|f| f.parse().ok());
    // Kernels without statistics of the scheduler do not have the line.
    let wait = read("sched").lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let millis: f64 = name.contains("wait_sum").then(|| value.trim().parse().ok())??;
        Some((millis * 1e6) as u64)
    });
    (wait.unwrap_or(0), delay.unwrap_or(0))
}

fn iothread_group(out: &mut Out, definition: &Definition, answer: &Value) {
    let ids = io_thread_ids(definition);
    if ids.is_empty() {
        return;
    }
    out.count("iothread.count", ids.len());
    let entries = answer.as_array().map_or(&[][..], Vec::as_slice);
    // As QEMU lists them, which is how libvirt does.
    for entry in entries {
        let name = entry.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = name.strip_prefix("iothread").and_then(|id| id.parse::<u32>().ok());
        let Some(id) = id.filter(|id| ids.contains(id)) else { continue };
        let number = |name| entry.get(name).and_then(Value::as_u64);
        if let Some(max) = number("poll-max-ns") {
            out.add(format!("iothread.{id}.poll-max-ns"), max);
        }
        for name in ["poll-grow", "poll-shrink"] {
            if let Some(value) = number(name).and_then(|value| u32::try_from(value).ok()) {
                out.add(format!("iothread.{id}.{name}"), value);
            }
        }
    }
}

fn dirty_rate_group(out: &mut Out, answer: &Value) {
    let Some(status) = answer.get("status").and_then(Value::as_str) else { return };
    let number = |name| answer.get(name).and_then(Value::as_i64);
    let status = match status {
        "unstarted" => 0,
        "measuring" => 1,
        _ => 2,
    };
    out.add("dirtyrate.calc_status", status);
    out.add("dirtyrate.calc_start_time", number("start-time").unwrap_or(0));
    let period = number("calc-time").and_then(|seconds| i32::try_from(seconds).ok());
    out.add("dirtyrate.calc_period", period.unwrap_or(0));
    if let Some(mode) = answer.get("mode").and_then(Value::as_str) {
        out.add("dirtyrate.calc_mode", mode.to_owned());
    }
    if let (2, Some(rate)) = (status, number("dirty-rate")) {
        out.add("dirtyrate.megabytes_per_second", rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_control_group() {
        let text = "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 0\n";
        assert_eq!(group_times(text), Some((20_000, 10_000)));
        assert_eq!(group_times("usage_usec 30\n"), None);
    }

    #[test]
    fn a_dirty_rate_that_was_never_measured() {
        let mut out = Out(Vec::new());
        let answer = serde_json::json!({
            "status": "unstarted", "start-time": 0, "calc-time": 0, "mode": "page-sampling",
        });
        dirty_rate_group(&mut out, &answer);
        let expected: [(&str, StatValue); 4] = [
            ("dirtyrate.calc_status", StatValue::Int(0)),
            ("dirtyrate.calc_start_time", StatValue::LLong(0)),
            ("dirtyrate.calc_period", StatValue::Int(0)),
            ("dirtyrate.calc_mode", StatValue::Text("page-sampling".into())),
        ];
        assert_eq!(out.0, expected.map(|(name, value)| (name.to_owned(), value)));
        let mut out = Out(Vec::new());
        dirty_rate_group(&mut out, &Value::Null);
        assert_eq!(out.0, []);
    }
}
