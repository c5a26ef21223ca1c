//! Device classes of a typical guest on real QEMU: each starts, shows what the daemon chose, and
//! leaves nothing behind.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tests::{Daemon, domains, guests, wait};

/// A domain of one machine type with these pieces.
fn domain(name: &str, machine: &str, os: &str, above: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  {above}
  {}
  <features><acpi/><apic/></features>
  <devices>{devices}</devices>
</domain>
",
        os.replace("MACHINE", machine)
    )
}

const BIOS: &str = "<os><type arch='x86_64' machine='MACHINE'>hvm</type></os>";

/// Everything below the daemon's folders of running guests.
fn traces(daemon: &Daemon) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                walk(&path, found);
            }
            found.push(path);
        }
    }
    let mut found = Vec::new();
    for folder in ["run/libvirt/qemu", "var/lib/libvirt/qemu", "var/lib/libvirt/swtpm"] {
        walk(&daemon.path(folder), &mut found);
    }
    found.sort();
    found
}

/// Defines, starts and ends a domain; the live XML must contain each of `shown`, and nothing of the
/// run may stay.
fn check(daemon: &Daemon, name: &str, xml: &str, shown: &[&str]) {
    daemon.define(xml).ok();
    // The folders themselves are made by the first guest that needs them and stay.
    daemon.virsh_words(&["start", name]).ok();
    daemon.virsh_words(&["destroy", name]).ok();
    let before = traces(daemon);
    daemon.virsh_words(&["start", name]).ok();
    assert_eq!(daemon.virsh_words(&["domstate", name]).ok().trim(), "running", "{name}");
    let live = daemon.virsh_words(&["dumpxml", name]).ok();
    for expected in shown {
        assert!(live.contains(expected), "{name}: {expected} is not in\n{live}");
    }
    daemon.virsh_words(&["destroy", name]).ok();
    assert!(daemon.qemus().is_empty(), "{name}: a QEMU is left");
    assert_eq!(traces(daemon), before, "{name}: files are left");
    daemon.virsh_words(&["undefine", name, "--nvram", "--tpm"]).ok();
}

#[test]
fn disks_on_all_buses() {
    let daemon = Daemon::start();
    let image = |name: &str, size: u64| {
        let path = daemon.write(&format!("images/{name}"), "");
        fs::File::options().write(true).open(&path).and_then(|f| f.set_len(size)).expect("grown");
        path
    };
    let mut devices = String::from("<controller type='scsi' model='virtio-scsi'/>");
    let mut images = Vec::new();
    for (bus, target, driver) in [
        ("virtio", "vda", "cache='none' io='native' discard='unmap'"),
        ("scsi", "sda", "cache='writeback'"),
        ("sata", "sdb", "cache='unsafe'"),
        ("usb", "sdc", ""),
        ("virtio", "vdb", "cache='directsync' iothread='1'"),
    ] {
        let path = image(&format!("{target}.img"), 1 << 20);
        devices.push_str(&format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw' {driver}/>\
             <source file='{}'/><target dev='{target}' bus='{bus}'/><serial>S-{target}</serial></disk>",
            path.display()
        ));
        images.push(path);
    }
    let floppy = image("floppy.img", 1440 << 10);
    devices.push_str(&format!(
        "<disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='fda' bus='fdc'/></disk>\
         <disk type='file' device='cdrom'><target dev='sdd' bus='sata'/><readonly/></disk>",
        floppy.display()
    ));
    for machine in ["pc", "q35"] {
        let xml = domain("disks", machine, BIOS, "<iothreads>1</iothreads>", &devices);
        check(
            &daemon,
            "disks",
            &xml,
            &["<alias name='virtio-disk0'/>", "<backingStore/>", "<alias name='fdc0-0-0'/>"],
        );
        for path in &images {
            let owner = fs::metadata(path).expect("there").uid();
            assert_eq!(owner, rustix::process::getuid().as_raw(), "{}", path.display());
        }
    }
}

