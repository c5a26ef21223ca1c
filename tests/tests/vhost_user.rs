//! Devices that other processes serve over vhost-user: disks, and folders by virtiofsd; where helpers run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tests::{Daemon, domains, processes, wait};

/// Memory that other processes may use too.
const SHARED: &str = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";

/// A guest that is up in a moment, with shared memory and these devices.
fn guest(daemon: &Daemon, name: &str, devices: &str) -> String {
    domains::boot_sector(daemon, name)
        .replacen("<devices>", &format!("<devices>{devices}"), 1)
        .replacen("<os>", &format!("{SHARED}<os>"), 1)
}

/// A program that runs beside the test, and ends with it.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one and waits until its socket is there, which is then open to QEMU's user.
fn serve(program: &str, args: &[String], socket: &Path) -> Beside {
    let mut command = Command::new(program);
    let child = command.args(args).stdout(Stdio::null()).spawn().expect("it starts");
    let beside = Beside(child);
    wait::until("the socket", || socket.exists().then_some(()));
    open_to_all(socket);
    beside
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, mode).expect("a file of ours");
}

fn disk(target: &str, socket: &Path) -> String {
    format!(
        "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/>\
         <source type='unix' path='{}'/><target dev='{target}' bus='virtio'/></disk>",
        socket.display()
    )
}

/// Nothing here has images or counters of what another process serves.
#[test]
fn a_disk_that_another_process_serves() {
    let daemon = Daemon::start();
    let storage_daemon = "/usr/bin/qemu-storage-daemon";
    if !Path::new(storage_daemon).exists() {
        eprintln!("skipped: there is no qemu-storage-daemon here");
        return;
    }
    let image = daemon.write("images/served.img", vec![0; 1 << 20]);
    let socket = daemon.path("served.sock");
    let args = [
        "--blockdev".to_owned(),
        format!("driver=file,node-name=it,filename={}", image.display()),
        "--export".to_owned(),
        format!(
            "type=vhost-user-blk,id=out,node-name=it,addr.type=unix,addr.path={},writable=on",
            socket.display()
        ),
    ];
    let _server = serve(storage_daemon, &args, &socket);
    daemon.define(&guest(&daemon, "fed", &disk("vda", &socket))).ok();
    let shown = |line: &str| daemon.virsh(line).ok();
    let check = |xml: &str| {
        let (_, part) = xml.split_once("<disk type='vhostuser'").expect("the disk");
        let (part, _) = part.split_once("</disk>").expect("its end");
        assert!(part.starts_with(" device='disk' snapshot='no'>"), "{part}");
        assert!(!part.contains("index=") && !part.contains("backingStore"), "{part}");
    };
    let refuse = |line: &str, words: &str| {
        daemon.virsh(line).fails_with(&[words]);
    };
    check(&shown("dumpxml fed"));
    let size = "Operation not supported: block info is not supported for vhostuser disk";
    let limits = "block I/O throttling is not supported for disk 'vda'";
    for running in [false, true] {
        if running {
            shown("start fed");
        }
        refuse("domblkinfo fed vda", size);
        refuse("blkdeviotune fed vda", limits);
        refuse("blkdeviotune fed vda --total-iops-sec 9", limits);
    }
    let live = shown("dumpxml fed");
    check(&live);
    // Its neighbour is the first image that has a number.
    assert!(live.contains(".img' index='1'/>"), "{live}");
    for (line, what) in [
        ("domblkstat fed vda", "block stats are"),
        ("blockresize fed vda 2M", "block resize is"),
        ("domblkthreshold fed vda 100", "setting device threshold is"),
    ] {
        refuse(line, &format!("Operation not supported: {what} not supported for vhostuser disk"));
    }
    let stats = shown("domstats fed --block");
    assert!(stats.contains("block.0.name=vda\n  block.1.name=hda"), "{stats}");
    // There is no second of it to connect to; nothing is left of the attempt.
    let absent = daemon.write("absent.xml", disk("vdb", &daemon.path("absent.sock")));
    let refused = daemon.virsh(&format!("attach-device fed {}", absent.display()));
    refused.fails_with(&["Failed to connect to", "No such file or directory"]);
    check(&shown("dumpxml fed"));
    domains::discard(&daemon, "fed");
    assert!(socket.exists(), "the socket is the server's");
}

/// virtiofsd, where it is installed: by a package, or on the search path.
fn virtiofsd() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = ["/usr/libexec".into(), "/usr/lib/qemu".into()];
    let all = folders.into_iter().chain(std::env::split_paths(&path));
    let found = all.map(|folder: PathBuf| folder.join("virtiofsd")).find(|file| file.exists());
    if found.is_none() {
        eprintln!("skipped: there is no virtiofsd here");
    }
    found.filter(|_| tests::paths::is_root())
}

fn folder(program: &Path, share: &Path, tag: &str) -> String {
    format!(
        "<filesystem><driver type='virtiofs'/><binary path='{}'/><source dir='{}'/>\
         <target dir='{tag}'/></filesystem>",
        program.display(),
        share.display()
    )
}

/// The processes that serve folders of this daemon's guests; one may be another's child.
fn servers(daemon: &Daemon) -> Vec<i32> {
    let all = processes::naming(daemon.root()).into_iter();
    all.filter(|&pid| processes::command_line(pid).iter().any(|word| word.contains("-fs.sock")))
        .filter(|&pid| {
            !processes::command_line(pid).iter().any(|word| word.contains("qemu-system"))
        })
        .collect()
}

