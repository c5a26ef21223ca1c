//! The commands we send, with the types of their answers. Named as QEMU names them.

use serde_json::{Map, Value};

use crate::reply::*;
use crate::{Ack, Command};

/// Declares commands without arguments.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident = $qmp:literal -> $reply:ty;)*) => {
        $($(#[$doc])* pub fn $name() -> Command<$reply> { Command::new($qmp) })*
    };
}

plain! {
    /// Lets the machine run.
    cont = "cont" -> Ack;
    /// Stops the virtual processors.
    stop = "stop" -> Ack;
    /// Presses the power button.
    system_powerdown = "system_powerdown" -> Ack;
    /// Presses the reset button.
    system_reset = "system_reset" -> Ack;
    /// Wakes a suspended guest.
    system_wakeup = "system_wakeup" -> Ack;
    /// Ends QEMU.
    quit = "quit" -> Ack;
    /// Injects a non-maskable interrupt.
    inject_nmi = "inject-nmi" -> Ack;
    /// The run state.
    query_status = "query-status" -> Status;
    /// The virtual processors and their threads.
    query_cpus_fast = "query-cpus-fast" -> Vec<Cpu>;
    /// Processors that are or could be plugged.
    query_hotpluggable_cpus = "query-hotpluggable-cpus" -> Vec<HotpluggableCpu>;
    /// The character devices.
    query_chardev = "query-chardev" -> Vec<Chardev>;
    /// The balloon's size.
    query_balloon = "query-balloon" -> Balloon;
    /// The VNC server.
    query_vnc = "query-vnc" -> Vnc;
    /// The SPICE server.
    query_spice = "query-spice" -> Value;
    /// The disks.
    query_block = "query-block" -> Vec<Value>;
    /// Counters of the disks' nodes.
    query_blockstats = "query-blockstats" -> Vec<Value>;
    /// The I/O threads.
    query_iothreads = "query-iothreads" -> Vec<IoThread>;
    /// QEMU's version.
    query_version = "query-version" -> Version;
    /// Whether KVM is used.
    query_kvm = "query-kvm" -> Kvm;
    /// The machine types.
    query_machines = "query-machines" -> Vec<Machine>;
    /// The processor models.
    query_cpu_definitions = "query-cpu-definitions" -> Vec<CpuDefinition>;
    /// All commands, events and types that this QEMU knows.
    query_qmp_schema = "query-qmp-schema" -> Vec<Value>;
    /// The TPM models it can emulate.
    query_tpm_models = "query-tpm-models" -> Vec<String>;
    /// The ways it can reach a TPM.
    query_tpm_types = "query-tpm-types" -> Vec<String>;
    /// The TPMs of the machine.
    query_tpm = "query-tpm" -> Vec<Value>;
    /// The architecture.
    query_target = "query-target" -> Target;
    /// The machine's UUID.
    query_uuid = "query-uuid" -> Uuid;
    /// The guest's name.
    query_name = "query-name" -> Name;
    /// The migration's state and counters.
    query_migrate = "query-migrate" -> Migration;
    /// What migrations can be told to do, and whether they are.
    query_migrate_capabilities = "query-migrate-capabilities" -> Vec<MigrationCapability>;
    /// The settings of migrations.
    query_migrate_parameters = "query-migrate-parameters" -> Value;
    /// How far the dump of the guest's memory is.
    query_dump = "query-dump" -> Dump;
    /// The formats in which the guest's memory can be dumped.
    query_dump_guest_memory_capability = "query-dump-guest-memory-capability" -> DumpFormats;
    /// The sets of descriptors and what is in them.
    query_fdsets = "query-fdsets" -> Vec<Value>;
    /// The jobs.
    query_jobs = "query-jobs" -> Vec<Value>;
    /// The block jobs.
    query_block_jobs = "query-block-jobs" -> Vec<Value>;
    /// The memory devices.
    query_memory_devices = "query-memory-devices" -> Vec<Value>;
    /// The memory: `base-memory` and `plugged-memory` in bytes.
    query_memory_size_summary = "query-memory-size-summary" -> Value;
    /// The PCI buses.
    query_pci = "query-pci" -> Vec<Value>;
    /// GIC versions (ARM).
    query_gic_capabilities = "query-gic-capabilities" -> Vec<Value>;
    /// AMD SEV (absent elsewhere).
    query_sev_capabilities = "query-sev-capabilities" -> Value;
    /// Ends an aborted or running migration.
    migrate_cancel = "migrate_cancel" -> Ack;
}

