//! QEMU dies or stops at any moment of a start, a restore, a start from a managed save: the call ends
//! in words, no saved state is lost, and nothing is left of what was made for the guest.
//!
//! `START_KILLS=N` changes the number, `KILL_SEED=N` the moments.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::killing::Kills;
use tests::plugging::{call, is_mine};
use tests::{Daemon, Outcome, domains, groups, processes, saving, wait};

/// How a guest comes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Boot,
    Managed,
    Restore,
}

const WAYS: [Way; 3] = [Way::Boot, Way::Managed, Way::Restore];

struct Scene {
    daemon: Daemon,
    /// Where the guest is saved for [`Way::Restore`].
    image: String,
}

impl Scene {
    fn new() -> Option<Scene> {
        let daemon = Daemon::start();
        if daemon.is_external() {
            return None;
        }
        std::fs::create_dir_all(daemon.path("saved")).expect("a folder");
        let image = daemon.path("saved/image").display().to_string();
        daemon.define(&domains::boot_sector(&daemon, "g")).ok();
        Some(Scene { daemon, image })
    }

    fn managed(&self) -> bool {
        self.daemon.virsh("dominfo g").ok().contains("Managed save:   yes")
    }

    /// Has all ready, with the guest shut off, and returns what virsh is to do.
    fn prepare(&self, way: Way) -> String {
        if way != Way::Managed && self.managed() {
            self.daemon.virsh("managedsave-remove g").ok();
        }
        match way {
            Way::Boot => return "start g".to_owned(),
            Way::Managed if self.managed() => return "start g".to_owned(),
            Way::Restore if std::path::Path::new(&self.image).exists() => {}
            _ => {
                self.daemon.virsh("start g").ok();
                // Twice: of what it said at its boot nothing is in the file then.
                saving::wait_for_ticks(&self.daemon, "g");
                self.daemon.virsh("managedsave g").ok();
                if way == Way::Restore {
                    self.daemon.virsh("start g").ok();
                    saving::assert_ticks(&self.daemon, "g");
                    self.daemon.virsh(&format!("save g {}", self.image)).ok();
                }
            }
        }
        match way {
            Way::Restore => format!("restore {}", self.image),
            _ => "start g".to_owned(),
        }
    }

    /// Sends QEMU a signal, this long after it came; the call, which may be over.
    fn strike(&self, line: &str, after: Duration, signal: Signal) -> Child {
        let mut client = call(&self.daemon, line);
        let qemu = wait::until("QEMU", || {
            let over = client.try_wait().expect("a child").is_some();
            let qemu = self.daemon.qemus().first().copied();
            assert!(qemu.is_some() || !over, "{line}: over without QEMU");
            qemu
        });
        std::thread::sleep(after);
        processes::signal(qemu, signal);
        client
    }

    /// Waits until nothing is left of a guest that ended.
    #[track_caller]
    fn nothing_left(&self, what: &str) {
        let daemon = &self.daemon;
        let mut seen = String::new();
        let clean = wait::until_some(wait::PATIENCE, || {
            let state = daemon.virsh("domstate g --reason").ok();
            let mut left = saving::names_in(&daemon.path("run/libvirt/qemu"));
            left.retain(|name| name.starts_with("g."));
            let lib = saving::names_in(&daemon.path("var/lib/libvirt/qemu"));
            left.extend(lib.into_iter().filter(|name| name.starts_with("domain-")));
            left.extend(groups::guests(daemon.root()));
            let qemus = daemon.qemus();
            let mine = is_mine(&daemon.path("images/g.img"));
            seen = format!("{} {left:?} {qemus:?} {mine}", state.trim());
            let clean = state.starts_with("shut off") && left.is_empty();
            (clean && qemus.is_empty() && mine).then_some(())
        });
        assert!(clean.is_some(), "{what}: left {seen}\n{}", daemon.log());
    }
}

