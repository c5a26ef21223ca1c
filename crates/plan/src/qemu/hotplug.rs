//! A single device for a guest that runs, by the same description as for a start: the options it
//! would have had become commands of the monitor.

use super::build::{Build, Hot};
use super::found::{FdGroup, Found};
use super::launch::{accelerator, acpi_indexes, fault, host_nodes, short_name};
use super::noted::{Noted, Now};
use super::{Inputs, chardev, disk, filesystem, flags, live, net};
use crate::hot_plan::{HotCommand, PlugPlan, UnplugPlan};
use crate::step::{Arg, Piece, QmpCommand, ResultName};
use diag::{Diagnostic, ErrorCode};
use model::domain::Domain;
use model::domain::devices::Devices;
use model::domain::devices::disk::Disk;
use model::domain::devices::interface::InterfaceType;
use model::domain::hotplug::{Device, DeviceKind, Place};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What a guest that runs has used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct InUse {
    /// The greatest number that an image has or had.
    pub last_node: u32,
    /// The first number of a descriptor set that is free.
    pub first_fdset: usize,
}

/// The greatest number that an image has once a guest was started: empty drives count too.
pub fn last_node(live: &Domain) -> u32 {
    disk::images_numbered(live)
}

/// Shows volumes as what they are again, once the guest has them.
pub fn show_volumes(domain: &mut Domain) {
    disk::restore_volumes(domain);
}

/// Puts what volumes are in their place, as they were found.
///
/// # Errors
/// A volume was not found.
pub fn resolve_volumes(domain: &mut Domain, found: &Found) -> Result<(), Vec<Diagnostic>> {
    disk::resolve_volumes(domain, found)
}

/// Puts what only a start settles into a device that is to come to a running guest: volumes, node
/// numbers, paths of sockets. The greatest number of an image then.
///
/// # Errors
/// A volume was not found.
pub fn settle_device(
    domain: &mut Domain,
    place: Place,
    inputs: &Inputs,
    in_use: InUse,
) -> Result<u32, Vec<Diagnostic>> {
    let Some(device) = domain.devices.as_ref().and_then(|devices| place.get(devices)) else {
        return Ok(in_use.last_node);
    };
    let short = short_name(inputs.id, &domain.name);
    let mut one = Domain { devices: Some(Devices::default()), ..Domain::default() };
    let only = device.append(one.devices_mut());
    disk::resolve_volumes(&mut one, inputs.found)?;
    let nodes = host_nodes(inputs.host);
    let unavailable = model::domain::unavailable_nodes(&one, &nodes);
    if !nodes.is_empty() && !unavailable.is_empty() {
        return Err(unavailable);
    }
    let mut last = in_use.last_node;
    for disk in &mut one.devices_mut().disks {
        disk::add_data(disk, inputs.found);
        disk::add_chain(disk, inputs.found);
        last = disk::number_disk(disk, last);
    }
    chardev::choose_paths(&mut one, inputs.settings, &short);
    let private_dir = format!("{}/domain-{short}", inputs.settings.lib_dir);
    live::complete_devices(one.devices_mut(), inputs.settings, &private_dir);
    filesystem::note_programs(one.devices_mut(), inputs.host);
    let Some(device) = only.get(one.devices_mut()) else {
        return Err(fault(
            "qemu.volume",
            ErrorCode::CONFIG_UNSUPPORTED,
            "the device's source is not there",
        ));
    };
    if matches!(device, Device::Hostdev(_)) {
        last += 1;
    }
    place.put(domain.devices_mut(), device);
    Ok(last)
}

/// Plans bringing the device at `place`, which is in the definition already, to the guest.
///
/// # Errors
/// Everything that stands in the way; nothing was touched.
pub fn plug(
    domain: &Domain,
    place: Place,
    inputs: &Inputs,
    in_use: InUse,
) -> Result<PlugPlan, Vec<Diagnostic>> {
    let (mut plan, faults) = describe(domain, place, inputs, in_use, None)?;
    if !faults.is_empty() {
        return Err(faults);
    }
    if place.kind == DeviceKind::Disk {
        plan.after.push(command(Some("qmp.block"), "query-block", json!({})));
    }
    if place.kind == DeviceKind::Memory {
        let question = command(Some("qmp.memory-devices"), "query-memory-devices", json!({}));
        plan.after.push(question);
    }
    plan.last_node = in_use.last_node;
    Ok(plan)
}

