//! Devices come to real guests, change and leave: through Debian's virsh, live and stored.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use tests::{Daemon, domains, guests, python, wait};

/// A guest with free root ports, and no software in it: it never lets go of what it must give up.
fn empty_guest(daemon: &Daemon, name: &str) {
    let ports = "<controller type='pci' model='pcie-root-port'/>".repeat(8);
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
         <maxMemory slots='2' unit='MiB'>512</maxMemory>
         <cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
         <devices><controller type='pci' model='pcie-root'/>{ports}
         <controller type='usb' model='qemu-xhci'/><controller type='virtio-serial'/>
         <controller type='scsi' model='virtio-scsi'/>
         <graphics type='vnc' passwd='one'><listen type='socket'/></graphics>
         <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
         <memballoon model='none'/></devices></domain>"
    );
    daemon.define(&xml).ok();
    daemon.virsh_words(&["start", name]).ok();
}

fn image(daemon: &Daemon, name: &str) -> PathBuf {
    let path = daemon.write(&format!("images/{name}"), "");
    fs::File::options().write(true).open(&path).and_then(|f| f.set_len(1 << 20)).expect("grown");
    path
}

fn live(daemon: &Daemon, name: &str) -> String {
    daemon.virsh_words(&["dumpxml", name]).ok()
}

fn stored(daemon: &Daemon, name: &str) -> String {
    daemon.virsh_words(&["dumpxml", name, "--inactive"]).ok()
}

/// Runs a verb with a device's document.
fn device(daemon: &Daemon, verb: &str, name: &str, xml: &str, how: &str) -> tests::Outcome {
    let file = daemon.write("device.xml", xml);
    daemon.virsh_words(&[verb, name, file.to_str().expect("text"), how])
}

/// A process's device names, as QEMU has them.
fn in_qemu(daemon: &Daemon, name: &str) -> String {
    let question = r#"{"execute":"qom-list","arguments":{"path":"/machine/peripheral"}}"#;
    daemon.virsh_words(&["qemu-monitor-command", name, question]).ok()
}

#[test]
fn devices_of_every_kind_come_and_those_that_need_no_consent_go() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "kinds");
    let file = image(&daemon, "usb.img");
    let before = live(&daemon, "kinds");
    for (xml, alias) in [
        (
            format!(
                "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
                 <target dev='sdb' bus='usb'/></disk>",
                file.display()
            ),
            "usb-disk1",
        ),
        (
            format!(
                "<disk type='file' device='cdrom'><source file='{}'/>\
                 <target dev='sdc' bus='scsi'/></disk>",
                image(&daemon, "cd.img").display()
            ),
            "scsi0-0-0-2",
        ),
        ("<input type='tablet' bus='usb'/>".to_owned(), "input2"),
        (
            "<channel type='unix'><target type='virtio' name='a.b'/></channel>".to_owned(),
            "channel0",
        ),
    ] {
        device(&daemon, "attach-device", "kinds", &xml, "--live").ok();
        assert!(in_qemu(&daemon, "kinds").contains(&format!("\"{alias}\"")), "{xml}");
        let shown = live(&daemon, "kinds");
        assert!(shown.contains(&format!("<alias name='{alias}'/>")), "{xml}:\n{shown}");
        assert!(!stored(&daemon, "kinds").contains("<address type='usb' bus='0' port='1'/>"));
        device(&daemon, "detach-device", "kinds", &xml, "--live").ok();
        assert!(!in_qemu(&daemon, "kinds").contains(&format!("\"{alias}\"")), "{xml}");
        assert_eq!(live(&daemon, "kinds"), before, "{xml}");
    }
    let owner = fs::metadata(&file).expect("there").uid();
    assert_eq!(owner, rustix::process::getuid().as_raw(), "a disk that left is its owner's again");
    domains::discard(&daemon, "kinds");
}

