//! USB redirection.

use super::chardev::CharSource;
use crate::domain::prelude::*;

/// Bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum RedirBus {
    /// `usb`.
    #[default]
    Usb,
}

/// One redirected device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct RedirDev {
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: RedirBus,
    /// source
    #[xml(flatten)]
    pub source: CharSource,
    /// Element `<boot>`.
    #[xml(child)]
    pub boot: Option<DeviceBoot>,
    /// Element `<alias>`.
    #[xml(child)]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

/// Which devices may be redirected.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct RedirFilter {
    /// Element `<usbdev>`.
    #[xml(child, name = "usbdev")]
    pub rules: Vec<RedirRule>,
}

/// One rule; absent means any.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct RedirRule {
    /// Attribute `class`.
    #[xml(attr)]
    pub class: Option<String>,
    /// Attribute `vendor`.
    #[xml(attr)]
    pub vendor: Option<String>,
    /// Attribute `product`.
    #[xml(attr)]
    pub product: Option<String>,
    /// Attribute `version`.
    #[xml(attr)]
    pub version: Option<String>,
    /// Attribute `allow`.
    #[xml(attr)]
    pub allow: YesNo,
}
