//! How much memory of a guest may be locked into the host's.

use super::cpu::is_power;
use model::domain::devices::Devices;
use model::domain::devices::controller::ControllerType;
use model::domain::devices::disk::StorageType;
use model::domain::devices::hostdev::HostdevType;
use model::domain::devices::interface::InterfaceType;
use model::domain::{Domain, VirtType};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A limit of locked memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLock {
    /// Nothing has to be locked: the process keeps the limit it is born with.
    Inherited,
    /// This many bytes.
    Bytes(u64),
    /// As much as it likes.
    Unlimited,
}

impl MemoryLock {
    /// As the resource limit of a process, if it is to be set.
    pub(super) fn limit(self) -> Option<u64> {
        match self {
            Self::Inherited => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Unlimited => Some(u64::MAX),
        }
    }
}

/// Devices that reach into the guest's memory by themselves.
fn direct(devices: &Devices) -> u64 {
    let hostdevs = devices
        .hostdevs
        .iter()
        .filter(|device| matches!(device.kind, Some(HostdevType::Pci | HostdevType::Mdev)));
    let nics = devices.interfaces.iter().filter(|nic| nic.kind == InterfaceType::Hostdev);
    let nvme = devices.disks.iter().filter(|disk| disk.kind == StorageType::Nvme);
    (hostdevs.count() + nics.count() + nvme.count()) as u64
}

/// The limit a guest needs: the hard limit of its memory, if it has one, for nothing of it can be
/// more; no limit where all is locked and nobody knows how much that is; else what hash tables and
/// devices pin.
pub fn memory_lock(domain: &Domain) -> MemoryLock {
    let hard = domain.mem_tune.as_ref().and_then(|tune| tune.hard_limit.as_ref());
    // A limit of this size is libvirt's word for none.
    if let Some(hard) = hard.map(|limit| limit.0).filter(|kib| *kib < (1 << 53) - 1) {
        return MemoryLock::Bytes(hard.saturating_mul(KIB));
    }
    if domain.memory_backing.as_ref().is_some_and(|backing| backing.locked) {
        return MemoryLock::Unlimited;
    }
    let Some(devices) = &domain.devices else { return MemoryLock::Inherited };
    let memory = domain.memory.as_ref().map_or(0, |memory| memory.size.0.saturating_mul(KIB));
    let arch = domain.os.as_ref().and_then(|os| os.kind.arch.as_deref()).unwrap_or_default();
    let devices_direct = direct(devices);
    if is_power(arch) && domain.kind == VirtType::Kvm {
        return MemoryLock::Bytes(power(domain, devices, memory, devices_direct > 0));
    }
    let vdpa = devices.interfaces.iter().filter(|nic| nic.kind == InterfaceType::Vdpa).count();
    // All devices share one mapping, unless each has its own behind an IOMMU of the guest; a vDPA
    // device always has its own.
    let shared = if devices.iommus.is_empty() { devices_direct.min(1) } else { devices_direct };
    match shared + vdpa as u64 {
        0 => MemoryLock::Inherited,
        // Beside memory, the devices' own regions are mapped.
        times => MemoryLock::Bytes(memory.saturating_mul(times).saturating_add(GIB)),
    }
}

/// On POWER, KVM itself pins memory for the guest: the hash table of pages, whose size follows
/// from the most memory the guest may get, and the tables of each host bridge's DMA windows; with
/// devices passed through, these windows map all memory.
fn power(domain: &Domain, devices: &Devices, memory: u64, direct: bool) -> u64 {
    let most = domain.max_memory.as_ref().map(|max| max.size.0.saturating_mul(KIB));
    let bridges = devices.controllers.iter().filter(|controller| {
        controller.kind == ControllerType::Pci && controller.model.as_deref() == Some("pci-root")
    });
    let bridges = (bridges.count() as u64).max(1);
    let tables = most.unwrap_or(memory) / 128 + 4 * MIB * bridges + 8 * MIB;
    if !direct {
        return tables;
    }
    let windows = memory.saturating_add(memory / 512 * bridges).saturating_add(8 * MIB);
    tables.saturating_add(windows.max(2 * GIB * bridges))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::{ParseOptions, parse};

    fn limit(kind: &str, arch: &str, head: &str, devices: &str) -> MemoryLock {
        let text = format!(
            "<domain type='{kind}'><name>m</name><memory unit='GiB'>1</memory>{head}\
             <os><type arch='{arch}'>hvm</type></os><devices>{devices}</devices></domain>"
        );
        memory_lock(&parse(&text, ParseOptions::default()).domain.unwrap())
    }

    const PCI: &str = "<hostdev mode='subsystem' type='pci'><source>\
                       <address domain='0' bus='1' slot='0' function='0'/></source></hostdev>";
    const HARD: &str = "<memtune><hard_limit unit='GiB'>3</hard_limit></memtune>";
    const LOCKED: &str = "<memoryBacking><locked/></memoryBacking>";

    #[test]
    fn pcs_pin_what_devices_reach() {
        let check = |head: &str, devices: &str, expected| {
            assert_eq!(limit("kvm", "x86_64", head, devices), expected, "{head} {devices}");
        };
        check("", "", MemoryLock::Inherited);
        check("", PCI, MemoryLock::Bytes(2 * GIB));
        check("", &PCI.repeat(2), MemoryLock::Bytes(2 * GIB));
        check("", &format!("{}<iommu model='intel'/>", PCI.repeat(2)), MemoryLock::Bytes(3 * GIB));
        check(LOCKED, PCI, MemoryLock::Unlimited);
        check(&format!("{LOCKED}{HARD}"), PCI, MemoryLock::Bytes(3 * GIB));
        check(HARD, "", MemoryLock::Bytes(3 * GIB));
    }

    #[test]
    fn power_pins_tables() {
        let check = |kind: &str, devices: &str, expected| {
            assert_eq!(limit(kind, "ppc64", "", devices), expected, "{kind} {devices}");
        };
        check("kvm", "", MemoryLock::Bytes(20 * MIB));
        check("kvm", PCI, MemoryLock::Bytes(20 * MIB + 2 * GIB));
        check("qemu", "", MemoryLock::Inherited);
    }
}
