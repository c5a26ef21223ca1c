//! A host with a message bus and systemd-machined on it, to be used inside a namespace (see
//! [`crate::namespace`]): the bus is real, `python/machined.py` stands in for machined and systemd.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::on_host::{LIBVIRTD, Running, virsh};
use crate::{paths, wait};

const SOCKET: &str = "/run/bus";
const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus";
const SERVICE: &str = "/run/services/org.freedesktop.machine1.service";
const SAID: &str = "/run/machined.said";
const FAULT: &str = "/run/machined.fault";

const BUS: &str = "<!DOCTYPE busconfig PUBLIC \
    \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
    \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type>\
    <listen>unix:path=/run/bus</listen><servicedir>/run/services</servicedir>\
    <auth>EXTERNAL</auth><policy context='default'><allow user='*'/><allow own='*'/>\
    <allow send_destination='*' eavesdrop='true'/><allow receive_sender='*'/></policy></busconfig>";

/// The bus; ends when dropped.
pub struct Bus(#[allow(dead_code)] Running);

/// Both; they end when dropped.
pub struct Machined {
    _machined: Running,
    _bus: Bus,
}

fn works(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).output().is_ok_and(|done| done.status.success())
}

impl Bus {
    /// Starts a bus without anybody on it. `None`, and says so: this host lacks what it takes.
    pub fn start() -> Option<Bus> {
        if !works("dbus-daemon", &["--version"])
            || !works("/usr/bin/python3", &["-c", "import dbus, gi.repository.GLib"])
        {
            eprintln!("skipped: dbus-daemon, python3-dbus or python3-gi is not installed");
            return None;
        }
        fs::create_dir_all("/run/services").expect("a folder");
        fs::write("/run/bus.conf", BUS).expect("a file");
        let words = ["--nofork", "--nopidfile", "--config-file=/run/bus.conf"];
        let bus = Running::start("dbus-daemon", &words);
        wait::until("the bus", || call("GetId", &[]).then_some(()));
        Some(Bus(bus))
    }

    /// Installs machined and starts it.
    pub fn with_machined(self) -> Machined {
        let service = "[D-BUS Service]\nName=org.freedesktop.machine1\nExec=/bin/false\n";
        fs::write(SERVICE, service).expect("a file");
        assert!(call("ReloadConfig", &[]), "the bus reads its folders again");
        let script = paths::workspace().join("tests/python/machined.py");
        let script = script.display();
        let line = format!("exec /usr/bin/python3 {script} {SOCKET} {FAULT} > {SAID}");
        let machined = Running::start("sh", &["-c", &line]);
        let owner = ["string:org.freedesktop.systemd1"];
        wait::until("machined", || call("GetNameOwner", &owner).then_some(()));
        Machined { _machined: machined, _bus: self }
    }
}

/// Calls the bus itself.
fn call(member: &str, args: &[&str]) -> bool {
    let bus = format!("--bus=unix:path={SOCKET}");
    let member = format!("org.freedesktop.DBus.{member}");
    let words = [&bus, "--print-reply", "--dest=org.freedesktop.DBus", "/", &member];
    works("dbus-send", &[&words[..], args].concat())
}

impl Machined {
    /// Starts a bus with machined on it. `None`, and says so: this host lacks what it takes.
    pub fn start() -> Option<Machined> {
        Some(Bus::start()?.with_machined())
    }

    /// Has it fail so, as `python/machined.py` knows it; not at all for an empty word.
    pub fn fail(&self, how: &str) {
        fs::write(FAULT, how).expect("a file");
    }

    /// The calls of this kind that it got so far: the arguments of each.
    pub fn calls(&self, member: &str) -> Vec<Value> {
        let said = fs::read_to_string(SAID).expect("what it said");
        let calls = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let calls = calls.filter_map(|mut call| {
            let words = call.as_array_mut().expect("a list");
            (words.remove(0) == member).then_some(call)
        });
        calls.collect()
    }
}

impl Drop for Machined {
    /// It may be gone before the last scope that it made is empty.
    fn drop(&mut self) {
        let Ok(said) = fs::read_to_string(SAID) else { return };
        let calls = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let made = calls.filter(|call| {
            call[0].as_str().is_some_and(|member| member.starts_with("CreateMachine"))
        });
        let scope = |name: &str| format!("machine-{}.scope", name.replace('-', "\\x2d"));
        let names = made.filter_map(|call| call[1].as_str().map(scope));
        let names: BTreeSet<_> = names.collect();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_scopes(&hierarchy.path().join("machine.slice"), &names);
        }
    }
}

/// Removes scopes of these names below a slice, where nobody is in them.
fn remove_scopes(slice: &Path, names: &BTreeSet<String>) {
    for entry in fs::read_dir(slice).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if names.contains(&*name) {
            let _ = fs::remove_dir(path);
        } else if name.ends_with(".slice") {
            remove_scopes(&path, names);
            let _ = fs::remove_dir(path);
        }
    }
}

/// libvirt's daemon, which asks this bus, once it is connected to the guests that run.
pub fn libvirtd() -> Running {
    let running = Running::serving("env", &[ADDRESS, LIBVIRTD]);
    virsh("domstats --list-running").ok();
    running
}

/// Ours.
pub fn ours() -> Running {
    Running::serving("env", &[ADDRESS, &paths::ironvirt().to_string_lossy(), "daemon"])
}
