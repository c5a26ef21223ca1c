//! The plan of a start.

use super::build::{Build, Props, comma, fd_mark};
use super::chardev::{Backend, Socket, SocketAddress};
use super::found::Found;
use super::settings::Settings;
use super::words::YesNo;
use super::{chardev, cpu, disk, flags, graphics, guest_cpu, net};
use crate::launch_plan::{LaunchPlan, MonitorPlan};
use crate::step::*;
use diag::{Diagnostic, ErrorCode, Severity};
use model::capabilities::firmware::Firmware;
use model::capabilities::host::{HostFacts, KvmState};
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::firmware;
use model::domain::scalar::CpuSet;
use model::domain::seclabel::{Seclabel, SeclabelType};
use model::domain::tune::{IoThread, VcpuPlacement};
use model::domain::{Domain, VirtType};
use std::collections::BTreeMap;

/// A fault that ends planning at once.
fn fault(rule: &'static str, code: ErrorCode, message: impl Into<String>) -> Vec<Diagnostic> {
    vec![Diagnostic {
        rule,
        severity: Severity::Error,
        code,
        span: None,
        message: message.into(),
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
fn accelerator(domain: &Domain, inputs: &Inputs) -> Result<Accel, Vec<Diagnostic>> {
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
        other => {
            let name = format!("{other:?}").to_lowercase();
            let message = format!("<domain type='{name}'> is not run by QEMU");
            Err(fault("qemu.domain-type", ErrorCode::CONFIG_UNSUPPORTED, message))
        }
    }
}

/// The numbers of the host's NUMA nodes; empty where they are not known.
fn host_nodes(host: &HostFacts) -> CpuSet {
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
    let short = short_name(inputs.id, &live.name);
    let private_dir = format!("{}/domain-{short}", set.lib_dir);
    let count = live.io_threads.unwrap_or(0);
    if u64::from(count) > MOST_IO_THREADS {
        let message =
            format!("{count} <iothreads> are more than the {MOST_IO_THREADS} one guest may have");
        return Err(fault("qemu.iothreads", ErrorCode::CONFIG_UNSUPPORTED, message));
    }
    advised(&live, host)?;
    number_io_threads(&mut live);
    net::name_host_devices(&mut live, inputs.found);
    disk::resolve_volumes(&mut live, inputs.found)?;
    disk::number_images(&mut live);
    chardev::choose_paths(&mut live, set, &short);
    graphics::choose_listens(&mut live, set, inputs.found, &private_dir);
    label(&mut live, set);
    let Some(mut devices) = live.devices.clone() else {
        return Err(fault("qemu.devices", ErrorCode::XML_ERROR, "the domain has no <devices>"));
    };
    net::connected(&mut devices.interfaces, inputs.found);
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
        args: Vec::new(),
        steps: Vec::new(),
        commands: Vec::new(),
        faults: Vec::new(),
        acpi_indexes: acpi_indexes(&live),
        incoming: inputs.incoming.map(str::to_string),
        fdsets: 0,
        disk_sets: std::collections::BTreeMap::new(),
        found: inputs.found,
    };
    command_line(&mut build);
    build.refuse_unplanned();
    if !build.faults.is_empty() {
        return Err(build.faults);
    }
    let env = build.environment();
    let (args, device_steps, mut commands) = (build.args, build.steps, build.commands);
    if cpu::is_reported(&live, &build.arch) {
        commands.extend(cpu::questions());
    }
    let monitor = MonitorPlan {
        path: format!("{private_dir}/monitor.sock"),
        fd: ResultName::new("monitor.fd"),
    };
    let steps = assemble(&live, inputs, &private_dir, &short, args, env, device_steps, commands);
    super::live::complete(&mut live, domain, set);
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
    })
}

/// The ACPI indexes of devices, by the devices' names.
fn acpi_indexes(live: &Domain) -> BTreeMap<String, u32> {
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
    });
}