#[test]
fn what_cannot_come_is_refused_and_leaves_nothing() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "refused");
    let before = live(&daemon, "refused");
    let disk = |bus: &str, dev: &str, path: &str| {
        format!("<disk type='file'><source file='{path}'/><target dev='{dev}' bus='{bus}'/></disk>")
    };
    let file = image(&daemon, "r.img");
    let file = file.to_str().expect("text");
    for (xml, expected) in [
        (disk("sata", "sdb", file), "error: Operation not supported: disk bus 'sata' cannot be hotplugged."),
        (disk("scsi", "sda", file), "error: XML error: target 'sda' duplicated for disk sources"),
        (disk("virtio", "vda", "/nowhere"), "Cannot access storage file '/nowhere': No such file"),
        ("<video/>".to_owned(), "unsupported configuration: video type 'cirrus' is only valid as primary video device"),
        ("<hub type='usb'/>".to_owned(), "Operation not supported: live attach of device 'hub' is not supported"),
        ("<foo/>".to_owned(), "unsupported configuration: unknown device type 'foo'"),
        (
            "<redirdev bus='usb' type='tcp'><source mode='connect' host='127.0.0.1' service='1'/></redirdev>".to_owned(),
            "internal error: unable to execute QEMU command 'chardev-add': ",
        ),
    ] {
        device(&daemon, "attach-device", "refused", &xml, "--live").fails_with(&[expected]);
    }
    device(&daemon, "detach-device", "refused", &disk("virtio", "vdz", file), "--live")
        .fails_with(&["error: device not found: disk vdz not found"]);
    daemon
        .virsh("detach-device-alias refused nope --live")
        .fails_with(&["error: internal error: no device found with alias nope"]);
    assert_eq!(live(&daemon, "refused"), before);
    domains::discard(&daemon, "refused");
}

#[test]
fn a_guest_that_does_not_let_go_keeps_its_disk() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "kept");
    let file = image(&daemon, "kept.img");
    let xml = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk>",
        file.display()
    );
    device(&daemon, "attach-device", "kept", &xml, "--live").ok();
    // As with libvirt the call is over after a while, and the device still there.
    device(&daemon, "detach-device", "kept", &xml, "--live").ok();
    assert!(live(&daemon, "kept").contains("<target dev='vda' bus='virtio'/>"));
    daemon.virsh("domblklist kept").ok();
    // A reset is what gives it up: nobody waits any more, and it is removed all the same.
    daemon.virsh("reset kept").ok();
    wait::until("the disk is gone", || (!live(&daemon, "kept").contains("vda")).then_some(()));
    let owner = || fs::metadata(&file).expect("there").uid();
    assert_eq!(owner(), rustix::process::getuid().as_raw());
    domains::discard(&daemon, "kept");
}

#[test]
fn a_stored_definition_gets_and_loses_devices() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "stored");
    let before = stored(&daemon, "stored");
    let running = live(&daemon, "stored");
    let disk = "<disk type='file'><driver name='qemu' type='raw'/><source file='/x.img'/>\
                <target dev='sdf' bus='sata'/></disk>";
    let nic = "<interface type='user'><mac address='52:54:00:00:00:09'/><model type='virtio'/>\
               </interface>";
    for (xml, twice) in [
        (disk, "error: Requested operation is not valid: target sdf already exists"),
        (
            "<lease><lockspace>a</lockspace><key>b</key><target path='/l'/></lease>",
            "error: Requested operation is not valid: Lease b in lockspace a already exists",
        ),
    ] {
        device(&daemon, "attach-device", "stored", xml, "--config").ok();
        device(&daemon, "attach-device", "stored", xml, "--config").fails_with(&[twice]);
        device(&daemon, "detach-device", "stored", xml, "--config").ok();
        assert_eq!(stored(&daemon, "stored"), before, "{xml}");
    }
    device(&daemon, "attach-device", "stored", nic, "--config").ok();
    assert!(stored(&daemon, "stored").contains("52:54:00:00:00:09"));
    assert_eq!(live(&daemon, "stored"), running, "the guest that runs is not touched");
    device(&daemon, "detach-device", "stored", nic, "--config").ok();
    device(&daemon, "detach-device", "stored", nic, "--config").fails_with(&[
        "error: device not found: no device found at address '(<null>)' matching MAC address \
         '52:54:00:00:00:09' and alias '(<null>)'",
    ]);
    device(&daemon, "attach-device", "stored", "<hub type='usb'/>", "--config").fails_with(&[
        "error: Operation not supported: persistent attach of device 'hub' is not supported",
    ]);
    domains::discard(&daemon, "stored");
}

