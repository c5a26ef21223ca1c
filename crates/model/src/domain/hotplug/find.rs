//! The device of a domain that a client means by a device's document.

use super::device::{Device, DeviceKind, Place};
use super::error;
use super::support::is_serial_console;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::alias::Alias;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharSource, CharTargetType, CharType, Serial};
use crate::domain::devices::hostdev::{Hostdev, HostdevType};
use crate::domain::devices::interface::Interface;
use diag::{ErrorCode, ErrorDomain, VirError};

/// What is not said fits everything.
fn fits<T: PartialEq>(wanted: &Option<T>, there: &Option<T>) -> bool {
    wanted.is_none() || wanted == there
}

/// A text, or what libvirt prints for none.
pub(super) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("(<null>)")
}

fn missing(text: impl Into<String>) -> VirError {
    error(ErrorCode::DEVICE_MISSING, text)
}

/// Which definition is looked through: messages differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Running,
    Stored,
}

/// Finds the device of a running guest that `wanted` describes.
///
/// # Errors
/// libvirt's words for none, or for several.
pub fn running(domain: &Domain, wanted: &Device) -> Result<Place, VirError> {
    let wanted = super::attach::round_up(domain, wanted.clone());
    find(domain, &wanted, Side::Running)
}

/// Finds the device of a stored definition that `wanted` describes.
///
/// # Errors
/// As [`running`].
pub fn stored(domain: &Domain, wanted: &Device) -> Result<Place, VirError> {
    // It is the first serial port once more.
    if let Device::Console(console) = wanted
        && is_serial_console(console)
    {
        let text = "detaching serial console is not supported";
        return Err(error(ErrorCode::OPERATION_INVALID, text));
    }
    find(domain, wanted, Side::Stored)
}

fn find(domain: &Domain, wanted: &Device, side: Side) -> Result<Place, VirError> {
    let nothing = Devices::default();
    let devices = domain.devices.as_ref().unwrap_or(&nothing);
    let kind = wanted.kind();
    if let Device::Interface(nic) = wanted {
        return interface(devices, nic);
    }
    let found = (0..kind.count(devices)).find(|index| {
        let there = Place { kind, index: *index }.get(devices);
        there.is_some_and(|there| is_it(wanted, &there))
    });
    match found {
        Some(index) => Ok(Place { kind, index }),
        None => Err(none(wanted, side)),
    }
}

fn info(
    wanted: (&Option<Alias>, &Option<Address>),
    there: (&Option<Alias>, &Option<Address>),
) -> bool {
    fits(wanted.0, there.0) && fits(wanted.1, there.1)
}

