//! Guests and storage that do not answer, and room that there is not: whatever waits for one of them,
//! nobody else does.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tests::plugging::{is_mine, lends};
use tests::saving::{self, SmallDisk};
use tests::wire::{self, procedure};
use tests::{Daemon, Options, domains, groups, processes, wait};

/// A client does five calls at a time: enough clients to fill any pool of threads.
const CLIENTS: usize = 120;
const CALLS: u32 = 5;

/// Whether something came in; waits for nothing.
fn has_answer(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).expect("a socket option");
    let mut byte = [0];
    let seen = rustix::net::recv(stream, &mut byte, rustix::net::RecvFlags::PEEK).is_ok();
    stream.set_nonblocking(false).expect("a socket option");
    seen
}

#[test]
fn changes_queued_on_a_stuck_guest_keep_nobody_else_waiting() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "stuck")).ok();
    daemon.virsh("start stuck").ok();
    let qemu = daemon.qemus();
    let mut holder = wire::open(daemon.socket(), daemon.session());
    let name = wire::string("stuck");
    let (status, dom) = wire::ask(&mut holder, procedure::DOMAIN_LOOKUP_BY_NAME, 3, &name);
    assert_eq!(status, 0, "the guest is there");

    processes::signal(qemu[0], Signal::STOP);
    holder.write_all(&wire::call(procedure::DOMAIN_SUSPEND, 4, &dom)).expect("sent");
    wait::until("the job to be held", || {
        (!daemon.virsh("domcontrol stuck").ok().starts_with("ok")).then_some(())
    });
    let mut waiting: Vec<_> =
        (0..CLIENTS).map(|_| wire::open(daemon.socket(), daemon.session())).collect();
    for stream in &mut waiting {
        for serial in 0..CALLS {
            let body = [dom.as_slice(), &[0, 0, 0, (serial % 2) as u8]].concat();
            let call = wire::call(procedure::DOMAIN_SET_AUTOSTART, 10 + serial, &body);
            stream.write_all(&call).expect("sent");
        }
    }

    daemon.define(&domains::minimal("other")).ok();
    daemon.virsh("dumpxml other").ok();
    daemon.virsh("start other").ok();
    daemon.virsh("dumpxml stuck").ok();
    // A new definition of the guest waits for nothing that is done with it.
    let stored = daemon.virsh("dumpxml stuck --inactive").ok();
    let titled = stored.replace("</uuid>", "</uuid>\n  <title>defined meanwhile</title>");
    daemon.define(&titled).ok();
    assert_eq!(daemon.virsh("dumpxml stuck --inactive").ok(), titled);
    daemon.virsh_with_file("create", &domains::minimal("transient")).ok();
    daemon.virsh("undefine other").ok();
    daemon.virsh("destroy other").ok();
    daemon.virsh("destroy transient").ok();
    for _ in 0..4 {
        // Together they would wait for longer than a change does.
        daemon.virsh("domstats --nowait").ok();
    }
    let early = waiting.iter().chain([&holder]).filter(|stream| has_answer(stream)).count();
    assert_eq!(early, 0, "the others did wait until the guest answered");

    processes::signal(qemu[0], Signal::CONT);
    for stream in waiting.iter_mut().chain([&mut holder]) {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
    }
    let read = |stream: &mut UnixStream| {
        let answer = wire::read_frame(stream).expect("an answer");
        assert_eq!(answer[20..24], [0; 4], "{}", String::from_utf8_lossy(&answer));
    };
    read(&mut holder);
    for stream in &mut waiting {
        (0..CALLS).for_each(|_| read(stream));
    }
    daemon.wait_for_state("stuck", "paused (user)");
    daemon.virsh("destroy stuck").ok();
    daemon.assert_well();
}

/// A file system whose server never says a word: who looks at anything in it waits.
struct HungMount {
    place: PathBuf,
    server: Option<fs::File>,
}

impl HungMount {
    /// None where the user may not mount, or there is no FUSE.
    fn new(place: PathBuf) -> Option<HungMount> {
        fs::create_dir_all(&place).expect("a folder");
        let server = fs::File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", server.as_raw_fd());
        let options = std::ffi::CString::new(options).expect("no NUL");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("iv-hung", &place, "fuse", flags, Some(options.as_c_str())).ok()?;
        Some(HungMount { place, server: Some(server) })
    }

    /// From now on whoever looks gets an error, as do those who wait.
    fn end(&mut self) {
        self.server = None;
    }
}

impl Drop for HungMount {
    fn drop(&mut self) {
        self.end();
        let _ = rustix::mount::unmount(&self.place, rustix::mount::UnmountFlags::DETACH);
    }
}

