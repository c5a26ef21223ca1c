//! Which devices sit on PCI, and what kind of slot each wants.

use super::Machine;
use super::pci_bus::connect::*;
use crate::domain::address::Address;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::CharTargetType;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::disk::{DiskBus, DiskModel};
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::InputBus;
use crate::domain::devices::interface::InterfaceType;
use crate::domain::devices::iommu::IommuModel;
use crate::domain::devices::memballoon::BalloonModel;
use crate::domain::devices::memory::MemoryModel;
use crate::domain::devices::panic::PanicModel;
use crate::domain::devices::sound::SoundModel;
use crate::domain::devices::video::VideoType;
use crate::domain::devices::watchdog::WatchdogModel;

/// One device that may sit on PCI: its kind and number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dev {
    Controller(usize),
    Filesystem(usize),
    Interface(usize),
    Sound(usize),
    Disk(usize),
    Hostdev(usize),
    Balloon(usize),
    Rng(usize),
    Watchdog(usize),
    Video(usize),
    Shmem(usize),
    Input(usize),
    Serial(usize),
    Memory(usize),
    Vsock(usize),
    Crypto(usize),
    Iommu(usize),
    Panic(usize),
    Pstore(usize),
}

/// All devices that may sit on PCI, in the order in which they get their slots. The PCI controllers
/// come first: every other bus hangs on them.
pub(super) fn all(dev: &Devices) -> Vec<Dev> {
    // Most of what a guest has; a few more make it grow.
    let most = dev.controllers.len() + dev.disks.len() + dev.interfaces.len() + dev.hostdevs.len();
    let mut out = Vec::with_capacity(most + 24);
    let pci = |c: &Controller| c.kind == ControllerType::Pci;
    let mut buses: Vec<usize> =
        (0..dev.controllers.len()).filter(|i| pci(&dev.controllers[*i])).collect();
    buses.sort_by_key(|i| dev.controllers[*i].index);
    out.extend(buses.into_iter().map(Dev::Controller));
    out.extend((0..dev.filesystems.len()).map(Dev::Filesystem));
    // A device of the host that is an interface stands with its like.
    let of_host =
        |i: &usize| dev.interfaces.get(*i).is_some_and(|x| x.kind == InterfaceType::Hostdev);
    out.extend((0..dev.interfaces.len()).filter(|i| !of_host(i)).map(Dev::Interface));
    out.extend((0..dev.sounds.len()).map(Dev::Sound));
    out.extend(
        (0..dev.controllers.len()).filter(|i| !pci(&dev.controllers[*i])).map(Dev::Controller),
    );
    out.extend((0..dev.disks.len()).map(Dev::Disk));
    out.extend((0..dev.interfaces.len()).filter(of_host).map(Dev::Interface));
    out.extend((0..dev.hostdevs.len()).map(Dev::Hostdev));
    out.extend((0..dev.memballoons.len()).map(Dev::Balloon));
    out.extend((0..dev.rngs.len()).map(Dev::Rng));
    out.extend((0..dev.watchdogs.len()).map(Dev::Watchdog));
    out.extend((0..dev.videos.len()).map(Dev::Video));
    out.extend((0..dev.shmems.len()).map(Dev::Shmem));
    out.extend((0..dev.inputs.len()).map(Dev::Input));
    out.extend((0..dev.serials.len()).map(Dev::Serial));
    out.extend((0..dev.vsocks.len()).map(Dev::Vsock));
    out.extend((0..dev.memories.len()).map(Dev::Memory));
    out.extend((0..dev.iommus.len()).map(Dev::Iommu));
    out.extend((0..dev.cryptos.len()).map(Dev::Crypto));
    out.extend((0..dev.panics.len()).map(Dev::Panic));
    out.extend((0..dev.pstores.len()).map(Dev::Pstore));
    out
}

/// The address of a device.
pub(super) fn address(dev: &mut Devices, which: Dev) -> Option<&mut Option<Address>> {
    Some(match which {
        Dev::Controller(i) => &mut dev.controllers.get_mut(i)?.address,
        Dev::Filesystem(i) => &mut dev.filesystems.get_mut(i)?.address,
        Dev::Interface(i) => &mut dev.interfaces.get_mut(i)?.address,
        Dev::Sound(i) => &mut dev.sounds.get_mut(i)?.address,
        Dev::Disk(i) => &mut dev.disks.get_mut(i)?.address,
        Dev::Hostdev(i) => &mut dev.hostdevs.get_mut(i)?.address,
        Dev::Balloon(i) => &mut dev.memballoons.get_mut(i)?.address,
        Dev::Rng(i) => &mut dev.rngs.get_mut(i)?.address,
        Dev::Watchdog(i) => &mut dev.watchdogs.get_mut(i)?.address,
        Dev::Video(i) => &mut dev.videos.get_mut(i)?.address,
        Dev::Shmem(i) => &mut dev.shmems.get_mut(i)?.address,
        Dev::Input(i) => &mut dev.inputs.get_mut(i)?.address,
        Dev::Serial(i) => &mut dev.serials.get_mut(i)?.address,
        Dev::Memory(i) => &mut dev.memories.get_mut(i)?.address,
        Dev::Vsock(i) => &mut dev.vsocks.get_mut(i)?.address,
        Dev::Crypto(i) => &mut dev.cryptos.get_mut(i)?.address,
        Dev::Iommu(i) => &mut dev.iommus.get_mut(i)?.address,
        Dev::Panic(i) => &mut dev.panics.get_mut(i)?.address,
        Dev::Pstore(i) => &mut dev.pstores.get_mut(i)?.address,
    })
}

