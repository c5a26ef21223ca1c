//! Placement and priority of QEMU's threads.

use crate::domain::start::results::Results;
use crate::domain::stored::store::os_words;
use diag::{ErrorCode, VirError};
use host::process::SchedPolicy;
use plan::ThreadSetting;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::path::Path;

/// Applies the settings of a plan.
///
/// # Errors
/// When a thread is not there, or the kernel refuses a setting.
pub(in crate::domain) fn apply(
    settings: &[ThreadSetting],
    results: &Results,
) -> Result<(), VirError> {
    for (index, setting) in settings.iter().enumerate() {
        let threads = match setting.thread.as_str() {
            "emulator" => emulator_threads(results),
            name => results.threads_of(name),
        };
        if threads.is_empty() {
            return Err(VirError::internal(format!("QEMU has no thread '{}'", setting.thread)));
        }
        for thread in threads {
            match setting.setting {
                "affinity" => set_affinity(thread, &setting.value)?,
                "scheduler" => {
                    // The plan puts a scheduler's priority behind it.
                    let next = settings.get(index + 1);
                    let priority = next
                        .filter(|next| next.setting == "priority" && next.thread == setting.thread)
                        .map_or("0", |next| &next.value);
                    set_scheduler(thread, &setting.value, priority)?;
                }
                "priority" => {}
                other => {
                    return Err(VirError::config(format!(
                        "setting '{other}' of QEMU's threads is not supported"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Gives a thread the scheduler that a definition has for it.
///
/// # Errors
/// When the kernel refuses it.
pub(in crate::domain) fn schedule(
    thread: u32,
    scheduler: model::domain::tune::Scheduler,
    priority: Option<i32>,
) -> Result<(), VirError> {
    let priority = priority.unwrap_or(0).to_string();
    set_scheduler(thread, scheduler.as_str(), &priority)
}

fn set_scheduler(thread: u32, policy: &str, priority: &str) -> Result<(), VirError> {
    let policy = match policy {
        "batch" => SchedPolicy::Batch,
        "idle" => SchedPolicy::Idle,
        "fifo" => SchedPolicy::Fifo,
        "rr" => SchedPolicy::Rr,
        other => return Err(VirError::config(format!("unknown scheduler '{other}'"))),
    };
    let priority = match policy {
        // They have none; a definition may say one nevertheless.
        SchedPolicy::Batch | SchedPolicy::Idle => 0,
        _ => priority
            .parse()
            .map_err(|_| VirError::config(format!("invalid scheduler priority '{priority}'")))?,
    };
    host::process::set_scheduler(thread, policy, priority).map_err(|error| {
        crate::domain::start::steps::system(
            &format!("Cannot set scheduler parameters for pid {thread}"),
            &error,
        )
    })
}

/// The threads of QEMU that run neither virtual CPUs nor I/O, found through one that does.
fn emulator_threads(results: &Results) -> Vec<u32> {
    let Some(&thread) = results.threads_of("vcpu0").first() else { return Vec::new() };
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let pid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    pid.map(crate::domain::hardware::vcpus::emulator_threads).unwrap_or_default()
}

/// Binds a thread to host CPUs, given as a list (`0-3,^2`).
///
/// # Errors
/// When the list cannot be read, names a CPU that the host cannot have, or the kernel refuses it.
pub(crate) fn set_affinity(thread: u32, cpus: &str) -> Result<(), VirError> {
    let wanted: units::CpuSet = cpus
        .parse()
        .map_err(|error| VirError::invalid_arg(format!("'{cpus}' is no CPU list: {error}")))?;
    let refused = |error: rustix::io::Errno| {
        let why = os_words(&error.into());
        let detail = format!("cannot set CPU affinity on process {thread}: {why}");
        VirError::new(ErrorCode::SYSTEM_ERROR, detail)
    };
    let possible = host::facts::cpu_list(Path::new("/"), "possible");
    let last = possible.as_ref().and_then(|cpus| cpus.last()).map(|&cpu| cpu as usize);
    let mut set = CpuSet::new();
    for cpu in wanted.iter() {
        // The kernel leaves out those that are not there, where a control group refuses them.
        if cpu >= CpuSet::MAX_CPU || last.is_some_and(|last| cpu > last) {
            let there = host::facts::format_cpu_list(&possible.unwrap_or_default());
            return Err(refused(rustix::io::Errno::RANGE)
                .hint(format!("'{cpus}' names CPU {cpu}, and this host has {there}")));
        }
        set.set(cpu);
    }
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw);
    sched_setaffinity(pid, &set).map_err(refused)
}
