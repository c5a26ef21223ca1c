//! Events: what QEMU tells without being asked.

use serde_json::{Map, Value};

/// When QEMU saw an event, on the host's real-time clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970; -1 when the clock failed.
    pub seconds: i64,
    /// Microseconds of the second.
    pub microseconds: i64,
}

/// An event as received: name, data and time, nothing lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// QEMU's name, for example `SHUTDOWN`.
    pub name: String,
    /// The event's data; `Null` when it has none.
    pub data: Value,
    /// When it happened.
    pub timestamp: Timestamp,
}

/// QEMU's `ShutdownCause`, the `reason` of `SHUTDOWN` and `RESET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// QEMU said none (before version 4).
    Unknown,
    /// An error on the host.
    HostError,
    /// `quit` over QMP.
    HostQmpQuit,
    /// `system_reset` over QMP.
    HostQmpSystemReset,
    /// A signal, SIGTERM or SIGINT.
    HostSignal,
    /// The user closed QEMU's window.
    HostUi,
    /// The guest switched itself off.
    GuestShutdown,
    /// The guest reset itself.
    GuestReset,
    /// The guest panicked and QEMU was told to end then.
    GuestPanic,
    /// A reset of a part of the machine (s390 IPL).
    SubsystemReset,
    /// A snapshot is being loaded.
    SnapshotLoad,
    /// A reason of a newer QEMU.
    Other(String),
}

impl ResetReason {
    fn from_name(name: Option<&str>) -> Self {
        match name {
            None | Some("none") => Self::Unknown,
            Some("host-error") => Self::HostError,
            Some("host-qmp-quit") => Self::HostQmpQuit,
            Some("host-qmp-system-reset") => Self::HostQmpSystemReset,
            Some("host-signal") => Self::HostSignal,
            Some("host-ui") => Self::HostUi,
            Some("guest-shutdown") => Self::GuestShutdown,
            Some("guest-reset") => Self::GuestReset,
            Some("guest-panic") => Self::GuestPanic,
            Some("subsystem-reset") => Self::SubsystemReset,
            Some("snapshot-load") => Self::SnapshotLoad,
            Some(other) => Self::Other(other.to_owned()),
        }
    }
}

/// The events we act upon, with the data they carry. Text members that name an open set (actions,
/// protocols) stay text.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The members are QEMU's own, by QEMU's names.
pub enum EventKind {
    /// The machine is switched off.
    Shutdown { guest: bool, reason: ResetReason },
    /// The virtual processors stopped.
    Stop,
    /// The virtual processors run again.
    Resume,
    /// The machine was reset.
    Reset { guest: bool, reason: ResetReason },
    /// The power button was pressed (by us).
    Powerdown,
    /// A watchdog fired; `action` is what QEMU did.
    Watchdog { action: String },
    /// The guest set its clock: seconds against the base that `-rtc` gave.
    RtcChange { offset: i64 },
    /// A disk request failed. `action` is `stop`, `report` or `ignore`.
    BlockIoError {
        device: String,
        node_name: Option<String>,
        qom_path: Option<String>,
        operation: String,
        action: String,
        nospace: bool,
        reason: String,
    },
    /// A device is gone; `device` is absent for devices without id.
    DeviceDeleted { device: Option<String>, path: String },
    /// The guest refused to give a device up.
    DeviceUnplugGuestError { device: Option<String>, path: String },
    /// A removable medium's tray opened or closed.
    DeviceTrayMoved { device: String, id: String, tray_open: bool },
    /// The guest opened or closed a virtio-serial port.
    VserportChange { id: String, open: bool },
    /// The guest's kernel panicked.
    GuestPanicked { action: String, info: Option<Value> },
    /// The guest's kernel panicked and its crash kernel took over.
    GuestCrashloaded { action: String, info: Option<Value> },
    /// The guest shut down through pvpanic.
    GuestPvshutdown,
    /// The guest suspended to memory.
    Suspend,
    /// The guest suspended to disk.
    SuspendDisk,
    /// The guest woke up.
    Wakeup,
    /// The balloon has a new size, in bytes of guest memory left.
    BalloonChange { actual: u64 },
    /// The guest changed a network card's receive filter.
    NicRxFilterChanged { name: Option<String>, path: String },
    /// Memory of the host or guest is broken.
    MemoryFailure { recipient: String, action: String, action_required: bool, recursive: bool },
    /// The size of a virtio-mem device changed.
    MemoryDeviceSizeChange { id: Option<String>, size: u64, qom_path: String },
    /// A graphics client connected, was authenticated, or left (`VNC_*`, `SPICE_*`).
    Graphics { spice: bool, phase: GraphicsPhase, server: Value, client: Value },
    /// SPICE finished moving its clients.
    SpiceMigrateCompleted,
    /// A job of any kind changed its state.
    JobStatusChange { id: String, status: String },
    /// A block job ended.
    BlockJobCompleted {
        kind: String,
        device: String,
        len: i64,
        offset: i64,
        speed: i64,
        error: Option<String>,
    },
    /// A block job was cancelled.
    BlockJobCancelled { kind: String, device: String, len: i64, offset: i64, speed: i64 },
    /// A block job met an error and goes on, pauses or ends.
    BlockJobError { device: String, operation: String, action: String },
    /// A block job waits for `block-job-complete`.
    BlockJobReady { kind: String, device: String, len: i64, offset: i64, speed: i64 },
    /// A block job waits to be finalized.
    BlockJobPending { kind: String, id: String },
    /// A node grew beyond the set threshold, by `amount_exceeded` bytes.
    BlockWriteThreshold { node_name: String, amount_exceeded: u64, write_threshold: u64 },
    /// Migration has a new state.
    Migration { status: String },
    /// A pass over the guest's memory began.
    MigrationPass { pass: i64 },
    /// A dump of the guest's memory ended.
    DumpCompleted { result: Value, error: Option<String> },
    /// The guest's ACPI reported on a slot.
    AcpiDeviceOst { device: Option<String>, slot_type: String, source: i64, status: i64 },
    /// The persistent-reservation helper connected or left.
    PrManagerStatusChanged { id: String, connected: bool },
    /// A network stream backend connected.
    NetdevStreamConnected { netdev_id: String },
    /// A network stream backend lost its peer.
    NetdevStreamDisconnected { netdev_id: String },
    /// An event that we do not act upon, or one whose data do not fit.
    Other,
}