fn beside(daemon: &Daemon, line: &str) -> Child {
    let mut command = Command::new("virsh");
    command.args(["-c", &daemon.uri()]).args(line.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("virsh runs")
}

/// A QEMU that greets and does nothing else is ended by `destroy` also when the daemon is a new one
/// that has just begun to ask it.
#[test]
fn a_guest_that_never_answers_a_new_daemon_is_destroyed() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.virsh_with_file("create", &domains::boot_sector(&daemon, "mute")).ok();
    // Its main thread waits for a reader of this file: it hears of no signal but SIGKILL.
    let fifo = daemon.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).expect("a fifo");
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).expect("our own file");
    let save = format!(
        r#"{{"execute":"pmemsave","arguments":{{"val":0,"size":1,"filename":"{}"}}}}"#,
        fifo.display()
    );
    let mut asking = beside(&daemon, &format!("qemu-monitor-command mute {save}"));
    wait::until("QEMU to hang", || {
        (!daemon.virsh("domcontrol mute").ok().starts_with("ok")).then_some(())
    });
    daemon.kill();
    asking.wait().expect("virsh ends");
    daemon.restart();
    daemon.virsh("destroy mute").ok();
    assert_eq!(daemon.qemus(), [] as [i32; 0]);
}

#[test]
fn a_mount_that_hangs_holds_up_nothing_but_its_own_guest() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let Some(mut mount) = HungMount::new(daemon.path("hung")) else {
        eprintln!("skipped: no right to mount, or no FUSE");
        return;
    };
    let inside = |name: &str| mount.place.join(name).display().to_string();
    let image = inside("disk.img");
    for name in ["saved", "dumped", "plugged", "witness"] {
        saving::ticking(&daemon, name);
    }
    let on_it =
        domains::from_disk("hung", Path::new(&image), &domains::serial_file(&daemon, "hung"));
    daemon.define(&on_it).ok();
    let disk = format!(
        "<disk type='file'><source file='{image}'/><target dev='vdz' bus='virtio'/></disk>"
    );
    let disk = daemon.write("disk.xml", disk);
    let pool = format!(
        "<pool type='dir'><name>hung</name><target><path>{}</path></target></pool>",
        mount.place.display()
    );
    let pool = daemon.write("pool.xml", pool);
    let lines = [
        "start hung".to_owned(),
        format!("save saved {}", inside("image")),
        format!("dump dumped {} --live", inside("core")),
        format!("attach-device plugged {} --live", disk.display()),
        format!("pool-create {}", pool.display()),
        "domblkinfo hung hda".to_owned(),
    ];
    let mut calls: Vec<_> = lines.iter().map(|line| (line, beside(&daemon, line))).collect();
    // Everything else goes on, again and again, also about the guests that wait.
    for _ in 0..3 {
        for line in [
            "list --all",
            "dominfo hung",
            "dumpxml saved",
            "domstate dumped",
            "domstats --nowait witness",
            "suspend witness",
            "resume witness",
            "pool-list --all",
        ] {
            daemon.virsh(line).ok();
        }
        daemon.virsh_with_file("create", &domains::minimal("other")).ok();
        daemon.virsh("destroy other").ok();
    }
    saving::assert_ticks(&daemon, "witness");
    let over: Vec<_> = calls
        .iter_mut()
        .filter_map(|(line, call)| call.try_wait().expect("a child").map(|_| line.as_str()))
        .collect();
    assert!(over.len() < calls.len(), "none met the mount: {over:?}");
    mount.end();
    for (line, mut call) in calls {
        let status =
            wait::until(&format!("the end of {line:?}"), || call.try_wait().expect("a child"));
        assert!(!status.success(), "{line:?} did what cannot be");
    }
    for name in ["saved", "dumped", "plugged", "witness"] {
        wait::until(&format!("{name} to run"), || {
            daemon.virsh_words(&["domstate", name]).ok().starts_with("running").then_some(())
        });
        saving::assert_ticks(&daemon, name);
    }
    daemon.assert_well();
}

