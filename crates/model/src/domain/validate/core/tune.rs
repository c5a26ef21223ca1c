//! Scheduling, pinning, I/O threads, cache and bandwidth allocation, throttle groups.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use diag::ErrorCode;

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::scalar::CpuSet;
use crate::domain::tune::{CacheKind, CpuTune, Scheduler};

pub(super) fn check(d: &Domain, out: &mut Faults) {
    iothreads(d, out);
    if let Some(t) = &d.cpu_tune {
        pins(d, t, out);
        periods(t, out);
        schedulers(d, t, out);
        caches(t, out);
        bandwidth(t, out);
    }
    groups(d, out);
    let mut paths = BTreeSet::new();
    for b in d.blkio_tune.iter().flat_map(|b| &b.devices) {
        if !paths.insert(&b.path) {
            out.unsupported("domain.blkio", format!("duplicate blkio device path '{}'", b.path));
        }
    }
}

/// The numbers of a guest's I/O threads.
pub(in super::super) enum IoThreads {
    /// As many as there are, from 1.
    Count(u32),
    /// Those that are listed.
    Listed(HashSet<u32>),
}

impl IoThreads {
    /// Those of a guest.
    pub fn of(d: &Domain) -> Self {
        match &d.io_thread_ids {
            Some(t) => Self::Listed(t.threads.iter().map(|t| t.id).collect()),
            None => Self::Count(d.io_threads.unwrap_or(0)),
        }
    }

    /// Whether a thread of this number is there.
    pub fn has(&self, id: u32) -> bool {
        match self {
            Self::Count(count) => (1..=*count).contains(&id),
            Self::Listed(ids) => ids.contains(&id),
        }
    }
}

fn iothreads(d: &Domain, out: &mut Faults) {
    let mut ids = BTreeSet::new();
    let mut pools: Vec<(&str, Option<i32>, Option<i32>)> = Vec::new();
    for t in d.io_thread_ids.iter().flat_map(|i| &i.threads) {
        if t.id == 0 {
            out.xml(
                "domain.iothread-id",
                "Invalid value for attribute 'id' in element 'iothread': Zero is not permitted",
            );
        }
        if !ids.insert(t.id) {
            out.xml("domain.iothread-id", format!("duplicate iothread id '{}' found", t.id));
        }
        pools.push(("iothread", t.thread_pool_min, t.thread_pool_max));
    }
    let default = d.default_io_thread.as_ref();
    pools.extend(default.map(|t| ("defaultiothread", t.thread_pool_min, t.thread_pool_max)));
    for (element, min, max) in &pools {
        for (name, value) in [("thread_pool_min", min), ("thread_pool_max", max)] {
            if let Some(value) = value.filter(|value| *value < 0) {
                out.xml(
                    "domain.iothread-pool",
                    format!(
                        "Invalid value for attribute '{name}' in element '{element}': '{value}'. Expected non-negative value"
                    ),
                );
            }
        }
        if *max == Some(0) {
            out.unsupported("domain.iothread-pool", "thread_pool_max must be a positive integer");
        }
    }
    for pool in pools {
        // What is left out counts as -1: a least number alone is always too large.
        if let (_, Some(min), max) = pool
            && min > max.unwrap_or(-1)
        {
            out.unsupported(
                "domain.iothread-pool",
                "thread_pool_min must be smaller or equal to thread_pool_max",
            );
        }
    }
}

fn pins(d: &Domain, t: &CpuTune, out: &mut Faults) {
    let mut seen = BTreeSet::new();
    for p in &t.vcpu_pins {
        if !seen.insert(p.vcpu) {
            out.internal("domain.vcpupin", format!("duplicate vcpupin for vcpu '{}'", p.vcpu));
        }
    }
    let threads = IoThreads::of(d);
    let mut seen = BTreeSet::new();
    for p in &t.iothread_pins {
        if !seen.insert(p.iothread) {
            let id = p.iothread;
            out.internal(
                "domain.iothreadpin",
                format!("duplicate iothreadpin for same iothread '{id}'"),
            );
        }
        if p.iothread == 0 {
            out.xml(
                "domain.iothreadpin",
                "Invalid value for attribute 'iothread' in element 'iothreadpin': Zero is not permitted",
            );
        } else if !threads.has(p.iothread) {
            let id = p.iothread;
            out.unsupported("domain.iothreadpin", format!("Cannot find 'iothread' : {id}"));
        }
    }
}

