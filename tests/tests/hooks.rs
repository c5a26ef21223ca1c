//! Scripts of the administrator are called at the turning points, and can prevent a start.

use std::os::unix::fs::PermissionsExt;
use tests::{Daemon, domains, wait};

/// A hook that writes down its arguments, a part of its input, and fails when it is told to.
fn install(daemon: &Daemon, name: &str) {
    let heard = daemon.path("heard");
    let fail = daemon.path("fail");
    let script = format!(
        "#!/bin/sh\nxml=$(cat)\necho \"$(basename $0) $* $(echo \"$xml\" | grep -o \"<domain.*>\")\" >> {}\n\
         [ \"$1 $2\" != \"$(cat {} 2>/dev/null)\" ] || {{ echo \"no such luck\" >&2; exit 3; }}\n",
        heard.display(),
        fail.display()
    );
    let path = daemon.write(&format!("etc/libvirt/hooks/{name}"), script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
}

/// What was called since the last question.
fn heard(daemon: &Daemon) -> Vec<String> {
    let path = daemon.path("heard");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn a_guest_is_accompanied_from_prepare_to_release() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "guest")).ok();
    // Put there while the daemon runs.
    install(&daemon, "qemu");
    install(&daemon, "qemu.d/10-more");
    daemon.virsh("start guest").ok();
    assert_eq!(
        heard(&daemon),
        [
            "qemu guest prepare begin - <domain type='qemu' id='1'>",
            "10-more guest prepare begin - <domain type='qemu' id='1'>",
            "qemu guest start begin - <domain type='qemu' id='1'>",
            "10-more guest start begin - <domain type='qemu' id='1'>",
            "qemu guest started begin - <domain type='qemu' id='1'>",
            "10-more guest started begin - <domain type='qemu' id='1'>",
        ]
    );
    std::fs::remove_dir_all(daemon.path("etc/libvirt/hooks/qemu.d")).expect("the folder");
    daemon.restart();
    daemon.wait_for_state("guest", "running (booted)");
    assert_eq!(heard(&daemon), ["qemu guest reconnect begin - <domain type='qemu' id='1'>"]);
    daemon.virsh("destroy guest").ok();
    assert_eq!(
        heard(&daemon),
        [
            "qemu guest stopped end - <domain type='qemu'>",
            "qemu guest release end destroyed <domain type='qemu'>",
        ]
    );
}

/// Scripts that forward ports find them in the XML.
#[test]
fn scripts_are_told_the_ports_that_were_chosen() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let display = "<graphics type='vnc' autoport='yes'/><controller";
    let xml = domains::boot_sector(&daemon, "shown").replacen("<controller", display, 1);
    daemon.define(&xml).ok();
    let script = format!(
        "#!/bin/sh\necho \"$2 $(grep -o \" port='[^']*' autoport\" | head -n 1)\" >> {}\n",
        daemon.path("heard").display()
    );
    let path = daemon.write("etc/libvirt/hooks/qemu", script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    daemon.virsh("start shown").ok();
    let live = daemon.virsh("dumpxml shown").ok();
    let chosen =
        live.split("<graphics type='vnc' port='").nth(1).and_then(|rest| rest.split('\'').next());
    let chosen = chosen.expect("a port").to_owned();
    daemon.virsh("destroy shown").ok();
    let told = |operation: &str, port: &str| format!("{operation}  port='{port}' autoport");
    assert_eq!(
        heard(&daemon),
        [
            told("prepare", "-1"),
            told("start", &chosen),
            told("started", &chosen),
            told("stopped", "-1"),
            told("release", "-1"),
        ]
    );
}

#[test]
fn a_failing_script_prevents_the_start() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "guest")).ok();
    install(&daemon, "qemu");
    for (point, calls) in [("prepare", 3), ("start", 4), ("started", 5)] {
        daemon.write("fail", format!("guest {point}"));
        daemon.virsh("start guest").fails_with(&[
            "Hook script execution failed: internal error: Child process (LC_ALL=C PATH=",
            &format!("hooks/qemu guest {point} begin -) unexpected exit status 3: no such luck"),
        ]);
        let calls_made = heard(&daemon);
        assert_eq!(calls_made.len(), calls, "{calls_made:?}");
        assert_eq!(
            calls_made.last().expect("calls"),
            "qemu guest release end failed <domain type='qemu'>"
        );
        assert_eq!(daemon.virsh("domstate guest").ok().trim(), "shut off");
        assert!(daemon.qemus().is_empty());
    }
    // A failure after the end is only told to the log.
    daemon.write("fail", "guest release");
    daemon.virsh("start guest").ok();
    daemon.virsh("destroy guest").ok();
    assert!(daemon.log().contains("no such luck"));
}

#[test]
fn a_script_that_hangs_does_not_keep_the_guest_from_being_destroyed() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "guest")).ok();
    let script = "#!/bin/sh\n[ $2 != prepare ] || sleep 60\n";
    let path = daemon.write("etc/libvirt/hooks/qemu", script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::thread::scope(|scope| {
        let start = scope.spawn(|| daemon.virsh("start guest"));
        wait::until("the start", || {
            (daemon.virsh("domstate guest").ok().trim() == "paused").then_some(())
        });
        // Others are not held up, and neither is its end.
        daemon.define(&domains::minimal("other")).ok();
        daemon.virsh("destroy guest").ok();
        start
            .join()
            .expect("virsh")
            .fails_with(&["the start of domain 'guest' was ended by destroy"]);
    });
    assert_eq!(daemon.virsh("domstate guest").ok().trim(), "shut off");
}

#[test]
fn the_daemon_tells_of_itself() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    install(&daemon, "daemon");
    daemon.restart();
    assert_eq!(heard(&daemon), ["daemon - shutdown - shutdown", "daemon - start - start"]);
    tests::processes::signal(daemon.pid(), rustix::process::Signal::HUP);
    let told = wait::until("the reload", || {
        let told = heard(&daemon);
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told, ["daemon - reload begin SIGHUP"]);
}

/// What a saved guest goes on with passes through the scripts, each of which may change it.
#[test]
fn a_restore_is_filtered() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "guest")).ok();
    for (name, script) in [
        ("qemu", "#!/bin/sh\n[ $2 != restore ] || sed 's,</name>,&<title>one</title>,'\n"),
        ("qemu.d/10-silent", "#!/bin/sh\ncat >/dev/null\n"),
        ("qemu.d/20-more", "#!/bin/sh\n[ $2 != restore ] || sed \"s,>one<,>one and $3<,\"\n"),
    ] {
        let path = daemon.write(&format!("etc/libvirt/hooks/{name}"), script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let image = daemon.path("image").display().to_string();
    daemon.virsh("start guest").ok();
    daemon.virsh(&format!("save guest {image}")).ok();
    daemon.virsh(&format!("restore {image}")).ok();
    let title = || daemon.virsh("desc guest --title").ok().trim().to_owned();
    assert_eq!(title(), "one and begin");
    daemon.virsh("managedsave guest").ok();
    // One that fails keeps the guest in its image.
    let hook = daemon.path("etc/libvirt/hooks/qemu");
    std::fs::write(&hook, "#!/bin/sh\n[ $2 != restore ] || exit 9\n").expect("ours");
    daemon.virsh("start guest").fails_with(&["guest restore begin -) unexpected exit status 9"]);
    std::fs::write(&hook, "#!/bin/sh\nexit 0\n").expect("ours");
    daemon.virsh("start guest").ok();
    assert_eq!(daemon.virsh("domstate --reason guest").ok().trim(), "running (restored)");
}
