//! The virtual CPU the guest sees.

use diag::ErrorDomain;

use super::rule::{Checker, Rule, text, word};
use crate::domain::Domain;
use crate::domain::cpu::{Cpu, CpuFeaturePolicy, CpuMode, CpuTopology};

const CPU: &[Rule<Cpu>] = &[
    Rule {
        at: "@mode",
        says: "Target CPU mode {target} does not match source {source}",
        value: |c| word(c.mode, "custom"),
    },
    Rule {
        at: "@check",
        says: "Target CPU check {target} does not match source {source}",
        value: |c| word(c.check, "default"),
    },
    Rule {
        at: "model",
        says: "Target CPU model {target} does not match source {source}",
        value: |c| text(c.model.as_ref().and_then(|m| m.name.as_deref())),
    },
    Rule {
        at: "vendor",
        says: "Target CPU vendor {target} does not match source {source}",
        value: |c| text(c.vendor.as_deref()),
    },
    Rule {
        at: "model/@vendor_id",
        says: "Target CPU vendor id {target} does not match source {source}",
        value: |c| text(c.model.as_ref().and_then(|m| m.vendor_id.as_deref())),
    },
    Rule {
        at: "topology/@sockets",
        says: "Target CPU sockets {target} does not match source {source}",
        value: |c| place(c, |t| t.sockets),
    },
    Rule {
        at: "topology/@dies",
        says: "Target CPU dies {target} does not match source {source}",
        value: |c| place(c, |t| t.dies.unwrap_or(1)),
    },
    Rule {
        at: "topology/@clusters",
        says: "Target CPU clusters {target} does not match source {source}",
        value: |c| place(c, |t| t.clusters.unwrap_or(1)),
    },
    Rule {
        at: "topology/@cores",
        says: "Target CPU cores {target} does not match source {source}",
        value: |c| place(c, |t| t.cores),
    },
    Rule {
        at: "topology/@threads",
        says: "Target CPU threads {target} does not match source {source}",
        value: |c| place(c, |t| t.threads),
    },
];

/// Compared when the lists of features are equal.
const PARTS: &[Rule<Cpu>] = &[
    Rule {
        at: "cache",
        says: "Target CPU cache does not match source",
        value: |c| {
            let shown = c.cache.as_ref().map(|c| format!("{} {:?}", c.mode, c.level));
            shown.unwrap_or_else(|| "none".to_owned())
        },
    },
    Rule {
        at: "maxphysaddr",
        says: "Target CPU maxphysaddr does not match source",
        value: |c| {
            let addr = c.max_phys_addr.as_ref();
            let shown = addr.map(|a| format!("{} {:?}", a.mode, a.bits));
            shown.unwrap_or_else(|| "none".to_owned())
        },
    },
];

fn place(cpu: &Cpu, part: fn(&CpuTopology) -> u32) -> String {
    cpu.topology.as_ref().map_or(0, part).to_string()
}

/// Compares what the CPU is; its NUMA nodes belong to the memory.
pub(super) fn check(a: &Domain, b: &Domain, cx: &mut Checker) {
    let reporter = std::mem::replace(&mut cx.domain, ErrorDomain::CPU);
    match (&a.cpu, &b.cpu) {
        (Some(x), Some(y)) => compare(x, y, cx),
        (None, None) => {}
        (x, y) => {
            let there = |c: &Option<Cpu>| if c.is_some() { "given" } else { "none" };
            cx.compare(|| "cpu".to_owned(), "Target CPU does not match source", there(x), there(y));
        }
    }
    cx.domain = reporter;
}

fn compare(a: &Cpu, b: &Cpu, cx: &mut Checker) {
    cx.rules("cpu", CPU, a, b);
    let says = "Target CPU feature count {target} does not match source {source}";
    // What the host's own CPU is asked for is not fixed by a list.
    cx.lists("cpu/feature", says, &a.features, &b.features, |cx, path, x, y| {
        let says = "Target CPU feature {target} does not match source {source}";
        cx.compare(|| format!("{path}/@name"), says, &x.name, &y.name);
        let custom = a.mode.unwrap_or(CpuMode::Custom) == CpuMode::Custom;
        if custom {
            let says = "Target CPU feature policy {target} does not match source {source}";
            let policy = |p: Option<CpuFeaturePolicy>| p.unwrap_or(CpuFeaturePolicy::Require);
            cx.compare(|| format!("{path}/@policy"), says, policy(x.policy), policy(y.policy));
        }
    });
    cx.rules("cpu", PARTS, a, b);
}
