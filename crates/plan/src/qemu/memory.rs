//! Memory: size, backends, NUMA cells, CPUs' topology.

use super::build::{Build, Props, Switch};
use super::memory_device::guest_size;
use super::words::YesNo;
use model::domain::Domain;
use model::domain::devices::memballoon::BalloonModel;
use model::domain::devices::memory::MemoryDevice;
use model::domain::memory::{AllocationMode, MemoryAccess, MemorySourceType};
use model::domain::tune::{NumaMode, VcpuEntry, VcpuPlacement};

/// The folder of one guest, by its id and short name, on a mount of huge pages.
pub fn huge_page_folder(mount: &str, short_name: &str) -> String {
    format!("{mount}/libvirt/qemu/{short_name}")
}

pub(super) fn is_power(arch: &str) -> bool {
    matches!(arch, "ppc64" | "ppc64le")
}

fn aligned(kib: u64, is_power: bool) -> u64 {
    let unit = if is_power { 256 << 10 } else { 1024 };
    kib.div_ceil(unit).saturating_mul(unit)
}

/// Says in the definition of a guest that is started what it really gets: whole units of memory, and
/// all of it where no balloon takes any away.
pub(super) fn settle_sizes(live: &mut Domain, arch: &str) {
    let power = is_power(arch);
    let Some(memory) = live.memory.as_mut() else { return };
    let before = memory.size;
    let devices = live.devices.as_mut();
    let mut has_balloon = false;
    let (mut told, mut given) = (0_u64, 0_u64);
    if let Some(devices) = devices {
        has_balloon = devices.memballoons.iter().any(|b| b.model != BalloonModel::None);
        for device in &mut devices.memories {
            told = told.saturating_add(device.target.size.0);
            device.target.size.0 = guest_size(device, power);
            given = given.saturating_add(device.target.size.0);
        }
    }
    let mut cells = 0_u64;
    for cell in
        live.cpu.iter_mut().filter_map(|cpu| cpu.numa.as_mut()).flat_map(|numa| &mut numa.cells)
    {
        cell.memory = aligned(cell.memory, power);
        cells = cells.saturating_add(cell.memory);
    }
    let initial = if cells > 0 { cells } else { aligned(before.0.saturating_sub(told), power) };
    memory.size.0 = initial.saturating_add(given);
    if !has_balloon || live.current_memory == Some(before) {
        live.current_memory = Some(memory.size);
    }
}

