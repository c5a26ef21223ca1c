//! SIGKILL of the daemon, and QEMUs that stop or die, while devices come and go: nothing is lost.
//!
//! After each kill the daemon tells of a device exactly if QEMU has it, nothing of one that is
//! gone is left behind, and the guest never noticed. `PLUG_KILLS=N` changes the number of kills,
//! `KILL_SEED=N` the moments.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::mutate::Random;
use tests::{Daemon, domains, guests, processes, saving, wait};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A guest that ticks, with buses whose devices go without its consent.
fn start(daemon: &Daemon, name: &str) {
    let buses = "<controller type='usb' model='qemu-xhci'/><controller type='virtio-serial'/>";
    let xml = domains::boot_sector(daemon, name);
    let xml = xml.replace("<controller type='usb' model='none'/>", buses);
    daemon.define(&xml).ok();
    daemon.virsh_words(&["start", name]).ok();
    wait::until("the guest to tick", || saving::serial(daemon, name).contains("..").then_some(()));
}

/// An image, and the file with the XML of a USB disk of it.
fn usb_disk(daemon: &Daemon, name: &str) -> (PathBuf, PathBuf) {
    let image = daemon.write(&format!("images/{name}"), vec![0; 1 << 16]);
    let xml = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='sdb' bus='usb'/></disk>",
        image.display()
    );
    (image, daemon.write(&format!("{name}.xml"), xml))
}

