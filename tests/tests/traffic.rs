//! Limits of guests' interfaces: what the kernel holds, as `tc` tells it, beside what libvirtd sets
//! up and takes back on the same host.
//!
//! Each test runs in a network namespace of its own. A kernel may lack the policer of arriving
//! packets; what then is refused is part of the tests.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tests::on_host::{self, LIBVIRTD, Running};
use tests::{Daemon, Outcome, domains, namespace, tool, wait};

fn ip(line: &str) -> String {
    tool("ip", &line.split_whitespace().collect::<Vec<_>>(), "").ok()
}

fn tc(line: &str) -> Outcome {
    tool("tc", &line.split_whitespace().collect::<Vec<_>>(), "")
}

/// The names of all interfaces.
fn links() -> Vec<String> {
    let text = ip("-br link");
    text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// What the kernel holds of a device: queues, classes and filters, without what it counts.
fn held(device: &str) -> String {
    let mut all = String::new();
    for line in [
        format!("qdisc show dev {device}"),
        format!("-d class show dev {device}"),
        format!("filter show dev {device}"),
        format!("filter show dev {device} parent ffff:"),
    ] {
        // Without a queue of arriving packets there are no filters of theirs.
        let text = tc(&line).stdout;
        all += &text.replace(device, "DEV");
    }
    let lines = all.lines().map(|line| match line.split_once(" direct_packets_stat ") {
        _ if line.starts_with("qdisc noqueue ") => "qdisc noqueue",
        Some((said, _)) => said,
        None => line.trim_end(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Has the real `tc` do on a device of its own what libvirtd has it do, and tells what the kernel
/// holds then. What the kernel lacks of it is left out.
fn reference(limits: &[&str]) -> String {
    ip("tuntap add dev like0 mode tap");
    ip("link set like0 up");
    for line in limits {
        tc(&line.replace("DEV", "like0"));
    }
    let held = held("like0");
    ip("link del like0");
    held
}

/// A class with this end of its line, as libvirtd has it made.
fn class(limits: &str) -> Vec<String> {
    vec![
        "qdisc add dev DEV root handle 1: htb default 1".to_owned(),
        format!("class add dev DEV parent 1: classid 1:1 htb {limits}"),
        "qdisc add dev DEV parent 1:1 handle 2: sfq perturb 10".to_owned(),
        "filter add dev DEV parent 1:0 protocol all prio 1 handle 1 fw flowid 1".to_owned(),
    ]
}

/// A policer, as libvirtd has it made.
fn policer(limits: &str) -> Vec<String> {
    vec![
        "qdisc add dev DEV ingress".to_owned(),
        format!(
            "filter add dev DEV parent ffff: protocol all u32 match u32 0 0 police {limits} \
             mtu 64kb drop flowid :1"
        ),
    ]
}

fn like(parts: &[Vec<String>]) -> String {
    reference(&parts.concat().iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether this kernel polices what arrives.
fn polices() -> bool {
    ip("tuntap add dev like1 mode tap");
    let done = policer("rate 1kbps burst 1kb")
        .iter()
        .all(|line| tc(&line.replace("DEV", "like1")).status == 0);
    ip("link del like1");
    done
}

fn wire() {
    ip("link add br0 type bridge");
    ip("link set br0 up");
    ip("link add end0 type veth peer name end1");
    ip("link set end1 up");
    ip("tuntap add dev own0 mode tap");
}

fn interface(kind: &str, number: u32, more: &str) -> String {
    format!(
        "<interface type='{kind}'><mac address='52:54:00:77:00:0{number}'/>{more}\
         <model type='e1000'/></interface>"
    )
}

fn on_bridge(number: u32, more: &str) -> String {
    interface("bridge", number, &format!("<source bridge='br0'/>{more}"))
}

fn define(daemon: &Daemon, name: &str, interfaces: &str) {
    let xml = domains::boot_sector(daemon, name);
    daemon.define(&xml.replace("<memballoon", &format!("{interfaces}<memballoon"))).ok();
}

/// Attaches or updates a device of the running guest.
fn device(daemon: &Daemon, verb: &str, xml: &str) -> Outcome {
    let file = daemon.write("device.xml", xml);
    daemon.virsh_words(&[verb, "limited", &file.display().to_string(), "--live"])
}

fn tune(daemon: &Daemon, words: &str) -> Outcome {
    daemon.virsh(&format!("domiftune limited {words}"))
}

#[test]
fn limits_are_the_kernels() {
    namespace::inside_network("limits_are_the_kernels", || {
        wire();
        let polices = polices();
        let mut daemon = Daemon::start();
        let inbound = "<bandwidth><inbound average='1000' peak='5000' burst='1024'/></bandwidth>";
        let outbound = "<bandwidth><outbound average='77'/></bandwidth>";
        let own = format!("<target dev='own0' managed='no'/>{inbound}");
        let macvtap = format!("<source dev='end0' mode='bridge'/>{outbound}");
        let nics = on_bridge(1, &format!("{inbound}<target dev='tap0'/>"))
            + &on_bridge(2, "<target dev='tap1'/>")
            + &interface("ethernet", 3, &own)
            + &interface("direct", 4, &macvtap)
            + &interface("user", 5, inbound);
        define(&daemon, "limited", &nics);
        let told = daemon.ironvirt("start limited --dry-run").ok();
        let step = "limit inbound 1000 KB/s peak 5000 KB/s burst 1024 KiB of what is sent";
        assert!(told.contains(step), "{told}");
        daemon.virsh("start limited").ok();
        let wide = like(&[class("rate 1000kbps ceil 5000kbps burst 1024kb quantum 85")]);
        assert_eq!(held("tap0"), wide);
        assert_eq!(held("own0"), wide);
        // A guest's packets wait nowhere on the way to it.
        assert_eq!(held("tap1"), "qdisc noqueue");
        // What a guest sends is what its macvtap sends.
        let narrow = like(&[class("rate 77kbps quantum 6")]);
        assert_eq!(held("macvtap0"), narrow);

        for (words, limits) in [
            ("tap1 --inbound 1", "rate 1kbps quantum 1"),
            ("tap1 --inbound 3,7,11", "rate 3kbps ceil 7kbps burst 11kb quantum 1"),
            (
                "52:54:00:77:00:02 --inbound 999999,1234567",
                "rate 999999kbps ceil 1234567kbps quantum 85333",
            ),
            ("tap1 --live --config --inbound 5000000", "rate 5000000kbps quantum 426666"),
        ] {
            tune(&daemon, words).ok();
            assert_eq!(held("tap1"), like(&[class(limits)]), "{words}");
        }
        let last = held("tap1");
        let fault = "cannot limit outbound traffic of 'tap1': the kernel has no policer";
        if polices {
            tune(&daemon, "tap1 --outbound 128,256,256").ok();
            let both =
                [class("rate 5000000kbps quantum 426666"), policer("rate 128kbps burst 256kb")];
            assert_eq!(held("tap1"), like(&both));
            tune(&daemon, "tap1 --outbound 0").ok();
        } else {
            let said = tune(&daemon, "tap1 --outbound 128").fails_with(&[fault]);
            assert!(said.contains("act_police") && said.contains("<outbound>"), "{said}");
        }
        // What failed has changed nothing.
        assert_eq!(held("tap1"), last);
        let shown = tune(&daemon, "tap1").ok();
        assert!(shown.contains("inbound.average: 5000000"), "{shown}");
        assert!(shown.contains("outbound.average: 0"), "{shown}");

        // Another daemon goes on with it.
        daemon.kill();
        daemon.launch();
        assert_eq!(held("tap0"), wide);
        let shown = tune(&daemon, "tap0").ok();
        assert!(shown.contains("inbound.peak   : 5000"), "{shown}");
        tune(&daemon, "tap0 --inbound 3").ok();
        assert_eq!(held("tap0"), like(&[class("rate 3kbps quantum 1")]));
        tune(&daemon, "tap0 --inbound 0").ok();
        assert_eq!(held("tap0"), "qdisc noqueue");
        let live = daemon.virsh("dumpxml limited").ok();
        assert_eq!(live.matches("<bandwidth>").count(), 4, "{live}");

        daemon.virsh("destroy limited").ok();
        // What stays when the guest has gone has no limits any more.
        assert!(!held("own0").contains("htb"), "{}", held("own0"));
        daemon.assert_well();
    });
}

#[test]
fn devices_come_change_and_leave_with_their_limits() {
    namespace::inside_network("devices_come_change_and_leave_with_their_limits", || {
        wire();
        let polices = polices();
        let daemon = Daemon::start();
        define(&daemon, "limited", "");
        daemon.virsh("start limited").ok();
        daemon
            .virsh(
                "attach-interface limited bridge br0 --target tap0 --model e1000 --live \
             --mac 52:54:00:77:00:01 --inbound 100,200,300",
            )
            .ok();
        let first = like(&[class("rate 100kbps ceil 200kbps burst 300kb quantum 8")]);
        assert_eq!(held("tap0"), first);
        let update = |more: &str| {
            let more = format!("<target dev='tap0'/>{more}");
            device(&daemon, "update-device", &on_bridge(1, &more))
        };
        let inbound = |rate: u32| format!("<bandwidth><inbound average='{rate}'/></bandwidth>");
        update(&inbound(77)).ok();
        let second = like(&[class("rate 77kbps quantum 6")]);
        assert_eq!(held("tap0"), second);
        // The limit comes first and is taken back with what fails behind it.
        ip("link add br1 type bridge");
        let other = interface(
            "bridge",
            1,
            &format!("<source bridge='nobr'/><target dev='tap0'/>{}", inbound(99)),
        );
        device(&daemon, "update-device", &other).fails_with(&["nobr"]);
        assert_eq!(held("tap0"), second);
        if !polices {
            let both = "<bandwidth><inbound average='5'/><outbound average='5'/></bandwidth>";
            update(both).fails_with(&["cannot limit outbound traffic", "act_police"]);
            assert_eq!(held("tap0"), second);
            // None of what came of it stays.
            let before = links();
            let comes = on_bridge(2, &format!("<target dev='tap9'/>{both}"));
            device(&daemon, "attach-device", &comes).fails_with(&["act_police"]);
            assert_eq!(links(), before);
            define(&daemon, "second", &comes);
            daemon.virsh("start second").fails_with(&["act_police"]);
            assert_eq!(links(), before);
        }
        update("").ok();
        assert_eq!(held("tap0"), "qdisc noqueue");
        assert!(!daemon.virsh("dumpxml limited").ok().contains("bandwidth"));
        device(
            &daemon,
            "update-device",
            &on_bridge(
                1,
                "<target dev='tap0'/><bandwidth><inbound average='5' floor='5'/></bandwidth>",
            ),
        )
        .fails_with(&["floor attribute is not supported for this config"]);

        let own = format!("<target dev='own0' managed='no'/>{}", inbound(77));
        let own = interface("ethernet", 3, &own);
        device(&daemon, "attach-device", &own).ok();
        assert_eq!(held("own0"), second);
        // The boot sector does not let it go; it goes with the guest.
        daemon.virsh("destroy limited").ok();
        assert!(!held("own0").contains("htb"), "{}", held("own0"));
    });
}

/// libvirtd knows no kernel without fair queues and marks: its `tc` is told that they are there.
fn lenient_tc(folder: &Path) {
    let (real, wrapper) = (folder.join("tc.real"), folder.join("tc"));
    std::fs::copy("/usr/sbin/tc", &real).expect("tc is there");
    let text = format!(
        "#!/bin/sh\n{} \"$@\" && exit\ncase \"$*\" in *' sfq '*|*' fw '*) exit 0;; esac\nexit 2\n",
        real.display()
    );
    std::fs::write(&wrapper, text).expect("our own folder");
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).expect("our own");
    tool("mount", &["--bind", &wrapper.display().to_string(), "/usr/sbin/tc"], "").ok();
}

const BESIDE: &str = "<domain type='qemu'>
  <name>beside</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:77:00:01'/><source bridge='br0'/><target dev='tap0'/>
      <bandwidth><inbound average='1000' peak='5000' burst='1024'/></bandwidth>
    </interface>
    <interface type='direct'>
      <mac address='52:54:00:77:00:02'/><source dev='end0' mode='bridge'/>
      <target dev='tap1'/><bandwidth><outbound average='77'/></bandwidth>
    </interface>
    <interface type='ethernet'>
      <mac address='52:54:00:77:00:03'/><target dev='own0' managed='no'/>
      <bandwidth><inbound average='3' burst='11'/></bandwidth>
    </interface>
    <interface type='user'><mac address='52:54:00:77:00:04'/></interface>
  </devices>
</domain>
";

/// What virsh says of these, after its verb and the guest.
const ASKED: &[&str] = &[
    "tap7",
    "tap7 --inbound 5",
    "52:54:00:77:00:09 --inbound 5",
    "52:54:00:77:00:04 --inbound 5",
    "52:54:00:77:00:04 --config --inbound 5",
    "tap0 --inbound 5,0,0,6",
    "tap0 --live --inbound 0,0,0,6",
    "tap0 --live --config --inbound 4,0,0,6",
    "tap0 --inbound 5,0,4194304",
    "tap0 --config --outbound 5,0,4194304",
    "tap7 --inbound 5,0,4194304",
    "tap0 --inbound 4294967296",
    "tap0 --inbound 0,5",
    "tap0 --outbound 0,5",
    "tap0 --inbound x",
    "tap0 --inbound -5",
    "tap0 --live --current --inbound 5",
    "tap0",
    "tap0 --config",
    "52:54:00:77:00:04",
];

fn asked() -> Vec<(String, String, i32)> {
    let answers = ASKED.iter().map(|words| {
        let answer = on_host::virsh(&format!("domiftune beside {words}"));
        (answer.stdout, answer.stderr, answer.status)
    });
    answers.collect()
}

#[test]
fn limits_go_from_daemon_to_daemon() {
    if !Path::new(LIBVIRTD).exists() {
        eprintln!("skipped: there is no libvirtd");
        return;
    }
    namespace::inside_network("limits_go_from_daemon_to_daemon", || {
        wire();
        let folder = tempfile::tempdir().expect("a folder");
        lenient_tc(folder.path());
        std::fs::write("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n").expect("a file");
        let file = folder.path().join("beside.xml");
        std::fs::write(&file, BESIDE).expect("our own folder");
        let all = || ["tap0", "tap1", "own0"].map(held);

        let theirs = Running::libvirtd();
        on_host::virsh(&format!("define {}", file.display())).ok();
        on_host::virsh("start beside").ok();
        let set_by_them = all();
        let answers = asked();
        on_host::virsh("domiftune beside tap1 --inbound 0 --outbound 5").ok();
        on_host::virsh("domiftune beside tap0 --inbound 0").ok();
        let changed_by_them = all();
        on_host::virsh("domiftune beside tap1 --outbound 77").ok();
        on_host::virsh("domiftune beside tap0 --inbound 1000,5000,1024").ok();
        theirs.stop();

        // Theirs go on under us, change and are taken back.
        let ours = Running::ours();
        assert_eq!(all(), set_by_them);
        for (words, (ours, theirs)) in ASKED.iter().zip(asked().into_iter().zip(answers)) {
            assert_eq!(ours, theirs, "{words}");
        }
        on_host::virsh("domiftune beside tap1 --inbound 0 --outbound 5").ok();
        on_host::virsh("domiftune beside tap0 --inbound 0").ok();
        assert_eq!(all(), changed_by_them);
        on_host::virsh("domiftune beside tap1 --outbound 77").ok();
        on_host::virsh("domiftune beside tap0 --inbound 1000,5000,1024").ok();
        assert_eq!(all(), set_by_them);
        on_host::virsh("destroy beside").ok();
        wait::until("the end of its limits", || (!held("own0").contains("htb")).then_some(()));
        // Whose it is is told by /sys, which shows the network outside.
        ip("link del tap1");

        // What we set up is theirs to change and to take back.
        on_host::virsh("start beside").ok();
        assert_eq!(all(), set_by_them);
        ours.stop();
        let theirs = Running::libvirtd();
        let shown = on_host::virsh("domiftune beside tap0").ok();
        assert!(shown.contains("inbound.peak   : 5000"), "{shown}");
        on_host::virsh("domiftune beside tap1 --inbound 0 --outbound 5").ok();
        on_host::virsh("domiftune beside tap0 --inbound 0").ok();
        assert_eq!(all(), changed_by_them);
        on_host::virsh("destroy beside").ok();
        assert!(!held("own0").contains("htb"), "{}", held("own0"));
        theirs.stop();
        tool("umount", &["/usr/sbin/tc"], "").ok();
    });
}
