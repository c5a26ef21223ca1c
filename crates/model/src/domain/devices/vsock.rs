//! Host-guest sockets.

use super::disk::DiskModel;
use crate::domain::prelude::*;

/// The device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Vsock {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<DiskModel>,
    /// Element `<cid>`.
    #[xml(child)]
    pub cid: Option<Cid>,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<VirtioDriver>,
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

/// Context id.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Cid {
    /// Attribute `auto`.
    #[xml(attr)]
    pub auto: Option<YesNo>,
    /// Attribute `address`.
    #[xml(attr, nonzero)]
    pub address: Option<u32>,
}
