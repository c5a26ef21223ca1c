//! The virtual CPU, its topology and NUMA cells.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Faults;
use crate::domain::cpu::{Cpu, CpuCacheMode, CpuMode, Interconnect, Numa, PhysAddrMode};
use crate::domain::scalar::CpuSet;
use crate::domain::tune::{NumaMode, VcpuPlacement};
use crate::domain::{Domain, VirtType};

pub(super) fn check(d: &Domain, out: &mut Faults) {
    if let Some(c) = &d.cpu {
        cpu(d, c, out);
        if let Some(n) = &c.numa {
            cells(d, n, out);
            interconnects(n, out);
        }
    }
    numatune(d, out);
}

fn cpu(d: &Domain, c: &Cpu, out: &mut Faults) {
    let max = d.vcpu.as_ref().map_or(1, |v| v.maximum);
    if let Some(t) = &c.topology {
        let factors = [t.sockets, t.dies.unwrap_or(1), t.clusters.unwrap_or(1), t.cores, t.threads];
        let names = ["sockets", "dies", "clusters", "cores", "threads"];
        if let Some(at) = factors.iter().position(|n| *n == 0) {
            let name = names[at];
            out.xml(
                "domain.cpu-topology",
                format!("Invalid value for attribute '{name}' in element 'topology': Zero is not permitted"),
            );
        }
        let product: u64 = factors.iter().fold(1u64, |a, n| a.saturating_mul(u64::from(*n)));
        if product != u64::from(max) {
            out.unsupported("domain.cpu-topology", "CPU topology doesn't match maximum vcpu count");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for f in &c.features {
        if !seen.insert(f.name.as_str()) {
            let name = &f.name;
            out.xml("domain.cpu-feature", format!("CPU feature '{name}' specified more than once"));
        }
    }
    let host = matches!(c.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum));
    if c.migratable.is_some() && c.mode.is_some() && !host {
        out.unsupported(
            "domain.cpu-migratable",
            "Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode",
        );
    }
    if let Some(vendor) = c.model.as_ref().and_then(|m| m.vendor_id.as_deref()) {
        if vendor.len() != 12 {
            out.xml("domain.cpu-vendor-id", "vendor_id must be exactly 12 characters long");
        } else if vendor.contains(',') {
            out.xml("domain.cpu-vendor-id", "vendor id is invalid");
        }
    }
    let named = c.model.as_ref().is_some_and(|m| m.name.is_some());
    if matches!(c.mode, None | Some(CpuMode::Custom)) && !named {
        unnamed(c, out);
    }
    cache(c, host, out);
    if let Some(a) = &c.max_phys_addr {
        let passed = a.mode == PhysAddrMode::Passthrough;
        if passed && a.bits.is_some() {
            out.unsupported(
                "domain.cpu-phys-bits",
                "CPU maximum physical address bits number specification cannot be used with mode='passthrough'",
            );
        }
        if !passed && a.bits.is_none() {
            out.unsupported(
                "domain.cpu-phys-bits",
                "if using CPU maximum physical address mode='emulate', bits= must be specified too",
            );
        }
        if !passed && a.limit.is_some() {
            out.unsupported(
                "domain.cpu-phys-bits",
                "attribute 'limit' is only supported for maxphysaddr mode 'passthrough'",
            );
        }
        // Emulation has no physical addresses of a host to pass on: libvirt leaves it alone.
        if passed && !host && d.kind == VirtType::Kvm {
            out.unsupported(
                "domain.cpu-phys-bits",
                "CPU maximum physical address bits mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs",
            );
        }
    }
}

/// What belongs to a model where none is named.
fn unnamed(c: &Cpu, out: &mut Faults) {
    if c.vendor.is_some() {
        out.xml("domain.cpu-vendor", "CPU vendor specified without CPU model");
    }
    if !c.features.is_empty() {
        out.xml("domain.cpu-feature", "Non-empty feature list specified without CPU model");
    }
}

/// The CPU as it is written: the defaults name a model where there is none.
pub(super) fn written(c: &Cpu, out: &mut Faults) {
    let named = c.model.as_ref().is_some_and(|m| m.name.is_some());
    if matches!(c.mode, None | Some(CpuMode::Custom)) && !named {
        unnamed(c, out);
    }
}

fn cache(c: &Cpu, host: bool, out: &mut Faults) {
    let Some(cache) = &c.cache else { return };
    match cache.mode {
        _ if cache.level.is_some_and(|level| !(1..=3).contains(&level)) => {
            out.xml("domain.cpu-cache", "invalid CPU cache level, must be in range [1,3]");
        }
        CpuCacheMode::Passthrough => {
            if !host {
                out.unsupported(
                    "domain.cpu-cache",
                    "CPU cache mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs",
                );
            }
            if cache.level.is_some() {
                out.unsupported(
                    "domain.cpu-cache",
                    "unsupported CPU cache level for mode 'passthrough'",
                );
            }
        }
        CpuCacheMode::Emulate if cache.level != Some(3) => out.unsupported(
            "domain.cpu-cache",
            "CPU cache mode 'emulate' can only be used with level='3'",
        ),
        CpuCacheMode::Disable if cache.level.is_some() => {
            out.unsupported("domain.cpu-cache", "unsupported CPU cache level for mode 'disable'");
        }
        _ => {}
    }
}

fn cells(d: &Domain, n: &Numa, out: &mut Faults) {
    let max = d.vcpu.as_ref().map_or(1, |v| v.maximum);
    let mut ids = BTreeSet::new();
    let twice = n.cells.iter().filter_map(|c| c.id).find(|id| !ids.insert(*id));
    if let Some(id) = twice {
        out.xml("domain.numa-cells", format!("Duplicate NUMA cell info for cell id '{id}'"));
    } else if n.cells.iter().enumerate().any(|(i, c)| c.id != Some(i as u32)) {
        out.xml(
            "domain.numa-cells",
            "Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or ranges not starting from 0 are not allowed",
        );
    }
    let mut taken = CpuSet::default();
    let sets = || n.cells.iter().filter_map(|c| Some((c.id.unwrap_or_default(), c.cpus.as_ref()?)));
    for (id, cpus) in sets() {
        if taken.take_in(cpus) {
            let other = sets().find(|(_, set)| set.overlaps(cpus)).map_or(0, |(other, _)| other);
            out.unsupported(
                "domain.numa-cpus",
                format!("NUMA cells {id} and {other} have overlapping vCPU ids"),
            );
            break;
        }
    }
    let count: usize = n.cells.iter().filter_map(|c| c.cpus.as_ref()).map(CpuSet::len).sum();
    if u64::try_from(count).is_ok_and(|count| count > u64::from(max)) {
        out.internal("domain.numa-cpus", "Number of CPUs in <numa> exceeds the <vcpu> count");
        return;
    }
    let top = n.cells.iter().filter_map(|c| c.cpus.as_ref()?.max()).max();
    if top.is_some_and(|t| t >= max) {
        out.internal("domain.numa-cpus", "CPU IDs in <numa> exceed the <vcpu> count");
    }
}

/// Distances between cells, as they are written: the defaults make them whole.
pub(super) fn distances(n: &Numa, out: &mut Faults) {
    for (i, c) in n.cells.iter().enumerate() {
        let cell = c.id.unwrap_or(i as u32);
        if c.distances.as_ref().is_some_and(|d| d.siblings.is_empty()) {
            out.xml("domain.numa-distance", "NUMA distances defined without siblings");
        }
        for s in c.distances.iter().flat_map(|d| &d.siblings) {
            if s.id as usize >= n.cells.len() {
                out.xml(
                    "domain.numa-distance",
                    format!(
                        "'sibling_id {}' does not refer to a valid cell within NUMA 'cell id {cell}'",
                        s.id
                    ),
                );
            }
            let own = s.id == cell;
            if !(10..=255).contains(&s.value) || own && s.value != 10 || !own && s.value == 10 {
                out.xml(
                    "domain.numa-distance",
                    format!(
                        "'value {}' is invalid for 'sibling id {}' under NUMA 'cell id {cell}'",
                        s.value, s.id
                    ),
                );
            }
        }
    }
}

fn interconnects(n: &Numa, out: &mut Faults) {
    let ids: BTreeSet<u32> = n.cells.iter().filter_map(|c| c.id).collect();
    let known = |id: u32| ids.contains(&id);
    let mut caches: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for c in &n.cells {
        if let Some(id) = c.id {
            caches.entry(id).or_insert_with(|| c.caches.iter().map(|c| c.level).collect());
        }
    }
    for list in n.interconnects.iter().flat_map(|i| [&i.latencies, &i.bandwidths]) {
        let mut seen = BTreeSet::new();
        let place = |x: &Interconnect| (x.initiator, x.target, x.cache, x.kind.as_str());
        if list.iter().any(|x| !seen.insert(place(x))) {
            out.xml("domain.numa-interconnect", "Duplicate info for NUMA latencies");
        }
    }
    let all = || n.interconnects.iter().flat_map(|i| i.latencies.iter().chain(&i.bandwidths));
    // A link is described from one of its ends, whatever is said of it.
    let ends: BTreeSet<(u32, u32)> = all().map(|x| (x.initiator, x.target)).collect();
    if ends.iter().any(|(from, to)| from != to && ends.contains(&(*to, *from))) {
        out.xml("domain.numa-interconnect", "Link already defined");
    }
    for x in all() {
        for (name, id) in [("initiator", x.initiator), ("target", x.target)] {
            if !known(id) {
                out.xml(
                    "domain.numa-interconnect",
                    format!("'{name}' refers to a non-existent NUMA node"),
                );
            }
        }
        if let Some(level) = x.cache.filter(|level| *level > 0)
            && caches.get(&x.target).is_some_and(|levels| !levels.contains(&level))
        {
            out.xml("domain.numa-interconnect", "'cache' refers to a non-existent NUMA node cache");
        }
    }
}

fn numatune(d: &Domain, out: &mut Faults) {
    let cells = d.cpu.as_ref().and_then(|c| c.numa.as_ref()).map_or(0, |n| n.cells.len());
    let Some(t) = &d.numa_tune else { return };
    if !t.nodes.is_empty() && cells == 0 {
        out.xml("domain.numatune", "Element 'memnode' is invalid without any guest NUMA cells");
    }
    let mut seen = BTreeSet::new();
    for n in &t.nodes {
        if cells > 0 && n.cell_id as usize >= cells {
            out.xml(
                "domain.numatune",
                "Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell",
            );
        }
        if !seen.insert(n.cell_id) {
            let id = n.cell_id;
            out.xml("domain.numatune", format!("Multiple memnode elements with cellid {id}"));
        }
        if n.nodeset.is_none() {
            out.xml("domain.numatune", "Missing required nodeset attribute in memnode element");
        }
        if n.mode == Some(NumaMode::Restrictive)
            && t.memory.as_ref().is_some_and(|m| m.mode != Some(NumaMode::Restrictive))
        {
            out.xml(
                "domain.numatune",
                "'restrictive' mode is required in memory element when mode is 'restrictive' in memnode element",
            );
        }
    }
    let strict = |mode: Option<NumaMode>| mode.is_some_and(|mode| mode != NumaMode::Restrictive);
    let restricts = t.memory.as_ref().is_some_and(|m| m.mode == Some(NumaMode::Restrictive));
    if restricts && t.nodes.iter().any(|n| strict(n.mode)) {
        out.xml(
            "domain.numatune",
            "'restrictive' mode is required in memnode element when mode is 'restrictive' in memory element",
        );
    }
    if let Some(m) = &t.memory {
        let auto = m.placement == Some(VcpuPlacement::Auto);
        if auto && !t.nodes.is_empty() {
            out.unsupported(
                "domain.numatune",
                "Per-node binding is not compatible with automatic NUMA placement.",
            );
        }
        if !auto && m.nodeset.is_none() && m.mode != Some(NumaMode::Restrictive) {
            out.unsupported(
                "domain.numatune",
                "nodeset for NUMA memory tuning must be set if 'placement' is 'static'",
            );
        }
    }
}
