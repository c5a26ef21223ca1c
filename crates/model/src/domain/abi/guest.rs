//! The guest as a whole: its name, memory, virtual CPUs, board and timers.

use diag::ErrorDomain;

use super::Scope;
use super::rule::{Checker, Rule, number, text, word, yes_no};
use crate::domain::Domain;
use crate::domain::clock::Timer;
use crate::domain::scalar::CpuSet;
use crate::domain::tune::VcpuEntry;

/// What it is.
const IDENTITY: &[Rule<Domain>] = &[
    Rule {
        at: "@type",
        says: "Target domain virt type {target} does not match source {source}",
        value: |d| d.kind.to_string(),
    },
    Rule {
        at: "uuid",
        says: "Target domain uuid {target} does not match source {source}",
        value: |d| word(d.uuid.as_ref(), "<null>"),
    },
    Rule {
        at: "name",
        says: "Target domain name '{target}' does not match source '{source}'",
        value: |d| d.name.clone(),
    },
    Rule {
        at: "genid",
        says: "Target domain requested genid does not match source",
        value: |d| if d.gen_id.is_some() { "given" } else { "none" }.to_owned(),
    },
];

/// Its memory, apart from the modules.
const MEMORY: &[Rule<Domain>] = &[Rule {
    at: "memory",
    says: "Target domain max memory {target} does not match source {source}",
    value: |d| at_start(d).to_string(),
}];

/// Room for more memory.
const MORE_MEMORY: &[Rule<Domain>] = &[
    Rule {
        at: "maxMemory/@slots",
        says: "Target domain memory slots count '{target}' doesn't match source '{source}'",
        value: |d| number(d.max_memory.as_ref().and_then(|m| m.slots)),
    },
    Rule {
        at: "maxMemory",
        says: "Target maximum memory size '{target}' doesn't match source '{source}'",
        value: |d| number(d.max_memory.as_ref().map(|m| m.size.0)),
    },
];

/// The board.
const BOARD: &[Rule<Domain>] = &[
    Rule {
        at: "os/type",
        says: "Target domain OS type {target} does not match source {source}",
        value: |d| word(d.os.as_ref().map(|os| os.kind.name), "<null>"),
    },
    Rule {
        at: "os/type/@arch",
        says: "Target domain architecture {target} does not match source {source}",
        value: |d| text(d.os.as_ref().and_then(|os| os.kind.arch.as_deref())),
    },
    Rule {
        at: "os/type/@machine",
        says: "Target domain machine type {target} does not match source {source}",
        value: |d| text(d.os.as_ref().and_then(|os| os.kind.machine.as_deref())),
    },
    Rule {
        at: "os/smbios/@mode",
        says: "Target domain SMBIOS mode {target} does not match source {source}",
        value: |d| {
            let mode = d.os.as_ref().and_then(|os| os.smbios.as_ref()).map(|s| s.mode);
            word(mode, "none")
        },
    },
];

/// Timers the guest finds.
const TIMER: &[Rule<Timer>] = &[
    Rule {
        at: "@name",
        says: "Target timer {target} does not match source {source}",
        value: |t| t.name.to_string(),
    },
    Rule {
        at: "@present",
        says: "Target timer presence '{target}' does not match source '{source}'",
        value: |t| yes_no(t.present).to_owned(),
    },
];

/// Memory without what the modules bring.
fn at_start(d: &Domain) -> u64 {
    let modules = d.devices.iter().flat_map(|v| &v.memories);
    let modules = modules.fold(0_u64, |sum, m| sum.saturating_add(m.target.size.0));
    d.memory.as_ref().map_or(0, |m| m.size.0).saturating_sub(modules)
}

/// Everything before the features.
pub(super) fn check(scope: Scope, a: &Domain, b: &Domain, cx: &mut Checker) {
    cx.rules("", IDENTITY, a, b);
    cx.rules("", MEMORY, a, b);
    if scope == Scope::Stored {
        let current = |d: &Domain| number(d.current_memory.as_ref().map(|m| m.0));
        let says = "Target domain current memory {target} does not match source {source}";
        cx.compare(|| "currentMemory".to_owned(), says, current(a), current(b));
    }
    numa(a, b, cx);
    cx.rules("", MORE_MEMORY, a, b);
    vcpus(a, b, cx);
    cx.rules("", BOARD, a, b);
}

