//! IOMMU devices.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum IommuModel {
    /// `intel`.
    #[default]
    Intel,
    /// `smmuv3`.
    Smmuv3,
    /// `virtio`.
    Virtio,
}

/// One IOMMU.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Iommu {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: IommuModel,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<IommuDriver>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

/// Options.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IommuDriver {
    /// Attribute `intremap`.
    #[xml(attr, name = "intremap")]
    pub int_remap: Option<OnOff>,
    /// Attribute `caching_mode`.
    #[xml(attr)]
    pub caching_mode: Option<OnOff>,
    /// Attribute `eim`.
    #[xml(attr)]
    pub eim: Option<OnOff>,
    /// Attribute `iotlb`.
    #[xml(attr)]
    pub iotlb: Option<OnOff>,
    /// Attribute `aw_bits`.
    #[xml(attr, zero_absent)]
    pub aw_bits: Option<u32>,
    /// Attribute `dma_translation`.
    #[xml(attr)]
    pub dma_translation: Option<OnOff>,
}
