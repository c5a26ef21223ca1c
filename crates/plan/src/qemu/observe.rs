//! What QEMU and the executor reported, put into the live definition.

use super::cpu::indispensable;
use crate::launch_plan::LaunchPlan;
use crate::step::ResultName;
use diag::{ErrorCode, VirError};
use model::domain::Domain;
use model::domain::address::Address;
use model::domain::cpu::CpuCheck;
use model::domain::devices::chardev::{CharSource, CharSourceElement, CharTargetType, CharType};
use model::domain::devices::graphics::GraphicsType;
use model::domain::devices::interface::InterfaceTarget;
use model::domain::devices::memballoon::BalloonModel;
use model::domain::devices::memory::{MemoryBase, MemoryDevice, MemoryModel};
use model::domain::hotplug::{Device, Place};
use model::domain::scalar::Kib;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A result of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultValue {
    /// What a QMP command returned.
    Json(Value),
    /// A reserved port.
    Port(u16),
    /// The context id a guest got.
    Cid(u32),
    /// A name or path, such as a tap's.
    Text(String),
}

/// The results of a plan's steps, descriptors apart.
pub type Results = HashMap<ResultName, ResultValue>;

/// The live definition, and QEMU's threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The live definition.
    pub domain: Domain,
    /// Thread of each virtual CPU, by its number.
    pub vcpu_threads: BTreeMap<u32, i32>,
    /// Thread of each I/O thread, by its id.
    pub io_threads: BTreeMap<u32, i32>,
}

/// Looks whether QEMU made the CPU that the definition insists on.
///
/// # Errors
/// libvirt's, when the guest's CPU differs from one with `check='full'`, or lacks what no check
/// forgoes.
pub fn verify(plan: &LaunchPlan, results: &Results) -> Result<(), VirError> {
    let json = |name: &str| match results.get(&ResultName::new(name)) {
        Some(ResultValue::Json(value)) => Some(value),
        _ => None,
    };
    if let Some(words) = json("qmp.cpu-features")
        && let Some(lacking) = indispensable(&plan.live).iter().find(|one| !one.is_in(words))
    {
        return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, lacking.refusal()));
    }
    let full = plan.configured_cpu.as_ref().and_then(|cpu| cpu.check) == Some(CpuCheck::Full);
    match (&plan.live.cpu, json("qmp.cpu-features"), json("qmp.cpu-filtered")) {
        (Some(cpu), Some(enabled), Some(filtered)) if full => {
            super::live::check_cpu(cpu, enabled, filtered)
        }
        _ => Ok(()),
    }
}

/// Puts `results` into the plan's live definition.
pub fn observe(plan: &LaunchPlan, results: &Results) -> Observed {
    let mut domain = (*plan.live).clone();
    let json = |name: &str| match results.get(&ResultName::new(name)) {
        Some(ResultValue::Json(value)) => Some(value),
        _ => None,
    };
    if let Some(chardevs) = json("qmp.chardev") {
        ptys(&mut domain, chardevs);
    }
    ports(&mut domain, results);
    if let Some(found) = json("qmp.memory-devices") {
        memory_devices(&mut domain, found);
    }
    if let (Some(cpu), Some(enabled), Some(filtered)) =
        (domain.cpu.as_mut(), json("qmp.cpu-features"), json("qmp.cpu-filtered"))
    {
        super::live::update_cpu(cpu, enabled, filtered);
    }
    for nic in domain.devices.iter_mut().flat_map(|devices| &mut devices.interfaces) {
        let alias = nic.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        if let Some(ResultValue::Text(name)) = results.get(&ResultName::new(alias)) {
            nic.target.get_or_insert_with(InterfaceTarget::default).dev = Some(name.clone());
        }
    }
    for vsock in domain.devices.iter_mut().flat_map(|devices| &mut devices.vsocks) {
        let alias = vsock.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        if let (Some(ResultValue::Cid(number)), Some(cid)) =
            (results.get(&ResultName::new(format!("{alias}.vsock"))), vsock.cid.as_mut())
        {
            cid.address = Some(*number);
        }
    }
    Observed {
        vcpu_threads: json("qmp.cpus").map(vcpu_threads).unwrap_or_default(),
        io_threads: json("qmp.iothreads").map(io_threads).unwrap_or_default(),
        domain,
    }
}

