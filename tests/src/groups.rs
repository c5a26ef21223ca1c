//! Control groups of guests as the kernel shows them; version 1 only where values are read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use roxmltree::Node;

/// The file of a guest's group in a hierarchy; `part` is empty for the guest as a whole.
pub fn file(pid: i32, controller: &str, part: &str, name: &str) -> Option<PathBuf> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = own.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        let end = path.find(".libvirt-qemu")? + ".libvirt-qemu".len();
        path.get(..end)
    })?;
    Some(PathBuf::from(format!("/sys/fs/cgroup/{controller}{group}{part}/{name}")))
}

/// What is in it, without its line end; `None` where this host has no such file.
pub fn read(pid: i32, controller: &str, part: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file(pid, controller, part, name)?).ok()?;
    Some(text.trim_end().to_owned())
}

/// What the names of the groups hold that a daemon with this root makes (FNV-1a of its path).
pub fn mark(root: &Path) -> String {
    let bytes = root.as_os_str().as_bytes().iter();
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!(".{hash:016x}.")
}

/// The folders of the groups of a root's guests, in all hierarchies.
pub fn of(root: &Path) -> Vec<PathBuf> {
    let (mark, top) = (mark(root), Path::new("/sys/fs/cgroup"));
    let mounts = folders(top).into_iter().map(|mount| mount.join("machine"));
    let groups = mounts.chain([top.join("machine")]).flat_map(|machine| folders(&machine));
    let groups = groups.filter(|group| group.to_string_lossy().contains(&mark));
    groups.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The same by the guests' numbers and names, `1-name`.
pub fn guests(root: &Path) -> BTreeSet<String> {
    let mark = mark(root);
    let name = |group: &PathBuf| {
        let name = group.file_name()?.to_str()?.strip_prefix("qemu-")?;
        Some(name.split_once(&mark)?.0.to_owned())
    };
    of(root).iter().filter_map(name).collect()
}

/// Removes what is left of a root's guests.
pub fn remove(root: &Path) {
    for group in of(root) {
        for part in folders(&group) {
            let _ = fs::remove_dir(part);
        }
        let _ = fs::remove_dir(group);
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// A disk of this host that limits can be set for.
pub fn block_device() -> Option<PathBuf> {
    let names = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let real = names.filter(|name| name.path().join("device").exists());
    let mut paths: Vec<_> = real.map(|name| Path::new("/dev").join(name.file_name())).collect();
    paths.sort();
    let is_block =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.file_type().is_block_device());
    paths.into_iter().find(is_block)
}

/// What the XML of a running guest says of its limits, and the kernel does not hold.
pub fn disagreements(pid: i32, domain: Node<'_, '_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let told = |path: &[&str]| -> Option<String> {
        let node = path
            .iter()
            .try_fold(domain, |node, name| node.children().find(|child| child.has_tag_name(*name)));
        node.and_then(|node| node.text()).map(str::to_owned)
    };
    let mut check = |controller: &str, part: &str, file: &str, expected: Option<String>| {
        let (Some(held), Some(expected)) = (read(pid, controller, part, file), expected) else {
            return;
        };
        if held != expected {
            wrong.push(format!("{controller}{part} {file}: {held}, told {expected}"));
        }
    };
    let none = "9223372036854771712".to_owned();
    let bytes = |kib: String| kib.parse::<u64>().map(|kib| (kib * 1024).to_string()).ok();
    for (element, file) in [
        ("hard_limit", "memory.limit_in_bytes"),
        ("soft_limit", "memory.soft_limit_in_bytes"),
        ("swap_hard_limit", "memory.memsw.limit_in_bytes"),
    ] {
        let value = told(&["memtune", element]).and_then(bytes);
        check("memory", "", file, value.or(Some(none.clone())));
    }
    let shares = told(&["cputune", "shares"]);
    check("cpu", "", "cpu.shares", shares.or(Some("1024".to_owned())));
    // A limit that is lifted may be told as a number below 0.
    let limit = |name: &str| {
        told(&["cputune", name]).map(|text| match text.starts_with('-') {
            true => "-1".to_owned(),
            false => text,
        })
    };
    let (period, quota) = (|| Some("100000".to_owned()), || Some("-1".to_owned()));
    for (part, prefix) in [("", "global_"), ("/emulator", "emulator_"), ("/vcpu0", "")] {
        let period = limit(&format!("{prefix}period")).or_else(period);
        check("cpu", part, "cpu.cfs_period_us", period);
        let quota = limit(&format!("{prefix}quota")).or_else(quota);
        check("cpu", part, "cpu.cfs_quota_us", quota);
    }
    // Threads without groups of their own have no limit.
    let there = |part: &str| file(pid, "cpu", part, "tasks").is_some_and(|file| file.exists());
    let missing = !there("/vcpu0") && limit("quota").is_some_and(|quota| quota != "-1");
    let missing = missing && there("");
    let weight = told(&["blkiotune", "weight"]);
    check("blkio", "", "blkio.bfq.weight", weight.or(Some("100".to_owned())));
    for device in domain.descendants().filter(|node| node.has_tag_name("device")) {
        let text = |name: &str| {
            device.children().find(|child| child.has_tag_name(name)).and_then(|node| node.text())
        };
        let (Some(path), Some(value)) = (text("path"), text("read_iops_sec")) else { continue };
        let number = fs::metadata(path).map_or(0, |file| file.rdev());
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let expected = Some(format!("{major}:{minor} {value}"));
        check("blkio", "", "blkio.throttle.read_iops_device", expected);
    }
    if !domain.descendants().any(|node| node.has_tag_name("read_iops_sec")) {
        check("blkio", "", "blkio.throttle.read_iops_device", Some(String::new()));
    }
    if missing {
        wrong.push("processors have a quota and no groups".to_owned());
    }
    wrong
}
