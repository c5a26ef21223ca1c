//! The host as clients see it: facts read once, numbers read anew at every question.

use crate::caps::CapsStore;
use crate::engine::Engine;
use crate::layout::Layout;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::facts;
use lifecycle::Status;
use model::capabilities::host::{
    CacheBank, Cell, CellCpu, HostCpu, HostFacts, KvmState, Migration,
};
use model::capabilities::qemu::QemuCaps;
use model::capabilities::resctrl::Resctrl;
use model::capabilities::vhost_user::VhostUserBackend;
use model::capabilities::{GuestCaps, SecModel, capabilities_xml};
use model::domain::sysinfo::Sysinfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Which binary each architecture's guests of the capabilities come from, and as it was then.
type Binaries = Vec<(&'static str, String)>;

/// Answers that change only with the machine, kept ready.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// What it was made from, and the text.
    capabilities: Mutex<Option<(Binaries, Arc<str>)>>,
}

/// `virNodeInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Architecture.
    pub model: String,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Active CPUs.
    pub cpus: u32,
    /// Clock in MHz.
    pub mhz: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// Sockets of a node.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
}

const ROOT: &str = "/";

/// The hostname now.
pub(crate) fn hostname() -> String {
    facts::hostname()
}

/// The running kernel's release.
pub(crate) fn kernel_release() -> String {
    facts::kernel_release()
}

/// Reads the facts that do not change while the daemon runs.
pub(crate) fn read_facts(layout: &Layout) -> HostFacts {
    let root = Path::new(ROOT);
    let places = facts::cpu_places(root);
    let count = |pick: fn(&facts::CpuPlace) -> u32| {
        let mut seen: Vec<_> = places.iter().filter(|p| p.online).map(pick).collect();
        seen.sort_unstable();
        seen.dedup();
        u32::try_from(seen.len()).unwrap_or(1).max(1)
    };
    let threads = places
        .iter()
        .filter(|place| place.online)
        .map(|place| u32::try_from(place.siblings.len()).unwrap_or(1))
        .max()
        .unwrap_or(1)
        .max(1);
    let online = u32::try_from(places.iter().filter(|p| p.online).count()).unwrap_or(1).max(1);
    let (sockets, dies) = (count(|place| place.socket), count(|place| place.die));
    // Where the numbers do not multiply up, libvirt shows one socket with all CPUs as cores.
    let even = online % (sockets * dies * threads) == 0;
    let cores = if even { online / (sockets * dies * threads) } else { online };
    let cpuid = facts::cpuid_words()
        .into_iter()
        .map(|(leaf, subleaf, words)| {
            ((leaf, subleaf), [words.eax, words.ebx, words.ecx, words.edx])
        })
        .collect();
    let kvm = match facts::kvm_state().reason() {
        None => KvmState::Usable,
        Some(reason) => KvmState::Unusable(reason),
    };
    let limits = facts::kvm_limits();
    HostFacts {
        uuid: host_uuid(root),
        arch: facts::architecture(),
        cpu: HostCpu {
            cpuid,
            msrs: msrs(root),
            sockets: if even { sockets } else { 1 },
            dies: if even { dies } else { 1 },
            clusters: 1,
            cores,
            threads: if even { threads } else { 1 },
            microcode: facts::microcode(root),
            phys_bits: facts::physical_address_bits(root),
            // libvirt says so whatever the hypervisor below does.
            phys_bits_emulated: true,
            tsc: limits.tsc.map(|(hertz, scaling)| (hertz, Some(scaling))),
            ..HostCpu::default()
        },
        caches: facts::caches(root)
            .into_iter()
            .map(|cache| CacheBank {
                id: cache.id,
                level: cache.level,
                kind: cache.kind.to_owned(),
                size: cache.size,
                cpus: cache.cpus,
            })
            .collect(),
        resctrl: Some(resctrl(root)).filter(|found| *found != Resctrl::default()),
        migration: Some(Migration::qemu()),
        cdrom_drives: cdrom_drives(root),
        page_sizes_kib: page_sizes(root),
        cells: cells(root, &places),
        kvm,
        kvm_max_vcpus: limits.max_vcpus,
        vfio: Path::new("/dev/vfio/vfio").exists(),
        iommu: Path::new("/sys/kernel/iommu_groups/0").exists(),
        swtpm_versions: swtpm_versions(layout),
        render_nodes: render_nodes(),
        vhost_user: vhost_user(),
        ..HostFacts::default()
    }
}

