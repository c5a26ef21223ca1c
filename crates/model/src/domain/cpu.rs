//! The guest's CPU: model, features, topology, NUMA cells.

use crate::domain::memory::MemoryAccess;
use crate::domain::prelude::*;

/// Where the model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CpuMode {
    /// `custom`.
    #[default]
    Custom,
    /// `host-model`.
    HostModel,
    /// `host-passthrough`.
    HostPassthrough,
    /// `maximum`.
    Maximum,
}

/// How the host must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CpuMatch {
    /// `minimum`.
    #[default]
    Minimum,
    /// `exact`.
    Exact,
    /// `strict`.
    Strict,
}

/// What is checked before the guest starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CpuCheck {
    /// `none`.
    #[default]
    None,
    /// `partial`.
    Partial,
    /// `full`.
    Full,
}

/// What happens when the model is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CpuFallback {
    /// `allow`.
    #[default]
    Allow,
    /// `forbid`.
    Forbid,
}

/// What is done about a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CpuFeaturePolicy {
    /// `force`.
    #[default]
    Force,
    /// `require`.
    Require,
    /// `optional`.
    Optional,
    /// `disable`.
    Disable,
    /// `forbid`.
    Forbid,
}

/// What the guest sees of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CpuCacheMode {
    /// `emulate`.
    #[default]
    Emulate,
    /// `passthrough`.
    Passthrough,
    /// `disable`.
    Disable,
}

/// Source of the address width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum PhysAddrMode {
    /// `emulate`.
    #[default]
    Emulate,
    /// `passthrough`.
    Passthrough,
}

/// The `<cpu>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Cpu {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<CpuMode>,
    /// Attribute `match`.
    #[xml(attr, name = "match")]
    pub matching: Option<CpuMatch>,
    /// Attribute `check`.
    #[xml(attr)]
    pub check: Option<CpuCheck>,
    /// Attribute `migratable`.
    #[xml(attr)]
    pub migratable: Option<OnOff>,
    /// Attribute `deprecated_features`.
    #[xml(attr)]
    pub deprecated_features: Option<OnOff>,
    /// Element `<arch>`.
    #[xml(child_text)]
    pub arch: Option<String>,
    /// Element `<model>`.
    #[xml(child)]
    pub model: Option<CpuModel>,
    /// Element `<vendor>`.
    #[xml(child_text)]
    pub vendor: Option<String>,
    /// Element `<topology>`.
    #[xml(child)]
    pub topology: Option<CpuTopology>,
    /// Element `<cache>`.
    #[xml(child)]
    pub cache: Option<CpuCache>,
    /// Element `<maxphysaddr>`.
    #[xml(child, name = "maxphysaddr")]
    pub max_phys_addr: Option<MaxPhysAddr>,
    /// Element `<feature>`.
    #[xml(child, name = "feature")]
    pub features: Vec<CpuFeature>,
    /// Element `<numa>`.
    #[xml(child)]
    pub numa: Option<Numa>,
}

/// Named CPU model.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CpuModel {
    /// Attribute `fallback`.
    #[xml(attr, empty_absent)]
    pub fallback: Option<CpuFallback>,
    /// Attribute `vendor_id`.
    #[xml(attr, empty_absent)]
    pub vendor_id: Option<String>,
    /// The text of the element.
    #[xml(text)]
    pub name: Option<String>,
}

/// Sockets, dies, clusters, cores, threads.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CpuTopology {
    /// Attribute `sockets`.
    #[xml(attr)]
    pub sockets: u32,
    /// Attribute `dies`.
    #[xml(attr, nonzero)]
    pub dies: Option<u32>,
    /// Attribute `clusters`.
    #[xml(attr, nonzero)]
    pub clusters: Option<u32>,
    /// Attribute `cores`.
    #[xml(attr)]
    pub cores: u32,
    /// Attribute `threads`.
    #[xml(attr)]
    pub threads: u32,
}

/// Cache description.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CpuCache {
    /// Attribute `level`.
    #[xml(attr, signed)]
    pub level: Option<u32>,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: CpuCacheMode,
}

