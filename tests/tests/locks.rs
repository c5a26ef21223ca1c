//! The lock daemon: an image is never written to by two guests, whoever asks for it, and no lock
//! outlives its guest or is lost on the way.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use host::lock_daemon::{Guest, Lock, LockDaemon, PeerError};
use rustix::process::Signal;
use tests::between::{Between, Harm, When};
use tests::on_host::{Running, virsh};
use tests::{Daemon, Options, domains, guests, namespace, paths, processes, wait};

/// Somebody else who wants locks: a process that does nothing.
struct Other(Child);

impl Other {
    fn new() -> Other {
        let mut sleep = Command::new("sleep");
        let quiet = sleep.arg("600").stdin(Stdio::null()).stdout(Stdio::null());
        Other(quiet.stderr(Stdio::null()).spawn().expect("sleep runs"))
    }

    fn connect(&self, socket: &Path) -> LockDaemon {
        let guest = Guest { uuid: [9; 16], name: "other".into(), id: 99 };
        let pid = self.0.id();
        wait::until("the lock daemon", || LockDaemon::registered(socket, &guest, pid).ok())
    }

    fn acquire(&self, socket: &Path, lock: &Lock) -> Result<(), PeerError> {
        self.connect(socket).acquire(lock)
    }

    fn release(&self, socket: &Path, lock: &Lock) {
        self.connect(socket).release(lock).expect("it was held");
    }

    /// Waits until the lock is free, by having it for a moment.
    fn sees_free(&self, socket: &Path, lock: &Lock) {
        wait::until("the lock to be free", || self.acquire(socket, lock).ok());
        self.release(socket, lock);
    }