fn begin(daemon: &Daemon, line: &str) -> Child {
    Command::new("virsh")
        .args(["-c", &daemon.uri(), line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("virsh runs")
}

fn qmp(daemon: &Daemon, name: &str, question: &str) -> serde_json::Value {
    let said = daemon.virsh_words(&["qemu-monitor-command", name, question]).ok();
    serde_json::from_str(&said).expect("QEMU speaks JSON")
}

/// The values of `key` in a list that QEMU answers with.
fn names(answer: &serde_json::Value, key: &str) -> BTreeSet<String> {
    let items = answer["return"].as_array().expect("a list").iter();
    items.filter_map(|item| item[key].as_str().map(str::to_owned)).collect()
}

fn devices(daemon: &Daemon, name: &str) -> BTreeSet<String> {
    let question = r#"{"execute":"qom-list","arguments":{"path":"/machine/peripheral"}}"#;
    names(&qmp(daemon, name, question), "name")
}

/// What QEMU has behind devices: images and channels.
fn behind(daemon: &Daemon, name: &str) -> BTreeSet<String> {
    let images = qmp(daemon, name, r#"{"execute":"query-named-block-nodes"}"#);
    let channels = qmp(daemon, name, r#"{"execute":"query-chardev"}"#);
    let mut all = names(&images, "node-name");
    all.extend(names(&channels, "label"));
    all
}

fn live(daemon: &Daemon, name: &str) -> String {
    daemon.virsh_words(&["dumpxml", name]).ok()
}

fn is_mine(path: &PathBuf) -> bool {
    fs::metadata(path).expect("there").uid() == rustix::process::getuid().as_raw()
}

#[test]
fn a_kill_at_any_moment_leaves_the_truth() {
    let kills = from_env("PLUG_KILLS", 12);
    let mut random = Random::new(from_env("KILL_SEED", 1));
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "g");
    let (image, disk) = usb_disk(&daemon, "usb.img");
    let channel = "<channel type='unix'><target type='virtio' name='a.b'/></channel>";
    let channel = daemon.write("channel.xml", channel);
    let tablet = daemon.write("tablet.xml", "<input type='mouse' bus='usb'/>");
    let had = devices(&daemon, "g");
    let mut rounds = Vec::new();
    for file in [disk, channel, tablet] {
        let file = file.display();
        // What each is called is learned by trying.
        daemon.virsh(&format!("attach-device g {file} --live")).ok();
        let new: Vec<_> = devices(&daemon, "g").difference(&had).cloned().collect();
        daemon.virsh(&format!("detach-device g {file} --live")).ok();
        let line = format!("attach-device g {file} --live; detach-device g {file} --live");
        rounds.push((line, new));
    }
    let begun = Instant::now();
    begin(&daemon, &rounds[0].0).wait().expect("virsh ends");
    let whole_round = begun.elapsed();
    for kill in 0..kills {
        let (line, new) = &rounds[(kill % rounds.len() as u64) as usize];
        let mut client = begin(&daemon, line);
        let moment = random.below(whole_round.as_micros() as usize * 11 / 10);
        std::thread::sleep(Duration::from_micros(moment as u64));
        daemon.kill();
        client.wait().expect("virsh ends without its daemon");
        daemon.launch();
        let told =
            |alias: &String| live(&daemon, "g").contains(&format!("<alias name='{alias}'/>"));
        wait::until(&format!("the truth after kill {kill} during {line:?}"), || {
            let there = devices(&daemon, "g");
            new.iter().all(|alias| told(alias) == there.contains(alias)).then_some(())
        });
        for alias in new.iter().filter(|alias| told(alias)) {
            daemon.virsh(&format!("detach-device-alias g {alias} --live")).ok();
        }
        let mut seen = None;
        wait::until(&format!("nothing to be left after kill {kill} during {line:?}"), || {
            let (devices, behind) = (devices(&daemon, "g"), behind(&daemon, "g"));
            let (mine, told) = (is_mine(&image), new.iter().any(&told));
            // Known fault: an image that QEMU opened as its daemon died may stay open without a device
            // (`behind`), which is shown below and not asked for here yet.
            if devices == had && mine && !told {
                return Some(());
            }
            let left = format!("{devices:?} {behind:?}, given back: {mine}, told: {told}");
            if seen.as_ref() != Some(&left) {
                eprintln!("after kill {kill}, {moment} us into it: {left}");
                seen = Some(left);
            }
            None
        });
    }
    saving::assert_ticks(&daemon, "g");
    let said = saving::serial(&daemon, "g");
    assert_eq!(said.matches(guests::BOOT_SECTOR_LINE).count(), 1, "the guest booted once:\n{said}");
    assert_eq!(daemon.qemus().len(), 1);
}

#[test]
fn what_a_stopped_qemu_takes_after_all_goes_again() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "slow");
    let (image, disk) = usb_disk(&daemon, "slow-usb.img");
    let stood = behind(&daemon, "slow");
    let before = live(&daemon, "slow");
    let qemu = daemon.qemus()[0];
    processes::signal(qemu, Signal::STOP);
    daemon.virsh(&format!("attach-device slow {} --live", disk.display())).failed();
    assert_eq!(live(&daemon, "slow"), before, "what may come is not told as if it were there");
    processes::signal(qemu, Signal::CONT);
    // The client was told that it failed: so it is in the end, whatever QEMU did meanwhile.
    wait::until("it to be settled", || is_mine(&image).then_some(()));
    wait::until("nothing to be left", || (behind(&daemon, "slow") == stood).then_some(()));
    assert_eq!(live(&daemon, "slow"), before);
    daemon.virsh(&format!("attach-device slow {} --live", disk.display())).ok();
    daemon.virsh(&format!("detach-device slow {} --live", disk.display())).ok();
    saving::assert_ticks(&daemon, "slow");
}

#[test]
fn a_qemu_that_dies_gives_everything_back() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "dies");
    let (image, disk) = usb_disk(&daemon, "dies-usb.img");
    let qemu = daemon.qemus()[0];
    processes::signal(qemu, Signal::STOP);
    let mut client = begin(&daemon, &format!("attach-device dies {} --live", disk.display()));
    // As an ordinary user nothing is lent.
    if rustix::process::getuid().is_root() && !daemon.session() {
        wait::until("the disk to be lent", || (!is_mine(&image)).then_some(()));
    }
    processes::signal(qemu, Signal::KILL);
    assert!(!client.wait().expect("virsh ends").success());
    daemon.wait_for_state("dies", "shut off (crashed)");
    wait::until("the disk to be given back", || is_mine(&image).then_some(()));
    daemon.virsh("start dies").ok();
    daemon.virsh(&format!("attach-device dies {} --live", disk.display())).ok();
}
