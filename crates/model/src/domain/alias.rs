//! Names of devices, their boot order and ROM: what every device may carry.

use crate::domain::prelude::*;

/// The device's name on QEMU's side.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Alias {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
}

/// Place in the boot order.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DeviceBoot {
    /// Attribute `order`.
    #[xml(attr)]
    pub order: u32,
    /// Attribute `loadparm`.
    #[xml(attr)]
    pub loadparm: Option<String>,
}

/// Option ROM.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Rom {
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
    /// Attribute `bar`.
    #[xml(attr)]
    pub bar: Option<OnOff>,
    /// Attribute `file`.
    #[xml(attr)]
    pub file: Option<String>,
}

/// ACPI index.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DeviceAcpi {
    /// Attribute `index`.
    #[xml(attr)]
    pub index: Option<u32>,
}

/// Options of the virtio transport, shared by many devices.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VirtioDriver {
    /// Attribute `iommu`.
    #[xml(attr)]
    pub iommu: Option<OnOff>,
    /// Attribute `ats`.
    #[xml(attr)]
    pub ats: Option<OnOff>,
    /// Attribute `packed`.
    #[xml(attr)]
    pub packed: Option<OnOff>,
    /// Attribute `page_per_vq`.
    #[xml(attr)]
    pub page_per_vq: Option<OnOff>,
}
