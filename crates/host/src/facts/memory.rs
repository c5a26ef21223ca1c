//! Memory: the whole, by NUMA node, by page size.

use std::path::Path;

use super::{cpu_list, number, parse_cpu_list, text};

/// `/proc/meminfo` in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryInfo {
    /// All memory the kernel has.
    pub total: u64,
    /// Memory nobody uses.
    pub free: u64,
    /// Block device buffers.
    pub buffers: u64,
    /// The page cache.
    pub cached: u64,
    /// What programs could get without swapping.
    pub available: u64,
}

/// The pages of one size in one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugePages {
    /// Size of a page in bytes.
    pub size: u64,
    /// How many there are.
    pub total: u64,
    /// How many are free.
    pub free: u64,
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumaCell {
    /// The kernel's number.
    pub id: u32,
    /// Its memory in bytes.
    pub total: u64,
    /// Its free memory in bytes.
    pub free: u64,
    /// Its processors, ascending.
    pub cpus: Vec<u32>,
    /// Distances to (node, distance), itself included; empty where the kernel does not say.
    pub distances: Vec<(u32, u32)>,
    /// Its pages larger than the usual, ascending by size.
    pub huge_pages: Vec<HugePages>,
}

/// The host's memory.
pub fn memory_info(root: &Path) -> MemoryInfo {
    let text = text(root.join("proc/meminfo")).unwrap_or_default();
    let get = |name| field(&text, name).unwrap_or(0);
    MemoryInfo {
        total: get("MemTotal:"),
        free: get("MemFree:"),
        buffers: get("Buffers:"),
        cached: get("Cached:"),
        available: get("MemAvailable:"),
    }
}

/// A line `Name:   123 kB`, also behind `Node 0 `, in bytes.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|w| w.ends_with(':')).filter(|w| *w == name)?;
        words.next()?.parse::<u64>().ok()?.checked_mul(1024)
    })
}

/// The NUMA nodes, ascending; on a kernel without them one node that is the whole host.
pub fn numa_cells(root: &Path) -> Vec<NumaCell> {
    let base = root.join("sys/devices/system/node");
    let ids = text(base.join("online")).and_then(|t| parse_cpu_list(&t)).unwrap_or_default();
    if ids.is_empty() {
        let memory = memory_info(root);
        return vec![NumaCell {
            id: 0,
            total: memory.total,
            free: memory.free,
            cpus: cpu_list(root, "present").unwrap_or_default(),
            distances: Vec::new(),
            huge_pages: huge_pages(&root.join("sys/kernel/mm/hugepages")),
        }];
    }
    let cell = |&id: &u32| {
        let folder = base.join(format!("node{id}"));
        let info = text(folder.join("meminfo")).unwrap_or_default();
        let distances = text(folder.join("distance")).unwrap_or_default();
        let distances = distances.split_whitespace().filter_map(|d| d.parse().ok());
        NumaCell {
            id,
            total: field(&info, "MemTotal:").unwrap_or(0),
            free: field(&info, "MemFree:").unwrap_or(0),
            cpus: text(folder.join("cpulist")).and_then(|t| parse_cpu_list(&t)).unwrap_or_default(),
            distances: ids.iter().copied().zip(distances).collect(),
            huge_pages: huge_pages(&folder.join("hugepages")),
        }
    };
    ids.iter().map(cell).collect()
}

fn huge_pages(folder: &Path) -> Vec<HugePages> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let page = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let kib: u64 =
            name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(HugePages {
            size: kib.checked_mul(1024)?,
            total: number(entry.path().join("nr_hugepages")).unwrap_or(0),
            free: number(entry.path().join("free_hugepages")).unwrap_or(0),
        })
    };
    let mut pages: Vec<_> = entries.flatten().filter_map(page).collect();
    pages.sort_by_key(|p| p.size);
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_and_none() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "proc/meminfo",
            "MemTotal:       100 kB\nMemFree:  40 kB\nBuffers: 1 kB\nSwapCached: 9 kB\nCached: 2 kB\n",
        );
        write("sys/devices/system/cpu/present", "0-3\n");
        write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "1");
        write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "5");
        write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3");
        let info = memory_info(dir.path());
        assert_eq!(
            (info.total, info.free, info.cached, info.available),
            (102_400, 40_960, 2048, 0)
        );
        let cells = numa_cells(dir.path());
        assert_eq!(
            (cells.len(), cells[0].total, &cells[0].cpus[..]),
            (1, 102_400, &[0, 1, 2, 3][..])
        );
        assert_eq!(cells[0].huge_pages[0], HugePages { size: 2 << 20, total: 5, free: 3 });

        write("sys/devices/system/node/online", "0,2\n");
        write(
            "sys/devices/system/node/node2/meminfo",
            "Node 2 MemTotal:  7 kB\nNode 2 MemFree: 3 kB\n",
        );
        write("sys/devices/system/node/node2/cpulist", "2-3\n");
        write("sys/devices/system/node/node2/distance", "20 10\n");
        let cells = numa_cells(dir.path());
        assert_eq!(cells.len(), 2);
        assert_eq!((cells[1].id, cells[1].total, cells[1].free), (2, 7168, 3072));
        assert_eq!(
            (&cells[1].cpus[..], &cells[1].distances[..]),
            (&[2, 3][..], &[(0, 20), (2, 10)][..])
        );
    }

    #[test]
    fn this_machine() {
        assert!(memory_info(Path::new("/")).total > 0);
        assert!(!numa_cells(Path::new("/")).is_empty());
    }
}
