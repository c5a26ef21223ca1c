//! Jobs of running guests' images: pull, commit, copy; what they leave of chains, files and data.
//!
//! The guests are paused: QEMU's jobs go on all the same. What a guest would see is compared with
//! what it saw before. `JOB_KILLS=N` changes the number of kills, `KILL_SEED=N` the moments.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::Signal;
use tests::chains::{Images, assert_true, chain, create, files, guest, jobs, nodes};
use tests::killing::Kills;
use tests::plugging::{begin, is_mine, lends, live, qmp};
use tests::saving::SmallDisk;
use tests::{Daemon, domains, processes, tool, wait};

/// How a job is kept from its end: QEMU does a first part, then next to nothing.
const SLOW: &str = "--bandwidth 1 --bytes";

#[test]
fn chains_and_data_after_each_kind_of_job() {
    let daemon = Daemon::start();
    for (line, left, top) in [
        ("blockpull g vda --wait", vec!["c"], "c.qcow2"),
        ("blockpull g vda --base vda[3] --wait", vec!["c", "a"], "c.qcow2"),
        ("blockpull g vda --base {a} --wait --bandwidth 100", vec!["c", "a"], "c.qcow2"),
        ("blockcommit g vda --top vda[2] --base vda[3] --wait", vec!["c", "a"], "c.qcow2"),
        ("blockcommit g vda --top {b} --shallow --wait --verbose", vec!["c", "a"], "c.qcow2"),
        ("blockcommit g vda --active --pivot", vec!["a"], "a.qcow2"),
        ("blockcommit g vda --active --shallow --pivot", vec!["b", "a"], "b.qcow2"),
        ("blockcommit g vda --active --keep-overlay", vec!["c", "b", "a"], "c.qcow2"),
        ("blockcopy g vda {x} --wait --pivot", vec!["x"], "x.qcow2"),
        ("blockcopy g vda {x} --shallow --wait --pivot", vec!["x", "b", "a"], "x.qcow2"),
        ("blockcopy g vda {x} --format raw --wait --pivot", vec!["x"], "x.qcow2"),
        ("blockcopy g vda {x} --wait --finish", vec!["c", "b", "a"], "x.qcow2"),
        (
            "blockcopy g vda {x} --wait --finish --synchronous-writes --granularity 65536 \
             --buf-size 1048576",
            vec!["c", "b", "a"],
            "x.qcow2",
        ),
    ] {
        let images = Images::make(&daemon, false);
        create(&daemon, "g", &images.top);
        let mut line = line.to_owned();
        for name in ["a", "b", "x"] {
            line = line.replace(&format!("{{{name}}}"), &images.path(&format!("{name}.qcow2")));
        }
        daemon.virsh(&line).ok();
        // A pull and a commit are over when their job is; the chain may be a moment behind.
        let left: Vec<_> = left.iter().map(|name| format!("{name}.qcow2")).collect();
        wait::until(&format!("the chain {left:?} of {line}"), || {
            (files(&daemon, "g") == left).then_some(())
        });
        assert_true(&daemon, "g", &images, &line);
        assert_eq!(jobs(&daemon, "g"), Vec::<String>::new(), "{line}");
        assert_eq!(daemon.virsh("blockjob g vda").ok().trim(), "No current block job for vda");
        daemon.virsh("destroy g").ok();
        let format = if line.contains("raw") { "raw" } else { "qcow2" };
        images.assert_shows(&images.path(top), format, &line);
        assert_eq!(images.lent(), BTreeSet::new(), "{line}, and its guest's end");
    }
}

#[test]
fn names_stay_relative_and_files_go_where_that_is_asked_for() {
    let daemon = Daemon::start();
    let backing = |path: &str| {
        let said = tool("qemu-img", &["info", "-U", "--output=json", path], "").ok();
        let info: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        info["backing-filename"].as_str().map(str::to_owned)
    };
    let images = Images::make(&daemon, true);
    create(&daemon, "g", &images.top);
    daemon.virsh("blockpull g vda --base vda[3] --keep-relative --wait").ok();
    wait::until("the chain", || (files(&daemon, "g").len() == 2).then_some(()));
    assert_eq!(backing(&images.path("c.qcow2")).as_deref(), Some("a.qcow2"));
    daemon.virsh("destroy g").ok();

    let images = Images::make(&daemon, true);
    create(&daemon, "g", &images.top);
    daemon.virsh("blockcommit g vda --top b.qcow2 --base a.qcow2 --keep-relative --wait").ok();
    wait::until("the chain", || (files(&daemon, "g").len() == 2).then_some(()));
    assert_eq!(backing(&images.path("c.qcow2")).as_deref(), Some("a.qcow2"));
    daemon.virsh("destroy g").ok();

    let images = Images::make(&daemon, false);
    create(&daemon, "g", &images.top);
    let relative = "blockcommit g vda --top vda[2] --base vda[3] --keep-relative";
    daemon.virsh(relative).fails_with(&["can't keep relative backing relationship"]);
    daemon.virsh("blockcommit g vda --active --pivot --delete").ok();
    wait::until("the files to go", || {
        let gone = |name: &str| !Path::new(&images.path(name)).exists();
        (gone("b.qcow2") && gone("c.qcow2")).then_some(())
    });
    daemon.virsh("destroy g").ok();
    images.assert_shows(&images.path("a.qcow2"), "qcow2", "what was deleted");
}

