//! Guests that start and stop with their host, sockets made by others, images that another has.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::{Daemon, Options, client, domains, guests, namespace, paths, tool, wait};

fn states(daemon: &Daemon, names: [&str; 2]) -> [String; 2] {
    names.map(|name| daemon.virsh_words(&["domstate", "--reason", name]).ok().trim().to_owned())
}

/// A child that ends with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BUS: &str = "<!DOCTYPE busconfig PUBLIC \
    \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
    \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type>\
    <listen>unix:path=SOCKET</listen><auth>EXTERNAL</auth><policy context='default'>\
    <allow user='*'/><allow own='*'/><allow send_destination='*' eavesdrop='true'/>\
    <allow receive_sender='*'/></policy></busconfig>";

/// logind is asked to wait while guests run, and its word that the host stops ends them.
#[test]
fn guests_end_when_logind_says_that_the_host_stops() {
    let has = |script: &str| {
        let done = Command::new("/usr/bin/python3").args(["-c", script]).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !Path::new("/usr/bin/dbus-daemon").exists() || !has("import dbus, gi.repository.GLib") {
        eprintln!("skipped: dbus-daemon, python3-dbus or python3-gi is not installed");
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    let (socket, conf) = (place.path().join("bus"), place.path().join("bus.conf"));
    let socket_text = socket.display().to_string();
    std::fs::write(&conf, BUS.replace("SOCKET", &socket_text)).expect("written");
    let _bus = Killed(
        Command::new("/usr/bin/dbus-daemon")
            .args(["--nofork", "--nopidfile", "--config-file"])
            .arg(&conf)
            .spawn()
            .expect("a bus"),
    );
    wait::until("the bus", || socket.exists().then_some(()));
    let mut logind = Command::new("/usr/bin/python3")
        .args([paths::workspace().join("tests/python/logind.py"), socket])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the stand-in");
    let (words, ears) = (logind.stdout.take(), logind.stdin.take());
    let _logind = Killed(logind);
    let lines = BufReader::new(words.expect("its words")).lines();
    let (line, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).all(|text| line.send(text).is_ok()));
    let limit = std::time::Duration::from_secs(60);
    let next = || said.recv_timeout(limit).expect("a word of logind");
    let mut tell = ears.expect("its ears");
    assert_eq!(next(), "ready");
    let address = format!("unix:path={socket_text}");
    let env = vec![("DBUS_SYSTEM_BUS_ADDRESS".into(), address.into())];
    let mut daemon = Daemon::prepare(Options { env, ..Options::default() });
    if !daemon.is_external() {
        let settings = "auto_shutdown_try_save = \"none\"\nauto_shutdown_try_shutdown = \"none\"\n\
                        auto_shutdown_poweroff = \"persistent\"\n";
        daemon.write("etc/libvirt/qemu.conf", settings);
        daemon.launch();
        for name in ["first", "second"] {
            daemon.define(&domains::boot_sector(&daemon, name)).ok();
        }
        let taken = "|shutdown|delay|Libvirt QEMU|QEMU/KVM virtual machines are running";
        // One delay for all guests, until the last is off.
        daemon.virsh("start first").ok();
        assert_eq!(next(), format!("taken|1{taken}"));
        daemon.virsh("start second").ok();
        daemon.virsh("destroy first").ok();
        daemon.virsh("destroy second").ok();
        assert_eq!(next(), "given back|1");
        daemon.virsh("start first").ok();
        assert_eq!(next(), format!("taken|2{taken}"));
        daemon.virsh_with_file("create", &domains::boot_sector(&daemon, "fleeting")).ok();
        // Neither ends a guest: the host sleeps, and a shutdown that was called off.
        writeln!(tell, "PrepareForSleep yes\nPrepareForShutdown no").expect("it listens");
        writeln!(tell, "PrepareForShutdown yes").expect("it listens");
        assert_eq!(next(), "given back|2");
        let said = daemon.log().matches("the host is about to stop").count();
        assert_eq!(said, 1, "{}", daemon.log());
        let running = daemon.virsh("list --name").ok();
        assert_eq!(running.split_whitespace().collect::<Vec<_>>(), ["fleeting"]);
        // The daemon goes on, and finds its guests and their host again.
        daemon.virsh("destroy fleeting").ok();
        daemon.virsh("start second").ok();
        assert_eq!(next(), format!("taken|3{taken}"));
        daemon.kill();
        assert_eq!(next(), "given back|3");
        daemon.launch();
        assert_eq!(next(), format!("taken|4{taken}"));
        for name in ["first", "second"] {
            daemon.virsh_words(&["destroy", name]);
            daemon.virsh_words(&["undefine", name]).ok();
        }
        assert_eq!(next(), "given back|4");
    }
}

#[test]
fn guests_end_with_their_daemon_as_qemu_conf_says() {
    let mut daemon = Daemon::prepare(Options::default());
    if daemon.is_external() {
        return;
    }
    let conf = "auto_shutdown_try_save = \"persistent\"\nauto_shutdown_try_shutdown = \"transient\"\n\
                auto_shutdown_poweroff = \"transient\"\nauto_shutdown_wait = 1\n";
    daemon.write("etc/libvirt/qemu.conf", conf);
    daemon.launch();
    daemon.define(&domains::boot_sector(&daemon, "kept")).ok();
    daemon.define(&domains::boot_sector(&daemon, "still")).ok();
    daemon.virsh("start kept").ok();
    daemon.virsh("start still --paused").ok();
    daemon.virsh_with_file("create", &domains::boot_sector(&daemon, "fleeting")).ok();
    let session = if daemon.session() { "session" } else { "system" };
    let socket = daemon.socket().with_file_name("libvirt-admin-sock");
    let uri = format!("libvirtd+unix:///{session}?socket={}", socket.display());
    tool("virt-admin", &["-c", &uri, "daemon-shutdown", "--preserve"], "");
    daemon.wait_for_end();
    assert!(daemon.qemus().is_empty(), "{}", daemon.log());
    daemon.launch();
    let listed = daemon.virsh("list --all --name").ok();
    assert!(!listed.contains("fleeting"), "{listed}");
    // With the next boot of the host they go on, once.
    for name in ["kept", "still"] {
        let shown = daemon.virsh_words(&["dominfo", name]).ok();
        assert!(shown.contains("Managed save:   yes"), "{shown}");
        assert!(shown.contains("Autostart Once: enable"), "{shown}");
        assert!(shown.contains("Autostart:      disable"), "{shown}");
        daemon.virsh_words(&["start", name]).ok();
    }
    assert_eq!(states(&daemon, ["kept", "still"])[0], "running (restored)");
    assert!(states(&daemon, ["kept", "still"])[1].starts_with("paused"));
    // Nothing else brings them to an end with the daemon.
    daemon.restart();
    assert_eq!(daemon.qemus().len(), 2);
}

#[test]
fn guests_are_saved_with_their_host_and_go_on_with_it() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    for name in ["a", "b"] {
        daemon.define(&domains::boot_sector(&daemon, name)).ok();
        daemon.virsh_words(&["start", name]).ok();
    }
    daemon.virsh_with_file("create", &domains::boot_sector(&daemon, "fleeting")).ok();
    let conf = daemon.write("guests.conf", "ON_BOOT=start\nON_SHUTDOWN=suspend\n");
    let note = daemon.path("guests.note");
    let guests = |action: &str, conf: &Path| {
        let (conf, note) = (conf.display(), note.display());
        daemon.ironvirt(&format!("guests {action} --config {conf} --note {note}"))
    };
    let said = guests("stop", &conf).ok();
    // The last one first; one that would be lost is left alone.
    let at = |word: &str| said.find(word).unwrap_or_else(|| panic!("{word:?} in {said}"));
    assert!(at("Suspending b: done") < at("Suspending a: done"));
    assert!(said.contains("Left running, as they are transient: fleeting"), "{said}");
    assert_eq!(states(&daemon, ["a", "b"]), ["shut off (saved)", "shut off (saved)"]);
    let said = guests("status", &conf).ok();
    assert!(said.contains("went down: 2 (to be started at boot)"), "{said}");
    let said = guests("start", &conf).ok();
    assert!(said.contains("Resuming guest a: done"), "{said}");
    assert_eq!(states(&daemon, ["a", "b"]), ["running (restored)", "running (restored)"]);
    assert!(!note.exists());

    // Guests that are asked to end: one does, one does not hear.
    let conf =
        "ON_SHUTDOWN=shutdown\nPARALLEL_SHUTDOWN=2\nSHUTDOWN_TIMEOUT=4\nPERSISTENT_ONLY=true\n";
    let conf = daemon.write("guests.conf", conf);
    let said = std::thread::scope(|scope| {
        let stop = scope.spawn(|| guests("stop", &conf));
        wait::until("the note", || note.exists().then_some(()));
        daemon.virsh("destroy a").ok();
        stop.join().expect("our own thread")
    });
    assert_eq!(said.status, 1);
    assert!(said.stdout.contains("Shutdown of guest a complete."), "{}", said.stdout);
    let late = "Shutdown of guest b failed to complete in time.";
    assert!(said.stderr.contains(late), "{}", said.stderr);

    let conf = daemon.write("guests.conf", "ON_BOOT=perhaps\n");
    guests("start", &conf).fails_with(&["guests.conf: line 1: ON_BOOT: expected start or ignore"]);
}

