//! The log daemon: ours under libvirtd, virtlogd under ours, and no guest's output lost.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use host::log_daemon::{Guest, LogDaemon, Position};
use rustix::process::Signal;
use tests::on_host::{Running, virsh};
use tests::{Daemon, domains, guests, namespace, paths, processes, tool, wait};

const GUEST: Guest<'static> = Guest { name: "g", uuid: [7; 16] };

/// `ironvirt logd` in the foreground, on a root of its own or on libvirt's paths.
struct Logd {
    child: Child,
    root: tempfile::TempDir,
}

impl Logd {
    fn start(conf: &str) -> Logd {
        let root = tempfile::Builder::new().prefix("iv-").tempdir_in("/var/tmp").expect("folder");
        let etc = root.path().join("etc/libvirt");
        std::fs::create_dir_all(&etc).expect("folder");
        std::fs::write(etc.join("virtlogd.conf"), conf).expect("file");
        let child = Command::new(paths::ironvirt())
            .args(["logd", "--root"])
            .arg(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the log daemon starts");
        let logd = Logd { child, root };
        logd.connect();
        logd
    }

    fn connect(&self) -> LogDaemon {
        let socket = self.root.path().join("run/libvirt/virtlogd-sock");
        wait::until("the log daemon to answer", || LogDaemon::connect(&socket).ok())
    }

    fn log(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    fn open(&self, name: &str) -> (OwnedFd, Position) {
        self.connect().open(GUEST, &self.log(name), false).expect("a log")
    }

    fn signal(&self, signal: Signal) {
        processes::signal(self.child.id() as i32, signal);
    }
}

impl Drop for Logd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(fd: &OwnedFd, text: &str) {
    let fd = fd.try_clone().expect("a descriptor");
    std::fs::File::from(fd).write_all(text.as_bytes()).expect("somebody reads");
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn what_is_written_is_bounded_and_read_back() {
    let logd = Logd::start("max_size = 5000\nmax_backups = 2\n");
    let (fd, begin) = logd.open("a.log");
    assert_eq!(begin.offset, 0);
    write(&fd, "first words\n");
    let mut client = logd.connect();
    let path = logd.log("a.log");
    assert_eq!(client.read(&path, &begin, 5).expect("read"), "first");
    assert_eq!(client.position(&path).expect("position").offset, 12);
    client.append(GUEST, &path, "a note\n").expect("append");
    assert_eq!(read(&path), "first words\na note\n");

    let busy = client.open(Guest { name: "h", uuid: [8; 16] }, &path, false).expect_err("busy");
    assert_eq!(
        busy.to_string(),
        format!("Cannot open log file: '{path}': Device or resource busy")
    );
    let gone = Position { inode: 1, offset: 2 };
    let error = client.read(&path, &gone, 5).expect_err("no such inode");
    assert_eq!(error.to_string(), "Unable to seek to inode 1 offset 2: Bad file descriptor");
    let error = client.position("/nowhere").expect_err("not open");
    assert_eq!(error.to_string(), "internal error: No open log file /nowhere");

    for _ in 0..1000 {
        write(&fd, &"x".repeat(999));
    }
    client.position(&path).expect("written");
    let size = |suffix: &str| std::fs::metadata(format!("{path}{suffix}")).map(|m| m.len()).ok();
    assert_eq!((size(".0"), size(".1"), size(".2")), (Some(5000), Some(5000), None));
    assert!(size("").is_some_and(|size| size <= 5000));

    // Another may have it once its writer is gone, also at once.
    drop(fd);
    let (_, position) = client.open(GUEST, &path, true).expect("free");
    assert_eq!(position.offset, 0);
}

#[test]
fn a_successor_takes_over_without_a_lost_word() {
    let logd = Logd::start("");
    let (fd, _) = logd.open("a.log");
    let pid = logd.child.id();
    let begun = |pid: u32| read(format!("/proc/{pid}/cmdline"));
    for round in 0..3 {
        write(&fd, &format!("before {round}\n"));
        logd.signal(Signal::USR1);
        write(&fd, &format!("meanwhile {round}\n"));
        wait::until("a successor", || begun(pid).contains("--resume").then_some(()));
        write(&fd, &format!("after {round}\n"));
    }
    let path = logd.log("a.log");
    logd.connect().position(&path).expect("still open");
    let expected: String =
        (0..3).map(|n| format!("before {n}\nmeanwhile {n}\nafter {n}\n")).collect();
    assert_eq!(read(&path), expected);
    // Not closed for its writer either: that end is what ends the log.
    let busy = logd.connect().open(GUEST, &path, false).expect_err("open");
    assert!(busy.to_string().ends_with("resource busy"), "{busy}");
}

#[test]
fn it_ends_when_told_to_and_no_guest_writes() {
    let mut logd = Logd::start("");
    let (fd, _) = logd.open("a.log");
    logd.signal(Signal::TERM);
    // Served on, with everything that was said before.
    for n in 0..20 {
        write(&fd, &format!("{n}\n"));
        logd.connect().position(&logd.log("a.log")).expect("serving");
    }
    drop(fd);
    let status = wait::until("the end", || logd.child.try_wait().expect("our own child"));
    assert!(status.success(), "{status}");
    assert!(read(logd.log("a.log")).ends_with("19\n"));
    assert!(!logd.root.path().join("run/libvirt/virtlogd-sock").exists());
}

#[test]
fn a_full_disk_costs_output_and_nothing_else() {
    namespace::inside("a_full_disk_costs_output_and_nothing_else", || {
        let logd = Logd::start("max_size = 0\n");
        let disk = logd.root.path().join("disk");
        std::fs::create_dir(&disk).expect("folder");
        let place = disk.display().to_string();
        tool("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &place], "").ok();
        let (fd, _) = logd.open("disk/a.log");
        write(&fd, &"y".repeat(200_000));
        let path = logd.log("disk/a.log");
        let mut client = logd.connect();
        client.position(&path).expect("taken");
        // Somebody makes room.
        std::fs::File::options().write(true).open(&path).expect("log").set_len(0).expect("room");
        write(&fd, "on it goes\n");
        client.position(&path).expect("taken");
        let text = read(&path);
        assert!(text.contains("bytes of output were lost here: No space left on device"), "{text}");
        assert!(text.ends_with("on it goes\n"), "{text}");
    });
}

#[test]
fn a_guest_of_ours_speaks_through_a_pipe_and_over_a_restart() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.virsh_with_file("create", &domains::boot_sector(&daemon, "g")).ok();
    let serial = domains::serial_file(&daemon, "g");
    wait::until("the guest to speak", || {
        read(&serial).contains(guests::BOOT_SECTOR_LINE).then_some(())
    });
    let qemu = *daemon.qemus().first().expect("a QEMU");
    let output = std::fs::read_link(format!("/proc/{qemu}/fd/1")).expect("a descriptor");
    assert!(output.to_string_lossy().starts_with("pipe:"), "{output:?}");
    daemon.kill();
    let length = read(&serial).len();
    wait::until("the guest to speak on", || (read(&serial).len() > length).then_some(()));
    daemon.launch();
    daemon.virsh("destroy g").ok();
    let log = read(daemon.path("var/log/libvirt/qemu/g.log"));
    assert!(log.contains("starting up ironvirt") && log.contains("reason=destroyed"), "{log}");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    assert!(log.contains(&format!("kernel: {}, hostname: ", kernel.trim())), "{log}");
    assert!(log.contains(", qemu version: "), "{log}");

    // What QEMU says of its failure is the error.
    let wrong = domains::minimal("h").replace(
        "<devices/>",
        "<devices/><qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
         <qemu:arg value='-nonsense'/></qemu:commandline>",
    );
    let refused = daemon.virsh_with_file("create", &wrong);
    assert!(refused.stderr.contains("-nonsense: invalid option"), "{}", refused.stderr);
}

/// Runs a guest on libvirt's paths under `daemon`, with the log daemon `logd`.
fn guest_with(test: &str, logd: (&str, &[&str]), daemon: (&str, &[&str])) {
    for program in [logd.0, daemon.0] {
        if !Path::new(program).exists() {
            eprintln!("skipped: {test} needs {program}");
            return;
        }
    }
    namespace::inside(test, || {
        let mut keeper = Running::start(logd.0, logd.1);
        wait::until("the log daemon", || {
            LogDaemon::connect("/run/libvirt/virtlogd-sock".as_ref()).ok()
        });
        let running = Running::serving(daemon.0, daemon.1);
        let folder = Path::new("/var/lib/libvirt/images");
        std::fs::create_dir_all(folder).expect("folder");
        let (disk, serial) = (folder.join("g.img"), folder.join("g.serial"));
        std::fs::write(&disk, guests::boot_sector()).expect("file");
        let file = folder.join("g.xml");
        std::fs::write(&file, domains::from_disk("g", &disk, &serial)).expect("file");
        virsh(&format!("create {}", file.display())).ok();
        wait::until("the guest to speak", || {
            read(&serial).contains(guests::BOOT_SECTOR_LINE).then_some(())
        });
        let pid = read("/run/libvirt/qemu/g.pid");
        let output = std::fs::read_link(format!("/proc/{pid}/fd/1")).expect("a descriptor");
        assert!(output.to_string_lossy().starts_with("pipe:"), "{output:?}");
        // A successor of the log daemon goes on with it.
        keeper.signal(Signal::USR1);
        let length = read(&serial).len();
        wait::until("the guest to speak on", || (read(&serial).len() > length).then_some(()));
        assert!(keeper.is_running());
        virsh("destroy g").ok();
        let log = read("/var/log/libvirt/qemu/g.log");
        assert!(log.contains("-name guest=g") && log.contains("reason=destroyed"), "{log}");
        drop(running);
    });
}

#[test]
fn libvirtd_is_served_by_our_log_daemon() {
    let ours = paths::ironvirt().display().to_string();
    guest_with(
        "libvirtd_is_served_by_our_log_daemon",
        (&ours, &["logd"]),
        ("/usr/sbin/libvirtd", &[]),
    );
}

#[test]
fn our_daemon_is_served_by_virtlogd() {
    let ours = paths::ironvirt().display().to_string();
    guest_with(
        "our_daemon_is_served_by_virtlogd",
        ("/usr/sbin/virtlogd", &[]),
        (&ours, &["daemon"]),
    );
}

/// A log daemon of ours that cannot start says why, through the guest's start.
#[test]
fn why_there_is_no_log_daemon_is_told_where_it_was_needed() {
    let daemon = Daemon::start();
    if daemon.is_external() || daemon.session() {
        return;
    }
    let path = daemon.path("run/virtlogd.pid");
    let held = host::lock::PidFile::acquire(&path).expect("nobody has it");
    daemon.define(&domains::minimal("mute")).ok();
    let holder = format!("is locked by process {}", std::process::id());
    daemon.virsh("start mute").fails_with(&[
        "can't connect to virtlogd",
        &path.display().to_string(),
        &holder,
    ]);
    drop(held);
    daemon.virsh("start mute").ok();
    domains::discard(&daemon, "mute");
}
