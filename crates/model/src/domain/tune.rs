//! Limits: block I/O, memory, CPU, NUMA, resource groups.

use crate::domain::prelude::*;

/// The `<blkiotune>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BlkioTune {
    /// Element `<weight>`.
    #[xml(child_text, lenient, zero_absent)]
    pub weight: Option<u32>,
    /// Element `<device>`.
    #[xml(child, name = "device")]
    pub devices: Vec<BlkioDevice>,
}

/// Limits of one host device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BlkioDevice {
    /// Element `<path>`.
    #[xml(child_text)]
    pub path: String,
    /// Element `<weight>`.
    #[xml(child_text, fault = (ErrorCode::CONFIG_UNSUPPORTED, "could not parse weight {}"))]
    pub weight: Option<u32>,
    /// Element `<read_iops_sec>`.
    #[xml(child_text, fault = (ErrorCode::CONFIG_UNSUPPORTED, "could not parse read iops sec {}"))]
    pub read_iops_sec: Option<u32>,
    /// Element `<write_iops_sec>`.
    #[xml(child_text, fault = (ErrorCode::CONFIG_UNSUPPORTED, "could not parse write iops sec {}"))]
    pub write_iops_sec: Option<u32>,
    /// Element `<read_bytes_sec>`.
    #[xml(child_text, fault = (ErrorCode::CONFIG_UNSUPPORTED, "could not parse read bytes sec {}"))]
    pub read_bytes_sec: Option<u64>,
    /// Element `<write_bytes_sec>`.
    #[xml(child_text, fault = (ErrorCode::CONFIG_UNSUPPORTED, "could not parse write bytes sec {}"))]
    pub write_bytes_sec: Option<u64>,
}

/// Memory limits, KiB.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemTune {
    /// Element `<hard_limit>`.
    #[xml(child, needs_text = "")]
    pub hard_limit: Option<Kib>,
    /// Element `<soft_limit>`.
    #[xml(child, needs_text = "")]
    pub soft_limit: Option<Kib>,
    /// Element `<min_guarantee>`.
    #[xml(child, needs_text = "")]
    pub min_guarantee: Option<Kib>,
    /// Element `<swap_hard_limit>`.
    #[xml(child, needs_text = "")]
    pub swap_hard_limit: Option<Kib>,
}

/// Who chooses the CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum VcpuPlacement {
    /// `static`.
    #[default]
    Static,
    /// `auto`.
    Auto,
}

/// Number of virtual CPUs.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Vcpu {
    /// Filled in by the defaults.
    #[xml(attr)]
    pub placement: Option<VcpuPlacement>,
    /// Attribute `cpuset`.
    #[xml(attr)]
    pub cpuset: Option<CpuSet>,
    /// CPUs present at start when fewer than the maximum.
    #[xml(attr)]
    pub current: Option<u32>,
    /// The text of the element.
    #[xml(text)]
    pub maximum: u32,
}

/// Per-CPU state.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VcpuList {
    /// Element `<vcpu>`.
    #[xml(child, name = "vcpu")]
    pub list: Vec<VcpuEntry>,
}

/// One virtual CPU.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct VcpuEntry {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: YesNo,
    /// Attribute `hotpluggable`.
    #[xml(attr)]
    pub hotpluggable: Option<YesNo>,
    /// Attribute `order`.
    #[xml(attr)]
    pub order: Option<u32>,
}

/// I/O threads with chosen ids.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoThreadIds {
    /// Element `<iothread>`.
    #[xml(child, name = "iothread")]
    pub threads: Vec<IoThread>,
}

/// One I/O thread.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoThread {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Attribute `thread_pool_min`.
    #[xml(attr, signed)]
    pub thread_pool_min: Option<i32>,
    /// Attribute `thread_pool_max`.
    #[xml(attr, signed)]
    pub thread_pool_max: Option<i32>,
    /// Element `<poll>`.
    #[xml(child, empty_absent)]
    pub poll: Option<IoThreadPoll>,
}