/// The groups of a process that QEMU's own threads have to themselves.
fn groups(pid: i32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().filter(|line| line.ends_with("/emulator")).map(str::to_owned).collect()
}

#[test]
fn a_folder_is_served_by_virtiofsd_and_that_ends_with_the_guest() {
    let Some(program) = virtiofsd() else { return };
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let share = daemon.write("share/in", "hello").parent().expect("a folder").to_owned();
    let missing = daemon.path("missing");
    daemon.define(&guest(&daemon, "lost", &folder(&program, &missing, "data"))).ok();
    let words = format!("the virtiofs export directory '{}' does not exist", missing.display());
    daemon.virsh("start lost").fails_with(&[&words]);
    // What is said of a failed start is not what was said of those before.
    let idmap = "<idmap><uid start='0' target='7' count='1'/></idmap><source";
    let refused = folder(&program, &share, "data").replace("<binary", "<binary xattr='on'");
    let refused = refused.replace("'/><source", "'><sandbox mode='chroot'/></binary><source");
    let refused = refused.replacen("<source", idmap, 1);
    daemon.define(&guest(&daemon, "mapped", &refused)).ok();
    for _ in 0..2 {
        let said = daemon.virsh("start mapped");
        assert_ne!(said.status, 0, "{said:?}");
        assert!(said.stderr.matches("Error entering sandbox").count() <= 1, "{said:?}");
    }
    daemon.define(&guest(&daemon, "shared", &folder(&program, &share, "data"))).ok();
    daemon.virsh("start shared").ok();
    let shown = daemon.virsh("dumpxml shared").ok();
    assert!(shown.contains(&format!("<binary path='{}'/>", program.display())), "{shown}");
    let qemu = daemon.qemus()[0];
    let check = |count: usize| {
        // A sandbox makes two of each.
        let all = servers(&daemon);
        assert!(all.len() >= count, "{all:?}");
        for pid in all {
            let (own, its) = (groups(qemu), groups(pid));
            assert!(
                own.iter().all(|group| its.contains(group)),
                "{pid} is in {its:?}, not {own:?}"
            );
        }
    };
    check(1);
    // One more comes while it runs; no two go by one name.
    let again = daemon.write("again.xml", folder(&program, &share, "data"));
    let attach = |file: &Path| daemon.virsh(&format!("attach-device shared {}", file.display()));
    attach(&again).fails_with(&["filesystem target 'data' specified twice"]);
    attach(&daemon.write("other.xml", folder(&program, &share, "other"))).ok();
    check(2);
    // Ended by itself, it is told of, by another daemon too.
    daemon.kill();
    daemon.launch();
    for pid in servers(&daemon) {
        processes::signal(pid, Signal::KILL);
    }
    wait::until("word of the helper", || {
        let told = daemon.ironvirt("why shared").ok();
        told.contains("its helper 'virtiofsd").then_some(())
    });
    for name in ["shared", "lost", "mapped"] {
        domains::discard(&daemon, name);
    }
    // Nothing is left of one that runs to the end of its guest, either.
    daemon.define(&guest(&daemon, "short", &folder(&program, &share, "data"))).ok();
    daemon.virsh("start short").ok();
    daemon.virsh("destroy short").ok();
    wait::until("everything's end", || servers(&daemon).is_empty().then_some(()));
    let left = std::fs::read_dir(daemon.path("var/lib/libvirt/qemu")).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("domain-")), "{left:?}");
    assert!(!daemon.log().contains("not taken back"), "{}", daemon.log());
    assert_eq!(std::fs::read_to_string(share.join("in")).expect("our file"), "hello");
}

/// What a helper does is done for its guest, and counts as QEMU's own.
#[test]
fn helpers_have_the_limits_of_their_guest() {
    let daemon = Daemon::start();
    if daemon.is_external() || !tests::paths::is_root() {
        return;
    }
    let nic = "<interface type='user'><backend type='passt'/><model type='virtio'/></interface>";
    let limit = "<cputune><emulator_period>100000</emulator_period>\
                 <emulator_quota>50000</emulator_quota></cputune><os>";
    let xml = guest(&daemon, "netted", nic).replacen("<os>", limit, 1);
    daemon.define(&xml).ok();
    daemon.virsh("start netted").ok();
    let qemu = daemon.qemus()[0];
    let passt = || {
        let all = processes::naming(daemon.root()).into_iter();
        let named = |pid: &i32| processes::command_line(*pid)[0].contains("passt");
        all.filter(named).collect::<Vec<_>>()
    };
    let own = groups(qemu);
    assert!(!own.is_empty(), "QEMU is in no group");
    let inside = |what: &str| {
        wait::until(what, || {
            let all = passt();
            (!all.is_empty() && all.iter().all(|&pid| groups(pid) == own)).then_some(())
        });
    };
    inside("passt in the group of its guest");
    // One that comes later, and one that is started anew.
    let another = daemon.write("nic.xml", nic);
    daemon.virsh(&format!("attach-device netted {}", another.display())).ok();
    assert_eq!(passt().len(), 2);
    inside("both");
    let first = passt()[0];
    processes::signal(first, Signal::KILL);
    wait::until("another one", || {
        let all = passt();
        (all.len() == 2 && !all.contains(&first)).then_some(())
    });
    inside("the new one, too");
    daemon.virsh("destroy netted").ok();
    wait::until("the end of all", || passt().is_empty().then_some(()));
    let left = tests::groups::guests(daemon.root());
    assert!(left.is_empty(), "{left:?}");
    daemon.virsh("undefine netted").ok();
}
