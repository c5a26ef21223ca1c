//! Putting a device into a domain: what it leaves open is filled in against what is there.

use super::device::{Device, DeviceKind, Place};
use super::support::{Verb, running};
use crate::domain::address::Address;
use crate::domain::alias::Alias;
use crate::domain::assign_aliases;
use crate::domain::defaults::{self, DefaultsContext, fault};
use crate::domain::devices::chardev::{CharTarget, CharTargetType, Serial};
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::memory::MemoryModel;
use crate::domain::live::USER_ALIAS_PREFIX;
use crate::domain::scalar::Kib;
use crate::domain::{Domain, devices::Devices};
use diag::{Diagnostic, ErrorCode, Severity};

/// Stands for the name of a device that has none yet; no name of XML's.
const MARK: &str = "\u{fffe}new";

/// A running guest's definition with a device more.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The definition.
    pub domain: Domain,
    /// Where the device is.
    pub place: Place,
    /// Controllers that the device needs and the guest did not have: plugged before it, in order.
    pub controllers: Vec<Place>,
}

fn one(code: ErrorCode, text: &str) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    fault(&mut out, "domain.hotplug", code, text);
    out
}

/// The device under a name by which it is found again, and that name. The names of a running
/// guest's devices are the daemon's to give.
fn named(device: Device) -> (Device, String) {
    let mut name = MARK.to_owned();
    let device = device.with_info(&mut |alias| match alias {
        Some(alias) if alias.name.starts_with(USER_ALIAS_PREFIX) => name.clone_from(&alias.name),
        _ => *alias = Some(Alias { name: MARK.to_owned() }),
    });
    (device, name)
}

/// Fills in what a guest with the device leaves open. The place of the device after that.
fn complete(
    domain: &mut Domain,
    device: Device,
    ctx: &mut DefaultsContext<'_>,
) -> Result<Place, Vec<Diagnostic>> {
    let (device, name) = named(device);
    let place = device.append(domain.devices_mut());
    let faults = defaults::apply(domain, ctx);
    if faults.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(faults);
    }
    // Kinds without a name are never moved.
    let place = Place::of_alias(domain, &name).unwrap_or(place);
    crate::domain::walk::for_each_info(domain, &mut |info| {
        if info.alias.as_ref().is_some_and(|alias| alias.name == MARK) {
            *info.alias = None;
        }
    });
    Ok(place)
}

/// Puts a device into a stored definition, with the controllers and addresses that it needs.
///
/// # Errors
/// There is no place for it.
pub fn prepare(
    domain: &Domain,
    device: Device,
    ctx: &mut DefaultsContext<'_>,
) -> Result<(Domain, Place), Vec<Diagnostic>> {
    let mut whole = domain.clone();
    let size = memory_size(&device);
    let place = complete(&mut whole, device, ctx)?;
    grow(&mut whole, domain, size);
    let hubs = |domain: &Domain| domain.devices.as_ref().map_or(0, |devices| devices.hubs.len());
    if hubs(&whole) > hubs(domain) && place.kind != DeviceKind::Hub {
        return Err(one(ErrorCode::INTERNAL_ERROR, "No free USB ports"));
    }
    Ok((whole, place))
}

/// A guest like this without the devices of the kind of `device` that it could lose, and the same
/// with the device: what the second has of faults and the first has not is wrong with the device
/// in itself. None where it finds no place.
pub fn by_itself(
    domain: &Domain,
    device: &Device,
    ctx: &mut DefaultsContext<'_>,
) -> Option<(Domain, Domain)> {
    let mut before = domain.clone();
    let kind = device.kind();
    match device {
        // The others are what devices hang on.
        Device::Controller(own) => before
            .devices_mut()
            .controllers
            .retain(|there| there.kind != own.kind || there.index != own.index),
        _ if running(Verb::Attach, kind).is_ok() => {
            kind.keep_only(before.devices_mut(), usize::MAX);
        }
        _ => {}
    }
    // Whether there is room for it is not its own fault.
    if let Some(most) = &mut before.max_memory {
        most.size.0 = most.size.0.saturating_add(memory_size(device));
    }
    let (mut after, _) = prepare(&before, device.clone(), ctx).ok()?;
    // What controllers came with it is not its own either.
    let there: Vec<_> =
        before.devices.iter().flat_map(|devices| &devices.controllers).cloned().collect();
    if kind != DeviceKind::Controller {
        after.devices_mut().controllers.retain(|new| {
            let same = |c: &Controller| c.kind == new.kind && c.index == new.index;
            new.kind == ControllerType::Pci || there.iter().any(same)
        });
    }
    Some((before, after))
}

