//! The guest's NUMA cells: their memory, CPUs and distances.

use super::build::{Build, Props};
use model::domain::cpu::Numa;

/// Distance of a cell to itself, and to another one where the domain does not say (ACPI's SLIT).
const LOCAL: u32 = 10;
const REMOTE: u32 = 20;

/// How far cell `to` is from cell `from`: as the domain says, for this way or for the way back.
fn distance(numa: &Numa, from: u32, to: u32) -> u32 {
    let said = |from: u32, to: u32| {
        let cell = numa.cells.iter().find(|cell| cell.id == Some(from))?;
        let mut siblings = cell.distances.iter().flat_map(|distances| &distances.siblings);
        siblings.find(|sibling| sibling.id == to).map(|sibling| sibling.value)
    };
    said(from, to).or_else(|| said(to, from)).unwrap_or(if from == to { LOCAL } else { REMOTE })
}

/// A backend that QEMU would make by itself: ordinary memory of a size, on nodes of the host that
/// all cells share unless `placed`.
fn is_ordinary(props: &Props, placed: bool) -> bool {
    let nodes = |key: &str| !placed && matches!(key, "host-nodes" | "policy");
    props.0.get("qom-type").and_then(|kind| kind.as_str()) == Some("memory-backend-ram")
        && props
            .0
            .keys()
            .all(|key| matches!(key.as_str(), "qom-type" | "id" | "size") || nodes(key))
}

impl Build<'_> {
    /// `-numa` for cells, distances and memory attributes.
    pub(super) fn numa(&mut self) {
        let Some(numa) = self.d.cpu.as_ref().and_then(|cpu| cpu.numa.clone()) else {
            return;
        };
        let sizes = numa.cells.iter().map(|cell| self.aligned(cell.memory));
        let cells: Vec<(u32, u64)> = (0..)
            .zip(&numa.cells)
            .map(|(index, cell)| cell.id.unwrap_or(index))
            .zip(sizes)
            .collect();
        let mut backends = Vec::new();
        for (id, kib) in &cells {
            backends.push(self.memory_backend(&format!("ram-node{id}"), *kib, Some(*id), None));
        }
        // Old machine types take sizes, and keep to them where nothing else is asked for: a guest
        // that migrates must not see its memory named in another way.
        let machine = self.caps.machine(self.accel, &self.machine);
        // What `<memory>` of `<numatune>` says of all memory holds for the whole process.
        let tuned = |id: u32| {
            let tune = self.d.numa_tune.iter().flat_map(|tune| &tune.nodes);
            tune.into_iter().any(|node| node.cell_id == id)
        };
        let sized = machine.is_some_and(|machine| machine.numa_mem_supported)
            && !self.has_hmat()
            && cells.iter().zip(&backends).all(|((id, _), props)| is_ordinary(props, tuned(*id)));
        for (((id, kib), backend), cell) in cells.iter().zip(backends).zip(&numa.cells) {
            let mut out = format!("node,nodeid={id}");
            for (first, last) in cell.cpus.iter().flat_map(|cpus| cpus.ranges()) {
                out.push_str(&format!(",cpus={first}"));
                if first != last {
                    out.push_str(&format!("-{last}"));
                }
            }
            if self.has_hmat() {
                out.push_str(&format!(",initiator={}", super::hmat::initiator(&numa, *id)));
            }
            if sized {
                out.push_str(&format!(",mem={}", kib / 1024));
            } else {
                self.backend(backend);
                out.push_str(&format!(",memdev=ram-node{id}"));
            }
            self.opt("-numa", &out);
        }
        if numa.cells.iter().any(|cell| cell.distances.is_some()) {
            for (from, _) in &cells {
                for (to, _) in &cells {
                    let value = distance(&numa, *from, *to);
                    self.opt("-numa", &format!("dist,src={from},dst={to},val={value}"));
                }
            }
        }
        self.hmat(&numa);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::cpu::{NumaCell, NumaDistances, NumaSibling};

    #[test]
    fn a_distance_holds_both_ways() {
        let cell = |id, distances| NumaCell { id: Some(id), distances, ..NumaCell::default() };
        let siblings = vec![NumaSibling { id: 0, value: 21 }];
        let numa = Numa {
            cells: vec![cell(0, None), cell(1, Some(NumaDistances { siblings })), cell(2, None)],
            interconnects: None,
        };
        let check = |from, to, expected| assert_eq!(distance(&numa, from, to), expected);
        check(0, 0, 10);
        check(0, 1, 21);
        check(1, 0, 21);
        check(2, 1, 20);
    }

    #[test]
    fn only_memory_without_wishes_is_ordinary() {
        let plain = Props::object("memory-backend-ram", "ram-node0").set("size", 1);
        assert!(is_ordinary(&plain, true));
        assert!(!is_ordinary(&plain.clone().set("prealloc", true), false));
        let placed = plain.set("policy", "bind");
        assert!(is_ordinary(&placed, false) && !is_ordinary(&placed, true));
        let file = Props::object("memory-backend-memfd", "ram-node0").set("size", 1);
        assert!(!is_ordinary(&file, false));
    }
}