    fn sees_locked(&self, socket: &Path, lock: &Lock) {
        let refused = self.acquire(socket, lock).expect_err("somebody has it").to_string();
        assert_eq!(refused, is_locked(lock));
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_locked(lock: &Lock) -> String {
    format!("resource busy: Lockspace resource '{}' is locked", lock.name)
}

fn direct(path: &Path) -> Lock {
    let name = path.display().to_string();
    Lock { space: String::new(), name, shared: false, create: false }
}

/// A daemon whose guests need locks, and where its lock daemon listens.
fn locking(qemu_lockd: &str) -> Option<(Daemon, std::path::PathBuf)> {
    let mut daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return None;
    }
    daemon.write("etc/libvirt/qemu.conf", "lock_manager = \"lockd\"\n");
    daemon.write("etc/libvirt/qemu-lockd.conf", qemu_lockd);
    daemon.launch();
    let socket = daemon.path("run/libvirt/virtlockd-sock");
    Some((daemon, socket))
}

fn lockd(daemon: &Daemon) -> i32 {
    let file = daemon.path("run/virtlockd.pid");
    let read = || std::fs::read_to_string(&file).ok()?.trim().parse().ok();
    wait::until("the lock daemon's pid file", read)
}

#[test]
fn a_guest_has_its_images_while_it_runs() {
    let Some((daemon, socket)) = locking("") else { return };
    daemon.define(&domains::boot_sector(&daemon, "g")).ok();
    let image = direct(&daemon.path("images/g.img"));
    daemon.virsh("start g").ok();
    let other = Other::new();
    other.sees_locked(&socket, &image);

    // Paused, another may have it; then it cannot go on, and says why.
    daemon.virsh("suspend g").ok();
    wait::until("the lock to be free", || other.acquire(&socket, &image).ok());
    daemon.virsh("resume g").fails_with(&["Failed to resume domain", &is_locked(&image)]);
    assert!(daemon.virsh("domstate g").ok().starts_with("paused"));
    other.release(&socket, &image);
    daemon.virsh("resume g").ok();
    other.sees_locked(&socket, &image);

    // The lock goes with the guest, however that ends.
    daemon.virsh("destroy g").ok();
    other.sees_free(&socket, &image);
    daemon.virsh("start g").ok();
    let qemu = *daemon.qemus().first().expect("a QEMU");
    processes::signal(qemu, Signal::KILL);
    other.sees_free(&socket, &image);
    wait::until("the guest's end to be known", || {
        daemon.virsh("domstate g").ok().starts_with("shut off").then_some(())
    });

    // A start that another is in the way of fails and leaves nothing.
    other.acquire(&socket, &image).expect("free");
    daemon.virsh("start g").fails_with(&["Failed to start domain 'g'", &is_locked(&image)]);
    assert_eq!(daemon.qemus(), Vec::<i32>::new());
    other.release(&socket, &image);
    daemon.virsh("start g").ok();
    // A save releases it for who restores it, and a restore takes it.
    daemon.virsh("managedsave g").ok();
    other.sees_free(&socket, &image);
    daemon.virsh("start g").ok();
    other.sees_locked(&socket, &image);
    daemon.virsh("destroy g").ok();
}

#[test]
fn locks_outlive_both_daemons() {
    let Some((mut daemon, socket)) = locking("") else { return };
    daemon.define(&domains::boot_sector(&daemon, "g")).ok();
    daemon.virsh("start g").ok();
    let image = direct(&daemon.path("images/g.img"));
    let other = Other::new();
    daemon.kill();
    other.sees_locked(&socket, &image);
    daemon.launch();
    other.sees_locked(&socket, &image);
    // The lock daemon becomes its successor, and still knows whose they are.
    let pid = lockd(&daemon);
    for _ in 0..2 {
        processes::signal(pid, Signal::USR1);
        wait::until("a successor", || {
            processes::command_line(pid).iter().any(|word| word == "--resume").then_some(())
        });
        other.sees_locked(&socket, &image);
    }
    // Paused by one daemon and resumed by the next.
    daemon.virsh("suspend g").ok();
    other.sees_free(&socket, &image);
    daemon.kill();
    daemon.launch();
    daemon.virsh("resume g").ok();
    other.sees_locked(&socket, &image);
    // Its end is known to a successor that has never heard of its connection.
    processes::signal(pid, Signal::USR1);
    daemon.virsh("destroy g").ok();
    other.sees_free(&socket, &image);
}

#[test]
fn devices_that_come_and_leave_bring_and_leave_their_locks() {
    let Some((daemon, socket)) = locking("") else { return };
    let leases = daemon.path("leases");
    std::fs::create_dir_all(leases.join("room")).expect("folder");
    std::fs::write(leases.join("room/key"), "").expect("file");
    let lease = format!(
        "<lease><lockspace>room</lockspace><key>key</key><target path='{}'/></lease>",
        leases.display()
    );
    let guest = domains::boot_sector(&daemon, "g");
    let guest =
        guest.replace("<memballoon", "<controller type='scsi' model='virtio-scsi'/><memballoon");
    daemon.virsh_with_file("create", &guest).ok();
    let other = Other::new();

    let extra = daemon.write("images/extra.img", [0; 4096]);
    let disk = |more: &str| {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
             <target dev='sdx' bus='scsi'/>{more}</disk>",
            extra.display()
        )
    };
    let image = direct(&extra);
    other.acquire(&socket, &image).expect("free");
    let attach = |xml: &str| {
        let file = daemon.write("device.xml", xml);
        daemon.virsh(&format!("attach-device g {}", file.display()))
    };
    let detach = |xml: &str| {
        let file = daemon.write("device.xml", xml);
        daemon.virsh(&format!("detach-device g {}", file.display())).ok();
    };
    attach(&disk("")).fails_with(&["Failed to attach device", &is_locked(&image)]);
    assert!(!daemon.virsh("domblklist g").ok().contains("sdx"));
    other.release(&socket, &image);
    attach(&disk("")).ok();
    other.sees_locked(&socket, &image);
    // A boot sector acknowledges no unplug of a disk; the lease needs no guest.
    attach(&lease).ok();
    let key = Lock {
        space: leases.join("room").display().to_string(),
        name: "key".into(),
        shared: false,
        create: false,
    };
    other.sees_locked(&socket, &key);
    assert!(daemon.virsh("dumpxml g").ok().contains("<key>key</key>"));
    detach(&lease);
    other.sees_free(&socket, &key);
    assert!(leases.join("room/key").exists(), "a lease's file is its administrator's");
    daemon.virsh("destroy g").ok();
    other.sees_free(&socket, &image);
}

