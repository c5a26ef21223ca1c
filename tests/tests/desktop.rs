//! Debian's virt-viewer and virt-manager on a display of their own, and Sys::Virt of Perl.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tests::{Daemon, domains, namespace, paths, tool, wait};

/// Whether these programs are installed; says so when one is not.
fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = programs
        .iter()
        .filter(|name| !std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: not installed: {missing:?}");
    }
    missing.is_empty()
}

/// An X server without a screen that anybody sees.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    fn start() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts");
        let mut number = String::new();
        let output = server.stdout.take().expect("stdout is a pipe");
        BufReader::new(output).read_line(&mut number).expect("the display's number");
        Self { server, name: format!(":{}", number.trim()) }
    }

    /// Starts a client; what it says goes to `log`.
    fn run(&self, daemon: &Daemon, log: &str, words: &[&str]) -> Client {
        let home = daemon.path("home");
        std::fs::create_dir_all(&home).expect("a folder of the test");
        let log = std::fs::File::create(daemon.path(log)).expect("a file of the test");
        let mut command = Command::new("dbus-run-session");
        command.arg("--").args(words).env("DISPLAY", &self.name).env("GDK_BACKEND", "x11");
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env("NO_AT_BRIDGE", "1");
        command.env("LC_ALL", "C.UTF-8").env_remove("LIBVIRT_DEFAULT_URI").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        Client(command.spawn().expect("dbus-run-session starts"))
    }

    fn ask(&self, words: &[&str]) -> Option<String> {
        let output = Command::new(words[0]).args(&words[1..]).env("DISPLAY", &self.name).output();
        let output = output.expect("the tool runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success() && !said.trim().is_empty()).then_some(said)
    }

    /// Waits for a window with this in its title.
    fn window(&self, title: &str) {
        wait::until(&format!("a window called {title}"), || {
            self.ask(&["xdotool", "search", "--onlyvisible", "--name", title])
        });
    }

    /// Waits until the screen shows a guest's text: light letters on black.
    fn text_of_a_guest(&self) {
        wait::until("the guest's screen", || {
            let shot = Command::new("import")
                .args(["-window", "root", "-depth", "8", "gray:-"])
                .env("DISPLAY", &self.name)
                .output()
                .expect("import runs");
            let pixels = shot.stdout;
            // The colours of a text screen: VGA's light grey (0xaa) on black. A few hundred
            // letters have some thousand such pixels.
            let letters = pixels.iter().filter(|&&grey| (0xa6..=0xae).contains(&grey)).count();
            (pixels.len() == 1024 * 768 && letters > 500).then_some(())
        });
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A client; it ends with the test.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        tests::processes::signal(self.0.id() as i32, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A guest that shows its firmware's text.
fn guest(daemon: &Daemon, name: &str) {
    let shown = "<graphics type='vnc' port='-1' autoport='yes'/><video><model type='vga'/></video>";
    let xml =
        domains::boot_sector(daemon, name).replace("<memballoon", &format!("{shown}<memballoon"));
    daemon.define(&xml).ok();
    daemon.virsh_words(&["start", name]).ok();
}

#[test]
fn virt_viewer_shows_a_guests_screen_by_port_and_by_descriptor() {
    if !have(&["Xvfb", "virt-viewer", "xdotool", "import", "dbus-run-session"]) {
        return;
    }
    let daemon = Daemon::start();
    guest(&daemon, "viewed");
    let uri = daemon.uri();
    for way in ["--wait", "--attach"] {
        let display = Display::start();
        let words = ["virt-viewer", way, "-c", &uri, "viewed"];
        let _client = display.run(&daemon, "viewer.log", &words);
        display.window("viewed");
        display.text_of_a_guest();
    }
    domains::discard(&daemon, "viewed");
}

#[test]
fn virt_manager_shows_a_guest_its_hardware_and_the_host() {
    if !have(&["Xvfb", "virt-manager", "xdotool", "import", "dbus-run-session"]) {
        return;
    }
    // On the usual paths: elsewhere virt-manager takes the guest for one of another host.
    let test = "virt_manager_shows_a_guest_its_hardware_and_the_host";
    namespace::inside(test, || {
        let daemon = Daemon::start();
        if !paths::is_root() || daemon.is_external() {
            return;
        }
        std::os::unix::fs::symlink(daemon.path("run/libvirt"), "/run/libvirt").expect("ours");
        guest(&daemon, "managed");
        for (option, argument, title) in [
            ("--show-domain-console", "managed", "managed on"),
            ("--show-domain-editor", "managed", "managed on"),
            ("--show-host-summary", "", "Connection Details"),
            ("--show-domain-creator", "", "New VM"),
        ] {
            let display = Display::start();
            let mut words =
                vec!["virt-manager", "--no-fork", "--debug", "--connect", "qemu:///system", option];
            words.extend((!argument.is_empty()).then_some(argument));
            let _client = display.run(&daemon, "manager.log", &words);
            display.window(title);
            if option == "--show-domain-console" {
                display.text_of_a_guest();
            }
            let log = std::fs::read_to_string(daemon.path("manager.log")).expect("its log");
            assert!(!log.contains("ERROR") && !log.contains("Traceback"), "{option}:\n{log}");
        }
        domains::discard(&daemon, "managed");
    });
}

#[test]
fn perl_takes_a_guest_through_its_life() {
    if !have(&["perl"]) {
        return;
    }
    let probe =
        Command::new("perl").args(["-MSys::Virt", "-e", "1"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: Sys::Virt (libsys-virt-perl) is not installed");
        return;
    }
    let daemon = Daemon::start();
    let xml = daemon.write("perl.xml", domains::boot_sector(&daemon, "perl"));
    let disk = daemon.write("images/second.img", vec![0; 1 << 20]);
    let script = paths::workspace().join("tests/perl/life.pl");
    let (script, xml) = (script.to_string_lossy(), xml.to_string_lossy());
    tool("perl", &[&script, &*daemon.uri(), "perl", &xml, &disk.to_string_lossy()], "").ok();
}
