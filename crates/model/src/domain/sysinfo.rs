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
    /// Attribute `name`; a definition's entry without one is left out.
    #[xml(attr, default)]
    pub name: String,
    /// The text of the element.
    #[xml(text, default, skip_default)]
    pub value: String,
}

/// The entries of a definition's blocks, in the order that they are written.
const BIOS: &[&str] = &["vendor", "version", "date", "release"];
const SYSTEM: &[&str] = &["manufacturer", "product", "version", "serial", "uuid", "sku", "family"];
const BASE_BOARD: &[&str] = &["manufacturer", "product", "version", "serial", "asset", "location"];
const CHASSIS: &[&str] = &["manufacturer", "version", "serial", "asset", "sku"];

impl Sysinfo {
    /// Keeps what a definition says: of each name the first entry, unless it is empty.
    pub(crate) fn canonicalize(&mut self) {
        for (block, names) in
            [(&mut self.bios, BIOS), (&mut self.system, SYSTEM), (&mut self.chassis, CHASSIS)]
        {
            *block = block.take().and_then(|block| block.keep(names));
        }
        let boards = std::mem::take(&mut self.base_boards);
        self.base_boards = boards.into_iter().filter_map(|board| board.keep(BASE_BOARD)).collect();
        // The host's own.
        self.processors.clear();
        self.memory_devices.clear();
        self.oem_strings = self.oem_strings.take().filter(|strings| !strings.entries.is_empty());
    }
}

impl SysinfoBlock {
    fn keep(self, names: &[&str]) -> Option<Self> {
        let first = |name: &&str| self.entries.iter().find(|entry| entry.name == **name).cloned();
        let entries = names.iter().filter_map(first).filter(|entry| !entry.value.is_empty());
        let entries: Vec<_> = entries.collect();
        (!entries.is_empty()).then_some(Self { entries })
    }
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
