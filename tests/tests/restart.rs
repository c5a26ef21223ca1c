//! The daemon goes and comes back: by SIGTERM, by SIGKILL; guests stay and are found again.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{Daemon, domains, groups, guests, plugging, processes, python, wait};

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
    daemon.wait_for_state("again", "running (booted)");
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
        let named = |name: &str| name.starts_with("qemu-1-grouped.");
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

/// Two daemons with roots of their own number their guests alike, and may call them alike.
#[test]
fn guests_of_two_roots_have_groups_of_their_own() {
    let daemons = [Daemon::start(), Daemon::start()];
    if daemons[0].is_external() || daemons[0].session() {
        return;
    }
    for daemon in &daemons {
        daemon.define(&domains::boot_sector(daemon, "alike")).ok();
        daemon.virsh("start alike").ok();
    }
    let [one, two] = daemons.each_ref().map(|daemon| daemon.qemus()[0]);
    let Some(held) = groups::read(one, "cpu", "", "cpu.shares") else {
        eprintln!("skipped: no cpu controller of version 1");
        return;
    };
    assert_eq!(held, "1024");
    daemons[1].virsh("schedinfo alike --live cpu_shares=300").ok();
    assert_eq!(groups::read(one, "cpu", "", "cpu.shares").as_deref(), Some("1024"));
    assert_eq!(groups::read(two, "cpu", "", "cpu.shares").as_deref(), Some("300"));
    daemons[1].virsh("destroy alike").ok();
    assert!(groups::guests(daemons[1].root()).is_empty());
    assert_eq!(groups::guests(daemons[0].root()), ["1-alike".to_owned()].into());
    daemons[0].virsh("schedinfo alike --live cpu_shares=400").ok();
    assert_eq!(groups::read(one, "cpu", "", "cpu.shares").as_deref(), Some("400"));
}

/// Somebody else's processes are in the group that a guest would have.
#[test]
fn a_group_that_others_are_in_is_left_to_them() {
    let mut daemon = Daemon::start();
    if daemon.is_external() || daemon.session() {
        return;
    }
    let xml = domains::boot_sector(&daemon, "late");
    let limited = "<cputune><shares>500</shares></cputune><os>";
    daemon.define(&xml.replacen("<os>", limited, 1)).ok();
    daemon.virsh("start late").ok();
    let Some(first) = groups::file(daemon.qemus()[0], "cpu", "", "cpu.shares") else { return };
    if !first.exists() {
        eprintln!("skipped: no cpu controller of version 1");
        return;
    }
    daemon.virsh("destroy late").ok();
    // The next one is number 2.
    let group = first.parent().unwrap().to_string_lossy().replace("/qemu-1-", "/qemu-2-");
    let group = Path::new(&group);
    fs::create_dir_all(group.join("inner")).expect("a group of our own");
    let mut other = Command::new("sleep").arg("300").spawn().expect("a process");
    fs::write(group.join("cgroup.procs"), other.id().to_string()).expect("it moves");
    fs::write(group.join("cpu.shares"), "77").expect("its own limit");

    daemon.virsh("start late").ok();
    let own = || groups::read(daemon.qemus()[0], "cpu", "", "cpu.shares");
    assert_eq!(own().as_deref(), Some("500"));
    let held = || fs::read_to_string(group.join("cpu.shares")).unwrap_or_default();
    assert_eq!(held(), "77\n");
    daemon.virsh("schedinfo late --live cpu_shares=600").ok();
    assert_eq!(own().as_deref(), Some("600"));
    assert_eq!(held(), "77\n");
    // The daemon that comes next finds the right one, and takes it away in the end.
    daemon.restart();
    assert!(daemon.virsh("schedinfo late").ok().contains("cpu_shares     : 600"));
    daemon.virsh("destroy late").ok();
    let left = groups::of(daemon.root());
    assert!(left.iter().all(|left| left == group), "{left:?}");
    assert!(group.join("inner").exists(), "it was emptied");
    assert_eq!(
        fs::read_to_string(group.join("cgroup.procs")).unwrap().trim(),
        other.id().to_string()
    );
    let _ = other.kill();
    let _ = other.wait();
}