#[test]
fn what_a_job_shows_and_what_it_forbids() {
    let daemon = Daemon::start();
    let images = Images::make(&daemon, false);
    daemon.define(&guest("g", &images.top)).ok();
    daemon.virsh("start g --paused").ok();
    let x = images.path("x.qcow2");
    let fails = |line: &str, parts: &[&str]| {
        daemon.virsh(line).fails_with(parts);
    };
    let beneath = format!("beneath '{}' in chain for 'vda'", images.path("c.qcow2"));
    fails(&format!("blockcopy g vda {x}"), &["domain is not transient"]);
    fails("blockpull g vdz", &["disk 'vdz' not found in domain"]);
    fails("blockpull g vda --base vda[9]", &["could not find backing store index '9' in chain"]);
    fails("blockpull g vda --base /nowhere", &["could not find image '/nowhere'", &beneath]);
    fails("blockcommit g vda", &["commit of 'vda' active layer requires active flag"]);
    fails("blockcommit g vda --top vda[3]", &["could not find base image in chain for 'vda'"]);
    fails("blockjob g vda --abort", &["disk vda does not have an active block job"]);
    fails("blockjob g vda 99999999999999", &["bandwidth must be less than 8796093022207"]);
    let copy = |more: &str| format!("blockcopy g vda {more} --transient-job");
    fails(&copy("x.qcow2"), &["absolute path must be used as block copy target"]);
    fails(&copy("/nowhere/x.qcow2"), &["failed to create copy target: No such file"]);
    fails(&copy(&format!("{x} --reuse-external")), &["missing destination file for disk vda"]);
    fails(&copy(&format!("{x} --granularity 1000")), &["granularity must be power of 2"]);
    fails(&copy(&format!("{x} --granularity 256")), &["Parameter 'granularity' expects a value"]);
    fails(&copy(&format!("{x} --format qcow3")), &["unknown driver format value 'qcow3'"]);
    fails(&copy(&images.path("b.qcow2")), &["already exists and is not a block device"]);
    assert!(!Path::new(&x).exists(), "nothing is left of copies that did not begin");
    assert_true(&daemon, "g", &images, "after what is refused");

    let working = "disk 'vda' already in active block job";
    daemon.virsh(&format!("blockcopy g vda {x} --transient-job {SLOW}")).ok();
    let xml = live(&daemon, "g");
    let mirror = format!("<mirror type='file' file='{x}' format='qcow2' job='copy'>");
    assert!(xml.contains(&mirror), "{xml}");
    assert!(daemon.virsh("blockjob g vda").stdout.contains("Bandwidth limit: 1 bytes/s"));
    fails("blockpull g vda", &["block copy still active", working]);
    fails("blockjob g vda --pivot", &["not ready for pivot yet"]);
    fails("save g /var/tmp/never", &["domain has active block job"]);
    fails("managedsave g", &["domain has active block job"]);
    fails("detach-disk g vda --live", &["block copy still active", working]);
    fails("blockresize g vda 20M", &["block device is in use by block job: mirror"]);
    let copies = daemon.virsh("domstats g --block --backing").ok();
    assert!(copies.contains("block.count=4") && copies.contains(&x), "{copies}");
    daemon.virsh("blockjob g vda --abort").ok();
    assert_true(&daemon, "g", &images, "after a copy that was ended");
    assert!(Path::new(&x).exists(), "the file of a copy that began stays");

    daemon.virsh(&format!("blockcommit g vda --active {SLOW}")).ok();
    assert!(live(&daemon, "g").contains("<mirror type='file' job='active-commit'>"));
    fails("blockcommit g vda --active", &["block copy still active", working]);
    daemon.virsh("blockjob g vda 0").ok();
    wait::until("the commit to be ready", || {
        live(&daemon, "g").contains("job='active-commit' ready='yes'>").then_some(())
    });
    daemon.virsh("blockjob g vda --pivot").ok();
    assert_eq!(files(&daemon, "g"), ["a.qcow2"]);
    // The next start is with the same image.
    let stored = daemon.virsh("dumpxml g --inactive").ok();
    assert!(stored.contains(&format!("<source file='{}'/>", images.path("a.qcow2"))), "{stored}");
    assert_true(&daemon, "g", &images, "after a pivot");
    daemon.virsh("destroy g").ok();
    images.assert_shows(&images.path("a.qcow2"), "qcow2", "the commit");
}

/// Where a copy goes, as the document that `blockcopy` takes.
#[track_caller]
fn copy_to(daemon: &Daemon, disk: &str, more: &str) -> tests::client::Outcome {
    let xml = daemon.write("to.xml", disk);
    daemon.virsh(&format!("blockcopy g vda --xml {} --transient-job {more}", xml.display()))
}

/// A stored guest, paused; the one before it is forgotten.
#[track_caller]
fn start(daemon: &Daemon, xml: &str) {
    daemon.virsh("undefine g");
    daemon.define(xml).ok();
    daemon.virsh("start g --paused").ok();
}