#[test]
fn ports_displays_and_the_rest() {
    let daemon = Daemon::start();
    let file = daemon.path("images/serial.log");
    daemon.write("images/empty", "");
    let socket = daemon.path("images/s.sock");
    let devices = format!(
        "<serial type='pty'/><serial type='file'><source path='{}' append='on'/></serial>\
         <serial type='unix'><source mode='bind' path='{}'/></serial><serial type='null'/>\
         <console type='pty'><target type='serial'/></console>\
         <console type='pty'><target type='virtio'/></console>\
         <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
         <graphics type='vnc' port='-1' passwd='secret'/><video><model type='virtio'/></video>\
         <sound model='ich9'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
         <watchdog model='i6300esb' action='poweroff'/><panic model='isa'/>\
         <input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/>\
         <memballoon model='virtio'><stats period='5'/></memballoon>",
        file.display(),
        socket.display()
    );
    for machine in ["pc", "q35"] {
        let clock = "<clock offset='variable' adjustment='60' basis='utc'/>";
        let xml = domain("ports", machine, BIOS, clock, &devices);
        check(
            &daemon,
            "ports",
            &xml,
            &[
                "name='org.qemu.guest_agent.0' state='disconnected'/>",
                "<console type='pty' tty='/dev/pts/",
                "<cpu mode='custom' match='exact' check='full'>",
                "<feature policy='require' name='hypervisor'/>",
                "<graphics type='vnc' port='59",
            ],
        );
    }
}

/// A name stands for two pipes where both are there: they are lent and given back, and what has the
/// name itself is left alone.
#[test]
fn a_port_leads_to_two_pipes() {
    let daemon = Daemon::start();
    let name = daemon.write("images/pipe", "another's");
    let ends = ["in", "out"].map(|end| name.with_extension(end));
    for end in &ends {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, end, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe");
    }
    let serial = format!("<serial type='pipe'><source path='{}'/></serial>", name.display());
    let xml = domains::boot_sector(&daemon, "piped");
    let (before, after) = xml.split_once("<serial").expect("a port");
    let (_, after) = after.split_once("</serial>").expect("its end");
    daemon.define(&format!("{before}{serial}{after}")).ok();
    let own = rustix::process::getuid().as_raw();
    let owner = |path: &Path| fs::metadata(path).expect("there").uid();
    daemon.virsh_words(&["start", "piped"]).ok();
    assert!(ends.iter().all(|end| owner(end) != own), "the pipes are QEMU's");
    assert_eq!(owner(&name), own, "another's file");
    let mut said = vec![0; guests::BOOT_SECTOR_LINE.len()];
    fs::File::open(&ends[1]).and_then(|mut pipe| pipe.read_exact(&mut said)).expect("it speaks");
    assert_eq!(said, guests::BOOT_SECTOR_LINE.as_bytes());
    daemon.virsh_words(&["destroy", "piped"]).ok();
    assert!(ends.iter().all(|end| owner(end) == own), "the pipes are given back");
}