/// A status file that lies or is lost: the guest is found by what else is known of it, or at least no
/// second QEMU gets its disks.
#[test]
fn a_guest_whose_status_file_is_wrong_is_not_lost() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "kept")).ok();
    daemon.virsh("start kept").ok();
    let qemus = daemon.qemus();
    let definition = daemon.virsh("dumpxml kept --inactive").ok();
    let status = daemon.path("run/libvirt/qemu/kept.xml");
    let truth = fs::read_to_string(&status).expect("a status file");

    daemon.kill();
    let lie = truth.replace(&format!("pid='{}'", qemus[0]), "pid='1'");
    assert_ne!(lie, truth);
    fs::write(&status, lie).expect("it can be written");
    daemon.launch();
    daemon.wait_for_state("kept", "running (booted)");
    assert_eq!(daemon.qemus(), qemus);
    let written = fs::read_to_string(&status).expect("a status file");
    assert!(written.contains(&format!("pid='{}'", qemus[0])), "{written}");

    for damage in [Some(&truth[..truth.len() / 2]), None] {
        daemon.kill();
        match damage {
            Some(half) => fs::write(&status, half).expect("it can be written"),
            None => fs::remove_file(&status).expect("it can be removed"),
        }
        daemon.launch();
        daemon.wait_for_state("kept", "shut off (unknown)");
        let words = [
            &*format!(
                "domain 'kept' runs already, out of control: its QEMU is process {}",
                qemus[0]
            ),
            status.to_str().expect("a plain path"),
        ];
        daemon.virsh("start kept").fails_with(&words);
        daemon.virsh_with_file("create", &definition).fails_with(&words);
        let why = daemon.ironvirt("why kept");
        assert!(why.stdout.contains(words[0]), "{why}");
        assert_eq!(daemon.qemus(), qemus);

        daemon.kill();
        fs::write(&status, &truth).expect("it can be written");
        daemon.launch();
        daemon.wait_for_state("kept", "running (booted)");
        assert_ticks(&daemon, "kept");
    }
    daemon.virsh("destroy kept").ok();
    wait::until("QEMU's end", || daemon.qemus().is_empty().then_some(()));
    daemon.virsh("start kept").ok();
    daemon.virsh("destroy kept").ok();
    daemon.assert_well();
}

/// What was lent to a guest is given back also when its QEMU ended while nothing told of it; a guest
/// whose status file has no pid is not taken for one that ended; nor can one that runs be renamed.
#[test]
fn a_guest_that_ends_out_of_control_leaves_nothing() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "kept")).ok();
    let image = daemon.path("images/kept.img");
    let status = daemon.path("run/libvirt/qemu/kept.xml");
    for lost in [true, false] {
        daemon.virsh("start kept").ok();
        let qemus = daemon.qemus();
        daemon.kill();
        if lost {
            fs::remove_file(&status).expect("it can be removed");
        } else {
            fs::write(&status, "<domst").expect("it can be written");
        }
        daemon.launch();
        let words = "domain 'kept' runs already, out of control";
        daemon.virsh("domrename kept other").fails_with(&[words]);
        processes::signal(qemus[0], rustix::process::Signal::TERM);
        wait::until("QEMU's end", || daemon.qemus().is_empty().then_some(()));
        daemon.virsh("start kept").ok();
        daemon.virsh("destroy kept").ok();
        assert!(plugging::is_mine(&image), "the image stays with QEMU's user");
        let folders = fs::read_dir(daemon.path("var/lib/libvirt/qemu")).expect("a folder");
        let mut names = folders.flatten().map(|entry| entry.file_name());
        assert_eq!(names.find(|name| name.to_string_lossy().starts_with("domain-")), None);
    }
    daemon.virsh("start kept").ok();
    let qemus = daemon.qemus();
    daemon.kill();
    let truth = fs::read_to_string(&status).expect("a status file");
    let lie = truth.replace(&format!("pid='{}'", qemus[0]), "pid='0'");
    fs::write(&status, lie).expect("it can be written");
    daemon.launch();
    daemon.wait_for_state("kept", "running (booted)");
    assert_eq!(daemon.qemus(), qemus);
    daemon.virsh("destroy kept").ok();
    assert!(plugging::is_mine(&image), "the image stays with QEMU's user");
    daemon.assert_well();
}

/// A status file whose process is gone and whose number another daemon's guest of that name has.
#[test]
fn a_guest_of_another_daemon_is_not_taken_for_ours() {
    let (mut daemon, other) = (Daemon::start(), Daemon::start());
    if daemon.is_external() {
        return;
    }
    for each in [&daemon, &other] {
        each.virsh_with_file("create", &domains::boot_sector(each, "twin")).ok();
    }
    let (ours, theirs) = (daemon.qemus()[0], other.qemus()[0]);
    daemon.kill();
    let status = daemon.path("run/libvirt/qemu/twin.xml");
    let text = fs::read_to_string(&status).expect("a status file");
    let pid = |number: i32| format!("pid='{number}'");
    fs::write(&status, text.replace(&pid(ours), &pid(theirs))).expect("it can be written");
    let end = rustix::process::Pid::from_raw(ours).expect("a number");
    rustix::process::kill_process(end, rustix::process::Signal::KILL).expect("our own");
    wait::until("its end", || daemon.qemus().is_empty().then_some(()));
    daemon.launch();
    assert!(!daemon.virsh("list --name").ok().contains("twin"));
    assert_eq!(other.qemus(), [theirs]);
    other.virsh("destroy twin").ok();
    daemon.assert_well();
}
