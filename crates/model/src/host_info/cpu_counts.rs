//! How many processors a host has, and how they are arranged, as libvirt counts them.

use std::collections::{BTreeMap, BTreeSet};

/// A processor's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    package: i64,
    core: i64,
    /// Threads of its core, itself included.
    siblings: usize,
}

/// What `/sys/devices/system` shows of processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTree {
    present: BTreeSet<u32>,
    online: BTreeSet<u32>,
    places: BTreeMap<u32, Place>,
    /// Processors of each node of memory.
    nodes: Vec<Vec<u32>>,
}

/// More processors than this are not believed.
const MAX_CPUS: u32 = 65_536;

/// A processor's number in a name such as `cpu7`.
fn number(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|n| *n < MAX_CPUS)
}

/// A list of the kernel, `0-3,8`; what is no number is read over.
fn list(text: &str) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            all.extend(first..=last.min(MAX_CPUS));
        }
    }
    all
}

/// How many bits are set in a mask of the kernel, `00000000,0000000f`.
fn bits(mask: &str) -> usize {
    mask.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit.count_ones() as usize).sum()
}

impl CpuTree {
    /// Reads the tree. `entries` lists a folder, `text` reads a file; both by their path below
    /// `/sys/devices/system`, nothing where there is none.
    pub fn read(
        entries: impl Fn(&str) -> Vec<String>,
        text: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut tree = Self::default();
        let found: BTreeSet<u32> =
            entries("cpu").iter().filter_map(|name| number(name, "cpu")).collect();
        tree.present = match text("cpu/present") {
            Some(present) => list(&present),
            None => found.clone(),
        };
        let online = text("cpu/online").map(|online| list(&online));
        for cpu in found {
            let runs = match &online {
                Some(online) => online.contains(&cpu),
                None => text(&format!("cpu/cpu{cpu}/online")).is_none_or(|t| t.trim() != "0"),
            };
            if runs {
                tree.online.insert(cpu);
            }
            let file = |name: &str| text(&format!("cpu/cpu{cpu}/topology/{name}"));
            // Where the kernel does not know, it says -1 or nothing.
            let id = |name: &str| {
                let value = file(name).and_then(|text| text.trim().parse::<i64>().ok());
                value.filter(|value| *value >= 0).unwrap_or(0)
            };
            let siblings = match (file("thread_siblings_list"), file("thread_siblings")) {
                (Some(siblings), _) => list(&siblings).len(),
                (None, Some(mask)) => bits(&mask),
                (None, None) => 1,
            };
            let place = Place {
                package: id("physical_package_id"),
                core: id("core_id"),
                siblings: siblings.max(1),
            };
            tree.places.insert(cpu, place);
        }
        let mut nodes: Vec<u32> =
            entries("node").iter().filter_map(|name| number(name, "node")).collect();
        nodes.sort_unstable();
        for node in nodes {
            let folder = entries(&format!("node/node{node}"));
            let mut cpus: Vec<u32> = folder.iter().filter_map(|name| number(name, "cpu")).collect();
            cpus.sort_unstable();
            tree.nodes.push(cpus);
        }
        tree
    }
}

/// Numbers of processors (`virNodeInfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCounts {
    /// Processors that run.
    pub cpus: u32,
    /// Processors there are.
    pub present: u32,
    /// Nodes of memory that have processors; 1 where the others do not multiply to the whole.
    pub nodes: u32,
    /// Sockets a node.
    pub sockets: u32,
    /// Cores a socket.
    pub cores: u32,
    /// Threads a core.
    pub threads: u32,
}

/// Counts of one node.
#[derive(Default)]
struct Node {
    cpus: usize,
    offline: usize,
    sockets: usize,
    cores: usize,
    threads: usize,
}

/// Counts the processors of a host of this architecture. `threads_per_subcore` is what KVM says on
/// POWER, where threads of a core that runs count although the kernel does not run them; 0 elsewhere.
pub fn cpu_counts(arch: &str, tree: &CpuTree, threads_per_subcore: u32) -> CpuCounts {
    // There a processor counts as a core, whatever the kernel says.
    let each_a_core = matches!(arch, "s390" | "s390x");
    // Only while every thread but the first of each subcore is off.
    let whole = threads_per_subcore != 0
        && tree.online.iter().all(|cpu| cpu.is_multiple_of(threads_per_subcore));
    let subcore = if whole { threads_per_subcore } else { 0 };
    let mut nodes: Vec<Node> =
        tree.nodes.iter().map(|cpus| count(tree, cpus, subcore, each_a_core)).collect();
    nodes.retain(|node| node.cpus + node.offline > 0);
    if nodes.is_empty() {
        let all: Vec<u32> = tree.places.keys().copied().collect();
        nodes.push(count(tree, &all, subcore, each_a_core));
    }
    let greatest = |part: fn(&Node) -> usize| nodes.iter().map(part).max().unwrap_or(0);
    let sum = |part: fn(&Node) -> usize| nodes.iter().map(part).sum::<usize>();
    let (cpus, offline) = (sum(|node| node.cpus), sum(|node| node.offline));
    let (sockets, cores, threads) =
        (greatest(|node| node.sockets), greatest(|node| node.cores), greatest(|node| node.threads));
    let product = [nodes.len(), sockets, cores, threads]
        .into_iter()
        .try_fold(1usize, |product, factor| product.checked_mul(factor));
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let counts = CpuCounts {
        cpus: narrow(cpus),
        present: narrow(tree.present.len()),
        nodes: narrow(nodes.len()),
        sockets: narrow(sockets),
        cores: narrow(cores),
        threads: narrow(threads),
    };
    if product == Some(cpus + offline) {
        return counts;
    }
    // An arrangement that four numbers cannot tell.
    CpuCounts { nodes: 1, sockets: 1, cores: narrow(cpus + offline), threads: 1, ..counts }
}

fn count(tree: &CpuTree, cpus: &[u32], subcore: u32, each_a_core: bool) -> Node {
    let mut node = Node::default();
    let mut cores: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for cpu in cpus.iter().filter(|cpu| tree.present.contains(cpu)) {
        let first = cpu.checked_rem(subcore).map_or(*cpu, |thread| cpu - thread);
        if !tree.online.contains(&first) {
            node.offline += 1;
            continue;
        }
        node.cpus += 1;
        if first != *cpu {
            continue;
        }
        let place = tree.places.get(cpu).copied().unwrap_or_default();
        let core = if each_a_core { i64::from(*cpu) } else { place.core };
        cores.entry(place.package).or_default().insert(core);
        let siblings = if subcore == 0 { place.siblings } else { subcore as usize };
        node.threads = node.threads.max(siblings);
    }
    node.sockets = cores.len();
    node.cores = cores.values().map(BTreeSet::len).max().unwrap_or(0);
    node
}

/// The speed of the processors in MHz, from `/proc/cpuinfo`; 0 where it does not say.
pub fn cpu_mhz(arch: &str, cpuinfo: &str) -> u32 {
    let key = match arch {
        "i686" | "x86_64" => "cpu MHz",
        "ppc" | "ppc64" | "ppc64le" | "ppcle" => "clock",
        "s390" | "s390x" => "cpu MHz dynamic",
        _ => return 0,
    };
    let mut mhz = 0;
    for line in cpuinfo.lines() {
        let value = line.strip_prefix(key).map(str::trim_start);
        let Some(value) = value.and_then(|rest| rest.strip_prefix(':')) else { continue };
        let value = value.trim();
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        if let Some(Ok(number)) = value.get(..end).map(str::parse) {
            mhz = number;
        }
    }
    mhz
}
