//! What the administrator's configuration files say is carried out, or is told to have no effect.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use tests::{Daemon, Options, domains, plugging, processes, wait};

#[test]
fn what_qemu_conf_says_of_guests_is_carried_out() {
    let mut daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return;
    }
    daemon.write(
        "etc/libvirt/qemu.conf",
        "remember_owner = 0\ndeprecation_behavior = \"reject\"\n\
         capability_filters = [ \"tpm-emulator\" ]\n",
    );
    daemon.launch();
    let image = daemon.write("images/disk.img", vec![0; 1 << 16]);
    let iso = daemon.write("images/cd.iso", vec![0; 1 << 16]);
    let devices = format!(
        "<devices><disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file' device='cdrom'><source file='{}'/><target dev='hdc'/><readonly/></disk>\
         </devices>",
        image.display(),
        iso.display()
    );
    daemon.define(&domains::minimal("set").replace("<devices/>", &devices)).ok();
    for file in [&image, &iso] {
        if chown(file, Some(1000), Some(1000)).is_err() {
            eprintln!("skipped: no right to give files away");
            return;
        }
    }
    daemon.virsh("start set").ok();
    let command = processes::command_line(daemon.qemus()[0]).join(" ");
    let compat = r#"-compat {"deprecated-output":"hide","deprecated-input":"reject"}"#;
    assert!(command.contains(compat), "{command}");
    let owner = |file| fs::metadata(file).expect("there").uid();
    let lent = plugging::lends(&daemon);
    assert!(!lent || owner(&image) == owner(&iso));
    daemon.virsh("destroy set").ok();
    if lent {
        // Nobody wrote down whose it was; libvirtd gives it to root and leaves what others may use.
        wait::until("the disk to be given back", || (owner(&image) == 0).then_some(()));
        assert_ne!(owner(&iso), 0);
    }
    let told = daemon.virsh("domcapabilities --virttype qemu").ok();
    let tpm = told.split("<tpm ").nth(1).and_then(|rest| rest.split("</tpm>").next());
    assert!(!tpm.expect("an element").contains("emulator"), "{told}");
    daemon.assert_well();
}

#[test]
fn qemu_may_leave_a_core_and_its_group_reaches_its_sockets() {
    for (setting, limit) in [("", "unlimited"), ("max_core = 4096\n", "4096")] {
        let mut daemon = Daemon::prepare(Options::default());
        if daemon.is_external() || !tests::paths::is_root() {
            return;
        }
        daemon.write("etc/libvirt/qemu.conf", setting);
        daemon.launch();
        let display = "<devices><graphics type='vnc'><listen type='socket'/></graphics></devices>";
        daemon.define(&domains::minimal("core").replace("<devices/>", display)).ok();
        daemon.virsh("start core").ok();
        let path = format!("/proc/{}/limits", daemon.qemus()[0]);
        let limits = fs::read_to_string(path).expect("of a process that runs");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let soft = core.and_then(|line| line.split_whitespace().nth(4));
        assert_eq!(soft, Some(limit), "{limits}");
        let shown = daemon.virsh("domdisplay core").ok();
        let (_, socket) = shown.trim().split_once("://").expect("a place");
        let mode = fs::metadata(socket.trim_end_matches(":0")).expect(socket).mode();
        assert_eq!(mode & 0o777, 0o775, "{socket}");
    }
}

#[test]
fn settings_without_effect_are_told() {
    let mut daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return;
    }
    daemon.write(
        "etc/libvirt/qemu.conf",
        "user = \"root\"\nmisspelled = 5\nsecurity_driver = \"selinux\"\nspice_sasl = 0\ndynamic_owner = 0\n",
    );
    daemon.write("etc/libvirt/libvirtd.conf", "max_clients = 9\naudit_level = 2\n");
    daemon.launch();
    let log = daemon.log();
    for (told, place) in [
        (true, "qemu.conf:2: misspelled"),
        (true, "qemu.conf:3: security_driver"),
        (true, "libvirtd.conf:2: audit_level"),
        (true, "qemu.conf:5: dynamic_owner"),
        (false, "qemu.conf:1: user"),
        (false, "qemu.conf:4: spice_sasl"),
        (false, "libvirtd.conf:1: max_clients"),
    ] {
        assert_eq!(log.contains(place), told, "{place}: {log}");
    }
}

#[test]
fn a_setting_that_protects_and_cannot_be_carried_out_refuses_the_start() {
    let daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return;
    }
    daemon.write("etc/libvirt/qemu.conf", "sched_core = \"full\"\n");
    let root = daemon.root().to_string_lossy().into_owned();
    let args = ["daemon", "--root", root.as_str()];
    let said = tests::tool(tests::paths::ironvirt(), &args, "").failed();
    assert!(said.contains("qemu.conf:1: sched_core: not supported here"), "{said}");
}