/// Leaves the negotiation mode; `oob` asks for out-of-band commands.
pub fn qmp_capabilities(oob: bool) -> Command<Ack> {
    let command = Command::new("qmp_capabilities");
    if oob { command.arg("enable", vec!["oob"]) } else { command }
}

/// Sets the size the balloon should leave to the guest, in bytes.
pub fn balloon(bytes: u64) -> Command<Ack> {
    Command::new("balloon").arg("value", bytes)
}

/// The block nodes, without their chains of backing files when `flat`.
pub fn query_named_block_nodes(flat: bool) -> Command<Vec<Value>> {
    let command = Command::new("query-named-block-nodes");
    if flat { command.arg("flat", true) } else { command }
}

/// Reads a property of an object.
pub fn qom_get(path: &str, property: &str) -> Command {
    Command::new("qom-get").arg("path", path).arg("property", property)
}

/// Sets a property of an object.
pub fn qom_set(path: &str, property: &str, value: impl Into<Value>) -> Command<Ack> {
    Command::new("qom-set").arg("path", path).arg("property", property).arg("value", value)
}

/// Lists the properties and children of an object.
pub fn qom_list(path: &str) -> Command<Vec<Property>> {
    Command::new("qom-list").arg("path", path)
}

/// Lists object types, all or those that implement one.
pub fn qom_list_types(implements: Option<&str>, with_abstract: bool) -> Command<Vec<ObjectType>> {
    Command::new("qom-list-types")
        .arg_opt("implements", implements)
        .arg_opt("abstract", with_abstract.then_some(true))
}

/// The properties that a device type takes.
pub fn device_list_properties(typename: &str) -> Command<Vec<Property>> {
    Command::new("device-list-properties").arg("typename", typename)
}

/// The properties that an object type takes.
pub fn qom_list_properties(typename: &str) -> Command<Vec<Property>> {
    Command::new("qom-list-properties").arg("typename", typename)
}

/// The parameters of one command-line option, or of all.
pub fn query_command_line_options(option: Option<&str>) -> Command<Vec<CommandLineOption>> {
    Command::new("query-command-line-options").arg_opt("option", option)
}

/// What a processor model means: `kind` is `static` or `full`.
pub fn query_cpu_model_expansion(
    kind: &str,
    name: &str,
    props: Map<String, Value>,
) -> Command<CpuModelExpansion> {
    let mut model = Map::new();
    model.insert("name".to_owned(), name.into());
    if !props.is_empty() {
        model.insert("props".to_owned(), props.into());
    }
    Command::new("query-cpu-model-expansion").arg("type", kind).arg("model", model)
}

/// Writes a picture of a display to a file that QEMU can open. `format` is `png` or `ppm`.
pub fn screendump(
    filename: &str,
    device: Option<&str>,
    head: Option<u32>,
    format: Option<&str>,
) -> Command<Ack> {
    Command::new("screendump")
        .arg("filename", filename)
        .arg_opt("device", device)
        .arg_opt("head", head)
        .arg_opt("format", format)
}

/// Sets the password of a display. `protocol` is `vnc` or `spice`; `connected` what happens to
/// clients that are there (`keep`, `fail`, `disconnect`).
pub fn set_password(protocol: &str, password: &str, connected: Option<&str>) -> Command<Ack> {
    Command::new("set_password")
        .arg("protocol", protocol)
        .arg("password", password)
        .arg_opt("connected", connected)
}

/// Sets when the password ends: `now`, `never`, `+SECONDS` or seconds since 1970.
pub fn expire_password(protocol: &str, time: &str) -> Command<Ack> {
    Command::new("expire_password").arg("protocol", protocol).arg("time", time)
}

/// Takes the descriptor sent along and keeps it under a name.
pub fn getfd(name: &str) -> Command<Ack> {
    Command::new("getfd").arg("fdname", name)
}

/// Closes a descriptor that `getfd` took.
pub fn closefd(name: &str) -> Command<Ack> {
    Command::new("closefd").arg("fdname", name)
}

/// Takes the descriptor sent along into a set, which `/dev/fdset/N` then opens.
pub fn add_fd(set: Option<i64>, opaque: Option<&str>) -> Command<AddFd> {
    Command::new("add-fd").arg_opt("fdset-id", set).arg_opt("opaque", opaque)
}

