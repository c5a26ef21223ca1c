//! Questions and changes of running guests, and bulk statistics of many that do not run.

use tests::{Daemon, domains, python};

/// A guest whose boot sector runs, with room for one more virtual CPU and a console.
fn guest(daemon: &Daemon, name: &str) -> String {
    domains::boot_sector(daemon, name)
        .replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        .replacen("<os>", "<vcpu current='2'>3</vcpu><os>", 1)
        .replacen(
            "</devices>",
            "<console type='pty'><target type='virtio'/></console></devices>",
            1,
        )
}

#[test]
fn a_guest_is_asked_and_changed() {
    let daemon = Daemon::start();
    let name = "asked";
    daemon.define(&guest(&daemon, name)).ok();
    daemon.virsh("start asked").ok();
    let said = python("live", &[daemon.uri().as_str(), name]).ok();
    assert!(said.contains("well"), "{said}");
    domains::discard(&daemon, name);
}

#[test]
fn hardware_numbers_are_there() {
    let daemon = Daemon::start();
    for (line, part) in [
        ("nodeinfo", "CPU model:"),
        ("nodememstats", "total"),
        ("nodecpustats", "idle:"),
        ("nodecpumap", "CPUs online:"),
        ("freecell --all", "Total:"),
    ] {
        let text = daemon.virsh(line).ok();
        assert!(text.contains(part), "{line}: {text}");
    }
    let refused = daemon.virsh("nodecpustats --cpu 9999").failed();
    assert!(refused.contains("Invalid cpuNum"), "{refused}");
}

#[test]
fn statistics_of_guests_that_do_not_run_come_from_their_definitions() {
    let daemon = Daemon::start();
    for index in 0..5 {
        daemon.define(&domains::minimal(&format!("off{index}"))).ok();
    }
    let text = daemon.virsh("domstats --state --balloon").ok();
    assert_eq!(text.matches("state.state=5").count(), 5, "{text}");
    assert_eq!(text.matches("balloon.maximum=").count(), 5, "{text}");
    assert_eq!(daemon.virsh("domstats --state --list-active").ok().trim(), "");
    for index in 0..5 {
        daemon.virsh(&format!("undefine off{index}")).ok();
    }
}