/// The names of the nodes from the drive of the guest's disk down to the file of its image.
fn drive(daemon: &Daemon) -> Vec<String> {
    let answer = qmp(daemon, "g", r#"{"execute":"query-blockstats"}"#);
    let node = |node: &serde_json::Value| node["node-name"].as_str().unwrap_or("-").to_owned();
    let mut names = Vec::new();
    let mut next = Some(&answer["return"][0]);
    while let Some(entry) = next {
        names.push(node(entry));
        next = entry.get("parent");
    }
    names
}

#[test]
fn limits_stay_above_the_image_that_the_guest_goes_on_with() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    for (line, number, left) in [
        ("blockcopy g vda {x} --transient-job --wait --pivot", 6, vec!["x"]),
        ("blockcopy g vda {x} --transient-job --shallow --wait --pivot", 6, vec!["x", "b", "a"]),
        ("blockcommit g vda --active --pivot", 5, vec!["a"]),
    ] {
        let images = Images::make(&daemon, false);
        let group = |name: &str, limit: &str| {
            format!("<throttlegroup><group_name>{name}</group_name>{limit}</throttlegroup>")
        };
        let groups = group("slow", "<total_iops_sec>500</total_iops_sec>")
            + &group("small", "<total_bytes_sec>5000000</total_bytes_sec>");
        let filters = "<throttlefilters><throttlefilter group='slow'/>\
                       <throttlefilter group='small'/></throttlefilters>";
        let xml = guest("g", &images.top)
            .replace("<os>", &format!("<throttlegroups>{groups}</throttlegroups><os>"))
            .replace("dev='vda' bus='virtio'/>", &format!("dev='vda' bus='scsi'/>{filters}"))
            .replace("<controller", "<controller type='scsi' model='virtio-scsi'/><controller");
        start(&daemon, &xml);
        let above = ["libvirt-3-filter".to_owned(), "libvirt-2-filter".to_owned()];
        assert_eq!(drive(&daemon)[..3], [&above[..], &["libvirt-1-format".to_owned()]].concat());
        daemon.virsh(&line.replace("{x}", &images.path("x.qcow2"))).ok();
        let left: Vec<_> = left.iter().map(|name| format!("{name}.qcow2")).collect();
        for again in ["at once", "with another daemon"] {
            let what = format!("{line}, {again}");
            assert_eq!(files(&daemon, "g"), left, "{what}");
            let now = [&above[..], &[format!("libvirt-{number}-format")]].concat();
            assert_eq!(drive(&daemon)[..3], now, "{what}");
            let xml = live(&daemon, "g");
            assert!(xml.contains("<throttlefilter group='small'/>"), "{what}: {xml}");
            daemon.virsh("domthrottlegroupset g slow --total-iops-sec 700").ok();
            daemon.kill();
            daemon.launch();
        }
        assert_noted(&daemon, &above);
        // With the disk all of its nodes go, those of the filters too.
        daemon.virsh("detach-disk g vda --live").ok();
        wait::until(&format!("the images to be closed after {line}"), || {
            nodes(&daemon, "g").is_empty().then_some(())
        });
        wait::until("the images to be given back", || images.lent().is_empty().then_some(()));
        daemon.virsh("destroy g").ok();
        images.assert_shows(&images.path(&left[0]), "qcow2", line);
    }
}

/// Panics unless the filters are in the status file, where libvirtd looks for them.
#[track_caller]
fn assert_noted(daemon: &Daemon, filters: &[String]) {
    if daemon.session() {
        return;
    }
    let status = fs::read_to_string(daemon.path("run/libvirt/qemu/g.xml")).expect("a status file");
    for filter in filters {
        let noted = format!("<nodename type='throttle-filter' name='{filter}' group='");
        assert!(status.contains(&noted), "{noted} in {status}");
    }
}

#[test]
fn files_are_lent_and_given_back_once() {
    let daemon = Daemon::start();
    if daemon.is_external() || !lends(&daemon) {
        return;
    }
    let images = Images::make(&daemon, false);
    let x = images.path("x.qcow2");
    let xml = guest("g", &images.top)
        .replace("<controller", "<controller type='scsi' model='virtio-scsi'/><controller");
    start(&daemon, &xml);
    // While it is copied to, no disk can have it.
    daemon.virsh(&format!("blockcopy g vda {x} --transient-job {SLOW}")).ok();
    let taken = daemon.virsh(&format!("attach-disk g {x} sda --subdriver qcow2 --live"));
    taken.fails_with(&["Failed to get", "lock"]);
    assert!(!is_mine(Path::new(&x)), "the copy goes on");
    daemon.virsh("blockjob g vda --abort").ok();
    wait::until("the copy to be given back", || is_mine(Path::new(&x)).then_some(()));
    // Two disks with one file.
    let shared = daemon.path("images/shared.raw");
    fs::write(&shared, vec![0; 1 << 20]).expect("written");
    for target in ["sda", "sdb"] {
        let mode = "--mode shareable --subdriver raw --cache none --live";
        daemon.virsh(&format!("attach-disk g {} {target} {mode}", shared.display())).ok();
    }
    daemon.virsh("detach-disk g sda --live").ok();
    wait::until("the first to be gone", || (!live(&daemon, "g").contains("'sda'")).then_some(()));
    assert!(!is_mine(&shared), "the other disk has it");
    daemon.virsh("detach-disk g sdb --live").ok();
    wait::until("the file to be given back", || is_mine(&shared).then_some(()));
    daemon.virsh("destroy g").ok();
    assert_eq!(images.lent(), BTreeSet::new());
}

