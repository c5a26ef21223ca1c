//! Facts about the host, as the planner and the capabilities need them. Plain data: crate `host`
//! reads them from the kernel.

use super::resctrl::Resctrl;
use super::vhost_user::VhostUserBackend;
use crate::domain::cpu::Cpu;
use crate::domain::scalar::CpuSet;
use std::collections::HashMap;

/// A processor, as CPUID and the kernel describe it. Empty vendor: unknown.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HostCpu {
    /// x86: CPUID leaves `(leaf, subleaf) → [eax, ebx, ecx, edx]`.
    pub cpuid: HashMap<(u32, u32), [u32; 4]>,
    /// x86: model-specific registers that could be read.
    pub msrs: HashMap<u32, u64>,
    /// Name of the model, where it is not found from CPUID (POWER).
    pub model: Option<String>,
    /// Who made it, where that is not found from CPUID.
    pub vendor: Option<String>,
    /// Microcode revision.
    pub microcode: Option<u32>,
    /// Frequency of the time stamp counter in Hz, and whether the hardware scales it.
    pub tsc: Option<(u64, Option<bool>)>,
    /// Physical address bits.
    pub phys_bits: Option<u32>,
    /// Physical address bits are emulated by the hypervisor below, not passed through.
    pub phys_bits_emulated: bool,
    /// Sockets of a node.
    pub sockets: u32,
    /// Dies of a socket.
    pub dies: u32,
    /// Clusters of a die.
    pub clusters: u32,
    /// Cores of a cluster.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
}

/// Sleep states the host offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PowerManagement {
    /// Suspend to RAM.
    pub suspend_mem: bool,
    /// Suspend to disk.
    pub suspend_disk: bool,
    /// Both.
    pub suspend_hybrid: bool,
}

/// A CPU of a NUMA cell.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CellCpu {
    /// Its number.
    pub id: u32,
    /// Socket, die, cluster, core: `None` where the kernel does not say (offline).
    pub place: Option<(u32, u32, u32, u32)>,
    /// Threads of the same core, as a list (`0,2` or `0-1`).
    pub siblings: String,
}

/// A NUMA cell.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cell {
    /// Node number.
    pub id: u32,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Page size in KiB and number of pages.
    pub pages: Vec<(u64, u64)>,
    /// Node and distance.
    pub distances: Vec<(u32, u32)>,
    /// CPUs.
    pub cpus: Vec<CellCpu>,
}

/// A cache of the host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CacheBank {
    /// Id.
    pub id: u32,
    /// Level.
    pub level: u32,
    /// `both`, `code` or `data`.
    pub kind: String,
    /// Size in bytes.
    pub size: u64,
    /// CPUs that share it, as a list.
    pub cpus: String,
}

/// Whether guests can use KVM.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum KvmState {
    /// The device works, and (x86) the CPU shows vmx or svm.
    Usable,
    /// It does not; the text says why ("no /dev/kvm", "the CPU shows neither vmx nor svm", …).
    Unusable(String),
    /// Not looked at.
    #[default]
    Unknown,
}

/// How domains can be moved to another host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Migration {
    /// While they run.
    pub live: bool,
    /// Over these protocols.
    pub transports: Vec<String>,
}

impl Migration {
    /// What QEMU can do.
    pub fn qemu() -> Self {
        Self { live: true, transports: vec!["tcp".to_owned(), "rdma".to_owned()] }
    }
}

/// Facts about the host.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HostFacts {
    /// Host UUID (DMI's, or libvirtd.conf's `host_uuid`).
    pub uuid: String,
    /// Architecture by libvirt's name.
    pub arch: String,
    /// The processor.
    pub cpu: HostCpu,
    /// A description of the processor that guests' CPUs are derived from; `None`: the emulator's
    /// own account of it counts.
    pub described_cpu: Option<Cpu>,
    /// Page sizes in KiB.
    pub page_sizes_kib: Vec<u64>,
    /// Sleep states.
    pub power: PowerManagement,
    /// An IOMMU is on.
    pub iommu: bool,
    /// VFIO can be used (`/dev/vfio/vfio` and an IOMMU group exist).
    pub vfio: bool,
    /// NUMA cells.
    pub cells: Vec<Cell>,
    /// Cache banks.
    pub caches: Vec<CacheBank>,
    /// How caches and memory bandwidth can be shared out, where the kernel does it.
    pub resctrl: Option<Resctrl>,
    /// How domains can be moved away.
    pub migration: Option<Migration>,
    /// KVM.
    pub kvm: KvmState,
    /// KVM's limit of virtual CPUs.
    pub kvm_max_vcpus: Option<u32>,
    /// swtpm is installed, with these TPM versions (`1.2`, `2.0`).
    pub swtpm_versions: Vec<String>,
    /// qemu-rdp is installed.
    pub qemu_rdp: bool,
    /// Seconds since the epoch at the time of asking (for clocks with an offset).
    pub now: i64,
    /// Time zone offset of the host in seconds east of UTC.
    pub utc_offset: i32,
    /// Paths of CD-ROM drives of the host, links to them included (`/dev/sr0`, `/dev/cdrom`).
    pub cdrom_drives: Vec<String>,
    /// Nodes that a guest with automatic placement is put on; `None`: nothing here advises.
    pub numa_advice: Option<CpuSet>,
    /// Programs that serve vhost-user devices, in the order of their descriptors' file names.
    pub vhost_user: Vec<VhostUserBackend>,
    /// DRM render nodes.
    pub render_nodes: Vec<String>,
}

impl HostFacts {
    /// Whether KVM guests can be started.
    pub fn kvm_usable(&self) -> bool {
        self.kvm == KvmState::Usable
    }
}