/// How far a graphics client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphicsPhase {
    /// The connection was accepted.
    Connected,
    /// Authentication passed.
    Initialized,
    /// The client left.
    Disconnected,
}

impl Event {
    /// From the JSON object of an event; `None` when it has no name.
    pub fn from_object(mut object: Map<String, Value>) -> Option<Self> {
        let Value::String(name) = object.get_mut("event")?.take() else { return None };
        let time = |part: &str| object.get("timestamp")?.get(part)?.as_i64();
        let timestamp = Timestamp {
            seconds: time("seconds").unwrap_or(-1),
            microseconds: time("microseconds").unwrap_or(-1),
        };
        let data = object.get_mut("data").map(Value::take).unwrap_or_default();
        Some(Self { name, data, timestamp })
    }

    /// The event as one of those we act upon.
    pub fn kind(&self) -> EventKind {
        typed(&self.name, &self.data).unwrap_or(EventKind::Other)
    }
}

/// Reads members of an event's data.
struct Data<'a>(&'a Value);

impl Data<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }
    fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }
    /// A flag among others; what is not there is not set.
    fn flag_of(&self, flags: &str, name: &str) -> bool {
        self.0.get(flags).and_then(|flags| flags.get(name)?.as_bool()).unwrap_or(false)
    }
    fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }
    fn size(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }
    fn value(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }
}