/// Labels of single images say whose they are while the guest runs: at a start and as a copy.
#[test]
fn images_belong_to_whom_their_labels_name() {
    let daemon = Daemon::start();
    if !rustix::process::getuid().is_root() {
        return;
    }
    let image = |name: &str| {
        let path = daemon.write(&format!("images/{name}"), vec![0; 1 << 20]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
        path
    };
    let (own, copied) = (image("own.img"), image("copied.img"));
    let owner = |path: &Path| {
        let there = fs::metadata(path).expect("it is there");
        (there.uid(), there.gid())
    };
    let disk = |path: &Path, label: &str, target: &str| {
        format!(
            "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'>{label}</source>\
             {target}</disk>",
            path.display()
        )
    };
    let kept = "<seclabel model='dac' relabel='no'/>";
    for (label, expected) in [
        (kept, (0, 0)),
        ("<seclabel model='dac' relabel='yes'><label>+0:+5</label></seclabel>", (0, 5)),
    ] {
        let target = "<target dev='vda' bus='virtio'/>";
        let devices = format!("<devices>{}</devices>", disk(&own, label, target));
        start(&daemon, &domains::minimal("g").replace("<devices/>", &devices));
        assert_eq!(owner(&own), expected, "{label}");
        copy_to(&daemon, &disk(&copied, label, ""), "--reuse-external --wait").ok();
        assert_eq!(owner(&copied), expected, "{label}, of a copy");
        daemon.virsh("blockjob g vda --pivot").ok();
        assert_eq!(owner(&copied), expected, "{label}, of a copy in use");
        daemon.virsh("destroy g").ok();
        assert_eq!([owner(&own), owner(&copied)], [(0, 0); 2], "{label}, given back");
    }
    for (label, words) in [
        ("<seclabel model='selinux' relabel='no'/>", "Security driver model 'selinux' is not"),
        ("<seclabel relabel='no'/>", "Security driver model '(null)' is not available"),
        ("<seclabel model='dac'><label>no-such:x</label></seclabel>", "parse user 'no-such'"),
    ] {
        let target = "<target dev='vda' bus='virtio'/>";
        let devices = format!("<devices>{}</devices>", disk(&own, label, target));
        daemon.virsh("undefine g");
        daemon.define(&domains::minimal("g").replace("<devices/>", &devices)).ok();
        daemon.virsh("start g").fails_with(&[words]);
    }
}

#[test]
fn a_copy_can_go_to_a_volume() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let images = Images::make(&daemon, false);
    let pool = daemon.path("pool");
    fs::create_dir_all(&pool).expect("a folder");
    daemon.virsh(&format!("pool-define-as p dir --target {}", pool.display())).ok();
    daemon.virsh("pool-start p").ok();
    daemon.virsh("vol-create-as p v.qcow2 16M --format qcow2").ok();
    start(&daemon, &guest("g", &images.top));
    let volume = |pool: &str, name: &str| {
        format!("<disk type='volume'><source pool='{pool}' volume='{name}'/></disk>")
    };
    let (there, reuse) = (volume("p", "v.qcow2"), "--reuse-external --wait");
    for (disk, more, parts) in [
        (volume("q", "v.qcow2"), reuse, ["no storage pool with matching name 'q'"]),
        (volume("p", "w"), reuse, ["no storage vol with matching name 'w'"]),
        (there.clone(), "", ["already exists and is not a block device"]),
    ] {
        copy_to(&daemon, &disk, more).fails_with(&parts);
    }
    assert_true(&daemon, "g", &images, "after what is refused");
    let file = pool.join("v.qcow2");
    let source = "<source pool='p' volume='v.qcow2'";
    copy_to(&daemon, &there, reuse).ok();
    let xml = live(&daemon, "g");
    let mirror = xml.split("<mirror ").nth(1).expect("a mirror").to_owned();
    assert!(mirror.starts_with("type='volume' job='copy' ready='yes'>"), "{mirror}");
    assert!(mirror.contains(&format!("{source} index='4'/>")), "{mirror}");
    daemon.virsh("blockjob g vda --abort").ok();
    assert!(is_mine(&file), "the volume is given back");
    copy_to(&daemon, &there, &format!("{reuse} --pivot")).ok();
    let stored = daemon.virsh("dumpxml g --inactive").ok();
    for (xml, source) in [(live(&daemon, "g"), source), (stored, &format!("{source}/>"))] {
        assert!(xml.contains("<disk type='volume'") && xml.contains(source), "{xml}");
    }
    assert_eq!(lends(&daemon), !is_mine(&file), "the guest has the volume");
    daemon.virsh("destroy g").ok();
    assert!(is_mine(&file), "the volume is given back");
    images.assert_shows(&file.display().to_string(), "qcow2", "the volume");
    // And from a volume elsewhere.
    daemon.virsh("start g --paused").ok();
    let x = images.path("x.qcow2");
    daemon.virsh(&format!("blockcopy g vda {x} --transient-job --wait --pivot")).ok();
    let stored = daemon.virsh("dumpxml g --inactive").ok();
    assert!(stored.contains(&format!("<source file='{x}'/>")), "{stored}");
    assert!(is_mine(&file), "the guest has left the volume");
    daemon.virsh("destroy g").ok();
    images.assert_shows(&x, "qcow2", "the copy of the volume");
}

