//! Which devices can come to a domain, leave it or be changed: by kind, bus and model.

use super::device::{Device, DeviceKind, Place};
use super::error;
use super::find::same_chardev_target;
use crate::domain::Domain;
use crate::domain::devices::chardev::{CharTargetType, Serial};
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::{Disk, DiskBus, DiskDevice};
use crate::domain::devices::filesystem::Filesystem;
use crate::domain::devices::hostdev::HostdevMode;
use crate::domain::devices::input::{InputBus, InputType};
use crate::domain::devices::interface::InterfaceType;
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};
use crate::domain::devices::watchdog::WatchdogModel;
use diag::{ErrorCode, VirError};

/// What is done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It comes.
    Attach,
    /// It goes.
    Detach,
    /// It is changed.
    Update,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Update => "update",
        }
    }
}

fn unsupported(text: impl Into<String>) -> VirError {
    error(ErrorCode::OPERATION_UNSUPPORTED, text)
}

/// Kinds that a running guest can get and lose.
fn comes_and_goes(kind: DeviceKind) -> bool {
    use DeviceKind::*;
    matches!(
        kind,
        Disk | Controller
            | Lease
            | Interface
            | Hostdev
            | Redirdev
            | Serial
            | Parallel
            | Console
            | Channel
            | Rng
            | Shmem
            | Memory
            | Watchdog
            | Input
            | Vsock
            | Filesystem
    )
}

/// Kinds that can be changed as they are.
fn changes(kind: DeviceKind) -> bool {
    use DeviceKind::*;
    matches!(kind, Disk | Interface | Graphics | Memory)
}

/// Refuses what cannot be done with a stored definition's devices of a kind.
///
/// # Errors
/// libvirt's words.
pub fn stored(verb: Verb, kind: DeviceKind) -> Result<(), VirError> {
    let able = match verb {
        Verb::Update => changes(kind),
        _ => comes_and_goes(kind) || matches!(kind, DeviceKind::Sound | DeviceKind::Iommu),
    };
    if able {
        return Ok(());
    }
    let (verb, word) = (verb.word(), kind.word());
    Err(unsupported(format!("persistent {verb} of device '{word}' is not supported")))
}

/// Refuses what cannot be done with a running guest's devices of a kind.
///
/// # Errors
/// libvirt's words.
pub fn running(verb: Verb, kind: DeviceKind) -> Result<(), VirError> {
    let word = kind.word();
    match verb {
        Verb::Update if changes(kind) => Ok(()),
        Verb::Update => Err(error(
            ErrorCode::CONFIG_UNSUPPORTED,
            format!("live update of device '{word}' is not supported"),
        )),
        _ if comes_and_goes(kind) => Ok(()),
        verb => {
            let verb = verb.word();
            Err(unsupported(format!("live {verb} of device '{word}' is not supported")))
        }
    }
}

