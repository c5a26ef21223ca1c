//! NVRAM of pSeries.

use crate::domain::prelude::*;

/// The device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NvramDevice {
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
