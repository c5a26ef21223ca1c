//! Interfaces of guests: every backend that starts, what it leaves on the host, and what goes when.
//!
//! Each test runs in a network namespace of its own, with bridges and cable pairs made by `ip`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tests::{Daemon, Outcome, domains, guests, namespace, processes, tool, wait};

fn ip(line: &str) -> String {
    tool("ip", &line.split_whitespace().collect::<Vec<_>>(), "").ok()
}

/// What `ip` tells of a link, on one line; `None` when there is none.
fn link(name: &str) -> Option<String> {
    let outcome = tool("ip", &["-d", "-o", "link", "show", "dev", name], "");
    (outcome.status == 0).then_some(outcome.stdout)
}

#[track_caller]
fn assert_link(name: &str, parts: &[&str]) {
    let told = link(name).unwrap_or_else(|| panic!("there is no {name}:\n{}", ip("link")));
    for part in parts {
        assert!(told.contains(part), "no {part:?} in: {told}");
    }
}

#[track_caller]
fn wait_until_gone(names: &[&str]) {
    for name in names {
        wait::until(&format!("{name} to go"), || link(name).is_none().then_some(()));
    }
}

/// A bridge with a small MTU, and a cable whose ends are `end0` and `end1`.
fn wire() {
    ip("link add br0 type bridge");
    ip("link set br0 mtu 1400 up");
    ip("link add end0 type veth peer name end1");
    ip("link set end1 up");
}

/// A guest that is up in a moment, with these interfaces.
fn small(daemon: &Daemon, name: &str, interfaces: &str) -> String {
    let disk = domains::boot_sector(daemon, name);
    disk.replace("<memballoon", &format!("{interfaces}<memballoon"))
}

fn define(daemon: &Daemon, name: &str, interfaces: &str) {
    daemon.define(&small(daemon, name, interfaces)).ok();
}

fn start(daemon: &Daemon, name: &str, interfaces: &str) {
    define(daemon, name, interfaces);
    daemon.virsh_words(&["start", name]).ok();
}

/// The definition must be refused with these words.
#[track_caller]
fn is_no_definition(daemon: &Daemon, name: &str, interfaces: &str, parts: &[&str]) {
    daemon.define(&small(daemon, name, interfaces)).fails_with(parts);
    daemon.virsh_words(&["domid", name]).fails_with(&["failed to get domain"]);
}

/// The start must fail, saying these words, and leave no link that was not there.
#[track_caller]
fn refuses(daemon: &Daemon, name: &str, interfaces: &str, parts: &[&str]) {
    let before = ip("-br link");
    define(daemon, name, interfaces);
    daemon.virsh_words(&["start", name]).fails_with(parts);
    let names = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
    };
    assert_eq!(names(&ip("-br link")), names(&before), "after the failed start of {name}");
    daemon.wait_for_state(name, "shut off (failed)");
    daemon.virsh_words(&["undefine", name]).ok();
}

fn destroy(daemon: &Daemon, name: &str) -> Outcome {
    daemon.virsh_words(&["destroy", name])
}

fn kill_qemu(daemon: &Daemon) {
    for pid in daemon.qemus() {
        processes::signal(pid, Signal::KILL);
    }
    wait::until("QEMU's end", || daemon.qemus().is_empty().then_some(()));
}