fn typed(name: &str, data: &Value) -> Option<EventKind> {
    use EventKind as E;
    let d = Data(data);
    let reason = || ResetReason::from_name(data.get("reason").and_then(Value::as_str));
    let guest = || d.flag("guest").unwrap_or(false);
    let graphics = |spice, phase| {
        Some(E::Graphics { spice, phase, server: d.value("server")?, client: d.value("client")? })
    };
    Some(match name {
        "SHUTDOWN" => E::Shutdown { guest: guest(), reason: reason() },
        "STOP" => E::Stop,
        "RESUME" => E::Resume,
        "RESET" => E::Reset { guest: guest(), reason: reason() },
        "POWERDOWN" => E::Powerdown,
        "WATCHDOG" => E::Watchdog { action: d.text("action")? },
        "RTC_CHANGE" => E::RtcChange { offset: d.int("offset")? },
        "BLOCK_IO_ERROR" => E::BlockIoError {
            device: d.text("device").unwrap_or_default(),
            node_name: d.text("node-name"),
            qom_path: d.text("qom-path"),
            operation: d.text("operation").unwrap_or_default(),
            action: d.text("action")?,
            nospace: d.flag("nospace").unwrap_or(false),
            reason: d.text("reason").unwrap_or_default(),
        },
        "DEVICE_DELETED" => E::DeviceDeleted { device: d.text("device"), path: d.text("path")? },
        "DEVICE_UNPLUG_GUEST_ERROR" => {
            E::DeviceUnplugGuestError { device: d.text("device"), path: d.text("path")? }
        }
        "DEVICE_TRAY_MOVED" => E::DeviceTrayMoved {
            device: d.text("device").unwrap_or_default(),
            id: d.text("id").unwrap_or_default(),
            tray_open: d.flag("tray-open")?,
        },
        "VSERPORT_CHANGE" => E::VserportChange { id: d.text("id")?, open: d.flag("open")? },
        "GUEST_PANICKED" => E::GuestPanicked { action: d.text("action")?, info: d.value("info") },
        "GUEST_CRASHLOADED" => {
            E::GuestCrashloaded { action: d.text("action")?, info: d.value("info") }
        }
        "GUEST_PVSHUTDOWN" => E::GuestPvshutdown,
        "SUSPEND" => E::Suspend,
        "SUSPEND_DISK" => E::SuspendDisk,
        "WAKEUP" => E::Wakeup,
        "BALLOON_CHANGE" => E::BalloonChange { actual: d.size("actual")? },
        "NIC_RX_FILTER_CHANGED" => {
            E::NicRxFilterChanged { name: d.text("name"), path: d.text("path")? }
        }
        "MEMORY_FAILURE" => E::MemoryFailure {
            recipient: d.text("recipient")?,
            action: d.text("action")?,
            action_required: d.flag_of("flags", "action-required"),
            recursive: d.flag_of("flags", "recursive"),
        },
        "MEMORY_DEVICE_SIZE_CHANGE" => E::MemoryDeviceSizeChange {
            id: d.text("id"),
            size: d.size("size")?,
            qom_path: d.text("qom-path")?,
        },
        "VNC_CONNECTED" => graphics(false, GraphicsPhase::Connected)?,
        "VNC_INITIALIZED" => graphics(false, GraphicsPhase::Initialized)?,
        "VNC_DISCONNECTED" => graphics(false, GraphicsPhase::Disconnected)?,
        "SPICE_CONNECTED" => graphics(true, GraphicsPhase::Connected)?,
        "SPICE_INITIALIZED" => graphics(true, GraphicsPhase::Initialized)?,
        "SPICE_DISCONNECTED" => graphics(true, GraphicsPhase::Disconnected)?,
        "SPICE_MIGRATE_COMPLETED" => E::SpiceMigrateCompleted,
        "JOB_STATUS_CHANGE" => E::JobStatusChange { id: d.text("id")?, status: d.text("status")? },
        "BLOCK_JOB_COMPLETED" => E::BlockJobCompleted {
            kind: d.text("type")?,
            device: d.text("device")?,
            len: d.int("len")?,
            offset: d.int("offset")?,
            speed: d.int("speed")?,
            error: d.text("error"),
        },
        "BLOCK_JOB_CANCELLED" => E::BlockJobCancelled {
            kind: d.text("type")?,
            device: d.text("device")?,
            len: d.int("len")?,
            offset: d.int("offset")?,
            speed: d.int("speed")?,
        },
        "BLOCK_JOB_ERROR" => E::BlockJobError {
            device: d.text("device")?,
            operation: d.text("operation")?,
            action: d.text("action")?,
        },
        "BLOCK_JOB_READY" => E::BlockJobReady {
            kind: d.text("type")?,
            device: d.text("device")?,
            len: d.int("len")?,
            offset: d.int("offset")?,
            speed: d.int("speed")?,
        },
        "BLOCK_JOB_PENDING" => E::BlockJobPending { kind: d.text("type")?, id: d.text("id")? },
        "BLOCK_WRITE_THRESHOLD" => E::BlockWriteThreshold {
            node_name: d.text("node-name")?,
            amount_exceeded: d.size("amount-exceeded")?,
            write_threshold: d.size("write-threshold")?,
        },
        "MIGRATION" => E::Migration { status: d.text("status")? },
        "MIGRATION_PASS" => E::MigrationPass { pass: d.int("pass")? },
        "DUMP_COMPLETED" => E::DumpCompleted { result: d.value("result")?, error: d.text("error") },
        "ACPI_DEVICE_OST" => {
            let info = Data(data.get("info")?);
            E::AcpiDeviceOst {
                device: info.text("device"),
                slot_type: info.text("slot-type")?,
                source: info.int("source")?,
                status: info.int("status")?,
            }
        }
        "PR_MANAGER_STATUS_CHANGED" => {
            E::PrManagerStatusChanged { id: d.text("id")?, connected: d.flag("connected")? }
        }
        "NETDEV_STREAM_CONNECTED" => E::NetdevStreamConnected { netdev_id: d.text("netdev-id")? },
        "NETDEV_STREAM_DISCONNECTED" => {
            E::NetdevStreamDisconnected { netdev_id: d.text("netdev-id")? }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(name: &str, data: Value) -> EventKind {
        Event { name: name.into(), data, timestamp: Timestamp::default() }.kind()
    }

    #[test]
    fn typed_events() {
        let reason = ResetReason::HostSignal;
        let check = |name, data, expected| assert_eq!(kind(name, data), expected, "{name}");
        check(
            "SHUTDOWN",
            json!({"guest": false, "reason": "host-signal"}),
            EventKind::Shutdown { guest: false, reason },
        );
        check(
            "SHUTDOWN",
            json!({}),
            EventKind::Shutdown { guest: false, reason: ResetReason::Unknown },
        );
        check(
            "RTC_CHANGE",
            json!({"offset": -7, "qom-path": "/x"}),
            EventKind::RtcChange { offset: -7 },
        );
        check("BALLOON_CHANGE", json!({"actual": 5}), EventKind::BalloonChange { actual: 5 });
        check(
            "DEVICE_DELETED",
            json!({"path": "/p"}),
            EventKind::DeviceDeleted { device: None, path: "/p".into() },
        );
        check("WATCHDOG", json!({"action": 3}), EventKind::Other);
        check("NEW_IN_QEMU_12", Value::Null, EventKind::Other);
    }
}
