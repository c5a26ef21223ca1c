//! `ironvirt explain`: why QEMU is started as it is, of domains and of files.

use serde_json::Value;
use tests::{Daemon, golden, paths, tool};

/// A guest with something written and much filled in.
const GUEST: &str = "<domain type='qemu'>
  <name>explained</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <source file='/var/lib/explained.img'/>
      <target dev='vda'/>
    </disk>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
";

fn explain(words: &[&str], input: &str) -> tests::Outcome {
    let mut all = vec!["explain"];
    all.extend_from_slice(words);
    tool(paths::ironvirt(), &all, input)
}

/// The text without the emulator's version, which is this machine's.
fn without_version(text: &str) -> String {
    let (head, rest) = text.split_once('\n').expect("a line");
    let (head, _) = head.rsplit_once(' ').expect("a version");
    format!("{head} VERSION\n{rest}")
}

#[test]
fn a_file_is_explained_without_a_daemon() {
    let mut shown = String::new();
    for only in ["rng", "libvirt-1-storage", "memballoon", "-S", "nothing like it"] {
        let text = explain(&["-", "--only", only], GUEST).ok();
        shown.push_str(&format!("$ explain - --only '{only}'\n{}", without_version(&text)));
    }
    // Which QEMU this is decides what it has.
    let shown = shown.replace("QEMU lacks", "QEMU has");
    golden::check("scripts/explain.golden", &shown);
}

#[test]
fn a_stored_domain_is_explained_by_its_daemon() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(GUEST).ok();
    let stored = daemon.virsh("dumpxml explained").ok();
    let line = stored.lines().position(|line| line.contains("<rng")).expect("the device") + 1;
    let text = daemon.ironvirt("explain explained --only rng").ok();
    assert!(text.contains(&format!("because: line {line}, <devices/rng[1]>")), "{text}");

    let data: Value =
        serde_json::from_str(&daemon.ironvirt("-o json explain explained").ok()).expect("JSON");
    let entries = data["entries"].as_array().expect("entries");
    let words: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["subject"] == "argument")
        .flat_map(|entry| entry["text"].as_array().expect("words"))
        .collect();
    let native = daemon.virsh("domxml-to-native qemu-argv --domain explained").ok();
    assert!(words.len() > 40 && native.contains("-device"), "{}", words.len());
    let machine = entries.iter().find(|entry| entry["text"][0] == "-machine").expect("a board");
    assert_eq!(machine["element"], "os/type");
    assert_eq!(machine["default"], false);
    // Nothing was started, and nothing is left of it.
    assert!(daemon.qemus().is_empty());
    assert!(!daemon.path("var/lib/libvirt/qemu/domain--1-explained").exists());
}

#[test]
fn what_cannot_be_explained_is_refused_with_the_reason() {
    let unknown = GUEST.replace("machine='q35'", "machine='q34'");
    let refused = explain(&["-"], &unknown);
    assert_ne!(refused.status, 0);
    assert!(refused.stderr.contains("machine type 'q34' is not known"), "{}", refused.stderr);

    let broken = explain(&["-"], "<domain type='qemu'>");
    assert_ne!(broken.status, 0);

    // A record is a QMP conversation; what lacks everything is refused by what it lacks.
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("record");
    std::fs::write(&record, "{}").expect("a file");
    let record = record.to_string_lossy();
    let refused = explain(&["-", "--capabilities", &record], GUEST);
    assert!(refused.stderr.contains("query-version"), "{}", refused.stderr);
    let nameless = GUEST.replace("    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n", "");
    let refused = explain(&["-", "--capabilities", &record], &nameless);
    assert!(refused.stderr.contains("<emulator> has to name the binary"), "{}", refused.stderr);
}
