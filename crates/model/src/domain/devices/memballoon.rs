//! The memory balloon.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum BalloonModel {
    /// `virtio`.
    #[default]
    Virtio,
    /// `xen`.
    Xen,
    /// `none`.
    None,
    /// `virtio-transitional`.
    VirtioTransitional,
    /// `virtio-non-transitional`.
    VirtioNonTransitional,
}

/// The balloon.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemBalloon {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: BalloonModel,
    /// Attribute `autodeflate`.
    #[xml(attr, name = "autodeflate")]
    pub auto_deflate: Option<OnOff>,
    /// Attribute `freePageReporting`.
    #[xml(attr, name = "freePageReporting")]
    pub free_page_reporting: Option<OnOff>,
    /// Element `<stats>`.
    #[xml(child, needs = "period", empty_absent)]
    pub stats: Option<BalloonStats>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<VirtioDriver>,
}

/// Statistics period, seconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BalloonStats {
    /// Attribute `period`.
    #[xml(attr)]
    pub period: u32,
}
