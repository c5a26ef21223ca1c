//! USB hubs.

use crate::domain::prelude::*;

/// Kind of hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum HubType {
    /// `usb`.
    #[default]
    Usb,
}

/// One hub.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Hub {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: HubType,
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