fn periods(t: &CpuTune, out: &mut Faults) {
    for (name, value) in [
        ("period", t.period),
        ("global_period", t.global_period),
        ("emulator_period", t.emulator_period),
        ("iothread_period", t.iothread_period),
    ] {
        if value.is_some_and(|v| v != 0 && !(1000..=1_000_000).contains(&v)) {
            out.unsupported(
                "domain.cputune-period",
                format!("Value of cputune '{name}' must be in range [1000, 1000000]"),
            );
        }
    }
    for (name, value) in [
        ("quota", t.quota),
        ("global_quota", t.global_quota),
        ("emulator_quota", t.emulator_quota),
        ("iothread_quota", t.iothread_quota),
    ] {
        if value.is_some_and(|v| v > 0 && !(1000..=17_592_186_044_415).contains(&v)) {
            out.unsupported(
                "domain.cputune-quota",
                format!("Value of cputune '{name}' must be in range [1000, 17592186044415]"),
            );
        }
    }
}

fn schedulers(d: &Domain, t: &CpuTune, out: &mut Faults) {
    let max = d.vcpu.as_ref().map_or(1, |v| v.maximum);
    let priority = |element: &str, s: Scheduler, p: Option<i32>, out: &mut Faults| {
        if matches!(s, Scheduler::Fifo | Scheduler::Rr) && p.is_none() {
            out.xml(
                "domain.scheduler",
                format!("Missing required attribute 'priority' in element '{element}'"),
            );
        }
    };
    let mut taken = CpuSet::default();
    for s in &t.vcpu_scheds {
        if out.is_full() {
            return;
        }
        priority("vcpusched", s.scheduler, s.priority, out);
        overlap("vcpusched", "vcpus", &mut taken, &s.vcpus, out);
        if let Some(n) = s.vcpus.iter().find(|n| *n >= max) {
            out.unsupported(
                "domain.scheduler",
                format!("vCPU '{n}' is not present in domain definition"),
            );
        }
    }
    let threads = IoThreads::of(d);
    let mut taken = CpuSet::default();
    for s in &t.iothread_scheds {
        if out.is_full() {
            return;
        }
        priority("iothreadsched", s.scheduler, s.priority, out);
        overlap("iothreadsched", "iothreads", &mut taken, &s.iothreads, out);
        for n in s.iothreads.iter().filter(|n| !threads.has(*n)) {
            out.unsupported("domain.iothreadsched", format!("Cannot find 'iothread' : {n}"));
        }
    }
    if let Some(s) = &t.emulator_sched {
        priority("emulatorsched", s.scheduler, s.priority, out);
    }
}

fn overlap(element: &str, attribute: &str, taken: &mut CpuSet, set: &CpuSet, out: &mut Faults) {
    if taken.overlaps(set) {
        out.detail(
            "domain.scheduler",
            format!("'{element}' attributes '{attribute}' must not overlap"),
        );
    }
    for &(a, b) in set.ranges() {
        taken.insert_range(a, b);
    }
}

