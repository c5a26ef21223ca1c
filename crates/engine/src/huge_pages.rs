//! Huge pages: the mounts that guests' memory comes from, and the pools' sizes.

use crate::engine::Engine;
use crate::host_view::no_cell;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::facts::{self, HugePagePool};
use model::domain::Domain as Definition;
use model::domain::devices::memory::MemoryDevice;
use plan::qemu::Settings;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Folder below which the kernel's files are.
const ROOT: &str = "/";

/// Whether a guest's memory, or that of one of its devices, is asked for in pages of a size.
fn wants_huge_pages(definition: &Definition) -> bool {
    let backing = definition.memory_backing.as_ref();
    let devices = definition.devices.iter().flat_map(|devices| &devices.memories);
    backing.is_some_and(|backing| backing.hugepages.is_some()) || devices.into_iter().any(has_pages)
}

/// Whether a memory device names a size of pages.
fn has_pages(device: &MemoryDevice) -> bool {
    device.source.as_ref().is_some_and(|source| source.page_size.is_some())
}

/// The mounts that guests may use, each with the size of its pages in KiB, that of the usual size
/// first. They are looked for anew for every guest that wants some: administrators mount them when
/// they find that they need them.
fn mounts(configured: Option<&[String]>) -> Vec<(String, u64)> {
    let paths = match configured {
        Some(paths) => paths.iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        None => facts::huge_page_mounts(),
    };
    let with_size = |path: PathBuf| {
        let size = facts::huge_page_size(&path);
        if size.is_none() && configured.is_some() {
            tracing::warn!(path = %path.display(), "hugetlbfs_mount: there are no huge pages");
        }
        let size = size?;
        Some((path.into_os_string().into_string().ok()?, size))
    };
    let mut mounts: Vec<_> = paths.into_iter().filter_map(with_size).collect();
    let usual = facts::default_huge_page_size();
    mounts.sort_by_key(|(_, size)| Some(*size) != usual);
    mounts
}

impl Engine {
    /// Completes the settings for a guest, or for a device that comes to it, with the mounts of huge
    /// pages where it wants some.
    pub(crate) fn with_huge_pages<'a>(
        &self,
        mut settings: Cow<'a, Settings>,
        definition: &Definition,
    ) -> Cow<'a, Settings> {
        if wants_huge_pages(definition) {
            settings.to_mut().hugetlbfs = self.huge_page_mounts();
        }
        settings
    }

    /// The mounts of huge pages that guests may use now, with their page size in KiB.
    pub(crate) fn huge_page_mounts(&self) -> Vec<(String, u64)> {
        mounts(self.settings.huge_page_mounts.as_deref())
    }

    /// Makes pools of huge pages larger or smaller: `wanted` are sizes in KiB with a count, for nodes
    /// from `start` on (-1: of the whole host), at most `cells` of them. Returns how many pools are
    /// now as wanted.
    ///
    /// # Errors
    /// libvirt's: no such node or size, or fewer pages than wanted. What the kernel gave until then
    /// stays given.
    pub fn allocate_pages(
        &self,
        wanted: &[(u32, u64)],
        start: i32,
        cells: u32,
        add: bool,
    ) -> Result<u32, VirError> {
        let known = facts::numa_cells(Path::new(ROOT));
        let last = i32::try_from(known.len()).unwrap_or(0) - 1;
        if start > last {
            return Err(no_cell(start, last));
        }
        let count = i32::try_from(cells).unwrap_or(i32::MAX);
        let end = start.saturating_add(count).saturating_sub(1).min(last);
        let mut done = 0;
        if wanted.is_empty() {
            return Ok(done);
        }
        for cell in start..=end {
            for (size, pages) in wanted {
                resize(cell, u64::from(*size), *pages, add)?;
                done += 1;
            }
        }
        Ok(done)
    }
}

fn resize(cell: i32, size: u64, pages: u64, add: bool) -> Result<(), VirError> {
    let base = u64::try_from(rustix::param::page_size()).unwrap_or(4096) / 1024;
    if size == base {
        return Err(VirError::new(
            ErrorCode::OPERATION_UNSUPPORTED,
            "system pages pool can't be modified",
        )
        .from_domain(ErrorDomain::NONE));
    }
    let (node, place) = match cell {
        -1 => (None, String::new()),
        _ => {
            let node = u32::try_from(cell).map_err(|_| {
                VirError::failed(format!("NUMA node {cell} is not available"))
                    .from_domain(ErrorDomain::NONE)
            })?;
            (Some(node), format!(" on node {node}"))
        }
    };
    let pool = HugePagePool::find(Path::new(ROOT), node, size).ok_or_else(|| {
        VirError::failed(format!("page size {size} is not available{place}"))
            .from_domain(ErrorDomain::NONE)
    })?;
    let before = pool.pages();
    let wanted = if add { before.saturating_add(pages) } else { pages };
    pool.resize(wanted).map_err(|error| {
        let text = format!("Unable to write to: {}: {error}", pool.file().display());
        VirError::new(ErrorCode::SYSTEM_ERROR, text).from_domain(ErrorDomain::NONE)
    })?;
    let there = pool.pages();
    if there == wanted {
        return Ok(());
    }
    Err(VirError::failed(format!("Unable to allocate {wanted} pages. Allocated only {there}"))
        .from_domain(ErrorDomain::NONE))
}
