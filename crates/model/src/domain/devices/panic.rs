//! Panic notifiers.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum PanicModel {
    /// `isa`.
    #[default]
    Isa,
    /// `pseries`.
    Pseries,
    /// `hyperv`.
    Hyperv,
    /// `s390`.
    S390,
    /// `pvpanic`.
    Pvpanic,
}

/// One notifier.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Panic {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<PanicModel>,
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