#[test]
fn media_passwords_and_cables_change() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "changed");
    let (one, two) = (image(&daemon, "one.iso"), image(&daemon, "two.iso"));
    let path = |path: &PathBuf| path.to_str().expect("text").to_owned();
    daemon.virsh_words(&["change-media", "changed", "sda", &path(&one), "--insert"]).ok();
    assert!(daemon.virsh("domblklist changed").ok().contains(&path(&one)));
    daemon.virsh_words(&["change-media", "changed", "sda", &path(&two), "--update"]).ok();
    assert!(daemon.virsh("domblklist changed").ok().contains(&path(&two)));
    let mine = rustix::process::getuid().as_raw();
    assert_eq!(fs::metadata(&one).expect("there").uid(), mine, "the old medium is given back");
    daemon
        .virsh_words(&["change-media", "changed", "sda", "/nowhere.iso", "--update"])
        .fails_with(&["/nowhere.iso"]);
    assert!(daemon.virsh("domblklist changed").ok().contains(&path(&two)), "the old one stays in");
    daemon.virsh("change-media changed sda --eject").ok();
    assert!(!daemon.virsh("domblklist changed").ok().contains("two.iso"));

    let nic = "<interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/>\
               </interface>";
    device(&daemon, "attach-device", "changed", nic, "--live").ok();
    daemon.virsh("domif-setlink changed 52:54:00:00:00:07 down").ok();
    assert!(daemon.virsh("domif-getlink changed 52:54:00:00:00:07").ok().contains("down"));
    let other = nic.replace("virtio", "e1000");
    device(&daemon, "update-device", "changed", &other, "--live").fails_with(&[
        "error: Operation not supported: cannot modify network device model from virtio to e1000",
    ]);
    let shown = daemon.virsh("dumpxml changed --security-info").ok();
    let start = shown.find("<graphics").expect("a display");
    let end = shown.find("</graphics>").expect("its end") + "</graphics>".len();
    let graphics = shown[start..end].replace("passwd='one'", "passwd='two'");
    device(&daemon, "update-device", "changed", &graphics, "--live").ok();
    assert!(daemon.virsh("dumpxml changed --security-info").ok().contains("passwd='two'"));
    let elsewhere = "<graphics type='vnc' passwd='two'><listen type='none'/></graphics>";
    device(&daemon, "update-device", "changed", elsewhere, "--live").fails_with(&[
        "error: Operation not supported: cannot change the type of listen address on 'vnc' graphics",
    ]);
    domains::discard(&daemon, "changed");
}

#[test]
fn devices_outlive_the_daemon_and_what_left_meanwhile_is_noticed() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    empty_guest(&daemon, "killed");
    let file = image(&daemon, "k.img");
    let xml = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='sdb' bus='usb'/></disk>",
        file.display()
    );
    device(&daemon, "attach-device", "killed", &xml, "--live").ok();
    daemon.kill();
    daemon.restart();
    assert!(live(&daemon, "killed").contains("<alias name='usb-disk1'/>"));
    // Behind the daemon's back: no event is heard while it is away, so the device is taken while
    // it listens to nothing.
    let socket = daemon.path("var/lib/libvirt/qemu").join("domain-1-killed/monitor.sock");
    daemon.kill();
    python("qmp", &[socket.to_str().expect("text"), "device_del", "usb-disk1"]).ok();
    daemon.restart();
    wait::until("the device is known to be gone", || {
        (!live(&daemon, "killed").contains("usb-disk1")).then_some(())
    });
    let owner = || fs::metadata(&file).expect("there").uid();
    wait::until("the disk is given back", || {
        (owner() == rustix::process::getuid().as_raw()).then_some(())
    });
    domains::discard(&daemon, "killed");
}