#[test]
fn a_copy_is_what_its_document_says_in_the_next_start_too() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let uuid = "1b0cdd6e-0f0d-4b8c-9b1e-5d5ea1c05d10";
    let secret = daemon.write(
        "secret.xml",
        format!(
            "<secret ephemeral='no' private='yes'><uuid>{uuid}</uuid>\
             <usage type='volume'><volume>/x</volume></usage></secret>"
        ),
    );
    daemon.virsh(&format!("secret-define {}", secret.display())).ok();
    daemon.virsh(&format!("secret-set-value {uuid} c2VzYW1l")).ok();
    let cipher =
        format!("<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption>");
    let file = |format: &str, name: &str, inner: &str, more: &str| {
        format!(
            "<disk type='file'><driver type='{format}'/>\
             <source file='{{folder}}/{name}'>{inner}</source>{more}</disk>"
        )
    };
    let given = "<backingStore type='file'><format type='qcow2'/>\
                 <source file='{folder}/b.qcow2'/></backingStore>";
    let cache = "<metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>";
    let told = |text: &str| text.to_owned();
    let ciphered = cipher.replace("'luks'", "'luks' engine='qemu'");
    for (what, disk, more, parts) in [
        ("plain", file("qcow2", "x", "", ""), "", vec![told("<backingStore/>")]),
        ("shallow", file("qcow2", "x", "", ""), "--shallow", vec![]),
        ("encrypted beside", file("qcow2", "x", "", &cipher), "", vec![ciphered.clone()]),
        ("encrypted raw", file("raw", "x", &cipher, ""), "", vec![ciphered]),
        (
            "with a cache",
            file("qcow2", "x", "", "").replace("'qcow2'/>", &format!("'qcow2'>{cache}</driver>")),
            "",
            vec![told("<max_size unit='bytes'>1048576</max_size>")],
        ),
        (
            "on what the client says",
            file("qcow2", "empty", "", given),
            "--shallow --reuse-external",
            vec![told("/b.qcow2'/>")],
        ),
    ] {
        let images = Images::make(&daemon, false);
        let empty = images.path("empty");
        tool("qemu-img", &["create", "-q", "-f", "qcow2", &empty, "16M"], "").ok();
        start(&daemon, &guest("g", &images.top));
        let disk = disk.replace("{folder}", &images.folder.display().to_string());
        copy_to(&daemon, &disk, &format!("{more} --wait --pivot")).ok();
        let flat = |xml: String| xml.lines().map(str::trim_start).collect::<String>();
        let stored = flat(daemon.virsh("dumpxml g --inactive").ok());
        let now = flat(live(&daemon, "g"));
        for part in &parts {
            assert!(stored.contains(part), "{what}: {part} in {stored}");
            assert!(now.contains(part), "{what}: {part} in {now}");
        }
        let says_all = more != "--shallow";
        assert_eq!(stored.contains("<backingStore"), says_all, "{what}: {stored}");
        let chain = files(&daemon, "g");
        daemon.virsh("destroy g").ok();
        assert_eq!(images.lent(), BTreeSet::new(), "{what}");
        let info = tool("qemu-img", &["info", &images.path(&chain[0])], "").ok();
        assert_eq!(info.contains("encrypted: yes"), what.starts_with("encrypted"), "{info}");
        daemon.virsh("start g --paused").ok();
        assert_eq!(files(&daemon, "g"), chain, "{what}");
        // What the guest sees, through all that is below.
        let (all, raw) = (images.path("all"), "--format raw --transient-job --wait --finish");
        daemon.virsh(&format!("blockcopy g vda {all} {raw}")).ok();
        daemon.virsh("destroy g").ok();
        images.assert_shows(&all, "raw", what);
    }
}