/// Refuses an address that no device can come to while the guest runs.
fn refuse_address(domain: &Domain, device: &Device) -> Result<(), Vec<Diagnostic>> {
    let nothing = Devices::default();
    let devices = domain.devices.as_ref().unwrap_or(&nothing);
    match device.address() {
        Some(Address::Pci(address)) if !defaults::is_open(&address) => {
            match defaults::no_hotplug(devices, &address) {
                Some((code, text)) => Err(one(code, &text)),
                None => Ok(()),
            }
        }
        Some(Address::VirtioSerial(address)) => {
            let controller = address.controller;
            let mut there = devices.controllers.iter();
            let is_it = |c: &Controller| {
                c.kind == ControllerType::VirtioSerial && c.index == Some(controller)
            };
            if there.any(is_it) {
                return Ok(());
            }
            let text = format!("virtio serial controller {controller} is missing");
            Err(one(ErrorCode::XML_ERROR, &text))
        }
        _ => Ok(()),
    }
}

/// Puts a device into a running guest's definition. Its buses are those there are; only a SCSI
/// controller can come with it.
///
/// # Errors
/// There is no place for it, in libvirt's words.
pub fn attach(
    domain: &Domain,
    device: Device,
    ctx: &mut DefaultsContext<'_>,
) -> Result<Attached, Vec<Diagnostic>> {
    refuse_address(domain, &device)?;
    let mut whole = domain.clone();
    let device = round_up(domain, device);
    let size = memory_size(&device);
    let mut place = complete(&mut whole, device.clone(), ctx)?;
    if let Some(mut more) = like_the_others(domain, &whole, &device) {
        place = complete(&mut more, device, ctx)?;
        whole = more;
    }
    let nothing = Devices::default();
    let before = domain.devices.as_ref().unwrap_or(&nothing);
    let after = whole.devices.as_ref().unwrap_or(&nothing);
    let Some(device) = place.get(after) else {
        return Err(one(ErrorCode::INTERNAL_ERROR, "the device was lost on the way"));
    };
    let is_new = |c: &&Controller| {
        let same = |x: &Controller| x.kind == c.kind && x.index == c.index;
        let own = place.kind == DeviceKind::Controller
            && matches!(&device, Device::Controller(own) if own.kind == c.kind && own.index == c.index);
        !own && !before.controllers.iter().any(same)
    };
    let new: Vec<&Controller> = after.controllers.iter().filter(is_new).collect();
    let has = |kind: ControllerType| new.iter().any(|c| c.kind == kind);
    if has(ControllerType::VirtioSerial) {
        let text = "no virtio-serial controllers are available";
        return Err(one(ErrorCode::INTERNAL_ERROR, text));
    }
    if after.hubs.len() > before.hubs.len() && place.kind != DeviceKind::Hub
        || has(ControllerType::Usb)
        || matches!(device.address(), Some(Address::Usb(usb)) if usb.port.is_none())
    {
        return Err(one(ErrorCode::INTERNAL_ERROR, "No free USB ports"));
    }
    let scsi: Vec<Controller> =
        new.iter().filter(|c| c.kind == ControllerType::Scsi).map(|c| (*c).clone()).collect();
    let on_new_bus = |address: &Option<Address>| {
        let Some(Address::Pci(pci)) = address else { return false };
        let bus = u32::try_from(pci.bus.0).unwrap_or(u32::MAX);
        new.iter().any(|c| c.kind == ControllerType::Pci && c.index == Some(bus))
    };
    if on_new_bus(&device.address()) || scsi.iter().any(|c| on_new_bus(&c.address)) {
        return Err(one(ErrorCode::INTERNAL_ERROR, "No more available PCI slots"));
    }
    // Only these come: what else the defaults touched is as the guest runs.
    let mut live = domain.clone();
    let indexes: Vec<Option<u32>> = scsi.iter().map(|c| c.index).collect();
    for controller in scsi {
        defaults::insert_controller(&mut live, controller);
    }
    // A guest is given what such a device has only when it asks for it.
    let later = matches!(&device, Device::Memory(memory) if memory.model == MemoryModel::VirtioMem);
    let place = insert(&mut live, device);
    assign_aliases(&mut live);
    grow(&mut live, domain, size);
    if later {
        live.current_memory = domain.current_memory;
    }
    let list = &live.devices_mut().controllers;
    let controllers = indexes.into_iter().filter_map(|index| {
        let found = list.iter().position(|c| c.kind == ControllerType::Scsi && c.index == index)?;
        Some(Place { kind: DeviceKind::Controller, index: found })
    });
    let controllers = controllers.collect();
    Ok(Attached { domain: live, place, controllers })
}

