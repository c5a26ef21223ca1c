//! Where a device sits on its bus.

use crate::domain::prelude::*;

/// An address; the variant names the bus kind.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum Address {
    /// `type='pci'`.
    Pci(PciAddress),
    /// `type='drive'`.
    Drive(DriveAddress),
    /// `type='virtio-serial'`.
    VirtioSerial(VirtioSerialAddress),
    /// `type='ccid'`.
    Ccid(CcidAddress),
    /// `type='usb'`.
    Usb(UsbAddress),
    /// `type='spapr-vio'`.
    SpaprVio(SpaprVioAddress),
    /// `type='virtio-s390'`.
    VirtioS390(NoAddress),
    /// `type='ccw'`.
    Ccw(CcwAddress),
    /// `type='virtio-mmio'`.
    VirtioMmio(NoAddress),
    /// `type='isa'`.
    Isa(IsaAddress),
    /// `type='dimm'`.
    Dimm(DimmAddress),
    /// `type='unassigned'`.
    Unassigned(NoAddress),
    /// `type='mdev'`.
    Mdev(MdevAddress),
}

/// PCI function; all zero means "choose one".
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PciAddress {
    /// Attribute `domain`.
    #[xml(attr, default)]
    pub domain: Hex<4>,
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: Hex<2>,
    /// Attribute `slot`.
    #[xml(attr, default)]
    pub slot: Hex<2>,
    /// Attribute `function`.
    #[xml(attr, default)]
    pub function: Hex<1>,
    /// Attribute `multifunction`.
    #[xml(attr)]
    pub multifunction: Option<OnOff>,
    /// Element `<zpci>`.
    #[xml(child)]
    pub zpci: Option<Zpci>,
}

/// s390 PCI ids.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Zpci {
    /// Attribute `uid`.
    #[xml(attr)]
    pub uid: Option<Hex<4>>,
    /// Attribute `fid`.
    #[xml(attr)]
    pub fid: Option<Hex<8>>,
}

/// Place on a disk controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DriveAddress {
    /// Attribute `controller`.
    #[xml(attr, default)]
    pub controller: u32,
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: u32,
    /// Attribute `target`.
    #[xml(attr, default)]
    pub target: u32,
    /// Attribute `unit`.
    #[xml(attr, default)]
    pub unit: u32,
}

/// Port of a virtio-serial controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VirtioSerialAddress {
    /// Attribute `controller`.
    #[xml(attr, default)]
    pub controller: u32,
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: u32,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<u32>,
}

/// Slot of a smart card reader.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CcidAddress {
    /// Attribute `controller`.
    #[xml(attr, default)]
    pub controller: u32,
    /// Attribute `slot`.
    #[xml(attr, default)]
    pub slot: u32,
}

/// USB bus and port path (`1.2`).
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct UsbAddress {
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: u32,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<String>,
}

/// Register of sPAPR VIO.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SpaprVioAddress {
    /// Attribute `reg`.
    #[xml(attr)]
    pub reg: Option<Hex<8>>,
}

/// Channel subsystem address.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CcwAddress {
    /// Attribute `cssid`.
    #[xml(attr)]
    pub cssid: Option<Hex<1>>,
    /// Attribute `ssid`.
    #[xml(attr)]
    pub ssid: Option<Hex<1>>,
    /// Attribute `devno`.
    #[xml(attr)]
    pub devno: Option<Hex<4>>,
}

/// ISA port and interrupt.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IsaAddress {
    /// Attribute `iobase`.
    #[xml(attr)]
    pub iobase: Option<Hex<1>>,
    /// Attribute `irq`.
    #[xml(attr)]
    pub irq: Option<Hex<1>>,
}

/// Memory slot.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DimmAddress {
    /// Attribute `slot`.
    #[xml(attr, default)]
    pub slot: u32,
    /// Attribute `base`.
    #[xml(attr)]
    pub base: Option<Hex<1>>,
}

/// Mediated device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MdevAddress {
    /// Attribute `uuid`.
    #[xml(attr)]
    pub uuid: Uuid,
}

/// An address kind without fields.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NoAddress {}

/// The bus kind of an address, as its `type` says.
pub fn kind(address: &Address) -> &'static str {
    match address {
        Address::Pci(_) => "pci",
        Address::Drive(_) => "drive",
        Address::VirtioSerial(_) => "virtio-serial",
        Address::Ccid(_) => "ccid",
        Address::Usb(_) => "usb",
        Address::SpaprVio(_) => "spapr-vio",
        Address::VirtioS390(_) => "virtio-s390",
        Address::Ccw(_) => "ccw",
        Address::VirtioMmio(_) => "virtio-mmio",
        Address::Isa(_) => "isa",
        Address::Dimm(_) => "dimm",
        Address::Unassigned(_) => "unassigned",
        Address::Mdev(_) => "mdev",
    }
}
