//! Devices of the host given to the guest.

use super::build::{Build, Props, Switch, fd_mark};
use super::disk::secret_by;
use super::found::ScsiPlace;
use super::words::Address;
use crate::block::{self, Image};
use crate::step::{Access, Action, HostDevice, Step};
use diag::ErrorCode;
use model::capabilities::qemu::known_flag;
use model::domain::devices::disk::Disk;
use model::domain::devices::disk::{DiskModel, DiskSource, StorageType};
use model::domain::devices::hostdev::{Hostdev, HostdevType, SourceAddress};
use model::domain::devices::interface::{
    HostAddress, Interface, InterfaceType, Teaming, TeamingType,
};
use xml::YesNo;

/// A number as XML writes it: `0x…` or decimal.
fn number(text: Option<&str>) -> Option<u32> {
    let text = text?;
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `dddd:bb:ss.f`.
fn pci_name(domain: u64, bus: u64, slot: u64, function: u64) -> String {
    format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
}

/// Where a SCSI device of the host is.
pub(super) fn scsi_place(hostdev: &Hostdev) -> Option<ScsiPlace> {
    let source = hostdev.source.as_ref()?;
    let address = source.address.as_ref()?;
    let adapter = source.adapter.as_ref()?.name.clone();
    let bus = number(address.bus.as_deref()).unwrap_or(0);
    Some((adapter, bus, address.target.unwrap_or(0), address.unit.unwrap_or(0)))
}

impl Build<'_> {
    /// All host devices, interfaces that are such among them.
    pub(super) fn hostdevs(&mut self) {
        let dev = self.dev;
        let networked = |position: usize| self.found.connections.contains_key(&position);
        let is_hostdev = |nic: &Interface| nic.kind == InterfaceType::Hostdev;
        let nics = dev.interfaces.iter().enumerate().filter(|(_, nic)| is_hostdev(nic));
        let (late, early): (Vec<_>, Vec<_>) = nics.partition(|(position, _)| networked(*position));
        for (_, nic) in early {
            self.hostdev_interface(nic);
        }
        // Disks have the first numbers; SCSI devices go on counting.
        let mut next = self.images();
        for hostdev in self.each("devices/hostdev", &dev.hostdevs) {
            self.hostdev(hostdev, &mut next);
        }
        for (_, nic) in late {
            self.hostdev_interface(nic);
        }
    }

    /// The greatest number of an image.
    fn images(&self) -> u32 {
        if let Some(hot) = &self.hot {
            return hot.first_node.saturating_sub(1);
        }
        let numbers = self.dev.disks.iter().flat_map(Disk::images).filter_map(|image| image.number);
        numbers.max().unwrap_or(0).max(u32::try_from(self.dev.disks.len()).unwrap_or(0))
    }

    fn hostdev(&mut self, hostdev: &Hostdev, next: &mut u32) {
        let element = "<hostdev>";
        if matches!(hostdev.address, Some(Address::Unassigned(_))) {
            return;
        }
        let id = self.alias(&hostdev.alias, element);
        match hostdev.kind {
            Some(HostdevType::Pci) => {
                let address = hostdev.source.as_ref().and_then(|source| source.address.as_ref());
                let Some(address) = address else {
                    self.fail("qemu.hostdev", format!("{element}: <source> has no address"));
                    return;
                };
                let host = source_name(address);
                self.assign(HostDevice::Pci {
                    address: host.clone(),
                    managed: hostdev.managed.is_some_and(Switch::on),
                });
                let props = Self::vfio_pci(host, &id, hostdev.teaming.as_ref());
                self.hostdev_device(props, hostdev, element);
            }
            Some(HostdevType::Mdev) => self.mdev(hostdev, &id),
            Some(HostdevType::Usb) => self.usb_host(hostdev, &id),
            Some(HostdevType::Scsi) => {
                *next += 1;
                self.scsi_generic(hostdev, &id, *next);
            }
            Some(HostdevType::ScsiHost) => self.vhost_scsi(hostdev, &id),
            _ => {
                let text = "hostdev mode 'capabilities' is not supported in qemu";
                self.fail("qemu.hostdev", text);
            }
        }
    }

    /// A step that takes a device away from the host.
    fn assign(&mut self, device: HostDevice) {
        self.steps.push(Step::new(Action::Assign(device)));
    }

    fn vfio_pci(host: String, id: &str, teaming: Option<&Teaming>) -> Props {
        let pair = teaming
            .filter(|teaming| teaming.kind == TeamingType::Transient)
            .and_then(|teaming| teaming.persistent.clone());
        Props::device("vfio-pci").set("host", host).set("id", id).opt("failover_pair_id", pair)
    }

    /// What all kinds have: boot order, place, option ROM.
    fn hostdev_device(&mut self, props: Props, hostdev: &Hostdev, element: &str) {
        let boot = hostdev.boot.as_ref();
        let mut props = props.opt("bootindex", boot.map(|boot| boot.order));
        if self.has("virtio-ccw.loadparm") {
            props = props.opt("loadparm", boot.and_then(|boot| boot.loadparm.clone()));
        }
        let place = self.place(&hostdev.address, element);
        props = props.extend(place);
        props = props.opt("acpi-index", hostdev.acpi.as_ref().and_then(|acpi| acpi.index));
        props = props.extend(Self::rom(hostdev.rom.as_ref()));
        self.device(props);
    }

    /// An interface that is a PCI device of the host.
    fn hostdev_interface(&mut self, nic: &Interface) {
        let element = "<interface type='hostdev'>";
        self.need("vfio-pci", element);
        let id = self.alias(&nic.alias, element);
        let source = nic.source.as_ref();
        let host = match source.and_then(|source| source.device_address.as_ref()) {
            Some(HostAddress::Pci(pci)) => {
                pci_name(pci.domain.0, pci.bus.0, pci.slot.0, pci.function.0)
            }
            _ => {
                self.fail("qemu.hostdev", format!("{element}: <source> has no PCI address"));
                return;
            }
        };
        self.assign(HostDevice::Pci {
            address: host.clone(),
            managed: nic.managed.is_some_and(Switch::on),
        });
        let props = Self::vfio_pci(host, &id, nic.teaming.as_ref())
            .opt("bootindex", nic.boot.as_ref().map(|boot| boot.order));
        let place = self.place(&nic.address, element);
        let props = props
            .extend(place)
            .opt("acpi-index", nic.acpi.as_ref().and_then(|acpi| acpi.index))
            .extend(Self::rom(nic.rom.as_ref()));
        self.device(props);
    }

    fn mdev(&mut self, hostdev: &Hostdev, id: &str) {
        let model = hostdev.model.as_deref().unwrap_or("vfio-pci");
        let element = format!("<hostdev type='mdev' model='{model}'>");
        self.need(known_flag(model).unwrap_or("vfio-pci"), &element);
        let address = hostdev.source.as_ref().and_then(|source| source.address.as_ref());
        let Some(uuid) = address.and_then(|address| address.uuid) else {
            self.fail("qemu.hostdev", format!("{element}: <source> has no UUID"));
            return;
        };
        self.assign(HostDevice::Mdev { uuid: uuid.to_string() });
        let ramfb = hostdev.ramfb.is_some_and(Switch::on);
        if ramfb {
            self.need("ramfb", &element);
        }
        // A boot framebuffer has to be there from the start.
        let driver = if ramfb { "vfio-pci-nohotplug" } else { model };
        let mut props = Props::device(driver)
            .set("id", id)
            .set("sysfsdev", format!("/sys/bus/mdev/devices/{uuid}"));
        if model == "vfio-pci" {
            let on = hostdev.display.is_some_and(Switch::on);
            props = props.set("display", if on { "on" } else { "off" });
            if ramfb {
                props = props.set("ramfb", true);
            }
        }
        self.hostdev_device(props, hostdev, &element);
    }

    fn usb_host(&mut self, hostdev: &Hostdev, id: &str) {
        let element = "<hostdev type='usb'>";
        let source = hostdev.source.clone().unwrap_or_default();
        let address = source.address.as_ref();
        let bus = address.and_then(|address| number(address.bus.as_deref()));
        let device = address.and_then(|address| address.device.map(|n| n.0));
        // Without a place, QEMU waits for no device.
        let missing = source.missing == Some(YesNo::Yes);
        let place = bus.zip(device).filter(|_| !missing);
        if place.is_none() && !missing {
            let text = "USB host device is missing bus/device information";
            self.fail_with("qemu.hostdev", ErrorCode::INTERNAL_ERROR, text);
            return;
        }
        let mut props = Props::device("usb-host");
        if let Some((bus, device)) = place {
            let path = format!("/dev/bus/usb/{bus:03}/{device:03}");
            self.grant(&path, Access::ReadWrite, false, element);
            props = if self.has("usb-host.hostdevice") {
                props.set("hostdevice", path)
            } else {
                props.set("hostbus", bus).set("hostaddr", device)
            };
        }
        props = props.set("id", id);
        if let Some(reset) = source.guest_reset.as_deref() {
            self.need("usb-host.guest-resets-all", &format!("{element}: guestReset"));
            props = match reset {
                "off" => props.set("guest-reset", false),
                "uninitialized" => props.set("guest-reset", true).set("guest-resets-all", false),
                _ => props.set("guest-reset", true).set("guest-resets-all", true),
            };
        }
        self.hostdev_device(props, hostdev, element);
    }

    /// A SCSI device passed through command by command.
    fn scsi_generic(&mut self, hostdev: &Hostdev, id: &str, index: u32) {
        let element = "<hostdev type='scsi'>";
        let source = hostdev.source.clone().unwrap_or_default();
        let node = format!("libvirt-{index}-backend");
        let place = if source.protocol.as_deref() == Some("iscsi") {
            let disk = DiskSource {
                protocol: Some("iscsi".into()),
                name: source.name.clone(),
                hosts: source.hosts.clone(),
                initiator: source.initiator.clone(),
                auth: source.auth.clone().map(Box::new),
                ..DiskSource::default()
            };
            (StorageType::Network, disk)
        } else {
            let Some(path) = self.generic_path(hostdev) else {
                self.fail(
                    "qemu.hostdev",
                    format!("{element}: the device was not found on this host"),
                );
                return;
            };
            let access = if hostdev.readonly { Access::Read } else { Access::ReadWrite };
            self.grant(&path, access, hostdev.shareable, element);
            (StorageType::Block, DiskSource { dev: Some(path), ..DiskSource::default() })
        };
        let mut image = Image::new(place.0, &place.1, "raw");
        image.storage_node = node.clone();
        image.options.read_only = hostdev.readonly;
        if let Some(secret) = image.auth.and_then(|auth| auth.secret.as_ref()) {
            let object = format!("{node}-secret0");
            let by = secret_by(secret.uuid.map(|uuid| uuid.to_string()), secret.usage.as_ref());
            self.secret(&object, &secret.kind, by);
            image.objects.auth = Some(object);
        }
        match block::storage_node(&image, true) {
            Ok(props) => self.json("-blockdev", props),
            Err(error) => self.fail("qemu.hostdev", format!("{element}: {error}")),
        }
        let props = Props::device("scsi-generic")
            .set("drive", node)
            .set("id", id)
            .opt("bootindex", hostdev.boot.as_ref().map(|boot| boot.order));
        if let Some(place) = self.scsi_place(&hostdev.address, element) {
            self.device(props.extend(place));
        }
    }

    /// The generic node of a SCSI device of the host.
    fn generic_path(&self, hostdev: &Hostdev) -> Option<String> {
        self.found.scsi_generic.get(&scsi_place(hostdev)?).cloned()
    }

    /// A SCSI target served by the kernel.
    fn vhost_scsi(&mut self, hostdev: &Hostdev, id: &str) {
        let element = "<hostdev type='scsi_host'>";
        self.need("vhost-scsi", element);
        let flavour = match hostdev.model.as_deref() {
            Some("virtio-transitional") => Some(DiskModel::VirtioTransitional),
            Some("virtio-non-transitional") => Some(DiskModel::VirtioNonTransitional),
            _ => None,
        };
        let path = "/dev/vhost-scsi".to_string();
        let open = Action::OpenFile { path, access: Access::ReadWrite, create_append: false };
        let name = format!("{id}.vhostscsi");
        self.steps.push(Step::new(open).yields(name.clone()));
        let wwpn = hostdev.source.as_ref().and_then(|source| source.wwpn.clone());
        let driver = self.virtio_name("vhost-scsi", &hostdev.address, flavour);
        let props = Props::device(&driver)
            .set("wwpn", wwpn.unwrap_or_default())
            .set("vhostfd", fd_mark(&name))
            .set("id", id);
        self.hostdev_device(props, hostdev, element);
    }
}

/// The host's name of a PCI device.
fn source_name(address: &SourceAddress) -> String {
    pci_name(
        address.domain.map_or(0, |domain| domain.0),
        u64::from(number(address.bus.as_deref()).unwrap_or(0)),
        address.slot.map_or(0, |slot| slot.0),
        address.function.map_or(0, |function| function.0),
    )
}
