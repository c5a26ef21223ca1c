//! Helpers beside QEMU: one that ends too early is told of, and none outlives its guest.

use std::path::Path;

use rustix::process::Signal;
use tests::{Daemon, domains, processes, wait};

/// A guest with a network of passt's and, where there is one, an emulated TPM.
fn guest(daemon: &Daemon, name: &str) -> String {
    let tpm = match Path::new("/usr/bin/swtpm_setup").exists() && tests::paths::is_root() {
        true => "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>",
        false => "",
    };
    let nic = "<interface type='user'><backend type='passt'/><model type='virtio'/></interface>";
    domains::boot_sector(daemon, name).replacen("<devices>", &format!("<devices>{nic}{tpm}"), 1)
}

/// The processes of guests: those that a path below the daemon's folder was handed to.
fn of_guests(daemon: &Daemon, program: &str) -> Vec<i32> {
    processes::naming(daemon.root())
        .into_iter()
        .filter(|&pid| {
            processes::command_line(pid).first().is_some_and(|word| word.contains(program))
        })
        .collect()
}

/// Files that guests have while they run.
fn files(daemon: &Daemon) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "/passt", "/swtpm", "/slirp"] {
        let folder = daemon.path(&format!("run/libvirt/qemu{folder}"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter(|entry| entry.path().is_file() || is_socket(&entry.path()));
        found.extend(names.map(|entry| entry.path().display().to_string()));
    }
    found.retain(|name| !name.ends_with("/driver.pid") && !name.ends_with("/autostarted"));
    found
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

#[test]
fn a_helper_that_ends_before_its_guest_is_told_of() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&guest(&daemon, "alone")).ok();
    let fine = daemon.ironvirt("why alone").ok();
    assert!(!fine.contains("cannot start"), "{fine}");
    daemon.virsh("start alone").ok();
    let why = |daemon: &Daemon| daemon.ironvirt("why alone").ok();
    assert!(!why(&daemon).contains("helper"), "{}", why(&daemon));
    let passt = of_guests(&daemon, "passt");
    assert_eq!(passt.len(), 1);
    processes::signal(passt[0], Signal::KILL);
    let told = wait::until("word of the helper", || {
        Some(why(&daemon)).filter(|told| told.contains("its helper 'passt"))
    });
    assert!(told.contains(&format!("(process {})", passt[0])), "{told}");
    let log = daemon.path("var/log/libvirt/qemu/alone.log");
    let log = std::fs::read_to_string(log).expect("the guest's log");
    assert!(log.contains("ended before the guest"), "{log}");
    // Also of one that ended while no daemon ran.
    daemon.kill();
    daemon.launch();
    wait::until("word of the helper again", || why(&daemon).contains("its helper").then_some(()));
    domains::discard(&daemon, "alone");
}

#[test]
fn nothing_is_left_of_guests_that_came_and_went() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let names = ["one", "two", "three", "four"];
    for name in names {
        daemon.define(&guest(&daemon, name)).ok();
    }
    for round in 0..3 {
        for name in names {
            daemon.virsh_words(&["start", name]).ok();
        }
        assert_eq!(of_guests(&daemon, "passt").len(), names.len(), "in round {round}");
        match round {
            // All as it should be.
            0 => {}
            // The daemon is killed in between.
            1 => {
                daemon.kill();
                daemon.launch();
            }
            // The guests are.
            _ => {
                for pid in daemon.qemus() {
                    processes::signal(pid, Signal::KILL);
                }
            }
        }
        for name in names {
            // Killed ones are off already.
            daemon.virsh_words(&["destroy", name]);
            wait::until(&format!("{name} to be off"), || {
                let state = daemon.virsh_words(&["domstate", name]).stdout;
                (state.trim() == "shut off").then_some(())
            });
        }
        for program in ["qemu-system", "passt", "swtpm"] {
            wait::until(&format!("the end of every {program} (round {round})"), || {
                of_guests(&daemon, program).is_empty().then_some(())
            });
        }
        let left = || Some(files(&daemon)).filter(|left| !left.is_empty());
        wait::until(&format!("files to go: {:?}", files(&daemon)), || {
            left().is_none().then_some(())
        });
    }
}
