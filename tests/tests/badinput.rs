//! Bad input in files and in what a guest needs: a clear error, and nothing changed.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use tests::{Daemon, Options, domains, namespace, paths, wait};

#[test]
fn every_fault_of_malformed_xml_is_reported_with_its_place() {
    let daemon = Daemon::start();
    let file = daemon.write(
        "faults.xml",
        "<domain type='qemu'>
  <name>faults</name>
  <memory unit='MoB'>32</memory>
  <vcpu>many</vcpu>
  <os><type>hvm</type></os>
  <on_crash>explode</on_crash>
</domain>
",
    );
    let said = daemon.ironvirt(&format!("define {}", file.display())).failed();
    for part in ["MoB", "many", "explode", "^", "faults.xml:3:", "faults.xml:4:", "faults.xml:6:"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert_eq!(daemon.virsh("list --all --name").ok().trim(), "");
}

#[test]
fn text_that_is_not_xml_is_refused() {
    let daemon = Daemon::start();
    let faults = [
        "",
        "not xml",
        "<domain",
        "<domain type='qemu'><name>x</name>",
        "<domain type='qemu'></network>",
        "<!DOCTYPE d [<!ENTITY a 'b'>]><domain type='qemu'><name>&a;</name></domain>",
        "<domain type='qemu'><name>a\u{1}b</name></domain>",
    ];
    for text in faults {
        let said = daemon.define(text).failed();
        assert!(said.contains("error: "), "{text:?}: {said}");
    }
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    daemon.define(&deep).failed();
    assert_eq!(daemon.virsh("list --all --name").ok().trim(), "");
}

#[test]
fn what_the_emulator_lacks_is_refused_before_anything_is_touched() {
    let daemon = Daemon::start();
    let emulator = "/usr/bin/qemu-system-s390x";
    if daemon.is_external() || !std::path::Path::new(emulator).exists() {
        return;
    }
    let define = |devices: &str| {
        let xml = format!(
            "<domain type='qemu'><name>lacking</name>
             <uuid>6e9e8c52-77b6-4c39-a2bd-2cdf2d1f6b0e</uuid><memory unit='MiB'>128</memory>
             <os><type arch='s390x' machine='s390-ccw-virtio'>hvm</type></os>
             <devices><emulator>{emulator}</emulator>{devices}</devices></domain>"
        );
        daemon.define(&xml).ok();
    };
    // The interface has a model of the user's own: libvirt leaves it to QEMU.
    define("<interface type='user'/><interface type='user'><model type='e1000'/></interface>");
    let expected = format!("<interface[2]> needs the device 'e1000', which {emulator} (version ");
    let refused = |verb: &str| {
        let said = daemon.ironvirt(verb).failed();
        assert!(said.contains(&expected) && said.contains(") lacks"), "{verb}: {said}");
    };
    refused("start lacking");
    daemon.wait_for_state("lacking", "shut off (failed)");
    let log = daemon.path("var/log/libvirt/qemu/lacking.log");
    assert!(!log.exists(), "QEMU was not run, nor its log begun");
    refused("explain lacking");
    refused("start lacking --dry-run");
    define("<controller type='scsi' model='virtio-scsi'/>");
    daemon.virsh("start lacking --paused").ok();
    let device = "<interface type='user'><model type='e1000'/></interface>";
    let file = daemon.write("device.xml", device);
    let before = daemon.virsh("dumpxml lacking").ok();
    let said = daemon.virsh(&format!("attach-device lacking {}", file.display())).failed();
    let expected = "needs the device 'e1000', which ";
    assert!(said.contains(expected) && !said.contains("QEMU command"), "{said}");
    assert_eq!(daemon.virsh("dumpxml lacking").ok(), before);
    daemon.virsh("destroy lacking").ok();
    daemon.virsh("undefine lacking").ok();
}

#[test]
fn a_missing_disk_is_named() {
    let daemon = Daemon::start();
    let xml = domains::boot_sector(&daemon, "nodisk");
    std::fs::remove_file(daemon.path("images/nodisk.img")).unwrap();
    daemon.define(&xml).ok();
    daemon.virsh("start nodisk").fails_with(&["nodisk.img", "No such file or directory"]);
    daemon.wait_for_state("nodisk", "shut off (failed)");
    daemon.virsh("undefine nodisk").ok();
}

#[test]
fn a_missing_kernel_is_named() {
    let daemon = Daemon::start();
    let os = "<os><type>hvm</type><kernel>/nonexistent/vmlinuz</kernel></os>";
    daemon.define(&with_os("nokernel", os)).ok();
    daemon.virsh("start nokernel").fails_with(&["/nonexistent/vmlinuz"]);
    daemon.wait_for_state("nokernel", "shut off (failed)");
    daemon.virsh("undefine nokernel").ok();
}

#[test]
fn a_missing_emulator_is_named() {
    let daemon = Daemon::start();
    let xml = domains::minimal("noqemu").replace(
        "<devices/>",
        "<devices><emulator>/nonexistent/qemu-system-x86_64</emulator></devices>",
    );
    // libvirt refuses it when it is defined, as it cannot ask it for its machines.
    daemon.define(&xml).fails_with(&["/nonexistent/qemu-system-x86_64"]);
    assert!(!daemon.virsh("list --all --name").ok().contains("noqemu"));
}

#[test]
fn what_the_emulator_lacks_is_named_before_anything_is_touched() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let disk = daemon.write("images/lacking.img", "x");
    let before = std::fs::metadata(&disk).unwrap();
    let devices = format!(
        "<disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <crypto model='virtio' type='qemu'><backend model='builtin'/></crypto>",
        disk.display()
    );
    let xml = domains::minimal("lacking")
        .replace("<devices/>", &format!("<devices>{devices}</devices>"))
        .replace(
            "</domain>",
            "<capabilities xmlns='http://libvirt.org/schemas/domain/qemu/1.0'>\
             <del capability='virtio-crypto'/></capabilities></domain>",
        );
    daemon.define(&xml).ok();
    daemon.virsh("start lacking").fails_with(&[
        "<crypto model='virtio'>",
        "'virtio-crypto'",
        "qemu-system-x86_64 (version ",
    ]);
    daemon.wait_for_state("lacking", "shut off (failed)");
    let after = std::fs::metadata(&disk).unwrap();
    let touched = |m: &std::fs::Metadata| (m.uid(), m.gid(), m.mode(), m.ctime(), m.ctime_nsec());
    assert_eq!(touched(&after), touched(&before));
    assert!(daemon.qemus().is_empty());
    daemon.virsh("undefine lacking").ok();
}

