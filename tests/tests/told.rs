//! What QEMU says of a guest, and what clients hear and see of it: somebody between the daemon and
//! QEMU's monitor says what no guest of a test would do. The texts are libvirtd's for the same words
//! of QEMU.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tests::between::Between;
use tests::{Daemon, domains, namespace, wait};

/// A client that listens, and what it wrote.
struct Listener {
    child: Child,
    file: PathBuf,
    read: usize,
    marks: i64,
}

impl Listener {
    fn new(daemon: &Daemon, between: &Between, name: &str) -> Listener {
        let file = daemon.path("heard");
        let out = File::create(&file).expect("a file of the test");
        let mut command = Command::new("virsh");
        command.args(["-c", &daemon.uri(), "event", name, "--all", "--loop"]);
        let child = command.stdin(Stdio::null()).stdout(out).spawn().expect("virsh runs");
        let mut listener = Listener { child, file, read: 0, marks: 0 };
        // virsh says nothing when it has registered.
        wait::until("the first event", || {
            between.say("RTC_CHANGE", json!({"offset": 0}));
            (listener.text().contains("rtc-change") && listener.until_mark(between).is_some())
                .then_some(())
        });
        listener
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap_or_default()
    }

    /// What was heard since it was last asked; ends with a mark of ours.
    fn heard(&mut self, between: &Between) -> String {
        wait::until("the mark", || self.until_mark(between))
    }

