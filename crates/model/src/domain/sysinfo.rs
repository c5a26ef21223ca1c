//! Data shown to the guest through SMBIOS or fw_cfg.

use crate::domain::prelude::*;

/// Where the data appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SysinfoType {
    /// `smbios`.
    #[default]
    Smbios,
    /// `fwcfg`.
    Fwcfg,
}

/// The `<sysinfo>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Sysinfo {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: SysinfoType,
    /// Element `<bios>`.
    #[xml(child)]
    pub bios: Option<SysinfoBlock>,
    /// Element `<system>`.
    #[xml(child)]
    pub system: Option<SysinfoBlock>,
    /// Element `<baseBoard>`.
    #[xml(child, name = "baseBoard")]
    pub base_boards: Vec<SysinfoBlock>,
    /// Element `<chassis>`.
    #[xml(child)]
    pub chassis: Option<SysinfoBlock>,
    /// Element `<processor>`.
    #[xml(child, name = "processor")]
    pub processors: Vec<SysinfoBlock>,
    /// Element `<memory_device>`.
    #[xml(child, name = "memory_device")]
    pub memory_devices: Vec<SysinfoBlock>,
    /// Element `<oemStrings>`.
    #[xml(child, name = "oemStrings")]
    pub oem_strings: Option<OemStrings>,
    /// Entries of type `fwcfg`.
    #[xml(child, name = "entry")]
    pub entries: Vec<FwCfgEntry>,
}

/// A group of named strings.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SysinfoBlock {
    /// Element `<entry>`.
    #[xml(child, name = "entry")]
    pub entries: Vec<SysinfoEntry>,
}

/// One named string.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SysinfoEntry {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// The text of the element.
    #[xml(text, default, skip_default)]
    pub value: String,
}

/// Free strings.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OemStrings {
    /// Element `<entry>`.
    #[xml(child, name = "entry")]
    pub entries: Vec<OemString>,
}

/// One free string.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OemString {
    /// The text of the element.
    #[xml(text, default, skip_default)]
    pub value: String,
}

/// One fw_cfg file.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FwCfgEntry {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// Attribute `file`.
    #[xml(attr)]
    pub file: Option<String>,
    /// The text of the element.
    #[xml(text)]
    pub value: Option<String>,
}
