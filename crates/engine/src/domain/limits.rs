//! A definition's limits (`<cputune>`, `<memtune>`, `<blkiotune>`, `<numatune>`), written into the
//! guest's control groups. What this host cannot limit refuses the start: a guest never runs
//! without a limit its definition has.

use super::results::Results;
use super::steps::system;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::cgroup::{CgroupError, Cgroups, Controller, MachineGroup, Part};
use model::domain::Domain as Definition;
use qmp::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The kernel's period where a definition gives a quota only, in microseconds.
const DEFAULT_PERIOD: &str = "100000";

/// `VIR_DOMAIN_MEMORY_PARAM_UNLIMITED`, in KiB: not a limit.
const UNLIMITED: u64 = 9_007_199_254_740_991;

/// A value for one of several files, the first that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    controller: Controller,
    files: &'static [&'static str],
    value: String,
    /// Where the definition asks for it.
    element: String,
}

/// The settings of a plan, by name.
struct Settings<'a>(&'a [(String, String)]);

impl Settings<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// libvirt's 0 is "not set", except where a definition cannot say it.
    fn non_zero(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| *value != "0")
    }

    fn kib(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok().filter(|kib| *kib > 0 && *kib < UNLIMITED)
    }

    /// Processor time of the group that `prefix` names: `global`, `vcpu`, `emulator`, `iothread`.
    fn bandwidth(&self, prefix: &str, v2: bool) -> Vec<Limit> {
        let period = self.non_zero(&format!("{prefix}_period"));
        let quota = self.non_zero(&format!("{prefix}_quota"));
        let element = |what: &str| match prefix {
            "vcpu" => format!("<cputune><{what}>"),
            _ => format!("<cputune><{prefix}_{what}>"),
        };
        let limit = |file: &'static [&'static str], value: &str, what| Limit {
            controller: Controller::Cpu,
            files: file,
            value: value.to_owned(),
            element: element(what),
        };
        if !v2 {
            let period = period.map(|value| limit(&["cpu.cfs_period_us"], value, "period"));
            let quota = quota.map(|value| limit(&["cpu.cfs_quota_us"], value, "quota"));
            return period.into_iter().chain(quota).collect();
        }
        if period.is_none() && quota.is_none() {
            return Vec::new();
        }
        let what = if quota.is_some() { "quota" } else { "period" };
        let quota = quota.filter(|value| !value.starts_with('-')).unwrap_or("max");
        let value = format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD));
        vec![limit(&["cpu.max"], &value, what)]
    }

    fn memory(&self, v2: bool) -> Vec<Limit> {
        let limit = |file: &'static [&'static str], kib: u64, element: &str| Limit {
            controller: Controller::Memory,
            files: file,
            value: kib.saturating_mul(1024).to_string(),
            element: format!("<memtune><{element}>"),
        };
        let hard = self.kib("hard_limit");
        let soft = self.kib("soft_limit");
        let swap = self.kib("swap_hard_limit");
        let mut limits = Vec::new();
        if v2 {
            limits.extend(hard.map(|kib| limit(&["memory.max"], kib, "hard_limit")));
            limits.extend(soft.map(|kib| limit(&["memory.high"], kib, "soft_limit")));
            // The element limits memory and swap together, this file swap alone.
            let swap = swap.map(|kib| kib.saturating_sub(hard.unwrap_or(0)));
            limits.extend(swap.map(|kib| limit(&["memory.swap.max"], kib, "swap_hard_limit")));
        } else {
            // In this order: memory with swap may not be less than memory.
            limits.extend(hard.map(|kib| limit(&["memory.limit_in_bytes"], kib, "hard_limit")));
            limits
                .extend(soft.map(|kib| limit(&["memory.soft_limit_in_bytes"], kib, "soft_limit")));
            limits.extend(
                swap.map(|kib| limit(&["memory.memsw.limit_in_bytes"], kib, "swap_hard_limit")),
            );
        }
        limits
    }

    /// `number` finds a block device's `MAJOR:MINOR`.
    fn block(
        &self,
        v2: bool,
        number: impl Fn(&str) -> Result<String, VirError>,
    ) -> Result<Vec<Limit>, VirError> {
        let mut limits = Vec::new();
        let mut add = |files, value, element: &str| {
            limits.push(Limit {
                controller: Controller::Blkio,
                files,
                value,
                element: format!("<blkiotune>{element}"),
            });
        };
        for (name, value) in self.0 {
            if name == "weight" && value != "0" {
                let files: &'static [&'static str] = if v2 {
                    &["io.bfq.weight", "io.weight"]
                } else {
                    &["blkio.weight", "blkio.bfq.weight"]
                };
                add(files, value.clone(), "<weight>");
                continue;
            }
            let Some(what) = name.strip_prefix("device_") else { continue };
            let Some((path, value)) = value.rsplit_once(',').filter(|(_, v)| *v != "0") else {
                continue;
            };
            let (old, new): (&'static [&'static str], _) = match what {
                "weight" => (&["blkio.weight_device", "blkio.bfq.weight_device"], ""),
                "read_iops_sec" => (&["blkio.throttle.read_iops_device"], "riops="),
                "write_iops_sec" => (&["blkio.throttle.write_iops_device"], "wiops="),
                "read_bytes_sec" => (&["blkio.throttle.read_bps_device"], "rbps="),
                "write_bytes_sec" => (&["blkio.throttle.write_bps_device"], "wbps="),
                _ => continue,
            };
            let files: &'static [&'static str] = match (v2, what) {
                (false, _) => old,
                (true, "weight") => &["io.bfq.weight", "io.weight"],
                (true, _) => &["io.max"],
            };
            let device = number(path)?;
            let prefix = if v2 { new } else { "" };
            add(files, format!("{device} {prefix}{value}"), &format!("<device><{what}>"));
        }
        Ok(limits)
    }

    fn nodes(&self) -> Option<Limit> {
        let value = self.get("cpuset_mems").or_else(|| self.get("restrictive_mems"))?;
        Some(Limit {
            controller: Controller::Cpuset,
            files: &["cpuset.mems"],
            value: value.to_owned(),
            element: "<numatune><memory nodeset>".to_owned(),
        })
    }

    /// Whether threads must be told apart.
    fn of_threads(&self) -> bool {
        ["vcpu", "emulator", "iothread"].iter().any(|part| {
            ["period", "quota"]
                .iter()
                .any(|what| self.non_zero(&format!("{part}_{what}")).is_some())
        })
    }

    /// The controllers that cannot be done without, and what libvirt says where they are not.
    fn needs(&self) -> Vec<(Controller, &'static str, String)> {
        let mut needs = Vec::new();
        let mut need = |limits: Vec<Limit>, what| {
            if let Some(limit) = limits.into_iter().next() {
                needs.push((limit.controller, what, limit.element));
            }
        };
        need(self.memory(false), "Memory cgroup");
        need(self.block(false, |_| Ok(String::new())).unwrap_or_default(), "Block I/O tuning");
        need(self.shares(false).into_iter().collect(), "CPU tuning");
        for part in ["global", "vcpu", "emulator", "iothread"] {
            need(self.bandwidth(part, false), "CPU tuning");
        }
        if self.get("restrictive_mems").is_some() {
            need(self.nodes().into_iter().collect(), "Restrictive memory placement");
        }
        needs
    }

    fn shares(&self, v2: bool) -> Option<Limit> {
        Some(Limit {
            controller: Controller::Cpu,
            files: if v2 { &["cpu.weight"] } else { &["cpu.shares"] },
            value: self.non_zero("cpu_shares")?.to_owned(),
            element: "<cputune><shares>".to_owned(),
        })
    }
}