fn thread(value: &Value) -> Option<i32> {
    value.get("thread-id")?.as_i64().and_then(|id| i32::try_from(id).ok())
}

fn vcpu_threads(reply: &Value) -> BTreeMap<u32, i32> {
    let list = reply.as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .filter_map(|cpu| {
            let number = u32::try_from(cpu.get("cpu-index")?.as_u64()?).ok()?;
            Some((number, thread(cpu)?))
        })
        .collect()
}

fn io_threads(reply: &Value) -> BTreeMap<u32, i32> {
    let list = reply.as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .filter_map(|item| {
            let number = item.get("id")?.as_str()?.strip_prefix("iothread")?.parse().ok()?;
            Some((number, thread(item)?))
        })
        .collect()
}

/// The pseudo-terminals QEMU opened.
fn ptys(domain: &mut Domain, reply: &Value) {
    let paths: HashMap<&str, &str> = reply
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter_map(|item| {
            let path = item.get("filename")?.as_str()?.strip_prefix("pty:")?;
            Some((item.get("label")?.as_str()?, path))
        })
        .collect();
    let set = |source: &mut CharSource, alias: &str| {
        if source.kind != CharType::Pty {
            return;
        }
        if let Some(path) = paths.get(format!("char{alias}").as_str()) {
            match source.sources.first_mut() {
                Some(first) => first.path = Some(path.to_string()),
                None => source.sources.push(CharSourceElement {
                    path: Some(path.to_string()),
                    ..CharSourceElement::default()
                }),
            }
        }
    };
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    let name = |alias: &Option<model::domain::alias::Alias>| {
        alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default()
    };
    for device in devices
        .serials
        .iter_mut()
        .chain(&mut devices.parallels)
        .chain(&mut devices.channels)
        .chain(&mut devices.consoles)
    {
        let alias = name(&device.alias);
        set(&mut device.source, &alias);
    }
    for device in &mut devices.redirdevs {
        let alias = name(&device.alias);
        set(&mut device.source, &alias);
    }
    // The first console is the first serial port seen again.
    let first = devices.serials.first().cloned();
    if let (Some(serial), Some(console)) = (first, devices.consoles.first_mut()) {
        let kind = console.target.as_ref().and_then(|target| target.kind);
        if matches!(kind, None | Some(CharTargetType::Serial)) {
            console.source.kind = serial.source.kind;
            console.source.sources = serial.source.sources.clone();
            console.alias = serial.alias.clone();
        }
    }
    if let Some(console) = devices.consoles.first_mut()
        && console.source.kind == CharType::Pty
    {
        console.source.tty = console.source.sources.first().and_then(|s| s.path.clone());
    }
}

/// The ports that displays listen on.
fn ports(domain: &mut Domain, results: &Results) {
    let port = |name: String| match results.get(&ResultName::new(name)) {
        Some(ResultValue::Port(port)) => Some(i32::from(*port)),
        _ => None,
    };
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    for (index, graphics) in devices.graphics.iter_mut().enumerate() {
        let kind = match graphics.kind {
            GraphicsType::Vnc => "vnc",
            GraphicsType::Spice => "spice",
            _ => continue,
        };
        let prefix = if index == 0 { kind.to_string() } else { format!("{kind}{index}") };
        if let Some(number) = port(format!("{prefix}.port")) {
            graphics.port = Some(number);
        }
        if let Some(number) = port(format!("{prefix}.tls-port")) {
            graphics.tls_port = Some(number);
        }
        if let Some(number) = port(format!("{prefix}.websocket")) {
            graphics.websocket = Some(number);
        }
    }
}

/// Whether the answer to a question asked after a device came is of use to [`observe_plugged`].
pub fn is_observed(result: &ResultName) -> bool {
    result.0 == "qmp.memory-devices"
}