#[test]
fn a_linux_guest_lets_go_of_what_it_is_asked_for() {
    let daemon = Daemon::start();
    daemon.define(&domains::linux("gives", guests::linux(), "", "")).ok();
    daemon.virsh("start gives").ok();
    python("console_stream", &[daemon.uri().as_str(), "gives"]).ok();
    let before = live(&daemon, "gives");
    let disk = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk>",
        image(&daemon, "g.img").display()
    );
    let nic = "<interface type='user'><mac address='52:54:00:00:00:08'/><model type='virtio'/>\
               </interface>";
    for xml in [disk.as_str(), nic] {
        device(&daemon, "attach-device", "gives", xml, "--live").ok();
        assert_ne!(live(&daemon, "gives"), before, "{xml}");
        device(&daemon, "detach-device", "gives", xml, "--live").ok();
        assert_eq!(live(&daemon, "gives"), before, "{xml}");
    }
    domains::discard(&daemon, "gives");
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    empty_guest(&daemon, "dry");
    let file = image(&daemon, "dry.img");
    let xml = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='sdb' bus='usb'/></disk>",
        file.display()
    );
    let path = daemon.write("dry.xml", xml);
    let path = path.display();
    let before = (live(&daemon, "dry"), stored(&daemon, "dry"));
    let told = |line: &str, parts: &[&str]| {
        let said = daemon.ironvirt(line).ok();
        for part in parts {
            assert!(said.contains(part), "{line}: no {part:?} in\n{said}");
        }
    };
    let disk =
        ["host  require ", "QEMU  blockdev-add ", "QEMU  device_add ", "guest sees a device"];
    told(&format!("attach-device dry {path} --live --dry-run"), &disk);
    let both = ["QEMU  device_add ", "file  write "];
    told(&format!("attach-device dry {path} --live --config --dry-run"), &both);
    told(&format!("attach-disk dry {} sdc --targetbus usb --dry-run", file.display()), &disk);
    told("destroy dry --dry-run", &["host  end QEMU, process ", "guest loses its power"]);
    told("destroy dry --graceful --dry-run", &["SIGTERM, and nothing more"]);
    told("destroy dry --remove-logs --dry-run", &["file  remove ", "/dry.log"]);
    told("undefine dry --dry-run", &["file  remove ", "/dry.xml", "guest runs on"]);
    daemon
        .ironvirt(&format!("detach-device dry {path} --live --dry-run"))
        .fails_with(&["error: device not found: disk sdb not found"]);
    assert_eq!((live(&daemon, "dry"), stored(&daemon, "dry")), before);
    assert!(!in_qemu(&daemon, "dry").contains("usb-disk1"));
    daemon.ironvirt(&format!("attach-device dry {path} --live")).ok();
    let gone = ["QEMU  device_del usb-disk1", "guest is asked", "blockdev-del"];
    told(&format!("detach-device dry {path} --live --dry-run"), &gone);
    told("detach-device-alias dry usb-disk1 --dry-run", &gone);
    assert!(in_qemu(&daemon, "dry").contains("usb-disk1"));
    let log = daemon.path("var/log/libvirt/qemu/dry.log");
    assert!(log.exists());
    daemon.ironvirt("destroy dry --remove-logs").ok();
    assert!(!log.exists(), "its log stayed");
    told("start dry --dry-run", &["host  ", "QEMU  ", "guest boots"]);
    told("start dry --paused --dry-run", &["guest is loaded, and stands still"]);
    let pool = daemon.path("images");
    daemon.virsh(&format!("pool-create-as images dir --target {}", pool.display())).ok();
    let volume = daemon.write("images/volume.img", vec![0; 4096]);
    daemon.virsh("pool-refresh images").ok();
    daemon.virsh(&format!("attach-disk dry {} vdz --config", volume.display())).ok();
    let deletes = format!("file  delete volume 'vdz' ({})", volume.display());
    told("undefine dry --remove-all-storage --dry-run", &["/dry.xml", &deletes]);
    assert!(volume.exists() && daemon.virsh("dominfo dry").status == 0);
    daemon.wait_for_state("dry", "shut off (destroyed)");
    domains::discard(&daemon, "dry");
}

