//! Memory, its backing and its devices.

use super::Faults;
use crate::domain::Domain;
use crate::domain::devices::memory::MemoryModel;

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
    let Some(dev) = &d.devices else { return };
    let slots = d.max_memory.as_ref().map(|m| m.slots.unwrap_or(0));
    for x in &dev.memories {
        if x.model == MemoryModel::SgxEpc {
            continue;
        }
        let Some(slots) = slots else {
            out.unsupported(
                "domain.memory-device",
                "cannot use/hotplug a memory device when domain 'maxMemory' is not defined",
            );
            break;
        };
        if let Some(crate::domain::address::Address::Dimm(a)) = &x.address
            && a.slot >= slots
        {
            out.unsupported(
                "domain.memory-slot",
                format!("memory device slot '{}' exceeds slots count '{slots}'", a.slot),
            );
        }
        if let Some(n) = x.target.node
            && cells > 0
            && n >= cells
        {
            out.unsupported(
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
