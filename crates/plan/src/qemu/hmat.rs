//! How fast the guest's CPUs reach its memory: the heterogeneous memory attribute table.

use super::build::Build;
use model::domain::cpu::{
    Interconnect, InterconnectAccess, Numa, NumaCacheAssociativity, NumaCachePolicy,
};

/// A size in KiB; a bare number is in `default` bytes.
fn kib(value: u64, unit: Option<&str>) -> u64 {
    match unit {
        Some("B" | "bytes") => value / 1024,
        Some("M" | "MiB") => value.saturating_mul(1 << 10),
        Some("G" | "GiB") => value.saturating_mul(1 << 20),
        Some("T" | "TiB") => value.saturating_mul(1 << 30),
        _ => value,
    }
}

/// The cell whose CPUs reach cell `id` best: itself where it has CPUs, else the one with the
/// least latency, else with the greatest bandwidth (the first of equals), else the first cell.
pub(super) fn initiator(numa: &Numa, id: u32) -> u32 {
    let cell = numa.cells.iter().find(|cell| cell.id == Some(id));
    if cell.is_some_and(|cell| cell.cpus.is_some()) {
        return id;
    }
    let Some(links) = &numa.interconnects else { return 0 };
    let reaching = |list: &'_ [Interconnect]| -> Vec<(u32, u64)> {
        let found = list.iter().filter(|link| link.target == id);
        found.map(|link| (link.initiator, link.value)).collect()
    };
    let nearest = reaching(&links.latencies).into_iter().min_by_key(|(_, value)| *value);
    // `max_by_key` would take the last of equals.
    let widest = reaching(&links.bandwidths).into_iter().rev().max_by_key(|(_, value)| *value);
    nearest.or(widest).map_or(0, |(from, _)| from)
}

impl Build<'_> {
    /// `-numa hmat-lb` and `hmat-cache`, after the cells.
    pub(super) fn hmat(&mut self, numa: &Numa) {
        let links = numa.interconnects.clone().unwrap_or_default();
        for link in &links.latencies {
            self.link(link, "latency", &link.value.to_string());
        }
        for link in &links.bandwidths {
            self.link(link, "bandwidth", &format!("{}K", kib(link.value, link.unit.as_deref())));
        }
        for cell in &numa.cells {
            for cache in &cell.caches {
                let associativity = match cache.associativity {
                    NumaCacheAssociativity::None => "none",
                    NumaCacheAssociativity::Direct => "direct",
                    NumaCacheAssociativity::Full => "complex",
                };
                let policy = match cache.policy {
                    NumaCachePolicy::None => "none",
                    NumaCachePolicy::Writeback => "write-back",
                    NumaCachePolicy::Writethrough => "write-through",
                };
                // libvirt hands both numbers on as they stand, whatever their unit.
                let value = |size: &Option<model::domain::cpu::SizeValue>| {
                    size.as_ref().map_or(0, |size| size.value)
                };
                let text = format!(
                    "hmat-cache,node-id={},size={}K,level={},associativity={associativity},\
                     policy={policy},line={}",
                    cell.id.unwrap_or(0),
                    value(&cache.size),
                    cache.level,
                    value(&cache.line)
                );
                self.opt("-numa", &text);
            }
        }
    }

    /// One measure between two cells.
    fn link(&mut self, link: &Interconnect, what: &str, value: &str) {
        let hierarchy = match link.cache {
            None | Some(0) => "memory",
            Some(1) => "first-level",
            Some(2) => "second-level",
            Some(_) => "third-level",
        };
        let access = match link.kind {
            InterconnectAccess::Access => "access",
            InterconnectAccess::Read => "read",
            InterconnectAccess::Write => "write",
        };
        let text = format!(
            "hmat-lb,initiator={},target={},hierarchy={hierarchy},data-type={access}-{what},\
             {what}={value}",
            link.initiator, link.target
        );
        self.opt("-numa", &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::cpu::{Interconnects, NumaCell};

    /// Cells 0 and 1 have a CPU each, cell 2 has none.
    fn numa(latencies: &[(u32, u64)], bandwidths: &[(u32, u64)]) -> Numa {
        let cell = |id: u32, cpus: Option<&str>| NumaCell {
            id: Some(id),
            cpus: cpus.map(|text| model::domain::scalar::CpuSet::parse(text).unwrap()),
            ..NumaCell::default()
        };
        let link = |list: &[(u32, u64)]| {
            let one = |(initiator, value): &(u32, u64)| Interconnect {
                initiator: *initiator,
                target: 2,
                value: *value,
                ..Interconnect::default()
            };
            list.iter().map(one).collect()
        };
        Numa {
            cells: vec![cell(0, Some("0")), cell(1, Some("1")), cell(2, None)],
            interconnects: Some(Interconnects {
                latencies: link(latencies),
                bandwidths: link(bandwidths),
            }),
        }
    }

    #[test]
    fn memory_without_cpus_belongs_to_its_nearest_cpus() {
        let check = |latencies: &[_], bandwidths: &[_], expected| {
            assert_eq!(initiator(&numa(latencies, bandwidths), 2), expected);
        };
        check(&[(0, 5), (1, 7)], &[(0, 100), (1, 200)], 0);
        check(&[], &[(0, 100), (1, 200)], 1);
        check(&[(1, 5), (0, 5)], &[], 1);
        check(&[], &[(1, 100), (0, 100)], 1);
        check(&[], &[], 0);
    }

    #[test]
    fn cpus_reach_their_own_memory_best() {
        assert_eq!(initiator(&numa(&[(1, 1)], &[]), 0), 0);
        assert_eq!(initiator(&numa(&[(0, 1)], &[]), 1), 1);
    }
}
