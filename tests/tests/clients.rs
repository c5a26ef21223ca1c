//! Debian's clients, unmodified, against the daemon: virsh, python3-libvirt, virt-install.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tests::{Daemon, domains, guests, processes, python, tool, wait};

#[test]
fn virsh_takes_a_guest_through_its_life() {
    let daemon = Daemon::start();
    let name = "life";
    daemon.define(&domains::boot_sector(&daemon, name)).ok();
    daemon.virsh("start life").ok();
    daemon.wait_for_state(name, "running (booted)");
    wait::until("the boot sector's line", || {
        let text = std::fs::read_to_string(domains::serial_file(&daemon, name)).ok()?;
        text.contains(guests::BOOT_SECTOR_LINE).then_some(())
    });
    daemon.virsh("suspend life").ok();
    daemon.wait_for_state(name, "paused (user)");
    daemon.virsh("resume life").ok();
    daemon.wait_for_state(name, "running (unpaused)");
    daemon.virsh("destroy life").ok();
    daemon.wait_for_state(name, "shut off (destroyed)");
    daemon.virsh("undefine life").ok();
    assert!(daemon.qemus().is_empty(), "a QEMU was left");
}

#[test]
fn live_and_stored_xml_are_two_things() {
    let daemon = Daemon::start();
    daemon.define(&domains::boot_sector(&daemon, "twofold")).ok();
    let stored = daemon.virsh("dumpxml twofold").ok();
    assert!(stored.starts_with("<domain type='qemu'>\n  <name>twofold</name>\n  <uuid>"));
    assert!(!stored.contains("<alias"), "a definition has no aliases:\n{stored}");
    daemon.virsh("start twofold").ok();
    let live = daemon.virsh("dumpxml twofold").ok();
    assert!(live.starts_with("<domain type='qemu' id='"), "{live}");
    assert!(live.contains("<alias name='serial0'/>"), "{live}");
    assert_eq!(daemon.virsh("dumpxml twofold --inactive").ok(), stored);
    domains::discard(&daemon, "twofold");
}

#[test]
fn what_virsh_dumps_it_can_define_again() {
    let daemon = Daemon::start();
    let guest = guests::linux();
    daemon.define(&domains::linux("circle", guest, "", "")).ok();
    let first = daemon.virsh("dumpxml circle").ok();
    daemon.virsh("undefine circle").ok();
    daemon.define(&first).ok();
    assert_eq!(daemon.virsh("dumpxml circle").ok(), first);
    daemon.virsh("undefine circle").ok();
}

