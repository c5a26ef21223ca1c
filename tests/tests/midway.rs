//! QEMU dies, stops or talks nonsense at each command that it is given while something is done to
//! its guest: the call ends in words, nothing is lost, all who know of the guest know the same.
//!
//! `STEPS=1` takes each step; the default takes some of them, by `STEP_SEED`.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;
use tests::between::{Between, Harm, When};
use tests::mutate::Random;
use tests::plugging::{call, from_env, is_mine, usb_disk};
use tests::{Daemon, Outcome, processes, saving, truth, wait};

/// Something done to a guest, what has to be done before, and what takes it back.
struct Act {
    before: String,
    line: String,
    after: String,
}

impl Act {
    /// The guest is another one afterwards: the act goes again with one that was just started.
    fn leaves_its_mark(&self) -> bool {
        self.line.starts_with("save") || self.line.starts_with("setvcpus")
    }
}

/// What a test is about: a daemon, images that guests get, and all that is done.
struct Scene {
    daemon: Daemon,
    image: PathBuf,
    iso: PathBuf,
    saved: PathBuf,
}

impl Scene {
    fn new() -> Option<Scene> {
        let daemon = Daemon::start();
        if daemon.is_external() {
            return None;
        }
        let image = daemon.path("images/usb.img");
        let iso = daemon.path("images/one.iso");
        let saved = daemon.path("saved");
        Some(Scene { daemon, image, iso, saved })
    }

    /// What can be done to a guest of this name, which has images of its own where `own` is set.
    fn acts(&mut self, name: &str, own: bool) -> Vec<Act> {
        let stem = if own { format!("{name}-") } else { String::new() };
        let (image, disk) = usb_disk(&self.daemon, &format!("{stem}usb.img"));
        let iso = self.daemon.write(&format!("images/{stem}one.iso"), vec![0; 1 << 16]);
        let (saved, disk) = (self.saved.display().to_string() + &stem, disk.display());
        let act = |before: &str, line: &str, after: &str| {
            let put = |text: &str| {
                text.replace("$g", name)
                    .replace("$disk", &disk.to_string())
                    .replace("$iso", &iso.display().to_string())
                    .replace("$saved", &saved)
            };
            Act { before: put(before), line: put(line), after: put(after) }
        };
        let acts = vec![
            act("", "attach-device $g $disk --live", "detach-device $g $disk --live"),
            act("attach-device $g $disk --live", "detach-device $g $disk --live", ""),
            act(
                "",
                "domif-setlink $g 52:54:00:00:00:01 down",
                "domif-setlink $g 52:54:00:00:00:01 up",
            ),
            act(
                "",
                "change-media $g hdc $iso --insert --live",
                "change-media $g hdc --eject --live",
            ),
            act(
                "change-media $g hdc $iso --insert --live",
                "change-media $g hdc --eject --live",
                "",
            ),
            act(
                "",
                "blkdeviotune $g hda --total-bytes-sec 1000000 --live",
                "blkdeviotune $g hda --total-bytes-sec 0 --live",
            ),
            act("", "iothreadadd $g 5 --live", "iothreaddel $g 5 --live"),
            act("iothreadadd $g 5 --live", "iothreaddel $g 5 --live", ""),
            act("", "domstats $g", ""),
            act("", "dump $g $saved.core --live", ""),
            act("", "dump $g $saved.core --live --memory-only", ""),
            act("", "save $g $saved.image", "restore $saved.image"),
            act("", "setvcpus $g 2 --live", ""),
        ];
        (self.image, self.iso) = (image, iso);
        acts
    }

    fn images(&self) -> [&Path; 2] {
        [&self.image, &self.iso]
    }

    /// How many commands an act takes of the guest `g`, by doing it once and taking it back.
    fn rehearse(&self, between: &Between, act: &Act) -> usize {
        self.daemon.virsh(&act.before);
        let most = steps(&self.daemon, between, act);
        self.daemon.virsh(&act.after);
        most
    }

