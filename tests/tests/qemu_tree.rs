//! The device tree of real QEMUs, of every architecture, read back and compared with the XML.
//!
//! Each file of `tests/tree/ARCH-MACHINE/` is a domain. It is started paused; what QEMU then says
//! over QMP of its devices, block nodes, back ends and CPUs is compared with the live XML, both
//! ways. An architecture whose emulator is not installed is left out, and said so.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{collections::HashMap, fs};

use tests::tree::{self, Monitor, Seen, Tally};
use tests::{Daemon, paths};

/// The label of the test's own monitor.
const OWN: &str = "tree";

/// A disk image of each format in which documents name one.
fn images(daemon: &Daemon) {
    for name in ["a.img", "b.img", "c.img", "d.img", "e.img", "f.img"] {
        fs::File::options()
            .write(true)
            .open(daemon.write(&format!("images/{name}"), ""))
            .and_then(|file| file.set_len(1 << 20))
            .expect("grown");
    }
    let image = |name: &str| daemon.path(&format!("images/{name}")).display().to_string();
    let create = |words: &[&str]| tests::tool("qemu-img", words, "").ok();
    create(&["create", "-q", "-f", "qcow2", &image("base.qcow2"), "1M"]);
    let (base, top) = (image("base.qcow2"), image("top.qcow2"));
    create(&["create", "-q", "-f", "qcow2", "-b", &base, "-F", "qcow2", &top]);
    fs::File::options()
        .write(true)
        .open(daemon.write("images/floppy.img", ""))
        .and_then(|file| file.set_len(1440 << 10))
        .expect("grown");
    // As large as the flash chips of Arm's board; never read, as no guest runs.
    let flash = daemon.write("images/flash.img", "");
    let flash = fs::File::options().write(true).open(flash);
    flash.and_then(|file| file.set_len(64 << 20)).expect("grown");
    let pstore = fs::File::options().write(true).open(daemon.write("images/pstore", ""));
    pstore.and_then(|file| file.set_len(64 << 10)).expect("grown");
    daemon.write("images/nvdimm", "");
    daemon.write("images/shared/file", "x");
    // QEMU's own user makes its socket here.
    let sockets = daemon.path("mon");
    fs::create_dir_all(&sockets).expect("a folder of the test");
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o1777)).expect("our own folder");
}

/// The document with a monitor for the test.
fn with_monitor(daemon: &Daemon, xml: &str) -> String {
    let socket = daemon.path("mon/tree.sock");
    let arguments = format!(
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
         <qemu:arg value='-chardev'/>\
         <qemu:arg value='socket,id={OWN},path={},server=on,wait=off'/>\
         <qemu:arg value='-mon'/><qemu:arg value='chardev={OWN},mode=control'/>\
         </qemu:commandline></domain>",
        socket.display()
    );
    xml.replace("ROOT", &daemon.root().to_string_lossy()).replace("</domain>", &arguments)
}

/// Starts the document paused; what QEMU says and the live XML.
fn start(daemon: &Daemon, name: &str, xml: &str) -> Result<(Seen, String), String> {
    let _ = fs::remove_file(daemon.path("mon/tree.sock"));
    let file = daemon.write("images/domain.xml", with_monitor(daemon, xml));
    let created = daemon.virsh(&format!("create --paused {}", file.display()));
    if created.status != 0 {
        return Err(format!("does not start: {}", created.stderr.trim()));
    }
    let live = daemon.virsh_words(&["dumpxml", "--security-info", name]).ok();
    let seen = Seen::read(&mut Monitor::connect(&daemon.path("mon/tree.sock")));
    daemon.virsh_words(&["destroy", name]).ok();
    Ok((seen, live))
}

/// The same domain without devices that anybody asked for.
fn bare(xml: &str) -> String {
    let xml = xml.replace("<devices/>", "<devices></devices>");
    let (head, rest) = xml.split_once("<devices>").expect("a document has devices");
    let (_, tail) = rest.split_once("</devices>").expect("and they end");
    format!(
        "{head}<devices><controller type='usb' model='none'/><memballoon model='none'/></devices>{tail}"
    )
}

fn name_of(xml: &str) -> &str {
    let (_, rest) = xml.split_once("<name>").expect("a name");
    rest.split_once("</name>").expect("and its end").0
}

/// All documents of one folder.
fn check(folder: &str) {
    let (arch, _) = folder.split_once('-').expect("ARCH-MACHINE");
    if !Path::new(&format!("/usr/bin/qemu-system-{arch}")).exists() {
        eprintln!("skipped: {folder} needs qemu-system-{arch}");
        return;
    }
    if !is_new_enough(arch) {
        eprintln!("skipped: {folder} needs QEMU 10 or newer");
        return;
    }
    let mut files: Vec<_> = fs::read_dir(paths::fixture(&format!("tree/{folder}")))
        .expect("a folder of documents")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no documents");
    let only = std::env::var("IRONVIRT_TREE").ok();
    let daemon = Daemon::start();
    images(&daemon);
    let mut bares: HashMap<String, Seen> = HashMap::new();
    let (mut wrong, mut tally, mut count) = (Vec::new(), Tally::default(), 0);
    for file in files {
        let title = file.file_stem().expect("a file").to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| !title.contains(only)) {
            continue;
        }
        let xml = fs::read_to_string(&file).expect("a document");
        if !has_what_it_needs(&xml) {
            eprintln!("skipped: {folder}/{title} needs a program that is not installed");
            continue;
        }
        let name = name_of(&xml);
        let (seen, live) = match start(&daemon, name, &xml) {
            Ok(found) => found,
            Err(why) => {
                wrong.push(format!("{folder}/{title} {why}"));
                continue;
            }
        };
        let bare = bare(&xml);
        // Documents that differ in devices and names only have one bare machine in common.
        let bare = bare.replace(&format!("<name>{name}</name>"), "<name>bare</name>");
        if !bares.contains_key(&bare) {
            let (seen, _) = start(&daemon, "bare", &bare).expect("a bare machine starts");
            bares.insert(bare.clone(), seen);
        }
        let (faults, compared) = tree::compare(&live, seen, &bares[&bare], &[OWN]);
        wrong.extend(faults.into_iter().map(|fault| format!("{folder}/{title}: {fault}")));
        tally += compared;
        count += 1;
    }
    eprintln!(
        "{folder}: {count} documents; {} elements, {} objects of QEMU, {} properties compared",
        tally.named, tally.devices, tally.props
    );
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether the emulator has the boards and devices of the documents.
fn is_new_enough(arch: &str) -> bool {
    let said = tests::tool(format!("qemu-system-{arch}"), &["--version"], "").ok();
    let version = said.split("version ").nth(1).and_then(|rest| rest.split('.').next());
    version.and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 10)
}

/// Whether programs of the host that a document's devices need are there.
fn has_what_it_needs(xml: &str) -> bool {
    let tpm = xml.contains("<tpm");
    !tpm || (Path::new("/usr/bin/swtpm_setup").exists() && paths::is_root())
}

macro_rules! machines {
    ($($test:ident $folder:literal)*) => { $(
        #[test]
        fn $test() {
            check($folder);
        }
    )* };
}

machines! {
    pc "x86_64-pc"
    q35 "x86_64-q35"
    microvm "x86_64-microvm"
    isapc "x86_64-isapc"
    aarch64 "aarch64-virt"
    s390x "s390x-s390-ccw-virtio"
    ppc64 "ppc64-pseries"
    riscv64 "riscv64-virt"
    loongarch64 "loongarch64-virt"
}
