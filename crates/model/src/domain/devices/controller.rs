//! Controllers: buses the other devices hang on.

use crate::domain::prelude::*;

/// Kind of bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ControllerType {
    /// `ide`.
    #[default]
    Ide,
    /// `fdc`.
    Fdc,
    /// `scsi`.
    Scsi,
    /// `sata`.
    Sata,
    /// `virtio-serial`.
    VirtioSerial,
    /// `ccid`.
    Ccid,
    /// `usb`.
    Usb,
    /// `pci`.
    Pci,
    /// `xenbus`.
    Xenbus,
    /// `isa`.
    Isa,
    /// `nvme`.
    Nvme,
}

/// One controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Controller {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: ControllerType,
    /// Attribute `index`.
    #[xml(attr)]
    pub index: Option<u32>,
    /// One of the models of its type.
    #[xml(attr)]
    pub model: Option<String>,
    /// virtio-serial and USB.
    #[xml(attr)]
    pub ports: Option<u32>,
    /// Attribute `vectors`.
    #[xml(attr)]
    pub vectors: Option<u32>,
    /// Attribute `maxGrantFrames`.
    #[xml(attr, name = "maxGrantFrames")]
    pub max_grant_frames: Option<u32>,
    /// Attribute `maxEventChannels`.
    #[xml(attr, name = "maxEventChannels")]
    pub max_event_channels: Option<u32>,
    /// The device that implements it.
    #[xml(child, name = "model")]
    pub pci_model: Option<ControllerModel>,
    /// Element `<target>`.
    #[xml(child)]
    pub target: Option<ControllerTarget>,
    /// Element `<serial>`.
    #[xml(child_text)]
    pub serial: Option<String>,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<ControllerDriver>,
    /// Element `<alias>`.
    #[xml(child)]
    pub alias: Option<Alias>,
    /// Element `<master>`.
    #[xml(child)]
    pub master: Option<UsbMaster>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
    /// Element `<pcihole64>`.
    #[xml(child)]
    pub pcihole64: Option<PciHole>,
}

/// Device behind a PCI controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ControllerModel {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
}

/// What the guest sees of a PCI controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ControllerTarget {
    /// Attribute `chassisNr`.
    #[xml(attr, name = "chassisNr")]
    pub chassis_nr: Option<u32>,
    /// Attribute `chassis`.
    #[xml(attr)]
    pub chassis: Option<u32>,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<Hex<1>>,
    /// Attribute `busNr`.
    #[xml(attr, name = "busNr")]
    pub bus_nr: Option<u32>,
    /// Attribute `index`.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Attribute `hotplug`.
    #[xml(attr)]
    pub hotplug: Option<OnOff>,
    /// Attribute `memReserve`.
    #[xml(attr, name = "memReserve")]
    pub mem_reserve: Option<u64>,
    /// Element `<node>`.
    #[xml(child_text)]
    pub node: Option<u32>,
}

/// Options of a controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ControllerDriver {
    /// Attribute `queues`.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Attribute `cmd_per_lun`.
    #[xml(attr)]
    pub cmd_per_lun: Option<u32>,
    /// Attribute `max_sectors`.
    #[xml(attr)]
    pub max_sectors: Option<u32>,
    /// Attribute `ioeventfd`.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// Attribute `iothread`.
    #[xml(attr)]
    pub iothread: Option<u32>,
    /// virtio
    #[xml(flatten)]
    pub virtio: VirtioDriver,
    /// Element `<iothreads>`.
    #[xml(child)]
    pub iothreads: Option<super::disk::DiskIoThreads>,
}

/// Companion of another controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct UsbMaster {
    /// Attribute `startport`.
    #[xml(attr)]
    pub startport: u32,
}

/// 64-bit PCI hole.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PciHole {
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// KiB after reading.
    #[xml(text)]
    pub size: u64,
}