    /// Has all ready for an act with the guest `g`, which is started anew where `fresh` is set.
    fn prepare(&mut self, act: &Act, fresh: bool, between: &mut Between) {
        if fresh {
            self.daemon.virsh("destroy g");
            self.daemon.virsh("start g").ok();
            *between = Between::step_in(&mut self.daemon, "g");
        }
        if !act.before.is_empty() {
            self.daemon.virsh(&act.before).ok();
        }
    }
}

/// How a call ended, which it has to.
#[track_caller]
fn ended(mut child: Child, line: &str, limit: Duration) -> Outcome {
    wait::until_within(limit, &format!("an answer to {line:?}"), || {
        child.try_wait().expect("a child")
    });
    let output = child.wait_with_output().expect("a child");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let status = output.status.code().unwrap_or(-1);
    assert!(status == 0 || stderr.contains("error: "), "{line:?} failed without a word");
    Outcome { command: line.to_owned(), status, stdout, stderr }
}

/// Which steps of the many are taken.
struct Choice {
    all: bool,
    random: Random,
    of: usize,
}

impl Choice {
    fn new(of: usize) -> Choice {
        let all = from_env("STEPS", 0) == 1;
        Choice { all, random: Random::new(from_env("STEP_SEED", 1)), of }
    }

    fn takes(&mut self) -> bool {
        // Asked in any case: the others are the same then.
        self.random.below(self.of) == 0 || self.all
    }
}

/// The most commands that anything takes.
const MOST: usize = 40;

/// Does something. A guest has five seconds to let a device go, then the call ends and the device goes
/// when it goes: QEMU on a busy machine tells late that it has (the clearing up of its lists waits for
/// all of its threads).
#[track_caller]
fn done(daemon: &Daemon, line: &str) {
    daemon.virsh(line).ok();
    let mut words = line.split_whitespace();
    if words.next() == Some("detach-device") {
        let name = words.next().expect("a guest");
        wait::until(&format!("the end of {line:?}"), || {
            let told = daemon.virsh_words(&["dumpxml", name]).ok();
            (!told.contains("<target dev='sdb' bus='usb'/>")).then_some(())
        });
    }
}

/// How many commands an act takes, by doing it.
fn steps(daemon: &Daemon, between: &Between, act: &Act) -> usize {
    between.arm(usize::MAX, When::Before, Harm::Kill);
    done(daemon, &act.line);
    let heard = between.disarm();
    assert!(heard.len() < MOST, "{:?} takes {heard:?}", act.line);
    heard.len()
}

#[test]
fn qemu_dies_at_each_step() {
    let Some(mut scene) = Scene::new() else { return };
    let acts = scene.acts("g", false);
    let mut choice = Choice::new(14);
    truth::start(&scene.daemon, "g");
    for act in &acts {
        let mut between = Between::step_in(&mut scene.daemon, "g");
        let most = scene.rehearse(&between, act);
        // The count may differ by what the guest has or not.
        let mut fresh = act.leaves_its_mark();
        for step in 0..most {
            for when in [When::Before, When::After] {
                if !choice.takes() {
                    continue;
                }
                scene.prepare(act, std::mem::take(&mut fresh), &mut between);
                between.arm(step, when, Harm::Kill);
                let client = call(&scene.daemon, &act.line);
                let outcome = ended(client, &act.line, wait::PATIENCE);
                let what = format!("QEMU died at step {step} ({when:?}) of {:?}", act.line);
                fresh = true;
                if !between.is_done() {
                    // It went another way this time.
                    between.disarm();
                    continue;
                }
                let daemon = &scene.daemon;
                wait::until(&format!("the end of the guest: {what}"), || {
                    daemon.virsh("domstate g").stdout.starts_with("shut off").then_some(())
                });
                let reason = daemon.virsh("domstate g --reason").ok();
                // A save that was complete is one.
                let saved = outcome.status == 0 && act.line.starts_with("save");
                let expected = if saved { "(saved)" } else { "(crashed)" };
                assert!(reason.contains(expected), "{what}: {reason} {outcome}");
                assert!(!saved || scene.saved.with_extension("image").exists(), "{what}");
                wait::until(&format!("the images to be given back: {what}"), || {
                    scene.images().iter().all(|image| is_mine(image)).then_some(())
                });
                assert!(daemon.qemus().is_empty(), "{what}");
                let left = saving::names_in(&daemon.path("run/libvirt/qemu"));
                let left: Vec<_> = left.iter().filter(|name| name.starts_with("g.")).collect();
                assert!(left.is_empty(), "{what} left {left:?}");
                assert!(!daemon.virsh("dumpxml g").ok().contains("usb.img"), "{what}");
            }
        }
        if fresh || !act.after.is_empty() || !act.before.is_empty() {
            scene.daemon.virsh("destroy g");
            scene.daemon.virsh("start g").ok();
        }
    }
    scene.daemon.assert_well();
}