fn is_it(wanted: &Device, there: &Device) -> bool {
    macro_rules! same_info {
        ($a:expr, $b:expr) => {
            info((&$a.alias, &$a.address), (&$b.alias, &$b.address))
        };
    }
    match (wanted, there) {
        (Device::Disk(a), Device::Disk(b)) => a.target.dev == b.target.dev,
        (Device::Controller(a), Device::Controller(b)) => {
            a.kind == b.kind && a.index.is_some() && a.index == b.index
        }
        (Device::Lease(a), Device::Lease(b)) => a.key == b.key && a.lockspace == b.lockspace,
        (Device::Filesystem(a), Device::Filesystem(b)) => a.target.dir == b.target.dir,
        (Device::Serial(a), Device::Serial(b))
        | (Device::Parallel(a), Device::Parallel(b))
        | (Device::Console(a), Device::Console(b)) => {
            same_source(&a.source, &b.source) && same_port(a, b) && fits(&a.alias, &b.alias)
        }
        (Device::Channel(a), Device::Channel(b)) => {
            same_source(&a.source, &b.source) && same_target(a, b) && fits(&a.alias, &b.alias)
        }
        (Device::Input(a), Device::Input(b)) => {
            a.kind == b.kind
                && fits(&a.bus, &b.bus)
                && fits(&a.model, &b.model)
                && a.source == b.source
                && same_info!(a, b)
        }
        (Device::Hostdev(a), Device::Hostdev(b)) => same_hostdev(a, b),
        (Device::Redirdev(a), Device::Redirdev(b)) => {
            a.bus == b.bus && same_source(&a.source, &b.source) && same_info!(a, b)
        }
        (Device::Watchdog(a), Device::Watchdog(b)) => {
            a.model == b.model && a.action == b.action && same_info!(a, b)
        }
        (Device::Rng(a), Device::Rng(b)) => {
            a.model == b.model
                && a.rate == b.rate
                && a.backend.model == b.backend.model
                && fits(&a.backend.device, &b.backend.device)
                && same_info!(a, b)
        }
        (Device::Shmem(a), Device::Shmem(b)) => {
            a.name == b.name
                && fits(&a.model, &b.model)
                && fits(&a.size, &b.size)
                && fits(&a.role, &b.role)
                && same_info!(a, b)
        }
        (Device::Memory(a), Device::Memory(b)) => {
            a.model == b.model
                && a.target.size == b.target.size
                && fits(&a.target.node, &b.target.node)
                && fits(&a.target.block, &b.target.block)
                && fits(&a.target.label, &b.target.label)
                && fits(&a.source, &b.source)
                && fits(&a.uuid, &b.uuid)
                && same_info!(a, b)
        }
        (Device::Vsock(a), Device::Vsock(b)) => {
            fits(&a.model, &b.model) && fits(&a.cid, &b.cid) && same_info!(a, b)
        }
        (Device::Sound(a), Device::Sound(b)) => a.model == b.model && same_info!(a, b),
        (Device::Iommu(a), Device::Iommu(b)) => a.model == b.model,
        (Device::Graphics(a), Device::Graphics(b)) => a.kind == b.kind,
        _ => false,
    }
}

/// The same source: of a pseudo-terminal or a file, its path too.
fn same_source(a: &CharSource, b: &CharSource) -> bool {
    if a.kind != b.kind {
        return false;
    }
    let path = |source: &CharSource| source.sources.first().and_then(|s| s.path.clone());
    match a.kind {
        CharType::Pty | CharType::Dev | CharType::File | CharType::Pipe => path(a) == path(b),
        CharType::Unix => fits(&path(a), &path(b)),
        CharType::Tcp | CharType::Udp => {
            let ends = |source: &CharSource| -> Vec<_> {
                let ends = source.sources.iter();
                ends.map(|end| (end.mode, end.host.clone(), end.service.clone())).collect()
            };
            ends(a) == ends(b)
        }
        _ => true,
    }
}

/// The same port: of several alike, one that is not said is none of them.
fn same_port(a: &Serial, b: &Serial) -> bool {
    let (Some(x), Some(y)) = (&a.target, &b.target) else { return false };
    x.port.is_some() && x.port == y.port && fits(&x.kind, &y.kind)
}

/// The same place in front of the guest.
fn same_target(a: &Serial, b: &Serial) -> bool {
    let (Some(x), Some(y)) = (&a.target, &b.target) else { return true };
    let port = match x.port {
        None => true,
        port => port == y.port,
    };
    // A virtio port is told by its name.
    let named = matches!(x.kind, Some(CharTargetType::Virtio));
    fits(&x.kind, &y.kind) && x.name == y.name && x.address == y.address && (named || port)
}

/// Whether a character device is in front of the guest in the same place.
pub(super) fn same_chardev_target(devices: &Devices, wanted: &Device) -> bool {
    let (list, wanted) = match wanted {
        Device::Serial(wanted) => (&devices.serials, wanted),
        Device::Parallel(wanted) => (&devices.parallels, wanted),
        Device::Channel(wanted) => (&devices.channels, wanted),
        _ => return false,
    };
    list.iter().any(|there| {
        let Some(x) = &wanted.target else { return false };
        let said = x.port.is_some() || x.name.is_some();
        said && same_target(wanted, there) && same_source(&wanted.source, &there.source)
    })
}