/// Puts what bringing a device to a running guest yielded into the definition.
pub fn observe_plugged(domain: &mut Domain, place: Place, results: &Results) {
    super::disk::restore_volumes(domain);
    let Some(alias) = place.alias(domain) else { return };
    let pty = match results.get(&ResultName::new(format!("qmp.chardev-add.char{alias}"))) {
        Some(ResultValue::Json(value)) => value.get("pty").and_then(Value::as_str),
        _ => None,
    };
    let found = match results.get(&ResultName::new("qmp.memory-devices")) {
        Some(ResultValue::Json(value)) => found_memory(value, &alias),
        _ => None,
    };
    let Some(devices) = domain.devices.as_mut() else { return };
    let set = |source: &mut CharSource| {
        let Some(path) = pty.filter(|_| source.kind == CharType::Pty) else { return };
        let element = CharSourceElement { path: Some(path.into()), ..Default::default() };
        match source.sources.first_mut() {
            Some(first) => first.path = Some(path.to_owned()),
            None => source.sources.push(element),
        }
    };
    match place.get(devices) {
        Some(Device::Serial(_)) => set(&mut devices.serials[place.index].source),
        Some(Device::Parallel(_)) => set(&mut devices.parallels[place.index].source),
        Some(Device::Channel(_)) => set(&mut devices.channels[place.index].source),
        Some(Device::Console(_)) => set(&mut devices.consoles[place.index].source),
        Some(Device::Redirdev(_)) => set(&mut devices.redirdevs[place.index].source),
        Some(Device::Interface(_)) => {
            if let Some(ResultValue::Text(name)) = results.get(&ResultName::new(alias)) {
                let nic = &mut devices.interfaces[place.index];
                nic.target.get_or_insert_with(InterfaceTarget::default).dev = Some(name.clone());
            }
        }
        Some(Device::Vsock(_)) => {
            let number = results.get(&ResultName::new(format!("{alias}.vsock")));
            if let (Some(ResultValue::Cid(number)), Some(cid)) =
                (number, devices.vsocks[place.index].cid.as_mut())
            {
                cid.address = Some(*number);
            }
        }
        Some(Device::Memory(_)) => {
            if let Some(found) = found {
                found.show_in(&mut devices.memories[place.index]);
            }
        }
        _ => {}
    }
}

/// What QEMU says of a memory device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FoundMemory {
    /// Where it is in the guest's memory.
    base: Option<u64>,
    /// How much of it the guest has, in KiB.
    current: Option<Kib>,
}

impl FoundMemory {
    fn show_in(self, memory: &mut MemoryDevice) {
        if memory.model == MemoryModel::VirtioMem {
            memory.target.current = self.current;
        }
        match (&mut memory.address, self.base) {
            (Some(Address::Dimm(dimm)), Some(base)) => dimm.base = Some(base.into()),
            (_, Some(base)) => memory.target.address = Some(MemoryBase { base: base.into() }),
            _ => {}
        }
    }
}

/// What an answer to `query-memory-devices` says of one.
fn found_memory(reply: &Value, alias: &str) -> Option<FoundMemory> {
    reply.as_array()?.iter().find_map(|device| {
        let data = device.get("data")?;
        let at = data.get("addr").or_else(|| data.get("memaddr"));
        let size = data.get("size").and_then(Value::as_u64);
        (data.get("id")?.as_str()? == alias).then(|| FoundMemory {
            base: at.and_then(Value::as_u64),
            current: size.map(|bytes| Kib(bytes.div_ceil(1024))),
        })
    })
}

/// Shows all memory devices as QEMU made them. What the guest may take beside its balloon's share is
/// not in its current memory before it took it.
fn memory_devices(domain: &mut Domain, reply: &Value) {
    let total = domain.memory.as_ref().map_or(0, |memory| memory.size.0);
    let Some(devices) = domain.devices.as_mut() else { return };
    let (mut offered, mut taken) = (0_u64, 0_u64);
    for memory in &mut devices.memories {
        let alias = memory.alias.as_ref().map_or("", |alias| alias.name.as_str());
        if let Some(found) = found_memory(reply, alias) {
            found.show_in(memory);
        }
        if memory.model == MemoryModel::VirtioMem {
            offered = offered.saturating_add(memory.target.size.0);
            taken = taken.saturating_add(memory.target.current.map_or(0, |kib| kib.0));
        }
    }
    let balloon = devices.memballoons.first().is_some_and(|b| b.model != BalloonModel::None);
    if offered > 0 && balloon {
        let own = total.saturating_sub(offered);
        let current = domain.current_memory.map_or(own, |current| current.0.min(own));
        domain.current_memory = Some(Kib(current.saturating_add(taken)));
    }
}
