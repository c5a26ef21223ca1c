//! Shared memory between guests.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ShmemModelName {
    /// `ivshmem`.
    #[default]
    Ivshmem,
    /// `ivshmem-plain`.
    IvshmemPlain,
    /// `ivshmem-doorbell`.
    IvshmemDoorbell,
}

/// Who keeps the data over migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ShmemRole {
    /// `master`.
    #[default]
    Master,
    /// `peer`.
    Peer,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Shmem {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// Attribute `role`.
    #[xml(attr)]
    pub role: Option<ShmemRole>,
    /// Element `<model>`.
    #[xml(child)]
    pub model: Option<ShmemModel>,
    /// Element `<size>`.
    #[xml(child, needs_text = "", empty_absent)]
    pub size: Option<ShmemSize>,
    /// Element `<server>`.
    #[xml(child)]
    pub server: Option<ShmemServer>,
    /// Element `<msi>`.
    #[xml(child)]
    pub msi: Option<ShmemMsi>,
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

/// Model.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ShmemModel {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: ShmemModelName,
}

/// Size; MiB after reading.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ShmemSize {
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// The text of the element.
    #[xml(text)]
    pub size: u64,
}

/// Server socket.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ShmemServer {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
}

/// Interrupts.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ShmemMsi {
    /// Attribute `vectors`.
    #[xml(attr, zero_absent)]
    pub vectors: Option<u32>,
    /// Attribute `ioeventfd`.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: Option<OnOff>,
}
