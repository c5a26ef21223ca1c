//! Debian's qemu-guest-agent in a Linux guest: what clients ask of it, and agents that do not answer.

use tests::{Daemon, domains, processes, python, wait};

/// A guest whose agent has come up.
fn boot(name: &str) -> Daemon {
    let daemon = Daemon::start();
    daemon.define(&domains::linux_with_agent(&daemon, name)).ok();
    daemon.virsh_words(&["start", name]).ok();
    wait_for_agent(&daemon, name);
    daemon
}

fn wait_for_agent(daemon: &Daemon, name: &str) {
    wait::until("the guest's agent", || {
        let said =
            daemon.virsh_words(&["qemu-agent-command", name, "{\"execute\":\"guest-ping\"}"]);
        (said.status == 0).then_some(())
    });
}

/// Has the agent run a script in the guest, in the background.
fn run_inside(daemon: &Daemon, name: &str, script: &str) {
    let command = serde_json::json!({ "execute": "guest-exec", "arguments": {
        "path": "/bin/setsid", "arg": ["/bin/sh", "-c", script] } });
    daemon.virsh_words(&["qemu-agent-command", name, &command.to_string()]).ok();
}

#[test]
fn a_guest_tells_and_does_what_its_agent_is_asked() {
    let daemon = boot("agent");
    let say = |line: &str| daemon.virsh(line).ok();
    let live = say("dumpxml agent");
    assert!(live.contains("name='org.qemu.guest_agent.0' state='connected'"), "{live}");

    wait::until("the guest's address", || {
        let interfaces = daemon.virsh("domifaddr agent --source agent").ok();
        interfaces.contains(" ipv4         10.0.2.15/24").then_some(())
    });
    let info = say("guestinfo agent");
    for part in [
        "user.count          : 0",
        "os.id               : ironvirt-guest",
        "timezone.name       : UTC",
        "hostname            : agent",
        "fs.0.mountpoint     : /mnt",
        "fs.0.disk.0.alias   : vda",
        "disk.0.alias        : vda",
        "if.1.name           : eth0",
    ] {
        assert!(info.contains(part), "{part} is not in\n{info}");
    }
    assert_eq!(say("domhostname agent --source agent").trim(), "agent");
    assert!(say("domfsinfo agent").contains(" /mnt         vda    ext4   vda"));
    assert!(say("domfstrim agent").trim().is_empty());

    // Times: the guest's own is another one after it was set.
    say("domtime agent --time 1000000000");
    assert!(say("domtime agent").starts_with("Time: 10000000"));
    say("domtime agent --now");

    say("set-user-password agent root secret");
    let refused = daemon.virsh("set-user-password agent nobody secret");
    refused.fails_with(&["unable to execute QEMU agent command 'guest-set-user-password'"]);
    let keys = daemon.write("keys", "ssh-rsa AAAA one@two\n");
    say(&format!("set-user-sshkeys agent someone --file {}", keys.display()));
    assert_eq!(say("get-user-sshkeys agent someone").trim(), "ssh-rsa AAAA one@two");

    // Processors, by the guest's will.
    say("guestvcpus agent --cpulist 1 --disable");
    assert!(say("guestvcpus agent").contains("online         : 0\n"));
    assert_eq!(say("vcpucount agent --guest").trim(), "1");
    say("setvcpus agent 2 --guest");
    assert_eq!(say("vcpucount agent --guest").trim(), "2");
    daemon
        .virsh("guestvcpus agent --cpulist 0 --disable")
        .fails_with(&["Operation not supported: vCPU '0' is not offlinable"]);
    daemon
        .virsh("guestvcpus agent --cpulist 0-3 --enable")
        .fails_with(&["invalid argument: guest is missing vCPUs '2-3'"]);
    daemon.virsh("setvcpus agent 3 --guest").fails_with(&["vcpus in the domain: 3 > 2"]);

    // Raw commands are the agent's business.
    for (command, said) in [
        ("{\"execute\":\"guest-ping\",\"id\":\"x\"}", "{\"return\":{},\"id\":\"x\"}"),
        ("{\"execute\":\"guest-sync\",\"arguments\":{\"id\":5}}", "{\"return\":5}"),
    ] {
        let words = ["qemu-agent-command", "agent", command];
        assert_eq!(daemon.virsh_words(&words).ok().trim(), said);
    }
    for (command, why) in [
        ("{\"execute\":5}", "'<unknown>': QMP input member 'execute' must be a string"),
        ("[]", "QMP input must be a JSON object"),
        ("garbage", "failed to parse JSON: unexpected character"),
        ("{", "failed to parse JSON: continue"),
    ] {
        daemon.virsh_words(&["qemu-agent-command", "agent", command]).fails_with(&[why]);
    }

    // Asleep and awake, over, and off, all by the agent.
    say("dompmsuspend agent mem");
    daemon.wait_for_state("agent", "pmsuspended (unknown)");
    daemon.virsh("domtime agent").fails_with(&["domain is not running"]);
    say("dompmwakeup agent");
    wait_for_agent(&daemon, "agent");
    daemon
        .virsh("dompmsuspend agent disk")
        .fails_with(&["internal error: S4 state is disabled for this domain"]);
    // What becomes of it then is the guest's affair.
    daemon
        .virsh("dompmsuspend agent hybrid")
        .fails_with(&["'guest-suspend-hybrid': the requested suspend mode is not supported"]);
    say("reboot agent --mode agent");
    wait_for_agent(&daemon, "agent");
    assert_eq!(say("domstate agent --reason").trim(), "running (event wakeup)");
    // The reboot is over: what follows is no reboot.
    say("shutdown agent --mode agent");
    daemon.wait_for_state("agent", "shut off (shutdown)");
}