fn virsh(line: &str) -> client::Outcome {
    let mut words = vec!["-c", "qemu:///system"];
    words.extend(line.split_whitespace());
    tool("virsh", &words, "")
}

/// Debian's own script, as it is, on its own paths.
#[test]
fn libvirt_guests_works_unmodified() {
    let script = "/usr/lib/libvirt/libvirt-guests.sh";
    let conf = "/etc/default/libvirt-guests";
    if !Path::new(script).exists() || !Path::new(conf).exists() {
        eprintln!("skipped: no {script} here");
        return;
    }
    namespace::inside("libvirt_guests_works_unmodified", || {
        std::fs::create_dir_all("/run/lock").expect("folder");
        let folder = Path::new("/var/lib/libvirt/images");
        std::fs::create_dir_all(folder).expect("folder");
        let own = folder.join("conf");
        std::fs::write(&own, "ON_BOOT=start\nON_SHUTDOWN=suspend\n").expect("file");
        tool("mount", &["--bind", &own.display().to_string(), conf], "").ok();
        let mut daemon = Command::new(paths::ironvirt())
            .arg("daemon")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        wait::until("the daemon to answer", || (virsh("uri").status == 0).then_some(()));
        let (disk, serial) = (folder.join("kept.img"), folder.join("kept.serial"));
        std::fs::write(&disk, guests::boot_sector()).expect("file");
        let file = folder.join("kept.xml");
        std::fs::write(&file, domains::from_disk("kept", &disk, &serial)).expect("file");
        virsh(&format!("define {}", file.display())).ok();
        virsh("start kept").ok();
        let said = tool("sh", &[script, "stop"], "").ok();
        assert!(said.contains("Suspending kept: done"), "{said}");
        assert_eq!(virsh("domstate kept").ok().trim(), "shut off");
        let said = tool("sh", &[script, "start"], "").ok();
        assert!(said.contains("Resuming guest kept: done"), "{said}");
        assert_eq!(virsh("domstate --reason kept").ok().trim(), "running (restored)");
        // Its note is ours, too.
        let said = tool("sh", &[script, "stop"], "").ok();
        assert!(said.contains("Suspending kept: done"), "{said}");
        let said = tool(paths::ironvirt(), &["guests", "start"], "").ok();
        assert!(said.contains("Resuming guest kept: done"), "{said}");
        // Its control group would outlive the namespace.
        virsh("destroy kept").ok();
        let _ = daemon.kill();
        let _ = daemon.wait();
    });
}

