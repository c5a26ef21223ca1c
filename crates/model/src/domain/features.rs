//! Hypervisor features.

use super::container_capabilities::ContainerCapabilities;
use crate::domain::prelude::*;

/// The `<features>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Features {
    /// Presence of `<acpi/>`.
    #[xml(flag)]
    pub acpi: bool,
    /// Element `<apic>`.
    #[xml(child)]
    pub apic: Option<Apic>,
    /// Presence of `<pae/>`.
    #[xml(flag)]
    pub pae: bool,
    /// Element `<hap>`.
    #[xml(child)]
    pub hap: Option<OptionalState>,
    /// Presence of `<viridian/>`.
    #[xml(flag)]
    pub viridian: bool,
    /// Presence of `<privnet/>`.
    #[xml(flag)]
    pub privnet: bool,
    /// Element `<hyperv>`.
    #[xml(child)]
    pub hyperv: Option<HyperV>,
    /// Element `<kvm>`.
    #[xml(child)]
    pub kvm: Option<Kvm>,
    /// Element `<xen>`.
    #[xml(child)]
    pub xen: Option<XenFeatures>,
    /// Element `<pvspinlock>`.
    #[xml(child)]
    pub pvspinlock: Option<OptionalState>,
    /// Element `<pmu>`.
    #[xml(child)]
    pub pmu: Option<OptionalState>,
    /// Element `<vmport>`.
    #[xml(child, needs = "state")]
    pub vmport: Option<State>,
    /// Element `<gic>`.
    #[xml(child)]
    pub gic: Option<Gic>,
    /// Element `<smm>`.
    #[xml(child)]
    pub smm: Option<Smm>,
    /// Element `<ioapic>`.
    #[xml(child, needs = "driver")]
    pub ioapic: Option<IoApic>,
    /// Element `<hpt>`.
    #[xml(child, empty_absent)]
    pub hpt: Option<Hpt>,
    /// Element `<vmcoreinfo>`.
    #[xml(child)]
    pub vmcoreinfo: Option<OptionalState>,
    /// Element `<htm>`.
    #[xml(child)]
    pub htm: Option<State>,
    /// Element `<nested-hv>`.
    #[xml(child, name = "nested-hv")]
    pub nested_hv: Option<State>,
    /// Element `<msrs>`.
    #[xml(child)]
    pub msrs: Option<Msrs>,
    /// Element `<ccf-assist>`.
    #[xml(child, name = "ccf-assist")]
    pub ccf_assist: Option<State>,
    /// Element `<cfpc>`.
    #[xml(child)]
    pub cfpc: Option<ValueFeature>,
    /// Element `<sbbc>`.
    #[xml(child)]
    pub sbbc: Option<ValueFeature>,
    /// Element `<ibs>`.
    #[xml(child)]
    pub ibs: Option<IbsFeature>,
    /// Element `<tcg>`.
    #[xml(child, empty_absent)]
    pub tcg: Option<Tcg>,
    /// Element `<async-teardown>`.
    #[xml(child, name = "async-teardown")]
    pub async_teardown: Option<AsyncTeardown>,
    /// Element `<ras>`.
    #[xml(child)]
    pub ras: Option<State>,
    /// Element `<ps2>`.
    #[xml(child)]
    pub ps2: Option<State>,
    /// Element `<aia>`.
    #[xml(child)]
    pub aia: Option<Aia>,
    /// Element `<capabilities>`.
    #[xml(child, empty_absent)]
    pub capabilities: Option<ContainerCapabilities>,
}

/// A switch that is on when `state` is absent.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OptionalState {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: Option<OnOff>,
}

/// A switch.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct State {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
}

/// APIC with its end-of-interrupt optimization.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Apic {
    /// Attribute `eoi`.
    #[xml(attr)]
    pub eoi: Option<OnOff>,
}

/// ARM interrupt controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Gic {
    /// `2`, `3` or `host`.
    #[xml(attr, one_of = &["2", "3", "host"])]
    pub version: Option<String>,
}

/// System management mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Smm {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: Option<OnOff>,
    /// Element `<tseg>`.
    #[xml(child, needs_text = "")]
    pub tseg: Option<Tseg>,
}

/// Extended TSEG size.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Tseg {
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// The text of the element.
    #[xml(text)]
    pub size: u64,
}

/// Who emulates the IOAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum IoApicDriver {
    /// `qemu`.
    #[default]
    Qemu,
    /// `kvm`.
    Kvm,
}

/// IOAPIC.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoApic {
    /// Attribute `driver`.
    #[xml(attr)]
    pub driver: IoApicDriver,
}

/// Hash page table resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum HptResizing {
    /// `enabled`.
    #[default]
    Enabled,
    /// `disabled`.
    Disabled,
    /// `required`.
    Required,
}

/// Hash page table of pSeries.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Hpt {
    /// Attribute `resizing`.
    #[xml(attr)]
    pub resizing: Option<HptResizing>,
    /// Element `<maxpagesize>`.
    #[xml(child, name = "maxpagesize")]
    pub max_page_size: Option<Kib>,
}

/// Access to unknown MSRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MsrsUnknown {
    /// `ignore`.
    #[default]
    Ignore,
    /// `fault`.
    Fault,
}

/// MSR policy.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Msrs {
    /// Attribute `unknown`.
    #[xml(attr)]
    pub unknown: MsrsUnknown,
}