/// Polling, nanoseconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoThreadPoll {
    /// Attribute `max`.
    #[xml(attr)]
    pub max: Option<u64>,
    /// Attribute `grow`.
    #[xml(attr)]
    pub grow: Option<u64>,
    /// Attribute `shrink`.
    #[xml(attr)]
    pub shrink: Option<u64>,
}

/// Pool of the main loop.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DefaultIoThread {
    /// Attribute `thread_pool_min`.
    #[xml(attr, signed)]
    pub thread_pool_min: Option<i32>,
    /// Attribute `thread_pool_max`.
    #[xml(attr, signed)]
    pub thread_pool_max: Option<i32>,
}

/// Named I/O limits.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ThrottleGroups {
    /// Element `<throttlegroup>`.
    #[xml(child, name = "throttlegroup")]
    pub groups: Vec<ThrottleGroup>,
}

/// I/O limits, bytes or operations a second.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoTune {
    /// Element `<total_bytes_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'total_bytes_sec' must be an integer"))]
    pub total_bytes_sec: Option<u64>,
    /// Element `<read_bytes_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'read_bytes_sec' must be an integer"))]
    pub read_bytes_sec: Option<u64>,
    /// Element `<write_bytes_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'write_bytes_sec' must be an integer"))]
    pub write_bytes_sec: Option<u64>,
    /// Element `<total_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'total_iops_sec' must be an integer"))]
    pub total_iops_sec: Option<u64>,
    /// Element `<read_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'read_iops_sec' must be an integer"))]
    pub read_iops_sec: Option<u64>,
    /// Element `<write_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'write_iops_sec' must be an integer"))]
    pub write_iops_sec: Option<u64>,
    /// Element `<total_bytes_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'total_bytes_sec_max' must be an integer"))]
    pub total_bytes_sec_max: Option<u64>,
    /// Element `<read_bytes_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'read_bytes_sec_max' must be an integer"))]
    pub read_bytes_sec_max: Option<u64>,
    /// Element `<write_bytes_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'write_bytes_sec_max' must be an integer"))]
    pub write_bytes_sec_max: Option<u64>,
    /// Element `<total_iops_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'total_iops_sec_max' must be an integer"))]
    pub total_iops_sec_max: Option<u64>,
    /// Element `<read_iops_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'read_iops_sec_max' must be an integer"))]
    pub read_iops_sec_max: Option<u64>,
    /// Element `<write_iops_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'write_iops_sec_max' must be an integer"))]
    pub write_iops_sec_max: Option<u64>,
    /// Element `<size_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'size_iops_sec' must be an integer"))]
    pub size_iops_sec: Option<u64>,
    /// Element `<group_name>`.
    #[xml(child_text)]
    pub group_name: Option<String>,
    /// Element `<total_bytes_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'total_bytes_sec_max_length' must be an integer"))]
    pub total_bytes_sec_max_length: Option<u64>,
    /// Element `<read_bytes_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'read_bytes_sec_max_length' must be an integer"))]
    pub read_bytes_sec_max_length: Option<u64>,
    /// Element `<write_bytes_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'write_bytes_sec_max_length' must be an integer"))]
    pub write_bytes_sec_max_length: Option<u64>,
    /// Element `<total_iops_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'total_iops_sec_max_length' must be an integer"))]
    pub total_iops_sec_max_length: Option<u64>,
    /// Element `<read_iops_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'read_iops_sec_max_length' must be an integer"))]
    pub read_iops_sec_max_length: Option<u64>,
    /// Element `<write_iops_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "disk iotune field 'write_iops_sec_max_length' must be an integer"))]
    pub write_iops_sec_max_length: Option<u64>,
}

