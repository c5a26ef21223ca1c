//! Controllers: buses the other devices hang on.

use diag::ErrorCode;
use xml::{Element, Reader};

use crate::domain::prelude::*;

/// Kind of bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, XmlEnum)]
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
}

/// One controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = Controller::check)]
pub struct Controller {
    /// Attribute `type`; IDE where it is not said, as in libvirt.
    #[xml(attr, name = "type", default)]
    pub kind: ControllerType,
    /// Attribute `index`.
    #[xml(attr, signed)]
    pub index: Option<u32>,
    /// One of the models of its type.
    #[xml(attr)]
    pub model: Option<String>,
    /// virtio-serial and USB.
    #[xml(attr, signed)]
    pub ports: Option<u32>,
    /// Attribute `vectors`.
    #[xml(attr, signed)]
    pub vectors: Option<u32>,
    /// Attribute `maxGrantFrames`.
    #[xml(attr, name = "maxGrantFrames")]
    pub max_grant_frames: Option<u32>,
    /// Attribute `maxEventChannels`.
    #[xml(attr, name = "maxEventChannels")]
    pub max_event_channels: Option<u32>,
    /// The device that implements it.
    #[xml(child, name = "model", needs = "name")]
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
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<master>`.
    #[xml(child, needs = "startport")]
    pub master: Option<UsbMaster>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
    /// Element `<pcihole64>`.
    #[xml(child, needs_text = "")]
    pub pcihole64: Option<PciHole>,
}

impl Controller {
    /// Each type has models of its own.
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let Some(model) = self.model.as_deref() else { return };
        if !models(self.kind).contains(&model) {
            let words = format!("Unknown model type '{model}'");
            let hints = match models(self.kind) {
                [] => vec![],
                known => vec![format!("Possible values: {}.", known.join(", "))],
            };
            cx.error("xml.invalid-value", ErrorCode::CONFIG_UNSUPPORTED, el.span(), words, hints);
        }
    }
}

/// Models of a controller type.
fn models(kind: ControllerType) -> &'static [&'static str] {
    match kind {
        ControllerType::Scsi => &[
            "auto",
            "buslogic",
            "lsilogic",
            "lsisas1068",
            "vmpvscsi",
            "ibmvscsi",
            "virtio-scsi",
            "lsisas1078",
            "virtio-transitional",
            "virtio-non-transitional",
            "ncr53c90",
            "dc390",
            "am53c974",
        ],
        ControllerType::Usb => &[
            "default",
            "none",
            "piix3-uhci",
            "piix4-uhci",
            "ehci",
            "ich9-ehci1",
            "ich9-uhci1",
            "ich9-uhci2",
            "ich9-uhci3",
            "vt82c686b-uhci",
            "pci-ohci",
            "nec-xhci",
            "qusb1",
            "qusb2",
            "qemu-xhci",
        ],
        ControllerType::Pci => &[
            "pci-root",
            "pcie-root",
            "pci-bridge",
            "dmi-to-pci-bridge",
            "pcie-to-pci-bridge",
            "pcie-root-port",
            "pcie-switch-upstream-port",
            "pcie-switch-downstream-port",
            "pci-expander-bus",
            "pcie-expander-bus",
        ],
        ControllerType::Ide => &["piix3", "piix4", "ich6"],
        ControllerType::VirtioSerial => {
            &["virtio", "virtio-transitional", "virtio-non-transitional"]
        }
        _ => &[],
    }
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
    #[xml(attr, name = "chassisNr", signed)]
    pub chassis_nr: Option<u32>,
    /// Attribute `chassis`.
    #[xml(attr, signed)]
    pub chassis: Option<u32>,
    /// Attribute `port`.
    #[xml(attr, signed)]
    pub port: Option<Hex<1>>,
    /// Attribute `busNr`.
    #[xml(attr, name = "busNr", signed)]
    pub bus_nr: Option<u32>,
    /// Attribute `index`.
    #[xml(attr, signed)]
    pub index: Option<u32>,
    /// Attribute `hotplug`.
    #[xml(attr)]
    pub hotplug: Option<OnOff>,
    /// Attribute `memReserve`.
    #[xml(attr, name = "memReserve")]
    pub mem_reserve: Option<u64>,
    /// Element `<node>`.
    #[xml(child_text, fault = (ErrorCode::XML_ERROR, "invalid NUMA node in target"))]
    pub node: Option<u32>,
}

/// Options of a controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ControllerDriver {
    /// Attribute `queues`.
    #[xml(attr, zero_absent)]
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
    #[xml(attr, zero_absent)]
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
