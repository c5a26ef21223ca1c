//! `ironvirt why`: what keeps a guest from starting, running or answering is named, with the fix.

use rustix::process::Signal;
use serde_json::Value;
use tests::{Daemon, domains, processes};

fn why(daemon: &Daemon, name: &str) -> String {
    daemon.ironvirt(&format!("why {name}")).ok().trim_end().to_owned()
}

#[test]
fn everything_a_start_would_meet_is_told_at_once() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let images = daemon.root().display().to_string();
    let locked = daemon.write("locked/disk.img", vec![0; 65536]);
    std::fs::set_permissions(
        locked.parent().expect("its folder"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .expect("ours");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    daemon
        .define(&format!(
            "<domain type='qemu'><name>ill</name><memory unit='TiB'>900</memory>
             <os><type arch='x86_64' machine='q35'>hvm</type></os>
             <devices>
               <emulator>/usr/bin/qemu-system-x86_64</emulator>
               <disk type='file' device='disk'>
                 <source file='{images}/missing.img'/><target dev='vda' bus='virtio'/>
               </disk>
               <disk type='file' device='disk'>
                 <source file='{}'/><target dev='vdb' bus='virtio'/>
               </disk>
               <interface type='bridge'><source bridge='nobridge7'/></interface>
               <graphics type='vnc' port='{port}' listen='127.0.0.1'/>
             </devices></domain>",
            locked.display()
        ))
        .ok();
    let text = why(&daemon, "ill");
    let mut expected = vec![
        format!("'{images}/missing.img' does not exist"),
        "bridge 'nobridge7' does not exist".into(),
        "fix: make it: ip link add nobridge7 type bridge".into(),
        format!("vnc: port {port} is in use"),
        "MiB are asked for".into(),
    ];
    if !daemon.session() {
        expected.push(format!("no search permission on directory {images}/locked"));
    }
    for part in expected {
        assert!(text.contains(&part), "{part:?} is not in:\n{text}");
    }
    assert!(text.starts_with("ill: shutoff (unknown)\n  cannot start: "), "{text}");
    // Looking changed nothing.
    assert!(daemon.qemus().is_empty());
    let data = daemon.ironvirt("-o json why ill").ok();
    let data: Value = serde_json::from_str(&data).expect("JSON");
    assert!(data["findings"].as_array().expect("a list").len() >= 4, "{data}");
    assert_eq!(data["state"], "shutoff");
}

#[test]
fn an_image_that_another_guest_or_program_has_is_not_free() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let first = domains::boot_sector(&daemon, "first");
    daemon.define(&first).ok();
    assert_eq!(
        why(&daemon, "first"),
        "first: shutoff (unknown)\n  nothing stands in the way of a start"
    );
    daemon.virsh("start first").ok();
    assert_eq!(why(&daemon, "first"), "first: running (booted)\n  it runs and QEMU answers");
    daemon.define(&first.replace("<name>first</name>", "<name>second</name>")).ok();
    let text = why(&daemon, "second");
    assert!(text.contains("is in use by running domain 'first'"), "{text}");
    let qemu = daemon.qemus()[0];
    assert!(text.contains(&format!("is open in process {qemu} (qemu-system-x86)")), "{text}");
    daemon.virsh("destroy first").ok();
    assert!(why(&daemon, "second").contains("nothing stands in the way"));
}

#[test]
fn a_guest_that_is_there_says_why_it_does_not_run() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "guest")).ok();
    daemon.virsh("start guest").ok();
    daemon.virsh("suspend guest").ok();
    let text = why(&daemon, "guest");
    assert!(text.contains("because: it was suspended on request\n    fix: `resume`"), "{text}");
    daemon.virsh("resume guest").ok();
    let qemu = daemon.qemus()[0];
    processes::signal(qemu, Signal::STOP);
    let text = why(&daemon, "guest");
    processes::signal(qemu, Signal::CONT);
    assert!(text.contains(&format!("QEMU (process {qemu}) does not answer")), "{text}");
    assert!(text.contains("it was stopped by a signal"), "{text}");
    assert!(text.contains(&format!("fix: kill -CONT {qemu}")), "{text}");
    daemon.ironvirt("why nobody").fails_with(&["failed to get domain 'nobody'"]);
}

/// What only QEMU or the kernel would refuse is looked for, too; what the last start ended with are
/// QEMU's own words, not its command line.
#[test]
fn images_of_another_format_and_folders_that_are_none_are_told() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let raw = daemon.write("images/raw.img", vec![0; 65536]);
    let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
    bytes.resize(65536, 0);
    let qcow2 = daemon.write("images/qcow2.img", bytes);
    let disk = |format: &str, path: &std::path::Path, target: &str| {
        format!(
            "<disk type='file'><driver name='qemu' type='{format}'/><source file='{}'/>
             <target dev='{target}' bus='virtio'/></disk>",
            path.display()
        )
    };
    daemon
        .define(&format!(
            "<domain type='qemu'><name>inside</name><memory unit='MiB'>32</memory>
             <vcpu cpuset='4000'>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
             <devices>{}{}<filesystem type='mount'><source dir='{}/nofolder'/>
             <target dir='t'/></filesystem></devices></domain>",
            disk("qcow2", &raw, "vda"),
            disk("raw", &qcow2, "vdb"),
            daemon.root().display()
        ))
        .ok();
    let check = |text: &str| {
        for part in [
            format!("cannot start: <disk> 'vda': '{}' is not in qcow2 format", raw.display()),
            format!("note: <disk> 'vdb': '{}' is in qcow2 format", qcow2.display()),
            format!("<filesystem>: '{}/nofolder' is no folder", daemon.root().display()),
            "<vcpu cpuset='4000'>: this host has none of these processors".to_owned(),
        ] {
            assert_eq!(text.matches(&part).count(), 1, "{part:?} in:\n{text}");
        }
    };
    check(&why(&daemon, "inside"));
    daemon.virsh("start inside").fails_with(&["error: "]);
    let text = why(&daemon, "inside");
    check(&text);
    assert!(!text.contains("-msg timestamp"), "{text}");
    domains::discard(&daemon, "inside");
}