/// What no QEMU says.
const NONSENSE: [&[u8]; 5] = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"{\"return\": {\r\n",
    b"[1, 2, 3]\r\n",
    b"\xff\xfe\x00\x01\r\n",
    b"{\"error\": {\"class\": 5}, \"id\": {}}\r\n",
];

#[test]
fn qemu_talks_nonsense_at_each_step() {
    let Some(mut scene) = Scene::new() else { return };
    let acts = scene.acts("g", false);
    let mut choice = Choice::new(5);
    truth::start(&scene.daemon, "g");
    let mut between = Between::step_in(&mut scene.daemon, "g");
    let mut number = 0;
    for act in &acts {
        let most = scene.rehearse(&between, act);
        for step in 0..most {
            for when in [When::Before, When::After] {
                number += 1;
                if !choice.takes() {
                    continue;
                }
                scene.prepare(act, act.leaves_its_mark(), &mut between);
                let harm = match number % (NONSENSE.len() + 1) {
                    0 => Harm::HangUp,
                    which => Harm::Say(NONSENSE[which - 1]),
                };
                let qemu = between.qemu();
                between.arm(step, when, harm);
                let client = call(&scene.daemon, &act.line);
                let outcome = ended(client, &act.line, wait::PATIENCE);
                let what = format!(
                    "QEMU said {harm:?} at step {step} ({when:?}) of {:?}: {outcome}",
                    act.line
                );
                between.disarm();
                let daemon = &scene.daemon;
                if act.line.starts_with("save") && !processes::is_running(qemu) {
                    // It was complete, or all the same lost nothing.
                    assert!(scene.saved.with_extension("image").exists(), "{what}");
                    daemon.wait_for_state("g", "shut off (saved)");
                    daemon.virsh(&act.after).ok();
                    saving::assert_ticks(daemon, "g");
                    continue;
                }
                assert!(processes::is_running(qemu), "{what}: it harmed the guest");
                truth::settled(daemon, "g", qemu, &scene.images(), &what);
                assert!(daemon.virsh("domstate g").ok().starts_with("running"), "{what}");
                saving::assert_ticks(daemon, "g");
                // All goes on, whatever came of it.
                if !act.after.is_empty() {
                    daemon.virsh(&act.after);
                }
                for line in [&act.before, &act.line] {
                    daemon.virsh(line);
                }
                daemon.virsh(&act.after);
                if !act.line.starts_with("save") {
                    truth::settled(daemon, "g", qemu, &scene.images(), &format!("later, {what}"));
                }
            }
        }
    }
    scene.daemon.assert_well();
}

#[test]
fn qemu_stops_at_each_step_and_goes_on() {
    let Some(mut scene) = Scene::new() else { return };
    let acts = scene.acts("g", false);
    let mut choice = Choice::new(10);
    truth::start(&scene.daemon, "g");
    scene.daemon.define(&tests::domains::minimal("other")).ok();
    let mut between = Between::step_in(&mut scene.daemon, "g");
    for act in &acts {
        let most = scene.rehearse(&between, act);
        for step in 0..most {
            if !choice.takes() {
                continue;
            }
            scene.prepare(act, act.leaves_its_mark(), &mut between);
            let (daemon, qemu) = (&scene.daemon, between.qemu());
            between.arm(step, When::Before, Harm::Stop);
            let mut client = call(daemon, &act.line);
            let what = format!("QEMU stopped at step {step} of {:?}", act.line);
            wait::until(&format!("the step: {what}"), || {
                let over = client.try_wait().expect("a child").is_some();
                (between.is_done() || over).then_some(())
            });
            if !between.is_done() {
                // It went another way this time.
                ended(client, &act.line, wait::PATIENCE).ok();
                between.disarm();
                daemon.virsh(&act.after);
                continue;
            }
            // Who reads does not wait for it, and other guests do not either.
            for line in [
                "dominfo g",
                "domstate g",
                "dumpxml g",
                "list --all",
                "domstats --nowait",
                "domjobinfo g",
                "vcpupin g",
                "start other",
                "destroy other",
            ] {
                daemon.virsh(line).ok();
            }
            processes::signal(qemu, Signal::CONT);
            ended(client, &act.line, wait::PATIENCE).ok();
            between.disarm();
            if act.line.starts_with("save") {
                daemon.virsh(&act.after).ok();
                continue;
            }
            truth::settled(daemon, "g", qemu, &scene.images(), &what);
            if !act.after.is_empty() {
                done(daemon, &act.after);
            }
        }
    }
    scene.daemon.assert_well();
}

