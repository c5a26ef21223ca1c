//! Sizes of memory: the guest's, its devices' and the sum of its NUMA cells.

use super::{DefaultsContext, Machine};
use crate::domain::Domain;
use crate::domain::cpu::{Numa, NumaCell};
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};
use crate::domain::memory::{Memory, MemoryAccess};
use crate::domain::scalar::{CpuSet, Kib};

/// A memory limit that is none, KiB.
pub(crate) const UNLIMITED: u64 = 9_007_199_254_740_991;

/// Fills in and aligns sizes.
pub(super) fn apply(d: &mut Domain, ctx: &mut DefaultsContext<'_>) {
    let machine = Machine::of(d);
    // The boards of s390 know no cells.
    if ctx.abi_update && !machine.is_s390() {
        one_cell(d);
    }
    if machine.is_pseries() {
        if ctx.abi_update {
            for m in d.devices.iter_mut().flat_map(|v| &mut v.memories) {
                align_pseries(m);
            }
        }
        for m in d.devices.iter_mut().flat_map(|v| &mut v.memories) {
            // The firmware of pSeries tells NVDIMMs apart by their UUID.
            if m.model == MemoryModel::Nvdimm && m.uuid.is_none() {
                m.uuid = Some(ctx.uuid());
            }
        }
    }
    for m in d.devices.iter_mut().flat_map(|v| &mut v.memories) {
        // What the guest writes is to reach the file.
        if m.model == MemoryModel::VirtioPmem {
            m.access.get_or_insert(MemoryAccess::Shared);
        }
    }
    sizes(d, ctx.abi_update);
}

/// Memory that can grow belongs to a NUMA cell: one cell holds all where there is none.
fn one_cell(d: &mut Domain) {
    let grows = d.max_memory.as_ref().is_some_and(|m| m.size.0 > 0);
    if !grows || d.cpu.as_ref().is_some_and(|c| c.numa.is_some()) {
        return;
    }
    let dev = d.devices.get_or_insert_default();
    let hot: u64 = dev.memories.iter().map(|m| m.target.size.0).sum();
    let initial = d.memory.as_ref().map_or(0, |m| m.size.0).saturating_sub(hot);
    if initial == 0 {
        return;
    }
    // Persistent memory of virtio belongs to none.
    for m in dev.memories.iter_mut().filter(|m| m.model != MemoryModel::VirtioPmem) {
        m.target.node.get_or_insert(0);
    }
    let mut cpus = CpuSet::default();
    let vcpus = d.vcpu.as_ref().map_or(1, |v| v.maximum);
    cpus.insert_range(0, vcpus.saturating_sub(1));
    let cell = NumaCell {
        id: Some(0),
        cpus: Some(cpus),
        memory: initial,
        unit: Some("KiB".to_owned()),
        ..NumaCell::default()
    };
    d.cpu.get_or_insert_default().numa = Some(Numa { cells: vec![cell], ..Numa::default() });
}

/// Steps in which memory is added on pSeries, KiB.
const PSERIES_BLOCK: u64 = 256 * 1024;

fn align_pseries(m: &mut MemoryDevice) {
    let size = &mut m.target.size.0;
    if m.model == MemoryModel::Nvdimm {
        // The part beside the label is what the guest sees, in whole blocks.
        let label = m.target.label.as_ref().map_or(0, |l| l.size.0);
        let guest = size.saturating_sub(label) / PSERIES_BLOCK * PSERIES_BLOCK;
        if guest > 0 {
            *size = guest.saturating_add(label);
        }
    } else {
        *size = size.checked_next_multiple_of(PSERIES_BLOCK).unwrap_or(*size);
    }
}

fn sizes(d: &mut Domain, abi_update: bool) {
    let hot: u64 = d.devices.iter().flat_map(|v| &v.memories).map(|m| m.target.size.0).sum();
    let written = d.memory.as_ref().is_some_and(|m| m.size.0 > 0);
    let cells: u64 =
        d.cpu.iter().filter_map(|c| c.numa.as_ref()).flat_map(|n| &n.cells).map(|c| c.memory).sum();
    let mem = d.memory.get_or_insert_with(Memory::default);
    // The sum of the cells counts for new documents; a stored one says what it meant.
    if cells > 0 && (abi_update || !written) {
        mem.size = Kib(cells.saturating_add(hot));
    }
    let total = mem.size;
    match d.current_memory.as_mut() {
        Some(c) if c.0 > 0 && *c <= total => {}
        _ => d.current_memory = Some(total),
    }
    let has_cells =
        d.cpu.iter().filter_map(|cpu| cpu.numa.as_ref()).any(|numa| !numa.cells.is_empty());
    let pages = d.memory_backing.iter_mut().filter_map(|backing| backing.hugepages.as_mut());
    for page in pages.flat_map(|huge| &mut huge.pages).filter(|_| !has_cells) {
        // The whole guest is cell 0.
        page.nodeset = page.nodeset.take().filter(|nodes| !nodes.iter().eq([0]));
    }
    if let Some(b) = d.memory_backing.as_mut()
        && b.access.is_none()
        && b.source.is_none()
        && b.allocation.is_none()
        && b.hugepages.is_none()
        && !b.discard
        && !b.locked
        && !b.nosharepages
    {
        d.memory_backing = None;
    }
    if let Some(t) = d.mem_tune.as_mut() {
        for limit in
            [&mut t.hard_limit, &mut t.soft_limit, &mut t.min_guarantee, &mut t.swap_hard_limit]
        {
            *limit = limit.filter(|l| l.0 != UNLIMITED);
        }
        if *t == Default::default() {
            d.mem_tune = None;
        }
    }
}