/// Bitmaps of images by file and name, with the number of their bits.
fn bitmaps(daemon: &Daemon) -> Vec<String> {
    let answer =
        qmp(daemon, "g", r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#);
    let mut found = Vec::new();
    for node in answer["return"].as_array().expect("a list") {
        let file = node["file"].as_str().unwrap_or_default().rsplit('/').next();
        let bitmaps = node["dirty-bitmaps"].as_array().into_iter().flatten();
        for bitmap in bitmaps.filter(|_| node["drv"] == "qcow2") {
            let bits = bitmap["count"].as_u64().unwrap_or(0) >> 16;
            let name = bitmap["name"].as_str().unwrap_or_default();
            found.push(format!("{}:{name}:{bits}", file.unwrap_or_default()));
        }
    }
    found.sort();
    found
}

#[test]
fn bitmaps_follow_what_was_written() {
    let daemon = Daemon::start();
    for (line, left) in [
        ("blockpull g vda --wait", vec!["c.qcow2:of-c:16", "c.qcow2:x:48"]),
        (
            "blockpull g vda --base vda[3] --wait",
            vec!["a.qcow2:of-a:16", "a.qcow2:x:16", "c.qcow2:of-c:16", "c.qcow2:x:32"],
        ),
        (
            // What a commit writes is noted in the base's own, too: 4 MiB of the middle, and 1.
            "blockcommit g vda --top vda[2] --base vda[3] --wait",
            vec![
                "a.qcow2:of-a:96",
                "a.qcow2:of-b:16",
                "a.qcow2:x:96",
                "c.qcow2:of-c:16",
                "c.qcow2:x:16",
            ],
        ),
        (
            "blockcommit g vda --active --shallow --pivot",
            vec![
                "a.qcow2:of-a:16",
                "a.qcow2:x:16",
                "b.qcow2:of-b:96",
                "b.qcow2:of-c:16",
                "b.qcow2:x:96",
            ],
        ),
        ("blockcopy g vda {x} --wait --pivot", vec!["x.qcow2:of-c:16", "x.qcow2:x:48"]),
    ] {
        let images = Images::make(&daemon, false);
        for (name, at) in [("a", 12), ("b", 13), ("c", 14)] {
            let path = images.path(&format!("{name}.qcow2"));
            for bitmap in ["x", &format!("of-{name}")] {
                tool("qemu-img", &["bitmap", "--add", &path, bitmap], "").ok();
            }
            let write = format!("write -q {at}M 1M");
            tool("qemu-io", &["-f", "qcow2", "-c", &write, &path], "").ok();
        }
        create(&daemon, "g", &images.top);
        daemon.virsh(&line.replace("{x}", &images.path("x.qcow2"))).ok();
        wait::until(&format!("the bitmaps {left:?} of {line}"), || {
            let found = bitmaps(&daemon);
            let same = found == left;
            if !same {
                eprintln!("{line}: {found:?}");
            }
            same.then_some(())
        });
        // They are still there in the next life.
        daemon.virsh("destroy g").ok();
        let (top, _) = left[left.len() - 1].split_once(':').expect("a file");
        let info = tool("qemu-img", &["info", &images.path(top)], "").ok();
        assert!(info.contains("name: x") && !info.contains("in-use"), "{line}: {info}");
    }
}

/// A file as a device of the host; goes when dropped.
struct Loop(String);

impl Loop {
    /// None where there can be none.
    fn of(file: &Path) -> Option<Loop> {
        let made = tool("losetup", &["-f", "--show", &file.display().to_string()], "");
        (made.status == 0).then(|| Loop(made.stdout.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tool("losetup", &["-d", &self.0], "");
    }
}

#[test]
fn a_copy_can_go_to_a_device_or_a_server() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let images = Images::make(&daemon, false);
    let file = images.path("device");
    fs::write(&file, []).expect("written");
    fs::File::options().write(true).open(&file).expect("there").set_len(16 << 20).expect("grown");
    start(&daemon, &guest("g", &images.top));
    daemon
        .virsh(&format!("blockcopy g vda {file} --blockdev --transient-job"))
        .fails_with(&["already exists and is not a block device"]);
    if let Some(device) = Loop::of(Path::new(&file)) {
        let path = &device.0;
        // With a manager of reservations beside it.
        let reserved = format!(
            "<disk type='block'><driver type='raw'/><source dev='{path}'>\
             <reservations managed='yes'/></source></disk>"
        );
        copy_to(&daemon, &reserved, "--wait --finish").ok();
        assert!(is_mine(Path::new(path)), "the device is given back");
        daemon
            .virsh(&format!("blockcopy g vda {path} --blockdev --transient-job --wait --pivot"))
            .ok();
        let disk = format!("<source dev='{path}'/>");
        let stored = daemon.virsh("dumpxml g --inactive").ok();
        assert!(stored.contains("<disk type='block'") && stored.contains(&disk), "{stored}");
        daemon.virsh("destroy g").ok();
        assert!(is_mine(Path::new(path)), "the device is given back");
        assert_eq!(images.lent(), BTreeSet::new());
        images.assert_shows(path, "qcow2", "the device");
        start(&daemon, &guest("g", &images.top));
    } else {
        eprintln!("no device to copy to: no loop devices here");
    }
    let raw = images.path("device");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let port = port.expect("a port").port().to_string();
    let mut server = std::process::Command::new("qemu-nbd")
        .args(["-f", "raw", "-x", "there", "-t", "-e", "4", "-b", "127.0.0.1", "-p", &port, &raw])
        .spawn()
        .expect("qemu-nbd runs");
    wait::until("the server", || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).ok());
    let remote = |format: &str| {
        format!(
            "<disk type='network'>{format}<source protocol='nbd' name='there'>\
             <host name='127.0.0.1' port='{port}'/></source></disk>"
        )
    };
    copy_to(&daemon, &remote(""), "--reuse-external")
        .fails_with(&["reused mirror destination format must be specified"]);
    let remote = remote("<driver type='raw'/>");
    copy_to(&daemon, &remote.replace("'nbd'", "'ssh'"), "").fails_with(&["driver 'ssh' not found"]);
    copy_to(&daemon, &remote, "--wait --finish").ok();
    assert_true(&daemon, "g", &images, "after a copy to a server");
    copy_to(&daemon, &remote, "--wait --pivot").ok();
    let stored = daemon.virsh("dumpxml g --inactive").ok();
    assert!(stored.contains("<source protocol='nbd' name='there'"), "{stored}");
    daemon.virsh("destroy g").ok();
    let _ = server.kill();
    let _ = server.wait();
    images.assert_shows(&raw, "raw", "what the server has");
}

#[test]
fn both_events_tell_of_a_job() {
    let daemon = Daemon::start();
    let images = Images::make(&daemon, false);
    create(&daemon, "g", &images.top);
    let said = daemon.path("events");
    let log = fs::File::create(&said).expect("a file");
    let mut listener = std::process::Command::new("virsh")
        .args(["-c", &daemon.uri(), "event", "g", "--all", "--loop"])
        .stdin(std::process::Stdio::null())
        .stdout(log)
        .spawn()
        .expect("virsh runs");
    let heard = |text: &str| {
        let what = format!("the event {text:?}");
        wait::until(&what, || {
            fs::read_to_string(&said).unwrap_or_default().contains(text).then_some(())
        });
    };
    // Until it listens, nothing is heard.
    wait::until("the listener", || {
        daemon.virsh("desc g anew --live").ok();
        fs::read_to_string(&said).unwrap_or_default().contains("metadata").then_some(())
    });
    let (c, x) = (images.path("c.qcow2"), images.path("x.qcow2"));
    daemon.virsh(&format!("blockcopy g vda {x} --wait")).ok();
    heard(&format!("Block Copy for {c} ready"));
    heard("Block Copy for vda ready");
    daemon.virsh("blockjob g vda --abort").ok();
    heard(&format!("Block Copy for {c} canceled"));
    heard("Block Copy for vda canceled");
    daemon.virsh("blockcommit g vda --top vda[2] --shallow --wait").ok();
    heard(&format!("Block Commit for {c} completed"));
    daemon.virsh("blockpull g vda --wait").ok();
    heard("Block Pull for vda completed");
    // The image is full before the copy is.
    if let Some(_disk) = SmallDisk::mount(daemon.path("small"), "1M") {
        let full = daemon.path("small/x.raw").display().to_string();
        daemon.virsh(&format!("blockcopy g vda {full} --format raw")).ok();
        heard(&format!("Block Copy for {c} failed"));
        heard("Block Copy for vda failed");
        assert_true(&daemon, "g", &images, "after a copy without room");
        assert!(is_mine(Path::new(&full)), "the copy is given back");
    }
    let _ = listener.kill();
    let _ = listener.wait();
    daemon.virsh("destroy g").ok();
    images.assert_shows(&c, "qcow2", "all of it");
}

#[test]
fn jobs_go_on_without_their_daemon() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    for (line, finish, left) in [
        ("blockpull g vda", None, vec!["c"]),
        ("blockcommit g vda --top vda[2] --shallow", None, vec!["c", "a"]),
        ("blockcommit g vda --active", Some("--pivot"), vec!["a"]),
        ("blockcopy g vda {x}", Some("--pivot"), vec!["x"]),
        ("blockcopy g vda {x} --shallow", Some("--abort"), vec!["c", "b", "a"]),
    ] {
        // Over, or not, when there is a daemon again.
        for over in [false, true] {
            let images = Images::make(&daemon, false);
            create(&daemon, "g", &images.top);
            let line = line.replace("{x}", &images.path("x.qcow2"));
            let what = format!("{line}, over: {over}");
            daemon.virsh(&format!("{line} {SLOW}")).ok();
            let job = jobs(&daemon, "g").pop().unwrap_or_else(|| panic!("a job of {what}"));
            let speed = format!(
                r#"{{"execute":"block-job-set-speed","arguments":{{"device":"{job}","speed":0}}}}"#
            );
            if over {
                // Told by hand, so that the daemon cannot know the end of it.
                let command = ["qemu-monitor-command", "g", &speed];
                daemon.virsh_words(&command).ok();
            }
            daemon.kill();
            daemon.launch();
            if !over {
                daemon.virsh("blockjob g vda 0").ok();
            }
            if let Some(finish) = finish {
                wait::until(&format!("{what} to be ready"), || {
                    live(&daemon, "g").contains("ready='yes'").then_some(())
                });
                daemon.virsh(&format!("blockjob g vda {finish}")).ok();
            }
            let left: Vec<_> = left.iter().map(|name| format!("{name}.qcow2")).collect();
            wait::until(&format!("the chain {left:?} of {what}"), || {
                (files(&daemon, "g") == left).then_some(())
            });
            assert_true(&daemon, "g", &images, &what);
            daemon.virsh("destroy g").ok();
            images.assert_shows(&images.path(&left[0]), "qcow2", &what);
        }
    }
}