fn same_hostdev(a: &Hostdev, b: &Hostdev) -> bool {
    let (Some(x), Some(y)) = (&a.source, &b.source) else { return false };
    if a.kind != b.kind || a.mode != b.mode {
        return false;
    }
    match a.kind {
        Some(HostdevType::Usb) => match (&x.address, &x.vendor) {
            (Some(address), _) => y
                .address
                .as_ref()
                .is_some_and(|there| there.bus == address.bus && there.device == address.device),
            (None, Some(_)) => x.vendor == y.vendor && x.product == y.product,
            (None, None) => false,
        },
        Some(HostdevType::Scsi) => {
            x.protocol == y.protocol
                && x.name == y.name
                && x.adapter == y.adapter
                && x.address == y.address
        }
        Some(HostdevType::ScsiHost) => x.wwpn == y.wwpn,
        _ => x.address == y.address && x.block == y.block && x.char == y.char,
    }
}

/// An interface: by hardware address, by address, by name, as far as each is said.
fn interface(devices: &Devices, wanted: &Interface) -> Result<Place, VirError> {
    use crate::domain::devices::interface::MacType;
    // One that was made up for want of another says nothing.
    let mac = wanted.mac.as_ref().filter(|mac| mac.kind != Some(MacType::Generated));
    let mac = mac.map(|mac| mac.address);
    let is_it = |nic: &&Interface| {
        mac.is_none_or(|mac| nic.mac.as_ref().is_some_and(|there| there.address == mac))
            && fits(&wanted.alias, &nic.alias)
            && fits(&wanted.address, &nic.address)
    };
    let found: Vec<usize> = devices
        .interfaces
        .iter()
        .enumerate()
        .filter(|(_, nic)| is_it(nic))
        .map(|(index, _)| index)
        .collect();
    let mac_text = mac.map_or_else(|| "(<null>)".to_owned(), |mac| mac.to_string());
    match found.as_slice() {
        [index] => Ok(Place { kind: DeviceKind::Interface, index: *index }),
        [] => {
            let alias = wanted.alias.as_ref().map_or("(<null>)", |alias| alias.name.as_str());
            let at = match &wanted.address {
                Some(Address::Pci(pci)) => format!(
                    "{:04x}:{:02x}:{:02x}.{}",
                    pci.domain.0, pci.bus.0, pci.slot.0, pci.function.0
                ),
                _ => "(<null>)".to_owned(),
            };
            Err(missing(format!(
                "no device found at address '{at}' matching MAC address '{mac_text}' and alias \
                 '{alias}'"
            ))
            .from_domain(ErrorDomain::DOMAIN))
        }
        _ => Err(error(
            ErrorCode::OPERATION_FAILED,
            match mac {
                Some(_) => format!("multiple devices matching MAC address {mac_text} found"),
                None => "multiple matching devices found".to_owned(),
            },
        )),
    }
}

