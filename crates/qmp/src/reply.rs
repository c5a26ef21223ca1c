//! Answers of QEMU as structs. Members that a QEMU of the supported range (6.2 on) may lack are
//! optional; unknown members are ignored.

use serde::Deserialize;
use serde_json::Value;

use crate::QemuVersion;

/// `query-status`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Whether the virtual processors run.
    pub running: bool,
    /// QEMU's `RunState`: `running`, `paused`, `prelaunch`, `shutdown`, …
    pub status: String,
}

/// One entry of `query-cpus-fast`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cpu {
    /// QEMU's number of the virtual processor.
    pub cpu_index: i64,
    /// Its path in QEMU's object tree.
    pub qom_path: String,
    /// The host thread that runs it.
    pub thread_id: i64,
    /// Where it sits (socket, core, …), as QEMU names it.
    #[serde(default)]
    pub props: Value,
}

/// One entry of `query-chardev`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chardev {
    /// The id given on the command line.
    pub label: String,
    /// What it is connected to, for example `pty:/dev/pts/3`.
    pub filename: String,
    /// Whether the guest has it open.
    pub frontend_open: bool,
}

impl Chardev {
    /// The path of the pseudo-terminal, if it is one.
    pub fn pty(&self) -> Option<&str> {
        self.filename.strip_prefix("pty:")
    }
}

/// `query-balloon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Balloon {
    /// The guest's memory now, in bytes.
    pub actual: u64,
}

/// `query-vnc`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Vnc {
    /// Whether there is a VNC server.
    pub enabled: bool,
    /// The address it listens on.
    pub host: Option<String>,
    /// The port, as text.
    pub service: Option<String>,
    /// The authentication in force.
    pub auth: Option<String>,
    /// The connected clients.
    #[serde(default)]
    pub clients: Vec<Value>,
}

/// One entry of `query-iothreads`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IoThread {
    /// Its id.
    pub id: String,
    /// The host thread.
    pub thread_id: i64,
    /// Longest busy polling, in nanoseconds.
    #[serde(default)]
    pub poll_max_ns: i64,
    /// Factor of growth of the polling time.
    #[serde(default)]
    pub poll_grow: i64,
    /// Divisor of the polling time.
    #[serde(default)]
    pub poll_shrink: i64,
}

/// `query-version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub QemuVersion);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        QemuVersion::from_value(&value)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("no version numbers"))
    }
}

/// `query-kvm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Kvm {
    /// Whether this guest runs on KVM.
    pub enabled: bool,
    /// Whether this QEMU was built with KVM.
    pub present: bool,
}

/// One entry of `query-machines`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// Full name, for example `pc-i440fx-10.0`.
    pub name: String,
    /// Short name, for example `pc`.
    pub alias: Option<String>,
    /// Whether QEMU takes it when nothing is asked for.
    #[serde(default)]
    pub is_default: bool,
    /// The most virtual processors it takes.
    pub cpu_max: i64,
    /// Whether processors can be plugged while it runs.
    #[serde(default)]
    pub hotpluggable_cpus: bool,
    /// Whether `-numa node,mem=` works.
    #[serde(default)]
    pub numa_mem_supported: bool,
    /// Whether it is going to be removed.
    #[serde(default)]
    pub deprecated: bool,
    /// The type of its processors when nothing is asked for.
    pub default_cpu_type: Option<String>,
    /// The id of its main memory, for `memory-backend=`.
    pub default_ram_id: Option<String>,
    /// Whether it has ACPI (QEMU 8 on).
    pub acpi: Option<bool>,
}

/// One entry of `query-cpu-definitions`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CpuDefinition {
    /// The model's name.
    pub name: String,
    /// Its object type.
    #[serde(default)]
    pub typename: String,
    /// Whether a guest on it can move to another host.
    pub migration_safe: Option<bool>,
    /// Whether it never changes.
    #[serde(default, rename = "static")]
    pub is_static: bool,
    /// Features that keep this host from running it; absent when QEMU does not say.
    pub unavailable_features: Option<Vec<String>>,
    /// The versioned model it stands for.
    pub alias_of: Option<String>,
    /// Whether it is going to be removed.
    #[serde(default)]
    pub deprecated: bool,
}