/// A daemon that died between writing an end down and telling QEMU of it.
#[test]
fn an_end_that_qemu_never_heard_of_is_told_again() {
    let mut daemon = Daemon::start();
    if daemon.is_external() || daemon.session() {
        return;
    }
    for (line, state, left) in [
        ("blockcommit g vda --active --wait", "pivoting", vec!["a"]),
        ("blockcopy g vda {x} --wait", "aborting", vec!["c", "b", "a"]),
    ] {
        let images = Images::make(&daemon, false);
        create(&daemon, "g", &images.top);
        daemon.virsh(&line.replace("{x}", &images.path("x.qcow2"))).ok();
        let status = daemon.path("run/libvirt/qemu/g.xml");
        let text = wait::until("the status file to say that it is ready", || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            text.contains("state='ready' newstate='ready'").then_some(text)
        });
        daemon.kill();
        let ready = "state='ready' newstate='ready'";
        fs::write(&status, text.replace(ready, &format!("state='{state}'"))).expect("written");
        daemon.launch();
        let left: Vec<_> = left.iter().map(|name| format!("{name}.qcow2")).collect();
        wait::until(&format!("the end of {line}"), || {
            (jobs(&daemon, "g").is_empty() && files(&daemon, "g") == left).then_some(())
        });
        assert_true(&daemon, "g", &images, line);
        daemon.virsh("destroy g").ok();
        images.assert_shows(&images.path(&left[0]), "qcow2", line);
    }
}