/// Refuses a device that cannot come to a running guest.
///
/// # Errors
/// libvirt's words for the kind, its bus or model.
pub fn can_plug(domain: &Domain, device: &Device) -> Result<(), VirError> {
    running(Verb::Attach, device.kind())?;
    if let Some(name) = device.alias()
        && Place::of_alias(domain, &name).is_some()
    {
        let text = format!("non unique alias detected: {name}");
        return Err(error(ErrorCode::CONFIG_UNSUPPORTED, text));
    }
    match device {
        Device::Disk(disk) => {
            let there = domain.devices.iter().flat_map(|devices| &devices.disks);
            if let Some(there) = there.into_iter().find(|there| there.target.dev == disk.target.dev)
            {
                let text = format!(
                    "target '{}' duplicated for disk sources '{}' and '{}'",
                    disk.target.dev,
                    source_text(there),
                    source_text(disk)
                );
                return Err(error(ErrorCode::XML_ERROR, text));
            }
            if disk.device == DiskDevice::Floppy {
                return Err(unsupported("floppy device hotplug isn't supported"));
            }
            let bus = disk.target.bus.unwrap_or_default();
            if !matches!(bus, DiskBus::Usb | DiskBus::Virtio | DiskBus::Scsi) {
                let bus = bus.as_str();
                return Err(unsupported(format!("disk bus '{bus}' cannot be hotplugged.")));
            }
            if disk.device == DiskDevice::Cdrom && bus == DiskBus::Virtio {
                let dev = &disk.target.dev;
                let text = format!("disk type of '{dev}' does not support ejectable media");
                return Err(error(ErrorCode::CONFIG_UNSUPPORTED, text));
            }
        }
        Device::Controller(controller) => {
            if !matches!(controller.kind, ControllerType::Scsi | ControllerType::VirtioSerial) {
                let kind = controller.kind.as_str();
                return Err(unsupported(format!("'{kind}' controller cannot be hot plugged.")));
            }
            let there = domain.devices.iter().flat_map(|devices| &devices.controllers);
            let index = controller.index;
            let same = |c: &&crate::domain::devices::controller::Controller| {
                c.kind == controller.kind && index.is_some() && c.index == index
            };
            if let Some(same) = there.into_iter().find(same) {
                let (kind, index) = (same.kind.as_str(), same.index.unwrap_or(0));
                return Err(error(
                    ErrorCode::OPERATION_FAILED,
                    format!("target {kind}:{index} already exists"),
                ));
            }
        }
        Device::Input(input) => {
            let bus = input.bus.unwrap_or(default_bus(input.kind));
            let evdev = input.kind == InputType::Evdev;
            if !evdev && !matches!(bus, InputBus::Usb | InputBus::Virtio) {
                let bus = bus.as_str();
                let text = format!("input device on bus '{bus}' cannot be hot plugged.");
                return Err(unsupported(text));
            }
        }
        Device::Console(console) if is_serial_console(console) => {
            let text = "unsupported console target type serial";
            return Err(error(ErrorCode::CONFIG_UNSUPPORTED, text));
        }
        Device::Watchdog(watchdog) => {
            // The action is the guest's, not the device's.
            let there = domain.devices.iter().flat_map(|devices| &devices.watchdogs);
            if there.into_iter().any(|there| there.action != watchdog.action) {
                let text = "watchdogs with different actions are not supported with this QEMU \
                            binary";
                return Err(error(ErrorCode::CONFIG_UNSUPPORTED, text));
            }
            if is_board_watchdog(watchdog.model) {
                let model = watchdog.model.as_str();
                let text = format!("hotplug of watchdog model '{model}' is not supported");
                return Err(unsupported(text));
            }
        }
        Device::Interface(nic) if !can_plug_interface(nic.kind) => {
            let kind = nic.kind.as_str();
            let text = format!("hotplug of interface type of {kind} is not implemented yet");
            return Err(unsupported(text));
        }
        Device::Memory(_) => {
            fits_memory(domain, device)?;
            fits_slots(domain, device, true)?;
        }
        Device::Vsock(_) if domain.devices.iter().any(|devices| !devices.vsocks.is_empty()) => {
            let text = "the domain already has a vsock device";
            return Err(error(ErrorCode::OPERATION_INVALID, text));
        }
        Device::Filesystem(fs) => only_virtiofs(fs)?,
        Device::Serial(_) | Device::Parallel(_) | Device::Channel(_)
            if domain.devices.iter().any(|there| same_chardev_target(there, device)) =>
        {
            return Err(error(ErrorCode::OPERATION_INVALID, "chardev already exists"));
        }
        _ => {}
    }
    Ok(())
}

/// Refuses memory beyond what a domain can have.
///
/// # Errors
/// libvirt's words, with both sizes in KiB.
pub fn fits_memory(domain: &Domain, device: &Device) -> Result<(), VirError> {
    let Device::Memory(memory) = device else { return Ok(()) };
    let now = domain.memory.as_ref().map_or(0, |memory| memory.size.0);
    let size = memory.target.size.0;
    match domain.max_memory.as_ref().map(|most| most.size.0) {
        Some(most) if now.saturating_add(size) > most => {
            let text = format!(
                "Attaching memory device with size '{size}' would exceed domain's maxMemory config \
                 size '{most}'"
            );
            Err(error(ErrorCode::CONFIG_UNSUPPORTED, text))
        }
        _ => Ok(()),
    }
}

/// Refuses a module for which a domain has no slot left.
///
/// # Errors
/// libvirt's words, which are others for a running guest.
pub fn fits_slots(domain: &Domain, device: &Device, running: bool) -> Result<(), VirError> {
    let needs =
        |memory: &MemoryDevice| matches!(memory.model, MemoryModel::Dimm | MemoryModel::Nvdimm);
    let there = domain.devices.iter().flat_map(|devices| &devices.memories);
    let count = there.filter(|memory| needs(memory)).count() + 1;
    let slots = domain.max_memory.as_ref().map_or(0, |most| most.slots.unwrap_or(0));
    match device {
        Device::Memory(memory) if needs(memory) && slots > 0 && count > slots as usize => {
            let text = match running {
                true => format!(
                    "count of memory devices requiring memory slots '{count}' exceeds slots count \
                     '{slots}'"
                ),
                false => "no free memory device slot available".to_owned(),
            };
            Err(error(ErrorCode::CONFIG_UNSUPPORTED, text))
        }
        _ => Ok(()),
    }
}