#[test]
fn some_devices_are_refused_by_the_start_only() {
    let daemon = Daemon::start();
    let port = |port: u32| format!("<serial type='null'><target port='{port}'/></serial>");
    let nfs = |user: &str, group: &str| {
        format!(
            "<disk type='network'><source protocol='nfs' name='/a/b'><host name='127.0.0.1'/>\
             <identity user='{user}' group='{group}'/></source><target dev='vda'/></disk>"
        )
    };
    for (devices, words) in [
        (port(3).repeat(2), "internal error: target port '3' already allocated"),
        (port(4), "internal error: Maximum supported number of ISA serial ports is '4'"),
        (
            "<serial type='null'><target type='system-serial'/></serial>".to_owned(),
            "internal error: Invalid target model for serial device",
        ),
        (
            "<interface type='user'><model type='virtio'/><driver queues='3'/></interface>"
                .to_owned(),
            "multiqueue is not supported for network interfaces of type user",
        ),
        (nfs("nosuch", "nogroup"), "invalid argument: Failed to parse user 'nosuch'"),
        (nfs("+7", "nosuch"), "invalid argument: Failed to parse group 'nosuch'"),
        // There is no such server; QEMU tells what it was to open.
        (nfs("nobody", "+7"), r#""path":"/a/b","user":65534,"group":7"#),
    ] {
        daemon.define(&domain("refused", "pc", BIOS, "", &devices)).ok();
        daemon.virsh_words(&["start", "refused"]).fails_with(&[words]);
        daemon.virsh_words(&["undefine", "refused"]).ok();
    }
    let loader = "<os><type arch='x86_64' machine='MACHINE'>hvm</type>\
        <loader readonly='yes' type='pflash'>/nope</loader></os>";
    daemon.define(&domain("blank", "q35", loader, "", "")).ok();
    let words = "operation failed: unable to find any master var store for loader: /nope";
    daemon.virsh_words(&["start", "blank"]).fails_with(&[words]);
    // None of their numbers is asked of QEMU.
    let devices =
        "<video><model type='virtio' heads='0'/></video><controller type='fdc' index='1'/>";
    check(
        &daemon,
        "odd",
        &domain("odd", "pc", BIOS, "", devices),
        &["<model type='virtio' primary"],
    );
}

/// A SPICE display: it serves a port of its own choice, greets a client, takes another password, and
/// a USB device of the client's comes and goes.
#[test]
fn a_spice_display_serves_and_changes() {
    let daemon = Daemon::start();
    if !daemon.virsh("domcapabilities --virttype qemu").ok().contains("<value>spice</value>") {
        eprintln!("skipped: this QEMU has no SPICE (qemu-system-modules-spice)");
        return;
    }
    let name = "spicy";
    let display = |password: &str| {
        format!(
            "<graphics type='spice' autoport='yes' passwd='{password}'>\
             <listen type='address' address='127.0.0.1'/></graphics>"
        )
    };
    let devices = format!(
        "{}<video><model type='vga'/></video><controller type='usb' model='qemu-xhci'/>\
         <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>\
         <memballoon model='none'/>",
        display("one")
    );
    daemon.define(&domain(name, "q35", BIOS, "", &devices)).ok();
    daemon.virsh("start spicy").ok();
    let shown = |words: &str| daemon.virsh(&format!("domdisplay spicy {words}")).ok();
    let address = shown("").trim().strip_prefix("spice://").expect("SPICE").to_owned();
    assert_eq!(shown("--include-password").trim(), format!("spice://{address}?password=one"));

    // What the protocol begins with: both say REDQ, the client first. A link to the main channel
    // without capabilities is 18 bytes behind a header of 16.
    let mut client = std::net::TcpStream::connect(&address).expect("QEMU listens");
    client.set_read_timeout(Some(wait::PATIENCE)).expect("a limit");
    let mut link = b"REDQ".to_vec();
    for number in [2u32, 2, 18, 0] {
        link.extend(number.to_le_bytes());
    }
    link.extend([1, 0]);
    for number in [0u32, 0, 18] {
        link.extend(number.to_le_bytes());
    }
    client.write_all(&link).expect("QEMU reads");
    let mut greeting = [0; 4];
    client.read_exact(&mut greeting).expect("QEMU answers");
    assert_eq!(&greeting, b"REDQ");
    drop(client);

    let change = daemon.write("change.xml", display("two"));
    daemon.virsh_words(&["update-device", name, &change.to_string_lossy()]).ok();
    assert_eq!(shown("--include-password").trim(), format!("spice://{address}?password=two"));
    let device = daemon.write("redir.xml", "<redirdev bus='usb' type='spicevmc'/>");
    let words = |verb| daemon.virsh_words(&[verb, name, &device.to_string_lossy()]).ok();
    let redirected = || daemon.virsh("dumpxml spicy").ok().contains("<redirdev");
    words("attach-device");
    assert!(redirected());
    words("detach-device");
    wait::until("the device to be gone", || (!redirected()).then_some(()));
    domains::discard(&daemon, name);
}

#[test]
fn virtual_cpus_that_are_plugged_later_are_not_pinned() {
    let daemon = Daemon::start();
    let above = "<vcpu placement='static' cpuset='0' current='1'>3</vcpu>\
        <iothreads>2</iothreads><cputune><vcpupin vcpu='2' cpuset='0'/>\
        <emulatorpin cpuset='0'/><iothreadpin iothread='1' cpuset='0'/></cputune>\
        <cpu mode='custom' match='exact'><model>Nehalem</model><topology sockets='3' cores='1' threads='1'/>\
        <feature policy='disable' name='sse4.2'/></cpu>";
    for machine in ["pc", "q35"] {
        let xml = domain("pinned", machine, BIOS, above, "");
        check(
            &daemon,
            "pinned",
            &xml,
            &["<model fallback='forbid'>Nehalem</model>", "check='full'>"],
        );
    }
}

#[test]
fn memory_in_files_is_removed_with_its_folder() {
    let daemon = Daemon::start();
    let above = "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>";
    check(&daemon, "infile", &domain("infile", "q35", BIOS, above, ""), &["<source type='file'/>"]);
}

/// Firmware that descriptors of the machine offer, if there is any.
/// A client opens images where the daemon's guests may not look, and hands the descriptors in.
#[test]
fn images_come_by_descriptors_of_clients() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder of our own");
    tests::python("descriptors", &[daemon.uri().as_str(), &folder.path().to_string_lossy()]).ok();
    // The same by hand: a shell's descriptor, virsh's verbs, as long as virsh runs.
    let image = folder.path().join("image");
    let made = fs::File::create(&image).and_then(|file| file.set_len(1 << 20));
    made.expect("an image");
    let disk = "<disk type='file'><driver name='qemu' type='raw'/>\
                <source file='/nowhere' fdgroup='mine'/><target dev='vda' bus='virtio'/></disk>";
    daemon.define(&domain("byhand", "pc", BIOS, "", disk)).ok();
    daemon.virsh("start byhand").fails_with(&["file descriptor group 'mine' was not associated"]);
    for program in ["virsh".as_ref(), tests::paths::ironvirt().as_os_str()] {
        let words = format!(
            "exec 7<>'{}'; exec '{}' -c '{}' \
             'dom-fd-associate byhand --name mine --pass-fds 7; start byhand; domblklist byhand'",
            image.display(),
            program.to_string_lossy(),
            daemon.uri()
        );
        let said = tests::tool("bash", &["-c", &words], "").ok();
        assert!(said.contains("/nowhere"), "{said}");
        // Its descriptors are the guest's now, whoever went.
        assert_eq!(daemon.virsh("domstate byhand").ok().trim(), "running");
        daemon.virsh("destroy byhand").ok();
    }
    daemon.virsh("undefine byhand").ok();
}

