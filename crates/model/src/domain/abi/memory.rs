//! Memory modules.

use super::address::{Placed, place};
use super::rule::{Checker, Rule, number, yes_no};
use crate::domain::devices::Devices;
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};

const MODULE: &[Rule<MemoryDevice>] = &[
    Rule {
        at: "@model",
        says: "Target memory device model '{target}' doesn't match source model '{source}'",
        value: |m| m.model.to_string(),
    },
    Rule {
        at: "target/node",
        says: "Target memory device targetNode '{target}' doesn't match source targetNode \
               '{source}'",
        value: |m| m.target.node.map_or_else(|| "-1".to_owned(), |n| n.to_string()),
    },
    Rule {
        at: "target/size",
        says: "Target memory device size '{target}' doesn't match source memory device size \
               '{source}'",
        value: |m| m.target.size.0.to_string(),
    },
];

const NVDIMM: &[Rule<MemoryDevice>] = &[
    Rule {
        at: "target/label/size",
        says: "Target NVDIMM label size '{target}' doesn't match source NVDIMM label size \
               '{source}'",
        value: |m| number(m.target.label.as_ref().map(|l| l.size.0)),
    },
    Rule {
        at: "source/alignsize",
        says: "Target NVDIMM alignment '{target}' doesn't match source NVDIMM alignment '{source}'",
        value: |m| number(m.source.as_ref().and_then(|s| s.align_size).map(|a| a.0)),
    },
    Rule {
        at: "source/pmem",
        says: "Target NVDIMM pmem flag doesn't match source NVDIMM pmem flag",
        value: |m| flag(m.source.as_ref().is_some_and(|s| s.pmem)),
    },
    Rule {
        at: "target/readonly",
        says: "Target NVDIMM readonly flag doesn't match source NVDIMM readonly flag",
        value: |m| flag(m.target.readonly),
    },
    Rule {
        at: "uuid",
        says: "Target NVDIMM UUID doesn't match source NVDIMM",
        value: |m| m.uuid.as_ref().map_or_else(String::new, ToString::to_string),
    },
];

const VIRTIO_MEM: &[Rule<MemoryDevice>] = &[
    Rule {
        at: "target/block",
        says: "Target memory device block size '{target}' doesn't match source memory device \
               block size '{source}'",
        value: |m| number(m.target.block.map(|k| k.0)),
    },
    Rule {
        at: "target/requested",
        says: "Target memory device requested size '{target}' doesn't match source memory device \
               requested size '{source}'",
        value: |m| number(m.target.requested.map(|k| k.0)),
    },
    BASE,
    Rule {
        at: "target/@dynamicMemslots",
        says: "Target memory device 'dynamicMemslots' property doesn't match source memory device",
        value: |m| yes_no(m.target.dynamic_memslots).to_owned(),
    },
];

const BASE: Rule<MemoryDevice> = Rule {
    at: "target/address/@base",
    says: "Target memory device address '{target}' doesn't match source memory device address \
           '{source}'",
    value: |m| format!("0x{:x}", m.target.address.as_ref().map_or(0, |a| a.base.0)),
};

fn flag(set: bool) -> String {
    if set { "set" } else { "not set" }.to_owned()
}

/// Compares them in their order.
pub(super) fn modules(a: &Devices, b: &Devices, cx: &mut Checker) {
    let says = "Target domain memory device count {target} does not match source {source}";
    cx.lists("devices/memory", says, &a.memories, &b.memories, |cx, path, x, y| {
        cx.rules(path, MODULE, x, y);
        if x.model == y.model {
            match x.model {
                MemoryModel::Nvdimm => cx.rules(path, NVDIMM, x, y),
                MemoryModel::VirtioMem => cx.rules(path, VIRTIO_MEM, x, y),
                MemoryModel::VirtioPmem => cx.rules(path, &[BASE], x, y),
                MemoryModel::Dimm | MemoryModel::SgxEpc => {}
            }
        }
        place(cx, path, x.place(), y.place());
    });
}