#[test]
fn virsh_event_shows_what_happens() {
    let daemon = Daemon::start();
    daemon.define(&domains::boot_sector(&daemon, "watched")).ok();
    let mut watcher = Command::new("virsh")
        .args(["-c", &daemon.uri(), "event", "--all", "--loop"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("virsh runs");
    let (sender, lines) = std::sync::mpsc::channel();
    let output = BufReader::new(watcher.stdout.take().expect("stdout is a pipe"));
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    // virsh says nothing when it has registered: act until the first event shows up.
    let mut heard = Vec::new();
    wait::until("the first event", || {
        daemon.virsh("start watched").ok();
        daemon.virsh("destroy watched").ok();
        heard.extend(lines.try_iter());
        heard.iter().any(|line: &String| line.contains("Stopped Destroyed")).then_some(())
    });
    daemon.virsh("undefine watched").ok();
    wait::until("the last event", || {
        heard.extend(lines.try_iter());
        heard.iter().any(|line| line.contains("Undefined Removed")).then_some(())
    });
    watcher.kill().and_then(|()| watcher.wait()).expect("our own child ends");
    let expected = "event 'lifecycle' for domain 'watched': Started Booted";
    assert!(heard.iter().any(|line| line == expected), "{heard:#?}");
}

#[test]
fn python_sees_a_guests_life_in_events() {
    let daemon = Daemon::start();
    let xml = daemon.write("events.xml", domains::boot_sector(&daemon, "events"));
    python("events", &[daemon.uri().as_str(), "events", &xml.to_string_lossy()]).ok();
}

/// Screens are counted over the heads of all video devices.
#[test]
fn every_head_has_a_screen() {
    let daemon = Daemon::start();
    let videos = "<devices><graphics type='vnc' autoport='yes'/><video><model type='cirrus'/></video>\
                  <video><model type='virtio' heads='2'/></video></devices>";
    let xml = domains::minimal("heads").replace("<devices/>", videos);
    daemon.define(&xml).ok();
    daemon.virsh("start heads").ok();
    let file = daemon.path("shot");
    let shot = |screen: u32| {
        daemon.virsh(&format!("screenshot heads {} --screen {screen}", file.display()))
    };
    for screen in 0..3 {
        assert!(shot(screen).ok().contains("Screenshot saved"), "{screen}");
    }
    shot(3).fails_with(&["no such screen ID"]);
    domains::discard(&daemon, "heads");
}

#[test]
fn python_takes_a_screenshot_through_a_stream() {
    let daemon = Daemon::start();
    let xml = domains::boot_sector(&daemon, "shot").replace(
        "<memballoon",
        "<graphics type='vnc' port='-1' autoport='yes'/><video><model type='vga'/></video><memballoon",
    );
    daemon.define(&xml).ok();
    daemon.virsh("start shot").ok();
    python("screenshot", &[daemon.uri().as_str(), "shot"]).ok();
    domains::discard(&daemon, "shot");
}

#[test]
fn many_threads_on_one_connection_get_their_own_answers() {
    let daemon = Daemon::start();
    for i in 0..8 {
        daemon.define(&domains::minimal(&format!("many{i}"))).ok();
    }
    python("many", &[daemon.uri().as_str(), "many", "16", "200"]).ok();
    for i in 0..8 {
        daemon.virsh(&format!("undefine many{i}")).ok();
    }
}

#[test]
fn the_read_only_socket_reads_and_does_not_write() {
    let daemon = Daemon::start();
    daemon.define(&domains::minimal("readonly")).ok();
    let uri = daemon.uri_readonly();
    let words = |verb: &'static str| ["-r", "-c", uri.as_str(), verb, "readonly"];
    tool("virsh", &words("dominfo"), "").ok();
    let refused = ["operation forbidden", "read only access prevents"];
    tool("virsh", &words("undefine"), "").fails_with(&refused);
    // A client that does not say that it is read-only is refused by the server itself.
    let words = ["-c", uri.as_str(), "undefine", "readonly"];
    tool("virsh", &words, "").fails_with(&refused);
    daemon.virsh("undefine readonly").ok();
}

/// The arguments that both forms of virt-install share. No `--virt-type`: virt-install chooses
/// from our capabilities.
fn virt_install(daemon: &Daemon, name: &str, form: &[&str]) {
    let uri = daemon.uri();
    let mut words = vec![
        "--connect",
        &uri,
        "--name",
        name,
        "--osinfo",
        "generic",
        "--memory",
        "256",
        "--network",
        "user",
        "--graphics",
        "none",
        "--noautoconsole",
        "--import",
    ];
    words.extend_from_slice(form);
    tool("virt-install", &words, "").ok();
    daemon.wait_for_state(name, "running (booted)");
    let info = daemon.virsh_words(&["dominfo", name]).ok();
    assert!(info.contains("Persistent:     yes"), "{info}");
    domains::discard(daemon, name);
}

#[test]
fn virt_install_imports_a_disk() {
    let daemon = Daemon::start();
    let disk = daemon.write("images/imported.img", guests::boot_sector());
    virt_install(&daemon, "imported", &["--disk", &format!("path={},format=raw", disk.display())]);
    if daemon.is_external() {
        daemon.virsh("pool-destroy images");
        daemon.virsh("pool-undefine images");
    }
}

#[test]
fn virt_install_boots_a_kernel() {
    let daemon = Daemon::start();
    let guest = guests::linux();
    let boot = format!(
        "kernel={},initrd={},kernel_args=console=ttyS0",
        guest.kernel.display(),
        guest.initrd.display()
    );
    virt_install(&daemon, "booted", &["--disk", "none", "--boot", &boot]);
}

#[test]
fn qemu_ends_with_the_guest_and_not_with_the_client() {
    let daemon = Daemon::start();
    daemon.define(&domains::boot_sector(&daemon, "stays")).ok();
    daemon.virsh("start stays").ok();
    // virsh is gone by now.
    let qemus = processes::naming(daemon.root());
    assert!(!qemus.is_empty());
    daemon.virsh("destroy stays").ok();
    wait::until("QEMU's end", || daemon.qemus().is_empty().then_some(()));
    daemon.virsh("undefine stays").ok();
}

#[test]
fn the_shell_keeps_its_connection_when_another_fails() {
    let daemon = Daemon::start();
    daemon.define(&domains::minimal("kept")).ok();
    let typed = "connect\nlist --all --name\nconnect test+nonsense:///x\nlist --all --name\n";
    for program in [std::path::Path::new("virsh"), tests::paths::ironvirt()] {
        let said = tests::tool(program, &["-c", &daemon.uri()], typed).stdout;
        assert_eq!(said.matches("kept").count(), 2, "{}: {said}", program.display());
    }
    domains::discard(&daemon, "kept");
}

/// Where Debian's libvirt-common keeps its schemas.
const SCHEMAS: &str = "/usr/share/libvirt/schemas";

#[test]
fn what_is_answered_is_valid_by_libvirts_schemas() {
    let there = tests::client::tool("xmllint", &["--version"], "").status == 0;
    if !there || !std::path::Path::new(SCHEMAS).join("capability.rng").exists() {
        return println!("skipped: needs xmllint (libxml2-utils) and the schemas (libvirt-common)");
    }
    let daemon = Daemon::start();
    let check = |schema: &str, what: &str, text: &str| {
        let file = daemon.write("answer.xml", text);
        let (schema, file) = (format!("{SCHEMAS}/{schema}.rng"), file.display().to_string());
        let said = tool("xmllint", &["--noout", "--relaxng", &schema, &file], "");
        assert!(said.status == 0, "{what}: {}\n{text}", said.stderr);
    };
    let capabilities = daemon.virsh("capabilities").ok();
    // The schema's names of features have no dot, but libvirt's and QEMU's have.
    check("capability", "capabilities", &capabilities.replace("'sse4.", "'sse4_"));
    for (schema, line) in [
        ("domaincaps", "domcapabilities"),
        ("domaincaps", "domcapabilities --machine q35"),
        ("domaincaps", "domcapabilities --machine microvm"),
        ("storagepoolcaps", "pool-capabilities"),
    ] {
        check(schema, line, &daemon.virsh(line).ok());
    }
    for arch in ["i686", "aarch64", "armv7l", "ppc64", "s390x", "riscv64", "loongarch64"] {
        // Where there is an emulator.
        let said = daemon.virsh(&format!("domcapabilities --arch {arch}"));
        if said.status == 0 {
            check("domaincaps", arch, &said.stdout);
        }
    }
    let host = daemon.virsh_with_file("cpu-baseline", &capabilities).ok();
    check("cpu", "cpu-baseline", &host);
    check("cpu", "baseline", &daemon.virsh_with_file("hypervisor-cpu-baseline", &host).ok());

    daemon.define(&domains::boot_sector(&daemon, "valid")).ok();
    for options in ["", "--inactive", "--security-info", "--migratable"] {
        let line = format!("dumpxml valid {options}");
        check("domain", &line, &daemon.virsh(&line).ok());
    }
    domains::discard(&daemon, "valid");

    let folder = daemon.path("pools/valid").display().to_string();
    daemon.virsh(&format!("pool-create-as valid dir --build --target {folder}")).ok();
    check("storagepool", "pool", &daemon.virsh("pool-dumpxml valid").ok());
    for format in ["raw", "qcow2"] {
        daemon.virsh(&format!("vol-create-as valid {format} 1M --format {format}")).ok();
        let line = format!("vol-dumpxml {format} valid");
        check("storagevol", &line, &daemon.virsh(&line).ok());
    }
    let secret = "<secret><usage type='ceph'><name>valid</name></usage></secret>";
    daemon.virsh_with_file("secret-define", secret).ok();
    let uuid = daemon.virsh("secret-list").ok();
    let uuid = uuid
        .lines()
        .find(|line| line.contains("valid"))
        .and_then(|line| line.split_whitespace().next());
    let line = format!("secret-dumpxml {}", uuid.expect("the secret is listed"));
    check("secret", &line, &daemon.virsh(&line).ok());
}
