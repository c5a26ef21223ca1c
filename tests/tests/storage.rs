//! Storage pools and volumes with Debian's virsh, and the admin program with virt-admin.
//!
//! Names begin with `ivt-`, so that the same tests can run against a libvirt daemon in use
//! (`IRONVIRT_TEST_SOCKET`).

use std::fs;

use tests::{Daemon, domains, tool, wait};

/// A pool `name` on a folder of the test's own that is not there yet; returns the folder.
fn define(daemon: &Daemon, name: &str) -> String {
    let folder = daemon.path(&format!("pools/{name}")).display().to_string();
    daemon.virsh(&format!("pool-define-as {name} dir --target {folder}")).ok();
    folder
}

fn discard(daemon: &Daemon, name: &str) {
    daemon.virsh(&format!("pool-destroy {name}"));
    daemon.virsh(&format!("pool-undefine {name}"));
}

/// The value of a line `Key: value`.
fn field(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned()).unwrap_or_default()
}

#[test]
fn a_pools_life() {
    let daemon = Daemon::start();
    let folder = define(&daemon, "ivt-life");
    assert_eq!(
        daemon.virsh("pool-start ivt-life").failed(),
        format!(
            "error: Failed to start pool ivt-life\n\
             error: cannot open directory '{folder}': No such file or directory\n"
        ),
    );
    daemon.virsh("pool-build ivt-life").ok();
    daemon.virsh("pool-start ivt-life").ok();
    daemon.virsh("pool-autostart ivt-life").ok();
    let info = daemon.virsh("pool-info ivt-life").ok();
    for (key, value) in [("State", "running"), ("Persistent", "yes"), ("Autostart", "yes")] {
        assert_eq!(field(&info, key), value, "{info}");
    }
    assert!(field(&info, "Capacity").ends_with("iB"), "{info}");
    let xml = daemon.virsh("pool-dumpxml ivt-life").ok();
    assert!(xml.starts_with("<pool type='dir'>\n  <name>ivt-life</name>\n  <uuid>"), "{xml}");
    assert!(xml.contains(&format!("  <target>\n    <path>{folder}</path>\n")), "{xml}");
    daemon
        .virsh("pool-undefine ivt-life")
        .fails_with(&["Requested operation is not valid: storage pool 'ivt-life' is still active"]);
    daemon.virsh("pool-destroy ivt-life").ok();
    daemon
        .virsh("pool-refresh ivt-life")
        .fails_with(&["Requested operation is not valid: storage pool 'ivt-life' is not active"]);
    daemon.virsh("pool-delete ivt-life").ok();
    assert!(!fs::exists(&folder).expect("the parent can be read"));
    daemon.virsh("pool-undefine ivt-life").ok();
    daemon.virsh("pool-info ivt-life").fails_with(&[
        "failed to get pool 'ivt-life'",
        "Storage pool not found: no storage pool with matching name 'ivt-life'",
    ]);
}

#[test]
fn volumes_are_found_by_name_key_and_path() {
    let daemon = Daemon::start();
    let folder = define(&daemon, "ivt-vols");
    daemon.virsh("pool-build ivt-vols").ok();
    daemon.virsh("pool-start ivt-vols").ok();
    daemon.virsh("vol-create-as ivt-vols a.img 1M --allocation 0").ok();
    daemon.virsh("vol-create-as ivt-vols b.qcow2 8M --format qcow2").ok();
    let path = format!("{folder}/a.img");
    assert_eq!(daemon.virsh("vol-path a.img ivt-vols").ok().trim(), path);
    assert_eq!(daemon.virsh(&format!("vol-name {path}")).ok().trim(), "a.img");
    assert_eq!(daemon.virsh(&format!("vol-pool {path}")).ok().trim(), "ivt-vols");
    let info = daemon.virsh("vol-info b.qcow2 ivt-vols").ok();
    assert_eq!(field(&info, "Capacity"), "8.00 MiB");
    let xml = daemon.virsh("vol-dumpxml b.qcow2 ivt-vols").ok();
    assert!(xml.contains("<format type='qcow2'/>"), "{xml}");
    assert!(xml.contains("<capacity unit='bytes'>8388608</capacity>"), "{xml}");
    daemon
        .virsh("vol-info /nowhere/x")
        .fails_with(&["Storage volume not found: no storage vol with matching path '/nowhere/x'"]);
    daemon
        .virsh("vol-create-as ivt-vols a.img 1M")
        .fails_with(&["storage volume 'a.img' exists already"]);
    daemon.virsh("vol-resize a.img 2M ivt-vols").ok();
    assert_eq!(fs::metadata(&path).expect("the file").len(), 2 << 20);
    for name in ["a.img", "b.qcow2"] {
        daemon.virsh(&format!("vol-delete {name} ivt-vols")).ok();
    }
    assert!(!fs::exists(&path).expect("the folder can be read"));
    // What others put there counts after a refresh.
    fs::write(format!("{folder}/c.img"), b"12345").expect("a file of the test");
    daemon.virsh("pool-refresh ivt-vols").ok();
    assert!(daemon.virsh("vol-list ivt-vols").ok().contains("c.img"));
    discard(&daemon, "ivt-vols");
}