fn caches(t: &CpuTune, out: &mut Faults) {
    // Memory tunes share no CPUs but with their like: each CPU has one set. Where that is not so it
    // is a fault of the same words, found below.
    let mut sets: Vec<Option<&CpuSet>> = Vec::new();
    let mut memory = CpuSet::default();
    for set in t.memory_tunes.iter().map(|m| &m.vcpus) {
        if memory.take_in(set) {
            break;
        }
        for n in set.iter().map(|n| n as usize) {
            sets.resize(sets.len().max(n + 1), None);
            sets[n] = Some(set);
        }
    }
    let mut taken = CpuSet::default();
    let mut known = HashSet::new();
    for c in &t.cache_tunes {
        if let Some(m) = c.monitors.iter().find(|m| m.level != 3) {
            let level = m.level;
            out.xml("domain.monitor", format!("Invalid monitor cache level '{level}'"));
        }
        // The same CPUs may be named again, some of them may not.
        let partly =
            |n: u32| sets.get(n as usize).copied().flatten().is_some_and(|set| *set != c.vcpus);
        if !known.insert(&c.vcpus) {
            out.xml("domain.cachetune", "Identical vcpus in cachetunes found");
            break;
        }
        if taken.take_in(&c.vcpus) {
            out.code("domain.cachetune", ErrorCode::INVALID_ARG, "Overlapping vcpus in cachetunes");
            break;
        }
        if c.vcpus.iter().any(partly) {
            out.code(
                "domain.cachetune",
                ErrorCode::INVALID_ARG,
                "Overlapping vcpus in memorytunes",
            );
        }
        let mut seen: BTreeMap<(u32, u32), Vec<CacheKind>> = BTreeMap::new();
        for x in &c.caches {
            let kinds = seen.entry((x.level, x.id)).or_default();
            let clash = kinds.iter().any(|kind| {
                *kind == x.kind || *kind == CacheKind::Both || x.kind == CacheKind::Both
            });
            if clash {
                let (level, id, kind) = (x.level, x.id, x.kind.as_str());
                out.xml(
                    "domain.cachetune",
                    format!(
                        "Colliding cache allocations for cache level '{level}' id '{id}', type '{kind}'"
                    ),
                );
            } else {
                kinds.push(x.kind);
            }
        }
        let sets: Vec<&CpuSet> = c.monitors.iter().map(|m| &m.vcpus).collect();
        monitors(&c.vcpus, &sets, out);
    }
    for m in &t.memory_tunes {
        let sets: Vec<&CpuSet> = m.monitors.iter().map(|m| &m.vcpus).collect();
        monitors(&m.vcpus, &sets, out);
    }
}

fn monitors(all: &CpuSet, sets: &[&CpuSet], out: &mut Faults) {
    let mut seen = HashSet::new();
    for set in sets {
        if !seen.insert(*set) {
            out.code(
                "domain.monitor",
                ErrorCode::INVALID_ARG,
                "Identical vcpus found in same type monitors",
            );
        } else if !all.overlaps(set) {
            out.code("domain.monitor", ErrorCode::INVALID_ARG, "vcpus is empty");
        }
    }
}

fn bandwidth(t: &CpuTune, out: &mut Faults) {
    let mut taken = CpuSet::default();
    for m in &t.memory_tunes {
        if taken.take_in(&m.vcpus) {
            out.code(
                "domain.memorytune",
                ErrorCode::INVALID_ARG,
                "Overlapping vcpus in memorytunes",
            );
        }
        let mut nodes = BTreeSet::new();
        for n in &m.nodes {
            if !nodes.insert(n.id) {
                let id = n.id;
                out.xml(
                    "domain.memorytune",
                    format!("Memory Bandwidth already defined for node {id}"),
                );
            }
        }
    }
}

fn groups(d: &Domain, out: &mut Faults) {
    let mut names = BTreeSet::new();
    for g in d.throttle_groups.iter().flat_map(|g| &g.groups) {
        match &g.group_name {
            None => out.xml("domain.throttle-group", "missing group name"),
            Some(name) if !names.insert(name) => {
                out.xml("domain.throttle-group", format!("duplicate group name '{name}' found"));
            }
            _ => {}
        }
    }
    for x in d.devices.iter().flat_map(|v| &v.disks) {
        for f in x.throttlefilters.iter().flat_map(|f| &f.filters) {
            if !names.contains(&f.group) {
                out.xml("domain.throttle-group", format!("throttle group '{}' not found", f.group));
            }
        }
    }
}