/// A storage that hangs under a guest that runs.
#[test]
fn a_mount_that_hangs_under_a_running_guest_holds_up_no_other() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let place = daemon.path("share");
    let image = daemon.write("share/disk.img", tests::guests::boot_sector());
    let on_it = domains::from_disk("under", &image, &domains::serial_file(&daemon, "under"));
    daemon.define(&on_it).ok();
    saving::ticking(&daemon, "witness");
    daemon.virsh("start under").ok();
    daemon.virsh(&format!("pool-create-as share dir --target {}", place.display())).ok();
    daemon.virsh("vol-info disk.img --pool share").ok();
    let Some(mut mount) = HungMount::new(place) else {
        eprintln!("skipped: no right to mount, or no FUSE");
        return;
    };
    // More than there are threads for them.
    let looks = ["domblkinfo under hda", "vol-info disk.img --pool share", "pool-refresh share"];
    let mut calls: Vec<_> =
        (0..4).flat_map(|_| looks).map(|line| (line, beside(&daemon, line))).collect();
    for _ in 0..3 {
        for line in [
            "list --all",
            "dominfo under",
            "dumpxml under",
            "domstats under",
            "domstats",
            "domblkstat under hda",
            "domblkerror under",
            "suspend under",
            "resume under",
            "domblkinfo witness hda",
            "pool-list --all",
            "vol-list share",
            "suspend witness",
            "resume witness",
        ] {
            daemon.virsh(line).ok();
        }
    }
    for (line, call) in &mut calls {
        assert!(call.try_wait().expect("a child").is_none(), "{line:?} did not meet the mount");
    }
    // The guest ends at once; that its image cannot be given back yet is said.
    calls.push(("destroy under", beside(&daemon, "destroy under")));
    wait::until("the end of its QEMU", || (daemon.qemus().len() == 1).then_some(()));
    daemon.virsh("destroy under").fails_with(&["storage does not answer"]);
    saving::assert_ticks(&daemon, "witness");
    mount.end();
    for (line, mut call) in calls {
        wait::until(&format!("the end of {line:?}"), || call.try_wait().expect("a child"));
    }
    wait::until("all to be taken back", || {
        daemon.virsh("domstate under").ok().starts_with("shut off").then_some(())
    });
    drop(mount);
    daemon.virsh("start under").ok();
    daemon.assert_well();
}

/// What cannot be written down is not begun; what happens all the same is written down later.
#[test]
fn a_full_run_folder_loses_no_guest() {
    let mut daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return;
    }
    let folder = daemon.path("run/libvirt/qemu");
    let Some(room) = SmallDisk::mount(folder.clone(), "256k") else {
        eprintln!("skipped: no right to mount");
        return;
    };
    daemon.launch();
    tests::plugging::start(&daemon, "g");
    daemon.define(&domains::minimal("other")).ok();
    let (image, disk) = tests::plugging::usb_disk(&daemon, "usb.img");
    let iso = daemon.write("images/one.iso", vec![0; 1 << 16]);
    let status = || fs::read_to_string(folder.join("g.xml")).expect("a status file");
    let before = status();
    let filler = folder.join("filler");
    // To the last block; the error at the end is the point.
    let _ = fs::write(&filler, vec![0; 1 << 20]);

    let full = ["No space left on device"];
    daemon.virsh("start other").fails_with(&full);
    assert_eq!(daemon.qemus().len(), 1, "a guest that nobody would find again");
    daemon.virsh(&format!("attach-device g {} --live", disk.display())).fails_with(&full);
    let insert = format!("change-media g hdc {} --insert --live", iso.display());
    daemon.virsh(&insert).fails_with(&full);
    assert!(is_mine(&image) && is_mine(&iso), "nothing is lent");
    let shares = || groups::read(daemon.qemus()[0], "cpu", "", "cpu.shares");
    if shares().is_some() {
        daemon.virsh("schedinfo g --live cpu_shares=300").fails_with(&full);
        assert_eq!(shares().as_deref(), Some("1024"), "a limit that nobody would know of");
    }
    let told = daemon.virsh("dumpxml g").ok();
    assert!(!told.contains("usb.img") && !told.contains("one.iso"), "{told}");
    saving::assert_ticks(&daemon, "g");
    // It can be stopped all the same, and that is told.
    daemon.virsh("suspend g").ok();
    assert!(daemon.virsh("domstate g").ok().starts_with("paused"));
    // Only one line of it is another: that needs no room.
    let others = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("<domstatus "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(others(&status()), others(&before), "the old one is whole");
    assert!(status().contains("<domstatus state='paused' reason='user'"));
    // A daemon that is killed now finds the guest by it, and QEMU tells what it does.
    daemon.kill();
    daemon.launch();
    wait::until("the guest to be told of", || {
        daemon.virsh("domstate g").ok().starts_with("paused").then_some(())
    });
    daemon.virsh("resume g").ok();
    saving::assert_ticks(&daemon, "g");
    assert_eq!(others(&status()), others(&before), "the old one is whole");

    fs::remove_file(&filler).expect("it");
    wait::until("it to be written down at last", || {
        status().contains("state='running'").then_some(())
    });
    daemon.virsh("suspend g").ok();
    daemon.virsh(&format!("attach-device g {} --live", disk.display())).ok();
    daemon.virsh(&insert).ok();
    assert!(!lends(&daemon) || !is_mine(&image));
    assert!(status().contains("usb.img") && status().contains("one.iso"));
    daemon.virsh("start other").ok();
    daemon.virsh("destroy other").ok();
    daemon.virsh("destroy g").ok();
    drop(room);
}
