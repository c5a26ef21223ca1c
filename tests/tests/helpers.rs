//! Helpers beside QEMU: one that ends too early is told of, and none outlives its guest.

use std::path::Path;

use rustix::process::Signal;
use tests::{Daemon, domains, processes, wait};

/// A guest with a network of passt's and, where there is one, an emulated TPM.
fn guest(daemon: &Daemon, name: &str) -> String {
    let tpm = match Path::new("/usr/bin/swtpm_setup").exists() && tests::paths::is_root() {
        true => "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>",
        false => "",
    };
    let nic = "<interface type='user'><backend type='passt'/><model type='virtio'/></interface>";
    domains::boot_sector(daemon, name).replacen("<devices>", &format!("<devices>{nic}{tpm}"), 1)
}

/// The processes of guests: those that a path below the daemon's folder was handed to.
fn of_guests(daemon: &Daemon, program: &str) -> Vec<i32> {
    processes::naming(daemon.root())
        .into_iter()
        .filter(|&pid| {
            processes::command_line(pid).first().is_some_and(|word| word.contains(program))
        })
        .collect()
}

/// Files that guests have while they run.
fn files(daemon: &Daemon) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "/passt", "/swtpm", "/slirp"] {
        let folder = daemon.path(&format!("run/libvirt/qemu{folder}"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter(|entry| entry.path().is_file() || is_socket(&entry.path()));
        found.extend(names.map(|entry| entry.path().display().to_string()));
    }
    found.retain(|name| !name.ends_with("/driver.pid") && !name.ends_with("/autostarted"));
    found
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

/// passt comes again: by QEMU's word while the daemon runs, and where it ended meanwhile.
#[test]
fn passt_is_started_anew_when_it_ends() {
    // Outside of the daemon's folder, whose processes are the guests'; open to QEMU's user.
    let place = tempfile::Builder::new().prefix("iv-passt-").tempdir_in("/var/tmp");
    let place = place.expect("a folder");
    set_mode(place.path(), 0o755);
    let (bin, broken) = (place.path().join("bin"), place.path().join("broken"));
    std::fs::create_dir(&bin).expect("a folder");
    set_mode(&bin, 0o755);
    let script = "#!/bin/bash\n[ -e BROKEN ] && { echo it is broken >&2; exit 3; }\n\
                  exec /usr/bin/passt \"$@\"\n";
    let stand_in = bin.join("passt");
    std::fs::write(&stand_in, script.replace("BROKEN", &broken.display().to_string()))
        .expect("written");
    set_mode(&stand_in, 0o755);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let env = vec![("PATH".into(), path.into())];
    let mut daemon = Daemon::prepare(tests::Options { env, ..tests::Options::default() });
    if daemon.is_external() {
        return;
    }
    daemon.launch();
    daemon.define(&guest(&daemon, "net")).ok();
    daemon.virsh("start net").ok();
    let of = |daemon: &Daemon| of_guests(daemon, "passt");
    let why = |daemon: &Daemon| daemon.ironvirt("why net").ok();
    // Not the one that only starts the other.
    let written = |daemon: &Daemon| {
        let folder = std::fs::read_dir(daemon.path("run/libvirt/qemu/passt")).ok()?;
        let pid_file = folder
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().ends_with("-passt.pid"))?;
        let pid = std::fs::read_to_string(pid_file.path()).ok()?.trim().parse::<i32>().ok()?;
        of(daemon).contains(&pid).then_some(pid)
    };
    let another = |daemon: &Daemon, old: i32| {
        wait::until("another passt", || written(daemon).filter(|new| *new != old))
    };
    let connected = |daemon: &Daemon| {
        // A listening socket has one line of its own, a connection has two more.
        wait::until("QEMU to connect", || {
            let table = std::fs::read_to_string("/proc/net/unix").expect("a list");
            let socket = daemon.path("run/libvirt/qemu/passt").display().to_string();
            let here = table.lines().filter(|line| line.contains(&socket));
            (here.filter(|line| line.contains(" 03 ")).count() > 0).then_some(())
        });
    };
    connected(&daemon);
    let first = written(&daemon).expect("a passt");
    processes::signal(first, Signal::KILL);
    let second = another(&daemon, first);
    connected(&daemon);
    assert!(!why(&daemon).contains("helper"), "{}", why(&daemon));
    let log = std::fs::read_to_string(daemon.path("var/log/libvirt/qemu/net.log")).expect("a log");
    assert!(log.contains("Starting external device: passt"), "{log}");
    // QEMU's word of this one reaches nobody.
    daemon.kill();
    processes::signal(second, Signal::KILL);
    wait::until("its end", || of(&daemon).is_empty().then_some(()));
    daemon.launch();
    let third = another(&daemon, second);
    // What does not come again is told of, with the reason.
    std::fs::write(&broken, "").expect("written");
    processes::signal(third, Signal::KILL);
    let told = wait::until("word of it", || {
        Some(why(&daemon)).filter(|told| told.contains("its helper 'passt"))
    });
    assert!(told.contains(&format!("(process {third})")), "{told}");
    assert!(told.contains("not started anew") && told.contains("it is broken"), "{told}");
    let log = std::fs::read_to_string(daemon.path("var/log/libvirt/qemu/net.log")).expect("a log");
    assert!(log.contains("was not started anew"), "{log}");
    domains::discard(&daemon, "net");
    wait::until("everything's end", || of(&daemon).is_empty().then_some(()));
    assert_eq!(files(&daemon), Vec::<String>::new());
}

/// A helper whose state nothing gives back is only told of: an emulated TPM.
#[test]
fn a_helper_that_ends_before_its_guest_is_told_of() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&guest(&daemon, "alone")).ok();
    let fine = daemon.ironvirt("why alone").ok();
    assert!(!fine.contains("cannot start"), "{fine}");
    daemon.virsh("start alone").ok();
    let why = |daemon: &Daemon| daemon.ironvirt("why alone").ok();
    assert!(!why(&daemon).contains("helper"), "{}", why(&daemon));
    let [swtpm] = of_guests(&daemon, "swtpm")[..] else {
        eprintln!("skipped: there is no swtpm here");
        return domains::discard(&daemon, "alone");
    };
    processes::signal(swtpm, Signal::KILL);
    let told = wait::until("word of the helper", || {
        Some(why(&daemon)).filter(|told| told.contains("its helper 'swtpm"))
    });
    assert!(told.contains(&format!("(process {swtpm})")), "{told}");
    let log = daemon.path("var/log/libvirt/qemu/alone.log");
    let log = std::fs::read_to_string(log).expect("the guest's log");
    assert!(log.contains("ended before the guest"), "{log}");
    // Also of one that ended while no daemon ran.
    daemon.kill();
    daemon.launch();
    wait::until("word of the helper again", || why(&daemon).contains("its helper").then_some(()));
    domains::discard(&daemon, "alone");
}