/// Refuses a device that cannot leave a running guest.
///
/// # Errors
/// libvirt's words for the kind, its bus or model.
pub fn can_unplug(domain: &Domain, device: &Device) -> Result<(), VirError> {
    running(Verb::Detach, device.kind())?;
    match device {
        Device::Disk(disk) => {
            let bus = disk.target.bus.unwrap_or_default();
            let (name, device) = (bus.as_str(), disk.device);
            let fits = match device {
                DiskDevice::Disk | DiskDevice::Lun => {
                    matches!(bus, DiskBus::Virtio | DiskBus::Usb | DiskBus::Scsi)
                }
                DiskDevice::Cdrom => matches!(bus, DiskBus::Usb | DiskBus::Scsi),
                DiskDevice::Floppy => false,
            };
            if fits {
                return Ok(());
            }
            if device == DiskDevice::Floppy {
                let text = "disk device type 'floppy' cannot be detached";
                return Err(unsupported(text));
            }
            if device == DiskDevice::Cdrom {
                let text = "disk device type 'cdrom' cannot be detached";
                return Err(unsupported(text));
            }
            Err(unsupported(format!("This type of disk cannot be hot unplugged: bus '{name}'")))
        }
        Device::Controller(controller) => {
            if controller.kind != ControllerType::Scsi {
                let kind = controller.kind.as_str();
                return Err(unsupported(format!("'{kind}' controller cannot be hot unplugged.")));
            }
            if is_busy(domain, controller.index.unwrap_or(0)) {
                let text = "device cannot be detached: device is busy";
                return Err(error(ErrorCode::OPERATION_FAILED, text));
            }
            Ok(())
        }
        Device::Input(input) => {
            let bus = input.bus.unwrap_or(default_bus(input.kind));
            if input.kind != InputType::Evdev && !matches!(bus, InputBus::Usb | InputBus::Virtio) {
                let bus = bus.as_str();
                return Err(unsupported(format!("input device on bus '{bus}' cannot be detached")));
            }
            Ok(())
        }
        Device::Hostdev(hostdev) if hostdev.mode == HostdevMode::Capabilities => {
            let text = "hot unplug is not supported for hostdev mode 'capabilities'";
            Err(error(ErrorCode::CONFIG_UNSUPPORTED, text))
        }
        Device::Filesystem(fs) => only_virtiofs(fs),
        Device::Watchdog(watchdog) if is_board_watchdog(watchdog.model) => {
            let model = watchdog.model.as_str();
            let text = format!("hot unplug of watchdog of model {model} is not supported");
            Err(unsupported(text))
        }
        _ => Ok(()),
    }
}

/// Folders by virtiofs come and go; those by 9p stay.
fn only_virtiofs(fs: &Filesystem) -> Result<(), VirError> {
    match fs.driver.as_ref().and_then(|driver| driver.kind.as_deref()) {
        Some("virtiofs") => Ok(()),
        _ => Err(unsupported("only virtiofs filesystems can be hotplugged")),
    }
}

/// Whether a console is the first serial port once more.
pub(super) fn is_serial_console(console: &Serial) -> bool {
    matches!(
        console.target.as_ref().and_then(|target| target.kind),
        None | Some(CharTargetType::Serial)
    )
}

/// Whether a watchdog is a part of the board.
fn is_board_watchdog(model: WatchdogModel) -> bool {
    matches!(model, WatchdogModel::Ib700 | WatchdogModel::Itco)
}

/// Whether an interface of this type can come to a running guest.
fn can_plug_interface(kind: InterfaceType) -> bool {
    use InterfaceType::*;
    !matches!(kind, Server | Client | Mcast | Udp | Internal | Null | Vds)
}

/// Where a disk's image is, as messages tell it.
fn source_text(disk: &Disk) -> &str {
    let source = disk.source.as_ref();
    let place = source.and_then(|s| s.file.as_deref().or(s.dev.as_deref()).or(s.name.as_deref()));
    place.unwrap_or("<null>")
}

fn default_bus(kind: InputType) -> InputBus {
    if kind == InputType::Tablet { InputBus::Usb } else { InputBus::Ps2 }
}

/// Whether anything hangs on a SCSI controller.
fn is_busy(domain: &Domain, index: u32) -> bool {
    use crate::domain::address::Address;
    let on = |address: &Option<Address>| matches!(address, Some(Address::Drive(drive)) if drive.controller == index);
    domain.devices.iter().any(|devices| {
        let disks = devices.disks.iter();
        disks.filter(|disk| disk.target.bus == Some(DiskBus::Scsi)).any(|disk| on(&disk.address))
            || devices.hostdevs.iter().any(|hostdev| on(&hostdev.address))
    })
}
