//! Processors: which there are, where they sit, what they can do, what they did.

use std::path::Path;

use host_sys::{CpuidLeaf, cpuid};

use super::{number, text};

/// Where a processor sits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuPlace {
    /// The kernel's number.
    pub id: u32,
    /// Whether it runs. The places of one that does not are unknown (0).
    pub online: bool,
    /// Socket.
    pub socket: u32,
    /// Die in the socket.
    pub die: u32,
    /// Cluster in the die; 0 where the kernel does not say.
    pub cluster: u32,
    /// Core in the die.
    pub core: u32,
    /// All processors of the same core, itself included, ascending.
    pub siblings: Vec<u32>,
}

/// Processor time since boot, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The kernel's names.
pub struct CpuTimes {
    pub user: u64,
    pub nice: u64,
    pub system: u64,
    pub idle: u64,
    pub iowait: u64,
    pub irq: u64,
    pub softirq: u64,
}

/// Who made the processor, and which it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuIdentity {
    /// CPUID's vendor text: `GenuineIntel`, `AuthenticAMD`, …
    pub vendor: String,
    /// Family, with the extended part added.
    pub family: u32,
    /// Model, with the extended part added.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// CPUID's long name; empty if there is none.
    pub name: String,
    /// CPUID leaf 1 EAX, which the three numbers come from.
    pub signature: u32,
}

/// Parses the kernel's lists, `0-3,8`. Returns `None` for anything else, or more than 65,536 entries.
pub fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut list = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last - first >= 65_536 {
            return None;
        }
        list.extend(first..=last);
        if list.len() > 65_536 {
            return None;
        }
    }
    Some(list)
}

/// Writes ascending numbers as the kernel does: `0-3,8`.
pub fn format_cpu_list(list: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &n in list {
        match parts.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(n) => *last = n,
            _ => parts.push((n, n)),
        }
    }
    let part = |(a, b): (u32, u32)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    parts.into_iter().map(part).collect::<Vec<_>>().join(",")
}

/// The processors of a kind: `present`, `online`, `possible`.
pub fn cpu_list(root: &Path, kind: &str) -> Option<Vec<u32>> {
    parse_cpu_list(&text(root.join("sys/devices/system/cpu").join(kind))?)
}

/// All present processors with their places, ascending.
pub fn cpu_places(root: &Path) -> Vec<CpuPlace> {
    let base = root.join("sys/devices/system/cpu");
    let present = cpu_list(root, "present").unwrap_or_default();
    let online = cpu_list(root, "online").unwrap_or_else(|| present.clone());
    let place = |id: u32| {
        let folder = base.join(format!("cpu{id}/topology"));
        // -1 (unknown) does not parse as u32 and becomes 0, as libvirt shows it.
        let get = |name: &str| number(folder.join(name)).unwrap_or(0);
        let siblings = text(folder.join("thread_siblings_list")).and_then(|t| parse_cpu_list(&t));
        CpuPlace {
            id,
            online: online.contains(&id),
            socket: get("physical_package_id"),
            die: get("die_id"),
            cluster: get("cluster_id"),
            core: get("core_id"),
            siblings: siblings.unwrap_or_else(|| vec![id]),
        }
    };
    present.into_iter().map(place).collect()
}

/// Processor time: the sum of all first (`None`), then each online processor.
pub fn cpu_times(root: &Path) -> Vec<(Option<u32>, CpuTimes)> {
    let nanos = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let stat = text(root.join("proc/stat")).unwrap_or_default();
    let line = |line: &str| {
        let rest = line.strip_prefix("cpu")?;
        let mut fields = rest.split(' ');
        let id = match fields.next()? {
            "" => None,
            number => Some(number.parse().ok()?),
        };
        let mut next = fields
            .filter(|f| !f.is_empty())
            .map(|f| f.parse::<u64>().unwrap_or(0).saturating_mul(nanos));
        let mut take = || next.next().unwrap_or(0);
        let times = CpuTimes {
            user: take(),
            nice: take(),
            system: take(),
            idle: take(),
            iowait: take(),
            irq: take(),
            softirq: take(),
        };
        Some((id, times))
    };
    stat.lines().filter_map(line).collect()
}

/// The clock of the first processor in MHz, 0 if unknown.
pub fn cpu_clock_mhz(root: &Path) -> u32 {
    let info = text(root.join("proc/cpuinfo")).unwrap_or_default();
    let mhz = info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "cpu MHz").then(|| value.trim().parse::<f64>().ok())?
    });
    mhz.map_or(0, |mhz| mhz as u32)
}