    fn until_mark(&mut self, between: &Between) -> Option<String> {
        self.marks += 1;
        let mark = 1_000_000 + self.marks;
        between.say("RTC_CHANGE", json!({"offset": mark}));
        let found = || {
            let text = self.text();
            let rest = text.get(self.read..)?;
            let line = rest.lines().find(|line| line.ends_with(&format!(": {mark}")))?;
            let end = rest.find(line)?;
            Some((rest.get(..end)?.to_owned(), self.read + end + line.len() + 1))
        };
        let (heard, read) = wait::until_some(wait::PATIENCE, found)?;
        self.read = read;
        let ours = |line: &&str| !line.contains("'rtc-change'") || line.ends_with(": 7");
        Some(heard.lines().filter(ours).map(|line| format!("{line}\n")).collect())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn guest(daemon: &Daemon, interface: &str) -> String {
    let devices = format!(
        "<controller type='usb' model='none'/>\
         <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>\
         {interface}<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
         <memory model='virtio-mem'><target><size unit='MiB'>64</size><node>0</node>\
         <block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory>\
         <memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>\
         <watchdog model='ib700' action='pause'/><panic model='isa'/>"
    );
    let numa = "<maxMemory slots='2' unit='MiB'>1024</maxMemory><os>";
    let cell = "<cpu mode='custom'><model>qemu64</model><numa>\
        <cell id='0' cpus='0' memory='32' unit='MiB'/></numa></cpu><on_crash>preserve</on_crash><devices>";
    domains::boot_sector(daemon, "g")
        .replace("<controller type='usb' model='none'/>", &devices)
        .replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        .replacen("<os>", numa, 1)
        .replacen("<devices>", cell, 1)
}

const NIC: &str = "<interface type='user' trustGuestRxFilters='yes'>\
    <mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>";

/// What QEMU answers about an interface's filter.
fn filter(mac: &str, more: &[(&str, Value)]) -> Value {
    let mut filter = json!({
        "name": "net0", "promiscuous": false, "multicast": "normal", "unicast": "normal",
        "vlan": "normal", "broadcast-allowed": true, "multicast-overflow": false,
        "unicast-overflow": false, "main-mac": mac, "unicast-table": [], "multicast-table": [],
        "vlan-table": [],
    });
    for (name, value) in more {
        filter[name] = value.clone();
    }
    json!([filter])
}

/// Starts the guest and takes the place between.
fn start(interface: &str) -> Option<(Daemon, Between)> {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return None;
    }
    daemon.define(&guest(&daemon, interface)).ok();
    daemon.virsh("start g").ok();
    let between = Between::step_in(&mut daemon, "g");
    Some((daemon, between))
}

fn error(node: &str, more: Value) -> Value {
    let mut data = json!({"device": "", "node-name": node, "reason": "Input/output error",
        "nospace": false, "operation": "write", "action": "report"});
    for (name, value) in more.as_object().into_iter().flatten() {
        data[name] = value.clone();
    }
    data
}

#[test]
fn each_event_is_told_in_libvirts_words() {
    let Some((mut daemon, between)) = start(NIC) else { return };
    let mut listener = Listener::new(&daemon, &between, "g");
    let live = daemon.virsh("dumpxml g").ok();
    let image = daemon.path("images/g.img").display().to_string();
    let index = live.split(" index='").nth(1).and_then(|rest| rest.split('\'').next());
    let node = format!("libvirt-{}-storage", index.expect("the disk's number"));
    let path = "/machine/peripheral/ide0-0-0/x";
    let failure = |more: Value| {
        let mut data = json!({"recipient": "guest", "action": "inject"});
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data
    };
    let io = |rest: &str| {
        let words = format!("event 'io-error' for domain 'g': {image} (ide0-0-0) {rest}\n");
        let reason = rest.split(' ').next().unwrap_or_default();
        words.replace(rest, reason) + &words
    };
    let memory = |text: &str| format!("event 'memory-failure' for domain 'g':\n{text}\n");
    let removal = |alias: &str| format!("event 'device-removal-failed' for domain 'g': {alias}\n");
    let agent = |state: &str| {
        format!(
            "event 'agent-lifecycle' for domain 'g': state: '{state}' reason: 'channel event'\n"
        )
    };
    let tray = |state: &str| format!("event 'tray-change' for domain 'g' disk ide0-1-0: {state}\n");
    let size =
        "event 'memory-device-size-change' for domain 'g':\nalias: virtiomem0\nsize: 16384\n\n";
    let ost = |source: i64, status: i64| {
        json!({"info": {"device": "dimm0", "source": source, "status": status, "slot": "0",
            "slot-type": "DIMM"}})
    };
    let flags = |required: u8, recursive: u8| {
        format!("flags:\n\taction required: {required}\n\trecursive: {recursive}\n")
    };
    let none = String::new();
    for (event, data, expected) in [
        ("DEVICE_UNPLUG_GUEST_ERROR", json!({"device": "net0", "path": "/x"}), removal("net0")),
        ("DEVICE_UNPLUG_GUEST_ERROR", json!({"path": "/x"}), none.clone()),
        ("MEM_UNPLUG_ERROR", json!({"device": "dimm0", "msg": "no"}), none.clone()),
        ("ACPI_DEVICE_OST", ost(3, 1), removal("dimm0")),
        ("ACPI_DEVICE_OST", ost(0x103, 0x82), removal("dimm0")),
        ("ACPI_DEVICE_OST", ost(3, 0), none.clone()),
        ("ACPI_DEVICE_OST", ost(3, 0x84), none.clone()),
        ("ACPI_DEVICE_OST", ost(1, 1), none.clone()),
        ("DEVICE_DELETED", json!({"device": "unknown", "path": "/x"}), none.clone()),
        (
            "MEMORY_FAILURE",
            failure(json!({"flags": {"action-required": true, "recursive": false}})),
            memory(&format!("recipient: guest\naction: inject\n{}", flags(1, 0))),
        ),
        (
            "MEMORY_FAILURE",
            failure(json!({"recipient": "hypervisor", "action": "fatal"})),
            memory(&format!("recipient: hypervisor\naction: fatal\n{}", flags(0, 0))),
        ),
        ("MEMORY_FAILURE", failure(json!({"action": "unknown"})), none.clone()),
        ("BLOCK_IO_ERROR", error(&node, json!({"nospace": true})), io("report due to enospc")),
        ("BLOCK_IO_ERROR", error(&node, json!({})), io("report due to message")),
        ("BLOCK_IO_ERROR", error(&node, json!({"action": "ignore"})), io("none due to message")),
        (
            "BLOCK_IO_ERROR",
            json!({"device": "", "qom-path": path, "action": "report", "operation": "read"}),
            io("report due to "),
        ),
        (
            "DEVICE_TRAY_MOVED",
            json!({"id": "ide0-1-0", "device": "", "tray-open": true}),
            tray("opened"),
        ),
        (
            "DEVICE_TRAY_MOVED",
            json!({"id": "", "device": "drive-ide0-1-0", "tray-open": false}),
            tray("closed"),
        ),
        (
            "DEVICE_TRAY_MOVED",
            json!({"id": "unknown", "device": "", "tray-open": true}),
            none.clone(),
        ),
        (
            "BALLOON_CHANGE",
            json!({"actual": (20 << 20) + 1}),
            "event 'balloon-change' for domain 'g': 20481KiB\n".into(),
        ),
        (
            "MEMORY_DEVICE_SIZE_CHANGE",
            json!({"id": "virtiomem0", "size": 16 << 20, "qom-path": "/x"}),
            size.into(),
        ),
        (
            "MEMORY_DEVICE_SIZE_CHANGE",
            json!({"id": "dimm0", "size": 16 << 20, "qom-path": "/x"}),
            none.clone(),
        ),
        ("VSERPORT_CHANGE", json!({"id": "channel0", "open": true}), agent("connected")),
        ("VSERPORT_CHANGE", json!({"id": "channel0", "open": false}), agent("disconnected")),
        ("MIGRATION_PASS", json!({"pass": 3}), none.clone()),
        (
            "GUEST_CRASHLOADED",
            json!({"action": "run"}),
            "event 'lifecycle' for domain 'g': Crashed Crashloaded\n".into(),
        ),
        ("UNKNOWN", json!({"a": 1}), none.clone()),
    ] {
        between.say(event, data.clone());
        let heard = listener.heard(&between);
        // virsh ends some of its texts with an empty line.
        assert_eq!(heard.trim_end(), expected.trim_end(), "{event} {data}");
    }
    for action in ["none", "reset", "poweroff", "shutdown", "debug", "inject-nmi", "unknown"] {
        between.say("WATCHDOG", json!({ "action": action }));
        let shown = if action == "unknown" { "none" } else { action };
        let expected = format!("event 'watchdog' for domain 'g': {shown}\n");
        assert_eq!(listener.heard(&between), expected, "{action}");
    }
    // What explains a stop comes before it.
    for (event, data, reason, word) in [
        ("WATCHDOG", json!({"action": "pause"}), "watchdog", "Watchdog"),
        ("BLOCK_IO_ERROR", error(&node, json!({"action": "stop"})), "I/O error", "I/O Error"),
    ] {
        between.say(event, data);
        between.say("STOP", Value::Null);
        let heard = listener.heard(&between);
        assert!(heard.ends_with(&format!("Suspended {word}\n")), "{event}: {heard}");
        let state = daemon.virsh("domstate g --reason").ok();
        assert!(state.contains(&format!("paused ({reason})")), "{event}: {state}");
        between.say("RESUME", Value::Null);
        assert!(listener.heard(&between).contains("Resumed Unpaused"), "{event}");
    }
    between.say("GUEST_PANICKED", json!({"action": "pause"}));
    between.say("STOP", Value::Null);
    assert_eq!(listener.heard(&between), "event 'lifecycle' for domain 'g': Crashed Panicked\n");
    daemon.wait_for_state("g", "crashed (panicked)");
    daemon.assert_well();
}

/// Parts of the live XML that QEMU's events change.
#[track_caller]
fn wait_for(daemon: &Daemon, parts: &[&str], what: &str) {
    let mut live = String::new();
    let found = wait::until_some(wait::PATIENCE, || {
        live = daemon.virsh("dumpxml g").ok();
        parts.iter().all(|part| live.contains(part)).then_some(())
    });
    assert!(found.is_some(), "{what}: not all of {parts:?} in\n{live}");
}

#[test]
fn what_was_missed_is_asked_for() {
    let Some((mut daemon, between)) = start(NIC) else { return };
    // (32 + 128) MiB, of which the balloon leaves 100, and 16 of virtio-mem.
    let memory = |kib: u64| {
        json!([{"type": "virtio-mem", "data": {"id": "virtiomem0", "size": kib << 10}},
            {"type": "dimm", "data": {"id": "dimm0", "size": 128 << 20}}])
    };
    let drive = |open: bool| json!([{"qdev": "ide0-1-0", "device": "", "tray_open": open}]);
    let answer = |kib: u64, open: bool, mac: &str| {
        between.answer("query-memory-devices", memory(kib));
        between.answer("query-block", drive(open));
        between.answer("query-rx-filter", filter(mac, &[]));
    };
    let shown = |kib: u64, mac: &str| {
        [format!("<current unit='KiB'>{kib}</current>"), format!("currentAddress='{mac}'")]
    };
    // A reset lets go of what the drivers held.
    answer(16 << 10, true, "52:54:00:00:00:02");
    between.say("RESET", json!({"guest": true, "reason": "guest-reset"}));
    let [size, mac] = shown(16 << 10, "52:54:00:00:00:02");
    wait_for(&daemon, &[&size, &mac, "<target dev='hdc' bus='ide' tray='open'/>"], "a reset");
    // While the monitor was lost.
    answer(20 << 10, false, "52:54:00:00:00:03");
    between.answer("query-balloon", json!({"actual": 100 << 20}));
    between.hang_up();
    let [size, mac] = shown(20 << 10, "52:54:00:00:00:03");
    let parts = [&size, &mac, "<target dev='hdc' bus='ide'/>", "<currentMemory unit='KiB'>122880<"];
    wait_for(&daemon, &parts, "a lost monitor");
    // While no daemon was there.
    daemon.kill();
    answer(24 << 10, true, "52:54:00:00:00:04");
    daemon.launch();
    let [size, mac] = shown(24 << 10, "52:54:00:00:00:04");
    let parts = [&size, &mac, "tray='open'", "<currentMemory unit='KiB'>126976<"];
    wait_for(&daemon, &parts, "a lost daemon");
    // A change made from an older definition forgets none of it.
    between.answer_no_more();
    daemon.virsh("domif-setlink g 52:54:00:00:00:01 down").ok();
    let live = daemon.virsh("dumpxml g").ok();
    for part in parts.iter().chain(&["<link state='down'/>"]) {
        assert!(live.contains(part), "no {part} in\n{live}");
    }
    daemon.assert_well();
}

#[test]
fn a_macvtap_takes_what_its_guest_wants() {
    namespace::inside_network("a_macvtap_takes_what_its_guest_wants", || {
        let ip = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            tests::tool("ip", &words, "").ok()
        };
        ip("link add told0 type veth peer name told1");
        // A macvtap's number is in the name of its node in /dev, which namespaces share.
        for _ in 0..80 {
            ip("link add use0 type veth peer name use1");
            ip("link del use0");
        }
        let nic = "<interface type='direct' trustGuestRxFilters='yes'>\
            <mac address='52:54:00:00:00:01'/><source dev='told0' mode='bridge'/>\
            <target dev='told'/><model type='virtio'/></interface>";
        let Some((mut daemon, between)) = start(nic) else { return };
        let own = ["333300000001", "333300000002"];
        let colons = |group: &str| {
            let pairs: Vec<_> = (0..6).map(|at| &group[at * 2..at * 2 + 2]).collect();
            json!(pairs.join(":"))
        };
        let all: Vec<_> = own.iter().map(|group| colons(group)).collect();
        for (mac, more, flags, groups) in [
            ("02", vec![], "MULTICAST", &own[..0]),
            ("02", vec![("multicast-table", json!(all))], "MULTICAST", &own[..]),
            ("03", vec![("multicast-table", json!(all[1..]))], "MULTICAST", &own[1..]),
            ("03", vec![("promiscuous", json!(true))], "MULTICAST,PROMISC", &own[..0]),
            ("03", vec![("vlan-table", json!([5]))], "MULTICAST,PROMISC", &own[..0]),
            ("03", vec![("multicast", json!("all"))], "MULTICAST,ALLMULTI", &own[..0]),
            ("01", vec![("multicast-overflow", json!(true))], "MULTICAST,ALLMULTI", &own[..0]),
            ("01", vec![("multicast", json!("none"))], "", &own[..0]),
        ] {
            let mac = format!("52:54:00:00:00:{mac}");
            between.answer("query-rx-filter", filter(&mac, &more));
            between.say("NIC_RX_FILTER_CHANGED", json!({"name": "net0", "path": "/x"}));
            let wanted: Vec<&str> = flags.split_terminator(',').collect();
            let told = |link: &str| {
                let all = link.split(['<', '>']).nth(1).unwrap_or_default();
                let ours = ["MULTICAST", "PROMISC", "ALLMULTI"];
                ours.iter().all(|flag| wanted.contains(flag) == all.split(',').any(|f| f == *flag))
            };
            let (mut link, mut listed) = (String::new(), Vec::new());
            let found = wait::until_some(wait::PATIENCE, || {
                link = ip("-o link show dev told");
                let text = fs::read_to_string("/proc/self/net/dev_mcast").expect("the groups");
                listed = text
                    .lines()
                    .map(|line| line.split_whitespace().collect::<Vec<_>>())
                    .filter(|words| words[1] == "told" && words[3] != "0")
                    .map(|words| words[4].to_owned())
                    .collect();
                listed.sort();
                (told(&link) && link.contains(&mac) && listed == groups).then_some(())
            });
            assert!(found.is_some(), "{more:?} of {mac}: {link} {listed:?}");
        }
        daemon.virsh("destroy g").ok();
        daemon.assert_well();
    });
}