#[test]
fn what_a_failing_qemu_says_is_in_the_error() {
    let daemon = Daemon::start();
    let xml = domains::minimal("nonsense")
        .replace(
            "<domain type='qemu'>",
            "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
        )
        .replace(
            "</domain>",
            "<qemu:commandline><qemu:arg value='-nonsense'/></qemu:commandline></domain>",
        );
    daemon.define(&xml).ok();
    daemon.virsh("start nonsense").fails_with(&["-nonsense: invalid option"]);
    daemon.wait_for_state("nonsense", "shut off (failed)");
    assert!(daemon.qemus().is_empty());
    daemon.virsh("undefine nonsense").ok();
}

#[test]
fn a_kvm_guest_is_kept_where_kvm_does_not_run() {
    let daemon = Daemon::start();
    let capabilities = daemon.virsh("capabilities").ok();
    if daemon.is_external() || capabilities.contains("<domain type='kvm'") {
        return; // here it would simply run
    }
    let xml = domains::minimal("wantskvm").replace("type='qemu'", "type='kvm'");
    daemon.define(&xml);
    let said = daemon.virsh("start wantskvm").failed();
    assert!(said.to_lowercase().contains("kvm") || said.contains("failed to get domain"), "{said}");
}

#[test]
fn stored_files_that_are_cut_short_stay_and_are_reported() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    for name in ["good", "cut", "garbage", "empty"] {
        daemon.define(&domains::minimal(name)).ok();
    }
    daemon.stop();
    let file = |name: &str| daemon.path(&format!("etc/libvirt/qemu/{name}.xml"));
    let whole = std::fs::read(file("cut")).expect("the definition is a file");
    let cut = whole[..whole.len() / 2].to_vec();
    std::fs::write(file("cut"), &cut).unwrap();
    std::fs::write(file("garbage"), b"\x00\xff not xml").unwrap();
    std::fs::write(file("empty"), b"").unwrap();
    std::fs::create_dir(file("folder")).unwrap();
    // Somebody who opens a pipe waits, unless told not to: also behind a link.
    let pipe = daemon.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    std::os::unix::fs::symlink(&pipe, file("piped")).unwrap();
    daemon.launch();

    assert_eq!(daemon.virsh("list --all --name").ok().trim(), "good");
    let log = daemon.log();
    for name in ["cut.xml", "garbage.xml", "empty.xml", "folder.xml", "piped.xml"] {
        assert!(log.contains(name), "{name} is not in the log:\n{log}");
    }
    let file = |name: &str| daemon.path(&format!("etc/libvirt/qemu/{name}.xml"));
    assert_eq!(std::fs::read(file("cut")).unwrap(), cut, "the file was changed");
    assert_eq!(std::fs::read(file("garbage")).unwrap(), b"\x00\xff not xml");
    assert_eq!(std::fs::read(file("empty")).unwrap(), b"");
}