/// A guest with a drive for floppies, which a guest writes to.
fn with_floppies(daemon: &Daemon) -> (std::path::PathBuf, std::path::PathBuf) {
    let drive = "<disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>\
                 <controller type='scsi' model='virtio-scsi'/><memballoon";
    let guest = domains::boot_sector(daemon, "g").replace("<memballoon", drive);
    daemon.define(&guest).ok();
    daemon.virsh("start g").ok();
    let floppy = |name: &str| daemon.write(&format!("images/{name}"), vec![0; 1_474_560]);
    (floppy("one.flp"), floppy("two.flp"))
}

#[test]
fn media_come_and_leave_with_their_locks() {
    let Some((daemon, socket)) = locking("") else { return };
    let (one, two) = with_floppies(&daemon);
    let (first, second) = (direct(&one), direct(&two));
    let other = Other::new();
    let change = |how: &str| daemon.virsh(&format!("change-media g fda {how} --live"));
    change(&format!("{} --insert", one.display())).ok();
    other.sees_locked(&socket, &first);
    // One that somebody else has does not come, and the one that is there stays.
    other.acquire(&socket, &second).expect("free");
    change(&format!("{} --update", two.display())).fails_with(&[&is_locked(&second)]);
    other.release(&socket, &second);
    other.sees_locked(&socket, &first);
    assert!(daemon.virsh("domblklist g").ok().contains("one.flp"));
    change(&format!("{} --update", two.display())).ok();
    other.sees_locked(&socket, &second);
    other.sees_free(&socket, &first);
    change("--eject").ok();
    other.sees_free(&socket, &second);
    // One that QEMU cannot open leaves no lock behind.
    let none = daemon.path("images/none.flp");
    change(&format!("{} --insert", none.display())).failed();
    let other_format = format!(
        "<disk type='file' device='floppy'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='fda' bus='fdc'/></disk>",
        two.display()
    );
    let file = daemon.write("other.xml", other_format);
    daemon.virsh(&format!("update-device g {} --live", file.display())).failed();
    other.sees_free(&socket, &second);
    daemon.virsh("destroy g").ok();
}

/// A guest that stands still has no locks; what it gets then is asked for all the same.
#[test]
fn a_paused_guest_gets_and_loses_disks_with_their_locks() {
    let Some((daemon, socket)) = locking("") else { return };
    let (one, two) = with_floppies(&daemon);
    let other = Other::new();
    let (first, second) = (direct(&one), direct(&two));
    let own = direct(&daemon.path("images/g.img"));
    daemon.virsh("suspend g").ok();
    other.sees_free(&socket, &own);
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='sdx' bus='scsi'/></disk>",
        two.display()
    );
    let disk = daemon.write("disk.xml", disk);
    let insert = format!("change-media g fda {} --insert --live", one.display());
    let attach = format!("attach-device g {} --live", disk.display());
    for (line, image) in [(&insert, &first), (&attach, &second)] {
        other.acquire(&socket, image).expect("free");
        daemon.virsh(line).fails_with(&[&is_locked(image)]);
        other.release(&socket, image);
        daemon.virsh(line).ok();
        other.sees_locked(&socket, image);
    }
    // Its own are still free for whoever takes it over, and it does not run without them.
    other.acquire(&socket, &own).expect("free");
    daemon.virsh("resume g").fails_with(&[&is_locked(&own)]);
    other.release(&socket, &own);
    daemon.virsh("resume g").ok();
    let all = [&first, &second, &own];
    all.iter().for_each(|lock| other.sees_locked(&socket, lock));
    daemon.virsh("suspend g").ok();
    all.iter().for_each(|lock| other.sees_free(&socket, lock));
    daemon.virsh("change-media g fda --eject --live").ok();
    other.sees_free(&socket, &first);
    daemon.virsh("resume g").ok();
    other.sees_locked(&socket, &second);
    other.sees_free(&socket, &first);
    daemon.virsh("destroy g").ok();
    all.iter().for_each(|lock| other.sees_free(&socket, lock));
}

