//! The daemon goes and comes back: by SIGTERM, by SIGKILL; guests stay and are found again.

use tests::{Daemon, domains, guests, python, wait};

/// How much the boot sector has written so far; grows while the guest runs.
fn written(daemon: &Daemon, name: &str) -> u64 {
    std::fs::metadata(domains::serial_file(daemon, name)).map_or(0, |file| file.len())
}

fn assert_ticks(daemon: &Daemon, name: &str) {
    let before = written(daemon, name);
    wait::until(&format!("{name} to go on"), || (written(daemon, name) > before).then_some(()));
}

#[test]
fn guests_run_on_and_are_found_again() {
    let mut daemon = Daemon::start();
    daemon.define(&domains::boot_sector(&daemon, "stays")).ok();
    daemon.define(&domains::minimal("off")).ok();
    daemon.virsh("autostart stays").ok();
    daemon.virsh("start stays").ok();
    wait::until("the guest", || (written(&daemon, "stays") > 20).then_some(()));
    let (id, qemus) = (daemon.virsh("domid stays").ok(), daemon.qemus());
    let (live, stored) =
        (daemon.virsh("dumpxml stays").ok(), daemon.virsh("dumpxml stays --inactive").ok());
    if daemon.is_external() {
        return domains::discard(&daemon, "stays");
    }
    for kill in [false, true] {
        if kill {
            daemon.kill()
        } else {
            daemon.stop()
        };
        assert_ticks(&daemon, "stays");
        daemon.launch();
        assert_eq!(daemon.qemus(), qemus);
        assert_eq!(daemon.virsh("domid stays").ok(), id);
        daemon.wait_for_state("stays", "running (booted)");
        assert_eq!(daemon.virsh("dumpxml stays").ok(), live);
        assert_eq!(daemon.virsh("dumpxml stays --inactive").ok(), stored);
        assert_eq!(daemon.virsh("list --all --name").ok().split_whitespace().count(), 2);
        assert_ticks(&daemon, "stays");
    }
    daemon.virsh("suspend stays").ok();
    daemon.restart();
    daemon.wait_for_state("stays", "paused (user)");
    daemon.virsh("resume stays").ok();
    assert_ticks(&daemon, "stays");
    daemon.virsh("destroy stays").ok();
    wait::until("QEMU's end", || daemon.qemus().is_empty().then_some(()));
}

#[test]
fn a_guest_that_ended_meanwhile_is_shut_off() {
    let mut daemon = Daemon::start();
    daemon.define(&domains::boot_sector(&daemon, "gone")).ok();
    daemon.virsh("start gone").ok();
    if daemon.is_external() {
        return domains::discard(&daemon, "gone");
    }
    daemon.kill();
    for pid in daemon.qemus() {
        tests::processes::signal(pid, rustix::process::Signal::KILL);
    }
    daemon.launch();
    wait::until("shut off", || {
        (daemon.virsh("domstate gone").stdout.trim() == "shut off").then_some(())
    });
    daemon.virsh("start gone").ok();
}

#[test]
fn autostart_starts_on_the_first_start_only() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "auto")).ok();
    daemon.virsh("autostart auto").ok();
    let link = daemon.path("etc/libvirt/qemu/autostart/auto.xml");
    assert!(std::fs::symlink_metadata(&link).expect("libvirt's link").is_symlink());
    daemon.virsh("list --name").ok();
    daemon.stop();
    // As after a boot of the host: the folder of running state is empty.
    std::fs::remove_dir_all(daemon.path("run")).expect("the state folder");
    daemon.launch();
    daemon.wait_for_state("auto", "running (booted)");
    daemon.virsh("destroy auto").ok();
    daemon.restart();
    daemon.wait_for_state("auto", "shut off (unknown)");
}

#[test]
fn a_console_works_after_a_restart() {
    let mut daemon = Daemon::start();
    daemon.define(&domains::linux("talks", guests::linux(), "", "")).ok();
    daemon.virsh("start talks").ok();
    python("console_stream", &[daemon.uri().as_str(), "talks"]).ok();
    if !daemon.is_external() {
        daemon.restart();
        python("console_stream", &[daemon.uri().as_str(), "talks"]).ok();
    }
    // The power button still reaches it, and its end is still seen.
    daemon.virsh("shutdown talks").ok();
    daemon.wait_for_state("talks", "shut off (shutdown)");
    domains::discard(&daemon, "talks");
}