fn script(daemon: &Daemon, name: &str, text: &str) -> PathBuf {
    let path = daemon.write(name, format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
    path
}

/// A Linux guest with one interface; its console is a file, whose path is returned.
fn linux(daemon: &Daemon, name: &str, interface: &str) -> PathBuf {
    let console = daemon.write(&format!("images/{name}.console"), "");
    let xml = domains::linux(name, guests::linux(), "", "")
        .replace("<interface type='user'><model type='virtio'/></interface>", interface)
        .replace("<console type='pty'><target type='serial' port='0'/></console>", "")
        .replace(
            "<serial type='pty'>",
            &format!("<serial type='file'><source path='{}'/>", console.display()),
        );
    daemon.define(&xml).ok();
    daemon.virsh_words(&["start", name]).ok();
    console
}

/// The address that the guest says it has.
fn address(console: &PathBuf) -> String {
    wait::until("the guest's banner", || {
        let text = std::fs::read_to_string(console).unwrap_or_default();
        let line = text.lines().find(|line| line.trim_start().starts_with("address: "))?;
        Some(line.trim_start().strip_prefix("address: ")?.trim().to_owned())
    })
}

/// What the guest's web server says.
fn page(address: &str) -> String {
    let mut text = String::new();
    let mut stream = TcpStream::connect(address).expect("the guest's web server answers");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the request goes out");
    stream.read_to_string(&mut text).expect("the page comes");
    text
}

/// A real dnsmasq that gives addresses on `br0`.
struct Dhcp(Child);

impl Dhcp {
    fn on_br0() -> Dhcp {
        ip("addr add 10.9.0.1/24 dev br0");
        let child = Command::new("dnsmasq")
            .args(["--no-daemon", "--port=0", "--conf-file=/dev/null", "--leasefile-ro"])
            .args(["--interface=br0", "--bind-interfaces", "--dhcp-range=10.9.0.50,10.9.0.90"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Dhcp(child.expect("dnsmasq starts"))
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Uses up numbers of interfaces: a macvtap's number is in the name of its node in `/dev`, which
/// network namespaces share, so tests with macvtaps must not use the same ones.
fn use_up_numbers(pairs: u32) {
    for _ in 0..pairs {
        ip("link add use0 type veth peer name use1");
        ip("link del use0");
    }
}

const THREE: &str = "
  <interface type='bridge'>
    <mac address='52:54:00:11:22:01'/><source bridge='br0'/><model type='virtio'/>
  </interface>
  <interface type='bridge'>
    <mac address='52:54:00:11:22:02'/><source bridge='br0'/><target dev='own0'/>
    <model type='e1000'/><link state='down'/><port isolated='yes'/>
  </interface>
  <interface type='bridge'>
    <mac address='fe:54:00:11:22:03'/><source bridge='br0'/><target dev='vnet77'/>
    <model type='virtio'/><driver queues='2'/><mtu size='1300'/>
  </interface>";

#[test]
fn taps_on_a_bridge() {
    namespace::inside_network("taps_on_a_bridge", || {
        wire();
        let mut daemon = Daemon::start();
        start(&daemon, "bridged", THREE);
        let assert_links = || {
            assert_link("vnet0", &["fe:54:00:11:22:01", "mtu 1400", "master br0", ",UP,"]);
            // The guest's cable is out; the host's end stays up, as with libvirt.
            assert_link("own0", &["fe:54:00:11:22:02", "master br0", ",UP,", "isolated on"]);
            // A name like a generated one is not kept.
            let parts = ["fa:54:00:11:22:03", "mtu 1300", "master br0", " multi_queue "];
            assert_link("vnet1", &parts);
        };
        assert_links();
        assert!(link("br0").is_some_and(|told| told.contains("mtu 1400")));
        let live = daemon.virsh("dumpxml bridged").ok();
        for part in ["<target dev='vnet0'/>", "<target dev='own0'/>", "<target dev='vnet1'/>"] {
            assert!(live.contains(part), "no {part} in:\n{live}");
        }
        assert!(live.contains("<alias name='net2'/>"), "{live}");
        let list = daemon.virsh("domiflist bridged").ok();
        assert!(list.contains("vnet0") && list.contains("br0"), "{list}");
        let stored = daemon.virsh("dumpxml --inactive bridged").ok();
        assert!(!stored.contains("vnet"), "{stored}");

        daemon.kill();
        daemon.launch();
        assert_links();
        assert_eq!(daemon.virsh("dumpxml bridged").ok(), live);
        // A name is not given twice, also not by the daemon's successor.
        start(&daemon, "second", "<interface type='bridge'><source bridge='br0'/></interface>");
        assert_link("vnet2", &["master br0"]);
        destroy(&daemon, "bridged").ok();
        wait_until_gone(&["vnet0", "own0", "vnet1"]);
        assert_link("vnet2", &["master br0"]);
        kill_qemu(&daemon);
        daemon.wait_for_state("second", "shut off (crashed)");
        wait_until_gone(&["vnet2"]);
    });
}

#[test]
fn bridges_that_cannot_be_joined() {
    namespace::inside_network("bridges_that_cannot_be_joined", || {
        wire();
        let daemon = Daemon::start();
        let on = |bridge: &str, more: &str| {
            format!("<interface type='bridge'><source bridge='{bridge}'/>{more}</interface>")
        };
        for (xml, said) in [
            (on("nobr", ""), "Cannot get interface MTU on 'nobr': No such device"),
            (on("end0", ""), "Unable to add bridge end0 port vnet"),
            (
                on("br0", "<target dev='end1'/>"),
                "Requested operation is not valid: The end1 interface already exists",
            ),
            (
                on("br0", "<target dev='averyveryverylongname0'/>"),
                "Network interface name 'averyveryverylongname0' is too long",
            ),
            (on("br0", "<vlan><tag id='0'/></vlan>"), "vlanid out of range: 0"),
            (on("br0", "<vlan><tag id='4095'/></vlan>"), "error adding vlan filter to interface"),
            (on("br0", "<filterref filter='clean-traffic'/>"), "<filterref> is not supported yet"),
            (
                on("br0", "<script path='/bin/true'/>"),
                "scripts are not supported on interfaces of type bridge",
            ),
        ] {
            refuses(&daemon, "refused", &xml, &[said]);
        }
    });
}

#[test]
fn the_guest_on_a_bridge_is_reached() {
    namespace::inside_network("the_guest_on_a_bridge_is_reached", || {
        wire();
        let _dhcp = Dhcp::on_br0();
        let daemon = Daemon::start();
        let console = linux(
            &daemon,
            "onbridge",
            "<interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>",
        );
        let address = address(&console);
        assert!(address.starts_with("10.9.0."), "{address}");
        assert!(page(&format!("{address}:80")).contains("Hello from onbridge"));
        destroy(&daemon, "onbridge").ok();
        wait_until_gone(&["vnet0"]);
    });
}

fn direct(lower: &str, mode: &str, more: &str) -> String {
    format!("<interface type='direct'><source dev='{lower}'{mode}/>{more}</interface>")
}

#[test]
fn macvtaps() {
    namespace::inside_network("macvtaps", || {
        wire();
        ip("link add solo0 type veth peer name solo1");
        let address_of = |name: &str| {
            let told = link(name).expect("it is there");
            told.split("link/ether ").nth(1).and_then(|rest| rest.get(..17)).map(str::to_owned)
        };
        let before = address_of("solo0");
        let mut daemon = Daemon::start();
        let all = [
            direct(
                "end0",
                " mode='bridge'",
                "<mac address='52:54:00:11:22:01'/><model type='virtio'/>",
            ),
            direct("end0", "", "<model type='virtio'/><driver queues='2'/>"),
            direct("end1", " mode='private'", "<target dev='mine0'/><link state='down'/>"),
            direct("solo0", " mode='passthrough'", "<mac address='52:54:00:11:22:04'/>"),
        ]
        .concat();
        start(&daemon, "direct", &all);
        let names = ["macvtap0", "macvtap1", "mine0", "macvtap2"];
        let assert_links = || {
            let parts = ["macvtap0@end0", "52:54:00:11:22:01", ",UP", "macvtap mode bridge"];
            assert_link("macvtap0", &parts);
            assert_link("macvtap1", &["macvtap1@end0", ",UP", "macvtap mode vepa"]);
            assert_link("mine0", &["mine0@end1", ",UP", "macvtap mode private"]);
            assert_link("macvtap2", &["macvtap2@solo0", ",UP", "macvtap mode passthru"]);
            assert_eq!(address_of("solo0").as_deref(), Some("52:54:00:11:22:04"));
            // The device below was off.
            assert_link("end0", &[",UP"]);
        };
        assert_links();
        let live = daemon.virsh("dumpxml direct").ok();
        for part in [
            "<source dev='end0' mode='bridge'/>",
            "<source dev='end0' mode='vepa'/>",
            "<target dev='macvtap1'/>",
            "<target dev='mine0'/>",
        ] {
            assert!(live.contains(part), "no {part} in:\n{live}");
        }
        destroy(&daemon, "direct").ok();
        wait_until_gone(&names);
        wait::until("the old address", || (address_of("solo0") == before).then_some(()));

        // The daemon goes, and its successor cleans up: after a destroy, and after an end that
        // nobody saw.
        let names = ["macvtap3", "macvtap4", "mine0", "macvtap5"];
        daemon.virsh("start direct").ok();
        assert!(names.iter().all(|name| link(name).is_some()), "{}", ip("link"));
        daemon.kill();
        daemon.launch();
        destroy(&daemon, "direct").ok();
        wait_until_gone(&names);
        daemon.virsh("start direct").ok();
        assert_links();
        daemon.kill();
        kill_qemu(&daemon);
        assert_link("mine0", &[]);
        daemon.launch();
        wait_until_gone(&["macvtap0", "macvtap1", "mine0", "macvtap2"]);
        wait::until("the old address", || (address_of("solo0") == before).then_some(()));
        // A guest that crashes.
        daemon.virsh("start direct").ok();
        kill_qemu(&daemon);
        daemon.wait_for_state("direct", "shut off (crashed)");
        wait_until_gone(&["macvtap0", "macvtap1", "mine0", "macvtap2"]);

        refuses(
            &daemon,
            "missing",
            &direct("nodev", " mode='bridge'", ""),
            &["Unable to get index for interface nodev: No such device"],
        );
        // What was made before the step that fails goes again.
        refuses(
            &daemon,
            "later",
            &[direct("end0", "", ""), direct("nodev", "", "")].concat(),
            &["Unable to get index for interface nodev: No such device"],
        );
        // Also when it is QEMU that fails.
        let rom = "<rom file='/nonexistent/rom'/>";
        refuses(&daemon, "rom", &direct("solo0", " mode='passthrough'", rom), &["rom"]);
        assert_eq!(address_of("solo0"), before);
        refuses(
            &daemon,
            "twice",
            &direct("end0", " mode='bridge'", "<target dev='end1'/>"),
            &["error creating macvtap interface end1@end0", "File exists"],
        );
        refuses(
            &daemon,
            "mtu",
            &direct("end0", "", "<mtu size='1300'/>"),
            &["setting MTU on interface type direct is not supported yet"],
        );
    });
}

#[test]
fn the_guest_on_a_macvtap_is_reached() {
    namespace::inside_network("the_guest_on_a_macvtap_is_reached", || {
        use_up_numbers(60);
        wire();
        ip("link set end1 master br0");
        let _dhcp = Dhcp::on_br0();
        let daemon = Daemon::start();
        let console = linux(&daemon, "onmacvtap", &direct("end0", "", "<model type='virtio'/>"));
        let address = address(&console);
        assert!(address.starts_with("10.9.0."), "{address}");
        assert!(page(&format!("{address}:80")).contains("Hello from onmacvtap"));
        destroy(&daemon, "onmacvtap").ok();
        wait_until_gone(&["macvtap0"]);
    });
}

#[test]
fn taps_of_their_own() {
    namespace::inside_network("taps_of_their_own", || {
        wire();
        ip("tuntap add dev ready0 mode tap");
        use_up_numbers(90);
        ip("link add link end0 name ready1 type macvtap mode bridge");
        let ready = (link("ready0"), link("ready1"));
        let mut daemon = Daemon::start();
        let said = daemon.path("said");
        let up = script(
            &daemon,
            "up",
            &format!("echo up $* >> {0}; ip -o link show dev $1 >> {0}", said.display()),
        );
        let down = script(&daemon, "down", &format!("echo down $* >> {}", said.display()));
        let bad = script(&daemon, "bad", "echo it is broken >&2; exit 3");
        let (up, down) = (up.display(), down.display());
        let all = format!(
            "<interface type='ethernet'><mac address='52:54:00:11:22:01'/><mtu size='1300'/></interface>
             <interface type='ethernet'>
               <mac address='52:54:00:11:22:02'/><script path='{up}'/><downscript path='{down}'/>
               <target dev='mine0'/>
             </interface>
             <interface type='ethernet'><target dev='ready0' managed='no'/></interface>
             <interface type='ethernet'>
               <target dev='ready1' managed='no'/><model type='virtio'/><driver queues='2'/>
             </interface>"
        );
        start(&daemon, "ethernet", &all);
        assert_link("vnet0", &["fe:54:00:11:22:01", "mtu 1300", ",UP,"]);
        assert_link("mine0", &["fe:54:00:11:22:02", "mtu 1500", ",UP,"]);
        let told = std::fs::read_to_string(&said).expect("the script ran");
        assert!(told.starts_with("up mine0\n") && told.contains("fe:54:00:11:22:02"), "{told}");
        assert!(!told.contains("down"), "{told}");
        daemon.restart();
        destroy(&daemon, "ethernet").ok();
        wait_until_gone(&["vnet0", "mine0"]);
        wait::until("the script", || {
            std::fs::read_to_string(&said).ok()?.contains("down mine0\n").then_some(())
        });
        // What was there before stays, off as it was.
        for (name, before) in [("ready0", &ready.0), ("ready1", &ready.1)] {
            let mac = |told: &Option<String>| {
                let told = told.clone().unwrap_or_default();
                told.split("link/ether ").nth(1).and_then(|rest| rest.get(..17)).map(str::to_owned)
            };
            assert_eq!(mac(&link(name)), mac(before));
            assert!(!link(name).is_some_and(|told| told.contains("UP")), "{:?}", link(name));
        }

        let ethernet = |inner: &str| format!("<interface type='ethernet'>{inner}</interface>");
        for (inner, said) in [
            (
                format!("<script path='{}'/>", bad.display()),
                "unexpected exit status 3: it is broken",
            ),
            ("<script path='/nonexistent/script'/>".into(), "/nonexistent/script"),
            (
                "<target dev='nosuch' managed='no'/>".into(),
                "target managed='no' but specified dev doesn't exist",
            ),
            ("<target managed='no'/>".into(), "target dev must be supplied when managed='no'"),
            ("<target dev='end0' managed='no'/>".into(), "end0"),
            ("<target dev='ready0'/>".into(), "The ready0 interface already exists"),
            (
                "<source><ip address='10.1.1.1'/>\
                 <ip address='10.1.1.1'/></source>"
                    .into(),
                "Failed to add IP address 10.1.1.1/8 bcast 10.255.255.255 to vnet",
            ),
            (
                "<source><route address='10.2.0.0' prefix='16' gateway='10.1.1.9'/></source>"
                    .into(),
                "Error adding route to vnet",
            ),
            (
                "<vlan><tag id='4'/></vlan>".into(),
                "vlan tag not supported for this connection type",
            ),
        ] {
            refuses(&daemon, "refused", &ethernet(&inner), &[said]);
        }
        let guests_end = ethernet("<ip address='10.1.1.1' prefix='24'/>");
        let said = "Invalid attempt to set network interface guest-side IP address info";
        is_no_definition(&daemon, "refused", &guests_end, &[said]);
    });
}

/// Process ids of the passt of this daemon.
fn passts(daemon: &Daemon) -> Vec<i32> {
    let named = processes::naming(daemon.root());
    named
        .into_iter()
        .filter(|&pid| processes::command_line(pid).first().is_some_and(|w| w.contains("passt")))
        .collect()
}

#[test]
fn passt_connects_the_guest() {
    namespace::inside_network("passt_connects_the_guest", || {
        ip("link add out0 type veth peer name out1");
        for end in ["out0", "out1"] {
            ip(&format!("link set {end} up"));
        }
        ip("addr add 10.8.0.7/24 dev out0");
        ip("route add default via 10.8.0.1 dev out0");
        let mut daemon = Daemon::start();
        let logs = daemon.path("passt-logs");
        std::fs::create_dir(&logs).expect("a folder");
        std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o777)).expect("our own");
        let interface = format!(
            "<interface type='user'><model type='virtio'/>
               <backend type='passt' logFile='{}/passt.log'/>
               <portForward proto='tcp' address='127.0.0.1'><range start='2080' to='80'/></portForward>
             </interface>",
            logs.display()
        );
        let console = linux(&daemon, "passt", &interface);
        assert_eq!(address(&console), "10.8.0.7");
        assert!(page("127.0.0.1:2080").contains("Hello from passt"));
        assert!(logs.join("passt.log").exists());
        let passt = passts(&daemon);
        assert_eq!(passt.len(), 1, "one passt");
        let owner = |pid: i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().find(|line| line.starts_with("Uid:")).map(str::to_owned)
        };
        assert_eq!(owner(passt[0]), owner(daemon.qemus()[0]), "passt runs as QEMU's user");

        daemon.kill();
        daemon.launch();
        assert_eq!(passts(&daemon), passt);
        assert!(page("127.0.0.1:2080").contains("Hello from passt"));
        destroy(&daemon, "passt").ok();
        wait::until("passt's end", || passts(&daemon).is_empty().then_some(()));
        let left = || {
            let folder = daemon.path("run/libvirt/qemu/passt");
            std::fs::read_dir(folder).expect("passt's folder").count()
        };
        wait::until("passt's files to go", || (left() == 0).then_some(()));

        daemon.virsh("start passt").ok();
        kill_qemu(&daemon);
        daemon.wait_for_state("passt", "shut off (crashed)");
        wait::until("passt's end", || passts(&daemon).is_empty().then_some(()));
        wait::until("passt's files to go", || (left() == 0).then_some(()));

        let closed = daemon.path("closed");
        std::fs::create_dir(&closed).expect("a folder");
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("our own");
        for (inner, said) in [
            (
                format!("<backend type='passt' logFile='{}/passt.log'/>", closed.display()),
                "Permission denied",
            ),
            ("<backend type='passt'/><source dev='nodev'/>".to_owned(), "passt"),
        ] {
            let xml = format!("<interface type='user'>{inner}</interface>");
            refuses(&daemon, "refused", &xml, &[said]);
            assert!(passts(&daemon).is_empty());
        }
        for (inner, said) in [
            (
                "<portForward proto='tcp'><range start='2222' to='22'/></portForward>",
                "The <portForward> element can only be used with the 'passt' backend",
            ),
            ("<mtu size='1300'/>", "setting MTU on interface type user"),
        ] {
            let xml = format!("<interface type='user'>{inner}</interface>");
            is_no_definition(&daemon, "refused", &xml, &[said]);
        }
    });
}

#[test]
fn user_networking_with_a_prefix_of_its_own() {
    namespace::inside_network("user_networking_with_a_prefix_of_its_own", || {
        let daemon = Daemon::start();
        let console = linux(
            &daemon,
            "slirp",
            "<interface type='user'><model type='virtio'/>
               <ip address='172.17.2.0' family='ipv4' prefix='24'/>
             </interface>",
        );
        let address = address(&console);
        assert!(address.starts_with("172.17.2."), "{address}");
    });
}

#[test]
fn sockets_between_guests() {
    namespace::inside_network("sockets_between_guests", || {
        ip("route add 230.0.0.0/8 dev lo");
        let daemon = Daemon::start();
        let to = "<source address='127.0.0.1' port='5558'/>";
        let all = format!(
            "<interface type='server'>{to}</interface>
             <interface type='udp'>
               <source address='127.0.0.1' port='11115'><local address='127.0.0.1' port='11116'/></source>
             </interface>
             <interface type='mcast'><source address='230.0.0.1' port='5559'/></interface>"
        );
        start(&daemon, "server", &all);
        start(&daemon, "client", &format!("<interface type='client'>{to}</interface>"));
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
        // 127.0.0.1:5558, connected.
        assert!(sockets.contains("0100007F:15B6") && sockets.contains(" 01 "), "{sockets}");
        for name in ["client", "server"] {
            destroy(&daemon, name).ok();
        }
    });
}

#[test]
fn what_cannot_start_says_so_and_is_kept() {
    namespace::inside_network("what_cannot_start_says_so_and_is_kept", || {
        let daemon = Daemon::start();
        for (kind, inner, said) in [
            ("network", "<source network='lab'/>", "no network with matching name 'lab'"),
            ("vdpa", "<source dev='/dev/vhost-vdpa-0'/>", "vdpa"),
            ("null", "", "null"),
        ] {
            let xml = format!("<interface type='{kind}'>{inner}</interface>");
            refuses(&daemon, "refused", &xml, &[said]);
        }
        let vhost_user = "<interface type='vhostuser'>
             <source type='unix' path='/tmp/vhost.sock' mode='server'/><model type='virtio'/>
           </interface>";
        is_no_definition(&daemon, "refused", vhost_user, &["'interface' requires shared memory"]);
        define(
            &daemon,
            "later",
            "<interface type='network'><source network='lab'/><model type='virtio'/></interface>",
        );
        let stored = daemon.virsh("dumpxml later").ok();
        assert!(stored.contains("<source network='lab'/>"), "{stored}");
        let list = daemon.virsh("domiflist later").ok();
        assert!(list.contains("network") && list.contains("lab"), "{list}");
        daemon.virsh("autostart later").ok();
        daemon.virsh("setvcpus later 1 --config").ok();
        daemon.virsh("domrename later renamed").ok();
        daemon.virsh("undefine renamed").ok();
    });
}

const ADDRESSED: &str = "<source>
    <ip address='10.77.0.1' prefix='24' peer='10.77.0.2'/><ip address='192.168.7.1'/>
    <ip address='fd00::1' prefix='64'/>
    <route address='10.78.0.0' prefix='24' gateway='10.77.0.2' metric='5'/>
    <route address='10.79.0.0' netmask='255.255.0.0' gateway='192.168.7.9'/>
  </source>";

#[test]
fn addresses_and_routes_of_the_hosts_end() {
    namespace::inside_network("addresses_and_routes_of_the_hosts_end", || {
        wire();
        ip("tuntap add dev own0 mode tap");
        ip("addr add 10.5.0.1/24 dev own0");
        let mut daemon = Daemon::start();
        let nic = |number: u32, more: &str| {
            format!(
                "<interface type='ethernet'><mac address='52:54:00:12:00:0{number}'/>{more}\
                 <model type='e1000'/></interface>"
            )
        };
        let assert_told = |device: &str| {
            let addresses = ip(&format!("-o addr show dev {device}"));
            for part in [
                "inet 10.77.0.1 peer 10.77.0.2/24 scope global",
                "inet 192.168.7.1/24 brd 192.168.7.255 scope global",
                "inet6 fd00::1/64 scope global",
            ] {
                assert!(addresses.contains(part), "no {part:?} in: {addresses}");
            }
            let routes = ip(&format!("route show dev {device}"));
            for part in
                ["10.78.0.0/24 via 10.77.0.2 metric 5", "10.79.0.0/16 via 192.168.7.9 metric 1"]
            {
                assert!(routes.contains(part), "no {part:?} in: {routes}");
            }
        };
        start(&daemon, "first", &nic(1, ADDRESSED));
        assert_told("vnet0");
        let live = daemon.virsh("dumpxml first").ok();
        assert!(live.contains("<ip address='10.77.0.1' family='ipv4' prefix='24' peer="), "{live}");
        destroy(&daemon, "first").ok();
        wait_until_gone(&["vnet0"]);
        assert!(!ip("route").contains("10.78.0.0"), "{}", ip("route"));

        // What stays keeps what was its own, and nothing of the guest's; whoever ends the guest.
        let own = nic(2, &format!("{ADDRESSED}<target dev='own0' managed='no'/>"));
        let before = ip("-4 -o addr show dev own0");
        for killed in [false, true] {
            ip("link set own0 up");
            if killed {
                daemon.virsh("start second").ok();
                daemon.kill();
                daemon.launch();
            } else {
                start(&daemon, "second", &own);
            }
            assert_told("own0");
            destroy(&daemon, "second").ok();
            assert_eq!(ip("-4 -o addr show dev own0"), before);
            assert!(!ip("route").contains("10.78.0.0"), "{}", ip("route"));
            assert!(!ip("-6 addr show dev own0").contains("fd00::1"));
        }
        // An address that it has already is not given, and not taken.
        let taken = "<source><ip address='10.6.0.1' prefix='24'/><ip address='10.5.0.1' prefix='24'/>\
                     </source><target dev='own0' managed='no'/>";
        define(&daemon, "third", &nic(3, taken));
        daemon
            .virsh("start third")
            .fails_with(&["Failed to add IP address 10.5.0.1/24 bcast 10.5.0.255 to own0"]);
        assert_eq!(ip("-4 -o addr show dev own0"), before);
        let told = daemon.ironvirt("start first --dry-run").ok();
        for part in ["address 10.77.0.1/24 peer 10.77.0.2", "route 10.78.0.0/24 via 10.77.0.2"] {
            assert!(told.contains(part), "no {part:?} in: {told}");
        }
        for bad in ["bridge", "user"] {
            let xml = format!(
                "<interface type='{bad}'><source bridge='br0'><ip address='10.1.1.1'/></source></interface>"
            );
            is_no_definition(
                &daemon,
                "fourth",
                &xml,
                &["only supported on interfaces of type 'ethernet'"],
            );
        }
    });
}

/// After how many frames at most a device tells of them.
fn collected(device: &str) -> String {
    let text = "import array, fcntl, socket, struct, sys
settings = array.array('I', [0xe] + [0] * 22)
request = struct.pack('16sP16x', sys.argv[1].encode(), settings.buffer_info()[0])
fcntl.ioctl(socket.socket(), 0x8946, request)
print(settings[2])";
    tool("python3", &["-c", text, device], "").ok().trim().to_owned()
}

#[test]
fn frames_and_vlans_of_a_bridges_port() {
    namespace::inside_network("frames_and_vlans_of_a_bridges_port", || {
        wire();
        let daemon = Daemon::start();
        let nic = |more: &str| {
            format!(
                "<interface type='bridge'><mac address='52:54:00:12:00:01'/>\
                 <source bridge='br0'/><target dev='tap0'/><model type='e1000'/>{more}</interface>"
            )
        };
        let frames =
            |number: u32| format!("<coalesce><rx><frames max='{number}'/></rx></coalesce>");
        start(&daemon, "first", &nic(&frames(7)));
        assert_eq!(collected("tap0"), "7");
        let update = |xml: &str| {
            let file = daemon.write("nic.xml", xml);
            daemon.virsh_words(&["update-device", "first", &file.display().to_string(), "--live"])
        };
        for (more, expected) in [(frames(9), "9"), (String::new(), "0"), (frames(5), "5")] {
            update(&nic(&more)).ok();
            assert_eq!(collected("tap0"), expected);
            assert_eq!(daemon.virsh("dumpxml first").ok().contains("<coalesce>"), !more.is_empty());
        }
        let tags = "<vlan trunk='yes'><tag id='41'/><tag id='42' nativeMode='untagged'/></vlan>";
        let vlans = |id: u32| format!("<vlan><tag id='{id}'/></vlan>");
        let filters =
            tool("ip", &["link", "set", "br0", "type", "bridge", "vlan_filtering", "1"], "");
        if filters.status == 0 {
            update(&nic(&(tags.to_owned() + &frames(6)))).ok();
            let of_port = || tool("bridge", &["-c=never", "vlan", "show", "dev", "tap0"], "").ok();
            let told = of_port();
            assert!(told.contains("41") && told.contains("42 PVID Egress Untagged"), "{told}");
            update(&nic(&vlans(43))).ok();
            let told = of_port();
            assert!(told.contains("43 PVID Egress Untagged") && !told.contains("41"), "{told}");
            update(&nic("")).ok();
            assert!(of_port().contains("1 PVID Egress Untagged"), "{}", of_port());
        } else {
            let said = "error adding vlan filter to interface tap0: Operation not supported";
            let text = update(&nic(&(tags.to_owned() + &frames(6)))).fails_with(&[said]);
            assert!(text.contains("CONFIG_BRIDGE_VLAN_FILTERING"), "{text}");
            // Neither part of a change that failed is there.
            assert_eq!(collected("tap0"), "5");
            assert!(!daemon.virsh("dumpxml first").ok().contains("vlan"));
            let other = nic(&vlans(4)).replace("tap0", "tap1").replace("0:01'", "0:02'");
            let before = ip("-br link");
            refuses(&daemon, "second", &other, &["error adding vlan filter to interface tap1"]);
            assert_eq!(ip("-br link").lines().count(), before.lines().count());
        }
        destroy(&daemon, "first").ok();
        define(&daemon, "third", &nic(tags));
        let told = daemon.ironvirt("start third --dry-run").ok();
        assert!(told.contains("vlan 42 native untagged, 41"), "{told}");
        for kind in ["direct", "ethernet", "user"] {
            let xml = format!(
                "<interface type='{kind}'><source dev='end0' mode='bridge'/>{}</interface>",
                frames(3)
            );
            let said = format!("coalesce settings on interface type {kind} are not supported");
            is_no_definition(&daemon, "fourth", &xml, &[&said]);
        }
    });
}