fn none(wanted: &Device, side: Side) -> VirError {
    let live = side == Side::Running;
    let invalid = |text: &str| error(ErrorCode::OPERATION_INVALID, text);
    let failed = |text: &str| error(ErrorCode::OPERATION_FAILED, text);
    match wanted {
        Device::Disk(disk) if live => missing(format!("disk {} not found", disk.target.dev)),
        Device::Disk(disk) => missing(format!("no target device {}", disk.target.dev)),
        Device::Controller(controller) if live => missing(format!(
            "controller {}:{} not found",
            controller.kind.as_str(),
            controller.index.unwrap_or(0)
        )),
        Device::Lease(lease) => {
            let code = if live { ErrorCode::INVALID_ARG } else { ErrorCode::DEVICE_MISSING };
            let (key, space) = (&lease.key, text(&lease.lockspace));
            error(code, format!("Lease {key} in lockspace {space} does not exist"))
        }
        Device::Filesystem(_) if live => missing("matching filesystem not found"),
        Device::Filesystem(_) => missing("no matching filesystem device was found"),
        Device::Serial(_) | Device::Parallel(_) | Device::Console(_) | Device::Channel(_) => {
            let kind = wanted.kind().element();
            if live {
                missing(format!("chr type '{kind}' device not present in domain configuration"))
            } else {
                error(ErrorCode::INVALID_ARG, "device not present in domain configuration")
            }
        }
        Device::Input(_) => missing("matching input device not found"),
        Device::Hostdev(hostdev) if live => missing(hostdev_text(hostdev)),
        Device::Redirdev(_) if live => invalid("no matching redirdev was not found"),
        Device::Redirdev(_) => missing("no matching redirdev was not found"),
        Device::Watchdog(_) if live => invalid("no matching watchdog was found"),
        Device::Watchdog(_) => missing("no matching watchdog was found"),
        Device::Rng(rng) if live => missing(format!(
            "model '{}' RNG device not present in domain configuration",
            rng.backend.model.as_str()
        )),
        Device::Rng(_) => missing("no matching RNG device was found"),
        Device::Shmem(shmem) if live => missing(format!(
            "model '{}' shmem device not present in domain configuration",
            shmem.model.as_ref().map(|model| model.kind).unwrap_or_default().as_str()
        )),
        Device::Shmem(_) => missing("matching shmem device was not found"),
        Device::Memory(memory) if live => missing(format!(
            "model '{}' memory device not present in the domain configuration",
            memory.model.as_str()
        )),
        Device::Memory(_) => missing("matching memory device was not found"),
        Device::Vsock(_) if live => missing("matching vsock device not found"),
        Device::Vsock(_) => failed("matching vsock device not found"),
        Device::Iommu(_) => failed("matching iommu device not found"),
        _ => missing("device not present in domain configuration"),
    }
}