/// How far a weakness of the CPU is mended.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ValueFeature {
    /// `broken`, `workaround` or `fixed`.
    #[xml(attr, one_of = &["broken", "workaround", "fixed"])]
    pub value: String,
}

/// How far indirect branches are mended.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IbsFeature {
    /// `broken`, `workaround` or one of three ways of being fixed.
    #[xml(attr, one_of = &["broken", "workaround", "fixed-ibs", "fixed-ccd", "fixed-na"])]
    pub value: String,
}

/// Settings of the TCG accelerator.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Tcg {
    /// Element `<tb-cache>`.
    #[xml(child, name = "tb-cache", needs_text = "")]
    pub tb_cache: Option<TbCache>,
}

/// Translation block cache.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct TbCache {
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
    /// KiB after reading.
    #[xml(text)]
    pub size: u64,
}

/// Asynchronous teardown of memory.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AsyncTeardown {
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
}

/// RISC-V AIA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum AiaMode {
    /// `none`.
    #[default]
    None,
    /// `aplic`.
    Aplic,
    /// `aplic-imsic`.
    AplicImsic,
}

/// RISC-V advanced interrupt architecture.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Aia {
    /// Attribute `value`.
    #[xml(attr)]
    pub value: AiaMode,
}

/// How enlightenments are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum HyperVMode {
    /// `custom`.
    #[default]
    Custom,
    /// `passthrough`.
    Passthrough,
    /// `host-model`.
    HostModel,
}

/// Hyper-V enlightenments.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HyperV {
    /// Attribute `mode`.
    #[xml(attr, default)]
    pub mode: HyperVMode,
    /// Element `<relaxed>`.
    #[xml(child)]
    pub relaxed: Option<State>,
    /// Element `<vapic>`.
    #[xml(child)]
    pub vapic: Option<State>,
    /// Element `<spinlocks>`.
    #[xml(child)]
    pub spinlocks: Option<Spinlocks>,
    /// Element `<vpindex>`.
    #[xml(child)]
    pub vpindex: Option<State>,
    /// Element `<runtime>`.
    #[xml(child)]
    pub runtime: Option<State>,
    /// Element `<synic>`.
    #[xml(child)]
    pub synic: Option<State>,
    /// Element `<stimer>`.
    #[xml(child)]
    pub stimer: Option<Stimer>,
    /// Element `<reset>`.
    #[xml(child)]
    pub reset: Option<State>,
    /// Element `<vendor_id>`.
    #[xml(child)]
    pub vendor_id: Option<HyperVVendor>,
    /// Element `<frequencies>`.
    #[xml(child)]
    pub frequencies: Option<State>,
    /// Element `<reenlightenment>`.
    #[xml(child)]
    pub reenlightenment: Option<State>,
    /// Element `<tlbflush>`.
    #[xml(child)]
    pub tlbflush: Option<TlbFlush>,
    /// Element `<ipi>`.
    #[xml(child)]
    pub ipi: Option<State>,
    /// Element `<evmcs>`.
    #[xml(child)]
    pub evmcs: Option<State>,
    /// Element `<avic>`.
    #[xml(child)]
    pub avic: Option<State>,
    /// Element `<emsr_bitmap>`.
    #[xml(child)]
    pub emsr_bitmap: Option<State>,
    /// Element `<xmm_input>`.
    #[xml(child)]
    pub xmm_input: Option<State>,
}

/// Spinlock retries.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Spinlocks {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
    /// Attribute `retries`.
    #[xml(attr)]
    pub retries: Option<u32>,
}

/// Synthetic timers.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Stimer {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
    /// Element `<direct>`.
    #[xml(child)]
    pub direct: Option<State>,
}

/// Vendor string shown.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct HyperVVendor {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
    /// Attribute `value`.
    #[xml(attr)]
    pub value: Option<String>,
}

/// Paravirtual TLB flush.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct TlbFlush {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
    /// Element `<direct>`.
    #[xml(child)]
    pub direct: Option<State>,
    /// Element `<extended>`.
    #[xml(child)]
    pub extended: Option<State>,
}

/// KVM features.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Kvm {
    /// Element `<hidden>`.
    #[xml(child)]
    pub hidden: Option<State>,
    /// Element `<hint-dedicated>`.
    #[xml(child, name = "hint-dedicated")]
    pub hint_dedicated: Option<State>,
    /// Element `<poll-control>`.
    #[xml(child, name = "poll-control")]
    pub poll_control: Option<State>,
    /// Element `<pv-ipi>`.
    #[xml(child, name = "pv-ipi")]
    pub pv_ipi: Option<State>,
    /// Element `<dirty-ring>`.
    #[xml(child, name = "dirty-ring")]
    pub dirty_ring: Option<DirtyRing>,
}

/// Dirty ring size.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct DirtyRing {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
    /// Attribute `size`.
    #[xml(attr)]
    pub size: Option<u32>,
}

/// Xen features.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct XenFeatures {
    /// Element `<e820_host>`.
    #[xml(child)]
    pub e820_host: Option<State>,
    /// Element `<passthrough>`.
    #[xml(child)]
    pub passthrough: Option<XenPassthrough>,
}

/// Xen PCI passthrough.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct XenPassthrough {
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<String>,
}