/// Resets the drives of the second IDE channel at each tick of the timer: their trays close.
const RESETS: &[u8] = &[
    0xfb, //             again: sti
    0xf4, //             hlt
    0xba, 0x76, 0x03, // mov dx, 0x376
    0xb0, 0x04, //       mov al, 4
    0xee, //             out dx, al
    0xb0, 0x00, //       mov al, 0
    0xee, //             out dx, al
    0xeb, 0xf3, //       jmp again
];

/// Firmware and drivers reset drives when they like, also between the opening and the exchange.
#[test]
fn a_medium_comes_into_a_drive_that_its_guest_closes() {
    let daemon = Daemon::start();
    let mut sector = RESETS.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    let disk = daemon.write("images/resets.img", sector);
    let drive = "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>";
    let xml = domains::from_disk("resets", &disk, &domains::serial_file(&daemon, "resets"))
        .replacen("</devices>", &format!("{drive}</devices>"), 1);
    daemon.define(&xml).ok();
    daemon.virsh("start resets").ok();
    let [one, two] = ["one.iso", "two.iso"].map(|name| {
        let iso = daemon.write(&format!("images/{name}"), vec![0; 1 << 16]);
        iso.display().to_string()
    });
    let script: String = (0..30)
        .map(|_| {
            format!(
                "change-media resets hdc {one} --insert --live\n\
                 change-media resets hdc {two} --update --live\n\
                 change-media resets hdc --eject --live\n"
            )
        })
        .collect();
    let said = tests::tool("virsh", &["-c", &daemon.uri()], &script);
    assert!(!said.stderr.contains("error:"), "{said}");
    assert_eq!(tests::plugging::in_drive(&daemon, "resets").0, None);
    daemon.virsh("destroy resets").ok();
    daemon.virsh("undefine resets").ok();
}

