//! The plan of a start.

use super::build::{Build, Props, comma, fd_mark};
use super::chardev::{Backend, Socket, SocketAddress};
use super::found::Found;
use super::noted::{Noted, Now};
use super::settings::Settings;
use super::words::YesNo;
use super::{chardev, cpu, disk, flags, graphics, guest_cpu, memory, net};
use crate::because::{Because, Place, Reasons};
use crate::launch_plan::{LaunchPlan, MonitorPlan};
use crate::step::*;
use diag::{Diagnostic, ErrorCode, Severity};
use model::capabilities::firmware::Firmware;
use model::capabilities::host::{HostFacts, KvmState};
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::clock::TimerName;
use model::domain::firmware;
use model::domain::scalar::CpuSet;
use model::domain::seclabel::{Seclabel, SeclabelType};
use model::domain::tune::{IoThread, VcpuPlacement};
use model::domain::{Domain, VirtType};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A fault that ends planning at once.
pub(super) fn fault(
    rule: &'static str,
    code: ErrorCode,
    message: impl Into<String>,
) -> Vec<Diagnostic> {
    vec![Diagnostic {
        rule,
        severity: Severity::Error,
        code,
        span: None,
        message: message.into(),
        domain: None,
        hints: Vec::new(),
    }]
}

/// `ID-NAME`, the name cut to 20 characters, as libvirt names a guest's directories.
pub fn short_name(id: i32, name: &str) -> String {
    let short: String = name.chars().take(20).collect();
    format!("{id}-{short}")
}

/// What a plan is made from, besides the domain.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The emulator.
    pub caps: &'a QemuCaps,
    /// The host.
    pub host: &'a HostFacts,
    /// Installed firmware.
    pub firmware: &'a [Firmware],
    /// The daemon's settings.
    pub settings: &'a Settings,
    /// What was looked up outside.
    pub found: &'a Found,
    /// Run-time id of the guest to be.
    pub id: i32,
    /// Where its state comes from, as `-incoming` takes it (`defer`, `tcp:…`, `fd:N`, `exec:…`);
    /// `None`: it boots.
    pub incoming: Option<&'a str>,
}

/// The accelerator a domain type means, if it can be used.
pub(super) fn accelerator(domain: &Domain, inputs: &Inputs) -> Result<Accel, Vec<Diagnostic>> {
    match domain.kind {
        VirtType::Qemu => match inputs.caps.accel(Accel::Tcg) {
            Some(_) => Ok(Accel::Tcg),
            None => Err(fault(
                "qemu.accel",
                ErrorCode::CONFIG_UNSUPPORTED,
                format!("<domain type='qemu'>: {} was built without TCG", inputs.caps.emulator),
            )),
        },
        VirtType::Kvm => {
            let reason = match &inputs.host.kvm {
                KvmState::Unusable(reason) => Some(reason.clone()),
                KvmState::Unknown => Some("KVM was not probed".to_string()),
                KvmState::Usable => None,
            };
            let reason = match inputs.caps.accel(Accel::Kvm) {
                Some(_) => reason,
                None => reason.or(Some(format!("{} cannot use KVM here", inputs.caps.emulator))),
            };
            match reason {
                None => Ok(Accel::Kvm),
                Some(reason) => {
                    let message = format!("<domain type='kvm'> cannot start: {reason}");
                    let mut faults = fault("qemu.kvm", ErrorCode::CONFIG_UNSUPPORTED, message);
                    if let Some(fault) = faults.first_mut() {
                        fault.hints.push("<domain type='qemu'> runs by emulation, slowly".into());
                    }
                    Err(faults)
                }
            }
        }
        // What such an emulator says of its other accelerator is of this one.
        VirtType::Hvf if inputs.caps.has("hvf") => Ok(Accel::Tcg),
        other => {
            let name = format!("{other:?}").to_lowercase();
            let message = format!("<domain type='{name}'> is not run by QEMU");
            Err(fault("qemu.domain-type", ErrorCode::CONFIG_UNSUPPORTED, message))
        }
    }
}

