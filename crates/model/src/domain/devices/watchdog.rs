//! Watchdogs.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum WatchdogModel {
    /// `i6300esb`.
    #[default]
    I6300esb,
    /// `ib700`.
    Ib700,
    /// `diag288`.
    Diag288,
    /// `itco`.
    Itco,
}

/// What happens when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum WatchdogAction {
    /// `reset`.
    #[default]
    Reset,
    /// `shutdown`.
    Shutdown,
    /// `poweroff`.
    Poweroff,
    /// `pause`.
    Pause,
    /// `dump`.
    Dump,
    /// `none`.
    None,
    /// `inject-nmi`.
    InjectNmi,
}

/// One watchdog.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Watchdog {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: WatchdogModel,
    /// Attribute `action`.
    #[xml(attr, default)]
    pub action: WatchdogAction,
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