#[track_caller]
fn ended(mut client: Child, line: &str) -> Outcome {
    wait::until(&format!("an answer to {line:?}"), || client.try_wait().expect("a child"));
    let output = client.wait_with_output().expect("a child");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().unwrap_or(-1);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Outcome { command: line.to_owned(), status, stdout, stderr }
}

/// How long a start takes from QEMU's coming that nobody disturbs.
fn measure(scene: &Scene) -> Duration {
    let client = scene.strike("start g", Duration::ZERO, Signal::CONT);
    let begun = Instant::now();
    ended(client, "start g").ok();
    scene.daemon.virsh("destroy g").ok();
    begun.elapsed()
}

#[test]
fn qemu_dies_at_any_moment_of_a_start() {
    let Some(scene) = Scene::new() else { return };
    let daemon = &scene.daemon;
    let mut kills = Kills::from_env("START_KILLS", 12);
    let whole = measure(&scene).as_micros() as usize * 12 / 10;
    for kill in 0..kills.count {
        let way = WAYS[kill as usize % WAYS.len()];
        let line = scene.prepare(way);
        let moment = kills.random.below(whole) as u64;
        let client = scene.strike(&line, Duration::from_micros(moment), Signal::KILL);
        let outcome = ended(client, &line);
        let what = format!("kill {kill} of seed {}, {moment} us, {way:?}: {outcome}", kills.seed);
        scene.nothing_left(&what);
        if outcome.status == 0 {
            // It ran, and then it died.
            let state = daemon.virsh("domstate g --reason").ok();
            assert!(state.contains("(crashed)"), "{what}: {state}");
            assert!(!scene.managed(), "{what}: it ran on from there");
            continue;
        }
        eprintln!("{what}");
        let words = ["QEMU", "process exited", "domain is no longer running"];
        assert!(words.iter().any(|word| outcome.stderr.contains(word)), "{what}");
        // What was saved is there still, and good.
        if way == Way::Boot {
            continue;
        }
        assert!(way != Way::Managed || scene.managed(), "{what}: the saved state is lost");
        daemon.virsh(&line).ok();
        saving::assert_continued(daemon, "g");
        daemon.virsh("destroy g").ok();
    }
    daemon.virsh("start g").ok();
    daemon.virsh("destroy g").ok();
}

#[test]
fn a_qemu_that_stops_in_its_start_goes_on_or_is_destroyed() {
    let Some(scene) = Scene::new() else { return };
    let daemon = &scene.daemon;
    let mut kills = Kills::from_env("START_KILLS", 6);
    let whole = measure(&scene).as_micros() as usize;
    for kill in 0..kills.count {
        let way = WAYS[kill as usize % WAYS.len()];
        let line = scene.prepare(way);
        let moment = kills.random.below(whole) as u64;
        let client = scene.strike(&line, Duration::from_micros(moment), Signal::STOP);
        let what = format!("stop {kill} of seed {}, {moment} us, {way:?}", kills.seed);
        // Who reads is answered.
        for line in ["list --all", "dominfo g", "domstate g --reason", "dumpxml g"] {
            daemon.virsh(line).ok();
        }
        if kills.random.below(2) == 0 {
            let qemu = daemon.qemus()[0];
            processes::signal(qemu, Signal::CONT);
            let outcome = ended(client, &line);
            assert_eq!(outcome.status, 0, "{what}: {outcome}");
            saving::assert_ticks(daemon, "g");
            daemon.virsh("destroy g").ok();
            scene.nothing_left(&what);
            continue;
        }
        daemon.virsh("destroy g").ok();
        let outcome = ended(client, &line);
        scene.nothing_left(&format!("{what}: {outcome}"));
        if outcome.status != 0 && way != Way::Boot {
            assert!(way != Way::Managed || scene.managed(), "{what}: the saved state is lost");
            daemon.virsh(&line).ok();
            saving::assert_continued(daemon, "g");
            daemon.virsh("destroy g").ok();
        }
    }
}