#[test]
fn sockets_and_pid_file_go_with_a_clean_stop() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let names = ["libvirt-sock", "libvirt-sock-ro", "libvirt-admin-sock"];
    for name in names {
        assert!(daemon.path(&format!("run/libvirt/{name}")).exists(), "{name}");
    }
    let modular = daemon.path("run/libvirt/virtqemud-sock");
    assert!(!modular.exists(), "a modular daemon's socket without --modular");
    assert!(daemon.stop().success());
    for name in names {
        assert!(!daemon.path(&format!("run/libvirt/{name}")).exists(), "{name} was left");
    }
}

#[test]
fn clients_are_not_left_hanging_by_a_stop() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let mut idle = tests::wire::open(daemon.socket(), daemon.session());
    assert!(daemon.stop().success());
    assert!(tests::wire::read_frame(&mut idle).is_none(), "the connection is closed");
}

#[test]
fn what_a_guest_does_while_no_daemon_listens_is_made_up_for() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    // Its own end: QEMU waits, stopped, for somebody to end it.
    daemon.define(&domains::linux("ends", guests::linux(), "", "")).ok();
    daemon.virsh("start ends").ok();
    python("console_stream", &[daemon.uri().as_str(), "ends"]).ok();
    daemon.kill();
    // The power button, past the daemon: with one, the guest might be off before it is killed.
    let socket = daemon.path("var/lib/libvirt/qemu/domain-1-ends/monitor.sock");
    let mut monitor = tests::tree::Monitor::connect(&socket);
    let nothing = || serde_json::json!({});
    monitor.ask("system_powerdown", nothing());
    wait::until("the guest to power off", || {
        let status = monitor.ask("query-status", nothing())?;
        (status.get("status")? == "shutdown").then_some(())
    });
    drop(monitor);
    daemon.launch();
    daemon.wait_for_state("ends", "shut off (shutdown)");
}

#[test]
fn a_pending_reboot_survives_the_daemon() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::linux("again", guests::linux(), "", "")).ok();
    daemon.virsh("start again").ok();
    python("console_stream", &[daemon.uri().as_str(), "again"]).ok();
    let qemu = daemon.qemus();
    // The guest, asked to power off, is kept from doing so until the daemon is another one.
    tests::processes::signal(qemu[0], rustix::process::Signal::STOP);
    let uri = daemon.uri();
    let asking = std::thread::spawn(move || {
        tests::tool("virsh", &["-c", uri.as_str(), "reboot", "again", "--mode", "acpi"], "")
    });
    let status = daemon.path("run/libvirt/qemu/again.xml");
    let written = || std::fs::read_to_string(&status).unwrap_or_default().contains("<fakereboot/>");
    wait::until("the reboot to be written down", || written().then_some(()));
    daemon.kill();
    asking.join().expect("virsh ends");
    tests::processes::signal(qemu[0], rustix::process::Signal::CONT);
    daemon.launch();
    // The button may not have been pressed before the daemon was killed.
    let press = r#"{"execute":"system_powerdown"}"#;
    daemon.virsh_words(&["qemu-monitor-command", "again", press]);
    wait::until("the reboot", || {
        let log = std::fs::read_to_string(&status).unwrap_or_default();
        (!log.contains("<fakereboot/>")).then_some(())
    });
    daemon.wait_for_state("again", "running (unpaused)");
    assert_eq!(daemon.qemus(), qemu, "the same QEMU");
    domains::discard(&daemon, "again");
}

#[test]
fn control_groups_of_a_partition_go_with_the_guest() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let partition = format!("ivtest{}", std::process::id());
    let resource = format!("<resource><partition>/{partition}</partition></resource><features>");
    let xml = domains::boot_sector(&daemon, "grouped").replace("<features>", &resource);
    daemon.define(&xml).ok();
    daemon.virsh("start grouped").ok();
    let groups = || -> Vec<std::path::PathBuf> {
        let mounts = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let at = |mount: std::path::PathBuf| mount.join(format!("{partition}.partition"));
        mounts.map(|mount| at(mount.path())).chain([at("/sys/fs/cgroup".into())]).collect()
    };
    let guests = || {
        let inside = groups().into_iter().filter_map(|group| std::fs::read_dir(group).ok());
        let named = |name: &str| name.ends_with("-grouped.libvirt-qemu");
        inside.flatten().flatten().filter(|e| named(&e.file_name().to_string_lossy())).count()
    };
    let made = guests();
    // Also by a daemon that did not make them.
    daemon.restart();
    daemon.virsh("destroy grouped").ok();
    assert_eq!(guests(), 0, "of {made}");
    assert!(!tests::paths::is_root() || made > 0 || groups().iter().all(|g| !g.exists()));
    for group in groups() {
        let _ = std::fs::remove_dir(group);
    }
}
