//! Whether all who know of a running guest know the same: the daemon's answer, the status file that
//! the next daemon will read, QEMU, and the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use roxmltree::{Document, Node};

use crate::plugging::{devices, is_mine, lends, qmp};
use crate::{Daemon, domains, groups, saving, wait};

/// The parts of a domain that are changed while it runs, as text.
fn parts(domain: Node<'_, '_>) -> BTreeMap<String, String> {
    let tuned = [
        "vcpu",
        "iothreads",
        "iothreadids",
        "cputune",
        "currentMemory",
        "vcpus",
        "memtune",
        "blkiotune",
        "numatune",
    ];
    let tuned = domain.children().filter(|node| tuned.contains(&node.tag_name().name()));
    let mut parts: BTreeMap<_, _> =
        tuned.map(|node| (node.tag_name().name().to_owned(), text(node))).collect();
    for disk in all(domain, "disk") {
        let what = ["source", "target", "iotune", "alias"];
        let inside = disk.children().filter(|node| what.contains(&node.tag_name().name()));
        let said: String = inside
            .map(|node| match node.tag_name().name() {
                "source" => format!("file={:?}", node.attribute("file")),
                _ => text(node),
            })
            .collect();
        parts.insert(format!("disk {}", target(disk)), said);
    }
    parts
}

/// An element as text, without blanks between elements.
fn text(node: Node<'_, '_>) -> String {
    let attributes: Vec<_> =
        node.attributes().map(|a| format!("{}={}", a.name(), a.value())).collect();
    let inside: String = node.children().filter(Node::is_element).map(text).collect();
    let words = node.text().unwrap_or_default().trim();
    format!("<{} {}>{words}{inside}", node.tag_name().name(), attributes.join(" "))
}

fn all<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.descendants().filter(move |node| node.has_tag_name(name))
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|node| node.has_tag_name(name))
}

fn target<'a>(disk: Node<'a, '_>) -> &'a str {
    child(disk, "target").and_then(|target| target.attribute("dev")).unwrap_or("?")
}

fn list(answer: &serde_json::Value) -> &[serde_json::Value] {
    answer["return"].as_array().map_or(&[], Vec::as_slice)
}

/// The processors that a thread may run on, as the kernel writes them.
fn allowed(pid: i32, thread: i64) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(line.trim().to_owned())
}

