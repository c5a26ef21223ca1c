//! What a guest's panic, watchdog and disk errors lead to, as its definition says.

use std::path::Path;

use tests::{Daemon, domains, namespace, tool, wait};

/// A disk whose boot sector runs `code` (16-bit, at 0x7c00) and then sleeps.
fn boot_code(code: &[u8]) -> Vec<u8> {
    let mut image = code.to_vec();
    image.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp back to it
    assert!(image.len() < 510, "it fits");
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.resize(1 << 20, 0);
    image
}

/// Tells the panic device (port 0x505) that the guest has panicked.
const PANIC: &[u8] = &[
    0xba, 0x05, 0x05, // mov dx, 0x505
    0xb0, 0x01, //       mov al, 1
    0xee, //             out dx, al
];

/// Arms the ib700 watchdog (port 0x443) for two seconds, its next to last step, and never feeds it.
const UNFED: &[u8] = &[
    0xfb, //             sti
    0xba, 0x43, 0x04, // mov dx, 0x443
    0xb0, 0x0e, //       mov al, 14
    0xee, //             out dx, al
];

/// Sets the year of the clock to 50 at each tick of the timer.
const SETS_CLOCK: &[u8] = &[
    0xfb, //             again: sti
    0xf4, //             hlt
    0xb0, 0x09, //       mov al, 9
    0xe6, 0x70, //       out 0x70, al
    0xb0, 0x50, //       mov al, 0x50
    0xe6, 0x71, //       out 0x71, al
    0xeb, 0xf4, //       jmp again
];

/// Writes one sector in each of the disk's cylinders by the BIOS, over and over.
const WRITES: &[u8] = &[
    0x31, 0xc0, //       xor ax, ax
    0x8e, 0xc0, //       mov es, ax
    0x8e, 0xd8, //       mov ds, ax
    0x8e, 0xd0, //       mov ss, ax
    0xbc, 0x00, 0x7c, // mov sp, 0x7c00
    0xbb, 0x00, 0x7c, // mov bx, 0x7c00
    0xbe, 0x01, 0x00, // mov si, 1
    0x89, 0xf1, //       next: mov cx, si
    0x86, 0xcd, //       xchg ch, cl
    0xb1, 0x02, //       mov cl, 2
    0xb8, 0x01, 0x03, // mov ax, 0x0301
    0xba, 0x80, 0x00, // mov dx, 0x0080
    0xcd, 0x13, //       int 0x13
    0x46, //             inc si
    0xeb, 0xef, //       jmp next
];

fn guest(daemon: &Daemon, name: &str, code: &[u8], before: &str, devices: &str) -> String {
    let disk = daemon.write(&format!("images/{name}.img"), boot_code(code));
    domains::from_disk(name, &disk, &domains::serial_file(daemon, name))
        .replace("<devices>", &format!("{before}<devices>{devices}"))
}

fn dumps(daemon: &Daemon) -> usize {
    let folder = daemon.path("var/lib/libvirt/qemu/dump");
    std::fs::read_dir(folder).map_or(0, |entries| entries.flatten().count())
}

#[test]
fn a_panic_leads_where_on_crash_says() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    for (number, (action, state, dumped)) in [
        ("destroy", "shut off (crashed)", 0),
        ("preserve", "crashed (panicked)", 0),
        ("coredump-destroy", "shut off (crashed)", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("panic{number}");
        let policy = format!("<on_crash>{action}</on_crash>");
        let xml = guest(&daemon, &name, PANIC, &policy, "<panic model='isa'/>");
        daemon.define(&xml).ok();
        daemon.virsh_words(&["start", &name]).ok();
        daemon.wait_for_state(&name, state);
        assert_eq!(dumps(&daemon), dumped, "{action}");
        domains::discard(&daemon, &name);
    }
    // Another answer while it runs: over and over, until it may stay.
    let xml =
        guest(&daemon, "again", PANIC, "<on_crash>restart</on_crash>", "<panic model='isa'/>");
    daemon.define(&xml).ok();
    daemon.virsh("start again").ok();
    daemon.virsh("set-lifecycle-action again crash preserve --live").ok();
    daemon.wait_for_state("again", "crashed (panicked)");
}

#[test]
fn an_unfed_watchdog_does_what_it_is_told() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    // QEMU itself ends at a power-off: that is a crash to libvirtd, too.
    let actions = [
        ("pause", "paused (watchdog)"),
        ("poweroff", "shut off (crashed)"),
        ("none", "running (booted)"),
        ("inject-nmi", "running (booted)"),
        ("reset", "running (booted)"),
        ("dump", "running (unpaused)"),
    ];
    for (action, _) in actions {
        let device = format!("<watchdog model='ib700' action='{action}'/>");
        daemon.define(&guest(&daemon, action, UNFED, "", &device)).ok();
        daemon.virsh_words(&["start", action]).ok();
    }
    for (action, state) in actions {
        daemon.wait_for_state(action, state);
    }
    assert!(dumps(&daemon) > 0);
    let file = std::fs::read_dir(daemon.path("var/lib/libvirt/qemu/dump"))
        .expect("the folder")
        .flatten()
        .next()
        .expect("a dump");
    assert!(file.file_name().to_string_lossy().contains("-dump-"), "{file:?}");
    // It fires once for each time it is armed.
    daemon.virsh("resume pause").ok();
    daemon.wait_for_state("pause", "running (unpaused)");
}

/// The first number of seconds that is told of guests' clocks.
fn told_of_clock(daemon: &Daemon, name: &str) -> i64 {
    let event = format!("event {name} --event rtc-change --timeout 60");
    let told = daemon.virsh(&event).ok();
    let seconds = told.lines().find_map(|line| line.rsplit_once(": ")?.1.trim().parse().ok());
    seconds.unwrap_or_else(|| panic!("no seconds in {told}"))
}

