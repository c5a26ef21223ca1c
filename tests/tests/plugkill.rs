//! SIGKILL of the daemon, and QEMUs that stop or die, while devices come and go: nothing is lost.
//!
//! After each kill the daemon tells of a device exactly if QEMU has it, nothing of one that is
//! gone is left behind, and the guest never noticed. `PLUG_KILLS=N` changes the number of kills,
//! `KILL_SEED=N` the moments.

use rustix::process::Signal;
use tests::killing::Kills;
use tests::plugging::{begin, behind, devices, in_drive, is_mine, lends, live, start, usb_disk};
use tests::{Daemon, guests, processes, saving, wait};

#[test]
fn a_kill_at_any_moment_leaves_the_truth() {
    let mut kills = Kills::from_env("PLUG_KILLS", 12);
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "g");
    let (image, disk) = usb_disk(&daemon, "usb.img");
    let channel = "<channel type='unix'><target type='virtio' name='a.b'/></channel>";
    let channel = daemon.write("channel.xml", channel);
    let tablet = daemon.write("tablet.xml", "<input type='mouse' bus='usb'/>");
    let (had, stood) = (devices(&daemon, "g"), behind(&daemon, "g"));
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
    kills.measure(&daemon, &rounds[0].0);
    for kill in 0..kills.count {
        let (line, new) = &rounds[(kill % rounds.len() as u64) as usize];
        let (moment, seed) = (kills.strike(&mut daemon, line).moment, kills.seed);
        let told =
            |alias: &String| live(&daemon, "g").contains(&format!("<alias name='{alias}'/>"));
        wait::until(&format!("the truth after kill {kill} of seed {seed} during {line:?}"), || {
            let there = devices(&daemon, "g");
            new.iter().all(|alias| told(alias) == there.contains(alias)).then_some(())
        });
        for alias in new.iter().filter(|alias| told(alias)) {
            daemon.virsh(&format!("detach-device-alias g {alias} --live")).ok();
        }
        let mut seen = None;
        let what = format!("nothing to be left after kill {kill} of seed {seed} during {line:?}");
        wait::until(&what, || {
            let (devices, behind) = (devices(&daemon, "g"), behind(&daemon, "g"));
            let (mine, told) = (is_mine(&image), new.iter().any(&told));
            if devices == had && behind == stood && mine && !told {
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
fn a_kill_during_a_change_of_media_leaves_one_of_them() {
    let mut kills = Kills::from_env("PLUG_KILLS", 12);
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "cd");
    let stood = behind(&daemon, "cd");
    let iso = |name: &str| daemon.write(&format!("images/{name}"), vec![0; 1 << 16]);
    let isos = [iso("one.iso"), iso("two.iso")];
    let [one, two] = [isos[0].display(), isos[1].display()];
    let line = format!(
        "change-media cd hdc {one} --insert --live; change-media cd hdc {two} --update --live; \
         change-media cd hdc --eject --live"
    );
    kills.measure(&daemon, &line);
    assert_eq!(in_drive(&daemon, "cd").0, None);
    for kill in 0..kills.count {
        let (moment, seed) = (kills.strike(&mut daemon, &line).moment, kills.seed);
        let what = format!("after kill {kill} of seed {seed}, {moment} us into the change");
        let mut seen = None;
        wait::until(&format!("the truth {what}"), || {
            let (told, inside, open) = in_drive(&daemon, "cd");
            let lent: Vec<_> = isos.iter().filter(|iso| !is_mine(iso)).collect();
            // As an ordinary user nothing is lent.
            let lends = lends(&daemon);
            let expected = isos.iter().filter(|iso| lends && told.as_deref() == iso.to_str());
            let nodes = behind(&daemon, "cd").difference(&stood).count();
            let settled = told == inside
                && lent == expected.collect::<Vec<_>>()
                && nodes == usize::from(told.is_some())
                && !(open && told.is_some());
            if settled {
                return Some(());
            }
            let left =
                format!("{told:?}, QEMU {inside:?}, open {open}, lent {lent:?}, nodes {nodes}");
            if seen.as_ref() != Some(&left) {
                eprintln!("{what}: {left}");
                seen = Some(left);
            }
            None
        });
        if in_drive(&daemon, "cd").0.is_some() {
            daemon.virsh("change-media cd hdc --eject --live").ok();
        }
        assert_eq!(behind(&daemon, "cd"), stood, "{what}, and an eject");
        assert!(isos.iter().all(|iso| is_mine(iso)), "{what}, and an eject");
    }
    saving::assert_ticks(&daemon, "cd");
    let said = saving::serial(&daemon, "cd");
    assert_eq!(said.matches(guests::BOOT_SECTOR_LINE).count(), 1, "the guest booted once:\n{said}");
}

/// A QEMU that is busy takes what its daemon told it last only when that daemon is dead already.
#[test]
fn what_a_busy_qemu_takes_from_a_dead_daemon_is_settled() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "busy");
    let qemu = daemon.qemus()[0];
    let (image, disk) = usb_disk(&daemon, "busy-usb.img");
    let iso = daemon.write("images/busy.iso", vec![0; 1 << 16]);
    let (disk, iso) = (disk.display(), iso.display());
    let (had, stood) = (devices(&daemon, "busy"), behind(&daemon, "busy"));
    let lends = lends(&daemon);
    let attach = format!("attach-device busy {disk} --live");
    let detach = format!("detach-device busy {disk} --live");
    let insert = format!("change-media busy hdc {iso} --insert --live");
    let eject = "change-media busy hdc --eject --live".to_owned();
    let none = String::new();
    for (before, line) in
        [(&none, &attach), (&attach, &detach), (&none, &insert), (&insert, &eject)]
    {
        // QEMU goes on before or after there is a daemon.
        for late in [false, true] {
            if !before.is_empty() {
                daemon.virsh(before).ok();
            }
            processes::signal(qemu, Signal::STOP);
            let mut client = begin(&daemon, line);
            wait::until("the daemon to be at it", || {
                let said = daemon.virsh("domcontrol busy").stdout;
                (!said.trim().starts_with("ok")).then_some(())
            });
            daemon.kill();
            client.wait().expect("virsh ends without its daemon");
            if !late {
                processes::signal(qemu, Signal::CONT);
            }
            daemon.launch();
            processes::signal(qemu, Signal::CONT);
            let what = format!("after {line:?}, late: {late}");
            // A guest that does not answer at once is looked at again later.
            wait::until(&format!("it to be under control {what}"), || {
                let ask = ["qemu-monitor-command", "busy", r#"{"execute":"query-status"}"#];
                (daemon.virsh_words(&ask).status == 0).then_some(())
            });
            let mut seen = None;
            wait::until(&format!("the truth {what}"), || {
                let devices = devices(&daemon, "busy");
                let new = devices.difference(&had).next();
                let xml = live(&daemon, "busy");
                let disk_told = xml.contains("busy-usb.img");
                let (told, inside, open) = in_drive(&daemon, "busy");
                let nodes = behind(&daemon, "busy").difference(&stood).count();
                let settled = disk_told == new.is_some()
                    && disk_told == (lends && !is_mine(&image))
                    && told == inside
                    && !(open && told.is_some())
                    && nodes == usize::from(disk_told) + usize::from(told.is_some());
                let found = format!("{new:?} {disk_told} {told:?} {inside:?} {open} {nodes}");
                if !settled && seen.as_ref() != Some(&found) {
                    eprintln!("{what}: {found}");
                    seen = Some(found);
                }
                settled.then_some((disk_told, told.is_some()))
            });
            if live(&daemon, "busy").contains("busy-usb.img") {
                daemon.virsh(&detach).ok();
            }
            if in_drive(&daemon, "busy").0.is_some() {
                daemon.virsh(&eject).ok();
            }
            // The guest may take more time than a call that detaches.
            wait::until(&format!("nothing to be left {what}"), || {
                (behind(&daemon, "busy") == stood && is_mine(&image)).then_some(())
            });
        }
    }
    saving::assert_ticks(&daemon, "busy");
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

/// QEMU is killed while it is told of a device that comes, leaves, or gets another medium.
#[test]
fn a_qemu_that_dies_gives_everything_back() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    start(&daemon, "dies");
    let (image, disk) = usb_disk(&daemon, "dies-usb.img");
    let iso = daemon.write("images/dies.iso", vec![0; 1 << 16]);
    let attach = format!("attach-device dies {} --live", disk.display());
    let detach = format!("detach-device dies {} --live", disk.display());
    let insert = format!("change-media dies hdc {} --insert --live", iso.display());
    let eject = "change-media dies hdc --eject --live".to_owned();
    for (before, line) in
        [(None, &attach), (Some(&attach), &detach), (None, &insert), (Some(&insert), &eject)]
    {
        if let Some(before) = before {
            daemon.virsh(before).ok();
        }
        let qemu = daemon.qemus()[0];
        processes::signal(qemu, Signal::STOP);
        let mut client = begin(&daemon, line);
        // As an ordinary user nothing is lent.
        if before.is_none() && lends(&daemon) {
            let lent = if *line == attach { &image } else { &iso };
            wait::until("the image to be lent", || (!is_mine(lent)).then_some(()));
        } else {
            wait::until("the daemon to be at it", || {
                let said = daemon.virsh("domcontrol dies").stdout;
                (!said.trim().starts_with("ok")).then_some(())
            });
        }
        processes::signal(qemu, Signal::KILL);
        assert!(!client.wait().expect("virsh ends").success(), "{line}");
        daemon.wait_for_state("dies", "shut off (crashed)");
        wait::until("the images to be given back", || {
            (is_mine(&image) && is_mine(&iso)).then_some(())
        });
        daemon.virsh("start dies").ok();
    }
    daemon.virsh(&attach).ok();
}
