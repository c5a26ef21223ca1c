//! Memory, its backing and its devices.

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};
use crate::domain::memory::HugePage;
use crate::domain::scalar::CpuSet;

pub(super) fn check(d: &Domain, out: &mut Faults) {
    if d.memory.as_ref().is_none_or(|m| m.size.0 == 0) {
        out.xml(
            "domain.memory-missing",
            "Memory size must be specified via <memory> or in the <numa> configuration",
        );
    }
    let cells = d.cpu.as_ref().and_then(|c| c.numa.as_ref()).map_or(0, |n| n.cells.len()) as u32;
    for p in d.memory_backing.iter().flat_map(|b| &b.hugepages).flat_map(|h| &h.pages) {
        let Some(max) = p.nodeset.as_ref().and_then(|n| n.max()) else { continue };
        // Without NUMA there is one node, 0.
        if max >= cells.max(1) {
            let first = p.nodeset.iter().flat_map(|n| n.iter()).find(|n| *n >= cells.max(1));
            out.detail(
                "domain.hugepages-node",
                format!("hugepages: node {} not found", first.unwrap_or(max)),
            );
        }
    }
    backing(d, out);
    let total = d.memory.as_ref().map_or(0, |m| m.size.0);
    if d.max_memory.as_ref().is_some_and(|m| m.size.0 == 0 && m.slots.is_some()) {
        out.xml(
            "domain.memory-maximum",
            "maximum memory size must be specified when specifying number of memory slots",
        );
    }
    if d.max_memory.as_ref().is_some_and(|m| m.size.0 > 0 && m.size.0 < total) {
        out.xml(
            "domain.memory-maximum",
            "maximum memory size must be equal or greater than the actual memory size",
        );
    }
    let Some(dev) = &d.devices else { return };
    // What is plugged is part of <memory>; something must be left to boot with.
    let plugged = dev.memories.iter().try_fold(0_u64, |sum, x| sum.checked_add(x.target.size.0));
    if plugged.is_none_or(|plugged| plugged > total) {
        let text = "Total size of memory devices exceeds the total memory size";
        out.xml("domain.memory-devices", text);
    } else if plugged == Some(total) && total > 0 {
        out.xml(
            "domain.memory-missing",
            "Memory size must be specified via <memory> or in the <numa> configuration",
        );
    }
    overlaps(&dev.memories, out);
    if d.os.as_ref().and_then(|o| o.kind.arch.as_deref()).is_some_and(|a| a.starts_with("ppc64")) {
        power_modules(&dev.memories, out);
    }
    let slots = d.max_memory.as_ref().map(|m| m.slots.unwrap_or(0));
    let mut taken = std::collections::BTreeSet::new();
    for x in &dev.memories {
        let Some(slots) = slots else {
            out.unsupported(
                "domain.memory-device",
                "cannot use/hotplug a memory device when domain 'maxMemory' is not defined",
            );
            break;
        };
        if let Some(Address::Dimm(a)) = &x.address
            && a.slot >= slots
        {
            let message = if a.base.is_none() && a.slot == slots {
                // The first one that found no place.
                out.internal("domain.memory-slot", "failed to find an empty memory slot");
                continue;
            } else {
                format!("memory device slot '{}' exceeds slots count '{slots}'", a.slot)
            };
            out.unsupported("domain.memory-slot", message);
        }
        if let Some(Address::Dimm(a)) = &x.address
            && !taken.insert(a.slot)
        {
            let slot = a.slot;
            out.unsupported(
                "domain.memory-slot",
                format!(
                    "memory device slot '{slot}' is already being used by another memory device"
                ),
            );
        }
        let placed = !matches!(x.model, MemoryModel::VirtioPmem | MemoryModel::SgxEpc);
        if placed && cells > 0 && x.target.node.is_none() {
            out.unsupported(
                "domain.memory-node",
                "target NUMA node needs to be specified for memory device",
            );
        }
        if let Some(n) = x.target.node
            && cells > 0
            && n >= cells
        {
            out.detail(
                "domain.memory-node",
                format!(
                    "can't add memory backend for guest node '{n}' as the guest has only '{cells}' NUMA nodes configured"
                ),
            );
        }
    }
    let x86 = d.os.as_ref().and_then(|o| o.kind.arch.as_deref()).is_some_and(|a| a.contains("86"));
    if d.max_memory.as_ref().is_some_and(|m| m.slots.unwrap_or(0) > 0) && cells == 0 && x86 {
        out.unsupported(
            "domain.memory-numa",
            "At least one numa node has to be configured when enabling memory hotplug",
        );
    }
}