#[test]
fn bytes_go_in_and_out() {
    let daemon = Daemon::start();
    define(&daemon, "ivt-bytes");
    daemon.virsh("pool-build ivt-bytes").ok();
    daemon.virsh("pool-start ivt-bytes").ok();
    daemon.virsh("vol-create-as ivt-bytes v 4M --allocation 0").ok();
    let mut content = vec![0; 3 << 20];
    for (at, byte) in content[1 << 20..(1 << 20) + 300_000].iter_mut().enumerate() {
        *byte = (at % 251) as u8 + 1;
    }
    let file = daemon.write("content", &content).display().to_string();
    let back = daemon.path("back").display().to_string();
    for sparse in ["", " --sparse"] {
        daemon.virsh("vol-wipe v ivt-bytes").ok();
        daemon.virsh(&format!("vol-upload v {file} --pool ivt-bytes{sparse}")).ok();
        daemon.virsh(&format!("vol-download v {back} --pool ivt-bytes{sparse}")).ok();
        let got = fs::read(&back).expect("downloaded");
        assert_eq!(got.len(), 4 << 20);
        assert!(got[..content.len()] == content && got[content.len()..].iter().all(|b| *b == 0));
    }
    daemon
        .virsh(&format!("vol-download v {back} --pool ivt-bytes --offset 1048576 --length 300000"))
        .ok();
    let part = fs::read(&back).expect("downloaded");
    assert!(part == content[1 << 20..(1 << 20) + 300_000]);
    daemon.virsh("vol-delete v ivt-bytes").ok();
    discard(&daemon, "ivt-bytes");
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let daemon = Daemon::start();
    let folder = define(&daemon, "ivt-one");
    let uuid = daemon.virsh("pool-uuid ivt-one").ok().trim().to_owned();
    daemon
        .virsh(&format!("pool-define-as ivt-one dir --target {folder}x"))
        .fails_with(&["operation failed: pool 'ivt-one' already exists with uuid ", &uuid]);
    daemon
        .virsh(&format!("pool-define-as ivt-two dir --target {folder}"))
        .fails_with(&["operation failed: Storage source conflict with pool: 'ivt-one'"]);
    let pool =
        |name: &str, content: &str| format!("<pool type='dir'><name>{name}</name>{content}</pool>");
    let target = format!("<target><path>{folder}y</path></target>");
    for (xml, says) in [
        (pool("ivt-two", &format!("<uuid>{uuid}</uuid>{target}")), "already defined with uuid"),
        (pool("ivt-two", ""), "XML error: missing storage pool target path"),
        (pool("ivt/two", &target), "XML error: name ivt/two cannot contain '/'"),
        (pool("ivt-two", &format!("<uuid>1</uuid>{target}")), "malformed uuid element"),
        ("<pool type='dir'><name>ivt-two</name>".to_owned(), "Premature end of data in tag pool"),
        ("<volume/>".to_owned(), "expecting root element of 'pool', not 'volume'"),
    ] {
        daemon.virsh_with_file("pool-define", &xml).fails_with(&[says]);
        daemon.virsh_with_file("pool-create", &xml).fails_with(&[says]);
    }
    daemon
        .virsh(&format!("pool-create-as ivt-two dir --target {folder}z"))
        .fails_with(&["cannot open directory", "No such file or directory"]);
    // Other tests may use the same daemon when it is somebody else's.
    assert!(!daemon.virsh("pool-list --all").ok().contains("two"));
    assert!(daemon.virsh("pool-dumpxml ivt-one").ok().contains(&format!("<path>{folder}</path>")));
    discard(&daemon, "ivt-one");
}