/// Plans opening the medium of the drive at `place`: its images without the drive.
///
/// # Errors
/// Everything that stands in the way; nothing was touched.
pub fn medium(
    domain: &Domain,
    place: Place,
    inputs: &Inputs,
    in_use: InUse,
) -> Result<PlugPlan, Vec<Diagnostic>> {
    images(domain, place, inputs, in_use, None)
}

/// Plans opening the images of the disk at `place` beside those that the guest has of it, as a job
/// needs them; `below`: the node that the lowest of them stands on.
///
/// # Errors
/// Everything that stands in the way; nothing was touched.
pub fn images(
    domain: &Domain,
    place: Place,
    inputs: &Inputs,
    in_use: InUse,
    below: Option<&str>,
) -> Result<PlugPlan, Vec<Diagnostic>> {
    let (mut plan, faults) = describe(domain, place, inputs, in_use, below)?;
    if !faults.is_empty() {
        return Err(faults);
    }
    plan.commands.retain(|command| command.name != "device_add");
    plan.after.clear();
    plan.last_node = in_use.last_node;
    Ok(plan)
}

/// The images of the drive at `place`, which are open: the descriptors that they were opened by are
/// not asked for again, and go by the names of their images.
///
/// # Errors
/// Everything that stands in the way; nothing was touched.
pub fn medium_inside(
    domain: &Domain,
    place: Place,
    inputs: &Inputs,
) -> Result<PlugPlan, Vec<Diagnostic>> {
    let mut found = inputs.found.clone();
    let disk = domain.devices.as_ref().and_then(|devices| devices.disks.get(place.index));
    let groups = disk.into_iter().flat_map(disk::descriptor_groups);
    found.fd_groups.extend(groups.map(|group| (group.to_owned(), FdGroup::default())));
    medium(domain, place, &Inputs { found: &found, ..*inputs }, InUse::default())
}

/// The nodes of images that QEMU has by descriptors of clients.
pub fn images_of_descriptors(domain: &Domain) -> BTreeSet<String> {
    let disks = domain.devices.iter().flat_map(|devices| &devices.disks);
    disks.flat_map(disk::nodes_of_descriptors).collect()
}

/// Plans how the device at `place` leaves the guest.
///
/// # Errors
/// The guest's emulator or accelerator is not what it was.
pub fn unplug(
    domain: &Domain,
    place: Place,
    inputs: &Inputs,
) -> Result<UnplugPlan, Vec<Diagnostic>> {
    // What this host could not do again was done once, and is taken back all the same.
    let (plan, _) = describe(domain, place, inputs, InUse::default(), None)?;
    let mut out = UnplugPlan {
        undo: plan.teardown().into_iter().cloned().collect(),
        ..UnplugPlan::default()
    };
    let alias = place.alias(domain);
    let devices = plan.commands.iter().filter(|command| command.name == "device_add");
    if devices.count() > 0 {
        out.device.clone_from(&alias);
    }
    // A channel into QEMU's own network goes with that.
    let forward = plan.commands.iter().any(|command| command.name == "netdev_add")
        && place.kind == DeviceKind::Channel;
    // Images that another program gave the guest have names of its own.
    let unnamed =
        |command: &HotCommand| member(&command.arguments, "node-name").starts_with("libvirt-0-");
    for command in plan.commands.iter().rev().filter(|command| !unnamed(command)) {
        let keep = match command.name {
            "device_add" | "getfd" | "add-fd" => false,
            "chardev-add" => !forward,
            _ => true,
        };
        out.after.extend(command.undo.clone().filter(|_| keep));
    }
    if place.kind.is_chardev() && !forward || is_vdpa(domain, place) {
        out.fdsets = alias;
    }
    Ok(out)
}

fn is_vdpa(domain: &Domain, place: Place) -> bool {
    let devices = domain.devices.as_ref();
    let device = devices.and_then(|devices| place.get(devices));
    matches!(device, Some(Device::Interface(nic)) if nic.kind == InterfaceType::Vdpa)
}