#[test]
fn nothing_is_left_of_guests_that_came_and_went() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let names = ["one", "two", "three", "four"];
    for name in names {
        daemon.define(&guest(&daemon, name)).ok();
    }
    for round in 0..3 {
        for name in names {
            daemon.virsh_words(&["start", name]).ok();
        }
        assert_eq!(of_guests(&daemon, "passt").len(), names.len(), "in round {round}");
        match round {
            // All as it should be.
            0 => {}
            // The daemon is killed in between.
            1 => {
                daemon.kill();
                daemon.launch();
            }
            // The guests are.
            _ => {
                for pid in daemon.qemus() {
                    processes::signal(pid, Signal::KILL);
                }
            }
        }
        for name in names {
            // Killed ones are off already.
            daemon.virsh_words(&["destroy", name]);
            wait::until(&format!("{name} to be off"), || {
                let state = daemon.virsh_words(&["domstate", name]).stdout;
                (state.trim() == "shut off").then_some(())
            });
        }
        for program in ["qemu-system", "passt", "swtpm"] {
            wait::until(&format!("the end of every {program} (round {round})"), || {
                of_guests(&daemon, program).is_empty().then_some(())
            });
        }
        let left = || Some(files(&daemon)).filter(|left| !left.is_empty());
        wait::until(&format!("files to go: {:?}", files(&daemon)), || {
            left().is_none().then_some(())
        });
    }
}