#[test]
fn pools_survive_the_daemon() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    define(&daemon, "ivt-kept");
    daemon.virsh("pool-build ivt-kept").ok();
    daemon.virsh("pool-start ivt-kept").ok();
    daemon.virsh("vol-create-as ivt-kept v 1M --allocation 0").ok();
    define(&daemon, "ivt-idle");
    let brief = daemon.path("brief").display().to_string();
    daemon.virsh(&format!("pool-create-as ivt-brief dir --target {brief} --build")).ok();
    let cut = daemon.write("etc/libvirt/storage/ivt-cut.xml", "<pool type='dir'><na");
    let pools = daemon.virsh("pool-list --all").ok();
    let xml = daemon.virsh("pool-dumpxml ivt-idle").ok();
    for kill in [false, true] {
        if kill {
            daemon.kill()
        } else {
            daemon.stop()
        };
        daemon.launch();
        assert_eq!(daemon.virsh("pool-list --all").ok(), pools);
        assert_eq!(daemon.virsh("pool-dumpxml ivt-idle").ok(), xml);
        assert!(daemon.virsh("vol-list ivt-kept").ok().contains(" v "));
        let info = daemon.virsh("pool-info ivt-brief").ok();
        assert_eq!(field(&info, "Persistent"), "no", "{info}");
    }
    assert!(cut.exists(), "a file that makes no sense is not deleted");
    assert!(daemon.log().contains("ivt-cut.xml"), "it is reported: {}", daemon.log());
}

#[test]
fn pool_events_arrive() {
    let daemon = Daemon::start();
    define(&daemon, "ivt-told");
    daemon.virsh("pool-build ivt-told").ok();
    let out = daemon.path("events.txt");
    let file = fs::File::create(&out).expect("a file of the test");
    let mut watcher = std::process::Command::new("virsh")
        .args(["-c", &daemon.uri(), "pool-event", "--event", "refresh", "--loop"])
        .args(["--pool", "ivt-told", "--timeout", "60"])
        .stdout(file)
        .spawn()
        .expect("virsh starts");
    daemon.virsh("pool-start ivt-told").ok();
    wait::until("the event", || {
        daemon.virsh("pool-refresh ivt-told").ok();
        let said = fs::read_to_string(&out).unwrap_or_default();
        said.contains("event 'refresh' for storage pool ivt-told").then_some(())
    });
    let _ = watcher.kill();
    let _ = watcher.wait();
    discard(&daemon, "ivt-told");
}

#[test]
fn kinds_of_objects_there_are_none_of() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    for verb in ["net-list --all", "iface-list --all", "nwfilter-list", "secret-list"] {
        assert_eq!(daemon.virsh(verb).ok().lines().skip(2).collect::<String>(), "", "{verb}");
    }
    assert_eq!(daemon.virsh("nodedev-list").ok().trim(), "");
    for (verb, says) in [
        ("net-info x", "Network not found: no network with matching name 'x'"),
        ("nodedev-dumpxml x", "Node device not found: no node device with matching name 'x'"),
        ("nwfilter-dumpxml x", "Network filter not found: no nwfilter with matching name 'x'"),
        ("iface-dumpxml x", "Interface not found: couldn't find interface named 'x'"),
        (
            "secret-dumpxml 11111111-2222-3333-4444-555555555555",
            "Secret not found: no secret with matching uuid '11111111-2222-3333-4444-555555555555'",
        ),
    ] {
        daemon.virsh(verb).fails_with(&[says]);
    }
}

