//! Saving, restoring and dumping guests: formats, managed saves, broken images, full disks, faults.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tests::saving::{self, SlowPacker, SmallDisk};
use tests::{Daemon, domains, guests, paths, plugging, processes, wait};

const MANAGED: &str = "var/lib/libvirt/qemu/save";

/// A virsh call that goes on beside the test.
fn beside(daemon: &Daemon, line: &str) -> Child {
    run_beside("virsh".as_ref(), daemon, line)
}

fn run_beside(program: &std::path::Path, daemon: &Daemon, line: &str) -> Child {
    Command::new(program)
        .args(["-c", &daemon.uri()])
        .args(line.split_whitespace())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("virsh runs")
}

/// What a call beside the test said in the end, on both streams.
fn said(child: Child) -> String {
    let output = child.wait_with_output().expect("virsh ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits until a save or dump is under way.
fn wait_for_job(daemon: &Daemon, name: &str) {
    wait::until("a job", || {
        daemon.virsh_words(&["domjobinfo", name]).stdout.contains("Unbounded").then_some(())
    });
}

fn image_path(daemon: &Daemon, name: &str) -> String {
    fs::create_dir_all(daemon.path("saved")).expect("a folder");
    daemon.path("saved").join(name).display().to_string()
}

#[test]
fn every_format_there_and_back() {
    let daemon = Daemon::start();
    saving::ticking(&daemon, "g");
    let image = image_path(&daemon, "image");
    for options in [
        "",
        "--image-format raw",
        "--image-format gzip",
        "--image-format bzip2",
        "--image-format xz",
        "--image-format zstd",
        "--image-format sparse",
        "--image-format sparse --parallel-channels 3",
    ] {
        let program = options.split_whitespace().nth(1).unwrap_or("raw");
        if !["raw", "sparse"].contains(&program) && tests::tool("which", &[program], "").status != 0
        {
            continue;
        }
        daemon.virsh(&format!("save g {image} {options}")).ok();
        daemon.wait_for_state("g", "shut off (saved)");
        assert_eq!(saving::names_in(&daemon.path("saved")), ["image"], "{options}");
        daemon.virsh(&format!("restore {image}")).ok();
        daemon.wait_for_state("g", "running (restored)");
        saving::assert_continued(&daemon, "g");
    }
    for options in ["--bypass-cache", "--bypass-cache --image-format sparse --parallel-channels 2"]
    {
        let saved = daemon.virsh(&format!("save g {image} {options}"));
        if saved.stderr.contains("direct I/O") {
            return saving::assert_ticks(&daemon, "g");
        }
        saved.ok();
        daemon.virsh(&format!("restore {image} --bypass-cache")).ok();
        saving::assert_continued(&daemon, "g");
    }
}

#[test]
fn a_guest_is_restored_as_it_was_or_as_told() {
    let daemon = Daemon::start();
    saving::ticking(&daemon, "g");
    let image = image_path(&daemon, "image");
    daemon.virsh("suspend g").ok();
    daemon.virsh(&format!("save g {image}")).ok();
    for (options, state) in [
        ("", "paused (migrating)"),
        ("--running", "running (restored)"),
        ("--paused", "paused (migrating)"),
    ] {
        daemon.virsh(&format!("restore {image} {options}")).ok();
        daemon.wait_for_state("g", state);
        daemon
            .virsh(&format!("restore {image}"))
            .fails_with(&["Requested operation is not valid: domain 'g' is already active"]);
        daemon.virsh("destroy g").ok();
    }
    let xml = daemon.virsh(&format!("save-image-dumpxml {image}")).ok();
    assert!(xml.contains("<name>g</name>"), "{xml}");
    let other = daemon.write("other.xml", xml.replace("32768", "65536"));
    let named = daemon.write("named.xml", xml.replace("<name>g<", "<name>h<"));
    for (file, expected) in [
        (&other, "Target domain max memory 65536 does not match source 32768"),
        (&named, "Target domain name 'h' does not match source 'g'"),
    ] {
        let file = file.display();
        daemon.virsh(&format!("restore {image} --xml {file}")).fails_with(&[expected]);
        daemon.virsh(&format!("save-image-define {image} {file}")).fails_with(&[expected]);
    }
    let same = daemon.write("same.xml", xml.replace("</name>", "</name><title>later</title>"));
    daemon.virsh(&format!("save-image-define {image} {} --running", same.display())).ok();
    assert!(daemon.virsh(&format!("save-image-dumpxml {image}")).ok().contains("later"));
    daemon.virsh(&format!("restore {image}")).ok();
    daemon.wait_for_state("g", "running (restored)");
    assert!(daemon.virsh("dumpxml g").ok().contains("<title>later</title>"));
    // A guest that has no definition is gone when it is saved, and there again afterwards.
    daemon.virsh("undefine g").ok();
    daemon.virsh(&format!("save g {image}")).ok();
    daemon.virsh("domstate g").fails_with(&["failed to get domain 'g'"]);
    daemon.virsh(&format!("restore {image}")).ok();
    daemon.virsh("managedsave g").fails_with(&["cannot do managed save for transient domain"]);
    saving::assert_continued(&daemon, "g");
}

/// What a guest has that its definition did not have at its start comes back with its state.
#[test]
fn trays_and_processors_are_restored_as_they_were() {
    let daemon = Daemon::start();
    let iso = daemon.write("images/one.iso", vec![0; 1 << 16]);
    let drive = format!(
        "<disk type='file' device='cdrom'><source file='{}'/><target dev='hdc' bus='ide'/>\
         <readonly/></disk></devices>",
        iso.display()
    );
    let vcpus = "<vcpu current='2'>4</vcpu><vcpus>\
        <vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='no' hotpluggable='yes'/>\
        <vcpu id='2' enabled='yes' hotpluggable='yes'/><vcpu id='3' enabled='no' hotpluggable='yes'/>\
        </vcpus><os>";
    let xml = domains::boot_sector(&daemon, "g").replacen("<os>", vcpus, 1).replacen(
        "</devices>",
        &drive,
        1,
    );
    saving::start(&daemon, "g", &xml);
    daemon.virsh("setvcpu g 3 --enable --live").ok();
    let ask = |question: &str| plugging::qmp(&daemon, "g", question);
    let open = r#"{"execute":"blockdev-open-tray","arguments":{"id":"ide0-1-0","force":true}}"#;
    ask(open);
    let told = "<target dev='hdc' bus='ide' tray='open'/>";
    let shows = |open: bool| (daemon.virsh("dumpxml g").ok().contains(told) == open).then_some(());
    wait::until("the tray to be told of", || shows(true));
    let processors = || {
        let list = ask(r#"{"execute":"query-cpus-fast"}"#);
        let list = list["return"].as_array().expect("a list").clone();
        list.iter().filter_map(|cpu| Some(cpu["qom-path"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let before = processors();
    assert_eq!(before.len(), 3, "{before:?}");
    let image = image_path(&daemon, "image");
    let restore = format!("restore {image}");
    for (save, back) in
        [(format!("save g {image}"), restore.as_str()), ("managedsave g".to_owned(), "start g")]
    {
        daemon.virsh(&save).ok();
        daemon.virsh(back).ok();
        // At once: the state is complete when the call returns.
        assert!(shows(true).is_some(), "{save}");
        assert_eq!(plugging::in_drive(&daemon, "g"), (told_iso(&iso), told_iso(&iso), true));
        assert_eq!(processors(), before, "{save}");
        let xml = daemon.virsh("dumpxml g").ok();
        for vcpu in [
            "<vcpu placement='static' current='3'>4</vcpu>",
            "<vcpu id='1' enabled='no' hotpluggable='yes'/>",
            "<vcpu id='2' enabled='yes' hotpluggable='yes' order='2'/>",
            "<vcpu id='3' enabled='yes' hotpluggable='yes' order='3'/>",
        ] {
            assert!(xml.contains(vcpu), "{save}: {xml}");
        }
        saving::assert_continued(&daemon, "g");
    }
    // A tray that closes is told of, too.
    ask(r#"{"execute":"blockdev-close-tray","arguments":{"id":"ide0-1-0"}}"#);
    wait::until("the tray to be closed", || shows(false));
    daemon.virsh("destroy g").ok();
    // The next boot has what the definition says.
    daemon.virsh("start g").ok();
    assert_eq!(processors().len(), 2);
}

fn told_iso(iso: &std::path::Path) -> Option<String> {
    Some(iso.display().to_string())
}

#[test]
fn a_managed_save_is_taken_up_by_the_next_start() {
    let mut daemon = Daemon::start();
    saving::ticking(&daemon, "g");
    let image = daemon.path(MANAGED).join("g.save");
    daemon.virsh("managedsave g").ok();
    daemon.wait_for_state("g", "shut off (saved)");
    let listed = |daemon: &Daemon| daemon.virsh("list --all --with-managed-save --name").ok();
    assert_eq!(listed(&daemon).trim(), "g");
    daemon.virsh("undefine g").fails_with(&["while domain managed save image exists"]);
    daemon.virsh("domrename g h").fails_with(&["managed saved state can't be renamed"]);
    if !daemon.is_external() {
        daemon.restart();
    }
    assert_eq!(listed(&daemon).trim(), "g");
    assert!(daemon.virsh("dominfo g").ok().contains("Managed save:   yes"));
    daemon.virsh("start g").ok();
    daemon.wait_for_state("g", "running (restored)");
    saving::assert_continued(&daemon, "g");
    assert!(!image.exists() && listed(&daemon).trim().is_empty());

    daemon.virsh("managedsave g --paused").ok();
    daemon.virsh("managedsave-dumpxml g").ok();
    daemon.virsh("start g").ok();
    daemon.wait_for_state("g", "paused (migrating)");
    daemon.virsh("resume g").ok();
    daemon.virsh("managedsave g").ok();
    let good = fs::read(&image).expect("an image");
    daemon.virsh("start g --force-boot").ok();
    daemon.wait_for_state("g", "running (booted)");
    assert!(!image.exists());
    daemon.virsh("managedsave-dumpxml g").fails_with(&["does not have managed save image"]);

    // What holds nothing of a guest is removed; what may hold something stays and is an error.
    let cut = &good[..80_000.min(good.len() - 1)];
    let newer = [&good[..16], &99_u32.to_ne_bytes(), &good[20..]].concat();
    let unfinished = [b"LibvirtQemudPart", &good[16..]].concat();
    for (content, fault) in [
        (&b""[..], None),
        (&b"no image"[..], None),
        (&unfinished, None),
        (&newer, Some("image version is not supported")),
        (cut, Some("load of migration failed")),
    ] {
        daemon.virsh("destroy g").ok();
        fs::write(&image, content).expect("a file");
        match fault {
            None => {
                daemon.virsh("start g").ok();
                daemon.wait_for_state("g", "running (booted)");
            }
            Some(fault) => {
                daemon.virsh("start g").fails_with(&[fault]);
                assert!(image.exists());
                daemon.virsh("start g --force-boot").ok();
            }
        }
        assert!(!image.exists());
    }
    daemon.virsh("managedsave g").ok();
    daemon.virsh("managedsave-remove g").ok();
    daemon.virsh("start g").ok();
    daemon.wait_for_state("g", "running (booted)");
}

#[test]
fn an_autostarted_guest_takes_up_its_managed_save() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    saving::ticking(&daemon, "g");
    daemon.virsh("autostart g").ok();
    daemon.virsh("managedsave g").ok();
    daemon.stop();
    // As after a boot of the host.
    let _ = fs::remove_file(daemon.path("run/libvirt/qemu/autostarted"));
    daemon.launch();
    daemon.wait_for_state("g", "running (restored)");
    saving::assert_continued(&daemon, "g");
}

#[test]
fn what_is_no_image_is_refused_in_words() {
    let daemon = Daemon::start();
    saving::ticking(&daemon, "g");
    let image = image_path(&daemon, "image");
    daemon.virsh(&format!("save g {image}")).ok();
    let good = fs::read(&image).expect("an image");
    let with = |at: usize, bytes: &[u8]| {
        let mut content = good.clone();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        content
    };
    let broken = image_path(&daemon, "broken");
    for (content, expected) in [
        (Vec::new(), "failed to read qemu header"),
        (vec![b'x'; 4096], "image magic is incorrect"),
        (with(0, b"LibvirtQemudPart"), "save image is incomplete"),
        (with(20, &[0; 4]), "invalid header data length: 0"),
        (with(28, &[77, 0, 0, 0]), "unsupported save image format: 77"),
        (good[..500].to_vec(), "failed to read domain XML"),
        (good[..80_000].to_vec(), "job 'start' failed: load of migration failed"),
        // The stream is no gzip: refused, not waited for.
        (with(28, &[1, 0, 0, 0]), "job 'start' failed: load of migration failed"),
    ] {
        fs::write(&broken, &content).expect("a file");
        daemon.virsh(&format!("restore {broken}")).fails_with(&[expected]);
        assert!(fs::read(&broken).expect("untouched") == content, "{expected}");
        daemon.wait_for_state(
            "g",
            if expected.contains("load") { "shut off (failed)" } else { "shut off (saved)" },
        );
        if expected.contains("load") {
            daemon.virsh(&format!("restore {image}")).ok();
            daemon.virsh(&format!("save g {image}")).ok();
        }
    }
    daemon
        .virsh("restore /nowhere/x")
        .fails_with(&["Failed to open file '/nowhere/x': No such file or directory"]);
    daemon.virsh(&format!("restore {image}")).ok();
    saving::assert_continued(&daemon, "g");
}

#[test]
fn a_refused_save_leaves_the_guest_alone() {
    let daemon = Daemon::start();
    saving::ticking(&daemon, "g");
    let image = image_path(&daemon, "image");
    for (line, expected) in [
        (format!("save g {image} --image-format lz4"), "Invalid image_format 'lz4'"),
        (format!("save g {image} --parallel-channels 2"), "only supported with the 'sparse'"),
        (
            format!("save g {image} --image-format sparse --parallel-channels 0"),
            "number of parallel save channels cannot be less than 1",
        ),
        ("save g /nowhere/x".to_owned(), "Failed to create file '/nowhere/x': No such file"),
        ("save g /var".to_owned(), "Failed to create file '/var': Is a directory"),
        ("dump g /nowhere/x".to_owned(), "Failed to create file '/nowhere/x': No such file"),
        (
            format!("dump g {image} --memory-only --format kdump-snappy"),
            "unsupported dumpformat 'kdump-snappy' for this QEMU binary",
        ),
        ("domjobabort g".to_owned(), "no job is active on the domain"),
    ] {
        // Debian's virsh may hang by itself when a dump is refused before it watches its job.
        let outcome =
            if line.starts_with("dump") { daemon.ironvirt(&line) } else { daemon.virsh(&line) };
        outcome.fails_with(&[expected]);
        daemon.wait_for_state("g", "running (booted)");
    }
    assert!(saving::names_in(&daemon.path("saved")).is_empty());
    saving::assert_ticks(&daemon, "g");
    let read_only = daemon.uri_readonly();
    for line in [["save", "g", "/tmp/x"], ["dump", "g", "/tmp/x"]] {
        let words = [&["-c", read_only.as_str()][..], &line[..]].concat();
        tests::tool(paths::ironvirt(), &words, "").fails_with(&["read only access prevents"]);
    }
}

#[test]
fn dumps_leave_the_guest_as_it_was() {
    let daemon = Daemon::start();
    saving::ticking(&daemon, "g");
    let core = image_path(&daemon, "core");
    for (options, magic) in [
        ("", &b"QEVM"[..]),
        ("--live", b"QEVM"),
        ("--reset", b"QEVM"),
        ("--memory-only", b"\x7fELF"),
        ("--memory-only --live", b"\x7fELF"),
        ("--memory-only --format kdump-zlib", b"makedumpfile"),
        ("--verbose", b"QEVM"),
    ] {
        daemon.virsh(&format!("dump g {core} {options}")).ok();
        assert!(fs::read(&core).expect("a dump").starts_with(magic), "{options}");
        assert_eq!(saving::names_in(&daemon.path("saved")), ["core"], "{options}");
        assert!(daemon.virsh("domstate g").ok().starts_with("running"), "{options}");
        saving::assert_ticks(&daemon, "g");
    }
    let completed = daemon.virsh("domjobinfo g --completed").ok();
    assert!(completed.contains("Operation:        Dump"), "{completed}");
    daemon.virsh("suspend g").ok();
    daemon.virsh(&format!("dump g {core}")).ok();
    daemon.wait_for_state("g", "paused (user)");
    daemon.virsh("resume g").ok();
    daemon.virsh(&format!("dump g {core} --crash")).ok();
    daemon.wait_for_state("g", "shut off (crashed)");
    // What the last job came to is told until another one ends, also in another life.
    daemon.virsh("start g").ok();
    let completed = daemon.virsh("domjobinfo g --completed").ok();
    assert!(completed.contains("Operation:        Dump"), "{completed}");
}

/// A boot sector that tells the panic device at once.
fn panicking(daemon: &Daemon, name: &str, action: &str) -> String {
    let code = [0xfa, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd];
    let mut image = code.to_vec();
    image.resize(510, 0);
    image.extend_from_slice(&[0x55, 0xaa]);
    image.resize(1 << 20, 0);
    let disk = daemon.write(&format!("images/{name}.img"), image);
    let xml = domains::from_disk(name, &disk, &domains::serial_file(daemon, name));
    xml.replace("<devices>", &format!("<on_crash>{action}</on_crash><devices><panic model='isa'/>"))
}

#[test]
fn a_crash_leaves_a_dump_where_the_definition_wants_one() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let dumps = daemon.path("var/lib/libvirt/qemu/dump");
    daemon.define(&panicking(&daemon, "ends", "coredump-destroy")).ok();
    daemon.virsh("start ends").ok();
    daemon.wait_for_state("ends", "shut off (crashed)");
    let names = saving::names_in(&dumps);
    assert!(names.len() == 1 && names[0].contains("-ends-"), "{names:?}");
    assert!(fs::read(dumps.join(&names[0])).expect("a dump").starts_with(b"\x7fELF"));
    daemon.define(&panicking(&daemon, "again", "coredump-restart")).ok();
    daemon.virsh("start again").ok();
    wait::until("two dumps of it", || {
        let names = saving::names_in(&dumps);
        (names.iter().filter(|name| name.contains("-again-")).count() > 1).then_some(())
    });
    daemon.virsh("destroy again").ok();
}

#[test]
fn a_full_disk_costs_the_save_and_not_the_guest() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let Some(_disk) = SmallDisk::mount(daemon.path("small"), "300k") else {
        eprintln!("skipped: no right to mount");
        return;
    };
    saving::ticking(&daemon, "g");
    let image = daemon.path("small/image").display().to_string();
    for verb in [
        "save",
        "save --image-format gzip",
        "save --image-format sparse",
        "dump",
        "dump --live",
        "dump --memory-only",
        "managedsave",
    ] {
        let managed = verb == "managedsave";
        if managed {
            // The folder of managed saves is full.
            let folder = daemon.path(MANAGED);
            fs::remove_dir(&folder).expect("empty");
            std::os::unix::fs::symlink(daemon.path("small"), folder).expect("a link");
        }
        let line = match verb.split_once(' ') {
            Some((verb, options)) => format!("{verb} g {image} {options}"),
            None if managed => "managedsave g".to_owned(),
            None => format!("{verb} g {image}"),
        };
        // gzip needs less than there is where it packs well.
        let outcome =
            if line.starts_with("dump") { daemon.ironvirt(&line) } else { daemon.virsh(&line) };
        if outcome.status == 0 {
            assert!(verb.contains("gzip"), "{verb} fits");
            daemon.virsh(&format!("restore {image}")).ok();
            fs::remove_file(&image).expect("the image");
            continue;
        }
        assert!(outcome.stderr.contains("No space left on device"), "{outcome}");
        assert!(saving::names_in(&daemon.path("small")).is_empty(), "{verb} left a file");
        assert!(daemon.virsh("domstate g").ok().starts_with("running"), "{verb}");
        saving::assert_ticks(&daemon, "g");
    }
}

/// While a guest is saved: who reads is answered, who changes waits, destroy and abort work.
#[test]
fn requests_during_a_save() {
    let packer = SlowPacker::new();
    let daemon = Daemon::start_with(packer.options());
    if daemon.is_external() {
        return;
    }
    saving::ticking(&daemon, "g");
    let image = image_path(&daemon, "image");
    let save = format!("save g {image} --image-format gzip");
    let saving_call = beside(&daemon, &save);
    wait_for_job(&daemon, "g");
    daemon.wait_for_state("g", "paused (saving)");
    for line in [
        "dominfo g",
        "dumpxml g",
        "list --all",
        "domjobinfo g",
        "domstats g --state",
        "domcontrol g",
        "vcpuinfo g",
        "domblkstat g hda",
    ] {
        daemon.virsh(line).ok();
    }
    assert!(daemon.virsh("domjobinfo g").ok().contains("Operation:        Save"));
    daemon.virsh("start g").fails_with(&["Domain is already active"]);
    // Each of these has to wait; none is lost and none acts before the save is over.
    let waiting: Vec<_> =
        ["resume g", "reset g", "desc g --live text", "managedsave g", "dump g /nowhere/x"]
            .map(|line| (line, beside(&daemon, line)))
            .into();
    std::thread::sleep(std::time::Duration::from_millis(300));
    daemon.wait_for_state("g", "paused (saving)");
    packer.open();
    assert!(said(saving_call).contains("saved to"));
    for (line, call) in waiting {
        let answer = said(call);
        assert!(answer.contains("domain is not running"), "{line}: {answer}");
    }
    daemon.wait_for_state("g", "shut off (saved)");
    daemon.virsh(&format!("restore {image}")).ok();
    saving::assert_continued(&daemon, "g");

    for (verb, state) in [("domjobabort", "running (save canceled)"), ("destroy", "shut off")] {
        packer.close();
        let _ = fs::remove_file(&image);
        let call = beside(&daemon, &save);
        wait_for_job(&daemon, "g");
        daemon.virsh_words(&[verb, "g"]).ok();
        let answer = said(call);
        assert!(answer.contains("Failed to save domain 'g'"), "{verb}: {answer}");
        let now = daemon.virsh("domstate g --reason").ok();
        assert!(now.starts_with(state), "{verb}: {now}");
        assert!(saving::names_in(&daemon.path("saved")).is_empty(), "{verb} left a file");
        if verb == "domjobabort" {
            saving::assert_continued(&daemon, "g");
        }
    }
}

/// Our command ends the job when it is interrupted, as virsh does, and waits for how that ends.
#[test]
fn ctrl_c_aborts_the_save_that_it_interrupts() {
    let packer = SlowPacker::new();
    let daemon = Daemon::start_with(packer.options());
    if daemon.is_external() {
        return;
    }
    saving::ticking(&daemon, "g");
    let image = image_path(&daemon, "image");
    let save = format!("save g {image} --image-format gzip --verbose");
    let call = run_beside(paths::ironvirt(), &daemon, &save);
    wait_for_job(&daemon, "g");
    processes::signal(i32::try_from(call.id()).expect("a process id"), Signal::INT);
    let answer = said(call);
    for part in ["Failed to save domain 'g' to", "job 'domain save' canceled by client"] {
        assert!(answer.contains(part), "{answer}");
    }
    assert!(daemon.virsh("domstate g --reason").ok().starts_with("running (save canceled)"));
    assert!(saving::names_in(&daemon.path("saved")).is_empty());
    saving::assert_ticks(&daemon, "g");
    packer.open();
    let answer = said(run_beside(paths::ironvirt(), &daemon, &save));
    assert!(answer.contains("saved to") && answer.contains("\rSave: [100.00 %]"), "{answer}");
}

#[test]
fn qemu_that_dies_or_stops_during_a_save() {
    let packer = SlowPacker::new();
    let daemon = Daemon::start_with(packer.options());
    if daemon.is_external() {
        return;
    }
    let image = image_path(&daemon, "image");
    saving::ticking(&daemon, "g");
    let save = format!("save g {image} --image-format gzip");
    let call = beside(&daemon, &save);
    wait_for_job(&daemon, "g");
    daemon.qemus().into_iter().for_each(|pid| processes::signal(pid, Signal::KILL));
    let answer = said(call);
    assert!(answer.contains("Failed to save domain 'g'"), "{answer}");
    daemon.wait_for_state("g", "shut off (crashed)");
    assert!(saving::names_in(&daemon.path("saved")).is_empty());

    // One that hears nothing any more: readers are answered, destroy ends it, the save too.
    daemon.virsh("start g").ok();
    daemon.qemus().into_iter().for_each(|pid| processes::signal(pid, Signal::STOP));
    let call = beside(&daemon, &save);
    wait_for_job(&daemon, "g");
    daemon.virsh("dominfo g").ok();
    daemon.virsh("destroy g").ok();
    let answer = said(call);
    assert!(answer.contains("Failed to save domain 'g'"), "{answer}");
    assert!(saving::names_in(&daemon.path("saved")).is_empty());

    // One that wakes up again goes on with the save.
    packer.open();
    daemon.virsh("start g").ok();
    let stopped = daemon.qemus();
    stopped.iter().for_each(|pid| processes::signal(*pid, Signal::STOP));
    let call = beside(&daemon, &save);
    wait_for_job(&daemon, "g");
    stopped.iter().for_each(|pid| processes::signal(*pid, Signal::CONT));
    assert!(said(call).contains("saved to"));
    daemon.virsh(&format!("restore {image}")).ok();
    saving::assert_ticks(&daemon, "g");
}

/// A daemon killed while a save cannot come to its end: the next one lets the guest run on.
#[test]
fn a_daemon_killed_during_a_save_or_dump() {
    let packer = SlowPacker::new();
    let mut daemon = Daemon::start_with(packer.options());
    if daemon.is_external() {
        return;
    }
    let image = image_path(&daemon, "image");
    fs::write(&image, "what was there before").expect("a file");
    saving::ticking(&daemon, "g");
    for line in [
        format!("save g {image} --image-format gzip"),
        "managedsave g".to_owned(),
        format!("dump g {image}"),
    ] {
        let conf = "save_image_format = \"gzip\"\ndump_image_format = \"gzip\"\n";
        fs::write(daemon.path("etc/libvirt/qemu.conf"), conf).expect("settings");
        packer.close();
        daemon.restart();
        let call = beside(&daemon, &line);
        // The job begins before the guest is stopped for it.
        wait_for_job(&daemon, "g");
        wait::until("the guest to be stopped", || {
            daemon.virsh("domstate g").stdout.starts_with("paused").then_some(())
        });
        daemon.kill();
        said(call);
        daemon.launch();
        daemon.wait_for_state("g", "running (save canceled)");
        saving::assert_ticks(&daemon, "g");
        wait::until("the rest to be gone", || {
            let left = saving::names_in(&daemon.path("saved"));
            (left == ["image"] && saving::names_in(&daemon.path(MANAGED)).is_empty()).then_some(())
        });
        assert_eq!(fs::read(&image).expect("there"), b"what was there before");
        assert!(saving::serial(&daemon, "g").contains(guests::BOOT_SECTOR_LINE));
        packer.open();
        daemon.virsh("suspend g").ok();
        daemon.virsh("resume g").ok();
    }
}

/// A document as its author wrote it, without what every such guest has, is one that the guest of
/// an image can go on with.
#[test]
fn an_image_takes_the_document_that_its_guest_was_defined_with() {
    let daemon = Daemon::start();
    let image = image_path(&daemon, "image");
    let xml = "<domain type='qemu'><name>plain</name>\
        <uuid>0b1e2d9a-8a57-4c55-9a0c-5f6f1c4d7e21</uuid><memory unit='MiB'>32</memory>\
        <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>\
        <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk></devices></domain>";
    daemon.define(xml).ok();
    let titled = xml.replace("</uuid>", "</uuid><title>later</title>");
    let file = daemon.write("plain.xml", titled);
    let file = file.display();
    daemon.virsh("start plain --paused").ok();
    daemon.virsh(&format!("save plain {image} --xml {file}")).ok();
    daemon.virsh(&format!("save-image-define {image} {file}")).ok();
    daemon.virsh(&format!("restore {image} --xml {file}")).ok();
    assert!(daemon.virsh("dumpxml plain").ok().contains("<title>later</title>"));
    daemon.virsh("managedsave plain").ok();
    daemon.virsh(&format!("managedsave-define plain {file}")).ok();
    daemon.virsh("managedsave-remove plain").ok();
    domains::discard(&daemon, "plain");
}