/// Installed vhost-user back ends, by file name; the machine's own descriptors hide the packages'.
fn vhost_user() -> Vec<VhostUserBackend> {
    let mut seen = std::collections::BTreeMap::new();
    for folder in ["/etc/qemu/vhost-user", "/usr/share/qemu/vhost-user"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(".json") {
                seen.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    let read = |path: PathBuf| VhostUserBackend::parse(&std::fs::read_to_string(path).ok()?);
    seen.into_values().filter_map(read).collect()
}

/// The facts with the time of now.
pub(crate) fn dated(facts: &HostFacts) -> HostFacts {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or(0);
    HostFacts { now, utc_offset: facts::utc_offset(now), ..facts.clone() }
}

/// The machine's UUID: its firmware's, else one made of its machine id, which is as lasting.
fn host_uuid(root: &Path) -> String {
    let firmware = facts::smbios(root).and_then(|smbios| smbios.product_uuid);
    let id = firmware.or_else(|| facts::machine_id(root)).unwrap_or_default();
    id.trim().parse::<units::Uuid>().map(|uuid| uuid.to_string()).unwrap_or_default()
}

fn page_sizes(root: &Path) -> Vec<u64> {
    let base = u64::try_from(rustix::param::page_size()).unwrap_or(4096) / 1024;
    let mut sizes = vec![base];
    let huge = facts::numa_cells(root).into_iter().flat_map(|cell| cell.huge_pages);
    sizes.extend(huge.map(|pages| pages.size / 1024));
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn cells(root: &Path, places: &[facts::CpuPlace]) -> Vec<Cell> {
    let base = u64::try_from(rustix::param::page_size()).unwrap_or(4096) / 1024;
    facts::numa_cells(root)
        .into_iter()
        .map(|cell| {
            let memory_kib = cell.total / 1024;
            let huge: u64 = cell.huge_pages.iter().map(|p| p.size / 1024 * p.total).sum();
            let mut pages = vec![(base, memory_kib.saturating_sub(huge) / base)];
            pages.extend(cell.huge_pages.iter().map(|p| (p.size / 1024, p.total)));
            Cell {
                id: cell.id,
                memory_kib,
                pages,
                distances: cell.distances,
                cpus: places
                    .iter()
                    .filter(|place| cell.cpus.contains(&place.id))
                    .map(|place| CellCpu {
                        id: place.id,
                        place: place.online.then_some((
                            place.socket,
                            place.die,
                            place.cluster,
                            place.core,
                        )),
                        siblings: facts::format_cpu_list(&place.siblings),
                    })
                    .collect(),
            }
        })
        .collect()
}

/// Registers of the processor that tell of features.
fn msrs(root: &Path) -> std::collections::HashMap<u32, u64> {
    facts::feature_msrs(root, &model::cpu::x86::X86Map::get().msrs()).into_iter().collect()
}

/// What the kernel can share out, where its resctrl is mounted.
fn resctrl(root: &Path) -> Resctrl {
    let info = root.join("sys/fs/resctrl/info");
    Resctrl::read(|name| std::fs::read_to_string(info.join(name)).ok())
}

fn swtpm_versions(_layout: &Layout) -> Vec<String> {
    let installed =
        ["/usr/bin/swtpm", "/usr/local/bin/swtpm"].iter().any(|p| Path::new(p).exists());
    if installed { vec!["1.2".into(), "2.0".into()] } else { Vec::new() }
}

/// The kernel's CD-ROM drives and the links to them.
fn cdrom_drives(root: &Path) -> Vec<String> {
    let info = std::fs::read_to_string(root.join("proc/sys/dev/cdrom/info")).unwrap_or_default();
    let names = info.lines().find_map(|line| line.strip_prefix("drive name:"));
    let mut drives: Vec<String> = names
        .map(|names| names.split_whitespace().map(|name| format!("/dev/{name}")).collect())
        .unwrap_or_default();
    for link in ["/dev/cdrom", "/dev/cdrw", "/dev/dvd", "/dev/dvdrw"] {
        let target = std::fs::canonicalize(link).ok();
        let target = target.and_then(|target| target.to_str().map(str::to_owned));
        if target.is_some_and(|target| drives.contains(&target)) {
            drives.push(link.to_owned());
        }
    }
    drives
}

fn render_nodes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/dev/dri") else { return Vec::new() };
    let mut nodes: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("renderD"))
        .map(|name| format!("/dev/dri/{name}"))
        .collect();
    nodes.sort();
    nodes
}

impl Engine {
    /// `virsh nodeinfo`.
    pub fn node_info(&self) -> NodeInfo {
        let cpu = &self.facts.cpu;
        let nodes = u32::try_from(self.facts.cells.len()).unwrap_or(1).max(1);
        NodeInfo {
            model: self.facts.arch.clone(),
            memory_kib: self.facts.cells.iter().map(|cell| cell.memory_kib).sum(),
            cpus: cpu.sockets * cpu.dies * cpu.cores * cpu.threads,
            mhz: facts::cpu_clock_mhz(Path::new(ROOT)),
            nodes,
            sockets: (cpu.sockets / nodes).max(1),
            cores: cpu.cores * cpu.dies,
            threads: cpu.threads,
        }
    }

    /// Which CPUs are there and which are online, ascending.
    pub fn cpu_map(&self) -> (Vec<u32>, Vec<u32>) {
        let root = Path::new(ROOT);
        let present = facts::cpu_list(root, "present").unwrap_or_default();
        let online = facts::cpu_list(root, "online").unwrap_or_else(|| present.clone());
        (present, online)
    }

    /// Times of one CPU or of all together, in nanoseconds, by libvirt's names.
    ///
    /// # Errors
    /// When there is no such CPU.
    pub fn node_cpu_stats(&self, cpu: Option<u32>) -> Result<Vec<(&'static str, u64)>, VirError> {
        let times = facts::cpu_times(Path::new(ROOT));
        let Some((_, times)) = times.into_iter().find(|(id, _)| *id == cpu) else {
            return Err(VirError::invalid_arg("Invalid cpuNum in virHostCPUGetStatsLinux")
                .verbatim()
                .from_domain(ErrorDomain::NONE));
        };
        Ok(vec![
            ("kernel", times.system + times.irq + times.softirq),
            ("user", times.user + times.nice),
            ("idle", times.idle),
            ("iowait", times.iowait),
        ])
    }

    /// Memory in KiB by libvirt's names, of one NUMA node or of the whole host.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_memory_stats(
        &self,
        cell: Option<u32>,
    ) -> Result<Vec<(&'static str, u64)>, VirError> {
        let root = Path::new(ROOT);
        match cell {
            None => {
                let memory = facts::memory_info(root);
                Ok(vec![
                    ("total", memory.total / 1024),
                    ("free", memory.free / 1024),
                    ("buffers", memory.buffers / 1024),
                    ("cached", memory.cached / 1024),
                ])
            }
            Some(id) => {
                let cells = facts::numa_cells(root);
                let last = cells.iter().map(|cell| cell.id).max().unwrap_or(0);
                let cell = cells.into_iter().find(|cell| cell.id == id).ok_or_else(|| {
                    VirError::invalid_arg(format!(
                        "cellNum in virHostMemGetStats must be less than or equal to {last}"
                    ))
                    .verbatim()
                    .from_domain(ErrorDomain::NONE)
                })?;
                Ok(vec![("total", cell.total / 1024), ("free", cell.free / 1024)])
            }
        }
    }

    /// Free memory of the host in bytes.
    pub fn free_memory(&self) -> u64 {
        let cells = facts::numa_cells(Path::new(ROOT));
        if cells.is_empty() {
            return facts::memory_info(Path::new(ROOT)).free;
        }
        cells.iter().map(|cell| cell.free).sum()
    }

    /// Free memory of NUMA nodes in bytes, from node `start` on, at most `count`.
    ///
    /// # Errors
    /// When there is no node `start`.
    pub fn cells_free_memory(&self, start: i32, count: i32) -> Result<Vec<u64>, VirError> {
        let cells = facts::numa_cells(Path::new(ROOT));
        let last = i32::try_from(cells.len()).unwrap_or(0) - 1;
        if start < 0 || start > last {
            return Err(no_cell(start, last));
        }
        let take = usize::try_from(count).unwrap_or(0);
        let skip = usize::try_from(start).unwrap_or(0);
        Ok(cells.iter().skip(skip).take(take).map(|cell| cell.free).collect())
    }

    /// Free pages of the given sizes (KiB) for each node from `start` on.
    ///
    /// # Errors
    /// When there is no such node or page size.
    pub fn free_pages(&self, sizes: &[u32], start: i32, count: u32) -> Result<Vec<u64>, VirError> {
        let base = u64::try_from(rustix::param::page_size()).unwrap_or(4096) / 1024;
        let cells = facts::numa_cells(Path::new(ROOT));
        let memory = facts::memory_info(Path::new(ROOT));
        let mut counts = Vec::new();
        for index in 0..count {
            let id = i64::from(start) + i64::from(index);
            let cell = cells.iter().find(|cell| i64::from(cell.id) == id);
            if cell.is_none() && id != -1 {
                let last = i32::try_from(cells.len()).unwrap_or(0) - 1;
                return Err(no_cell(start, last));
            }
            for size in sizes {
                let size = u64::from(*size);
                let free = cell.map_or(memory.free, |cell| cell.free);
                if size == base {
                    counts.push(free / 1024 / base);
                    continue;
                }
                let huge = cell
                    .into_iter()
                    .flat_map(|cell| &cell.huge_pages)
                    .find(|pages| pages.size / 1024 == size);
                match huge {
                    Some(pages) => counts.push(pages.free),
                    None => {
                        return Err(VirError::failed(format!(
                            "page size {size} is not available on node {id}"
                        ))
                        .from_domain(ErrorDomain::NONE));
                    }
                }
            }
        }
        Ok(counts)
    }

    /// The security models in force.
    pub fn security_models(&self) -> Vec<SecModel> {
        match self.settings.qemu.ids {
            Some(ids) => vec![SecModel::none(), SecModel::dac(ids.uid, ids.gid)],
            None => vec![SecModel::none()],
        }
    }

    /// The capabilities document. May probe emulators: call where blocking is allowed, unless
    /// [`Engine::capabilities_ready_now`] has it.
    pub fn capabilities(&self) -> Arc<str> {
        let emulators = CapsStore::emulators();
        let known: Vec<(&str, Arc<QemuCaps>)> = emulators
            .iter()
            .filter_map(|(arch, emulator)| match self.caps.get(emulator) {
                Ok(caps) => Some((*arch, caps)),
                Err(error) => {
                    tracing::warn!(emulator, error = %error.detail, "left out of capabilities");
                    None
                }
            })
            .collect();
        let guests: Vec<GuestCaps> =
            known.iter().map(|(arch, caps)| GuestCaps { arch, caps }).collect();
        let text: Arc<str> =
            Arc::from(capabilities_xml(&self.facts, &self.security_models(), &guests));
        *self.replies.capabilities.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((emulators, Arc::clone(&text)));
        text
    }

    /// The capabilities document if it is ready and every emulator is as it was.
    pub fn capabilities_ready_now(&self) -> Option<Arc<str>> {
        let slot = self.replies.capabilities.lock().unwrap_or_else(PoisonError::into_inner);
        let (emulators, text) = slot.as_ref()?;
        let unchanged = *emulators == CapsStore::emulators()
            && emulators.iter().all(|(_, emulator)| self.caps.known(emulator).is_some());
        unchanged.then(|| Arc::clone(text))
    }

    /// The hypervisor's version as libvirt counts: 10.0.2 is 10000002.
    ///
    /// # Errors
    /// When there is no emulator for this host's architecture.
    pub fn hypervisor_version(&self) -> Result<u64, VirError> {
        let emulator = self.default_emulator().ok_or_else(|| {
            VirError::internal(format!("Cannot find suitable emulator for {}", self.facts.arch))
        })?;
        Ok(self.caps.get(&emulator)?.version_number())
    }

    /// Host and firmware names as SMBIOS has them, as libvirt's `<sysinfo>` document.
    ///
    /// # Errors
    /// When the firmware tells nothing.
    pub fn sysinfo(&self) -> Result<String, VirError> {
        let smbios = facts::smbios(Path::new(ROOT)).ok_or_else(|| {
            VirError::config("Host SMBIOS information is not available".to_owned())
        })?;
        Ok(sysinfo_xml(&smbios))
    }

    /// What guests may show of it as their own: the names of the firmware and of the machine, but not
    /// the host's identity.
    ///
    /// # Errors
    /// When the firmware tells nothing.
    pub(crate) fn sysinfo_for_guests(&self) -> Result<Sysinfo, VirError> {
        let text = self.sysinfo()?;
        let read: Option<Sysinfo> = xml::read_str(&text, "sysinfo").value;
        let mut read = read.ok_or_else(|| VirError::internal("the host's sysinfo is no XML"))?;
        if let Some(block) = &mut read.system {
            block.entries.retain(|entry| entry.name != "uuid");
        }
        Ok(Sysinfo { bios: read.bios, system: read.system, kind: read.kind, ..Sysinfo::default() })
    }

    /// How many domains run.
    pub fn active_count(&self) -> usize {
        let mut count = 0;
        self.registry.for_each_active(|_, domain| {
            count += usize::from(!matches!(domain.snapshot().status, Status::Shutoff(_)));
        });
        count
    }

    /// Supplementary groups of QEMU's user.
    pub(crate) fn groups_of(&self, uid: u32, gid: u32) -> Vec<u32> {
        self.users.supplementary(uid, gid)
    }

    /// An error for what this host has no answer to.
    pub fn no_support(what: &str) -> VirError {
        VirError::new(ErrorCode::NO_SUPPORT, what)
    }
}