/// A stand-in for nbdkit, with its options: it notes them, and serves a file in place of a server's.
const NBDKIT: &str = r#"#!/bin/bash
if [ "$1" = --dump-config ]; then echo "plugindir=ROOT/plugins"; exit; fi
echo "$@" >> ROOT/notes/called
for word; do case $word in
  password=+*) cat "${word#*+}" >> ROOT/notes/password;;
esac; done
exec qemu-nbd --fork --read-only --persistent --format=raw --socket="$2" --pid-file="$4" ROOT/served
"#;

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("a file of ours");
}

/// Images of web servers come through nbdkit, which lives as long as its guest or its disk.
#[test]
fn nbdkit_serves_images_and_goes_with_them() {
    // Outside of the daemon's folder, whose processes are the guests'; open to QEMU's user.
    let place = tempfile::Builder::new().prefix("iv-nbdkit-").tempdir_in("/var/tmp");
    let place = place.expect("a folder");
    let root = place.path().display().to_string();
    let path = std::env::var("PATH").expect("a path");
    let env = vec![("PATH".into(), format!("{root}/bin:{path}").into())];
    let mut daemon = Daemon::prepare(tests::Options { env, ..tests::Options::default() });
    if daemon.is_external() || !Path::new("/usr/bin/qemu-nbd").exists() {
        return;
    }
    let put = |name: &str, content: &[u8], mode| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, content).expect("written");
        set_mode(&path, mode);
        path
    };
    set_mode(place.path(), 0o755);
    put("bin/nbdkit", NBDKIT.replace("ROOT", &root).as_bytes(), 0o755);
    put("plugins/nbdkit-curl-plugin.so", b"", 0o644);
    put("served", &[7; 1 << 20], 0o644);
    let notes = put("notes/called", b"", 0o666).parent().expect("a folder").to_owned();
    set_mode(&notes, 0o777);
    daemon.write("etc/libvirt/qemu.conf", "storage_use_nbdkit = 1\n");
    daemon.launch();
    let secret = "<secret private='yes'><usage type='ceph'><name>web</name></usage></secret>";
    daemon.virsh_with_file("secret-define", secret).ok();
    let listed = daemon.virsh("secret-list").ok();
    let uuid = listed.split_whitespace().find(|word| word.len() == 36).expect("its UUID");
    daemon.virsh_words(&["secret-set-value", uuid, "c2VzYW1l"]).ok();
    let disk = "<disk type='network' device='cdrom'><driver name='qemu' type='raw'/>\
                <source protocol='https' name='a.iso'><host name='web.example'/>\
                <auth username='fred'><secret type='ceph' usage='web'/></auth></source>\
                <target dev='sda' bus='sata'/><readonly/></disk>";
    let xml = domains::boot_sector(&daemon, "web")
        .replace("machine='pc'", "machine='q35'")
        .replace("dev='hda' bus='ide'", "dev='sdb' bus='sata'")
        .replacen("<devices>", &format!("<devices>{disk}"), 1);
    daemon.define(&xml).ok();
    daemon.virsh("start web").ok();
    let of = |daemon: &Daemon| of_guests(daemon, "qemu-nbd");
    let served = of(&daemon);
    assert_eq!(served.len(), 1, "{:?}", daemon.log());
    let called = std::fs::read_to_string(notes.join("called")).expect("it was called");
    assert!(called.contains("url=https://web.example:443/a.iso"), "{called}");
    assert!(called.contains("user=fred") && !called.contains("sesame"), "{called}");
    let told = std::fs::read_to_string(notes.join("password")).expect("a password");
    assert_eq!(told, "sesame");
    let size = daemon.virsh("domblkinfo web sda").ok();
    assert!(size.contains("1048576"), "{size}");
    // Found again, and told of when it ends.
    daemon.kill();
    daemon.launch();
    assert_eq!(of(&daemon), served);
    daemon.virsh("change-media web sda --eject --live").ok();
    wait::until("its end", || of(&daemon).is_empty().then_some(()));
    daemon.virsh("destroy web").ok();
    daemon.virsh("start web").ok();
    let again = of(&daemon);
    assert_eq!(again.len(), 1);
    // It is started anew when it ends, and the guest reads on.
    processes::signal(again[0], Signal::KILL);
    wait::until("another one", || of(&daemon).first().filter(|pid| **pid != again[0]).map(drop));
    wait::until("the image to be read", || {
        // QEMU prints it to its log.
        let read = "qemu-io -d sata0-0-0 \"read -v 0 16\"";
        daemon.virsh_words(&["qemu-monitor-command", "web", "--hmp", read]);
        let log = std::fs::read_to_string(daemon.path("var/log/libvirt/qemu/web.log"));
        log.expect("a log").contains("07 07 07").then_some(())
    });
    assert!(!daemon.ironvirt("why web").ok().contains("its helper"));
    daemon.virsh("destroy web").ok();
    daemon.virsh("start web").ok();
    daemon.virsh("destroy web").ok();
    wait::until("the last one's end", || of(&daemon).is_empty().then_some(()));
    assert_eq!(files(&daemon), Vec::<String>::new());
    daemon.virsh("undefine web").ok();
}