/// The address of a device, to look at.
pub(super) fn address_of(dev: &Devices, which: Dev) -> Option<&Address> {
    match which {
        Dev::Controller(i) => dev.controllers.get(i)?.address.as_ref(),
        Dev::Filesystem(i) => dev.filesystems.get(i)?.address.as_ref(),
        Dev::Interface(i) => dev.interfaces.get(i)?.address.as_ref(),
        Dev::Sound(i) => dev.sounds.get(i)?.address.as_ref(),
        Dev::Disk(i) => dev.disks.get(i)?.address.as_ref(),
        Dev::Hostdev(i) => dev.hostdevs.get(i)?.address.as_ref(),
        Dev::Balloon(i) => dev.memballoons.get(i)?.address.as_ref(),
        Dev::Rng(i) => dev.rngs.get(i)?.address.as_ref(),
        Dev::Watchdog(i) => dev.watchdogs.get(i)?.address.as_ref(),
        Dev::Video(i) => dev.videos.get(i)?.address.as_ref(),
        Dev::Shmem(i) => dev.shmems.get(i)?.address.as_ref(),
        Dev::Input(i) => dev.inputs.get(i)?.address.as_ref(),
        Dev::Serial(i) => dev.serials.get(i)?.address.as_ref(),
        Dev::Memory(i) => dev.memories.get(i)?.address.as_ref(),
        Dev::Vsock(i) => dev.vsocks.get(i)?.address.as_ref(),
        Dev::Crypto(i) => dev.cryptos.get(i)?.address.as_ref(),
        Dev::Iommu(i) => dev.iommus.get(i)?.address.as_ref(),
        Dev::Panic(i) => dev.panics.get(i)?.address.as_ref(),
        Dev::Pstore(i) => dev.pstores.get(i)?.address.as_ref(),
    }
}

/// What a controller of this model wants to be plugged into.
pub(super) fn controller_flags(model: &str) -> u32 {
    match model {
        "pci-bridge" => BRIDGE,
        "dmi-to-pci-bridge" => DMI,
        "pcie-to-pci-bridge" => PCIE_TO_PCI,
        "pcie-root-port" => ROOT_PORT | AGGREGATE,
        "pcie-switch-upstream-port" => UPSTREAM,
        "pcie-switch-downstream-port" => DOWNSTREAM,
        "pci-expander-bus" => PXB,
        "pcie-expander-bus" => PXB_PCIE,
        _ => 0,
    }
}