/// The daemon dies at each command of a change of media: what QEMU has open is locked, what it has
/// not is free.
#[test]
fn locks_of_media_outlive_a_daemon_in_the_middle() {
    let Some((mut daemon, socket)) = locking("") else { return };
    let (one, two) = with_floppies(&daemon);
    let other = Other::new();
    for step in 0..6 {
        let insert = format!("change-media g fda {} --insert --live", one.display());
        daemon.virsh(&insert).ok();
        let between = Between::step_in(&mut daemon, "g");
        // The daemon that took the guest over looks at it before it changes it.
        daemon.virsh("setmem g 32M --live");
        between.arm(step, When::Before, Harm::Stop);
        let update = format!("change-media g fda {} --update --live", two.display());
        let mut client = tests::plugging::begin(&daemon, &update);
        wait::until("the step", || {
            let over = client.try_wait().expect("a child").is_some();
            (between.is_done() || over).then_some(())
        });
        daemon.kill();
        client.wait().expect("virsh ends without its daemon");
        between.disarm();
        processes::signal(between.qemu(), Signal::CONT);
        daemon.launch();
        wait::until("it to be under control", || {
            let ask = ["qemu-monitor-command", "g", r#"{"execute":"query-status"}"#];
            (daemon.virsh_words(&ask).status == 0).then_some(())
        });
        let mut seen = String::new();
        let settled = wait::until_some(wait::PATIENCE, || {
            let nodes = r#"{"execute":"query-named-block-nodes"}"#;
            let nodes = tests::plugging::qmp(&daemon, "g", nodes).to_string();
            let told = daemon.virsh("domblklist g").ok();
            let wrong = [&one, &two].into_iter().any(|path| {
                let name = path.display().to_string();
                let free = other.acquire(&socket, &direct(path)).is_ok();
                if free {
                    other.release(&socket, &direct(path));
                }
                seen = format!("{name} free: {free}; {told} {nodes}");
                nodes.contains(&name) == free || told.contains(&name) == free
            });
            (!wrong).then_some(())
        });
        assert!(settled.is_some(), "at step {step}: {seen}");
        daemon.virsh("change-media g fda --eject --live").ok();
        for path in [&one, &two] {
            other.sees_free(&socket, &direct(path));
        }
    }
    daemon.virsh("destroy g").ok();
}

#[test]
fn files_may_stand_for_images() {
    let folder = tempfile::Builder::new().prefix("iv-").tempdir_in("/var/tmp").expect("folder");
    let files = folder.path().join("files").display().to_string();
    let Some((daemon, socket)) = locking(&format!("file_lockspace_dir = \"{files}\"\n")) else {
        return;
    };
    let guest = domains::boot_sector(&daemon, "g");
    let shared = daemon.write("images/shared.img", [0; 4096]);
    let read_only = daemon.write("images/ro.img", [0; 4096]);
    let disk = |dev: &str, path: &Path, how: &str| {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
             <target dev='{dev}' bus='virtio'/><{how}/></disk>",
            path.display()
        )
    };
    let more = disk("vdx", &shared, "shareable") + &disk("vdy", &read_only, "readonly");
    daemon.virsh_with_file("create", &guest.replace("<memballoon", &(more + "<memballoon"))).ok();
    let other = Other::new();
    let of = |path: &Path, shared: bool| Lock {
        space: files.clone(),
        name: units::sha256_hex(path.display().to_string().as_bytes()),
        shared,
        create: true,
    };
    other.sees_locked(&socket, &of(&daemon.path("images/g.img"), false));
    other.acquire(&socket, &of(&shared, true)).expect("shared");
    other.release(&socket, &of(&shared, true));
    other.sees_locked(&socket, &of(&shared, false));
    other.sees_free(&socket, &of(&read_only, false));
    let locks = || std::fs::read_dir(&files).expect("folder").count();
    assert_eq!(locks(), 2);
    daemon.virsh("destroy g").ok();
    wait::until("the files to go", || (locks() == 0).then_some(()));
}