/// A port that is free when it is chosen may be another's when QEMU wants it.
#[test]
fn ports_that_others_take_are_passed_over_or_told_of() {
    let mut daemon = Daemon::prepare(tests::Options::default());
    if daemon.is_external() {
        return;
    }
    let free = || {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        (socket, port)
    };
    let (socket, first) = free();
    drop(socket);
    let first = first.min(65_500);
    let last = first + 20;
    daemon.write(
        "etc/libvirt/qemu.conf",
        format!("remote_display_port_min = {first}\nremote_display_port_max = {last}\n"),
    );
    // Between choice and use: the administrator's script runs there.
    let root = daemon.root().display().to_string();
    let script = format!(
        "#!/bin/bash\n[ \"$2\" = start ] && [ ! -e {root}/thief ] || exit 0\n\
         setsid /usr/bin/python3 -c 'import os, socket, sys\n\
         for port in range({first}, {last}):\n\
         \x20   try:\n\
         \x20       it = socket.create_server((\"127.0.0.1\", port))\n\
         \x20       break\n\
         \x20   except OSError: pass\n\
         if os.fork(): os._exit(0)\n\
         open(\"{root}/thief\", \"w\").write(str(os.getpid()))\n\
         sys.stdout.close()\n\
         sys.stdin.close()\n\
         import signal\n\
         signal.pause()' </dev/null >/dev/null 2>&1\n\
         until [ -s {root}/thief ]; do sleep 0.05; done\n"
    );
    let hook = daemon.write("etc/libvirt/hooks/qemu", script);
    set_mode(&hook, 0o755);
    daemon.launch();
    let guest = |name: &str, graphics: &str| {
        domains::minimal(name).replace("<devices/>", &format!("<devices>{graphics}</devices>"))
    };
    let auto = "<graphics type='vnc' autoport='yes'/>";
    daemon.virsh_with_file("create", &guest("robbed", auto)).ok();
    let thief = std::fs::read_to_string(daemon.path("thief")).expect("a thief");
    let thief: i32 = thief.trim().parse().expect("its number");
    let display = daemon.virsh("vncdisplay robbed").ok();
    let display: u16 = display.trim().rsplit(':').next().expect("one").parse().expect("a number");
    let port = display + 5900;
    assert!(port > first, "{port}");
    // A port that the definition names is nobody's choice: who has it is told.
    let (_held, held) = free();
    let fixed = |port: u16| format!("<graphics type='vnc' port='{port}' autoport='no'/>");
    let ours = format!("port {held} is in use by process {}", std::process::id());
    daemon
        .virsh_with_file("create", &guest("late", &fixed(held)))
        .fails_with(&["Address already in use", &ours]);
    daemon
        .virsh_with_file("create", &guest("second", &fixed(port)))
        .fails_with(&[&format!("Failed to reserve port {port}"), "domain 'robbed'"]);
    daemon.virsh_with_file("define", &guest("second", &fixed(port))).ok();
    let why = daemon.ironvirt("why second").ok();
    assert!(why.contains("domain 'robbed'"), "{why}");
    // A failed start gives its port back, and so do ends; a restart forgets none.
    daemon.kill();
    daemon.launch();
    daemon.virsh("start second").fails_with(&["Failed to reserve port"]);
    daemon.virsh("destroy robbed").ok();
    daemon.virsh("start second").ok();
    daemon.virsh("destroy second").ok();
    daemon.virsh("undefine second").ok();
    processes::signal(thief, Signal::KILL);
}
