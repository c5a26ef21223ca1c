//! Two clients at one guest, at the same time: each gets an answer, and afterwards all is as told.
//!
//! `RACES=N` changes the number of races, `RACE_SEED=N` their kinds and moments.

use std::time::Duration;

use tests::mutate::Random;
use tests::plugging::{behind, call, devices, from_env, is_mine, lends, live, start, usb_disk};
use tests::{Daemon, saving, wait};

/// How a client was answered.
struct Answer {
    said: String,
    done: bool,
}

/// Lets both run; the second begins some moments after the first.
fn race(daemon: &Daemon, lines: [&str; 2], apart: Duration, what: &str) -> [Answer; 2] {
    let first = call(daemon, lines[0]);
    std::thread::sleep(apart);
    let second = call(daemon, lines[1]);
    [(first, lines[0]), (second, lines[1])].map(|(child, line)| {
        let mut child = Some(child);
        let answer = wait::until(&format!("an answer to {line:?}, {what}"), || {
            child.as_mut().and_then(|child| child.try_wait().expect("a child"))?;
            child.take().map(|child| child.wait_with_output().expect("a child"))
        });
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        let done = answer.status.success();
        // Whoever was too late is told why.
        assert!(done || said.contains("error: "), "{line:?} failed without a word, {what}");
        Answer { said, done }
    })
}

/// What the daemon tells of the guest is what is there, and nothing else is.
fn assert_true(daemon: &Daemon, images: &[&std::path::Path], had: &[String], what: &str) {
    let mut seen = None;
    wait::until(&format!("the truth, {what}"), || {
        let state = daemon.virsh("domstate r").ok();
        let runs = !state.starts_with("shut off");
        let mut wrong = Vec::new();
        if runs != (daemon.qemus().len() == 1) {
            wrong.push(format!("{state} with {:?}", daemon.qemus()));
        } else if runs {
            let xml = live(daemon, "r");
            let new: Vec<_> =
                devices(daemon, "r").into_iter().filter(|name| !had.contains(name)).collect();
            for image in images {
                let told = xml.contains(&image.display().to_string());
                if lends(daemon) && told == is_mine(image) {
                    wrong.push(format!("{} is told: {told}; its owner?", image.display()));
                }
            }
            let told = new.iter().filter(|alias| xml.contains(&format!("<alias name='{alias}'/>")));
            let disks = images.iter().filter(|image| xml.contains(&image.display().to_string()));
            if told.count() != new.len() || disks.count() != new.len() {
                wrong.push(format!("QEMU has {new:?} of {xml}"));
            }
            let nodes = behind(daemon, "r").iter().filter(|n| n.starts_with("libvirt-")).count();
            if nodes != 1 + new.len() {
                wrong.push(format!("nodes {:?} for {new:?}", behind(daemon, "r")));
            }
        } else {
            wrong.extend(images.iter().filter(|i| !is_mine(i)).map(|i| i.display().to_string()));
            let run = saving::names_in(&daemon.path("run/libvirt/qemu"));
            wrong.extend(run.into_iter().filter(|name| name.starts_with("r.")));
        }
        if wrong.is_empty() {
            return Some(());
        }
        if seen.as_ref() != Some(&wrong) {
            eprintln!("{what}: {wrong:?}");
            seen = Some(wrong);
        }
        None
    });
}

#[test]
fn two_clients_at_one_guest() {
    let races = from_env("RACES", 27);
    let seed = from_env("RACE_SEED", 1);
    let mut random = Random::new(seed);
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "r");
    let xml = daemon.write("r.xml", daemon.virsh("dumpxml r --inactive").ok());
    let had: Vec<String> = devices(&daemon, "r").into_iter().collect();
    let (image, disk) = usb_disk(&daemon, "one.img");
    let (other, second) = usb_disk(&daemon, "two.img");
    let (disk, second) = (disk.display(), second.display());
    let saved = daemon.path("saved.img");
    let saved = saved.display();
    let attach = format!("attach-device r {disk} --live");
    let same = format!("attach-device r {second} --live");
    let detach = "detach-disk r sdb --live";
    let save = format!("save r {saved}");
    let define = format!("define {}", xml.display());
    // What must hold before, and the two.
    let kinds: [(&str, &str, &str); 9] = [
        ("running", &attach, &same),
        ("running", &attach, "destroy r"),
        ("running", &attach, &save),
        ("disk", detach, detach),
        ("disk", detach, "destroy r"),
        ("disk", &save, detach),
        ("off", "start r", "undefine r"),
        ("off", "start r", "start r"),
        ("running", "managedsave r", "destroy r"),
    ];
    for number in 0..races {
        let (before, one, two) = kinds[(number % kinds.len() as u64) as usize];
        bring(&daemon, before, &attach, &define);
        let lines = if random.below(2) == 0 { [one, two] } else { [two, one] };
        let apart = Duration::from_micros(random.below(60_000) as u64);
        let what = format!("race {number} of seed {seed}: {lines:?}, {apart:?} apart");
        let answers = race(&daemon, lines, apart, &what);
        let won = answers.iter().filter(|answer| answer.done).count();
        let words: Vec<_> = answers.iter().map(|answer| answer.said.trim()).collect();
        match (before, one) {
            // The same place, the same device, the same start: one of them alone.
            ("running", _) if two == same => assert_eq!(won, 1, "{what}: {words:?}"),
            ("disk", _) if two == detach && one == detach => {
                assert_eq!(won, 1, "{what}: {words:?}")
            }
            ("off", _) if two == "start r" => assert_eq!(won, 1, "{what}: {words:?}"),
            _ => assert!(won >= 1, "{what}: {words:?}"),
        }
        if !daemon.virsh("list --all --name").ok().lines().any(|name| name == "r") {
            assert_eq!(daemon.qemus().len(), 0, "{what}: a guest that nobody knows");
            daemon.virsh(&define).ok();
        }
        assert_true(&daemon, &[&image, &other], &had, &what);
        // A guest whose state is in an image goes on from there, with what it had.
        if std::fs::metadata(saved.to_string()).is_ok() {
            daemon.virsh(&format!("restore {saved}")).ok();
            std::fs::remove_file(saved.to_string()).expect("the image");
            assert_true(&daemon, &[&image, &other], &had, &format!("restored after {what}"));
        }
    }
    bring(&daemon, "running", &attach, &define);
    saving::assert_ticks(&daemon, "r");
}

/// Brings the guest to where a race begins.
fn bring(daemon: &Daemon, before: &str, attach: &str, define: &str) {
    // One that was undefined while it ran is persistent again.
    daemon.virsh(define).ok();
    let runs = !daemon.virsh("domstate r").ok().starts_with("shut off");
    if before == "off" {
        if runs {
            daemon.virsh("destroy r").ok();
        }
        // Its managed save, if it has one, would be in the way of undefine.
        daemon.virsh("managedsave-remove r");
        return;
    }
    if !runs {
        daemon.virsh("managedsave-remove r");
        daemon.virsh("start r").ok();
    }
    let told = live(daemon, "r").contains("<target dev='sdb'");
    match (before, told) {
        ("running", true) => drop(daemon.virsh("detach-disk r sdb --live").ok()),
        ("disk", false) => drop(daemon.virsh(attach).ok()),
        _ => {}
    }
}