#[test]
fn a_freeze_of_a_client_that_vanished_is_thawed_and_no_other() {
    let mut daemon = boot("frozen");
    let status = |daemon: &Daemon| {
        let command = "{\"execute\":\"guest-fsfreeze-status\"}";
        daemon.virsh_words(&["qemu-agent-command", "frozen", command]).ok().trim().to_owned()
    };
    let (frozen, thawed) = ("{\"return\":\"frozen\"}", "{\"return\":\"thawed\"}");
    // virsh says goodbye: it was meant.
    daemon.virsh("domfsfreeze frozen").ok();
    assert_eq!(status(&daemon), frozen);
    daemon.virsh("domhostname frozen --source agent").fails_with(&["no hostname found"]);
    // Nor does it matter when somebody vanishes who could not freeze it again.
    python("vanish", &[daemon.uri().as_str(), "frozen"]).ok();
    assert_eq!(status(&daemon), frozen);
    // A restarted daemon keeps it too.
    if !daemon.is_external() {
        daemon.restart();
        wait_for_agent(&daemon, "frozen");
        assert_eq!(status(&daemon), frozen);
    }
    assert_eq!(daemon.virsh("domfsthaw frozen").ok().trim(), "Thawed 1 filesystem(s)");
    assert_eq!(status(&daemon), thawed);
    if !daemon.is_external() {
        python("vanish", &[daemon.uri().as_str(), "frozen"]).ok();
        wait::until("the thaw", || (status(&daemon) == thawed).then_some(()));
    }
    domains::discard(&daemon, "frozen");
}

/// The hardware address of the guest's network card.
fn nic(daemon: &Daemon) -> String {
    let listed = daemon.virsh("domiflist silent").ok();
    listed.split_whitespace().last().expect("one card").to_owned()
}

#[test]
fn an_agent_that_does_not_answer_is_in_the_way_of_nothing_else() {
    let daemon = boot("silent");
    let pid = daemon.qemus();
    // It stands still until the network's cable is pulled.
    run_inside(
        &daemon,
        "silent",
        "agent=$(pidof qemu-ga); kill -STOP $agent; \
         while [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 1; done; kill -CONT $agent",
    );
    wait::until("the agent's silence", || {
        let line = "qemu-agent-command silent {\"execute\":\"guest-ping\"} --timeout 1";
        let said = daemon.virsh(line);
        (said.status != 0).then_some(())
    });
    // Who has less patience than the domain's agent gets.
    daemon
        .virsh("qemu-agent-command silent {\"execute\":\"guest-ping\"} --timeout 2")
        .fails_with(&["within '2' seconds"]);
    daemon
        .virsh("qemu-agent-command silent {\"execute\":\"guest-ping\"} --async")
        .fails_with(&["within '0' seconds"]);
    daemon.virsh("guest-agent-timeout silent --timeout 1").ok();
    daemon
        .virsh("domtime silent")
        .fails_with(&["guest agent didn't respond to synchronization within '1' seconds"]);
    daemon.virsh("suspend silent").ok();
    daemon.virsh("domtime silent").fails_with(&["domain is not running"]);
    daemon.virsh("resume silent").ok();
    daemon.virsh("guest-agent-timeout silent --timeout -2").ok();
    daemon.virsh(&format!("domif-setlink silent {} down", nic(&daemon))).ok();
    // What came late is nobody's answer.
    wait_for_agent(&daemon, "silent");
    assert_eq!(daemon.virsh("domhostname silent --source agent").ok().trim(), "silent");

    // Another program has the agent's end: it sends a line without an end, then lies. The agent comes
    // back once the network's cable is plugged in again.
    run_inside(
        &daemon,
        "silent",
        "port=$(grep -l org.qemu.guest_agent /sys/class/virtio-ports/*/name); \
         port=${port%/name}; port=/dev/${port##*/}; \
         kill $(cat /run/agent-keeper.pid); kill $(pidof qemu-ga); sleep 1; \
         (dd if=/dev/zero bs=64k count=400 | tr '\\0' x; echo; \
          yes '{\"return\": 5}' | head -n 50000; \
          until [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]; do sleep 1; done) > $port; \
         LD_LIBRARY_PATH=/lib/agent /usr/sbin/qemu-ga -m virtio-serial -p $port -t /run",
    );
    let hostname = || daemon.virsh("domhostname silent --source agent");
    wait::until("a question that is refused", || (hostname().status != 0).then_some(()));
    daemon.virsh(&format!("domif-setlink silent {} up", nic(&daemon))).ok();
    wait::until("the honest agent again", || (hostname().stdout.trim() == "silent").then_some(()));
    if !daemon.is_external() {
        let resident = processes::resident_kib(daemon.pid());
        assert!(resident < 300 << 10, "{resident} KiB after 25 MB of garbage");
        assert_eq!(daemon.qemus(), pid, "the same guest");
    }
    domains::discard(&daemon, "silent");
}

#[test]
fn python_takes_a_linux_through_all_that_a_guest_can_do() {
    let daemon = Daemon::start();
    let xml = daemon.write("whole.xml", domains::linux_with_agent(&daemon, "whole"));
    let (xml, folder) = (xml.to_string_lossy(), daemon.path("images"));
    python("whole", &[daemon.uri().as_str(), "whole", &xml, &folder.to_string_lossy()]).ok();
}
