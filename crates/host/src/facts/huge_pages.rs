//! Huge pages: where they can be had as files, and how many there are.

use super::memory::field;
use super::{number, text};
use crate::mounts;
use std::io;
use std::path::{Path, PathBuf};

/// The type of a file system of huge pages, as `statfs` tells it.
const HUGETLBFS: u32 = 0x9584_58f6;

/// The size in KiB of the pages of the file system at `mount`, where that is one of huge pages.
pub fn huge_page_size(mount: &Path) -> Option<u64> {
    let told = rustix::fs::statfs(mount).ok()?;
    // The kernel's word is wider on some architectures than on others.
    if told.f_type as u32 != HUGETLBFS {
        return None;
    }
    u64::try_from(told.f_bsize).ok().map(|bytes| bytes / 1024)
}

/// The mount points of file systems of huge pages, in the order of their mounting.
pub fn huge_page_mounts() -> Vec<PathBuf> {
    text("/proc/self/mounts").map(|mounts| mount_points(&mounts)).unwrap_or_default()
}

fn mount_points(mounts: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for mount in mounts::entries(mounts).filter(|mount| mount.kind == "hugetlbfs") {
        if !found.contains(&mount.point) {
            found.push(mount.point);
        }
    }
    found
}

/// The size in KiB of the huge pages that are meant where none is named.
pub fn default_huge_page_size() -> Option<u64> {
    field(&text("/proc/meminfo")?, "Hugepagesize:").map(|bytes| bytes / 1024)
}

/// A pool of huge pages: those of one size, of the host or of one of its NUMA nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HugePagePool {
    file: PathBuf,
}

impl HugePagePool {
    /// The pool of pages of `size` KiB of a node, or (`None`) of the whole host; nothing where there
    /// is none.
    pub fn find(root: &Path, node: Option<u32>, size: u64) -> Option<Self> {
        let base = match node {
            Some(node) => root.join(format!("sys/devices/system/node/node{node}/hugepages")),
            None => root.join("sys/kernel/mm/hugepages"),
        };
        let file = base.join(format!("hugepages-{size}kB/nr_hugepages"));
        file.exists().then_some(Self { file })
    }

    /// How many pages are in it.
    pub fn pages(&self) -> u64 {
        number(&self.file).unwrap_or(0)
    }

    /// Asks the kernel for a number of pages; it gives what it can.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn resize(&self, pages: u64) -> io::Result<()> {
        std::fs::write(&self.file, pages.to_string())
    }

    /// The kernel's file of it.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_huge_pages_are_found_among_others() {
        let mounts = "proc /proc proc rw 0 0\n\
                      hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n\
                      none /mnt/big\\040pages hugetlbfs rw 0 0\n\
                      hugetlbfs /dev/hugepages hugetlbfs rw 0 0\n\
                      hugetlbfs /tmp tmpfs rw 0 0\nbroken\n";
        let found = [PathBuf::from("/dev/hugepages"), PathBuf::from("/mnt/big pages")];
        assert_eq!(mount_points(mounts), found);
    }

    #[test]
    fn other_file_systems_have_no_huge_pages() {
        assert_eq!(huge_page_size(Path::new("/proc")), None);
        assert_eq!(huge_page_size(Path::new("/nonexistent")), None);
    }

    #[test]
    fn pools_are_of_the_host_and_of_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("sys/devices/system/node/node1/hugepages/hugepages-2048kB");
        std::fs::create_dir_all(&base).unwrap();
        std::fs::write(base.join("nr_hugepages"), "3\n").unwrap();
        assert_eq!(HugePagePool::find(dir.path(), None, 2048), None);
        assert_eq!(HugePagePool::find(dir.path(), Some(1), 4), None);
        let pool = HugePagePool::find(dir.path(), Some(1), 2048).unwrap();
        assert_eq!(pool.pages(), 3);
        pool.resize(5).unwrap();
        assert_eq!(pool.pages(), 5);
    }
}