/// The numbers of the host's NUMA nodes; empty where they are not known.
pub(super) fn host_nodes(host: &HostFacts) -> CpuSet {
    let mut nodes = CpuSet::default();
    for cell in &host.cells {
        nodes.insert_range(cell.id, cell.id);
    }
    nodes
}

/// Plans the start of a guest. `domain` is the effective definition: defaults, addresses and
/// aliases are there.
///
/// # Errors
/// Everything that stands in the way, each with the element and the cause; nothing was touched.
pub fn launch(domain: &Domain, inputs: &Inputs) -> Result<LaunchPlan, Vec<Diagnostic>> {
    let accel = accelerator(domain, inputs)?;
    let (host, set) = (inputs.host, inputs.settings);
    let caps = &*flags::adjusted(inputs.caps, domain)?;
    let mut live = domain.clone();
    live.id = Some(inputs.id);
    let kind = live.os.as_ref().map(|os| os.kind.clone()).unwrap_or_default();
    let arch = kind.arch.unwrap_or_else(|| caps.arch.clone());
    let machine = match kind.machine {
        Some(name) => name,
        None => caps.default_machine(accel).map(|machine| machine.name.clone()).unwrap_or_default(),
    };
    let Some(known) = caps.machine(accel, &machine) else {
        let message =
            format!("Emulator '{}' does not support machine type '{machine}'", caps.emulator);
        return Err(fault("qemu.machine", ErrorCode::CONFIG_UNSUPPORTED, message));
    };
    let canonical = known.name.clone();
    let nodes = host_nodes(host);
    let faults = model::domain::validate_start(&live, (!nodes.is_empty()).then_some(&nodes));
    if !faults.is_empty() {
        return Err(faults);
    }
    firmware::select(&mut live, inputs.firmware, &set.nvram_dir, &canonical, &arch)
        .map_err(|error| fault("qemu.firmware", ErrorCode::OPERATION_FAILED, error.0))?;
    guest_cpu::resolve(&mut live, caps, host, accel).map_err(|fault| vec![fault])?;
    memory::settle_sizes(&mut live, &arch);
    let short = short_name(inputs.id, &live.name);
    let private_dir = format!("{}/domain-{short}", set.lib_dir);
    let count = live.io_threads.unwrap_or(0);
    if u64::from(count) > MOST_IO_THREADS {
        let message =
            format!("{count} <iothreads> are more than the {MOST_IO_THREADS} one guest may have");
        return Err(fault("qemu.iothreads", ErrorCode::CONFIG_UNSUPPORTED, message));
    }
    advised(&live, host)?;
    clock_rate(&live, host)?;
    number_io_threads(&mut live);
    net::name_host_devices(&mut live, inputs.found);
    disk::resolve_volumes(&mut live, inputs.found)?;
    disk::number_images(&mut live, inputs.found);
    chardev::choose_paths(&mut live, set, &short);
    graphics::choose_listens(&mut live, set, inputs.found, &private_dir);
    label(&mut live, set);
    let Some(mut devices) = live.devices.clone() else {
        return Err(fault("qemu.devices", ErrorCode::XML_ERROR, "the domain has no <devices>"));
    };
    net::connected(&mut devices.interfaces, inputs.found);
    let now = Rc::new(Now::default());
    let mut build = Build {
        d: &live,
        dev: &devices,
        caps,
        host,
        set,
        accel,
        arch,
        machine,
        private_dir: private_dir.clone(),
        short_name: short.clone(),
        args: Noted::new(&now),
        steps: Noted::new(&now),
        commands: Noted::new(&now),
        now,
        faults: Vec::new(),
        acpi_indexes: acpi_indexes(&live),
        incoming: inputs.incoming.map(str::to_string),
        fdsets: 0,
        disk_sets: std::collections::BTreeMap::new(),
        nodes: std::collections::BTreeSet::new(),
        found: inputs.found,
        hot: None,
    };
    command_line(&mut build);
    build.refuse_unplanned();
    if !build.faults.is_empty() {
        return Err(build.faults);
    }
    let env = build.environment();
    if cpu::is_reported(&live, &build.arch) {
        build.part("cpu", "which features QEMU gave the guest goes into its live XML");
        build.commands.extend(cpu::questions());
    }
    let nodes = std::mem::take(&mut build.nodes);
    let monitor = MonitorPlan {
        path: format!("{private_dir}/monitor.sock"),
        fd: ResultName::new("monitor.fd"),
    };
    let parts = Parts {
        args: build.args.into_parts(),
        steps: build.steps.into_parts(),
        commands: build.commands.into_parts(),
        env,
    };
    let (steps, reasons) = assemble(&live, inputs, &private_dir, &short, parts);
    disk::restore_volumes(&mut live);
    super::live::complete(&mut live, domain, set, &private_dir);
    if let Some(devices) = live.devices.as_mut() {
        super::dbus::show_bus(devices, set, &short);
        super::filesystem::note_programs(devices, inputs.host);
    }
    disk::private::note_nodes(&mut live, &nodes);
    super::clock::note_start(&mut live, inputs.host.utc_offset);
    Ok(LaunchPlan {
        domain: live.name.clone(),
        uuid: live.uuid.map_or(String::new(), |uuid| uuid.to_string()),
        id: inputs.id,
        steps,
        monitor,
        resume: command(None, r#"{"execute":"cont"}"#),
        flags: caps.flags_in_order().collect(),
        configured_cpu: domain.cpu.clone(),
        live: Box::new(live),
        reasons,
    })
}

/// The ACPI indexes of devices, by the devices' names.
pub(super) fn acpi_indexes(live: &Domain) -> BTreeMap<String, u32> {
    let mut indexes = BTreeMap::new();
    model::domain::walk::look_at_each(live, &mut |device| {
        let index = device.acpi.as_ref().and_then(|acpi| acpi.index);
        if let (Some(alias), Some(index)) = (device.alias, index) {
            indexes.insert(alias.name.clone(), index);
        }
    });
    indexes
}

/// Refuses automatic placement where nothing on the host advises on it.
fn advised(domain: &Domain, host: &HostFacts) -> Result<(), Vec<Diagnostic>> {
    let auto = Some(VcpuPlacement::Auto);
    let memory = domain.numa_tune.as_ref().and_then(|tune| tune.memory.as_ref());
    let wanted = domain.vcpu.as_ref().is_some_and(|vcpu| vcpu.placement == auto)
        || memory.is_some_and(|memory| memory.placement == auto);
    match wanted && host.numa_advice.is_none() {
        false => Ok(()),
        true => {
            let message = "Advice from numad is needed in case of automatic numa placement";
            Err(fault("qemu.placement", ErrorCode::INTERNAL_ERROR, message))
        }
    }
}

/// Refuses a time stamp counter of another rate than the host's, which does not scale it: 250 parts
/// of a million off are none.
fn clock_rate(domain: &Domain, host: &HostFacts) -> Result<(), Vec<Diagnostic>> {
    let timers = domain.clock.iter().flat_map(|clock| &clock.timers);
    let wanted = timers.filter(|timer| timer.name == TimerName::Tsc).find_map(|t| t.frequency);
    let (Some(wanted), Some((rate, Some(false)))) = (wanted, host.cpu.tsc) else {
        return Ok(());
    };
    let tolerance = rate / 1_000_000 * 250 + rate % 1_000_000 * 250 / 1_000_000;
    let (least, most) = (rate.saturating_sub(tolerance), rate.saturating_add(tolerance));
    if (least..=most).contains(&wanted) {
        return Ok(());
    }
    let message = format!(
        "Requested TSC frequency {wanted} Hz is outside tolerance range ([{least}, {most}] Hz) \
         around host frequency {rate} Hz and TSC scaling is not supported by the host CPU"
    );
    Err(fault("qemu.tsc", ErrorCode::CONFIG_UNSUPPORTED, message))
}

/// I/O threads of one guest; more than any host has processors. Each is an object and an argument.
const MOST_IO_THREADS: u64 = 4096;

/// Gives every I/O thread an id: the smallest free ones after those that are given.
fn number_io_threads(live: &mut Domain) {
    let count = live.io_threads.unwrap_or(0);
    if count == 0 {
        return;
    }
    let ids = live.io_thread_ids.get_or_insert_with(Default::default);
    let mut next = 1;
    while (ids.threads.len() as u64) < u64::from(count) {
        if !ids.threads.iter().any(|thread| thread.id == next) {
            ids.threads.push(IoThread { id: next, ..IoThread::default() });
        }
        next += 1;
    }
}

/// The security label the guest runs under, in the live definition.
fn label(live: &mut Domain, set: &Settings) {
    let Some(ids) = set.ids.filter(|_| set.privileged) else {
        return;
    };
    if live.seclabels.iter().any(|label| label.model.as_deref() == Some("dac")) {
        return;
    }
    let text = format!("+{}:+{}", ids.uid, ids.gid);
    live.seclabels.push(Seclabel {
        kind: SeclabelType::Dynamic,
        model: Some("dac".into()),
        relabel: Some(if set.dynamic_ownership { YesNo::Yes } else { YesNo::No }),
        label: Some(text.clone()),
        image_label: Some(text),
        base_label: None,
        kind_given: false,
    });
}

/// The arguments, in libvirt's order.
fn command_line(b: &mut Build) {
    let name = comma(&b.d.name);
    let process =
        if b.set.set_process_name { format!(",process=qemu:{name}") } else { String::new() };
    b.part("name", "the guest's name; threads are named for what they do");
    b.opt("-name", &format!("guest={name}{process},debug-threads=on"));
    b.part("", "QEMU does as newer versions of itself would").compat();
    b.part("", "QEMU waits until the daemon knows what it made of these arguments").flag("-S");
    let key = format!("{}/master-key.aes", b.private_dir);
    let props = Props::object("secret", "masterKey0").set("format", "raw").set("file", key);
    b.part("", "opens the secrets that other arguments hold sealed").object(props);
    b.part("devices/disk", "a helper sends SCSI reservations for QEMU").reservation_manager();
    let os = b.d.os.clone().unwrap_or_default();
    let pflash = b.part("os/loader", "firmware and its variables are flash memory").pflash(&os);
    b.part("os/type", "the board, and what features and memory ask of it").machine_options(&pflash);
    b.part("", "by the domain's type").accelerator();
    b.part("cpu", "the CPU model, its features and the hypervisor's").cpu();
    b.part("os/loader", "").loader(&os);
    b.part("memory", "").memory();
    b.part("vcpu", "how many CPUs there are, and how they sit in sockets and cores").smp();
    b.part("iothreads", "").io_threads();
    b.part("throttlegroups", "").throttle_groups();
    b.part("cpu/numa", "which memory and CPUs are near each other").numa();
    let uuid = b.d.uuid.map_or(String::new(), |uuid| uuid.to_string());
    b.part("uuid", "").opt("-uuid", &uuid);
    b.part("sysinfo", "").smbios();
    b.part("genid", "").generation_id();
    b.part("devices/graphics", "").display_none();
    b.part("", "QEMU's own configuration files are not the daemon's").flag("-no-user-config");
    b.part("", "no device but those of the definition").flag("-nodefaults");
    let monitor = Socket::listen(SocketAddress::Fd(fd_mark("monitor.fd")));
    b.part("", "the daemon speaks to QEMU through its monitor");
    b.chardev_option("charmonitor", &Backend::Socket(monitor), None);
    b.opt("-mon", "chardev=charmonitor,id=monitor,mode=control");
    b.part("clock", "what the guest's clock shows, and what becomes of lost ticks").clock();
    b.part("pm", "the daemon, not QEMU, decides what a power-off means").power();
    b.part("os", "what is booted").boot();
    b.part("devices/iommu", "").iommu();
    b.part("devices/controller", "a setting of what the board brings along").global_controllers();
    b.part("devices/controller", "").controllers();
    b.part("devices/hub", "").hubs();
    b.part("devices/controller", "").readers();
    b.part("devices/memory", "").memory_devices();
    b.part("devices/disk", "").disks();
    b.part("devices/filesystem", "").filesystems();
    b.part("devices/interface", "").interfaces();
    b.part("devices/smartcard", "").smartcards();
    b.part("devices/serial", "").serials();
    b.part("devices/parallel", "").parallels();
    b.part("devices/channel", "").channels();
    b.part("devices/console", "").consoles();
    b.part("devices/tpm", "").tpms();
    b.part("devices/input", "").inputs();
    b.part("devices/audio", "").audios();
    b.part("devices/graphics", "").graphics();
    b.part("devices/video", "").videos();
    b.part("devices/sound", "").sounds();
    b.part("devices/watchdog", "").watchdogs();
    b.part("devices/redirdev", "").redirdevs();
    b.part("devices/hostdev", "").hostdevs();
    b.part("", "the guest's state comes from elsewhere").incoming();
    b.part("devices/memballoon", "").balloon();
    b.part("devices/rng", "").rngs();
    b.part("devices/nvram", "").nvrams();
    b.part("features/vmcoreinfo", "").vmcoreinfo();
    b.part("launchSecurity", "").launch_security();
    b.part("qemu:commandline", "as the definition has it").own_arguments();
    b.part("", "QEMU may use no system call that it does not need").sandbox();
    b.part("devices/panic", "").panics();
    b.part("devices/shmem", "").shmems();
    b.part("devices/vsock", "").vsocks();
    b.part("devices/crypto", "").cryptos();
    b.part("devices/pstore", "").pstores();
    b.part("features/async-teardown", "memory is given back after QEMU has ended").async_teardown();
    if b.set.log_timestamp {
        b.part("", "qemu.conf: log_timestamp").opt("-msg", "timestamp=on");
    }
}

/// Resource limits of QEMU: the daemon's, and what the guest needs to lock. Only a daemon that is
/// root may raise one.
fn limits(live: &Domain, set: &Settings) -> Vec<(String, u64)> {
    let mut limits = set.rlimits.clone();
    let lock = super::memlock::memory_lock(live).limit().filter(|_| set.privileged);
    limits.extend(lock.map(|bytes| ("memlock".to_string(), bytes)));
    limits
}

/// A QMP command.
fn command(result: Option<&str>, json: &str) -> QmpCommand {
    QmpCommand { result: result.map(ResultName::new), json: json.into(), secret: false }
}

/// What the devices gave, with reasons.
struct Parts {
    args: (Vec<Arg>, Vec<Because>),
    steps: (Vec<Step>, Vec<Because>),
    commands: (Vec<QmpCommand>, Vec<Because>),
    env: Vec<(String, Option<String>)>,
}

/// The reason of what an element asks for, or (`""`) every guest has.
fn because(element: &'static str, rule: &'static str) -> Because {
    Because { place: Place { element, index: None }, rule: rule.into(), asked: Vec::new() }
}

/// All steps in order, with their reasons.
fn assemble(
    live: &Domain,
    inputs: &Inputs,
    private_dir: &str,
    short: &str,
    parts: Parts,
) -> (Vec<Step>, Reasons) {
    let set = inputs.settings;
    // What can be refused is looked at before anything is changed.
    let is_check = |(step, _): &(Step, Because)| matches!(step.action, Action::RequireFile { .. });
    let (device_steps, device_reasons) = parts.steps;
    let (mut steps, rest): (Vec<_>, Vec<_>) =
        device_steps.into_iter().zip(device_reasons).partition(is_check);
    let dir = Action::MakeDir { path: private_dir.to_string(), mode: 0o750, owner: set.ids };
    steps.push((
        Step::new(dir).undone_by(Undo::RemoveTree(private_dir.to_string())),
        because("", "the guest's own folder, for its monitor socket and its keys"),
    ));
    let key = Action::WriteFile {
        path: format!("{private_dir}/master-key.aes"),
        mode: 0o600,
        owner: set.ids,
        content: Content::Random(32),
    };
    steps.push((Step::new(key), because("", "secrets reach QEMU sealed with this key")));
    steps.extend(rest);
    let monitor = format!("{private_dir}/monitor.sock");
    let listen = Action::ListenUnix { path: monitor.clone(), mode: 0o700, owner: set.ids };
    steps.push((
        Step::new(listen).yields("monitor.fd").undone_by(Undo::RemoveSocket(monitor)),
        because("", "the daemon speaks to QEMU through its monitor"),
    ));
    let log = Action::OpenLog { path: format!("{}/{}.log", set.log_dir, live.name) };
    steps.push((
        Step::new(log).yields("log.fd"),
        because("", "QEMU writes its messages there by itself"),
    ));
    let group = super::resources::cgroup(live, short, inputs);
    let group_name = group.name.clone();
    steps.push((
        Step::new(Action::Cgroup(group)).undone_by(Undo::RemoveCgroup(group_name)),
        because("resource", "accounting and limits of the guest"),
    ));
    let pid_file = format!("{}/{}.pid", set.run_dir, live.name);
    let (args, arg_reasons) = parts.args;
    let exec = Exec {
        program: live
            .devices
            .as_ref()
            .and_then(|devices| devices.emulator.clone())
            .unwrap_or_else(|| inputs.caps.emulator.clone()),
        args,
        env: parts.env,
        cwd: "/".into(),
        owner: set.ids,
        pid_file,
        extra_fds: Vec::new(),
        rlimits: limits(live, set),
    };
    steps.push((
        Step::new(Action::Exec(exec)).undone_by(Undo::EndQemu),
        because("devices/emulator", ""),
    ));
    let mut prelude = vec![
        (command(None, r#"{"execute":"qmp_capabilities"}"#), because("", "opens the monitor")),
        (
            command(Some("qmp.cpus"), r#"{"execute":"query-cpus-fast"}"#),
            because(
                "vcpu",
                "the threads of the virtual CPUs are accounted for, pinned and limited",
            ),
        ),
    ];
    if live.io_thread_ids.as_ref().is_some_and(|ids| !ids.threads.is_empty()) {
        prelude.push((
            command(Some("qmp.iothreads"), r#"{"execute":"query-iothreads"}"#),
            because("iothreads", "I/O threads are pinned and limited"),
        ));
    }
    if live.devices.iter().any(|devices| !devices.memories.is_empty()) {
        prelude.push((
            command(Some("qmp.memory-devices"), r#"{"execute":"query-memory-devices"}"#),
            because("devices/memory", "where QEMU put them, and how much of them the guest has"),
        ));
    }
    let (commands, command_reasons) = parts.commands;
    prelude.extend(commands.into_iter().zip(command_reasons));
    let (commands, command_reasons) = prelude.into_iter().unzip();
    steps.push((Step::new(Action::Qmp { commands }), Because::default()));
    let threads = super::resources::threads(live);
    if !threads.is_empty() {
        steps.push((
            Step::new(Action::Threads(threads)),
            because("cputune", "where QEMU's threads may run, and how they are scheduled"),
        ));
    }
    let (steps, step_reasons) = steps.into_iter().unzip();
    (steps, Reasons { args: arg_reasons, steps: step_reasons, commands: command_reasons })
}