#[test]
fn what_cannot_be_locked_is_not_started() {
    let Some((daemon, _)) = locking("auto_disk_leases = 0\n") else { return };
    daemon
        .virsh_with_file("create", &domains::boot_sector(&daemon, "g"))
        .fails_with(&["Read/write, exclusive access, disks were present, but no leases specified"]);
    // A guest without disks needs none.
    daemon.virsh_with_file("create", &domains::minimal("h")).ok();
    daemon.virsh("destroy h").ok();
    let lease =
        "<lease><lockspace>s</lockspace><key>k</key><target path='/nowhere' offset='8'/></lease>";
    let far = domains::minimal("h").replace("<devices/>", &format!("<devices>{lease}</devices>"));
    daemon
        .virsh_with_file("create", &far)
        .fails_with(&["Offset must be zero for this lock manager"]);
    let near = far.replace(" offset='8'", "");
    daemon
        .virsh_with_file("create", &near)
        .fails_with(&["Lockspace for path /nowhere/s does not exist"]);
    assert_eq!(daemon.qemus(), Vec::<i32>::new());
}

/// Runs a guest on libvirt's paths under `daemon`, its locks held by `lockd`.
fn guest_with(test: &str, lockd: (&str, &[&str]), daemon: (&str, &[&str]), needs: &[&str]) {
    for program in [lockd.0, daemon.0].iter().chain(needs) {
        if !Path::new(program).exists() {
            eprintln!("skipped: {test} needs {program}");
            return;
        }
    }
    namespace::inside(test, || {
        std::fs::write("/etc/libvirt/qemu.conf", "lock_manager = \"lockd\"\n").expect("file");
        std::fs::write("/etc/libvirt/qemu-lockd.conf", "").expect("file");
        let logd = Running::start(paths::ironvirt(), &["logd"]);
        let keeper = Running::start(lockd.0, lockd.1);
        let socket = Path::new("/run/libvirt/virtlockd-sock");
        wait::until("the lock daemon", || LockDaemon::connect(socket).ok().map(drop));
        let running = Running::serving(daemon.0, daemon.1);
        let folder = Path::new("/var/lib/libvirt/images");
        std::fs::create_dir_all(folder).expect("folder");
        let (disk, serial) = (folder.join("g.img"), folder.join("g.serial"));
        std::fs::write(&disk, guests::boot_sector()).expect("file");
        let file = folder.join("g.xml");
        std::fs::write(&file, domains::from_disk("g", &disk, &serial)).expect("file");
        virsh(&format!("define {}", file.display())).ok();
        virsh("start g").ok();
        let (other, image) = (Other::new(), direct(&disk));
        other.sees_locked(socket, &image);
        virsh("suspend g").ok();
        other.sees_free(socket, &image);
        virsh("resume g").ok();
        other.sees_locked(socket, &image);
        virsh("destroy g").ok();
        wait::until("the lock to be free", || other.acquire(socket, &image).ok());
        virsh("start g").fails_with(&[&is_locked(&image)]);
        other.release(socket, &image);
        drop((running, keeper, logd));
    });
}

#[test]
fn libvirtd_is_served_by_our_lock_daemon() {
    let ours = paths::ironvirt().display().to_string();
    guest_with(
        "libvirtd_is_served_by_our_lock_daemon",
        (&ours, &["lockd"]),
        ("/usr/sbin/libvirtd", &[]),
        &["/usr/lib/x86_64-linux-gnu/libvirt/lock-driver/lockd.so"],
    );
}

#[test]
fn our_daemon_is_served_by_virtlockd() {
    let ours = paths::ironvirt().display().to_string();
    guest_with(
        "our_daemon_is_served_by_virtlockd",
        ("/usr/sbin/virtlockd", &[]),
        (&ours, &["daemon"]),
        &[],
    );
}