/// The clock of a live or stored definition.
fn clock(daemon: &Daemon, line: &str) -> String {
    let xml = daemon.virsh(line).ok();
    xml.lines().find(|line| line.contains("<clock")).expect("a clock").trim().to_owned()
}

#[test]
fn a_clock_that_the_guest_sets_is_kept() {
    const DAY: i64 = 24 * 60 * 60;
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let before = "<clock offset='variable' adjustment='3600' basis='utc'/>";
    daemon.define(&guest(&daemon, "late", SETS_CLOCK, before, "")).ok();
    let stored = clock(&daemon, "dumpxml --inactive late");
    daemon.virsh("start late").ok();
    let told = told_of_clock(&daemon, "late");
    // Whole days, as only the year is another one, and the hour of the definition.
    let off = (told - 3600 + DAY / 2).rem_euclid(DAY) - DAY / 2;
    assert!(off.abs() < 60 && told.abs() > 300 * DAY, "{told}");
    let live = clock(&daemon, "dumpxml late");
    let adjustment = |clock: &str| -> i64 {
        let (_, rest) = clock.split_once("adjustment='").expect("an adjustment");
        rest.split_once('\'').expect("its end").0.parse().expect("a number")
    };
    assert!((adjustment(&live) - told).abs() < 60, "{live} {told}");
    assert!(!live.contains("adjustment0"), "{live}");
    let status = std::fs::read_to_string(daemon.path("run/libvirt/qemu/late.xml")).expect("read");
    assert!(status.contains(" adjustment0='3600'"), "{status}");
    // A daemon that takes the guest over counts on.
    daemon.kill();
    daemon.launch();
    let again = told_of_clock(&daemon, "late");
    assert!((again - told).abs() < 600, "{again} {told}");
    assert_eq!(clock(&daemon, "dumpxml --inactive late"), stored);
    domains::discard(&daemon, "late");
}

/// A disk that is full stops the guest, which goes on where it was when there is room.
#[test]
fn a_full_disk_pauses_the_guest_that_fills_it() {
    namespace::inside("a_full_disk_pauses_the_guest_that_fills_it", || {
        let daemon = Daemon::start();
        let disk = daemon.path("full");
        std::fs::create_dir(&disk).expect("folder");
        let place = disk.display().to_string();
        let options = "mode=755,size=64k";
        tool("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &place], "").ok();
        let image = disk.join("image");
        std::fs::write(&image, &boot_code(WRITES)[..512]).expect("file");
        let file = std::fs::File::options().write(true).open(&image).expect("file");
        file.set_len(1 << 30).expect("a file with holes");
        let serial = domains::serial_file(&daemon, "g");
        std::fs::create_dir_all(serial.parent().expect("a folder")).expect("folder");
        daemon.virsh_with_file("create", &domains::from_disk("g", &image, &serial)).ok();
        daemon.wait_for_state("g", "paused (I/O error)");
        let said = daemon.virsh("domblkerror g").ok();
        assert!(said.contains("hda: no space"), "{said}");
        // Again, as nothing has changed.
        daemon.virsh("resume g").ok();
        daemon.wait_for_state("g", "paused (I/O error)");
        let room = |path: &Path| {
            std::fs::metadata(path).map_or(0, |file| std::os::unix::fs::MetadataExt::blocks(&file))
        };
        let before = room(&image);
        tool("mount", &["-o", "remount,size=64m", &place], "").ok();
        daemon.virsh("resume g").ok();
        wait::until("the guest to write on", || (room(&image) > before).then_some(()));
        daemon.wait_for_state("g", "running (unpaused)");
    });
}

#[test]
fn a_guest_goes_without_images_that_may_be_missing() {
    let daemon = Daemon::start();
    let missing = daemon.path("images/none");
    let disk = |device: &str, target: &str, policy: &str| {
        format!(
            "<disk type='file' device='{device}'><driver name='qemu' type='raw'/>\
             <source file='{}' startupPolicy='{policy}'/><target dev='{target}'/></disk>",
            missing.display()
        )
    };
    let with = |name: &str, disks: String| {
        let xml = domains::boot_sector(&daemon, name);
        xml.replacen("<devices>", &format!("<devices>{disks}"), 1)
    };
    let may = disk("cdrom", "hdc", "optional") + &disk("disk", "vdb", "optional");
    daemon.define(&with("may", may)).ok();
    daemon.virsh("start may").ok();
    let path = missing.display().to_string();
    let live = daemon.virsh("dumpxml may").ok();
    assert!(live.contains("dev='hdc'") && !live.contains("dev='vdb'"), "{live}");
    assert!(!live.contains(&path), "{live}");
    let stored = daemon.virsh("dumpxml may --inactive").ok();
    assert_eq!(stored.matches(&path).count(), 2, "{stored}");
    domains::discard(&daemon, "may");

    // A start wants it; going on from where it was does not.
    daemon.define(&with("should", disk("cdrom", "hdc", "requisite"))).ok();
    daemon.virsh("start should").fails_with(&["Cannot access storage file", "No such file"]);
    daemon.write("images/none", [0; 1 << 16]);
    daemon.virsh("start should").ok();
    daemon.virsh("managedsave should").ok();
    std::fs::remove_file(&missing).expect("our own file");
    daemon.virsh("start should").ok();
    let live = daemon.virsh("dumpxml should").ok();
    assert!(live.contains("dev='hdc'") && !live.contains(&path), "{live}");
    domains::discard(&daemon, "should");
}
