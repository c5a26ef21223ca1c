//! Persistent store for kernel logs.

use crate::domain::prelude::*;

/// Kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum PstoreBackend {
    /// `acpi-erst`.
    #[default]
    AcpiErst,
}

/// The device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Pstore {
    /// Attribute `backend`.
    #[xml(attr)]
    pub backend: PstoreBackend,
    /// Element `<path>`.
    #[xml(child_text)]
    pub path: Option<String>,
    /// Element `<size>`.
    #[xml(child)]
    pub size: Kib,
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