/// `query-cpu-model-expansion`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CpuModelExpansion {
    /// The expanded model.
    pub model: CpuModel,
}

/// A processor model and its properties.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CpuModel {
    /// The model's name.
    pub name: String,
    /// Properties by name; booleans, numbers or text.
    #[serde(default)]
    pub props: serde_json::Map<String, Value>,
}

/// `query-target`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Target {
    /// The architecture, by QEMU's name.
    pub arch: String,
}

/// One entry of `qom-list` and `device-list-properties`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its type, for example `bool`, `child<piix3-ide>`, `link<bus>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What QEMU says about it.
    pub description: Option<String>,
    /// The value when nothing is set.
    pub default_value: Option<Value>,
}

/// One entry of `qom-list-types`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ObjectType {
    /// The type's name.
    pub name: String,
    /// The type it derives from.
    pub parent: Option<String>,
    /// Whether it cannot be created itself.
    #[serde(default, rename = "abstract")]
    pub is_abstract: bool,
}

/// One entry of `query-command-line-options`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CommandLineOption {
    /// The option without its dash.
    pub option: String,
    /// Its parameters.
    pub parameters: Vec<CommandLineParameter>,
}

/// A parameter of a command-line option.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CommandLineParameter {
    /// Its name.
    pub name: String,
    /// `string`, `boolean`, `number` or `size`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `query-uuid`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Uuid {
    /// In text form with dashes.
    #[serde(rename = "UUID")]
    pub uuid: String,
}

/// `query-name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Name {
    /// What `-name guest=` gave.
    pub name: Option<String>,
}

/// `add-fd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddFd {
    /// The set it went into.
    pub fdset_id: i64,
    /// Its number inside QEMU.
    pub fd: i64,
}

/// One entry of `query-hotpluggable-cpus`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HotpluggableCpu {
    /// The device type to add.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many virtual processors one such device brings.
    pub vcpus_count: i64,
    /// Where it goes, the arguments for `device_add`.
    pub props: Value,
    /// Its path when it is there already.
    pub qom_path: Option<String>,
}

/// `query-migrate`: numbers of bytes and milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Migration {
    /// `setup`, `active`, `device`, `completed`, `failed`, `cancelling`, `cancelled` …; absent
    /// where there never was one.
    pub status: Option<String>,
    /// Why it failed.
    pub error_desc: Option<String>,
    /// How long it took, or has taken.
    pub total_time: Option<u64>,
    /// How long the guest stood still for it.
    pub downtime: Option<u64>,
    /// How long it got ready.
    pub setup_time: Option<u64>,
    /// The guest's memory.
    pub ram: Option<MigrationRam>,
}

impl Migration {
    /// It goes on: something more comes of it.
    pub fn is_under_way(&self) -> bool {
        !matches!(
            self.status.as_deref(),
            None | Some("none" | "completed" | "failed" | "cancelled")
        )
    }
}

/// The memory of `query-migrate`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MigrationRam {
    /// Bytes of memory.
    pub total: u64,
    /// Bytes sent.
    pub transferred: u64,
    /// Bytes still to send.
    pub remaining: u64,
    /// Pages of one value.
    pub duplicate: u64,
    /// Pages sent as they are.
    pub normal: u64,
    /// Bytes of those.
    pub normal_bytes: u64,
    /// Pages a second that the guest writes.
    pub dirty_pages_rate: u64,
    /// Megabits a second.
    pub mbps: f64,
    /// Passes over the memory.
    pub dirty_sync_count: u64,
    /// Pages asked for after the switch.
    pub postcopy_requests: u64,
    /// Bytes of a page.
    pub page_size: u64,
}

/// One entry of `query-migrate-capabilities`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MigrationCapability {
    /// Its name.
    pub capability: String,
    /// It is on.
    pub state: bool,
}

/// `query-dump`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dump {
    /// `none`, `active`, `completed` or `failed`.
    pub status: String,
    /// Bytes written.
    pub completed: u64,
    /// Bytes to write.
    pub total: u64,
}

/// `query-dump-guest-memory-capability`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct DumpFormats {
    /// `elf`, `kdump-zlib` …
    pub formats: Vec<String>,
}
