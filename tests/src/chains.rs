//! Chains of images, guests that have them, and what a daemon, QEMU and the host say of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::plugging::{is_mine, lends, live, qmp};
use crate::{Daemon, tool, wait};

/// A chain of three images below the daemon's folder, the top last, and what its top shows.
pub struct Images {
    /// Where they are.
    pub folder: PathBuf,
    /// The uppermost.
    pub top: PathBuf,
    /// What that shows, as a raw image.
    pub shown: PathBuf,
}

impl Images {
    /// Made anew; `relative`: each names the one below by its name alone.
    pub fn make(daemon: &Daemon, relative: bool) -> Images {
        let folder = daemon.path("images");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let mut below: Option<String> = None;
        for (name, at) in [("a", 0), ("b", 3), ("c", 6)] {
            let path = folder.join(format!("{name}.qcow2")).display().to_string();
            let mut words = vec!["create", "-q", "-f", "qcow2"];
            let base = below.as_deref().map(|base| match relative {
                true => base.rsplit('/').next().unwrap_or(base),
                false => base,
            });
            if let Some(base) = base {
                words.extend(["-b", base, "-F", "qcow2"]);
            }
            words.push(&path);
            words.extend(below.is_none().then_some("16M"));
            tool("qemu-img", &words, "").ok();
            // Each image writes over a part of the one below.
            let write = format!("write -q -P {} {at}M 4M", at + 1);
            tool("qemu-io", &["-f", "qcow2", "-c", &write, &path], "").ok();
            below = Some(path);
        }
        let top = folder.join("c.qcow2");
        let shown = daemon.path("shown.raw");
        let (from, to) = (top.display().to_string(), shown.display().to_string());
        tool("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", &from, &to], "").ok();
        Images { folder, top, shown }
    }

    /// The path of a file beside them.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Panics unless an image shows what the guest saw.
    #[track_caller]
    pub fn assert_shows(&self, image: &str, format: &str, what: &str) {
        let shown = self.shown.display().to_string();
        let words = ["compare", "-f", format, "-F", "raw", image, &shown];
        let compared = tool("qemu-img", &words, "");
        assert_eq!(compared.status, 0, "{what}: {image} is another one now\n{compared}");
    }

    /// The images that are lent to QEMU's user.
    pub fn lent(&self) -> BTreeSet<String> {
        let files = fs::read_dir(&self.folder).expect("there").flatten();
        let lent = files.filter(|file| !is_mine(&file.path()));
        lent.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// The definition of a guest with the disk.
pub fn guest(name: &str, top: &Path) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>",
        top.display()
    )
}

/// A transient guest with the disk, paused.
#[track_caller]
pub fn create(daemon: &Daemon, name: &str, top: &Path) {
    let xml = daemon.write(&format!("{name}.xml"), guest(name, top));
    daemon.virsh(&format!("create {} --paused", xml.display())).ok();
}

/// The images of the guest's disk by its XML, the top first: file and number.
pub fn chain(daemon: &Daemon, name: &str) -> Vec<(String, String)> {
    let xml = live(daemon, name);
    let disk = xml.split("<disk ").nth(1).expect("a disk");
    let disk = disk.split("</disk>").next().expect("its end");
    let disk = disk.split("<mirror").next().expect("what is before");
    let attribute = |text: &str, name: &str| {
        let rest = text.split_once(&format!("{name}='")).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split('\'').next()).unwrap_or_default().to_owned()
    };
    let mut numbers = disk.match_indices("index='").map(|(at, _)| attribute(&disk[at..], "index"));
    let files = disk.match_indices("<source file='").map(|(at, _)| attribute(&disk[at..], "file"));
    let mut images = Vec::new();
    for file in files {
        images.push((file, numbers.next().unwrap_or_default()));
    }
    images
}

/// The names of the images of the guest's disk.
pub fn files(daemon: &Daemon, name: &str) -> Vec<String> {
    let name_of = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    chain(daemon, name).iter().map(|(file, _)| name_of(file)).collect()
}

/// The nodes that QEMU has of images.
pub fn nodes(daemon: &Daemon, name: &str) -> BTreeSet<String> {
    let answer =
        qmp(daemon, name, r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#);
    let all = answer["return"].as_array().expect("a list").iter();
    let names = all.filter_map(|node| node["node-name"].as_str());
    names.filter(|node| node.starts_with("libvirt-")).map(str::to_owned).collect()
}

/// The jobs that QEMU has.
pub fn jobs(daemon: &Daemon, name: &str) -> Vec<String> {
    let answer = qmp(daemon, name, r#"{"execute":"query-jobs"}"#);
    let all = answer["return"].as_array().expect("a list").iter();
    all.filter_map(|job| job["id"].as_str().map(str::to_owned)).collect()
}

/// What is wrong with what is told of a guest that has no job; nothing where all is well.
pub fn untrue(daemon: &Daemon, name: &str, images: &Images) -> Option<String> {
    let chain = chain(daemon, name);
    let nodes = nodes(daemon, name);
    let numbers: BTreeSet<_> = chain.iter().map(|(_, number)| number.clone()).collect();
    let of_node = |node: &String| node.split('-').nth(1).unwrap_or_default().to_owned();
    let there: BTreeSet<_> = nodes.iter().map(of_node).collect();
    let told: BTreeSet<String> = files(daemon, name).into_iter().collect();
    let drives = qmp(daemon, name, r#"{"execute":"query-block"}"#);
    let root = drives["return"][0]["inserted"]["node-name"].as_str().unwrap_or_default().to_owned();
    let lent = images.lent();
    let status = fs::read_to_string(daemon.path(&format!("run/libvirt/qemu/{name}.xml")));
    let status = status.unwrap_or_default();
    let mut wrong = Vec::new();
    if numbers != there {
        wrong.push(format!("told {numbers:?}, QEMU has {there:?}"));
    }
    if chain.first().map(|(_, number)| number.clone()) != Some(of_node(&root)) {
        wrong.push(format!("the guest writes to {root}, told {chain:?}"));
    }
    if lends(daemon) && lent != told {
        wrong.push(format!("lent {lent:?}, told {told:?}"));
    }
    if live(daemon, name).contains("<mirror") {
        wrong.push("a mirror is told".to_owned());
    }
    if !daemon.session() && !status.contains("<blockjobs active='no'/>") {
        wrong.push("the status file has a job".to_owned());
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Panics unless what is told of a guest that has no job becomes true.
#[track_caller]
pub fn assert_true(daemon: &Daemon, name: &str, images: &Images, what: &str) {
    if daemon.is_external() {
        return;
    }
    wait::until(&format!("the truth {what}"), || match untrue(daemon, name, images) {
        None => Some(()),
        Some(wrong) => {
            eprintln!("{what}: {wrong}");
            None
        }
    });
}
