//! Devices that come and go: through the daemon, and by hand through a second monitor of the same
//! guest. The measure is the first as a multiple of the second.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{guests, wire};

use crate::daemon::Boxed;
use crate::measures::{DESTROY, Measure, domain, median, ok, string};

const CREATE_XML: u32 = 10;
const ATTACH_DEVICE: u32 = 160;
const DETACH_DEVICE: u32 = 161;

/// Where box and host share a folder that QEMU's user may write to, inside the box.
const SHARED: &str = "/var/lib/libvirt/hand";

/// How often each is done.
const TURNS: usize = 60;

/// What a guest without software lets go at once, and what a Linux is asked for.
const KINDS: [(&str, &str, [&str; 2]); 2] = [
    (
        "usb",
        "<disk type='file'><driver name='qemu' type='raw'/>\
         <source file='/var/lib/libvirt/hand/disk.img'/><target dev='sdb' bus='usb'/></disk>",
        ["attach a USB disk, nobody in the guest", "detach it"],
    ),
    (
        "linux",
        "<disk type='file'><driver name='qemu' type='raw'/>\
         <source file='/var/lib/libvirt/hand/disk.img'/><target dev='vda' bus='virtio'/></disk>",
        ["attach a virtio disk, Linux guest", "detach it"],
    ),
];

/// All measures of one daemon, always in the same order: each through the daemon, then the same by
/// hand.
pub fn all(daemon: &Boxed) -> Vec<Measure> {
    let mut found = Vec::new();
    for (name, device, words) in KINDS {
        let folder = daemon.path(SHARED);
        prepare(&folder);
        let mut stream = wire::open(&daemon.socket(), false);
        let mut body = string(&xml(name));
        body.extend_from_slice(&[0; 4]);
        ok(&mut stream, CREATE_XML, &body);
        let one = domain(name, daemon);
        if name == "linux" {
            wait_for_shell(&folder.join("serial"));
        }
        let mut monitor = ByHand::connect(&folder.join("monitor"));
        let (mut daemons, mut hands) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let mut body = one.clone();
        body.extend_from_slice(&string(device));
        body.extend_from_slice(&1u32.to_be_bytes());
        // In turns, so that both meet the same load.
        for _ in 0..TURNS {
            daemons.0.push(timed(|| ok(&mut stream, ATTACH_DEVICE, &body)));
            settle(name);
            daemons.1.push(timed(|| ok(&mut stream, DETACH_DEVICE, &body)));
            settle(name);
            hands.0.push(timed(|| monitor.attach(name)));
            settle(name);
            hands.1.push(timed(|| monitor.detach()));
            settle(name);
        }
        for (what, through, by_hand) in
            [(words[0], daemons.0, hands.0), (words[1], daemons.1, hands.1)]
        {
            let (through, by_hand) = (median(through) / 1000.0, median(by_hand) / 1000.0);
            let measure =
                |what: String, unit, value| Measure { what, unit, value, more_is_better: false };
            found.push(measure(what.into(), "ms", through));
            found.push(measure(
                format!("  as a multiple of by hand, {by_hand:.2} ms"),
                "x",
                through / by_hand,
            ));
        }
        ok(&mut stream, DESTROY, &one);
    }
    found
}

/// A guest that is still busy with the device before lets nothing go.
fn settle(name: &str) {
    if name == "linux" {
        std::thread::sleep(Duration::from_millis(60));
    }
}

fn timed(turn: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    turn();
    begun.elapsed()
}

fn prepare(folder: &Path) {
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod of our own");
    };
    std::fs::create_dir_all(folder).expect("a folder of the box");
    open(folder, 0o777);
    for (name, size) in [("disk.img", 1 << 20), ("serial", 0)] {
        let path = folder.join(name);
        std::fs::File::create(&path)
            .and_then(|file| file.set_len(size))
            .expect("a file of the box");
        open(&path, 0o666);
    }
}

fn xml(name: &str) -> String {
    let (boot, devices) = match name {
        "linux" => {
            let guest = guests::linux();
            let boot = format!(
                "<kernel>{}</kernel><initrd>{}</initrd><cmdline>console=ttyS0 quiet no_timer_check</cmdline>",
                guest.kernel.display(),
                guest.initrd.display()
            );
            (boot, "<controller type='usb' model='none'/>")
        }
        _ => (String::new(), "<controller type='usb' model='qemu-xhci'/>"),
    };
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
         <name>{name}</name><memory unit='MiB'>256</memory>\
         <os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>\
         <features><acpi/><apic/></features><devices>{devices}\
         <serial type='file'><source path='{SHARED}/serial'/></serial>\
         <memballoon model='none'/></devices>\
         <qemu:commandline><qemu:arg value='-qmp'/>\
         <qemu:arg value='unix:{SHARED}/monitor,server=on,wait=off'/></qemu:commandline></domain>"
    )
}

fn wait_for_shell(serial: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let said = std::fs::read(serial).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains("No login is needed") {
            std::thread::sleep(Duration::from_secs(1));
            return;
        }
        assert!(Instant::now() < deadline, "the guest does not boot");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A monitor, and someone who types well.
struct ByHand {
    stream: UnixStream,
    lines: std::io::Lines<BufReader<UnixStream>>,
}

impl ByHand {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the second monitor");
        let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        let mut monitor = Self { stream, lines };
        monitor.next();
        monitor.tell("qmp_capabilities", json!({}));
        monitor
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("QEMU speaks").expect("its socket is read");
        serde_json::from_str(&line).expect("JSON")
    }

    fn tell(&mut self, command: &str, arguments: Value) {
        let line = json!({"execute": command, "arguments": arguments}).to_string() + "\n";
        self.stream.write_all(line.as_bytes()).expect("QEMU listens");
        loop {
            let answer = self.next();
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            if answer.get("return").is_some() {
                return;
            }
        }
    }

    fn attach(&mut self, name: &str) {
        let file = format!("{SHARED}/disk.img");
        let node = json!({"driver": "file", "filename": file, "node-name": "hand",
            "auto-read-only": true, "discard": "unmap"});
        self.tell("blockdev-add", node);
        let device = match name {
            "linux" => json!({"driver": "virtio-blk-pci", "bus": "pci.0", "addr": "0x8",
                "drive": "hand", "id": "hand-disk", "write-cache": "on"}),
            _ => json!({"driver": "usb-storage", "bus": "usb.0", "port": "1",
                "drive": "hand", "id": "hand-disk", "removable": false}),
        };
        self.tell("device_add", device);
    }

    fn detach(&mut self) {
        let line = json!({"execute": "device_del", "arguments": {"id": "hand-disk"}});
        self.stream.write_all(format!("{line}\n").as_bytes()).expect("QEMU listens");
        loop {
            let answer = self.next();
            assert!(answer.get("error").is_none(), "device_del: {answer}");
            let gone = answer.get("event").and_then(Value::as_str) == Some("DEVICE_DELETED");
            if gone && answer["data"]["device"] == "hand-disk" {
                break;
            }
        }
        self.tell("blockdev-del", json!({"node-name": "hand"}));
    }
}
