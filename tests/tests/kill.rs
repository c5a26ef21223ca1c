//! SIGKILL at any moment of define, start, suspend and destroy, at least 200 times.
//!
//! No definition that was acknowledged is lost, no QEMU is left that the daemon does not know, and a
//! guest that has nothing to do with it never notices.
//!
//! `KILLS=N` changes the number, `KILL_SEED=N` the moments.

use std::path::Path;
use std::time::{Duration, Instant};

use tests::killing::Kills;
use tests::{Daemon, domains, groups, plugging, processes, truth, wait};

/// The commands of one round, as one virsh call; it prints a line for each that was acknowledged.
fn round(name: &str, xml: &str) -> String {
    format!("define {xml}; start {name}; suspend {name}; resume {name}; destroy {name}")
}

/// Domains by name as virsh lists them with these words.
fn listed(daemon: &Daemon, words: &str) -> Vec<String> {
    let text = daemon.virsh(&format!("list --name {words}")).ok();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Panics unless the daemon's active domains are exactly the QEMUs that run.
fn assert_no_orphans(daemon: &Daemon, kills: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut active = listed(daemon, "");
        let mut running: Vec<String> = daemon.qemus().into_iter().map(guest_name).collect();
        active.sort();
        running.sort();
        if active == running {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "after kill {kills}: the daemon knows {active:?}, QEMU runs {running:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What control groups limit, where this host has them.
fn limits(daemon: &Daemon) -> &'static str {
    if daemon.session() || !Path::new("/sys/fs/cgroup/cpu/cpu.shares").exists() {
        return "";
    }
    "<memtune><soft_limit unit='MiB'>500</soft_limit></memtune>\
     <cputune><shares>1536</shares><period>50000</period><quota>40000</quota>\
     <global_period>100000</global_period><global_quota>200000</global_quota>\
     <emulator_period>20000</emulator_period><emulator_quota>19000</emulator_quota></cputune>"
}

/// Panics unless the guests that run have control groups and no others have, and the kernel holds
/// their limits.
fn assert_limited(daemon: &Daemon, what: &str) {
    if limits(daemon).is_empty() {
        return;
    }
    let mut seen = Vec::new();
    let found = wait::until_some(wait::PATIENCE, || {
        let qemus = daemon.qemus();
        let names: Vec<_> = qemus.iter().map(|&pid| guest_name(pid)).collect();
        let groups = groups::guests(daemon.root());
        let mut named: Vec<_> =
            groups.iter().filter_map(|group| Some(group.split_once('-')?.1)).collect();
        named.sort_unstable();
        let mut expected: Vec<_> = names.iter().map(String::as_str).collect();
        expected.sort_unstable();
        seen = qemus
            .iter()
            .zip(&names)
            .flat_map(|(&pid, name)| truth::limits(daemon, name, pid))
            .collect();
        if named != expected {
            seen.push(format!("groups {groups:?}, guests {expected:?}"));
        }
        seen.is_empty().then_some(())
    });
    assert!(found.is_some(), "{what}: {}\n{}", seen.join("\n"), daemon.log());
}

/// Panics unless the disks of guests that do not run are their owner's again.
fn assert_given_back(daemon: &Daemon, names: &[&str], what: &str) {
    let seen = wait::until_some(wait::PATIENCE, || {
        let running: Vec<_> = daemon.qemus().into_iter().map(guest_name).collect();
        let mut idle = names.iter().filter(|name| !running.iter().any(|there| there == *name));
        idle.all(|name| plugging::is_mine(&daemon.path(&format!("images/{name}.img"))))
            .then_some(())
    });
    assert!(seen.is_some(), "{what}: a disk is still QEMU's\n{}", daemon.log());
}

/// The name in QEMU's `-name guest=NAME,…`.
fn guest_name(pid: i32) -> String {
    let words = processes::command_line(pid);
    let name = words.iter().find_map(|word| word.strip_prefix("guest="));
    name.and_then(|rest| rest.split(',').next()).unwrap_or("(unnamed)").to_owned()
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let mut kills = Kills::from_env("KILLS", 200);
    let seed = kills.seed;
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "witness")).ok();
    daemon.virsh("start witness").ok();
    let witness = daemon.qemus();
    assert_eq!(witness.len(), 1);
    let written = |daemon: &Daemon| {
        std::fs::metadata(domains::serial_file(daemon, "witness")).map_or(0, |file| file.len())
    };

    // Two guests take turns, so that one is often left running by the round before.
    let names = ["odd", "even"];
    let files = names.map(|name| {
        let tuned = format!("{}<os>", limits(&daemon));
        let xml = domains::boot_sector(&daemon, name).replacen("<os>", &tuned, 1);
        daemon.write(&format!("{name}.xml"), xml).to_string_lossy().into_owned()
    });
    let said = kills.measure(&daemon, &round(names[0], &files[0]));
    assert!(said.contains("Domain 'odd' destroyed"), "an undisturbed round:\n{said}");

    let mut acknowledged = vec!["witness".to_owned(), "odd".to_owned()];
    for kill in 0..kills.count {
        let turn = (kill % 2) as usize;
        let said = kills.strike(&mut daemon, &round(names[turn], &files[turn])).said;
        if said.contains(&format!("'{}' defined", names[turn])) {
            acknowledged.push(names[turn].to_owned());
        }
        let known = listed(&daemon, "--all");
        for name in &acknowledged {
            assert!(known.contains(name), "kill {kill} (seed {seed}) lost {name}; {known:?}");
        }
        assert_no_orphans(&daemon, kill);
        let what = format!("after kill {kill} (seed {seed})");
        assert_limited(&daemon, &what);
        assert_given_back(&daemon, &names, &what);
        assert!(witness.iter().all(|&pid| processes::is_running(pid)), "kill {kill}: the witness");
        // What the next round does with a guest in any state must work too.
        if kills.random.below(3) == 0 && listed(&daemon, "").iter().any(|name| name == names[turn])
        {
            daemon.virsh_words(&["destroy", names[turn]]).ok();
        }
    }
    let before = written(&daemon);
    wait::until("the witness to go on", || (written(&daemon) > before).then_some(()));
    daemon.wait_for_state("witness", "running (booted)");
    // Nothing half-written is left beside the definitions.
    let left: Vec<_> = std::fs::read_dir(daemon.path("etc/libvirt/qemu"))
        .expect("the folder of definitions")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            !name.ends_with(".xml") && !["autostart", "networks"].contains(&name.as_str())
        })
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