/// The guest before a device came, with the SCSI controllers that it needs and `whole` got: in a
/// running guest they are of the model that the last of its own has. None where no controller is new,
/// or nothing is there to be like.
fn like_the_others(domain: &Domain, whole: &Domain, device: &Device) -> Option<Domain> {
    let scsi = |domain: &Domain| -> Vec<Controller> {
        let all = domain.devices.iter().flat_map(|devices| &devices.controllers);
        all.filter(|c| c.kind == ControllerType::Scsi).cloned().collect()
    };
    let own = scsi(domain);
    let model = own.last()?.model.clone()?;
    if matches!(device, Device::Controller(_)) {
        return None;
    }
    let mut new = scsi(whole);
    new.retain(|c| own.iter().all(|there| there.index != c.index));
    if new.is_empty() {
        return None;
    }
    let mut more = domain.clone();
    for c in new {
        let alike = Controller {
            kind: ControllerType::Scsi,
            index: c.index,
            model: Some(model.clone()),
            ..Controller::default()
        };
        defaults::insert_controller(&mut more, alike);
    }
    Some(more)
}

/// Puts a device at its place among those of its kind.
fn insert(domain: &mut Domain, device: Device) -> Place {
    match device {
        Device::Controller(controller) => {
            let (kind, index) = (controller.kind, controller.index);
            defaults::insert_controller(domain, *controller);
            let list = &domain.devices_mut().controllers;
            let found = list.iter().position(|c| c.kind == kind && c.index == index);
            Place { kind: DeviceKind::Controller, index: found.unwrap_or(0) }
        }
        Device::Disk(disk) => {
            let target = disk.target.dev.clone();
            let list = &mut domain.devices_mut().disks;
            list.push(*disk);
            defaults::disks::sort(list);
            let found = list.iter().position(|disk| disk.target.dev == target);
            Place { kind: DeviceKind::Disk, index: found.unwrap_or(0) }
        }
        other => other.append(domain.devices_mut()),
    }
}

/// KiB of memory that a device brings along.
pub(super) fn memory_size(device: &Device) -> u64 {
    match device {
        Device::Memory(memory) => memory.target.size.0,
        _ => 0,
    }
}

/// A memory module of a running guest has a whole number of the units in which machines add memory.
pub(super) fn round_up(domain: &Domain, mut device: Device) -> Device {
    let arch = domain.os.as_ref().and_then(|os| os.kind.arch.as_deref()).unwrap_or_default();
    let unit = if arch.starts_with("ppc64") { 256 << 10 } else { 2 << 10 };
    if let Device::Memory(memory) = &mut device
        && memory.model == MemoryModel::Dimm
        && let Some(size) = memory.target.size.0.checked_next_multiple_of(unit)
    {
        memory.target.size.0 = size;
    }
    device
}

/// Makes the guest `kib` larger than `before`.
fn grow(domain: &mut Domain, before: &Domain, kib: u64) {
    if kib == 0 {
        return;
    }
    if let (Some(memory), Some(was)) = (&mut domain.memory, &before.memory) {
        memory.size = Kib(was.size.0.saturating_add(kib));
    }
    if let Some(was) = before.current_memory {
        domain.current_memory = Some(Kib(was.0.saturating_add(kib)));
    }
}

/// After the first serial port went: the console that was the same device is that of the next port.
fn another_first_console(devices: &mut Devices) {
    let kind = |serial: &Serial| serial.target.as_ref().and_then(|target| target.kind);
    if devices.consoles.first().and_then(kind) != Some(CharTargetType::Serial) {
        return;
    }
    devices.consoles.remove(0);
    let Some(first) = devices.serials.first() else { return };
    if matches!(
        kind(first),
        Some(CharTargetType::UsbSerial | CharTargetType::PciSerial | CharTargetType::IsaDebug)
    ) {
        return;
    }
    let target = CharTarget {
        kind: Some(CharTargetType::Serial),
        port: first.target.as_ref().and_then(|target| target.port),
        ..CharTarget::default()
    };
    let console = Serial { target: Some(target), address: None, acpi: None, ..first.clone() };
    devices.consoles.insert(0, console);
}

/// Takes a device out of a definition, with the memory that it brought.
pub fn take_out(domain: &mut Domain, place: Place) {
    let device = domain.devices.as_ref().and_then(|devices| place.get(devices));
    let size = device.as_ref().map_or(0, memory_size);
    // Of a device that gives memory when asked, the guest had what it was given.
    let given = match &device {
        Some(Device::Memory(memory)) if memory.model == MemoryModel::VirtioMem => {
            memory.target.current.map_or(0, |current| current.0)
        }
        _ => size,
    };
    place.remove(domain.devices_mut());
    if (place.kind, place.index) == (DeviceKind::Serial, 0) {
        another_first_console(domain.devices_mut());
    }
    if let Some(memory) = &mut domain.memory {
        memory.size = Kib(memory.size.0.saturating_sub(size));
        if let Some(current) = &mut domain.current_memory {
            *current = Kib(current.0.saturating_sub(given).min(memory.size.0));
        }
    }
}