#[test]
fn virt_admin_sees_servers_and_clients() {
    let mut daemon = Daemon::start();
    if daemon.is_external() || daemon.session() {
        return;
    }
    let socket = daemon.socket().with_file_name("libvirt-admin-sock");
    let uri = format!("libvirtd:///system?socket={}", socket.display());
    let admin = |line: &str| {
        let words: Vec<_> = ["-c", &uri].into_iter().chain(line.split_whitespace()).collect();
        tool("virt-admin", &words, "")
    };
    let servers = admin("server-list").ok();
    assert!(servers.contains(" 0    admin\n 1    libvirtd\n"), "{servers}");
    let mut client = std::process::Command::new("virsh")
        .args(["-c", &daemon.uri(), "event", "--event", "lifecycle", "--loop"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("virsh starts");
    let id = wait::until("the client", || {
        let clients = admin("client-list libvirtd").ok();
        let line = clients.lines().find(|line| line.contains("unix"))?.to_owned();
        line.split_whitespace().next().map(str::to_owned)
    });
    let info = admin(&format!("client-info libvirtd {id}")).ok();
    assert!(info.contains(&format!("unix_process_id: {}", client.id())), "{info}");
    assert!(admin("server-clients-info libvirtd").ok().contains("nclients            : 1"));
    admin("server-clients-set libvirtd --max-clients 1").fails_with(&["must not be less"]);
    admin("server-clients-set libvirtd --max-clients 500").ok();
    assert!(admin("server-clients-info libvirtd").ok().contains("nclients_max        : 500"));
    admin("client-info libvirtd 987654").fails_with(&["No client with matching ID '987654'"]);
    admin("client-list none").fails_with(&["Server not found: No server named 'none'"]);
    admin(&format!("client-disconnect libvirtd {id}")).ok();
    wait::until("the client to end", || client.try_wait().expect("our own child"));
    daemon.assert_well();
    admin("daemon-log-filters --filters 3:x").fails_with(&["there are no logging filters"]);
    assert!(admin("daemon-log-outputs").ok().contains("stderr"));
}

/// Disks that are volumes of a pool, one of them encrypted with a stored secret.
#[test]
fn guests_start_from_volumes_and_with_secrets() {
    let daemon = Daemon::start();
    let uuid = "11111111-2222-3333-4444-5555555555d1";
    let folder = daemon.path("images");
    std::fs::create_dir(&folder).expect("a folder of our own");
    daemon.virsh(&format!("pool-define-as images dir --target {}", folder.display())).ok();
    daemon.virsh("pool-start images").ok();
    daemon.virsh("vol-create-as images plain.qcow2 1M --format qcow2").ok();
    let locked = folder.join("locked.img").to_string_lossy().into_owned();
    let create = ["create", "-q", "-f", "luks", "--object", "secret,id=s,data=abc"];
    let rest = ["-o", "key-secret=s,iter-time=10", locked.as_str(), "1M"];
    tool("qemu-img", &[&create[..], &rest[..]].concat(), "").ok();
    daemon.virsh("pool-refresh images").ok();

    let disks = format!(
        "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>\
         <source pool='images' volume='plain.qcow2'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='volume' device='disk'><driver name='qemu' type='raw'/>\
         <source pool='images' volume='locked.img'><encryption format='luks'>\
         <secret type='passphrase' uuid='{uuid}'/></encryption></source>\
         <target dev='vdb' bus='virtio'/></disk>"
    );
    let guest = domains::minimal("volumes").replace(
        "<devices/>",
        &format!("<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{disks}</devices>"),
    );
    daemon.define(&guest).ok();
    let start = || daemon.virsh("start volumes --paused");

    assert!(start().failed().contains(&format!("no secret with matching uuid '{uuid}'")));
    let secret = |kind: &str| {
        format!(
            "<secret private='yes'><uuid>{uuid}</uuid><usage type='{kind}'>\
         <{0}>x</{0}></usage></secret>",
            if kind == "volume" { "volume" } else { "name" }
        )
    };
    daemon.virsh_with_file("secret-define", &secret("ceph")).ok();
    assert!(start().failed().contains("is of type 'ceph' not expected 'volume' type"));
    daemon.virsh(&format!("secret-undefine {uuid}")).ok();
    daemon.virsh_with_file("secret-define", &secret("volume")).ok();
    assert!(start().failed().contains("does not have a value"));
    daemon.virsh(&format!("secret-set-value {uuid} --base64 YWJj")).ok();

    start().ok();
    let live = daemon.virsh("dumpxml volumes").ok();
    assert!(live.contains("<source pool='images' volume='plain.qcow2' index='2'/>"), "{live}");
    assert!(!live.contains("actualType") && !live.contains(&locked), "{live}");
    assert!(daemon.virsh("domblkinfo volumes vda").ok().contains("1048576"));
    daemon.virsh("destroy volumes").ok();

    // What the pool does not serve cannot be had, and says so before anything is touched.
    daemon.virsh("pool-destroy images").ok();
    let refused = start().failed();
    assert!(
        refused.contains("storage pool 'images' containing volume 'locked.img' is not active"),
        "{refused}"
    );
    assert!(daemon.qemus().is_empty() || daemon.is_external());
}
