//! SIGKILL of the daemon while a guest is tuned: afterwards what is told, what is written down, what
//! QEMU has and what the kernel holds are the same.
//!
//! `TUNE_KILLS=N` changes the number of kills, `KILL_SEED=N` the moments.

use std::path::Path;

use tests::killing::Kills;
use tests::plugging::begin;
use tests::{Daemon, groups, guests, saving, truth};

/// What control groups limit, where this host has them.
fn limits(daemon: &Daemon) -> Vec<String> {
    if daemon.session() || !Path::new("/sys/fs/cgroup/cpu/cpu.shares").exists() {
        return Vec::new();
    }
    let mut rounds = [
        "memtune g --hard-limit 1G --swap-hard-limit 2G --live; \
         memtune g --hard-limit 2G --swap-hard-limit 3G --soft-limit 1G --live; \
         memtune g --hard-limit -1 --swap-hard-limit -1 --soft-limit -1 --live",
        "schedinfo g --live cpu_shares=512; \
         schedinfo g --live global_period=50000 global_quota=100000 emulator_quota=90000; \
         schedinfo g --live vcpu_quota=80000 vcpu_period=40000; \
         schedinfo g --live global_quota=-1 vcpu_quota=-1 emulator_quota=-1",
        "blkiotune g --weight 200 --live; blkiotune g --weight 300 --live; \
         blkiotune g --weight 100 --live",
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(device) = groups::block_device() {
        let limit = |iops: u32| {
            format!("blkiotune g --device-read-iops-sec {},{iops} --live", device.display())
        };
        rounds.push(format!("{}; {}; {}", limit(900_000), limit(800_000), limit(0)));
    }
    rounds
}

#[test]
fn a_kill_while_a_guest_is_tuned_leaves_the_truth() {
    let mut kills = Kills::from_env("TUNE_KILLS", 24);
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    truth::start(&daemon, "g");
    let mut rounds: Vec<String> = [
        "blkdeviotune g hda --total-bytes-sec 1000000 --live; \
         blkdeviotune g hda --total-bytes-sec 2000000 --live; \
         blkdeviotune g hda --total-bytes-sec 0 --live",
        "iothreadadd g 5 --live; iothreadpin g 5 1 --live; iothreadpin g 5 0 --live; \
         iothreaddel g 5 --live",
        "vcpupin g 0 0 --live; vcpupin g 0 1 --live; vcpupin g 0 0-1 --live",
        "emulatorpin g 0 --live; emulatorpin g 1 --live; emulatorpin g 0-1 --live",
        "iothreadpin g 1 0 --live; iothreadpin g 1 1 --live; iothreadpin g 1 0-1 --live",
        "setmem g 20M --live; setmem g 24M --live; setmem g 32M --live",
        "domif-setlink g 52:54:00:00:00:01 down; domif-setlink g 52:54:00:00:00:01 up",
        "setvcpus g 2 --live",
    ]
    .map(str::to_owned)
    .to_vec();
    rounds.extend(limits(&daemon));
    kills.measure(&daemon, &rounds[0]);
    for kill in 0..kills.count {
        let line = &rounds[(kill % rounds.len() as u64) as usize];
        let qemu = daemon.qemus()[0];
        let moment = kills.strike(&mut daemon, line).moment;
        let seed = kills.seed;
        let what = format!("after kill {kill} of seed {seed}, {moment} us into {line:?}");
        truth::settled(&daemon, "g", qemu, &[], &what);
        saving::assert_ticks(&daemon, "g");
        let said = saving::serial(&daemon, "g");
        let booted = said.matches(guests::BOOT_SECTOR_LINE).count();
        assert_eq!(booted, 1, "{what}: the guest booted once");
        if line.starts_with("setvcpus") {
            // No boot sector gives a processor back.
            daemon.virsh("destroy g").ok();
            daemon.virsh("start g").ok();
            saving::wait_for_ticks(&daemon, "g");
            continue;
        }
        // What was half done can be done again.
        begin(&daemon, line).wait().expect("virsh ends");
        truth::settled(&daemon, "g", qemu, &[], &format!("done again, {what}"));
        daemon.virsh("iothreaddel g 5 --live");
    }
    assert_eq!(daemon.qemus().len(), 1);
}
