//! What a running guest is tuned to, by QEMU and the kernel. A daemon that died, or a QEMU whose answer never came,
//! leaves a change half made: QEMU has it, and the definition says nothing. What QEMU has is true.

use super::io_threads;
use super::{LiveSide, plug};
use crate::domain::affect::running;
use crate::domain::hardware::block::{alias_of, entry_of};
use crate::domain::hardware::vcpus::{
    io_thread_ids, io_thread_thread, online_vcpus, thread_names, vcpu_thread,
};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::VirError;
use host::cgroup::Part;
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::Disk;
use plan::io_limits::IoLimits;
use plan::limits::Settings;
use qmp::reply::HotpluggableCpu;
use qmp::{Value, cmd};
use std::sync::Arc;

impl Engine {
    /// Makes the definition of a running guest say what QEMU has of limits of disks, I/O threads and
    /// virtual CPUs, and binds its threads as the definition says. The job is held.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub(in crate::domain) async fn compare_tuning(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        let Some(live) = domain.snapshot().live.clone() else { return Ok(()) };
        let asked = |error: MonitorError| monitor_error(&error);
        let mut side = LiveSide { vm: Arc::clone(&vm), definition: live.definition.clone() };
        let drives = vm.monitor.execute(cmd::query_block()).await.map_err(asked)?;
        for disk in &mut side.definition.devices_mut().disks {
            limit(disk, &drives);
        }
        let threads = vm.monitor.execute(cmd::query_iothreads()).await.map_err(asked)?;
        let there: Vec<u32> = threads
            .iter()
            .filter_map(|thread| thread.id.strip_prefix("iothread")?.parse().ok())
            .collect();
        let new = io_threads::become_those(&mut side.definition, &there);
        let plugged = match vm.monitor.execute(cmd::query_hotpluggable_cpus()).await {
            Ok(places) => plugged(&places, &mut side.definition),
            // A board whose processors are all there from the start.
            Err(MonitorError::Qmp(_)) => Vec::new(),
            Err(error) => return Err(asked(error)),
        };
        if side.definition == live.definition {
            self.place_others(&side);
            return Ok(());
        }
        let name = &domain.snapshot().name;
        tracing::info!(domain = %name, "its definition says now what QEMU has");
        vm.redefine(side.definition.clone()).await;
        for id in new {
            if let Err(error) = self.place(&side, id) {
                tracing::warn!(domain = %name, id, error = %error.message(), "not placed");
            }
        }
        for number in plugged {
            if let Err(error) = self.place_vcpu(&side.definition, side.pid(), number) {
                tracing::warn!(domain = %name, number, error = %error.message(), "not placed");
            }
        }
        self.place_others(&side);
        Ok(())
    }

    /// Gives threads that the definition tells of what it says about them: a daemon that died had
    /// made them and written them down, and no more.
    fn place_others(&self, side: &LiveSide) {
        let (definition, pid) = (&side.definition, side.pid());
        let settings = plan::qemu::cgroup_settings(definition);
        let limited = Settings(&settings).of_threads();
        let group = self.cgroups.as_ref().and_then(|cgroups| cgroups.machine_of(pid));
        if let (Some(group), true) = (group, limited) {
            let names = thread_names(pid);
            let strays =
                |part, thread: Option<u32>| thread.is_some_and(|thread| !group.holds(part, thread));
            for number in online_vcpus(definition) {
                if strays(Part::Vcpu(number), vcpu_thread(&names, number))
                    && let Err(error) = self.place_vcpu(definition, pid, number)
                {
                    tracing::warn!(pid, number, error = %error.message(), "not placed");
                }
            }
            for id in io_thread_ids(definition) {
                if strays(Part::IoThread(id), io_thread_thread(&names, id))
                    && let Err(error) = self.place(side, id)
                {
                    tracing::warn!(pid, id, error = %error.message(), "not placed");
                }
            }
        }
        super::pins::bind_as_defined(definition, pid);
    }
}

/// Gives a disk the limits that QEMU has for it, if they are others.
fn limit(disk: &mut Disk, drives: &[Value]) {
    if disk.throttlefilters.as_ref().is_some_and(|filters| !filters.filters.is_empty()) {
        return;
    }
    let drive = entry_of(drives, alias_of(disk));
    let Some(inserted) = drive.and_then(|drive| drive.get("inserted")).filter(|it| it.is_object())
    else {
        return;
    };
    let told = disk.iotune.as_deref().map(IoLimits::of_disk).unwrap_or_default();
    let had = IoLimits::from_query(inserted);
    let names = IoLimits::names().zip(told.numbers().iter().zip(had.numbers()));
    // QEMU fills in the lengths of bursts.
    let same = |(name, (told, had)): (&str, (&u64, &u64))| {
        told == had || (*told == 0 && name.ends_with("_length"))
    };
    if names.into_iter().all(same) {
        return;
    }
    // Drives without limits are in no group, and one by itself is in one of its own name.
    let own = |group: &String| {
        had.is_empty() || plan::qemu::drive_id(disk).is_some_and(|id| id.contains(group.as_str()))
    };
    let group = had.group.clone().filter(|group| !own(group));
    let mut limits = had.clone();
    limits.group = group;
    disk.iotune = limits.to_disk().map(Box::new);
}

/// Makes the definition tell of the virtual CPUs that QEMU has; those it did not tell of.
fn plugged(places: &[HotpluggableCpu], definition: &mut Definition) -> Vec<u32> {
    let told = online_vcpus(definition);
    let mut new = Vec::new();
    for (numbers, place) in plug::numbered(places) {
        let there = place.qom_path.is_some();
        for number in numbers {
            if told.contains(&number) != there {
                plug::set_live(definition, number, there);
                if there {
                    new.push(number);
                }
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::alias::Alias;
    use model::domain::tune::IoTune;
    use serde_json::json;

    #[test]
    fn a_disk_is_limited_as_qemu_says() {
        let tune = |bytes: u64| IoTune { total_bytes_sec: Some(bytes), ..IoTune::default() };
        let drive = |inside: Value| json!([{"qdev": "disk0", "inserted": inside}]);
        for (told, inside, after) in [
            (None, json!({"bps": 5, "group": "disk0"}), Some(tune(5))),
            (Some(tune(5)), json!({"bps": 5, "bps_max_length": 1}), Some(tune(5))),
            (Some(tune(5)), json!({"bps": 0, "iops": 0}), None),
            (None, json!({"bps": 0, "bps_max_length": 1}), None),
            // An empty drive tells nothing.
            (Some(tune(5)), Value::Null, Some(tune(5))),
        ] {
            let mut disk = Disk { iotune: told.map(Box::new), ..Disk::default() };
            disk.alias = Some(Alias { name: "disk0".to_owned() });
            let drives = drive(inside.clone());
            limit(&mut disk, drives.as_array().expect("a list"));
            assert_eq!(disk.iotune.as_deref(), after.as_ref(), "{inside}");
        }
    }
}