/// Physical address width.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MaxPhysAddr {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: PhysAddrMode,
    /// Attribute `bits`.
    #[xml(attr, signed)]
    pub bits: Option<u32>,
    /// Attribute `limit`.
    #[xml(attr, nonzero)]
    pub limit: Option<u32>,
}

/// One CPU feature.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CpuFeature {
    /// Attribute `policy`.
    #[xml(attr)]
    pub policy: Option<CpuFeaturePolicy>,
    /// Attribute `name`.
    #[xml(attr, missing = (ErrorCode::XML_ERROR, "Invalid CPU feature name"), empty_absent)]
    pub name: String,
}

/// Guest NUMA topology.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Numa {
    /// Element `<cell>`.
    #[xml(child, name = "cell")]
    pub cells: Vec<NumaCell>,
    /// Element `<interconnects>`.
    #[xml(child)]
    pub interconnects: Option<Interconnects>,
}

/// One guest node.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaCell {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: Option<u32>,
    /// Attribute `cpus`.
    #[xml(attr)]
    pub cpus: Option<CpuSet>,
    /// In `unit`; KiB after reading.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "Invalid value '{}' for element or attribute './@memory'"), missing = (ErrorCode::XML_ERROR, "missing element or attribute './@memory'"))]
    pub memory: u64,
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// Attribute `memAccess`.
    #[xml(attr, name = "memAccess")]
    pub mem_access: Option<MemoryAccess>,
    /// Attribute `discard`.
    #[xml(attr)]
    pub discard: Option<YesNo>,
    /// Element `<distances>`.
    #[xml(child)]
    pub distances: Option<NumaDistances>,
    /// Element `<cache>`.
    #[xml(child, name = "cache")]
    pub caches: Vec<NumaCache>,
}

/// Distances to other nodes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaDistances {
    /// Element `<sibling>`.
    #[xml(child, name = "sibling")]
    pub siblings: Vec<NumaSibling>,
}

/// Distance to one node.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaSibling {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Attribute `value`.
    #[xml(attr)]
    pub value: u32,
}

/// How a cache maps addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum NumaCacheAssociativity {
    /// `none`.
    #[default]
    None,
    /// `direct`.
    Direct,
    /// `full`.
    Full,
}

/// Write policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum NumaCachePolicy {
    /// `none`.
    #[default]
    None,
    /// `writeback`.
    Writeback,
    /// `writethrough`.
    Writethrough,
}

/// A memory-side cache.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaCache {
    /// Attribute `level`.
    #[xml(attr)]
    pub level: u32,
    /// Attribute `associativity`.
    #[xml(attr)]
    pub associativity: NumaCacheAssociativity,
    /// Attribute `policy`.
    #[xml(attr)]
    pub policy: NumaCachePolicy,
    /// Element `<size>`.
    #[xml(child)]
    pub size: Option<SizeValue>,
    /// Element `<line>`.
    #[xml(child)]
    pub line: Option<SizeValue>,
}

/// A size as attributes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SizeValue {
    /// Attribute `value`.
    #[xml(attr)]
    pub value: u64,
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
}

/// Latency and bandwidth between nodes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Interconnects {
    /// Element `<latency>`.
    #[xml(child, name = "latency")]
    pub latencies: Vec<Interconnect>,
    /// Element `<bandwidth>`.
    #[xml(child, name = "bandwidth")]
    pub bandwidths: Vec<Interconnect>,
}

/// Which access is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum InterconnectAccess {
    /// `access`.
    #[default]
    Access,
    /// `read`.
    Read,
    /// `write`.
    Write,
}

/// One measure.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Interconnect {
    /// Attribute `initiator`.
    #[xml(attr)]
    pub initiator: u32,
    /// Attribute `target`.
    #[xml(attr)]
    pub target: u32,
    /// Attribute `cache`.
    #[xml(attr)]
    pub cache: Option<u32>,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: InterconnectAccess,
    /// Attribute `value`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "Invalid value '{}' for element or attribute './@value'"), missing = (ErrorCode::XML_ERROR, "missing element or attribute './@value'"))]
    pub value: u64,
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
}