#[test]
fn a_qemu_that_dies_or_stops_in_a_job() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let images = Images::make(&daemon, false);
    let x = images.path("x.qcow2");
    create(&daemon, "g", &images.top);
    daemon.virsh(&format!("blockcopy g vda {x} {SLOW}")).ok();
    processes::signal(daemon.qemus()[0], Signal::KILL);
    wait::until("the guest to be gone", || {
        (!daemon.virsh("list --all --name").ok().contains('g')).then_some(())
    });
    assert_eq!(images.lent(), BTreeSet::new(), "after QEMU's death");

    let _ = fs::remove_file(&x);
    create(&daemon, "g", &images.top);
    daemon.virsh(&format!("blockcopy g vda {x} {SLOW}")).ok();
    let stuck = daemon.qemus()[0];
    processes::signal(stuck, Signal::STOP);
    let mut client = begin(&daemon, "blockjob g vda --abort");
    // Others are served meanwhile.
    daemon.virsh("list --all").ok();
    assert!(live(&daemon, "g").contains("<mirror"), "it is told without QEMU");
    processes::signal(stuck, Signal::CONT);
    client.wait().expect("virsh ends");
    wait::until("the job to be over", || jobs(&daemon, "g").is_empty().then_some(()));
    assert_true(&daemon, "g", &images, "after a QEMU that stood still");
}

#[test]
fn a_kill_within_a_job_leaves_the_truth() {
    let mut kills = Kills::from_env("JOB_KILLS", 8);
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let lines = [
        "blockpull g vda",
        "blockcommit g vda --active; blockjob g vda --pivot",
        "blockcopy g vda {x}; blockjob g vda --pivot",
        "blockcommit g vda --top vda[2] --base vda[3]",
        "blockcopy g vda {x} --shallow --wait --pivot",
        "blockpull g vda --base vda[3]; domblkinfo g vda; blockcommit g vda --active",
        "blockcopy g vda {x} --format raw; blockjob g vda --abort",
        "blockcommit g vda --active --wait --pivot",
    ];
    // How long a job takes, from before its beginning to its end.
    let images = Images::make(&daemon, false);
    create(&daemon, "g", &images.top);
    let copy = format!("blockcopy g vda {}; blockjob g vda --pivot", images.path("x.qcow2"));
    kills.measure(&daemon, &copy);
    daemon.virsh("destroy g").ok();
    for kill in 0..kills.count {
        let line = lines[(kill % lines.len() as u64) as usize];
        let line = line.replace("{x}", &daemon.path("images/x.qcow2").display().to_string());
        let images = Images::make(&daemon, false);
        create(&daemon, "g", &images.top);
        let (moment, seed) = (kills.strike(&mut daemon, &line).moment, kills.seed);
        let what = format!("after kill {kill} of seed {seed}, {moment} us into {line:?}");
        // What goes on is what is told; then it is ended.
        wait::until(&format!("the job to be known {what}"), || {
            let there = jobs(&daemon, "g");
            let told = !daemon.virsh("blockjob g vda").ok().contains("No current");
            (there.iter().any(|job| !job.starts_with("create-")) == told
                && there.iter().all(|job| !job.starts_with("create-")))
            .then_some(())
        });
        wait::until(&format!("the job to be over {what}"), || {
            daemon.virsh("blockjob g vda --abort");
            jobs(&daemon, "g").is_empty().then_some(())
        });
        assert_true(&daemon, "g", &images, &what);
        let top = chain(&daemon, "g").remove(0).0;
        let xml = live(&daemon, "g");
        let format = if xml.contains("<driver name='qemu' type='raw'/>") { "raw" } else { "qcow2" };
        daemon.virsh("destroy g").ok();
        images.assert_shows(&top, format, &what);
        assert_eq!(images.lent(), BTreeSet::new(), "{what}, and its guest's end");
    }
}