fn has_uefi() -> bool {
    fs::read_dir("/usr/share/qemu/firmware").is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
fn uefi_is_settled_at_define_and_keeps_its_variables() {
    if !has_uefi() {
        return;
    }
    let daemon = Daemon::start();
    let guest = guests::linux();
    let xml = domains::linux("uefi", guest, "", "").replace("<os>", "<os firmware='efi'>");
    daemon.define(&xml).ok();
    let stored = daemon.virsh("dumpxml --inactive uefi").ok();
    assert!(stored.contains("type='pflash'"), "{stored}");
    assert!(stored.contains("<feature enabled='"), "{stored}");
    let nvram = daemon.path("var/lib/libvirt/qemu/nvram/uefi_VARS.fd");
    assert!(!nvram.exists());
    daemon.virsh("start uefi").ok();
    // The kernel that the firmware loads says so on its console.
    wait::until("a shell below UEFI", || {
        let seen = tests::python("console_stream", &[daemon.uri().as_str(), "uefi"]);
        (seen.status == 0).then_some(())
    });
    daemon.virsh("destroy uefi").ok();
    let template_size = fs::metadata(&nvram).expect("the variable store").len();
    fs::write(&nvram, b"spoiled").expect("written");
    daemon.virsh("start uefi --reset-nvram").ok();
    assert_eq!(fs::metadata(&nvram).expect("the variable store").len(), template_size);
    daemon.virsh("destroy uefi").ok();
    daemon.virsh("undefine uefi").fails_with(&["cannot undefine domain with nvram"]);
    daemon.virsh("undefine uefi --keep-nvram").ok();
    assert!(nvram.exists());
    daemon.define(&xml).ok();
    daemon.virsh("undefine uefi --nvram").ok();
    assert!(!nvram.exists());
}

#[test]
fn an_emulated_tpm_keeps_its_state_until_undefined() {
    if !Path::new("/usr/bin/swtpm_setup").exists() || !tests::paths::is_root() {
        return;
    }
    let daemon = Daemon::start();
    for (model, machine) in [("tpm-tis", "pc"), ("tpm-crb", "q35")] {
        let tpm = format!("<tpm model='{model}'><backend type='emulator' version='2.0'/></tpm>");
        let xml = domain("tpm", machine, BIOS, "", &tpm);
        daemon.define(&xml).ok();
        let uuid = daemon.virsh("domuuid tpm").ok();
        let state = daemon.path(&format!("var/lib/libvirt/swtpm/{}", uuid.trim()));
        daemon.virsh("start tpm").ok();
        let kept = state.join("tpm2/tpm2-00.permall");
        let made = fs::metadata(&kept).expect("the TPM's state").ino();
        daemon.virsh("destroy tpm").ok();
        daemon.virsh("start tpm").ok();
        daemon.virsh("destroy tpm").ok();
        assert!(kept.exists() && made > 0);
        let sockets = daemon.path("run/libvirt/qemu/swtpm");
        assert_eq!(fs::read_dir(&sockets).expect("the folder").count(), 0, "{model}");
        daemon.virsh("undefine tpm --tpm").ok();
        assert!(!state.exists(), "{model}: its state is left");
    }
}

/// swtpm's user reads the passphrase, and the state within a saved guest is encrypted too.
#[test]
fn an_encrypted_tpm_starts_and_goes_with_what_is_its_own() {
    if !Path::new("/usr/bin/swtpm_setup").exists() || !tests::paths::is_root() {
        return;
    }
    let daemon = Daemon::start();
    let secret = "11111111-2222-3333-4444-555555555556";
    let text = format!(
        "<secret private='yes'><uuid>{secret}</uuid><usage type='vtpm'><name>t</name></usage></secret>"
    );
    let text = daemon.write("secret.xml", text);
    daemon.virsh(&format!("secret-define {}", text.display())).ok();
    daemon.virsh(&format!("secret-set-value {secret} c2VjcmV0")).ok();
    let folder = daemon.path("mine");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("notes"), "the administrator's").expect("a file");
    let folders = ["run/libvirt/qemu/swtpm", "var/lib/libvirt/swtpm"].map(|name| daemon.path(name));
    for source in [String::new(), format!("<source type='dir' path='{}'/>", folder.display())] {
        let tpm = format!(
            "<tpm model='tpm-tis'><backend type='emulator' version='2.0'>{source}\
             <encryption secret='{secret}'/></backend></tpm>"
        );
        let xml = domain("tpm", "pc", BIOS, "", &tpm);
        daemon.define(&xml).ok();
        daemon.virsh("start tpm").ok();
        let keys = || {
            let names = fs::read_dir(&folders[0]).expect("the folder").flatten();
            names.filter(|name| name.path().extension().is_some_and(|end| end == "key")).count()
        };
        assert_eq!(keys(), 0, "the passphrase lies about");
        let image = daemon.path("tpm.save");
        daemon.virsh(&format!("save tpm {}", image.display())).ok();
        daemon.virsh(&format!("restore {}", image.display())).ok();
        let uuid = daemon.virsh("domuuid tpm").ok();
        let own = folders[1].join(uuid.trim());
        let state = if source.is_empty() { own.join("tpm2") } else { folder.clone() };
        let kept = state.join("tpm2-00.permall");
        // What a TPM uses is not taken from under it.
        daemon.virsh("undefine tpm --tpm").ok();
        assert!(kept.exists(), "{}", kept.display());
        daemon.virsh("destroy tpm").ok();
        assert!(!kept.exists() && !own.exists(), "{}", kept.display());
    }
    assert!(folder.join("notes").exists(), "a file of the administrator's is gone");
}

