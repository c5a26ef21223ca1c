//! Memory size and backing.

use crate::domain::prelude::*;

/// Where guest memory is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MemorySourceType {
    /// `file`.
    #[default]
    File,
    /// `anonymous`.
    Anonymous,
    /// `memfd`.
    Memfd,
}

/// Whether other processes may map it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MemoryAccess {
    /// `shared`.
    #[default]
    Shared,
    /// `private`.
    Private,
}

/// When memory is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum AllocationMode {
    /// `immediate`.
    #[default]
    Immediate,
    /// `ondemand`.
    Ondemand,
}

/// Upper limit with hot-plug slots.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MaxMemory {
    /// Attribute `slots`.
    #[xml(attr, empty_absent, zero_absent, fault = (ErrorCode::XML_ERROR, "Failed to parse memory slot count"))]
    pub slots: Option<u32>,
    /// Size in KiB.
    #[xml(flatten)]
    pub size: Kib,
}

/// The memory of the guest.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Memory {
    /// Whether QEMU's core dumps include it.
    #[xml(attr, name = "dumpCore")]
    pub dump_core: Option<OnOff>,
    /// Size in KiB.
    #[xml(flatten)]
    pub size: Kib,
}

/// The `<memoryBacking>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryBacking {
    /// Element `<hugepages>`.
    #[xml(child)]
    pub hugepages: Option<HugePages>,
    /// Presence of `<nosharepages/>`.
    #[xml(flag)]
    pub nosharepages: bool,
    /// Presence of `<locked/>`.
    #[xml(flag)]
    pub locked: bool,
    /// Element `<source>`.
    #[xml(child, needs_text = "type")]
    pub source: Option<MemorySource>,
    /// Element `<access>`.
    #[xml(child, needs_text = "mode")]
    pub access: Option<MemoryAccessMode>,
    /// Element `<allocation>`.
    #[xml(child, empty_absent)]
    pub allocation: Option<MemoryAllocation>,
    /// Presence of `<discard/>`.
    #[xml(flag)]
    pub discard: bool,
}

/// Huge pages of the host.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HugePages {
    /// Element `<page>`.
    #[xml(child, name = "page")]
    pub pages: Vec<HugePage>,
}

/// One page size for some nodes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HugePage {
    /// In KiB after reading.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "Invalid value '{}' for element or attribute './@size'"), missing = (ErrorCode::XML_ERROR, "missing element or attribute './@size'"))]
    pub size: u64,
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// Attribute `nodeset`.
    #[xml(attr, fault = (ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"))]
    pub nodeset: Option<CpuSet>,
}

/// Kind of backing.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemorySource {
    /// Attribute `type`.
    #[xml(attr, name = "type", fault = (ErrorCode::CONFIG_UNSUPPORTED, "unknown memoryBacking/source/type '{}'"))]
    pub kind: MemorySourceType,
}

/// Sharing mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryAccessMode {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: MemoryAccess,
}

/// Allocation mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryAllocation {
    /// Attribute `mode`.
    #[xml(attr, empty_absent)]
    pub mode: Option<AllocationMode>,
    /// Attribute `threads`.
    #[xml(attr, zero_absent, fault = (ErrorCode::XML_ERROR, "Failed to parse memory allocation threads"))]
    pub threads: Option<u32>,
}