/// QEMUs that stop in the middle and do not go on until everybody has given up: each call ends by
/// itself, in words; then all agree on what became of it.
#[test]
fn no_call_waits_for_ever_for_a_stopped_qemu() {
    let Some(mut scene) = Scene::new() else { return };
    let all = from_env("STEPS", 0) == 1;
    let mut random = Random::new(from_env("STEP_SEED", 1));
    let number = scene.acts("g0", true).len();
    let names: Vec<String> = (0..number).map(|number| format!("g{number}")).collect();
    let acts: Vec<(Act, [PathBuf; 2])> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let act = scene.acts(name, true).remove(number);
            (act, [scene.image.clone(), scene.iso.clone()])
        })
        .collect();
    for name in &names {
        truth::start(&scene.daemon, name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let between = Between::all(&mut scene.daemon, &names);
    for round in 0..if all { 5 } else { 1 } {
        let daemon = &scene.daemon;
        let mut calls = Vec::new();
        for (name, ((act, images), between)) in names.iter().zip(acts.iter().zip(&between)) {
            // A save waits for as long as it takes: whoever has enough of it aborts it.
            let waits = ["save", "dump", "setvcpus"];
            if waits.iter().any(|verb| act.line.starts_with(verb)) {
                continue;
            }
            if !act.before.is_empty() {
                daemon.virsh(&act.before).ok();
            }
            let most = steps(daemon, between, act);
            for line in [&act.after, &act.before] {
                if !line.is_empty() {
                    done(daemon, line);
                }
            }
            let step = random.below(most);
            between.arm(step, When::Before, Harm::Stop);
            let what = format!("stopped at step {step} of {:?} in round {round}", act.line);
            calls.push((*name, act, images, between, call(daemon, &act.line), what));
        }
        let mut stopped = Vec::new();
        for (name, act, images, between, client, what) in calls {
            // 30 s for QEMU's answer, and much time for a busy machine.
            let outcome = ended(client, &act.line, Duration::from_secs(100));
            if !between.is_done() {
                // It went another way this time: it is done, and has to be taken back.
                between.disarm();
                outcome.ok();
                if !act.after.is_empty() {
                    done(daemon, &act.after);
                }
                continue;
            }
            if act.line.starts_with("domstats") {
                outcome.ok();
            } else {
                let words = ["did not answer", "cannot acquire state change lock"];
                let said = words.iter().any(|word| outcome.stderr.contains(word));
                // What was done but for the clearing up is done.
                assert!(outcome.status == 0 || said, "{what}: {outcome}");
            }
            daemon.virsh_words(&["dumpxml", name]).ok();
            stopped.push((name, act, images, between, what));
        }
        for (_, _, _, between, _) in &stopped {
            processes::signal(between.qemu(), Signal::CONT);
        }
        for (name, act, images, between, what) in stopped {
            let images: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
            truth::settled(daemon, name, between.qemu(), &images, &what);
            saving::assert_ticks(daemon, name);
            for line in [&act.after, &act.before, &act.line, &act.after] {
                // Shown where the next round finds something else than it expects.
                eprintln!("{what}: {}", daemon.virsh(line));
            }
            truth::settled(daemon, name, between.qemu(), &images, &format!("later, {what}"));
        }
    }
    scene.daemon.assert_well();
}
