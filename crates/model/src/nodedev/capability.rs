//! What a device can be.

use diag::ErrorCode;
use units::Uuid;
use xml::{Element, Hex, Reader, Xml, XmlEnum};

use super::ccw::{Ccw, CcwGroup, Css};
use super::children::sub_capabilities;
use super::mdev::{Mdev, MdevTypes};
use super::net::Net;
use super::pci::Pci;
use super::scsi::{Scsi, ScsiGeneric, ScsiHost, ScsiTarget};
use super::storage::Storage;
use super::usb::{UsbDevice, UsbInterface};
use crate::object::fault;

/// What a device is.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum Capability {
    /// The computer.
    System(System),
    /// A PCI device.
    Pci(Box<Pci>),
    /// A USB device.
    #[xml(name = "usb_device")]
    UsbDevice(UsbDevice),
    /// An interface of a USB device.
    Usb(UsbInterface),
    /// A network interface.
    Net(Net),
    /// A SCSI host adapter.
    #[xml(name = "scsi_host")]
    ScsiHost(ScsiHost),
    /// A SCSI target.
    #[xml(name = "scsi_target")]
    ScsiTarget(ScsiTarget),
    /// A SCSI logical unit.
    Scsi(Scsi),
    /// A block device.
    Storage(Storage),
    /// The generic device of a SCSI unit.
    #[xml(name = "scsi_generic")]
    ScsiGeneric(ScsiGeneric),
    /// A node of a graphics card.
    Drm(Drm),
    /// A mediated device.
    Mdev(Mdev),
    /// A device of s390's channel subsystem.
    Ccw(Ccw),
    /// A subchannel.
    Css(Css),
    /// A vDPA device.
    Vdpa(Vdpa),
    /// An adjunct processor card.
    #[xml(name = "ap_card")]
    ApCard(ApCard),
    /// A queue of such a card.
    #[xml(name = "ap_queue")]
    ApQueue(ApQueue),
    /// The matrix of queues.
    #[xml(name = "ap_matrix")]
    ApMatrix(ApMatrix),
    /// Several channel devices as one.
    #[xml(name = "ccwgroup")]
    CcwGroup(CcwGroup),
}

impl Capability {
    /// Checks what was read and puts parts in libvirt's order.
    pub(super) fn complete(&mut self, name: &str, el: Element<'_>, cx: &mut Reader, new: bool) {
        // Of these libvirt only tells; its numbers of them stand in the message.
        let number = match self {
            Self::ScsiGeneric(_) => Some(11),
            Self::Vdpa(_) => Some(17),
            _ => None,
        };
        if let (Some(number), true) = (number, new) {
            let message = format!("unknown capability type '{number}' for '{name}'");
            fault(cx, el, "nodedev.capability", ErrorCode::INTERNAL_ERROR, message);
        }
        match self {
            Self::Pci(pci) => pci.complete(el, cx),
            Self::Net(net) => net.complete(),
            Self::ScsiHost(host) => host.complete(name, el, cx, new),
            Self::Storage(storage) => storage.complete(name, el, cx),
            Self::Mdev(mdev) => mdev.complete(),
            Self::CcwGroup(group) => group.complete(),
            Self::Css(css) => css.complete(),
            Self::ApMatrix(matrix) => matrix.types.retain(|types| !types.is_empty()),
            Self::ApQueue(queue) if queue.domain.0 > 255 => {
                let given = el.child("ap-domain").map(|e| e.string_value().into_owned());
                let given = given.unwrap_or_default();
                let message = format!("ap-domain value '{given}' is out of range for '{name}'");
                fault(cx, el, "nodedev.ap-domain", ErrorCode::CONFIG_UNSUPPORTED, message);
            }
            _ => {}
        }
    }
}

/// The computer.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct System {
    /// Its name.
    #[xml(child_text)]
    pub product: Option<String>,
    /// The machine.
    #[xml(child)]
    pub hardware: Hardware,
    /// Its firmware.
    #[xml(child, default)]
    pub firmware: Firmware,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Hardware {
    /// Who made it.
    #[xml(child_text)]
    pub vendor: Option<String>,
    /// Its version.
    #[xml(child_text)]
    pub version: Option<String>,
    /// Its serial number.
    #[xml(child_text)]
    pub serial: Option<String>,
    /// Its UUID.
    #[xml(child_text)]
    pub uuid: Uuid,
}

/// Firmware.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(open)]
pub struct Firmware {
    /// Who made it.
    #[xml(child_text)]
    pub vendor: Option<String>,
    /// Its version.
    #[xml(child_text)]
    pub version: Option<String>,
    /// When it was released.
    #[xml(child_text)]
    pub release_date: Option<String>,
}

/// A node of a graphics card.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Drm {
    /// What it is for.
    #[xml(child_text, name = "type")]
    pub kind: DrmType,
}

/// What a node of a graphics card is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum DrmType {
    /// Everything.
    Primary,
    /// Control (obsolete).
    Control,
    /// Rendering.
    Render,
}

/// A vDPA device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Vdpa {
    /// Its character device.
    #[xml(child_text)]
    pub chardev: String,
}

/// An adjunct processor card.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct ApCard {
    /// Its number.
    #[xml(child_text, name = "ap-adapter")]
    pub adapter: Hex<u32, 2>,
}

/// A queue of an adjunct processor card.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct ApQueue {
    /// The card's number.
    #[xml(child_text, name = "ap-adapter")]
    pub adapter: Hex<u32, 2>,
    /// The queue's number.
    #[xml(child_text, name = "ap-domain")]
    pub domain: Hex<u32, 4>,
}

/// A capability inside that of an AP matrix or a subchannel.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum MatrixCapability {
    /// Types of mediated devices.
    #[xml(name = "mdev_types")]
    MdevTypes(MdevTypes),
}

impl MatrixCapability {
    pub(super) fn is_empty(&self) -> bool {
        let Self::MdevTypes(types) = self;
        types.types.is_empty()
    }
}

/// The matrix of adjunct processor queues.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct ApMatrix {
    /// Types of mediated devices it can make.
    #[xml(with = matrix_capabilities)]
    pub types: Vec<MatrixCapability>,
}

sub_capabilities!(matrix_capabilities, MatrixCapability, Skipped);