#[test]
fn a_full_disk_refuses_a_definition_and_changes_nothing() {
    namespace::inside("a_full_disk_refuses_a_definition_and_changes_nothing", || {
        let mut daemon = Daemon::prepare(Options::default());
        if daemon.is_external() {
            return;
        }
        let folder = daemon.path("etc/libvirt/qemu");
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"])
            .arg(&folder)
            .status()
            .expect("mount runs");
        assert!(mounted.success());
        daemon.launch();
        daemon.define(&domains::minimal("before")).ok();
        let before = daemon.virsh("dumpxml before").ok();
        let filler = folder.join("filler");
        // Fills it to the last block; the error at the end is the point.
        let _ = std::fs::write(&filler, vec![0; 1 << 20]);

        daemon.define(&domains::minimal("after")).fails_with(&["No space left on device"]);
        let changed = before.replace("<vcpu placement='static'>1<", "<vcpu placement='static'>2<");
        assert_ne!(changed, before);
        daemon.define(&changed).fails_with(&["No space left on device"]);
        assert_eq!(daemon.virsh("list --all --name").ok().trim(), "before");
        assert_eq!(daemon.virsh("dumpxml before").ok(), before);
        assert!(!folder.join("after.xml").exists());

        std::fs::remove_file(&filler).unwrap();
        daemon.define(&domains::minimal("after")).ok();
        daemon.restart();
        assert_eq!(daemon.virsh("dumpxml before").ok(), before);
        // Its folder can only be removed without the mount.
        daemon.stop();
        assert!(Command::new("umount").arg(&folder).status().expect("umount runs").success());
    });
}

#[test]
fn a_root_too_long_for_sockets_is_refused_at_start() {
    let long = format!("/var/tmp/{}", "x".repeat(100));
    let outcome = tests::tool(paths::ironvirt(), &["daemon", "--root", &long], "");
    outcome.fails_with(&["107"]);
    assert!(!std::path::Path::new(&long).exists(), "it left a folder behind");
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let root = daemon.root().to_string_lossy().into_owned();
    tests::tool(paths::ironvirt(), &["daemon", "--root", &root], "").failed();
    daemon.assert_well();
}

#[test]
fn an_unreadable_folder_is_an_error_and_no_panic() {
    let mut daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return;
    }
    // A file where a folder should be.
    daemon.write("etc/libvirt/qemu", "in the way");
    let root = daemon.root().to_string_lossy().into_owned();
    let said = tests::tool(
        "timeout",
        &["10", &paths::ironvirt().to_string_lossy(), "daemon", "--root", &root],
        "",
    );
    assert!(!said.stderr.contains("panicked"), "{said}");
    std::fs::remove_file(daemon.path("etc/libvirt/qemu")).unwrap();
    std::fs::set_permissions(daemon.path("etc"), std::fs::Permissions::from_mode(0o755)).unwrap();
    daemon.launch();
    wait::until("an answer", || (daemon.virsh("list").status == 0).then_some(()));
}

fn with_os(name: &str, os: &str) -> String {
    domains::minimal(name).replace("<os><type arch='x86_64' machine='pc'>hvm</type></os>", os)
}