/// The nodes of memory and CPUs.
fn numa(a: &Domain, b: &Domain, cx: &mut Checker) {
    let cells = |d: &Domain| {
        let numa = d.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref());
        numa.map(|n| n.cells.clone()).unwrap_or_default()
    };
    let (a, b) = (cells(a), cells(b));
    let says = "Target NUMA node count '{target}' doesn't match source '{source}'";
    if !cx.compare(|| "cpu/numa".to_owned(), says, a.len(), b.len()) {
        return;
    }
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        let path = format!("cpu/numa/cell[{}]", i + 1);
        let says =
            format!("Size of target NUMA node {i} ({{target}}) doesn't match source ({{source}})");
        cx.compare(|| format!("{path}/@memory"), &says, x.memory, y.memory);
        let says = format!("Processor mask of target NUMA node {i} doesn't match source");
        let cpus = |set: &Option<CpuSet>| word(set.as_ref(), "");
        cx.compare(|| format!("{path}/@cpus"), &says, cpus(&x.cpus), cpus(&y.cpus));
        for j in 0..a.len() {
            let distance = |cell: &crate::domain::cpu::NumaCell| {
                let mut siblings = cell.distances.iter().flat_map(|d| &d.siblings);
                let given = siblings.rfind(|s| s.id as usize == j).map(|s| s.value);
                // What ACPI's table has where nothing is said.
                given.unwrap_or(if i == j { 10 } else { 20 })
            };
            let says = format!("Target NUMA distance from {i} to {j} doesn't match source");
            let at = || format!("{path}/distances/sibling[@id='{j}']/@value");
            cx.compare(at, &says, distance(x), distance(y));
        }
    }
}

/// Which virtual CPUs there are, and in which order they came.
fn vcpus(a: &Domain, b: &Domain, cx: &mut Checker) {
    let most = |d: &Domain| d.vcpu.as_ref().map_or(1, |v| v.maximum);
    let says = "Target domain vCPU max {target} does not match source {source}";
    if !cx.compare(|| "vcpu".to_owned(), says, most(a), most(b)) {
        return;
    }
    let entry = |d: &Domain, id: u32| -> Option<VcpuEntry> {
        d.vcpus.iter().flat_map(|v| &v.list).find(|v| v.id == id).cloned()
    };
    let state = |d: &Domain, id: u32| match (&d.vcpus, entry(d, id)) {
        (Some(_), Some(v)) => v.enabled.is_set(),
        (Some(_), None) => false,
        (None, _) => {
            let current = d.vcpu.as_ref().and_then(|v| v.current);
            id < current.unwrap_or_else(|| most(d))
        }
    };
    // As many as a definition may name; the defaults refuse more.
    for id in 0..most(a).min(MOST_VCPUS) {
        let path = || format!("vcpus/vcpu[@id='{id}']/@enabled");
        let says =
            format!("State of vCPU '{id}' differs between source and destination definitions");
        let shown = |on: bool| if on { "yes" } else { "no" };
        if !cx.compare(path, &says, shown(state(a, id)), shown(state(b, id))) {
            continue;
        }
        let says = format!(
            "vcpu enable order of vCPU '{id}' differs between source and destination definitions"
        );
        let order = |d: &Domain| number(entry(d, id).and_then(|v| v.order));
        cx.compare(|| format!("vcpus/vcpu[@id='{id}']/@order"), &says, order(a), order(b));
    }
}

/// Virtual CPUs looked at, one by one.
const MOST_VCPUS: u32 = 16_384;

/// The timers.
pub(super) fn check_timers(a: &Domain, b: &Domain, cx: &mut Checker) {
    let timers = |d: &Domain| d.clock.as_ref().map(|c| c.timers.clone()).unwrap_or_default();
    let says = "Target domain timers do not match source";
    cx.lists("clock/timer", says, &timers(a), &timers(b), |cx, path, x, y| {
        cx.rules(path, TIMER, x, y);
        if x.name == crate::domain::clock::TimerName::Tsc {
            cx.rules(path, TSC, x, y);
        }
    });
}

/// The time stamp counter has more to it.
const TSC: &[Rule<Timer>] = &[
    Rule {
        at: "@frequency",
        says: "Target TSC frequency {target} does not match source {source}",
        value: |t| number(t.frequency),
    },
    Rule {
        at: "@mode",
        says: "Target TSC mode {target} does not match source {source}",
        value: |t| word(t.mode, "auto"),
    },
];

/// What QEMU's driver adds: where the guest's memory lies decides about the names of its parts.
pub(super) fn check_backing(a: &Domain, b: &Domain, cx: &mut Checker) {
    cx.domain = ErrorDomain::QEMU;
    let kind = |d: &Domain| {
        let source = d.memory_backing.as_ref().and_then(|m| m.source.as_ref());
        word(source.map(|s| s.kind), "none")
    };
    cx.compare(
        || "memoryBacking/source/@type".to_owned(),
        "Target memoryBacking source '{target}' doesn't match source memoryBacking source'{source}'",
        kind(a),
        kind(b),
    );
}