/// Whoever watches a thin image grow asks for it: the file's own sizes, also while a guest writes.
#[test]
fn an_images_sizes_are_its_files_also_while_it_is_written() {
    use std::os::unix::fs::MetadataExt;
    let daemon = Daemon::start();
    empty_guest(&daemon, "sizes");
    let file = image(&daemon, "sizes.img");
    daemon.virsh(&format!("attach-disk sizes {} vda", file.display())).ok();
    let write = "qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend \"write 512k 64k\"";
    daemon.virsh_words(&["qemu-monitor-command", "sizes", "--hmp", write]).ok();
    let is = fs::metadata(&file).expect("the image");
    assert!(is.blocks() >= 128, "nothing was written");
    let said = daemon.virsh("domblkinfo sizes vda").ok();
    for (label, bytes) in
        [("Capacity:", 1 << 20), ("Allocation:", is.blocks() * 512), ("Physical:", 1 << 20)]
    {
        let line = format!("{label:<15} {bytes}\n");
        assert!(said.contains(&line), "no {line:?} in\n{said}");
    }
    domains::discard(&daemon, "sizes");
}

/// What is wrong with a device in itself is told before whether there is a place for it, or it is
/// there already; what it refers to that is not there comes next.
#[test]
fn what_is_wrong_with_a_device_comes_before_its_place() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "faulty");
    let file = image(&daemon, "f.img");
    let disk = |rest: &str| {
        format!("<disk type='file' device='disk'><source file='{}'/>{rest}</disk>", file.display())
    };
    let before = (live(&daemon, "faulty"), stored(&daemon, "faulty"));
    // No root port is free then: a device without a fault has no place.
    let full = "<interface type='user'><model type='virtio'/></interface>";
    let is_full = || device(&daemon, "attach-device", "faulty", full, "--live").status != 0;
    while !is_full() {}
    let place = "error: internal error: No more available PCI slots";
    device(&daemon, "attach-device", "faulty", full, "--live").fails_with(&[place]);
    for (xml, how, expected) in [
        (disk("<target dev='vdw' bus='virtio'/><wwn>5000c50015ea71ad</wwn>"), "--live", "unsupported configuration: Only ide and scsi disk support wwn"),
        (disk("<driver name='qemu' iothread='3'/><target dev='vdw' bus='virtio'/>"), "--live", "unsupported configuration: Disk iothread '3' not defined in iothreadid"),
        ("<vsock model='virtio'><cid auto='no' address='2'/></vsock>".into(), "--live", "unsupported configuration: guest CIDs must be >= 3"),
        ("<shmem name='s'><model type='ivshmem-plain'/><size unit='M'>3</size></shmem>".into(), "--live", "XML error: shmem size must be a power of 2 and at least 1 MiB (1024 KiB)"),
        ("<disk type='volume'><source pool='nopool' volume='v'/><target dev='vdw'/></disk>".into(), "--live", "Storage pool not found: no storage pool with matching name 'nopool'"),
        ("<rng model='virtio'><backend model='builtin'/><address type='pci' bus='1' slot='0' function='1'/></rng>".into(), "--live", "internal error: Only PCI device addresses with function=0 are supported"),
        ("<rng model='virtio'><backend model='builtin'/><address type='pci' bus='0' slot='9'/></rng>".into(), "--live", "XML error: The device at PCI address 0000:00:09.0 requires hotplug capability, but the PCI controller with index='0' doesn't support hotplug"),
        ("<rng model='virtio'><backend model='builtin'/><address type='pci' bus='70' slot='0'/></rng>".into(), "--live", "XML error: Invalid PCI address 0000:46:00.0. Only PCI buses up to "),
        ("<channel type='pty'><target type='virtio' name='b'/><address type='virtio-serial' controller='5' bus='0' port='1'/></channel>".into(), "--live", "XML error: virtio serial controller 5 is missing"),
        ("<console type='pty'/>".into(), "--live", "unsupported configuration: unsupported console target type serial"),
        ("<console type='pty'/>".into(), "--config", "Operation not supported: attaching serial console is not supported"),
        ("<watchdog model='itco' action='reset'/>".into(), "--config", "Requested operation is not valid: device is already in the domain configuration"),
        ("<memory model='dimm'><target><size unit='GiB'>4</size><node>0</node></target></memory>".into(), "--config", "unsupported configuration: Attaching memory device with size '4194304' would exceed domain's maxMemory config size '524288'"),
        ("<memory model='dimm'><source><nodemask>77</nodemask></source><target><size unit='MiB'>128</size><node>0</node></target></memory>".into(), "--live", "unsupported configuration: NUMA node 77 is unavailable"),
        ("<input type='evdev'><source dev='/nowhere/event'/></input>".into(), "--live", "Path '/nowhere/event' is not accessible: No such file or directory"),
        ("<serial type='file'><source path='/nowhere/x'/><target type='usb-serial'/></serial>".into(), "--live", "Unable to open file: /nowhere/x: No such file or directory"),
    ] {
        device(&daemon, "attach-device", "faulty", &xml, how)
            .fails_with(&[&format!("error: {expected}")]);
    }
    assert_eq!(stored(&daemon, "faulty"), before.1);
    let dimm =
        "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>";
    for (verb, how, expected) in [
        ("update-device", "--config", "error: invalid argument: memory not found"),
        ("update-device", "--live", "error: unsupported configuration: memory '(null)' not found"),
        ("attach-device", "--live", "Device attached successfully"),
        ("attach-device", "--live", "Device attached successfully"),
        (
            "attach-device",
            "--live",
            "error: unsupported configuration: count of memory devices requiring memory slots '3' exceeds slots count '2'",
        ),
    ] {
        let said = device(&daemon, verb, "faulty", dimm, how);
        assert!(
            format!("{}{}", said.stdout, said.stderr).contains(expected),
            "{expected}: {said:?}"
        );
    }
    domains::discard(&daemon, "faulty");
}