/// Refuses limits whose controller this host lacks; `None` is a session, which has no groups.
pub(super) fn check(
    cgroups: Option<&Cgroups>,
    settings: &[(String, String)],
) -> Result<(), VirError> {
    for (controller, what, element) in Settings(settings).needs() {
        let place = match cgroups {
            None => "in session mode",
            Some(cgroups) if cgroups.is_v2(controller).is_none() => "on this host",
            Some(_) => continue,
        };
        return Err(VirError::config(format!("{what} is not available {place}")).hint(format!(
            "{element} needs the '{}' cgroup controller; remove it from the definition, or provide \
             the controller",
            controller.name()
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
    machine.extend(settings.block(v2(Controller::Blkio), device_number)?);
    machine.extend(settings.shares(cpu_v2));
    machine.extend(settings.bandwidth("global", cpu_v2));
    for limit in &machine {
        write(group, Part::Machine, limit)?;
    }
    for limit in settings.bandwidth("emulator", cpu_v2) {
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
pub(super) fn limit_threads(
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
        return Err(VirError::config("cgroup cpu is required for scheduler tuning")
            .hint("all virtual processors of this guest run in one thread of QEMU"));
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

/// Limits a virtual processor that was plugged into a running guest as those there from the start.
pub(super) fn limit_plugged(
    engine: &Engine,
    pid: u32,
    definition: &Definition,
    vcpu: u32,
    thread: Option<u32>,
) -> Result<(), VirError> {
    let settings = plan::qemu::cgroup_settings(definition);
    let settings = Settings(&settings);
    let group = engine.cgroups.as_ref().and_then(|all| Some((all, all.machine_of(pid)?)));
    let (Some((cgroups, group)), true) = (group, settings.of_threads()) else { return Ok(()) };
    let thread =
        thread.ok_or_else(|| VirError::internal(format!("QEMU has no thread 'vcpu{vcpu}'")))?;
    limit_thread(cgroups, &group, &settings, Part::Vcpu(vcpu), thread)
}

fn limit_thread(
    cgroups: &Cgroups,
    group: &MachineGroup,
    settings: &Settings<'_>,
    part: Part,
    thread: u32,
) -> Result<(), VirError> {
    group.create(part).map_err(|error| fault(&error))?;
    let name = if matches!(part, Part::Vcpu(_)) { "vcpu" } else { "iothread" };
    let nodes = settings.nodes().filter(|_| cgroups.is_v2(Controller::Cpuset).is_some());
    let v2 = cgroups.is_v2(Controller::Cpu) == Some(true);
    for limit in settings.bandwidth(name, v2).iter().chain(&nodes) {
        write(group, part, limit)?;
    }
    group.move_thread(part, thread).map_err(|error| fault(&error))
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|value| u32::try_from(value).ok())
}

fn write(group: &MachineGroup, part: Part, limit: &Limit) -> Result<(), VirError> {
    let folder = group.folder(part, limit.controller);
    let there = |file: &&&str| folder.as_ref().is_some_and(|folder| folder.join(file).exists());
    let Some(file) = limit.files.iter().find(there) else {
        let element = &limit.element;
        return Err(VirError::config(format!(
            "{element} is not available on this host: cgroup controller '{}' has no file {}",
            limit.controller.name(),
            limit.files.join(" nor "),
        )));
    };
    group.set(part, limit.controller, file, &limit.value).map_err(|error| {
        fault(&error).hint(format!("{} asks for '{}'", limit.element, limit.value))
    })
}

fn fault(error: &CgroupError) -> VirError {
    VirError::new(ErrorCode::SYSTEM_ERROR, error.to_string())
}

/// `MAJOR:MINOR` of a block device.
fn device_number(path: &str) -> Result<String, VirError> {
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

    fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn texts(limits: impl IntoIterator<Item = Limit>) -> Vec<String> {
        limits.into_iter().map(|l| format!("{} = {}", l.files.join("|"), l.value)).collect()
    }

    #[test]
    fn processor_time() {
        let check = |pairs: &[(&str, &str)], v2, expected: &[&str]| {
            let settings = settings(pairs);
            let settings = Settings(&settings);
            let found = settings.shares(v2).into_iter().chain(settings.bandwidth("vcpu", v2));
            assert_eq!(texts(found), expected, "{pairs:?}");
        };
        let all = [("cpu_shares", "512"), ("vcpu_period", "50000"), ("vcpu_quota", "-1")];
        check(
            &all,
            false,
            &["cpu.shares = 512", "cpu.cfs_period_us = 50000", "cpu.cfs_quota_us = -1"],
        );
        check(&all, true, &["cpu.weight = 512", "cpu.max = max 50000"]);
        check(&[("vcpu_quota", "20000")], true, &["cpu.max = 20000 100000"]);
        check(&[("vcpu_quota", "0"), ("emulator_quota", "7000")], false, &[]);
        check(&[], true, &[]);
    }

    #[test]
    fn memory() {
        let all = settings(&[
            ("hard_limit", "4096"),
            ("soft_limit", "9007199254740991"),
            ("swap_hard_limit", "6144"),
        ]);
        let check = |v2, expected: &[&str]| {
            assert_eq!(texts(Settings(&all).memory(v2)), expected);
        };
        check(false, &["memory.limit_in_bytes = 4194304", "memory.memsw.limit_in_bytes = 6291456"]);
        check(true, &["memory.max = 4194304", "memory.swap.max = 2097152"]);
    }

    #[test]
    fn block_devices() {
        let all = settings(&[
            ("weight", "800"),
            ("device_read_bytes_sec", "/dev/a,b,1000"),
            ("device_write_iops_sec", "/dev/c,0"),
        ]);
        let check = |v2, expected: &[&str]| {
            let number = |path: &str| {
                assert_eq!(path, "/dev/a,b");
                Ok("8:16".to_owned())
            };
            assert_eq!(texts(Settings(&all).block(v2, number).unwrap()), expected);
        };
        check(
            false,
            &["blkio.weight|blkio.bfq.weight = 800", "blkio.throttle.read_bps_device = 8:16 1000"],
        );
        check(true, &["io.bfq.weight|io.weight = 800", "io.max = 8:16 rbps=1000"]);
        assert!(device_number("/dev/null").unwrap_err().to_string().contains("block device"));
    }

    #[test]
    fn what_the_host_lacks_is_refused() {
        let check = |cgroups: Option<&Cgroups>, name: &str, expected: &str| {
            let error = super::check(cgroups, &settings(&[(name, "5")])).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        let none = Cgroups::default();
        check(Some(&none), "hard_limit", "Memory cgroup is not available on this host");
        check(Some(&none), "weight", "Block I/O tuning is not available on this host");
        check(Some(&none), "cpu_shares", "CPU tuning is not available on this host");
        check(None, "iothread_quota", "CPU tuning is not available in session mode");
        super::check(None, &settings(&[("cpuset_mems", "0"), ("vcpu_quota", "0")])).unwrap();
    }
}
