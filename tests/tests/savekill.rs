//! SIGKILL of the daemon at any moment of save, restore and managed save: nothing is lost.
//!
//! After each kill the guest runs on, or its image is there, complete, and takes it up: never
//! neither, and it never boots anew. `SAVE_KILLS=N` changes the number, `KILL_SEED=N` the moments.

use std::fs;
use std::path::Path;

use tests::killing::Kills;
use tests::{Daemon, saving, wait};

fn state(daemon: &Daemon) -> String {
    daemon.virsh("domstate g --reason").ok().trim().to_owned()
}

/// What became of the guest after a kill: brings it back to running, by its image if need be.
fn bring_back(daemon: &Daemon, image: &Path, kill: u64, line: &str) {
    // A daemon that finishes what the one before began needs a moment for it.
    let settled = wait::until("the guest to be settled", || {
        let state = state(daemon);
        let moving = ["paused (saving)", "paused (starting", "in shutdown", "paused (unknown)"];
        (!moving.iter().any(|word| state.starts_with(word))).then_some(state)
    });
    if settled.starts_with("shut off") {
        let managed = daemon.virsh("dominfo g").ok().contains("Managed save:   yes");
        assert!(
            managed || image.exists(),
            "kill {kill} during {line:?} lost the guest: {settled}; log:\n{}",
            daemon.log()
        );
        if managed {
            daemon.virsh("start g").ok();
        } else {
            daemon.virsh(&format!("restore {}", image.display())).ok();
        }
    } else if settled.starts_with("paused (migrating)") {
        daemon.virsh("resume g").ok();
    }
    wait::until("the guest to run", || state(daemon).starts_with("running").then_some(()));
    saving::assert_continued(daemon, "g");
}

#[test]
fn a_kill_at_any_moment_loses_no_guest() {
    let mut kills = Kills::from_env("SAVE_KILLS", 24);
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    saving::ticking(&daemon, "witness");
    saving::ticking(&daemon, "g");
    let folder = daemon.path("saved");
    fs::create_dir_all(&folder).expect("a folder");
    let image = folder.join("image");
    let managed = daemon.path("var/lib/libvirt/qemu/save");
    // From here on the guest's words at boot are gone; were they there again, it booted.
    daemon.virsh("managedsave g").ok();
    daemon.virsh("start g").ok();
    let rounds = [
        format!("save g {0}; restore {0}", image.display()),
        "managedsave g; start g".to_owned(),
        format!("save g {0} --image-format sparse; restore {0}", image.display()),
        format!("save g {0} --image-format gzip; restore {0}", image.display()),
    ];
    kills.measure(&daemon, &rounds[0]);
    for kill in 0..kills.count {
        let line = &rounds[(kill % rounds.len() as u64) as usize];
        let _ = fs::remove_file(&image);
        kills.strike(&mut daemon, line);
        bring_back(&daemon, &image, kill, line);
        wait::until("nothing half-written to be left", || {
            let left = [saving::names_in(&folder), saving::names_in(&managed)].concat();
            left.iter().all(|name| name == "image").then_some(())
        });
        let seed = kills.seed;
        assert_eq!(daemon.qemus().len(), 2, "kill {kill} (seed {seed}) during {line:?}");
    }
    daemon.wait_for_state("witness", "running (booted)");
    saving::assert_ticks(&daemon, "witness");
}
