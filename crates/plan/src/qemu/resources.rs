//! Control groups, pinning and priorities.

use super::Inputs;
use super::device_uses::device_uses;
use crate::step::{Cgroup, ThreadSetting};
use model::domain::Domain;
use model::domain::tune::{NumaMode, Scheduler};

/// The guest's control group and its limits.
pub(super) fn cgroup(domain: &Domain, short_name: &str, inputs: &Inputs) -> Cgroup {
    let partition = domain.resource.as_ref().and_then(|resource| resource.partition.clone());
    let render_node = inputs.host.render_nodes.first().map(String::as_str);
    Cgroup {
        name: format!("qemu-{short_name}"),
        partition: partition.unwrap_or_else(|| "/machine".into()),
        settings: cgroup_settings(domain),
        devices: device_uses(domain, render_node, &inputs.found.scsi_generic, |_| false),
    }
}

/// The limits of a definition, as [`Cgroup::settings`] has them.
pub fn cgroup_settings(domain: &Domain) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            settings.push((name.to_string(), value));
        }
    };
    if let Some(tune) = &domain.cpu_tune {
        add("cpu_shares", tune.shares.map(|v| v.to_string()));
        add("global_period", tune.global_period.map(|v| v.to_string()));
        add("global_quota", tune.global_quota.map(|v| v.to_string()));
        add("vcpu_period", tune.period.map(|v| v.to_string()));
        add("vcpu_quota", tune.quota.map(|v| v.to_string()));
        add("emulator_period", tune.emulator_period.map(|v| v.to_string()));
        add("emulator_quota", tune.emulator_quota.map(|v| v.to_string()));
        add("iothread_period", tune.iothread_period.map(|v| v.to_string()));
        add("iothread_quota", tune.iothread_quota.map(|v| v.to_string()));
    }
    if let Some(tune) = &domain.mem_tune {
        add("hard_limit", tune.hard_limit.as_ref().map(|v| v.0.to_string()));
        add("soft_limit", tune.soft_limit.as_ref().map(|v| v.0.to_string()));
        add("swap_hard_limit", tune.swap_hard_limit.as_ref().map(|v| v.0.to_string()));
    }
    if let Some(tune) = &domain.blkio_tune {
        add("weight", tune.weight.map(|v| v.to_string()));
        for device in &tune.devices {
            let mut limit = |name: &str, value: Option<u64>| {
                add(name, value.map(|value| format!("{},{value}", device.path)));
            };
            limit("device_weight", device.weight.map(u64::from));
            limit("device_read_iops_sec", device.read_iops_sec.map(u64::from));
            limit("device_write_iops_sec", device.write_iops_sec.map(u64::from));
            limit("device_read_bytes_sec", device.read_bytes_sec);
            limit("device_write_bytes_sec", device.write_bytes_sec);
        }
    }
    if let Some(memory) = domain.numa_tune.as_ref().and_then(|tune| tune.memory.as_ref()) {
        let nodes = memory.nodeset.as_ref().map(|nodes| nodes.to_string());
        match memory.mode.unwrap_or_default() {
            NumaMode::Strict => add("cpuset_mems", nodes),
            NumaMode::Restrictive => add("restrictive_mems", nodes),
            // Wishes, which a control group would make bounds.
            NumaMode::Preferred | NumaMode::Interleave => {}
        }
    }
    settings
}

fn word(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::Batch => "batch",
        Scheduler::Idle => "idle",
        Scheduler::Fifo => "fifo",
        Scheduler::Rr => "rr",
    }
}

/// Pinning and priorities of QEMU's threads.
pub(super) fn threads(domain: &Domain) -> Vec<ThreadSetting> {
    let mut settings = Vec::new();
    let mut set = |thread: String, setting: &'static str, value: String| {
        settings.push(ThreadSetting { thread, setting, value });
    };
    let vcpu = domain.vcpu.clone().unwrap_or_default();
    let tune = domain.cpu_tune.clone().unwrap_or_default();
    let states = domain.vcpus.as_ref().map_or(&[][..], |vcpus| vcpus.list.as_slice());
    // One that is plugged later has no thread yet.
    let online = |number: u32| match states.iter().find(|state| state.id == number) {
        Some(state) => {
            state.enabled == super::words::YesNo::Yes
                && state.hotpluggable != Some(super::words::YesNo::Yes)
        }
        None => number < vcpu.current.unwrap_or(vcpu.maximum),
    };
    if let Some(cpus) = &vcpu.cpuset {
        for number in (0..vcpu.maximum).filter(|number| online(*number)) {
            if !tune.vcpu_pins.iter().any(|pin| pin.vcpu == number) {
                set(format!("vcpu{number}"), "affinity", cpus.to_string());
            }
        }
        if tune.emulator_pin.is_none() {
            set("emulator".into(), "affinity", cpus.to_string());
        }
    }
    for pin in tune.vcpu_pins.iter().filter(|pin| online(pin.vcpu)) {
        set(format!("vcpu{}", pin.vcpu), "affinity", pin.cpuset.to_string());
    }
    if let Some(pin) = &tune.emulator_pin {
        set("emulator".into(), "affinity", pin.cpuset.to_string());
    }
    for pin in &tune.iothread_pins {
        set(format!("iothread{}", pin.iothread), "affinity", pin.cpuset.to_string());
    }
    for sched in &tune.vcpu_scheds {
        for number in sched.vcpus.iter().filter(|number| online(*number)) {
            set(format!("vcpu{number}"), "scheduler", word(sched.scheduler).into());
            if let Some(priority) = sched.priority {
                set(format!("vcpu{number}"), "priority", priority.to_string());
            }
        }
    }
    for sched in &tune.iothread_scheds {
        for number in sched.iothreads.iter() {
            set(format!("iothread{number}"), "scheduler", word(sched.scheduler).into());
            if let Some(priority) = sched.priority {
                set(format!("iothread{number}"), "priority", priority.to_string());
            }
        }
    }
    if let Some(sched) = &tune.emulator_sched {
        set("emulator".into(), "scheduler", word(sched.scheduler).into());
        if let Some(priority) = sched.priority {
            set("emulator".into(), "priority", priority.to_string());
        }
    }
    settings
}