/// Gives up a descriptor of a set, or the whole set.
pub fn remove_fd(set: i64, fd: Option<i64>) -> Command<Ack> {
    Command::new("remove-fd").arg("fdset-id", set).arg_opt("fd", fd)
}

/// Has migrations do these things or not, `{"capability": NAME, "state": BOOL}` each.
pub fn migrate_set_capabilities(capabilities: Vec<Value>) -> Command<Ack> {
    Command::new("migrate-set-capabilities").arg("capabilities", capabilities)
}

/// Sets parameters of migrations.
pub fn migrate_set_parameters(parameters: Map<String, Value>) -> Command<Ack> {
    Command::new("migrate-set-parameters").args(parameters)
}

/// Begins to send the guest's state; `MIGRATION` tells when that is done.
pub fn migrate(uri: &str) -> Command<Ack> {
    Command::new("migrate").arg("uri", uri)
}

/// Begins to receive a guest's state. `stay`: a QEMU that fails to does not end itself (from 9.1).
pub fn migrate_incoming(uri: &str, stay: bool) -> Command<Ack> {
    Command::new("migrate-incoming").arg("uri", uri).arg_opt("exit-on-error", stay.then_some(false))
}

/// Begins to write the guest's memory in `format` (`elf` without one) into the descriptor that
/// `getfd` took under `fdname`; `DUMP_COMPLETED` tells when that is done.
pub fn dump_guest_memory(fdname: &str, format: Option<&str>) -> Command<Ack> {
    Command::new("dump-guest-memory")
        .arg("paging", false)
        .arg("protocol", format!("fd:{fdname}"))
        .arg("detach", true)
        .arg_opt("format", format)
}

/// Attaches a graphics or TLS client whose socket was sent by `getfd`. `protocol` is `vnc`,
/// `spice` or an id of a character device.
pub fn add_client(protocol: &str, fdname: &str, skipauth: bool) -> Command<Ack> {
    Command::new("add_client")
        .arg("protocol", protocol)
        .arg("fdname", fdname)
        .arg_opt("skipauth", skipauth.then_some(true))
}

/// Creates an object; `properties` hold `qom-type` and `id`.
pub fn object_add(properties: Map<String, Value>) -> Command<Ack> {
    Command::new("object-add").args(properties)
}

/// Removes an object.
pub fn object_del(id: &str) -> Command<Ack> {
    Command::new("object-del").arg("id", id)
}

/// Plugs a device; `properties` hold `driver` and `id`.
pub fn device_add(properties: Map<String, Value>) -> Command<Ack> {
    Command::new("device_add").args(properties)
}

/// Asks the guest to give a device up; `DEVICE_DELETED` tells when it has.
pub fn device_del(id: &str) -> Command<Ack> {
    Command::new("device_del").arg("id", id)
}

/// Opens a block node.
pub fn blockdev_add(properties: Map<String, Value>) -> Command<Ack> {
    Command::new("blockdev-add").args(properties)
}

/// Closes a block node.
pub fn blockdev_del(node_name: &str) -> Command<Ack> {
    Command::new("blockdev-del").arg("node-name", node_name)
}

/// Opens a medium's tray.
pub fn blockdev_open_tray(id: &str, force: bool) -> Command<Ack> {
    Command::new("blockdev-open-tray").arg("id", id).arg_opt("force", force.then_some(true))
}

/// Closes a medium's tray.
pub fn blockdev_close_tray(id: &str) -> Command<Ack> {
    Command::new("blockdev-close-tray").arg("id", id)
}

/// Takes the medium out of an open tray.
pub fn blockdev_remove_medium(id: &str) -> Command<Ack> {
    Command::new("blockdev-remove-medium").arg("id", id)
}

/// Puts a block node into an open tray.
pub fn blockdev_insert_medium(id: &str, node_name: &str) -> Command<Ack> {
    Command::new("blockdev-insert-medium").arg("id", id).arg("node-name", node_name)
}

/// Sets the link of a network card.
pub fn set_link(name: &str, up: bool) -> Command<Ack> {
    Command::new("set_link").arg("name", name).arg("up", up)
}

