//! Memory devices: DIMM, NVDIMM, virtio-mem, virtio-pmem, SGX.

use crate::domain::prelude::*;

/// Kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MemoryModel {
    /// `dimm`.
    #[default]
    Dimm,
    /// `nvdimm`.
    Nvdimm,
    /// `virtio-pmem`.
    VirtioPmem,
    /// `virtio-mem`.
    VirtioMem,
    /// `sgx-epc`.
    SgxEpc,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryDevice {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: MemoryModel,
    /// Attribute `access`.
    #[xml(attr)]
    pub access: Option<crate::domain::memory::MemoryAccess>,
    /// Attribute `discard`.
    #[xml(attr)]
    pub discard: Option<YesNo>,
    /// Element `<uuid>`.
    #[xml(child_text)]
    pub uuid: Option<Uuid>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<MemoryDeviceSource>,
    /// Element `<target>`.
    #[xml(child)]
    pub target: MemoryDeviceTarget,
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

/// Backing.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryDeviceSource {
    /// Element `<nodemask>`.
    #[xml(child_text, fault = (ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"))]
    pub nodemask: Option<CpuSet>,
    /// Element `<pagesize>`.
    #[xml(child, name = "pagesize", empty_absent)]
    pub page_size: Option<Kib>,
    /// Element `<path>`.
    #[xml(child_text)]
    pub path: Option<String>,
    /// Element `<alignsize>`.
    #[xml(child, name = "alignsize", empty_absent)]
    pub align_size: Option<Kib>,
    /// Presence of `<pmem/>`.
    #[xml(flag)]
    pub pmem: bool,
}

/// What the guest sees, KiB.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryDeviceTarget {
    /// Attribute `dynamicMemslots`.
    #[xml(attr, name = "dynamicMemslots")]
    pub dynamic_memslots: Option<YesNo>,
    /// Element `<size>`.
    #[xml(child)]
    pub size: Kib,
    /// Element `<node>`.
    #[xml(child_text)]
    pub node: Option<u32>,
    /// Element `<label>`.
    #[xml(child, empty_absent)]
    pub label: Option<MemoryLabel>,
    /// Presence of `<readonly/>`.
    #[xml(flag)]
    pub readonly: bool,
    /// Element `<block>`.
    #[xml(child)]
    pub block: Option<Kib>,
    /// Element `<requested>`.
    #[xml(child)]
    pub requested: Option<Kib>,
    /// Element `<current>`.
    #[xml(child, live_only)]
    pub current: Option<Kib>,
    /// Element `<address>`.
    #[xml(child, empty_absent, needs = "base")]
    pub address: Option<MemoryBase>,
}

/// Label area of an NVDIMM.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryLabel {
    /// Element `<size>`.
    #[xml(child)]
    pub size: Kib,
}

/// Physical address.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryBase {
    /// Attribute `base`.
    #[xml(attr)]
    pub base: Hex<1>,
}