impl Build<'_> {
    /// Refuses huge pages of `size` KiB (0: of any size) that no mounted hugetlbfs has.
    fn no_huge_pages(&mut self, size: u64) {
        let rule = "qemu.hugepages";
        if self.set.hugetlbfs.is_empty() {
            let text = "hugetlbfs filesystem is not mounted or disabled by administrator config";
            self.fail_with(rule, diag::ErrorCode::INTERNAL_ERROR, text);
        } else {
            let text = format!("Unable to find any usable hugetlbfs mount for {size} KiB");
            self.fail_with(rule, diag::ErrorCode::INTERNAL_ERROR, text);
        }
    }

    /// Memory in KiB without what memory devices add, in whole units of the architecture.
    fn initial_memory(&self) -> u64 {
        self.aligned(self.exact_memory())
    }

    /// A size in KiB, rounded up to what the architecture adds memory in: MiB, and on POWER the
    /// 256 MiB of a logical memory block.
    pub(super) fn aligned(&self, kib: u64) -> u64 {
        aligned(kib, is_power(&self.arch))
    }

    fn exact_memory(&self) -> u64 {
        let total = self.d.memory.as_ref().map_or(0, |memory| memory.size.0);
        let cells = self.d.cpu.iter().filter_map(|cpu| cpu.numa.as_ref()).flat_map(|n| &n.cells);
        let cells: u64 = cells.map(|cell| self.aligned(cell.memory)).sum();
        if cells > 0 {
            return cells;
        }
        let devices: u64 = self.dev.memories.iter().map(|device| device.target.size.0).sum();
        total.saturating_sub(devices)
    }

    /// Whether guest NUMA cells are given.
    pub(super) fn has_numa(&self) -> bool {
        self.d.cpu.iter().any(|cpu| cpu.numa.as_ref().is_some_and(|numa| !numa.cells.is_empty()))
    }

    /// Whether memory attributes of cells are described.
    pub(super) fn has_hmat(&self) -> bool {
        self.d.cpu.iter().filter_map(|cpu| cpu.numa.as_ref()).any(|numa| {
            numa.interconnects.is_some() || numa.cells.iter().any(|cell| !cell.caches.is_empty())
        })
    }

    /// Id of the backend of all memory, where the machine takes one and no cells divide it.
    pub(super) fn default_ram_id(&self) -> Option<String> {
        if self.has_numa() {
            return None;
        }
        self.caps.machine(self.accel, &self.machine)?.default_ram_id.clone()
    }

    /// Host nodes and policy of a backend, by `<numatune>`.
    pub(super) fn host_nodes(&mut self, cell: Option<u32>, device: Option<&MemoryDevice>) -> Props {
        if let Some(mask) = device.and_then(|device| device.source.as_ref()?.nodemask.clone()) {
            let list: Vec<u32> = mask.iter().collect();
            return Props::default().set("host-nodes", list).set("policy", "bind");
        }
        let Some(tune) = &self.d.numa_tune else {
            return Props::default();
        };
        let node = tune.nodes.iter().find(|node| Some(node.cell_id) == cell);
        let general = tune.memory.as_ref();
        let auto = general.is_some_and(|memory| memory.placement == Some(VcpuPlacement::Auto));
        let (mode, nodes) = match node {
            Some(node) => (node.mode, node.nodeset.clone()),
            None if auto => {
                let Some(advice) = &self.host.numa_advice else {
                    self.fail("qemu.numatune", "numad is not available on this host");
                    return Props::default();
                };
                (general.and_then(|m| m.mode), Some(advice.clone()))
            }
            None => (general.and_then(|m| m.mode), general.and_then(|m| m.nodeset.clone())),
        };
        let Some(nodes) = nodes else {
            return Props::default();
        };
        let present = &self.host.cells;
        if let Some(missing) =
            nodes.iter().find(|node| !present.is_empty() && !present.iter().any(|c| c.id == *node))
        {
            self.fail("qemu.numatune", format!("NUMA node {missing} is unavailable"));
            return Props::default();
        }
        let policy = match mode.unwrap_or_default() {
            NumaMode::Strict => "bind",
            NumaMode::Preferred => "preferred",
            NumaMode::Interleave => "interleave",
            // The kernel's own limit on the process does it.
            NumaMode::Restrictive => return Props::default(),
        };
        let list: Vec<u32> = nodes.iter().collect();
        Props::default().set("host-nodes", list).set("policy", policy)
    }

    /// A memory backend of `kib`, by the domain's memory backing, for guest cell `cell`.
    pub(super) fn memory_backend(
        &mut self,
        id: &str,
        kib: u64,
        cell: Option<u32>,
        device: Option<&MemoryDevice>,
    ) -> Props {
        let props = self.plain_backend(id, kib, cell, device);
        let nodes = self.host_nodes(cell, device);
        props.extend(nodes)
    }

    /// A backend; where its pages are allocated at once on given nodes, by threads that run there.
    /// The guest's own folder of file-backed memory.
    fn memory_folder(&mut self, path: String) {
        use crate::step::{Action, Step, Undo};
        let made =
            Step::new(Action::MakeDir { path: path.clone(), mode: 0o700, owner: self.ids() })
                .undone_by(Undo::RemoveTree(path));
        if !self.steps.contains(&made) {
            self.steps.push(made);
        }
    }

    pub(super) fn backend(&mut self, props: Props) {
        let nodes = props.0.get("host-nodes").cloned();
        let prealloc = props.0.contains_key("prealloc");
        let id = props.0.get("id").and_then(|id| id.as_str()).unwrap_or_default().to_string();
        // QEMU's own threads may be kept from those nodes' CPUs.
        let tune = self.d.cpu_tune.as_ref();
        let pinned = self.d.vcpu.as_ref().is_some_and(|vcpu| vcpu.cpuset.is_some())
            || tune.is_some_and(|tune| tune.emulator_pin.is_some());
        let usable = prealloc && !pinned && self.has("thread-context");
        let Some(nodes) = nodes.filter(|_| usable) else {
            return self.object(props);
        };
        let context = format!("tc-{id}");
        self.object(Props::object("thread-context", &context).set("node-affinity", nodes));
        self.object(props.set("prealloc-context", context));
    }

    fn plain_backend(
        &mut self,
        id: &str,
        kib: u64,
        cell: Option<u32>,
        device: Option<&MemoryDevice>,
    ) -> Props {
        let backing = self.d.memory_backing.clone().unwrap_or_default();
        let source = backing.source.as_ref().map(|source| source.kind);
        let cell_of = |id: u32| {
            let cells = self.d.cpu.iter().filter_map(|c| c.numa.as_ref()).flat_map(|n| &n.cells);
            cells.into_iter().find(move |cell| cell.id == Some(id))
        };
        let access = device
            .and_then(|device| device.access)
            .or_else(|| cell.and_then(cell_of).and_then(|cell| cell.mem_access))
            .or_else(|| backing.access.as_ref().map(|access| access.mode));
        let share = access.map(|access| access == MemoryAccess::Shared);
        let discard = device
            .and_then(|device| device.discard)
            .or_else(|| cell.and_then(cell_of).and_then(|cell| cell.discard))
            .map(|d| d == YesNo::Yes)
            .or(backing.discard.then_some(true));
        let pages = backing.hugepages.as_ref().map(|huge| {
            let for_cell = huge.pages.iter().find(|page| {
                page.nodeset.as_ref().is_some_and(|set| set.contains(cell.unwrap_or(0)))
            });
            let general = huge.pages.iter().find(|page| page.nodeset.is_none());
            // Sizes for other cells say nothing of this one.
            match for_cell.or(general) {
                Some(page) => Some(page.size),
                None => huge.pages.is_empty().then_some(0),
            }
        });
        let pages = match device.and_then(|d| d.source.as_ref()?.page_size.as_ref()) {
            Some(size) => Some(size.0),
            None => pages.flatten(),
        };
        // Pages of the usual size are had without further ado.
        let usual = self.host.page_sizes_kib.iter().min();
        let pages = pages.filter(|size| Some(size) != usual);
        let size = kib * 1024;
        // The name of migrated memory must not hold the path, which differs between hosts.
        let canonical = cell.is_none()
            && device.is_none()
            && self.has("memory-backend-file.x-use-canonical-path-for-ramblock-id");
        let nvdimm_path = device.and_then(|d| d.source.as_ref()?.path.clone());
        let immediate =
            backing.allocation.as_ref().and_then(|a| a.mode) == Some(AllocationMode::Immediate);
        let threads = backing.allocation.as_ref().and_then(|allocation| allocation.threads);
        let prealloc = match immediate || pages.is_some() {
            true => Props::default().set("prealloc", true).opt("prealloc-threads", threads),
            false => Props::default(),
        };
        if let (Some(path), Some(device)) = (nvdimm_path, device) {
            return self.file_backend(id, device, &path, share, prealloc, size);
        }
        if let Some(page) = pages.filter(|_| source != Some(MemorySourceType::Memfd)) {
            let mount = self
                .set
                .hugetlbfs
                .iter()
                .find(|(_, size)| page == 0 || *size == page)
                .map(|(path, _)| path.clone());
            let Some(mount) = mount else {
                self.no_huge_pages(page);
                return Props::default();
            };
            let folder = huge_page_folder(&mount, &self.short_name);
            self.memory_folder(folder.clone());
            let mut props = Props::object("memory-backend-file", id)
                .set("mem-path", folder)
                .opt("discard-data", discard);
            if let Some(share) = share {
                props = props.set("share", share);
            }
            if canonical {
                props = props.set("x-use-canonical-path-for-ramblock-id", false);
            }
            return props.extend(prealloc).set("size", size);
        }
        // Who may map memory is a property of files only.
        let source = match source {
            None | Some(MemorySourceType::Anonymous) if share.is_some() => {
                Some(MemorySourceType::File)
            }
            source => source,
        };
        match source {
            Some(MemorySourceType::Memfd) => {
                self.need("memory-backend-memfd", "<source type='memfd'>");
                let mut props = Props::object("memory-backend-memfd", id);
                if let Some(page) = pages {
                    props = props.set("hugetlb", true);
                    let usual = self.set.hugetlbfs.first().map(|(_, size)| *size);
                    let size = Some(page).filter(|size| *size > 0).or(usual);
                    props = props.opt("hugetlbsize", size.map(|size| size * 1024));
                }
                props = props.opt("share", share);
                if canonical {
                    props = props.set("x-use-canonical-path-for-ramblock-id", false);
                }
                props.extend(prealloc).set("size", size)
            }
            Some(MemorySourceType::File) => {
                let folder = format!("{}/{}", self.set.memory_backing_dir, self.short_name);
                // A device's memory has the device's name.
                let name = if device.is_some() { id.strip_prefix("mem").unwrap_or(id) } else { id };
                let path = format!("{folder}/{name}");
                self.memory_folder(folder);
                let mut props = Props::object("memory-backend-file", id)
                    .set("mem-path", path)
                    .opt("discard-data", discard);
                props = props.opt("share", share);
                if canonical {
                    props = props.set("x-use-canonical-path-for-ramblock-id", false);
                }
                props.extend(prealloc).set("size", size)
            }
            _ => {
                let props = Props::object("memory-backend-ram", id);
                props.extend(prealloc).set("size", size)
            }
        }
    }

    /// `-m` and the backend of all memory.
    pub(super) fn memory(&mut self) {
        let mut out = format!("size={}k", self.initial_memory());
        if let Some(max) = &self.d.max_memory {
            if let Some(slots) = max.slots.filter(|slots| *slots > 0) {
                out.push_str(&format!(",slots={slots}"));
            }
            out.push_str(&format!(",maxmem={}k", max.size.0));
        }
        self.opt("-m", &out);
        if let Some(id) = self.default_ram_id() {
            let kib = self.initial_memory();
            let props = self.memory_backend(&id, kib, None, None);
            self.backend(props);
        }
        let locked = self.d.memory_backing.as_ref().is_some_and(|backing| backing.locked);
        self.opt("-overcommit", &format!("mem-lock={}", if locked { "on" } else { "off" }));
    }

    /// `-smp`.
    pub(super) fn smp(&mut self) {
        let vcpu = self.d.vcpu.clone().unwrap_or_default();
        let max = vcpu.maximum.max(1);
        // Those that may be given back come as devices once QEMU is there.
        let stays =
            |cpu: &&VcpuEntry| cpu.enabled == YesNo::Yes && cpu.hotpluggable != Some(YesNo::Yes);
        let listed = self.d.vcpus.as_ref().map_or(&[][..], |vcpus| &vcpus.list);
        let current = match listed {
            [] => vcpu.current.unwrap_or(max),
            listed => u32::try_from(listed.iter().filter(stays).count()).unwrap_or(max).max(1),
        };
        let mut out = current.to_string();
        if current != max {
            out.push_str(&format!(",maxcpus={max}"));
        }
        match self.d.cpu.as_ref().and_then(|cpu| cpu.topology.as_ref()) {
            Some(t) => {
                out.push_str(&format!(",sockets={}", t.sockets));
                if self.has("smp-dies") {
                    out.push_str(&format!(",dies={}", t.dies.unwrap_or(1)));
                }
                if self.has("smp-clusters") {
                    out.push_str(&format!(",clusters={}", t.clusters.unwrap_or(1)));
                }
                out.push_str(&format!(",cores={},threads={}", t.cores, t.threads));
            }
            None => out.push_str(&format!(",sockets={max},cores=1,threads=1")),
        }
        self.opt("-smp", &out);
    }

    /// I/O threads.
    pub(super) fn io_threads(&mut self) {
        let ids = self.d.io_thread_ids.clone().unwrap_or_default();
        for thread in &ids.threads {
            let mut props = Props::object("iothread", &format!("iothread{}", thread.id))
                .opt("thread-pool-min", thread.thread_pool_min)
                .opt("thread-pool-max", thread.thread_pool_max);
            if let Some(poll) = &thread.poll {
                props = props
                    .opt("poll-max-ns", poll.max)
                    .opt("poll-grow", poll.grow)
                    .opt("poll-shrink", poll.shrink);
            }
            self.object(props);
        }
        if let Some(main) = &self.d.default_io_thread
            && (main.thread_pool_min.is_some() || main.thread_pool_max.is_some())
        {
            let props = Props::object("main-loop", "main-loop")
                .opt("thread-pool-min", main.thread_pool_min)
                .opt("thread-pool-max", main.thread_pool_max);
            self.object(props);
        }
        // More threads than ids: the defaults of the model give every thread an id.
        if self.d.io_threads.unwrap_or(0) as usize > ids.threads.len() {
            self.fail("qemu.iothreads", "<iothreads> counts more threads than have ids");
        }
    }

    /// `-device vmgenid`.
    pub(super) fn generation_id(&mut self) {
        if let Some(id) = self.d.gen_id.as_ref().and_then(|id| id.uuid) {
            self.need_or("vmgenid", "this QEMU does not support the 'genid' capability");
            self.device(Props::device("vmgenid").set("guid", id.to_string()).set("id", "vmgenid0"));
        }
    }

    /// Asynchronous teardown of memory.
    pub(super) fn async_teardown(&mut self) {
        let Some(teardown) = self.features().async_teardown else { return };
        let on = teardown.enabled.is_none_or(Switch::on);
        if on {
            self.need("run-with.async-teardown", "<async-teardown>");
        }
        // An emulator that has no such option does not do it.
        if self.has("run-with.async-teardown") {
            self.opt("-run-with", if on { "async-teardown=on" } else { "async-teardown=off" });
        }
    }
}