/// A device that a stored definition loses and every such guest has is there again.
#[test]
fn what_every_guest_has_comes_back() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "back");
    let mouse = "<input type='mouse' bus='ps2'/>";
    let inputs = |xml: &str| xml.matches("<input ").count();
    let before = inputs(&stored(&daemon, "back"));
    device(&daemon, "detach-device", "back", mouse, "--config").ok();
    let after = stored(&daemon, "back");
    assert_eq!(inputs(&after), before, "{after}");
    assert!(after.contains(mouse), "{after}");
    domains::discard(&daemon, "back");
}

/// A medium that is refused leaves the drive as it is; one that is attached asks for nothing but
/// itself.
#[test]
fn media_are_attached_and_refused() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "media");
    let file = image(&daemon, "medium.iso");
    let drive = || -> String {
        let xml = live(&daemon, "media");
        let start = xml.find("<disk ").expect("a drive");
        xml[start..start + xml[start..].find("</disk>").expect("its end")].to_owned()
    };
    daemon
        .virsh(&format!("change-media media sda {} --insert --block", file.display()))
        .fails_with(&["either a character or block device"]);
    assert!(drive().starts_with("<disk type='file' device='cdrom'>"), "{}", drive());
    let other_bus = format!(
        "<disk type='file' device='cdrom'><driver name='qemu' cache='none'/>\
         <source file='{}'/><target dev='sda'/></disk>",
        file.display()
    );
    device(&daemon, "attach-device", "media", &other_bus, "--live").ok();
    let now = drive();
    assert!(now.contains("medium.iso") && now.contains("bus='sata'"), "{now}");
    assert!(!now.contains("cache="), "{now}");
    let said = device(&daemon, "update-device", "media", &other_bus, "--live");
    said.fails_with(&["Operation not supported: cannot modify field 'bus' of the disk"]);
    domains::discard(&daemon, "media");
}

/// Actions that cannot be together are refused for the guest that runs, too.
#[test]
fn actions_that_conflict_are_refused() {
    let daemon = Daemon::start();
    empty_guest(&daemon, "acts");
    daemon.virsh("set-lifecycle-action acts poweroff restart").ok();
    let before = (live(&daemon, "acts"), stored(&daemon, "acts"));
    daemon.virsh("set-lifecycle-action acts reboot destroy --live --config").fails_with(&[
        "unsupported configuration: qemu driver doesn't support 'onReboot' set to 'destroy and \
         'onPoweroff' set to 'reboot'",
    ]);
    assert_eq!((live(&daemon, "acts"), stored(&daemon, "acts")), before);
    domains::discard(&daemon, "acts");
}