#[test]
fn the_longest_name_works_throughout_and_longer_ones_nowhere() {
    let daemon = Daemon::start();
    let name = format!("{:n<247}", "longest-");
    daemon.define(&domains::minimal(&name)).ok();
    daemon.virsh_words(&["start", &name]).ok();
    daemon.virsh_words(&["destroy", &name]).ok();
    daemon.virsh_words(&["undefine", &name]).ok();
    daemon.virsh_with_file("create", &domains::minimal(&name)).ok();
    daemon.virsh_words(&["destroy", &name]).ok();
    let longer = format!("{name}n");
    let said = [".xml.new': File name too long"];
    daemon.define(&domains::minimal(&longer)).fails_with(&said);
    daemon.virsh_with_file("create", &domains::minimal(&longer)).fails_with(&said);
    daemon.define(&domains::minimal("short")).ok();
    daemon.virsh_words(&["domrename", "short", &longer]).fails_with(&said);
    let listed = daemon.virsh("list --all --name").ok();
    assert!(listed.lines().any(|line| line == "short") && !listed.contains("longest"), "{listed}");
    domains::discard(&daemon, "short");
}

#[test]
fn settings_of_a_wrong_type_are_refused_with_their_place() {
    let daemon = Daemon::prepare(tests::Options::default());
    if daemon.is_external() {
        return;
    }
    let root = daemon.root().to_string_lossy().into_owned();
    for (file, text, expected) in [
        ("libvirtd.conf", "\nmax_clients = \"abc\"\n", "2: max_clients: expected a whole number"),
        ("libvirtd.conf", "max_clients = 0\n", "1: max_clients: expected 1 or more"),
        ("qemu.conf", "lock_manager = 5\n", "1: lock_manager: expected a quoted string"),
        ("qemu.conf", "max_queued = [ \"a\" ]\n", "1: max_queued: expected a whole number"),
    ] {
        let path = daemon.write(&format!("etc/libvirt/{file}"), text);
        let mut args = vec!["daemon", "--root", root.as_str()];
        if daemon.session() {
            args.push("--session");
        }
        let said = tests::tool(tests::paths::ironvirt(), &args, "").failed();
        assert!(said.contains(&format!("{file}:{expected}")), "{said}");
        std::fs::remove_file(path).expect("our own");
    }
}

#[test]
fn a_lock_manager_that_is_not_there_refuses_starts() {
    let mut daemon = Daemon::prepare(tests::Options::default());
    if daemon.is_external() {
        return;
    }
    daemon.write("etc/libvirt/qemu.conf", "lock_manager = \"sanlock\"\n");
    daemon.launch();
    daemon.define(&domains::minimal("locked")).ok();
    let said = daemon.virsh("start locked").failed();
    assert!(said.contains("lock manager 'sanlock' of qemu.conf is not there"), "{said}");
    assert_eq!(daemon.virsh("domstate locked").ok().trim(), "shut off");
}

#[test]
fn content_that_is_not_understood_is_told_in_the_domains_log() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::minimal("odd").replace("<devices/>", "<devices/><gadget/>")).ok();
    daemon.define(&domains::minimal("plain")).ok();
    let log = |name: &str| {
        let below = if daemon.session() { "" } else { "var/log/libvirt/qemu/" };
        std::fs::read_to_string(daemon.path(&format!("{below}{name}.log"))).unwrap_or_default()
    };
    if !daemon.session() {
        assert!(log("odd").contains("not understood"), "{}", daemon.log());
        assert_eq!(log("plain"), "");
    }
    assert!(daemon.log().contains("gadget"), "{}", daemon.log());
    assert!(daemon.virsh("domblkerror odd").failed().contains("not running"));
}

/// The names by which a daemon is reached, with libvirtd's answers.
#[test]
fn a_name_that_the_daemon_does_not_serve_is_refused() {
    let daemon = Daemon::start();
    let uri = daemon.uri();
    let (before, socket) = uri.split_once("?").expect("a socket");
    let open = |before: &str, more: &str| {
        let uri = format!("{before}?{socket}{more}");
        tests::tool("virsh", &["-c", &uri, "version"], "")
    };
    open(before, "").ok();
    if daemon.session() {
        return;
    }
    // Root has no session of its own.
    open("qemu+unix:///session", "").ok();
    for (before, more, expected) in [
        ("qemu+unix:///foo", "", "unexpected qemu URI path '/foo', try qemu:///system"),
        ("qemu+unix:///", "", "unexpected qemu URI path '/', try qemu:///system"),
        ("qemu+unix:///system", "&name=qemu:", "unexpected qemu URI path '', try qemu:///system"),
        ("xen+unix:///system", "", "no connection driver available for xen:///system"),
    ] {
        let said = open(before, more).failed();
        assert!(said.contains(expected), "{before}{more}: {said}");
    }
}