/// Microcode revision of the first processor.
pub fn microcode(root: &Path) -> Option<u32> {
    let text = cpu_info(root, "microcode")?;
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Physical address bits of the first processor.
pub fn physical_address_bits(root: &Path) -> Option<u32> {
    cpu_info(root, "address sizes")?.split_once(" bits physical")?.0.trim().parse().ok()
}

/// The first value of a key of `/proc/cpuinfo`.
fn cpu_info(root: &Path, key: &str) -> Option<String> {
    let info = text(root.join("proc/cpuinfo"))?;
    info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

/// The processor we run on; `None` on other architectures than x86.
pub fn cpu_identity() -> Option<CpuIdentity> {
    let zero = cpuid(0, 0)?;
    let one = cpuid(1, 0)?;
    let words = |leaf: CpuidLeaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx];
    let mut name = String::new();
    for leaf in 0x8000_0002..=0x8000_0004 {
        let Some(leaf) = cpuid(leaf, 0) else { break };
        name.push_str(&ascii(&words(leaf)));
    }
    let (family, model, stepping) = signature_parts(one.eax);
    Some(CpuIdentity {
        vendor: ascii(&[zero.ebx, zero.edx, zero.ecx]),
        family,
        model,
        stepping,
        name: name.trim().to_owned(),
        signature: one.eax,
    })
}

fn ascii(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|w| w.to_le_bytes()).take_while(|&b| b != 0);
    bytes.filter(|b| b.is_ascii() && !b.is_ascii_control()).map(char::from).collect()
}

/// Family, model and stepping of CPUID leaf 1 EAX.
fn signature_parts(eax: u32) -> (u32, u32, u32) {
    let base = (eax >> 8) & 0xf;
    let family = if base == 0xf { base + ((eax >> 20) & 0xff) } else { base };
    let low = (eax >> 4) & 0xf;
    let model = if base == 0xf || base == 6 { low + (((eax >> 16) & 0xf) << 4) } else { low };
    (family, model, eax & 0xf)
}

/// The CPUID words that name features: (leaf, subleaf, registers), for those the processor knows.
/// Empty on other architectures than x86.
pub fn cpuid_words() -> Vec<(u32, u32, CpuidLeaf)> {
    const WORDS: [(u32, u32); 24] = [
        (0x0000_0000, 0),
        (0x0000_0001, 0),
        (0x0000_0005, 0),
        (0x0000_0006, 0),
        (0x0000_0007, 0),
        (0x0000_0007, 1),
        (0x0000_0007, 2),
        (0x0000_000d, 0),
        (0x0000_000d, 1),
        (0x0000_000f, 1),
        (0x0000_0012, 0),
        (0x0000_0012, 1),
        (0x0000_0014, 0),
        (0x0000_0019, 0),
        (0x0000_001c, 0),
        (0x0000_0024, 0),
        (0x8000_0001, 0),
        (0x8000_0007, 0),
        (0x8000_0008, 0),
        (0x8000_000a, 0),
        (0x8000_001f, 0),
        (0x8000_0021, 0),
        (0x8000_0022, 0),
        (0xc000_0001, 0),
    ];
    let read =
        |&(leaf, subleaf): &(u32, u32)| cpuid(leaf, subleaf).map(|words| (leaf, subleaf, words));
    WORDS.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |text: &str, expected: Option<&[u32]>| {
            assert_eq!(parse_cpu_list(text).as_deref(), expected, "{text}")
        };
        check("0-3,8\n", Some(&[0, 1, 2, 3, 8]));
        check("", Some(&[]));
        check("5", Some(&[5]));
        check("3-1", None);
        check("0-4294967295", None);
        check("a", None);
        assert_eq!(format_cpu_list(&[0, 1, 2, 3, 8]), "0-3,8");
        assert_eq!(format_cpu_list(&[]), "");
        assert_eq!(format_cpu_list(&[u32::MAX]), "4294967295");
    }

    #[test]
    fn signatures() {
        assert_eq!(signature_parts(0x0080_0f12), (23, 1, 2), "EPYC");
        assert_eq!(signature_parts(0x0005_0654), (6, 85, 4), "Skylake server");
        assert_eq!(signature_parts(0x0000_0543), (5, 4, 3));
    }

    #[test]
    fn a_machine_made_up() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("sys/devices/system/cpu/present", "0-1\n");
        write("sys/devices/system/cpu/online", "0\n");
        write("sys/devices/system/cpu/cpu0/topology/physical_package_id", "3\n");
        write("sys/devices/system/cpu/cpu0/topology/die_id", "-1\n");
        write("sys/devices/system/cpu/cpu0/topology/core_id", "7\n");
        write("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n");
        write("proc/stat", "cpu  1 2 3 4 5 6 7 0 0 0\ncpu0 1 2 3 4\nintr 5\n");
        write("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2445.436\n");
        let places = cpu_places(dir.path());
        assert_eq!(
            places[0],
            CpuPlace {
                id: 0,
                online: true,
                socket: 3,
                die: 0,
                cluster: 0,
                core: 7,
                siblings: vec![0, 1]
            }
        );
        assert_eq!((places[1].online, &places[1].siblings[..]), (false, &[1][..]));
        let times = cpu_times(dir.path());
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!((times.len(), times[0].0, times[0].1.softirq), (2, None, 7 * tick));
        assert_eq!((times[1].0, times[1].1.idle, times[1].1.irq), (Some(0), 4 * tick, 0));
        assert_eq!(cpu_clock_mhz(dir.path()), 2445);
    }

    #[test]
    fn this_machine() {
        assert!(!cpu_places(Path::new("/")).is_empty());
        #[cfg(target_arch = "x86_64")]
        {
            assert!(cpu_identity().unwrap().vendor.len() == 12);
            assert!(cpuid_words().iter().any(|w| w.0 == 1 && w.2.edx != 0));
        }
    }
}
