//! A definition's limits (see [`plan::limits`]), written into the guest's control groups. What this host cannot limit refuses the start: a guest never runs
//! without a limit its definition has.

use crate::domain::hardware::vcpus::{
    io_thread_ids, io_thread_thread, online_vcpus, thread_names, vcpu_thread,
};
use crate::domain::start::results::Results;
use crate::domain::start::steps::system;
use crate::domain::stored::store::os_words;
use crate::domain::tuning::LiveSide;
use crate::domain::tuning::time::check_shares;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::cgroup::{CgroupError, Cgroups, Controller, MachineGroup, Part};
use model::domain::Domain as Definition;
use plan::limits::{Controller as Limited, Limit, Settings, TimeOf};
use qmp::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Refuses limits whose controller this host lacks; `None` is a session, which has no groups.
pub(in crate::domain) fn check(
    cgroups: Option<&Cgroups>,
    settings: &[(String, String)],
) -> Result<(), VirError> {
    for (controller, what, element) in Settings(settings).needs() {
        let place = match cgroups {
            None => "in session mode",
            Some(cgroups) if cgroups.is_v2(kernels(controller)).is_none() => "on this host",
            Some(_) => continue,
        };
        return Err(VirError::config(format!("{what} is not available {place}")).hint(format!(
            "{element} needs the '{}' cgroup controller; remove it from the definition, or provide \
             the controller",
            kernels(controller).name()
        )));
    }
    Ok(())
}

/// Writes what limits the whole guest and QEMU's own threads, before QEMU runs.
pub(crate) fn limit_guest(
    cgroups: &Cgroups,
    group: &MachineGroup,
    settings: &[(String, String)],
) -> Result<(), VirError> {
    let settings = Settings(settings);
    let v2 = |controller| cgroups.is_v2(controller) == Some(true);
    let cpu_v2 = v2(Controller::Cpu);
    let mut machine = settings.memory(v2(Controller::Memory));
    machine.extend(settings.block(v2(Controller::Blkio)));
    if let Some(limit) = settings.shares(cpu_v2) {
        let number = limit.value.parse().unwrap_or(0);
        check_shares(number, cpu_v2)?;
        machine.push(limit);
    }
    machine.extend(settings.bandwidth(TimeOf::Global, cpu_v2));
    for limit in &machine {
        write(group, Part::Machine, limit)?;
    }
    for limit in settings.bandwidth(TimeOf::Emulator, cpu_v2) {
        write(group, Part::Emulator, &limit)?;
    }
    match settings.nodes() {
        // QEMU itself binds the guest's memory then, unless placement is restrictive (checked).
        Some(_) if cgroups.is_v2(Controller::Cpuset).is_none() => Ok(()),
        Some(limit) => write(group, Part::Emulator, &limit),
        None => Ok(()),
    }
}

/// Gives virtual processors and I/O threads groups of their own where a limit needs it; QEMU told
/// which threads they are.
pub(in crate::domain) fn limit_threads(
    engine: &Engine,
    settings: &[(String, String)],
    results: &Results,
) -> Result<(), VirError> {
    let settings = Settings(settings);
    let group = results.cgroup.as_deref().map(Path::new);
    let (Some(cgroups), Some(path), true) = (&engine.cgroups, group, settings.of_threads()) else {
        return Ok(());
    };
    let group = cgroups.at(path).ok_or_else(|| VirError::internal("no control group"))?;
    let list = |name| results.values.get(&plan::ResultName::new(name)).and_then(Value::as_array);
    let mut threads = Vec::new();
    for cpu in list("qmp.cpus").into_iter().flatten() {
        let number = cpu.get("cpu-index").and_then(number).map(Part::Vcpu);
        threads.extend(number.zip(cpu.get("thread-id").and_then(self::number)));
    }
    let distinct: BTreeSet<u32> = threads.iter().map(|(_, thread)| *thread).collect();
    if distinct.len() < threads.len() {
        return Err(one_thread());
    }
    for item in list("qmp.iothreads").into_iter().flatten() {
        let id = item.get("id").and_then(Value::as_str).and_then(|id| id.strip_prefix("iothread"));
        let part = id.and_then(|id| id.parse().ok()).map(Part::IoThread);
        threads.extend(part.zip(item.get("thread-id").and_then(number)));
    }
    threads
        .into_iter()
        .try_for_each(|(part, thread)| limit_thread(cgroups, &group, &settings, part, thread))
}

/// Limits a thread that was made in a running guest (a virtual processor, an I/O thread) as those
/// there from the start.
pub(in crate::domain) fn limit_plugged(
    engine: &Engine,
    pid: u32,
    definition: &Definition,
    part: Part,
    thread: u32,
) -> Result<(), VirError> {
    let settings = plan::qemu::cgroup_settings(definition);
    let settings = Settings(&settings);
    let group = engine.cgroups.as_ref().and_then(|all| Some((all, all.machine_of(pid)?)));
    let (Some((cgroups, group)), true) = (group, settings.of_threads()) else { return Ok(()) };
    limit_thread(cgroups, &group, &settings, part, thread)
}