/// The arguments, in libvirt's order.
fn command_line(b: &mut Build) {
    let name = comma(&b.d.name);
    let process =
        if b.set.set_process_name { format!(",process=qemu:{name}") } else { String::new() };
    b.opt("-name", &format!("guest={name}{process},debug-threads=on"));
    b.compat();
    b.flag("-S");
    let key = format!("{}/master-key.aes", b.private_dir);
    let props = Props::object("secret", "masterKey0").set("format", "raw").set("file", key);
    b.object(props);
    b.reservation_manager();
    let os = b.d.os.clone().unwrap_or_default();
    let pflash = b.pflash(&os);
    b.machine_options(&pflash);
    b.accelerator();
    b.cpu();
    b.loader(&os);
    b.memory();
    b.smp();
    b.io_threads();
    b.throttle_groups();
    b.numa();
    let uuid = b.d.uuid.map_or(String::new(), |uuid| uuid.to_string());
    b.opt("-uuid", &uuid);
    b.smbios();
    b.generation_id();
    b.display_none();
    b.flag("-no-user-config");
    b.flag("-nodefaults");
    let monitor = Socket::listen(SocketAddress::Fd(fd_mark("monitor.fd")));
    b.chardev_option("charmonitor", &Backend::Socket(monitor), None);
    b.opt("-mon", "chardev=charmonitor,id=monitor,mode=control");
    b.clock();
    b.power();
    b.boot();
    b.iommu();
    b.global_controllers();
    b.controllers();
    b.hubs();
    b.readers();
    b.memory_devices();
    b.disks();
    b.filesystems();
    b.interfaces();
    b.smartcards();
    b.serials();
    b.parallels();
    b.channels();
    b.consoles();
    b.tpms();
    b.inputs();
    b.audios();
    b.graphics();
    b.videos();
    b.sounds();
    b.watchdogs();
    b.redirdevs();
    b.hostdevs();
    b.incoming();
    b.balloon();
    b.rngs();
    b.nvrams();
    b.vmcoreinfo();
    b.launch_security();
    b.own_arguments();
    b.sandbox();
    b.panics();
    b.shmems();
    b.vsocks();
    b.cryptos();
    b.pstores();
    b.async_teardown();
    if b.set.log_timestamp {
        b.opt("-msg", "timestamp=on");
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

/// All steps in order.
#[allow(clippy::too_many_arguments)]
fn assemble(
    live: &Domain,
    inputs: &Inputs,
    private_dir: &str,
    short: &str,
    args: Vec<Arg>,
    env: Vec<(String, Option<String>)>,
    device_steps: Vec<Step>,
    commands: Vec<QmpCommand>,
) -> Vec<Step> {
    let set = inputs.settings;
    // What can be refused is looked at before anything is changed.
    let is_check = |step: &Step| matches!(step.action, Action::RequireFile { .. });
    let (mut steps, rest): (Vec<Step>, Vec<Step>) = device_steps.into_iter().partition(is_check);
    let dir = Action::MakeDir { path: private_dir.to_string(), mode: 0o750, owner: set.ids };
    steps.push(Step::new(dir).undone_by(Undo::RemoveTree(private_dir.to_string())));
    steps.push(Step::new(Action::WriteFile {
        path: format!("{private_dir}/master-key.aes"),
        mode: 0o600,
        owner: set.ids,
        content: Content::Random(32),
    }));
    steps.extend(rest);
    let monitor = format!("{private_dir}/monitor.sock");
    let listen = Action::ListenUnix { path: monitor.clone(), mode: 0o700, owner: set.ids };
    steps.push(Step::new(listen).yields("monitor.fd").undone_by(Undo::RemoveFile(monitor)));
    let log = Action::OpenLog { path: format!("{}/{}.log", set.log_dir, live.name) };
    steps.push(Step::new(log).yields("log.fd"));
    let group = super::resources::cgroup(live, short);
    let group_name = group.name.clone();
    steps.push(Step::new(Action::Cgroup(group)).undone_by(Undo::RemoveCgroup(group_name)));
    let pid_file = format!("{}/{}.pid", set.run_dir, live.name);
    let exec = Exec {
        program: live
            .devices
            .as_ref()
            .and_then(|devices| devices.emulator.clone())
            .unwrap_or_else(|| inputs.caps.emulator.clone()),
        args,
        env,
        cwd: "/".into(),
        owner: set.ids,
        pid_file,
        extra_fds: Vec::new(),
        rlimits: limits(live, set),
    };
    steps.push(Step::new(Action::Exec(exec)).undone_by(Undo::EndQemu));
    let mut prelude = vec![
        command(None, r#"{"execute":"qmp_capabilities"}"#),
        command(Some("qmp.cpus"), r#"{"execute":"query-cpus-fast"}"#),
    ];
    if live.io_thread_ids.as_ref().is_some_and(|ids| !ids.threads.is_empty()) {
        prelude.push(command(Some("qmp.iothreads"), r#"{"execute":"query-iothreads"}"#));
    }
    prelude.extend(commands);
    steps.push(Step::new(Action::Qmp { commands: prelude }));
    let threads = super::resources::threads(live);
    if !threads.is_empty() {
        steps.push(Step::new(Action::Threads(threads)));
    }
    steps
}