fn sysinfo_xml(smbios: &facts::Smbios) -> String {
    let mut out = String::from("<sysinfo type='smbios'>\n");
    type Entry<'a> = (&'static str, &'a Option<String>);
    let groups: [(&str, &[Entry<'_>]); 3] = [
        (
            "bios",
            &[
                ("vendor", &smbios.bios_vendor),
                ("version", &smbios.bios_version),
                ("date", &smbios.bios_date),
                ("release", &smbios.bios_release),
            ],
        ),
        (
            "system",
            &[
                ("manufacturer", &smbios.sys_vendor),
                ("product", &smbios.product_name),
                ("version", &smbios.product_version),
                ("serial", &smbios.product_serial),
                ("uuid", &smbios.product_uuid),
                ("sku", &smbios.product_sku),
                ("family", &smbios.product_family),
            ],
        ),
        (
            "baseBoard",
            &[
                ("manufacturer", &smbios.board_vendor),
                ("product", &smbios.board_name),
                ("version", &smbios.board_version),
                ("serial", &smbios.board_serial),
                ("asset", &smbios.board_asset_tag),
            ],
        ),
    ];
    for (group, entries) in groups {
        let lines: String = entries
            .iter()
            .filter_map(|(name, value)| {
                let mut escaped = String::new();
                xml::escape_into(value.as_deref()?.trim(), &mut escaped);
                Some(format!("    <entry name='{name}'>{escaped}</entry>\n"))
            })
            .collect();
        if !lines.is_empty() {
            out.push_str(&format!("  <{group}>\n{lines}  </{group}>\n"));
        }
    }
    out.push_str("</sysinfo>\n");
    out
}

impl Engine {
    /// The hypervisor's version if it is known without asking the emulator.
    pub fn hypervisor_version_ready(&self) -> Option<u64> {
        let emulator = self.default_emulator()?;
        Some(self.caps.known(&emulator)?.version_number())
    }
}
/// libvirt's error for a NUMA node that the host does not have.
pub(crate) fn no_cell(start: i32, last: i32) -> VirError {
    VirError::internal(format!("start cell {start} out of range (0-{last})"))
        .from_domain(ErrorDomain::NONE)
}