/// A named I/O limit.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ThrottleGroup {
    /// Element `<total_bytes_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'total_bytes_sec' must be an integer"))]
    pub total_bytes_sec: Option<u64>,
    /// Element `<read_bytes_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'read_bytes_sec' must be an integer"))]
    pub read_bytes_sec: Option<u64>,
    /// Element `<write_bytes_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'write_bytes_sec' must be an integer"))]
    pub write_bytes_sec: Option<u64>,
    /// Element `<total_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'total_iops_sec' must be an integer"))]
    pub total_iops_sec: Option<u64>,
    /// Element `<read_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'read_iops_sec' must be an integer"))]
    pub read_iops_sec: Option<u64>,
    /// Element `<write_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'write_iops_sec' must be an integer"))]
    pub write_iops_sec: Option<u64>,
    /// Element `<total_bytes_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'total_bytes_sec_max' must be an integer"))]
    pub total_bytes_sec_max: Option<u64>,
    /// Element `<read_bytes_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'read_bytes_sec_max' must be an integer"))]
    pub read_bytes_sec_max: Option<u64>,
    /// Element `<write_bytes_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'write_bytes_sec_max' must be an integer"))]
    pub write_bytes_sec_max: Option<u64>,
    /// Element `<total_iops_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'total_iops_sec_max' must be an integer"))]
    pub total_iops_sec_max: Option<u64>,
    /// Element `<read_iops_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'read_iops_sec_max' must be an integer"))]
    pub read_iops_sec_max: Option<u64>,
    /// Element `<write_iops_sec_max>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'write_iops_sec_max' must be an integer"))]
    pub write_iops_sec_max: Option<u64>,
    /// Element `<size_iops_sec>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'size_iops_sec' must be an integer"))]
    pub size_iops_sec: Option<u64>,
    /// Element `<total_bytes_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'total_bytes_sec_max_length' must be an integer"))]
    pub total_bytes_sec_max_length: Option<u64>,
    /// Element `<read_bytes_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'read_bytes_sec_max_length' must be an integer"))]
    pub read_bytes_sec_max_length: Option<u64>,
    /// Element `<write_bytes_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'write_bytes_sec_max_length' must be an integer"))]
    pub write_bytes_sec_max_length: Option<u64>,
    /// Element `<total_iops_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'total_iops_sec_max_length' must be an integer"))]
    pub total_iops_sec_max_length: Option<u64>,
    /// Element `<read_iops_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'read_iops_sec_max_length' must be an integer"))]
    pub read_iops_sec_max_length: Option<u64>,
    /// Element `<write_iops_sec_max_length>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "throttle group field 'write_iops_sec_max_length' must be an integer"))]
    pub write_iops_sec_max_length: Option<u64>,
    /// Element `<group_name>`.
    #[xml(child_text)]
    pub group_name: Option<String>,
}

/// Host scheduling policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum Scheduler {
    /// `batch`.
    #[default]
    Batch,
    /// `idle`.
    Idle,
    /// `fifo`.
    Fifo,
    /// `rr`.
    Rr,
}