/// Presses keys together, by QEMU's key names, for `hold_ms` milliseconds.
pub fn send_key(keys: &[&str], hold_ms: Option<u32>) -> Command<Ack> {
    let keys: Vec<Value> =
        keys.iter().map(|key| serde_json::json!({"type": "qcode", "data": key})).collect();
    Command::new("send-key").arg("keys", keys).arg_opt("hold-time", hold_ms)
}

/// Presses keys together, by QEMU's key numbers, for `hold_ms` milliseconds.
pub fn send_key_numbers(keys: &[u32], hold_ms: Option<u32>) -> Command<Ack> {
    let keys: Vec<Value> =
        keys.iter().map(|key| serde_json::json!({"type": "number", "data": key})).collect();
    Command::new("send-key").arg("keys", keys).arg_opt("hold-time", hold_ms)
}

/// Runs a line of the human monitor and returns its output.
pub fn human_monitor_command(line: &str, cpu_index: Option<i64>) -> Command<String> {
    Command::new("human-monitor-command").arg("command-line", line).arg_opt("cpu-index", cpu_index)
}

/// Sets what a firing watchdog does: `reset`, `shutdown`, `poweroff`, `pause`, `debug`, `none`, `inject-nmi`.
pub fn watchdog_set_action(action: &str) -> Command<Ack> {
    Command::new("watchdog-set-action").arg("action", action)
}

/// Sets what QEMU does at events of the machine; `None` leaves as it is. `reboot` is `reset` or
/// `shutdown`, `shutdown` is `poweroff` or `pause`, `panic` is `pause`, `shutdown`, `exit-failure` or `none`.
pub fn set_action(
    reboot: Option<&str>,
    shutdown: Option<&str>,
    panic: Option<&str>,
    watchdog: Option<&str>,
) -> Command<Ack> {
    Command::new("set-action")
        .arg_opt("reboot", reboot)
        .arg_opt("shutdown", shutdown)
        .arg_opt("panic", panic)
        .arg_opt("watchdog", watchdog)
}

/// Commands of the guest agent.
pub mod guest {
    use serde_json::Value;

    use crate::{Ack, Command};

    /// Brings both sides in step; the answer is the number after a 0xFF byte.
    pub fn sync_delimited(id: u64) -> Command<u64> {
        Command::new("guest-sync-delimited").arg("id", id)
    }

    /// Asks whether the agent lives.
    pub fn ping() -> Command<Ack> {
        Command::new("guest-ping")
    }

    /// The agent's version and the commands it knows.
    pub fn info() -> Command<Value> {
        Command::new("guest-info")
    }

    /// Ends the guest: `mode` is `powerdown`, `reboot` or `halt`. The agent answers only errors;
    /// success is the machine's going down.
    pub fn shutdown(mode: &str) -> Command<Ack> {
        Command::new("guest-shutdown").arg("mode", mode)
    }

    /// Suspends the guest to memory; no answer on success.
    pub fn suspend_ram() -> Command<Ack> {
        Command::new("guest-suspend-ram")
    }

    /// Suspends the guest to disk; no answer on success.
    pub fn suspend_disk() -> Command<Ack> {
        Command::new("guest-suspend-disk")
    }

    /// Suspends the guest to both; no answer on success.
    pub fn suspend_hybrid() -> Command<Ack> {
        Command::new("guest-suspend-hybrid")
    }

    /// The guest's network interfaces.
    pub fn network_get_interfaces() -> Command<Vec<Value>> {
        Command::new("guest-network-get-interfaces")
    }

    /// The guest's host name.
    pub fn get_host_name() -> Command<Value> {
        Command::new("guest-get-host-name")
    }

    /// The guest's operating system.
    pub fn get_osinfo() -> Command<Value> {
        Command::new("guest-get-osinfo")
    }

    /// The guest's time, in nanoseconds since 1970.
    pub fn get_time() -> Command<i64> {
        Command::new("guest-get-time")
    }

    /// Sets the guest's time, in nanoseconds since 1970, or from its hardware clock.
    pub fn set_time(nanoseconds: Option<i64>) -> Command<Ack> {
        Command::new("guest-set-time").arg_opt("time", nanoseconds)
    }

    /// Freezes the guest's file systems; the answer is how many.
    pub fn fsfreeze_freeze() -> Command<i64> {
        Command::new("guest-fsfreeze-freeze")
    }

    /// Thaws the guest's file systems; the answer is how many.
    pub fn fsfreeze_thaw() -> Command<i64> {
        Command::new("guest-fsfreeze-thaw")
    }
}
