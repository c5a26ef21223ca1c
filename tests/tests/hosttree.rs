//! The tree that virt-install and libvirtd leave on a host: loaded, untouched, written back the same.
//!
//! `fixtures/host/libvirt` holds objects of our own as libvirtd 11.3 wrote them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tests::{Daemon, Options, paths, tool};

/// What must not change of a file: its bytes, when it was written, which file it is.
type Kept = (Vec<u8>, i64, i64, u64);

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn kept(folder: &Path, names: &[PathBuf]) -> BTreeMap<PathBuf, Kept> {
    let state = |name: &PathBuf| {
        let path = folder.join(name);
        let meta = fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (fs::read(&path).unwrap(), meta.mtime(), meta.mtime_nsec(), meta.ino())
    };
    names.iter().map(|name| (name.clone(), state(name))).collect()
}

/// Puts the fixtures where a daemon that is not started yet will look, and returns their names.
fn install(daemon: &Daemon) -> (PathBuf, Vec<PathBuf>) {
    let (from, to) = (paths::fixture("fixtures/host/libvirt"), daemon.path("etc/libvirt"));
    let names: Vec<_> =
        files(&from).into_iter().map(|p| p.strip_prefix(&from).unwrap().to_owned()).collect();
    for name in &names {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(from.join(name), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    (to, names)
}

fn skipped(test: &str) -> bool {
    let skip = !paths::is_root() || std::env::var_os("IRONVIRT_TEST_SOCKET").is_some();
    if skip {
        eprintln!("skipped: {test} needs the system's layout and a daemon of its own");
    }
    skip
}

fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<_> = text.split_whitespace().collect();
    words.sort_unstable();
    words
}

#[test]
fn a_hosts_tree_is_loaded_and_left_alone() {
    if skipped("a_hosts_tree_is_loaded_and_left_alone") {
        return;
    }
    let mut daemon = Daemon::prepare(Options::default());
    let (folder, names) = install(&daemon);
    let autostart = folder.join("qemu/autostart/till.xml");
    fs::create_dir_all(autostart.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(folder.join("qemu/till.xml"), &autostart).unwrap();
    let before = kept(&folder, &names);
    daemon.launch();

    let domains = daemon.virsh("list --all --name").ok();
    assert_eq!(words(&domains), ["office", "shop", "till"]);
    assert_eq!(words(&daemon.virsh("pool-list --all --name").ok()), ["shop-images"]);
    let secret = "6f0c4f0e-8d5e-4f4b-9c65-0f2b0a3d1c06";
    assert!(daemon.virsh("secret-list").ok().contains(secret));
    assert!(daemon.virsh("dominfo till").ok().contains("Autostart:      enable"));
    assert!(daemon.virsh("dominfo shop").ok().contains("Autostart:      disable"));
    daemon.wait_for_state("till", "running (booted)");
    for name in ["shop", "office", "till"] {
        let file = fs::read_to_string(folder.join(format!("qemu/{name}.xml"))).unwrap();
        let said = daemon.virsh(&format!("dumpxml --inactive --security-info {name}")).ok();
        let (_, stored) = file.split_once("-->\n\n").unwrap();
        assert_eq!(said.trim_end(), stored.trim_end());
    }
    daemon.virsh("destroy till").ok();
    daemon.restart();
    assert_eq!(words(&daemon.virsh("list --all --name").ok()), words(&domains));
    daemon.stop();
    assert!(kept(&folder, &names) == before, "a file that nobody changed was rewritten");
    assert_eq!(fs::read_link(&autostart).unwrap(), folder.join("qemu/till.xml"));
}

#[test]
fn what_is_defined_again_gives_the_same_file() {
    if skipped("what_is_defined_again_gives_the_same_file") {
        return;
    }
    let mut daemon = Daemon::prepare(Options::default());
    let (folder, names) = install(&daemon);
    let before = kept(&folder, &names);
    daemon.launch();
    for name in ["shop", "office", "till"] {
        let xml = daemon.virsh(&format!("dumpxml --inactive --security-info {name}")).ok();
        daemon.define(&xml).ok();
    }
    daemon.virsh_with_file("pool-define", &daemon.virsh("pool-dumpxml shop-images").ok()).ok();
    let secret = "6f0c4f0e-8d5e-4f4b-9c65-0f2b0a3d1c06";
    let xml = daemon.virsh(&format!("secret-dumpxml {secret}")).ok();
    daemon.virsh_with_file("secret-define", &xml).ok();
    for (name, (bytes, ..)) in kept(&folder, &names) {
        let (old, new) =
            (String::from_utf8_lossy(&before[&name].0), String::from_utf8_lossy(&bytes));
        assert_eq!(new, old, "{}", name.display());
    }
}

/// Guests that virt-install describes from what our daemon says of the host: stored, loaded by the
/// next daemon, and stored again without a difference.
#[test]
fn what_virt_install_describes_is_stored_without_loss() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let variants: [&[&str]; 5] = [
        &["--osinfo", "debian11", "--disk", "none", "--import"],
        &["--osinfo", "win10", "--disk", "none", "--import", "--tpm", "none", "--graphics", "vnc"],
        &["--osinfo", "generic", "--disk", "none", "--pxe", "--network", "user,model=e1000"],
        &[
            "--osinfo",
            "generic",
            "--disk",
            "none",
            "--import",
            "--machine",
            "pc",
            "--cpu",
            "qemu64",
        ],
        &[
            "--osinfo",
            "generic",
            "--disk",
            "none",
            "--import",
            "--vcpus",
            "4,maxvcpus=8",
            "--memory",
            "256",
            "--memballoon",
            "none",
            "--graphics",
            "none",
            "--boot",
            "hd,menu=on",
            "--channel",
            "unix,target.type=virtio,target.name=org.example.0",
            "--rng",
            "/dev/urandom",
        ],
    ];
    let uri = daemon.uri();
    let mut stored = Vec::new();
    for (n, variant) in variants.iter().enumerate() {
        let name = format!("installed{n}");
        let mut line =
            vec!["--connect", &uri, "--name", &name, "--virt-type", "qemu", "--print-xml"];
        line.extend(["--dry-run", "--noautoconsole"]);
        if !variant.contains(&"--memory") {
            line.extend(["--memory", "128"]);
        }
        if !variant.contains(&"--network") {
            line.extend(["--network", "user"]);
        }
        line.extend(*variant);
        let said = tool("virt-install", &line, "").ok();
        // With an installation there are two documents: the first boot's, and the one that stays.
        let last = said.rfind("<domain ").map_or(said.as_str(), |at| &said[at..]);
        daemon.define(last).ok();
        stored
            .push((daemon.virsh(&format!("dumpxml --inactive --security-info {name}")).ok(), name));
    }
    daemon.restart();
    for (xml, name) in &stored {
        let dump = format!("dumpxml --inactive --security-info {name}");
        assert_eq!(&daemon.virsh(&dump).ok(), xml);
        daemon.define(xml).ok();
        assert_eq!(&daemon.virsh(&dump).ok(), xml);
    }
}