/// A command without places.
fn command(result: Option<&str>, name: &str, arguments: Value) -> QmpCommand {
    let mut object = json!({ "execute": name });
    if let (Value::Object(arguments), Value::Object(object)) = (arguments, &mut object)
        && !arguments.is_empty()
    {
        object.insert("arguments".into(), Value::Object(arguments));
    }
    QmpCommand { result: result.map(ResultName::new), json: object.to_string(), secret: false }
}

/// The options of one device as commands, and what stands in the way.
pub(super) fn describe(
    domain: &Domain,
    place: Place,
    inputs: &Inputs,
    in_use: InUse,
    below: Option<&str>,
) -> Result<(PlugPlan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let caps = &*flags::adjusted(inputs.caps, domain)?;
    // It runs, so it could start.
    let accel = accelerator(domain, inputs).or_else(|faults| {
        let kvm = model::capabilities::qemu::Accel::Kvm;
        if domain.kind == model::domain::VirtType::Kvm { Ok(kvm) } else { Err(faults) }
    })?;
    let kind = domain.os.as_ref().map(|os| os.kind.clone()).unwrap_or_default();
    let nothing = Devices::default();
    let all = domain.devices.as_ref().unwrap_or(&nothing);
    let mut devices = only(all, place);
    net::connected(&mut devices.interfaces, inputs.found);
    let short = short_name(inputs.id, &domain.name);
    let now = Rc::new(Now::default());
    let mut build = Build {
        d: domain,
        dev: &devices,
        caps,
        host: inputs.host,
        set: inputs.settings,
        accel,
        arch: kind.arch.unwrap_or_else(|| caps.arch.clone()),
        machine: kind.machine.unwrap_or_default(),
        private_dir: format!("{}/domain-{short}", inputs.settings.lib_dir),
        short_name: short,
        args: Noted::new(&now),
        steps: Noted::new(&now),
        commands: Noted::new(&now),
        now,
        faults: Vec::new(),
        acpi_indexes: acpi_indexes(domain),
        incoming: None,
        fdsets: in_use.first_fdset,
        disk_sets: std::collections::BTreeMap::new(),
        nodes: std::collections::BTreeSet::new(),
        found: inputs.found,
        hot: Some(Hot { first_node: in_use.last_node, below: below.map(str::to_owned) }),
    };
    build.single(all, place);
    let mut faults = build.faults;
    let (args, steps) = (build.args.into_parts().0, build.steps.into_parts().0);
    let after = build.commands.into_parts().0;
    let mut commands = Vec::new();
    for pair in args.chunks(2) {
        let [option, value] = pair else { continue };
        match translate(&plain(option), value) {
            Some(command) => commands.push(command),
            None => faults.extend(fault(
                "qemu.hotplug",
                ErrorCode::OPERATION_UNSUPPORTED,
                format!("'{}' cannot be given to a running guest", plain(option)),
            )),
        }
    }
    // The device last, whatever it hangs on first.
    commands.sort_by_key(|command| match command.name {
        "set-action" => 0,
        "device_add" => 2,
        _ => 1,
    });
    let nodes = build.nodes;
    let plan = PlugPlan { steps, commands: with_fds(commands), after, last_node: 0, nodes };
    Ok((plan, faults))
}

/// The devices with those of `place`'s kind reduced to the one. What other devices are looked up
/// in stays.
fn only(all: &Devices, place: Place) -> Devices {
    let mut devices = Devices {
        emulator: all.emulator.clone(),
        controllers: all.controllers.clone(),
        redir_filters: all.redir_filters.clone(),
        ..Devices::default()
    };
    if place.kind != DeviceKind::Controller
        && let Some(device) = place.get(all)
    {
        device.append(&mut devices);
    }
    devices
}