/// Sockets that a service manager made are served, and are not ours to remove.
#[test]
fn sockets_of_a_service_manager_are_served() {
    if !paths::is_root() {
        eprintln!("skipped: a user's own daemon is started by its clients");
        return;
    }
    let root = tempfile::Builder::new().prefix("iv-").tempdir_in("/var/tmp").expect("folder");
    let run = root.path().join("run/libvirt");
    std::fs::create_dir_all(&run).expect("folder");
    let socket = run.join("libvirt-sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    // What a service manager does: the sockets from number 3 on, and the child's own number.
    let program = paths::ironvirt().display().to_string();
    let place = root.path().display().to_string();
    let script =
        "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" daemon --root \"$1\"";
    let fd: std::os::fd::OwnedFd = listener.try_clone().expect("a socket").into();
    let mut child = Command::new("sh")
        .args(["-c", script, &program, &place])
        .stdin(Stdio::from(fd))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    let uri = client::uri(&socket, false);
    let said = tool("virsh", &["-c", &uri, "uri"], "");
    tests::processes::signal(child.id() as i32, rustix::process::Signal::TERM);
    child.wait().expect("our own child");
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(socket.exists());
    drop(listener);
}

#[test]
fn an_image_that_another_guest_has_is_explained_by_it() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let first = domains::boot_sector(&daemon, "first");
    daemon.virsh_with_file("create", &first).ok();
    let second = first.replace("<name>first", "<name>second").replace(".serial", ".serial2");
    let refused = daemon.virsh_with_file("create", &second);
    let qemu = *daemon.qemus().first().expect("a QEMU");
    refused.fails_with(&[
        "Failed to get \"write\" lock",
        &format!("is open in domain 'first' (process {qemu})"),
    ]);
}