/// The `<cputune>` block; periods and quotas in microseconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = CpuTune::check)]
pub struct CpuTune {
    /// Element `<shares>`.
    #[xml(child_text, fault = (ErrorCode::XML_ERROR, "can't parse cputune shares value"))]
    pub shares: Option<u64>,
    /// Element `<period>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune period value"))]
    pub period: Option<u64>,
    /// Element `<quota>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune quota value"))]
    pub quota: Option<i64>,
    /// Element `<global_period>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune global period value"))]
    pub global_period: Option<u64>,
    /// Element `<global_quota>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune global quota value"))]
    pub global_quota: Option<i64>,
    /// Element `<emulator_period>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune emulator period value"))]
    pub emulator_period: Option<u64>,
    /// Element `<emulator_quota>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune emulator quota value"))]
    pub emulator_quota: Option<i64>,
    /// Element `<iothread_period>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune iothread period value"))]
    pub iothread_period: Option<u64>,
    /// Element `<iothread_quota>`.
    #[xml(child_text, zero_absent, fault = (ErrorCode::XML_ERROR, "can't parse cputune iothread quota value"))]
    pub iothread_quota: Option<i64>,
    /// Element `<vcpupin>`.
    #[xml(child, name = "vcpupin")]
    pub vcpu_pins: Vec<VcpuPin>,
    /// Element `<emulatorpin>`.
    #[xml(child, name = "emulatorpin")]
    pub emulator_pin: Option<EmulatorPin>,
    /// Element `<iothreadpin>`.
    #[xml(child, name = "iothreadpin")]
    pub iothread_pins: Vec<IoThreadPin>,
    /// Element `<emulatorsched>`.
    #[xml(child, name = "emulatorsched")]
    pub emulator_sched: Option<EmulatorSched>,
    /// Element `<vcpusched>`.
    #[xml(child, name = "vcpusched")]
    pub vcpu_scheds: Vec<VcpuSched>,
    /// Element `<iothreadsched>`.
    #[xml(child, name = "iothreadsched")]
    pub iothread_scheds: Vec<IoThreadSched>,
    /// Element `<cachetune>`.
    #[xml(child, name = "cachetune")]
    pub cache_tunes: Vec<CacheTune>,
    /// Element `<memorytune>`.
    #[xml(child, name = "memorytune")]
    pub memory_tunes: Vec<MemoryTune>,
}

/// Host CPUs of one virtual CPU.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VcpuPin {
    /// Attribute `vcpu`.
    #[xml(attr)]
    pub vcpu: u32,
    /// Attribute `cpuset`.
    #[xml(attr)]
    pub cpuset: CpuSet,
}

/// Host CPUs of the emulator's threads.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct EmulatorPin {
    /// Attribute `cpuset`.
    #[xml(attr)]
    pub cpuset: CpuSet,
}

/// Host CPUs of one I/O thread.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoThreadPin {
    /// Attribute `iothread`.
    #[xml(attr)]
    pub iothread: u32,
    /// Attribute `cpuset`.
    #[xml(attr, missing = (ErrorCode::INTERNAL_ERROR, "missing cpuset for iothreadpin"))]
    pub cpuset: CpuSet,
}

/// Scheduling of the emulator.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct EmulatorSched {
    /// Attribute `scheduler`.
    #[xml(attr)]
    pub scheduler: Scheduler,
    /// Attribute `priority`.
    #[xml(attr)]
    pub priority: Option<i32>,
}

/// Scheduling of virtual CPUs.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VcpuSched {
    /// Attribute `vcpus`.
    #[xml(attr, fault = (ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"), missing = (ErrorCode::XML_ERROR, "Missing attribute 'vcpus' in element 'vcpusched'"))]
    pub vcpus: CpuSet,
    /// Attribute `scheduler`.
    #[xml(attr)]
    pub scheduler: Scheduler,
    /// Attribute `priority`.
    #[xml(attr)]
    pub priority: Option<i32>,
}

/// Scheduling of I/O threads.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IoThreadSched {
    /// Attribute `iothreads`.
    #[xml(attr, fault = (ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"), missing = (ErrorCode::XML_ERROR, "Missing attribute 'iothreads' in element 'iothreadsched'"))]
    pub iothreads: CpuSet,
    /// Attribute `scheduler`.
    #[xml(attr)]
    pub scheduler: Scheduler,
    /// Attribute `priority`.
    #[xml(attr)]
    pub priority: Option<i32>,
}

/// Cache allocation (resctrl).
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CacheTune {
    /// Attribute `vcpus`.
    #[xml(attr)]
    pub vcpus: CpuSet,
    /// Name of the running guest's group.
    #[xml(attr, live_only)]
    pub id: Option<String>,
    /// Element `<cache>`.
    #[xml(child, name = "cache")]
    pub caches: Vec<CacheTuneCache>,
    /// Element `<monitor>`.
    #[xml(child, name = "monitor")]
    pub monitors: Vec<CacheTuneMonitor>,
}