/// Gives every thread of a kind a group of its own and returns which these are.
pub(in crate::domain) fn parts_of_threads(
    engine: &Engine,
    group: &MachineGroup,
    live: &LiveSide,
    time: TimeOf,
) -> Result<Vec<Part>, VirError> {
    let Some(cgroups) = &engine.cgroups else { return Ok(Vec::new()) };
    let settings = plan::qemu::cgroup_settings(&live.definition);
    let threads = thread_names(live.pid());
    let found: Vec<(Part, Option<u32>)> = match time {
        TimeOf::Vcpu => online_vcpus(&live.definition)
            .into_iter()
            .map(|number| (Part::Vcpu(number), vcpu_thread(&threads, number)))
            .collect(),
        TimeOf::IoThread => io_thread_ids(&live.definition)
            .into_iter()
            .map(|id| (Part::IoThread(id), io_thread_thread(&threads, id)))
            .collect(),
        TimeOf::Global | TimeOf::Emulator => Vec::new(),
    };
    found
        .into_iter()
        .map(|(part, thread)| {
            let thread = thread.ok_or_else(|| match part {
                // One thread runs them all.
                Part::Vcpu(_) => one_thread(),
                _ => VirError::internal(format!("QEMU has no thread for {part:?}")),
            })?;
            join(cgroups, group, Settings(&settings), part, thread)?;
            Ok(part)
        })
        .collect()
}

fn one_thread() -> VirError {
    VirError::config("cgroup cpu is required for scheduler tuning")
        .hint("all virtual processors of this guest run in one thread of QEMU")
}

/// Makes a thread's groups, on the guest's memory nodes, and moves it there.
fn join(
    cgroups: &Cgroups,
    group: &MachineGroup,
    settings: Settings<'_>,
    part: Part,
    thread: u32,
) -> Result<(), VirError> {
    group.create(part).map_err(|error| fault(&error))?;
    let nodes = settings.nodes().filter(|_| cgroups.is_v2(Controller::Cpuset).is_some());
    nodes.iter().try_for_each(|limit| write(group, part, limit))?;
    group.move_thread(part, thread).map_err(|error| fault(&error))
}

fn limit_thread(
    cgroups: &Cgroups,
    group: &MachineGroup,
    settings: &Settings<'_>,
    part: Part,
    thread: u32,
) -> Result<(), VirError> {
    join(cgroups, group, *settings, part, thread)?;
    let time = if matches!(part, Part::Vcpu(_)) { TimeOf::Vcpu } else { TimeOf::IoThread };
    let v2 = cgroups.is_v2(Controller::Cpu) == Some(true);
    settings.bandwidth(time, v2).iter().try_for_each(|limit| write(group, part, limit))
}

/// The kernel's controller behind a limit.
pub(in crate::domain) fn kernels(controller: Limited) -> Controller {
    match controller {
        Limited::Cpu => Controller::Cpu,
        Limited::Cpuset => Controller::Cpuset,
        Limited::Memory => Controller::Memory,
        Limited::Blkio => Controller::Blkio,
    }
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|value| u32::try_from(value).ok())
}

fn write(group: &MachineGroup, part: Part, limit: &Limit) -> Result<(), VirError> {
    let controller = kernels(limit.controller);
    let folder = group.folder(part, controller);
    let there = |file: &&&str| folder.as_ref().is_some_and(|folder| folder.join(file).exists());
    let Some(file) = limit.files.iter().find(there) else {
        let element = &limit.element;
        return Err(VirError::config(format!(
            "{element} is not available on this host: cgroup controller '{}' has no file {}",
            controller.name(),
            limit.files.join(" nor "),
        )));
    };
    let value = match &limit.device {
        Some(path) => format!("{} {}", device_number(path)?, limit.value),
        None => limit.value.clone(),
    };
    group
        .set(part, controller, file, &value)
        .map_err(|error| fault(&error).hint(format!("{} asks for '{value}'", limit.element)))
}

/// In libvirt's words.
pub(in crate::domain) fn fault(error: &CgroupError) -> VirError {
    let detail = match error.action {
        "write" => {
            format!("Unable to write to '{}': {}", error.path.display(), os_words(&error.source))
        }
        _ => error.to_string(),
    };
    VirError::new(ErrorCode::SYSTEM_ERROR, detail).from_domain(ErrorDomain::CGROUP)
}

/// The same, for a value that the kernel may have found to be none.
pub(in crate::domain) fn refused(error: &CgroupError, value: &str) -> VirError {
    if error.action == "write" && error.source.kind() == std::io::ErrorKind::InvalidInput {
        let file = error.path.file_name().unwrap_or_default().display();
        let why = os_words(&error.source);
        let detail = format!("Invalid value '{value}' for '{file}': {why}");
        return VirError::new(ErrorCode::SYSTEM_ERROR, detail).from_domain(ErrorDomain::CGROUP);
    }
    fault(error)
}

/// `MAJOR:MINOR` of a block device.
pub(in crate::domain) fn device_number(path: &str) -> Result<String, VirError> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = std::fs::metadata(path)
        .map_err(|error| system(&format!("Path '{path}' is not accessible"), &error))?;
    if !metadata.file_type().is_block_device() {
        return Err(VirError::invalid_arg(format!("Path '{path}' must be a block device")));
    }
    let device = metadata.rdev();
    Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_lacks_is_refused() {
        let check = |cgroups: Option<&Cgroups>, name: &str, expected: &str| {
            let settings = [(name.to_owned(), "5".to_owned())];
            let error = super::check(cgroups, &settings).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        let none = Cgroups::default();
        check(Some(&none), "hard_limit", "Memory cgroup is not available on this host");
        check(Some(&none), "weight", "Block I/O tuning is not available on this host");
        check(Some(&none), "cpu_shares", "CPU tuning is not available on this host");
        check(None, "iothread_quota", "CPU tuning is not available in session mode");
        let harmless = [("cpuset_mems", "0"), ("vcpu_quota", "0")];
        let harmless = harmless.map(|(name, value)| (name.to_owned(), value.to_owned()));
        super::check(None, &harmless).unwrap();
    }

    #[test]
    fn a_limited_device_is_a_block_device() {
        assert!(device_number("/dev/null").unwrap_err().to_string().contains("block device"));
    }
}