impl Build<'_> {
    /// The options of one device.
    fn single(&mut self, all: &Devices, place: Place) {
        match place.kind {
            DeviceKind::Disk => {
                // The manager that we start is there already where another disk has it.
                let managed = |disk: &&Disk| disk::has_managed_reservations(disk);
                if all.disks.iter().filter(managed).count() == 1 {
                    self.reservation_manager();
                }
                self.disks();
            }
            DeviceKind::Controller => {
                if let Some(controller) = all.controllers.get(place.index) {
                    self.plugged_controller(controller);
                }
            }
            DeviceKind::Interface => {
                if self.dev.interfaces.iter().any(|nic| nic.kind == InterfaceType::Hostdev) {
                    self.hostdevs();
                } else {
                    self.interfaces();
                }
            }
            DeviceKind::Hostdev => self.hostdevs(),
            DeviceKind::Redirdev => self.redirdevs(),
            DeviceKind::Serial => self.serials(),
            DeviceKind::Parallel => self.parallels(),
            DeviceKind::Console => self.consoles(),
            DeviceKind::Channel => self.channels(),
            DeviceKind::Rng => self.rngs(),
            DeviceKind::Shmem => self.shmems(),
            DeviceKind::Memory => self.memory_devices(),
            DeviceKind::Watchdog => self.watchdogs(),
            DeviceKind::Input => self.inputs(),
            DeviceKind::Vsock => self.vsocks(),
            DeviceKind::Filesystem => self.filesystems(),
            // It is the lock manager's, not QEMU's.
            DeviceKind::Lease => {}
            other => {
                let text = format!("live attach of device '{}' is not supported", other.word());
                self.fail_with("qemu.hotplug", ErrorCode::OPERATION_UNSUPPORTED, text);
            }
        }
    }
}

/// The text of an argument, its places left out.
fn plain(arg: &Arg) -> String {
    arg.render(|_| String::new())
}

/// A member of an argument that is JSON.
pub(crate) fn member(arg: &Arg, name: &str) -> String {
    // Places stand inside of texts, or for numbers: any number makes it JSON again.
    let text = arg.render(|_| "0".into());
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The command that does for a running guest what an option does at its start.
fn translate(option: &str, value: &Arg) -> Option<HotCommand> {
    let hot = |name: &'static str, undo: QmpCommand| HotCommand {
        name,
        arguments: value.clone(),
        fd: None,
        result: None,
        undo: Some(undo),
    };
    let id = || member(value, "id");
    Some(match option {
        "-device" => hot("device_add", command(None, "device_del", json!({"id": id()}))),
        "-object" => hot("object-add", command(None, "object-del", json!({"id": id()}))),
        "-netdev" => hot("netdev_add", command(None, "netdev_del", json!({"id": id()}))),
        "-chardev" => {
            let undo = command(None, "chardev-remove", json!({"id": id()}));
            let result = Some(ResultName::new(format!("qmp.chardev-add.{}", id())));
            HotCommand { result, ..hot("chardev-add", undo) }
        }
        "-blockdev" => {
            let node = member(value, "node-name");
            hot("blockdev-add", command(None, "blockdev-del", json!({"node-name": node})))
        }
        "-add-fd" => add_fd(value)?,
        "-watchdog-action" => {
            let arguments = json!({"watchdog": plain(value)}).to_string();
            HotCommand {
                name: "set-action",
                arguments: Arg::text(arguments),
                fd: None,
                result: None,
                undo: None,
            }
        }
        _ => return None,
    })
}

/// `set=N,fd=…,opaque=TEXT` as a command.
fn add_fd(value: &Arg) -> Option<HotCommand> {
    let fd = value.fds().next()?.clone();
    let text = plain(value);
    let mut set = 0u64;
    let mut opaque = String::new();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("set", number)) => set = number.parse().ok()?,
            Some(("opaque", words)) => opaque = words.to_owned(),
            _ => {}
        }
    }
    let arguments = json!({"fdset-id": set, "opaque": opaque}).to_string();
    Some(HotCommand {
        name: "add-fd",
        arguments: Arg::text(arguments),
        fd: Some(fd),
        result: None,
        undo: Some(command(None, "remove-fd", json!({"fdset-id": set}))),
    })
}

/// Puts a `getfd` for each descriptor before the command that names it.
fn with_fds(commands: Vec<HotCommand>) -> Vec<HotCommand> {
    let mut out = Vec::new();
    for mut command in commands {
        let names: Vec<ResultName> = command.arguments.fds().cloned().collect();
        for name in names {
            let arguments = json!({"fdname": name.0}).to_string();
            out.push(HotCommand {
                name: "getfd",
                arguments: Arg::text(arguments.clone()),
                undo: Some(self::command(None, "closefd", json!({"fdname": name.0}))),
                fd: Some(name),
                result: None,
            });
        }
        // A monitor takes a name where a command line takes a number.
        for piece in &mut command.arguments.0 {
            if let Piece::Fd(name) = piece {
                *piece = Piece::Text(name.0.clone());
            }
        }
        out.push(command);
    }
    out
}