/// Which cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CacheKind {
    /// `both`.
    #[default]
    Both,
    /// `code`.
    Code,
    /// `data`.
    Data,
}

/// One allocation.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CacheTuneCache {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Attribute `level`.
    #[xml(attr)]
    pub level: u32,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: CacheKind,
    /// Attribute `size`.
    #[xml(attr)]
    pub size: u64,
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<String>,
}

/// Occupancy monitor.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CacheTuneMonitor {
    /// Attribute `level`.
    #[xml(attr)]
    pub level: u32,
    /// Attribute `vcpus`.
    #[xml(attr)]
    pub vcpus: CpuSet,
}

/// Memory bandwidth allocation (resctrl).
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryTune {
    /// Attribute `vcpus`.
    #[xml(attr)]
    pub vcpus: CpuSet,
    /// Element `<node>`.
    #[xml(child, name = "node")]
    pub nodes: Vec<MemoryTuneNode>,
    /// Element `<monitor>`.
    #[xml(child, name = "monitor")]
    pub monitors: Vec<MemoryTuneMonitor>,
}

/// Bandwidth of a node.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryTuneNode {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Attribute `bandwidth`.
    #[xml(attr)]
    pub bandwidth: u32,
}

/// Bandwidth monitor.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MemoryTuneMonitor {
    /// Attribute `vcpus`.
    #[xml(attr)]
    pub vcpus: CpuSet,
}

/// Allocation policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum NumaMode {
    /// `strict`.
    #[default]
    Strict,
    /// `preferred`.
    Preferred,
    /// `interleave`.
    Interleave,
    /// `restrictive`.
    Restrictive,
}

/// The `<numatune>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaTune {
    /// Element `<memory>`.
    #[xml(child)]
    pub memory: Option<NumaMemory>,
    /// Element `<memnode>`.
    #[xml(child, name = "memnode")]
    pub nodes: Vec<NumaMemNode>,
}

/// Policy of all memory.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaMemory {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<NumaMode>,
    /// Attribute `nodeset`.
    #[xml(attr)]
    pub nodeset: Option<CpuSet>,
    /// Attribute `placement`.
    #[xml(attr)]
    pub placement: Option<VcpuPlacement>,
}

/// Policy of one guest node.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NumaMemNode {
    /// Attribute `cellid`.
    #[xml(attr, name = "cellid")]
    pub cell_id: u32,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<NumaMode>,
    /// Attribute `nodeset`.
    #[xml(attr)]
    pub nodeset: Option<CpuSet>,
}

/// Where the guest's processes are placed.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Resource {
    /// Element `<partition>`.
    #[xml(child_text)]
    pub partition: Option<String>,
    /// Element `<fibrechannel>`.
    #[xml(child, name = "fibrechannel")]
    pub fibre_channel: Option<FibreChannel>,
}

/// Fibre channel VM identification.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FibreChannel {
    /// Attribute `appid`.
    #[xml(attr, name = "appid")]
    pub app_id: Option<String>,
}

impl BlkioDevice {
    /// Whether it says more than the device.
    pub(crate) fn limits(&self) -> bool {
        self.weight.is_some()
            || self.read_iops_sec.is_some()
            || self.write_iops_sec.is_some()
            || self.read_bytes_sec.is_some()
            || self.write_bytes_sec.is_some()
    }
}

impl CpuTune {
    /// A second element for the emulator is no other one's.
    fn check(&mut self, el: xml::Element<'_>, r: &mut xml::Reader) {
        let second = |name| el.children().filter(|c| c.name() == name).nth(1);
        for (name, words) in [
            ("emulatorpin", "only one emulatorpin is supported"),
            ("emulatorsched", "only one emulatorsched is supported"),
        ] {
            if let Some(second) = second(name) {
                let code = ErrorCode::XML_ERROR;
                r.error("domain.cputune", code, second.name_span(), words, Vec::new());
            }
        }
    }
}
