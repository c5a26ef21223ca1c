//! Processor caches, as sysfs shows them.

use std::path::Path;

use super::cpu::{cpu_list, format_cpu_list, parse_cpu_list};

/// Caches below this level belong to one core and are of no interest to placement.
const LOWEST_LEVEL: u32 = 2;

/// A processor cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cache {
    /// Level.
    pub level: u32,
    /// `both`, `code` or `data`.
    pub kind: &'static str,
    /// Id, unique among those of its level and kind.
    pub id: u32,
    /// Size in bytes.
    pub size: u64,
    /// CPUs that share it, as a list.
    pub cpus: String,
}

/// The caches that processors share, by level, kind and id.
pub fn caches(root: &Path) -> Vec<Cache> {
    let mut found = Vec::new();
    for cpu in cpu_list(root, "online").unwrap_or_default() {
        let folder = root.join(format!("sys/devices/system/cpu/cpu{cpu}/cache"));
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let indexes = entries.flatten().filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with("index"))
        });
        found.extend(indexes.filter_map(|entry| cache(&entry.path())));
    }
    found.sort();
    found.dedup();
    found
}

fn cache(folder: &Path) -> Option<Cache> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u32>().ok();
    let level = number("level").filter(|level| *level >= LOWEST_LEVEL)?;
    let kind = match read("type")?.trim() {
        "Unified" => "both",
        "Instruction" => "code",
        "Data" => "data",
        _ => return None,
    };
    let cpus = parse_cpu_list(&read("shared_cpu_list")?)?;
    Some(Cache {
        level,
        kind,
        id: number("id")?,
        size: size(read("size")?.trim())?,
        cpus: format_cpu_list(&cpus),
    })
}

/// `32768K` in bytes.
fn size(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("32768K", Some(32 << 20)),
            ("2M", Some(2 << 20)),
            ("512", Some(512)),
            ("K", None),
            ("99999999999999999999K", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn caches_of_two_cores() {
        let root = tempfile::tempdir().expect("a folder");
        let base = root.path().join("sys/devices/system/cpu");
        std::fs::create_dir_all(&base).expect("made");
        std::fs::write(base.join("online"), "0-1\n").expect("written");
        for (cpu, index, level, kind, id, size, shared) in [
            (0, 0, 1, "Data", 0, "32K", "0"),
            (0, 2, 2, "Unified", 0, "1024K", "0"),
            (0, 3, 3, "Unified", 0, "32768K", "0-1"),
            (1, 2, 2, "Unified", 1, "1024K", "1"),
            (1, 3, 3, "Unified", 0, "32768K", "0-1"),
        ] {
            let folder = base.join(format!("cpu{cpu}/cache/index{index}"));
            std::fs::create_dir_all(&folder).expect("made");
            for (name, text) in [
                ("level", level.to_string()),
                ("type", kind.to_string()),
                ("id", id.to_string()),
                ("size", size.to_string()),
                ("shared_cpu_list", shared.to_string()),
            ] {
                std::fs::write(folder.join(name), text).expect("written");
            }
        }
        let found: Vec<_> = caches(root.path())
            .into_iter()
            .map(|cache| (cache.level, cache.id, cache.size >> 20, cache.cpus))
            .collect();
        let expected = [(2, 0, 1, "0"), (2, 1, 1, "1"), (3, 0, 32, "0-1")]
            .map(|(l, i, s, c)| (l, i, s, c.to_string()));
        assert_eq!(found, expected);
    }
}