#[test]
fn memory_that_the_guest_takes_is_shown_and_asked_for() {
    let daemon = Daemon::start();
    let above = "<maxMemory slots='4' unit='MiB'>512</maxMemory><currentMemory unit='MiB'>64</currentMemory>\
        <cpu mode='custom' match='exact'><model>qemu64</model>\
        <numa><cell id='0' cpus='0' memory='32' unit='MiB'/></numa></cpu>";
    let device = "<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node>\
        <block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>\
        <memballoon model='virtio'/>";
    let xml = domain("elastic", "q35", BIOS, above, device)
        .replace("<memory unit='MiB'>64</memory>", "<memory unit='MiB'>160</memory>");
    daemon.define(&xml).ok();
    daemon.virsh("start elastic --paused").ok();
    let shown = |path: &str| daemon.virsh_words(&["dumpxml", "elastic", "--xpath", path]).ok();
    let target = shown("//devices/memory/target");
    assert!(target.contains("<current unit=\"KiB\">0</current>"), "{target}");
    assert!(target.contains("<address base=\"0x"), "{target}");
    // What the balloon has is what is there at the start.
    let current = shown("/domain/currentMemory");
    assert!(current.contains(">32768<"), "{current}");
    daemon.virsh("update-memory-device elastic --requested-size 64M").ok();
    let printed =
        daemon.virsh("update-memory-device elastic --requested-size 32M --print-xml").ok();
    assert!(printed.contains("<requested unit=\"KiB\">32768</requested>"), "{printed}");
    assert!(shown("//devices/memory/target/requested").contains(">65536<"));
    let odd = daemon.virsh("update-memory-device elastic --requested-size 65M");
    odd.fails_with(&["requested size must be an integer multiple of block size"]);
    domains::discard(&daemon, "elastic");
}

/// What another host can take says nothing of this run of the guest.
#[test]
fn migratable_xml_has_no_paths_of_this_run() {
    let daemon = Daemon::start();
    let devices = "<disk type='file' device='cdrom'><target dev='hdc'/><readonly/></disk>\
                   <channel type='unix'><target type='virtio' name='org.a'/></channel>\
                   <channel type='unix'><source mode='bind' path='/tmp/own'/>\
                   <target type='virtio' name='org.b'/></channel>";
    let xml = domain("mig", "pc", BIOS, "", devices);
    daemon.virsh_with_file("create", &xml).ok();
    let live = daemon.virsh("dumpxml mig").ok();
    assert!(live.contains("-mig/org.a'") && live.contains("<driver name='qemu'/>"), "{live}");
    let portable = daemon.virsh("dumpxml mig --migratable").ok();
    assert!(!portable.contains("/org.a'") && portable.contains("path='/tmp/own'"), "{portable}");
    assert!(portable.contains("<driver name='qemu' type='raw'/>"), "{portable}");
    daemon.virsh("destroy mig").ok();
}
