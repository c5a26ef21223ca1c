//! Crypto devices.

use crate::domain::prelude::*;

/// One device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Crypto {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: CryptoModel,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: CryptoType,
    /// Element `<backend>`.
    #[xml(child)]
    pub backend: CryptoBackend,
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

/// Device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CryptoModel {
    /// `virtio`.
    #[default]
    Virtio,
}

/// Interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CryptoType {
    /// `qemu`.
    #[default]
    Qemu,
}

/// Implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CryptoBackendModel {
    /// `builtin`.
    #[default]
    Builtin,
    /// `lkcf`.
    Lkcf,
}

/// Implementation.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CryptoBackend {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: CryptoBackendModel,
    /// Attribute `queues`.
    #[xml(attr)]
    pub queues: Option<u32>,
}