/// What a POWER guest adds of an NVDIMM is in blocks of 256 MiB; the label lies behind them.
fn power_modules(memories: &[MemoryDevice], out: &mut Faults) {
    const BLOCK: u64 = 256 << 10;
    for x in memories.iter().filter(|x| x.model == MemoryModel::Nvdimm) {
        let label = x.target.label.as_ref().map_or(0, |label| label.size.0);
        if x.target.size.0.saturating_sub(label) < BLOCK {
            let text = "minimum target size for the NVDIMM must be 256MB plus the label size";
            out.xml("domain.memory-label", text);
        }
    }
}

/// Where a device lies in the guest's memory, if that is written: its first byte and the one behind
/// its last.
fn place(x: &MemoryDevice) -> Option<(u64, u64)> {
    let slot = match &x.address {
        Some(Address::Dimm(a)) => a.base,
        _ => None,
    };
    let base = slot.or_else(|| x.target.address.as_ref().map(|a| a.base))?.0;
    let mut size = x.target.size.0;
    if x.model == MemoryModel::Nvdimm {
        // The label is kept apart; QEMU maps whole units of the rest.
        size = size.saturating_sub(x.target.label.as_ref().map_or(0, |label| label.size.0));
        let unit = x.source.as_ref().and_then(|s| s.align_size.as_ref()).map_or(1, |a| a.0.max(1));
        size = size / unit * unit;
    }
    let end = base.saturating_add(size.saturating_mul(1024));
    (base != 0).then_some((base, end))
}

/// Devices that lie over each other. In the order of their places each is compared with the one
/// that reaches farthest so far, so that thousands cost no more than sorting them.
fn overlaps(memories: &[MemoryDevice], out: &mut Faults) {
    let mut places: Vec<_> = memories
        .iter()
        .enumerate()
        .filter_map(|(n, x)| place(x).map(|(from, to)| (from, to, n)))
        .collect();
    places.sort_unstable();
    let mut farthest: Option<(u64, u64, usize)> = None;
    for one in places {
        if let Some(other) = farthest.filter(|other| one.0 < other.1) {
            // Named in the order of the document.
            let (a, b) = if one.2 < other.2 { (one, other) } else { (other, one) };
            let text = format!(
                "memory device address [0x{:x}:0x{:x}] overlaps with other memory device (0x{:x})",
                a.0, a.1, b.0
            );
            out.unsupported("domain.memory-overlap", text);
        }
        if farthest.is_none_or(|other| other.1 < one.1) {
            farthest = Some(one);
        }
    }
}

fn backing(d: &Domain, out: &mut Faults) {
    use crate::domain::memory::{AllocationMode, MemorySourceType};
    let Some(b) = &d.memory_backing else { return };
    let Some(pages) = &b.hugepages else { return };
    if b.allocation.as_ref().and_then(|a| a.mode) == Some(AllocationMode::Ondemand) {
        out.unsupported(
            "domain.hugepages",
            "hugepages are not allowed with memory allocation ondemand",
        );
    }
    if b.source.as_ref().is_some_and(|s| s.kind == MemorySourceType::Anonymous) {
        out.unsupported(
            "domain.hugepages",
            "hugepages are not allowed with anonymous memory source",
        );
    }
    let mut master: Option<u64> = None;
    let mut taken = CpuSet::default();
    for p in &pages.pages {
        if let Some(nodes) = &p.nodeset
            && taken.take_in(nodes)
        {
            let shares =
                |other: &&HugePage| other.nodeset.as_ref().is_some_and(|n| n.overlaps(nodes));
            let other = pages.pages.iter().find(shares).map_or(0, |other| other.size);
            out.detail(
                "domain.hugepages-node",
                format!("nodeset attribute of hugepages of sizes {} and {other} intersect", p.size),
            );
            break;
        }
        if p.size == 0 {
            out.detail("domain.hugepages", "hugepage size can't be zero");
        }
        if p.nodeset.is_none()
            && let Some(other) = master.replace(p.size)
        {
            let size = p.size;
            out.detail(
                "domain.hugepages",
                format!("two master hugepages detected: {size} and {other}"),
            );
        }
    }
}