fn hostdev_text(hostdev: &Hostdev) -> String {
    let source = hostdev.source.clone().unwrap_or_default();
    let address = source.address.clone().unwrap_or_default();
    let bus = address.bus.as_deref().unwrap_or("0");
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap_or(0),
        None => text.parse().unwrap_or(0),
    };
    let bus = number(bus);
    match hostdev.kind {
        Some(HostdevType::Usb) => match (&source.vendor, &source.product, &source.address) {
            (Some(vendor), Some(product), None) => format!(
                "host usb device vendor=0x{:04x} product=0x{:04x} not found",
                vendor.id.0, product.id.0
            ),
            _ => format!(
                "host usb device {bus:03}.{:03} not found",
                address.device.unwrap_or_default().0
            ),
        },
        Some(HostdevType::Pci) => format!(
            "host pci device {:04x}:{bus:02x}:{:02x}.{} not found",
            address.domain.map_or(0, |n| n.0),
            address.slot.map_or(0, |n| n.0),
            address.function.map_or(0, |n| n.0)
        ),
        Some(HostdevType::Scsi) => match source.protocol.as_deref() {
            Some("iscsi") => format!("host scsi iSCSI path {} not found", text(&source.name)),
            _ => format!(
                "host scsi device {}:{bus}:{}.{} not found",
                source.adapter.as_ref().map_or("", |adapter| adapter.name.as_str()),
                address.target.unwrap_or(0),
                address.unit.unwrap_or(0)
            ),
        },
        Some(HostdevType::Mdev) => format!(
            "mediated device '{}' not found",
            address.uuid.map_or_else(String::new, |uuid| uuid.to_string())
        ),
        _ => "host device not found".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::defaults::{self, DefaultsContext};
    use crate::domain::hotplug::support::{can_plug, can_unplug};
    use crate::domain::hotplug::{read, take_out};
    use crate::domain::{ParseOptions, parse};

    fn guest() -> Domain {
        let text = "<domain type='qemu'><name>g</name><memory>1</memory>
            <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
            <serial type='pty'/><serial type='file'><source path='/a'/></serial>
            <console type='pty'/><console type='pty'><target type='virtio'/></console>
            <channel type='unix'><target type='virtio' name='a.0'/></channel></devices></domain>";
        let mut domain = parse(text, ParseOptions::default()).domain.expect("a domain");
        let random = &mut |buffer: &mut [u8]| buffer.fill(1);
        defaults::apply(&mut domain, &mut DefaultsContext::without_emulator("x86_64", random));
        domain
    }

    #[test]
    fn character_devices_are_told_by_port_or_name() {
        let absent = "device not present in domain configuration";
        let check = |device: &str, expected: Result<usize, &str>| {
            let wanted = read(device, false).device.expect("a device");
            let found = stored(&guest(), &wanted).map(|place| place.index);
            assert_eq!(
                found.map_err(|error| error.detail),
                expected.map_err(str::to_owned),
                "{device}"
            );
        };
        check("<serial type='pty'/>", Err(absent));
        check("<serial type='pty'><target port='0'/></serial>", Ok(0));
        check("<serial type='file'><source path='/a'/><target port='1'/></serial>", Ok(1));
        check("<serial type='file'><source path='/b'/><target port='1'/></serial>", Err(absent));
        check("<serial type='pty'><target port='1'/></serial>", Err(absent));
        check("<console type='pty'><target type='virtio'/></console>", Err(absent));
        check("<console type='pty'><target type='virtio' port='1'/></console>", Ok(1));
        check("<channel type='unix'><target type='virtio' name='a.0'/></channel>", Ok(0));
        check("<channel type='unix'><target type='virtio' name='b.0'/></channel>", Err(absent));
        let serial = "detaching serial console is not supported";
        check("<console type='pty'/>", Err(serial));
        check("<console type='pty'><target type='serial' port='0'/></console>", Err(serial));
    }

    #[test]
    fn what_a_running_guest_cannot_take_or_lose() {
        let read = |xml: &str| read(xml, false).device.expect("a device");
        let again = read("<channel type='unix'><target type='virtio' name='a.0'/></channel>");
        let refused = can_plug(&guest(), &again).map_err(|e| (e.code, e.detail));
        let text = "chardev already exists".to_owned();
        assert_eq!(refused, Err((ErrorCode::OPERATION_INVALID, text)));
        let other = read("<channel type='unix'><target type='virtio' name='b.0'/></channel>");
        assert_eq!(can_plug(&guest(), &other), Ok(()));
        let folder = |driver: &str| {
            format!("<filesystem>{driver}<source dir='/a'/><target dir='a'/></filesystem>")
        };
        let refused = can_unplug(&guest(), &read(&folder(""))).map_err(|e| e.detail);
        assert_eq!(refused, Err("only virtiofs filesystems can be hotplugged".to_owned()));
        let virtiofs = read(&folder("<driver type='virtiofs'/>"));
        assert_eq!(can_unplug(&guest(), &virtiofs), Ok(()));
    }

    #[test]
    fn the_console_of_a_port_that_went_is_the_next_ports() {
        let mut domain = guest();
        take_out(&mut domain, Place { kind: DeviceKind::Serial, index: 0 });
        let devices = domain.devices.as_ref().expect("devices");
        assert_eq!(devices.consoles.len(), 2);
        assert_eq!(devices.consoles[0].source, devices.serials[0].source);
        let port = |serial: &Serial| serial.target.as_ref().and_then(|target| target.port);
        assert_eq!(port(&devices.consoles[0]), port(&devices.serials[0]));
        take_out(&mut domain, Place { kind: DeviceKind::Serial, index: 0 });
        assert_eq!(domain.devices.as_ref().expect("devices").consoles.len(), 1);
    }
}