/// What a device wants; 0 when it is not on PCI.
pub(super) fn flags(dev: &Devices, m: &Machine, which: Dev) -> u32 {
    let pci = PCI | HOTPLUG;
    let pcie = if m.has_pcie() { PCIE | HOTPLUG } else { pci };
    let virtio = |model: Option<DiskModel>| match model {
        Some(DiskModel::VirtioTransitional) => pci,
        _ => pcie,
    };
    let get = || -> Option<u32> {
        Some(match which {
            Dev::Controller(i) => controller(dev.controllers.get(i)?, pci, pcie),
            Dev::Filesystem(i) => {
                let x = dev.filesystems.get(i)?;
                let driver = x.driver.as_ref().and_then(|driver| driver.kind.as_deref());
                // A media player is on the USB bus.
                if driver == Some("mtp") { 0 } else { virtio(x.model) }
            }
            Dev::Interface(i) => {
                let x = dev.interfaces.get(i)?;
                if x.kind == InterfaceType::Hostdev {
                    pcie
                } else {
                    match x.model.as_ref().map(|m| m.kind.as_str()) {
                        None | Some("usb-net" | "spapr-vlan") => 0,
                        // Of models that libvirt has no name for it assumes the best, whatever
                        // they really are; the guest keeps its place.
                        Some("virtio" | "virtio-non-transitional" | "e1000e" | "igb") => pcie,
                        Some(model) if is_known_nic(model) => pci,
                        Some(_) => pcie,
                    }
                }
            }
            Dev::Sound(i) => match dev.sounds.get(i)?.model {
                SoundModel::Usb | SoundModel::Sb16 | SoundModel::Pcspk => 0,
                SoundModel::Virtio => pcie,
                _ => pci,
            },
            Dev::Disk(i) => {
                let x = dev.disks.get(i)?;
                if x.target.bus == Some(DiskBus::Virtio) { virtio(x.model) } else { 0 }
            }
            Dev::Hostdev(i) => {
                let x = dev.hostdevs.get(i)?;
                match x.kind {
                    Some(HostdevType::Pci) => pcie,
                    Some(HostdevType::Mdev) => match x.model.as_deref() {
                        Some("vfio-ccw" | "vfio-ap") => 0,
                        _ => pcie,
                    },
                    Some(HostdevType::ScsiHost) => match x.model.as_deref() {
                        Some("virtio-transitional") => pci,
                        _ => pcie,
                    },
                    _ => 0,
                }
            }
            Dev::Balloon(i) => match dev.memballoons.get(i)?.model {
                BalloonModel::Virtio | BalloonModel::VirtioNonTransitional => pcie,
                BalloonModel::VirtioTransitional => pci,
                _ => 0,
            },
            Dev::Rng(i) => virtio(Some(dev.rngs.get(i)?.model)),
            Dev::Watchdog(i) => match dev.watchdogs.get(i)?.model {
                WatchdogModel::I6300esb => pci,
                _ => 0,
            },
            Dev::Video(i) => match dev.videos.get(i)?.model.as_ref()?.kind {
                VideoType::Virtio => pcie,
                VideoType::None | VideoType::Ramfb | VideoType::Gop | VideoType::Xen => 0,
                VideoType::Bochs => pcie,
                VideoType::Vbox | VideoType::Parallels => 0,
                _ => pci,
            },
            Dev::Shmem(_) => pci,
            Dev::Input(i) => {
                let x = dev.inputs.get(i)?;
                if x.bus == Some(InputBus::Virtio) { virtio(x.model) } else { 0 }
            }
            Dev::Serial(i) => {
                let x = dev.serials.get(i)?;
                if x.target.as_ref()?.kind == Some(CharTargetType::PciSerial) { pci } else { 0 }
            }
            Dev::Memory(i) => match dev.memories.get(i)?.model {
                MemoryModel::VirtioPmem | MemoryModel::VirtioMem => pcie,
                _ => 0,
            },
            Dev::Vsock(i) => virtio(dev.vsocks.get(i)?.model),
            Dev::Crypto(_) => pci,
            Dev::Iommu(i) => match dev.iommus.get(i)?.model {
                IommuModel::Virtio => (pcie & !HOTPLUG) | INTEGRATED,
                _ => 0,
            },
            Dev::Panic(i) => match dev.panics.get(i)?.model {
                Some(PanicModel::Pvpanic) => (pcie & !HOTPLUG) | INTEGRATED,
                _ => 0,
            },
            Dev::Pstore(_) => pci,
        })
    };
    get().unwrap_or(0)
}

fn controller(c: &Controller, pci: u32, pcie: u32) -> u32 {
    let model = c.model.as_deref().unwrap_or_default();
    match c.kind {
        ControllerType::Pci => controller_flags(model),
        ControllerType::Sata => pci,
        ControllerType::Usb => match model {
            "nec-xhci" | "qemu-xhci" => pcie,
            "none" | "qusb1" | "qusb2" => 0,
            _ => pci,
        },
        ControllerType::Scsi => match model {
            "virtio-scsi" | "virtio-non-transitional" => pcie,
            "virtio-transitional" => pci,
            "lsisas1078" => pci,
            "mptsas1068" | "pvscsi" => pcie,
            "lsisas1068" | "lsilogic" | "buslogic" | "am53c974" | "dc390" => pci,
            "ibmvscsi" => 0,
            "ncr53c90" => 0,
            _ => pci,
        },
        ControllerType::VirtioSerial => match model {
            "virtio-transitional" => pci,
            _ => pcie,
        },
        ControllerType::Ide => pci,
        _ => 0,
    }
}

/// Whether libvirt has a name of its own for a network card's model. It spells one of them
/// differently than QEMU does (`scm91c111`), so that QEMU's is not among them.
fn is_known_nic(model: &str) -> bool {
    const KNOWN: [&str; 20] = [
        "virtio",
        "virtio-transitional",
        "virtio-non-transitional",
        "e1000",
        "e1000e",
        "igb",
        "rtl8139",
        "netfront",
        "usb-net",
        "spapr-vlan",
        "lan9118",
        "scm91c111",
        "vlance",
        "vmxnet",
        "vmxnet2",
        "vmxnet3",
        "Am79C970A",
        "82540EM",
        "82545EM",
        "82543GC",
    ];
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(model))
}