/// What does not agree about a running guest; its `images` are lent while the XML names them.
pub fn disagreements(daemon: &Daemon, name: &str, qemu: i32, images: &[&Path]) -> Vec<String> {
    let mut wrong = Vec::new();
    let told = daemon.virsh_words(&["dumpxml", name]).ok();
    let document = Document::parse(&told).expect("XML");
    let domain = document.root_element();
    let file = daemon.path(&format!("run/libvirt/qemu/{name}.xml"));
    let status = fs::read_to_string(file).expect("a status file");
    let status = Document::parse(&status).expect("XML");
    let written = child(status.root_element(), "domain").expect("a domain");
    let (shown, kept) = (parts(domain), parts(written));
    for part in shown.keys().chain(kept.keys()).collect::<BTreeSet<_>>() {
        if shown.get(part) != kept.get(part) {
            wrong.push(format!("told {:?}, written {:?}", shown.get(part), kept.get(part)));
        }
    }
    for image in images {
        if lends(daemon) && told.contains(&image.display().to_string()) == is_mine(image) {
            wrong.push(format!("{}: is it lent?", image.display()));
        }
    }
    wrong.extend(of_devices(daemon, name, domain));
    wrong.extend(of_disks(daemon, name, domain));
    wrong.extend(of_threads(daemon, name, qemu, domain));
    wrong.extend(groups::disagreements(qemu, domain));
    let state = qmp(daemon, name, r#"{"execute":"query-status"}"#);
    let runs = daemon.virsh_words(&["domstate", name]).ok().starts_with("running");
    if state["return"]["running"].as_bool() != Some(runs) {
        wrong.push(format!("told to run: {runs}, QEMU: {state}"));
    }
    wrong
}

/// Devices with names of their own, by the XML and by QEMU.
fn of_devices(daemon: &Daemon, name: &str, domain: Node<'_, '_>) -> Option<String> {
    let told: BTreeSet<_> =
        all(domain, "alias").filter_map(|alias| alias.attribute("name")).collect();
    // Virtual processors are no devices of the XML.
    let strays = devices(daemon, name).into_iter().filter(|alias| {
        !told.contains(alias.as_str()) && !alias.starts_with("vcpu") && alias != "type"
    });
    let strays: Vec<_> = strays.collect();
    (!strays.is_empty()).then(|| format!("QEMU has {strays:?} besides {told:?}"))
}

/// What is in the drives, what disks are limited to, and that no image is open that none names.
fn of_disks(daemon: &Daemon, name: &str, domain: Node<'_, '_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let drives = qmp(daemon, name, r#"{"execute":"query-block"}"#);
    let mut images = 0;
    for disk in all(domain, "disk") {
        let source = child(disk, "source").and_then(|source| source.attribute("file"));
        images += usize::from(source.is_some());
        let alias = child(disk, "alias").and_then(|alias| alias.attribute("name")).unwrap_or("?");
        let is_it = |drive: &&serde_json::Value| {
            drive["qdev"].as_str().is_some_and(|path| path.split('/').any(|part| part == alias))
        };
        let Some(drive) = list(&drives).iter().find(is_it) else {
            wrong.push(format!("QEMU lacks {alias}"));
            continue;
        };
        let inside = drive["inserted"]["file"].as_str();
        if inside != source || (source.is_some() && drive["tray_open"] == true) {
            wrong.push(format!("{alias}: told {source:?}, QEMU {inside:?} {}", drive["tray_open"]));
        }
        let limit = child(disk, "iotune").and_then(|tune| child(tune, "total_bytes_sec"));
        let limit = limit.and_then(|limit| limit.text()?.parse().ok()).unwrap_or(0);
        if source.is_some() && drive["inserted"]["bps"].as_u64() != Some(limit) {
            wrong.push(format!("{alias}: limit {limit}, QEMU {}", drive["inserted"]["bps"]));
        }
    }
    let nodes = qmp(daemon, name, r#"{"execute":"query-named-block-nodes"}"#);
    let ours = |node: &&serde_json::Value| {
        node["node-name"].as_str().is_some_and(|name| name.starts_with("libvirt-"))
    };
    let nodes = list(&nodes).iter().filter(ours).count();
    if nodes != images {
        wrong.push(format!("{images} images and {nodes} nodes"));
    }
    wrong
}

/// Virtual processors and I/O threads, and what they are pinned to.
fn of_threads(daemon: &Daemon, name: &str, qemu: i32, domain: Node<'_, '_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let processors = qmp(daemon, name, r#"{"execute":"query-cpus-fast"}"#);
    let vcpu = child(domain, "vcpu").expect("processors");
    let count = vcpu.attribute("current").or(vcpu.text()).and_then(|count| count.parse().ok());
    if count != Some(list(&processors).len()) {
        wrong.push(format!("{count:?} processors, QEMU {}", list(&processors).len()));
    }
    let threads = qmp(daemon, name, r#"{"execute":"query-iothreads"}"#);
    let had: BTreeSet<_> = list(&threads)
        .iter()
        .filter_map(|thread| thread["id"].as_str().map(str::to_owned))
        .collect();
    let mut ids: BTreeSet<_> = all(domain, "iothread")
        .filter_map(|thread| thread.attribute("id").map(|id| format!("iothread{id}")))
        .collect();
    // Numbers are told where they are not the first ones.
    let count = child(domain, "iothreads").and_then(|count| count.text()?.parse().ok());
    if ids.is_empty() {
        ids = (1..=count.unwrap_or(0_usize)).map(|id| format!("iothread{id}")).collect();
    }
    if ids != had {
        wrong.push(format!("threads {ids:?}, QEMU {had:?}"));
    }
    let mut pinned = |set: Option<&str>, thread: Option<i64>, what: &str| {
        let allowed = thread.and_then(|thread| allowed(qemu, thread));
        if set.is_some() && allowed.as_deref() != set {
            wrong.push(format!("{what} pinned to {set:?}, the kernel says {allowed:?}"));
        }
    };
    for pin in all(domain, "vcpupin") {
        let number = pin.attribute("vcpu").and_then(|number| number.parse::<i64>().ok());
        let it = list(&processors).iter().find(|cpu| cpu["cpu-index"].as_i64() == number);
        if let Some(it) = it {
            pinned(pin.attribute("cpuset"), it["thread-id"].as_i64(), "a processor");
        }
    }
    for pin in all(domain, "iothreadpin") {
        let id = pin.attribute("iothread").map(|id| format!("iothread{id}"));
        let it = list(&threads).iter().find(|thread| thread["id"].as_str() == id.as_deref());
        pinned(pin.attribute("cpuset"), it.and_then(|it| it["thread-id"].as_i64()), "a thread");
    }
    for pin in all(domain, "emulatorpin") {
        pinned(pin.attribute("cpuset"), Some(qemu.into()), "the emulator");
    }
    wrong
}

/// What the XML of a running guest says of its limits, and the kernel does not hold; one that has
/// ended meanwhile disagrees in nothing.
pub fn limits(daemon: &Daemon, name: &str, qemu: i32) -> Vec<String> {
    let told = daemon.virsh_words(&["dumpxml", name]).stdout;
    let Ok(document) = Document::parse(&told) else { return Vec::new() };
    groups::disagreements(qemu, document.root_element())
}

/// Waits until nothing disagrees.
#[track_caller]
pub fn settled(daemon: &Daemon, name: &str, qemu: i32, images: &[&Path], what: &str) {
    let mut seen = Vec::new();
    let agreed = wait::until_some(wait::PATIENCE, || {
        // A guest that has just been found again is not under control at once.
        let ask = ["qemu-monitor-command", name, r#"{"execute":"query-status"}"#];
        if daemon.virsh_words(&ask).status != 0 {
            return None;
        }
        let wrong = disagreements(daemon, name, qemu, images);
        if wrong.is_empty() {
            return Some(());
        }
        seen = wrong;
        None
    });
    assert!(agreed.is_some(), "{what}: {}\n{}", seen.join("\n"), daemon.log());
}

/// A guest that can be changed in many ways, defined and running: two processors of which one is
/// there, a thread, USB and serial buses, a drive, a network card, a balloon.
#[track_caller]
pub fn start(daemon: &Daemon, name: &str) {
    let buses = "<controller type='usb' model='qemu-xhci'/><controller type='virtio-serial'/>\
        <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>\
        <interface type='user'><mac address='52:54:00:00:00:01'/></interface>";
    let xml = domains::boot_sector(daemon, name)
        .replace("<controller type='usb' model='none'/>", buses)
        .replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        .replacen("<os>", "<vcpu current='1'>2</vcpu><iothreads>1</iothreads><os>", 1);
    saving::start(daemon, name, &xml);
}
