//! What tests of devices that come and go share: a guest whose devices go without its consent, and
//! what it has by the daemon's word and by QEMU's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Daemon, domains, saving};

/// The number that an environment variable gives, or this one.
pub fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Whether the daemon lends images to QEMU's user: as an ordinary user it cannot.
pub fn lends(daemon: &Daemon) -> bool {
    rustix::process::getuid().is_root() && !daemon.session()
}

/// A guest that ticks, with buses whose devices go without its consent.
#[track_caller]
pub fn start(daemon: &Daemon, name: &str) {
    let buses = "<controller type='usb' model='qemu-xhci'/><controller type='virtio-serial'/>\
        <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>";
    let xml = domains::boot_sector(daemon, name);
    let xml = xml.replace("<controller type='usb' model='none'/>", buses);
    saving::start(daemon, name, &xml);
}

/// An image, and the file with the XML of a USB disk of it.
pub fn usb_disk(daemon: &Daemon, name: &str) -> (PathBuf, PathBuf) {
    let image = daemon.write(&format!("images/{name}"), vec![0; 1 << 16]);
    let xml = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='sdb' bus='usb'/></disk>",
        image.display()
    );
    (image, daemon.write(&format!("{name}.xml"), xml))
}

/// A virsh beside the test, with one command of plain words; what it says is kept.
pub fn call(daemon: &Daemon, line: &str) -> Child {
    let mut command = Command::new("virsh");
    command.args(["-c", &daemon.uri()]).args(line.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("virsh runs")
}

/// A virsh beside the test, with these commands; what it says is lost.
pub fn begin(daemon: &Daemon, line: &str) -> Child {
    Command::new("virsh")
        .args(["-c", &daemon.uri(), line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("virsh runs")
}

/// What QEMU answers.
pub fn qmp(daemon: &Daemon, name: &str, question: &str) -> serde_json::Value {
    let said = daemon.virsh_words(&["qemu-monitor-command", name, question]).ok();
    serde_json::from_str(&said).expect("QEMU speaks JSON")
}

/// The values of `key` in a list that QEMU answers with.
fn names(answer: &serde_json::Value, key: &str) -> BTreeSet<String> {
    let items = answer["return"].as_array().expect("a list").iter();
    items.filter_map(|item| item[key].as_str().map(str::to_owned)).collect()
}

/// The devices that QEMU has under names of their own.
pub fn devices(daemon: &Daemon, name: &str) -> BTreeSet<String> {
    let question = r#"{"execute":"qom-list","arguments":{"path":"/machine/peripheral"}}"#;
    names(&qmp(daemon, name, question), "name")
}

/// What QEMU has behind devices: images and channels.
pub fn behind(daemon: &Daemon, name: &str) -> BTreeSet<String> {
    let images = qmp(daemon, name, r#"{"execute":"query-named-block-nodes"}"#);
    let channels = qmp(daemon, name, r#"{"execute":"query-chardev"}"#);
    let mut all = names(&images, "node-name");
    all.extend(names(&channels, "label"));
    all
}

/// The XML of a running guest.
pub fn live(daemon: &Daemon, name: &str) -> String {
    daemon.virsh_words(&["dumpxml", name]).ok()
}

/// Whether a file is the test's own: not lent to QEMU's user.
pub fn is_mine(path: &Path) -> bool {
    fs::metadata(path).expect("there").uid() == rustix::process::getuid().as_raw()
}

/// The image in the CD-ROM drive by the XML, and by QEMU; and whether QEMU has it open.
pub fn in_drive(daemon: &Daemon, name: &str) -> (Option<String>, Option<String>, bool) {
    let xml = live(daemon, name);
    let drive = xml.split("<disk ").find(|disk| disk.contains("<target dev='hdc'")).expect("there");
    let told = drive.split_once("<source file='").and_then(|(_, rest)| rest.split_once('\''));
    let drives = qmp(daemon, name, r#"{"execute":"query-block"}"#);
    let is_it =
        |drive: &&serde_json::Value| drive["qdev"].as_str().unwrap_or("").contains("ide0-1-0");
    let drive = drives["return"].as_array().expect("a list").iter().find(is_it).expect("the drive");
    let inside = drive["inserted"]["file"].as_str().map(str::to_owned);
    let open = drive["tray_open"].as_bool() == Some(true);
    (told.map(|(file, _)| file.to_owned()), inside, open)
}
