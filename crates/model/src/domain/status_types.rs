//! The elements of a status file.

use super::Domain;
use super::cpu::Cpu;
use crate::domain::prelude::*;
use std::sync::Arc;

/// A running guest as the daemon records it (`/run/libvirt/qemu/NAME.xml`).
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DomStatus {
    /// `running`, `paused`, `shutdown`, …
    #[xml(attr)]
    pub state: String,
    /// Why it is in that state.
    #[xml(attr)]
    pub reason: Option<String>,
    /// Process of the emulator.
    #[xml(attr)]
    pub pid: i64,
    /// Element `<taint>`.
    #[xml(child, name = "taint")]
    pub taints: Vec<Taint>,
    /// Element `<monitor>`.
    #[xml(child)]
    pub monitor: Option<Monitor>,
    /// Presence of `<dbusDaemon/>`: the guest has a bus of its own.
    #[xml(flag, name = "dbusDaemon")]
    pub dbus_daemon: bool,
    /// Element `<namespaces>`.
    #[xml(child)]
    pub namespaces: Option<Namespaces>,
    /// Element `<vcpus>`.
    #[xml(child)]
    pub vcpus: Option<VcpuPids>,
    /// Element `<qemuCaps>`.
    #[xml(child, name = "qemuCaps")]
    pub qemu_caps: Option<CapsFlags>,
    /// Element `<job>`.
    #[xml(child)]
    pub job: Option<StatusJob>,
    /// Element `<lockstate>`.
    #[xml(child_text, name = "lockstate")]
    pub lock_state: Option<String>,
    /// Element `<devices>`.
    #[xml(child, name = "devices")]
    pub device_aliases: Option<DeviceAliases>,
    /// Element `<numad>`.
    #[xml(child)]
    pub numad: Option<Numad>,
    /// Element `<libDir>`.
    #[xml(child, name = "libDir")]
    pub lib_dir: Option<StatusPath>,
    /// Element `<channelTargetDir>`.
    #[xml(child, name = "channelTargetDir")]
    pub channel_target_dir: Option<StatusPath>,
    /// Element `<memoryBackingDir>`.
    #[xml(child, name = "memoryBackingDir")]
    pub memory_backing_dir: Option<StatusPath>,
    /// The CPU as configured, before the emulator's answer was merged in.
    #[xml(child)]
    pub cpu: Option<Cpu>,
    /// Presence of `<chardevStdioLogd/>`.
    #[xml(flag, name = "chardevStdioLogd")]
    pub chardev_stdio_logd: bool,
    /// Element `<allowReboot>`.
    #[xml(child, name = "allowReboot")]
    pub allow_reboot: Option<AllowReboot>,
    /// Presence of `<rememberOwner/>`.
    #[xml(flag, name = "rememberOwner")]
    pub remember_owner: bool,
    /// Last number given to a block node.
    #[xml(child)]
    pub nodename: Option<StatusIndex>,
    /// Last number given to a descriptor set.
    #[xml(child)]
    pub fdset: Option<StatusIndex>,
    /// Element `<blockjobs>`.
    #[xml(child, name = "blockjobs")]
    pub block_jobs: Option<BlockJobs>,
    /// Element `<agentTimeout>`.
    #[xml(child_text, name = "agentTimeout")]
    pub agent_timeout: Option<i32>,
    /// Presence of `<fakereboot/>`.
    #[xml(flag, name = "fakereboot")]
    pub fake_reboot: bool,
    /// Running backups, kept as read.
    #[xml(child)]
    pub backups: Option<Opaque>,
    /// Helper processes, kept as read.
    #[xml(child)]
    pub slirp: Option<Opaque>,
    /// D-Bus helper, kept as read.
    #[xml(child)]
    pub dbus: Option<Opaque>,
    /// The guest in its live form.
    #[xml(with = super::status::embedded)]
    pub domain: Arc<Domain>,
}

/// Something that makes support harder.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Taint {
    /// Attribute `flag`.
    #[xml(attr)]
    pub flag: String,
}

/// The monitor's socket.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Monitor {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: String,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: String,
}

/// Namespaces of the emulator.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Namespaces {
    /// Presence of `<mount/>`.
    #[xml(flag)]
    pub mount: bool,
}

/// Threads of the virtual CPUs.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VcpuPids {
    /// Element `<vcpu>`.
    #[xml(child, name = "vcpu")]
    pub list: Vec<VcpuPid>,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VcpuPid {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
    /// Attribute `pid`.
    #[xml(attr)]
    pub pid: i64,
}

/// Capability flags the emulator was started with.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CapsFlags {
    /// Element `<flag>`.
    #[xml(child, name = "flag")]
    pub flags: Vec<CapsFlag>,
}

/// One flag.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CapsFlag {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
}

/// A job in progress.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct StatusJob {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: String,
    /// Attribute `async`.
    #[xml(attr, name = "async")]
    pub async_job: String,
    /// Attribute `phase`.
    #[xml(attr)]
    pub phase: Option<String>,
    /// Attribute `flags`.
    #[xml(attr)]
    pub flags: Option<String>,
    /// Attribute `asyncStarted`.
    #[xml(attr, name = "asyncStarted")]
    pub async_started: Option<u64>,
    /// Element `<disk>`.
    #[xml(child, name = "disk")]
    pub disks: Vec<StatusJobDisk>,
    /// Migration parameters to restore, kept as read.
    #[xml(child, name = "migParams")]
    pub mig_params: Option<Opaque>,
}

/// One disk of a migration.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct StatusJobDisk {
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: String,
    /// Attribute `migrating`.
    #[xml(attr)]
    pub migrating: YesNo,
    /// NBD source, kept as read.
    #[xml(child, name = "migrationSource")]
    pub source: Option<Opaque>,
}

/// Names of the devices that QEMU knows.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DeviceAliases {
    /// Element `<device>`.
    #[xml(child, name = "device")]
    pub list: Vec<DeviceAlias>,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DeviceAlias {
    /// Attribute `alias`.
    #[xml(attr)]
    pub alias: String,
}

/// Automatic placement.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Numad {
    /// Attribute `nodeset`.
    #[xml(attr)]
    pub nodeset: Option<String>,
    /// Attribute `cpuset`.
    #[xml(attr)]
    pub cpuset: Option<String>,
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct StatusPath {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: String,
}

/// Whether a guest reset reboots.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct AllowReboot {
    /// Attribute `value`.
    #[xml(attr)]
    pub value: YesNo,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct StatusIndex {
    /// Attribute `index`.
    #[xml(attr)]
    pub index: u64,
}

/// Block jobs.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct BlockJobs {
    /// Attribute `active`.
    #[xml(attr)]
    pub active: YesNo,
    /// Kept as read.
    #[xml(child, name = "blockjob")]
    pub jobs: Vec<Opaque>,
}
