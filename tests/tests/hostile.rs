//! Hostile and broken clients: whatever one of them does, the others are served.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use tests::mutate::{Random, mutate};
use tests::wire::{self, procedure};
use tests::{Daemon, domains, paths, processes};

/// Whether the daemon closes the connection (rather than waiting for more, or answering).
fn is_closed(stream: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn impossible_lengths_close_the_connection() {
    let mut daemon = Daemon::start();
    for length in [0u32, 1, 4, 27, 33_554_437, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut stream = wire::connect(daemon.socket());
        stream.write_all(&length.to_be_bytes()).unwrap();
        // A daemon that believed the length would wait for the rest.
        let _ = stream.write_all(&[0; 64]);
        assert!(is_closed(&mut stream), "length {length:#x} was believed");
        daemon.assert_well();
    }
}

#[test]
fn an_unknown_program_or_procedure_gets_an_error() {
    let mut daemon = Daemon::start();
    let mut stream = wire::open(daemon.socket(), daemon.session());
    let (status, body) = wire::ask(&mut stream, 9_999_999, 3, &[]);
    assert_eq!(status, 1, "an error");
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(text.contains("unknown procedure"), "{text}");

    stream.write_all(&wire::frame(0x1234_5678, 1, 0, 4, &[])).unwrap();
    let answer = wire::read_frame(&mut stream).expect("an answer");
    assert_eq!(answer[20..24], [0, 0, 0, 1], "an error");
    // The connection goes on.
    assert_eq!(wire::ask(&mut stream, procedure::CONNECT_GET_TYPE, 5, &[]).0, 0);
    daemon.assert_well();
}

#[test]
fn an_identity_of_unknown_parts_is_refused() {
    let daemon = Daemon::start();
    let mut stream = wire::open(daemon.socket(), daemon.session());
    let identity = |name: &str| {
        // One parameter, a string (kind 7), no flags.
        let (one, kind) = ([0, 0, 0, 1], [0, 0, 0, 7]);
        [one.as_slice(), &wire::string(name), &kind, &wire::string("x"), &[0; 4]].concat()
    };
    let (status, body) =
        wire::ask(&mut stream, procedure::CONNECT_SET_IDENTITY, 3, &identity("shoe-size"));
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 1 && text.contains("parameter 'shoe-size' not supported"), "{text}");
    let known = identity("user-name");
    assert_eq!(wire::ask(&mut stream, procedure::CONNECT_SET_IDENTITY, 4, &known).0, 0);
}

#[test]
fn nothing_is_answered_before_authentication() {
    let daemon = Daemon::start();
    let mut stream = wire::connect(daemon.socket());
    stream.write_all(&wire::call(procedure::CONNECT_GET_TYPE, 1, &[])).unwrap();
    if let Some(answer) = wire::read_frame(&mut stream) {
        assert_eq!(answer[20..24], [0, 0, 0, 1], "an error");
    }
}

#[test]
fn bodies_that_are_cut_or_wrong_get_an_error() {
    let mut daemon = Daemon::start();
    let open = wire::open_body(daemon.session());
    for cut in 0..open.len() {
        let mut stream = wire::connect(daemon.socket());
        assert_eq!(wire::ask(&mut stream, procedure::AUTH_LIST, 1, &[]).0, 0);
        let (status, _) = wire::ask(&mut stream, procedure::CONNECT_OPEN, 2, &open[..cut]);
        assert_eq!(status, 1, "a body of {cut} bytes was accepted");
    }
    daemon.assert_well();
}

#[test]
fn random_frames_do_no_harm() {
    let mut daemon = Daemon::start();
    let mut random = Random::new(42);
    let open = wire::open_body(daemon.session());
    let seeds = [
        wire::call(procedure::AUTH_LIST, 1, &[]),
        wire::call(procedure::CONNECT_OPEN, 2, &open),
        wire::frame(wire::REMOTE_PROGRAM, procedure::CONNECT_OPEN, 3, 2, &[1; 40]),
        wire::frame(0x6b65_6570, 1, 2, 0, &[]),
        wire::frame(0x2000_8087, 1, 0, 3, &[0; 16]),
        wire::frame(0x0690_0690, 1, 0, 3, &[0; 16]),
    ];
    for _ in 0..500 {
        let mut stream = wire::connect(daemon.socket());
        for _ in 0..3 {
            let bytes = mutate(&seeds[random.below(seeds.len())], &mut random);
            if stream.write_all(&bytes).is_err() {
                break;
            }
        }
    }
    // Every procedure number, with a body that fits none.
    let mut stream = wire::open(daemon.socket(), daemon.session());
    for procedure in (1..460).filter(|&number| number != 2 && number != procedure::CONNECT_OPEN) {
        let bytes: Vec<u8> = (0..random.below(64)).map(|_| random.number() as u8).collect();
        if stream.write_all(&wire::call(procedure, procedure + 10, &bytes)).is_err() {
            stream = wire::open(daemon.socket(), daemon.session());
        }
    }
    drop(stream);
    daemon.assert_well();
}

#[test]
fn a_client_that_stops_reading_holds_up_nobody() {
    let mut daemon = Daemon::start();
    let mut stream = wire::open(daemon.socket(), daemon.session());
    // Without a reader the answers fill the socket, and then the calls do.
    stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    for serial in 10..200_000 {
        if stream.write_all(&wire::call(procedure::CONNECT_GET_TYPE, serial, &[])).is_err() {
            break;
        }
    }
    daemon.assert_well();
    drop(stream);
    daemon.assert_well();
}

#[test]
fn a_client_may_vanish_at_any_moment() {
    let mut daemon = Daemon::start();
    for _ in 0..50 {
        let mut stream = wire::open(daemon.socket(), daemon.session());
        for serial in 10..30 {
            stream.write_all(&wire::call(procedure::CONNECT_GET_TYPE, serial, &[])).unwrap();
        }
        drop(stream); // answers are under way
        let mut stream = wire::connect(daemon.socket());
        stream.write_all(&wire::call(procedure::AUTH_LIST, 1, &[])[..20]).unwrap();
        drop(stream); // half a header
    }
    daemon.assert_well();
}

#[test]
fn a_client_may_vanish_in_the_middle_of_a_stream() {
    let mut daemon = Daemon::start();
    let xml = domains::boot_sector(&daemon, "vanish")
        .replace("<serial type='file'>", "<serial type='pty'>");
    let (start, end) = (xml.find("<source path").unwrap(), xml.find("<target port").unwrap());
    daemon.define(&format!("{}{}", &xml[..start], &xml[end..])).ok();
    daemon.virsh("start vanish").ok();
    for _ in 0..3 {
        let program = "import libvirt,sys,time
c=libvirt.open(sys.argv[1]); d=c.lookupByName('vanish'); s=c.newStream()
d.openConsole(None,s,libvirt.VIR_DOMAIN_CONSOLE_FORCE); print(s.recv(1),flush=True); time.sleep(60)";
        let mut client = Command::new("/usr/bin/python3")
            .args(["-c", program, &daemon.uri()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut first = [0];
        client.stdout.take().expect("a pipe").read_exact(&mut first).expect("the stream flows");
        processes::signal(client.id() as i32, rustix::process::Signal::KILL);
        client.wait().expect("our own child");
        daemon.assert_well();
    }
    daemon.wait_for_state("vanish", "running (booted)");
    domains::discard(&daemon, "vanish");
}

#[test]
fn a_thousand_idle_connections_are_held() {
    let mut daemon = Daemon::start();
    let mut idle: Vec<_> =
        (0..1000).map(|_| wire::open(daemon.socket(), daemon.session())).collect();
    daemon.assert_well();
    // Each of them is still good.
    for stream in idle.iter_mut().step_by(100) {
        assert_eq!(wire::ask(stream, procedure::CONNECT_GET_TYPE, 9, &[]).0, 0);
    }
    drop(idle);
    daemon.assert_well();
}

#[test]
fn a_failed_start_takes_nothing_from_another_guest() {
    let mut daemon = Daemon::start();
    if daemon.is_external() || !paths::is_root() {
        return;
    }
    let disk = daemon.write("images/shared.img", tests::guests::boot_sector());
    for name in ["one", "two"] {
        let serial = domains::serial_file(&daemon, name);
        daemon.define(&domains::from_disk(name, &disk, &serial)).ok();
    }
    daemon.virsh("start one").ok();
    let users = || {
        let mut value = [0; 8];
        let attribute = "trusted.libvirt.security.ref_dac";
        let length = rustix::fs::getxattr(&disk, attribute, &mut value).unwrap_or(0);
        String::from_utf8_lossy(&value[..length]).into_owned()
    };
    let recorded = users();
    // Somebody takes the disk from its guest: the next guest is refused it.
    std::os::unix::fs::chown(&disk, Some(0), Some(0)).expect("chown of our own");
    daemon.virsh("start two").failed();
    assert_eq!(users(), recorded, "the record of the running guest");
    daemon.virsh("destroy one").ok();
    assert_eq!(users(), "");
    daemon.assert_well();
}

#[test]
fn what_a_serial_port_writes_into_is_emptied_and_not_replaced() {
    use rustix::fs::{CWD, FileType, Mode};
    use std::os::unix::fs::FileTypeExt;
    let mut daemon = Daemon::start();
    if daemon.is_external() || !paths::is_root() {
        return;
    }
    let xml = domains::boot_sector(&daemon, "port");
    let target = domains::serial_file(&daemon, "port");
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, &target, FileType::CharacterDevice, Mode::RUSR, device)
        .expect("a second /dev/null");
    daemon.define(&xml).ok();
    // Where devices may not be opened, that is what the start says.
    let _ = daemon.virsh("start port");
    daemon.virsh("destroy port");
    let kind = std::fs::symlink_metadata(&target).expect("still there").file_type();
    assert!(kind.is_char_device(), "{kind:?}");

    // A named pipe that nobody reads is not waited for.
    std::fs::remove_file(&target).expect("our own");
    rustix::fs::mkfifoat(CWD, &target, Mode::RUSR | Mode::WUSR).expect("a pipe");
    daemon.virsh("start port").fails_with(&["Unable to open file", "No such device or address"]);
    daemon.assert_well();
}

/// A disk where a port's socket is to be stays: only what an earlier run left makes room.
#[test]
fn what_is_no_socket_does_not_make_room_for_one() {
    let daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let taken = daemon.path("images/taken");
    let port = format!(
        "<serial type='unix'><source mode='bind' path='{}'/></serial></devices>",
        taken.display()
    );
    let xml = domains::boot_sector(&daemon, "room");
    daemon.define(&xml.replacen("</devices>", &port, 1)).ok();
    std::fs::write(&taken, "somebody's disk").expect("our own folder");
    daemon.virsh("start room").fails_with(&["cannot listen on", "it is there and no socket"]);
    assert_eq!(std::fs::read_to_string(&taken).expect("still there"), "somebody's disk");
    std::fs::remove_file(&taken).expect("our own");
    drop(std::os::unix::net::UnixListener::bind(&taken).expect("a socket that nobody serves"));
    daemon.virsh("start room").ok();
    daemon.virsh("destroy room").ok();
}

#[test]
fn capabilities_that_another_user_wrote_are_not_believed() {
    let mut daemon = Daemon::start();
    if daemon.is_external() || !paths::is_root() {
        return;
    }
    daemon.virsh("domcapabilities").ok();
    daemon.stop();
    let folder = daemon.path("var/cache/libvirt/qemu/capabilities");
    let files: Vec<_> = std::fs::read_dir(&folder).expect("the cache").flatten().collect();
    assert!(!files.is_empty(), "nothing is cached");
    for file in files {
        std::os::unix::fs::chown(file.path(), Some(4711), None).expect("chown");
    }
    daemon.launch();
    daemon.virsh("domcapabilities").ok();
    assert!(daemon.log().contains("cached capabilities are not used"), "{}", daemon.log());
}

/// Calls whose arguments name an emulator, that to be run; each with libvirt's function.
const NAMING_EMULATORS: &str = "
c, emulator, xml = libvirt.open(sys.argv[1]), sys.argv[2], open(sys.argv[3]).read()
cpu = '<cpu><model>qemu64</model></cpu>'
calls = {
    'virConnectGetDomainCapabilities': lambda: c.getDomainCapabilities(emulator),
    'virConnectCompareHypervisorCPU': lambda: c.compareHypervisorCPU(emulator, None, None, None, cpu),
    'virConnectBaselineHypervisorCPU':
        lambda: c.baselineHypervisorCPU(emulator, None, None, None, [cpu]),
    'virConnectDomainXMLToNative': lambda: c.domainXMLToNative('qemu-argv', xml),
    'virConnectDomainXMLFromNative': lambda: c.domainXMLFromNative('qemu-argv', emulator),
    'virDomainDefineXML': lambda: c.defineXML(xml),
    'virDomainCreateXML': lambda: c.createXML(xml),
    'virDomainRestoreFlags': lambda: c.restoreFlags(emulator, xml),
    'virDomainSaveImageDefineXML': lambda: c.saveImageDefineXML(emulator, xml),
}
for name, call in calls.items():
    try:
        call()
        print(name, 'passed')
    except libvirt.libvirtError as error:
        print(name, error.get_error_code(), error.get_error_domain(), error.get_error_message())
";

#[test]
fn a_read_only_client_has_no_emulator_run_or_looked_for() {
    use std::os::unix::fs::PermissionsExt;
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    let runs = daemon.path("shared/runs");
    let emulator = daemon.write("shared/emulator", "");
    let script = format!("#!/bin/sh\necho run >> {}\n", runs.display());
    std::fs::write(&emulator, script).expect("our own file");
    for path in [emulator.as_path(), emulator.parent().expect("a folder")] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).expect("chmod");
    }
    let ask = |uri: String, emulator: &std::path::Path| {
        let tag = format!("<devices><emulator>{}</emulator></devices>", emulator.display());
        let xml = domains::minimal("marked").replace("<devices/>", &tag);
        assert!(xml.contains(&tag), "{xml}");
        let xml = daemon.write("marked.xml", xml);
        let program = format!("import libvirt, sys\n{NAMING_EMULATORS}");
        let words = [&program, &uri, &emulator.display().to_string(), &xml.display().to_string()];
        let words = [&["-c".to_owned()][..], &words.map(String::from)].concat();
        tests::tool("/usr/bin/python3", &words, "").ok()
    };
    let missing = emulator.with_file_name("missing");
    for named in [&emulator, &missing] {
        let answers = ask(daemon.uri_readonly(), named);
        assert_eq!(answers.lines().count(), 9, "{answers}");
        for line in answers.lines() {
            let function = line.split(' ').next().expect("a word");
            let refusal = format!(
                "{function} 29 20 operation forbidden: read only access prevents {function}"
            );
            assert_eq!(line, refusal);
        }
    }
    assert!(!runs.exists(), "the emulator of a read-only client ran");
    // The marker works: who may change things has it run.
    ask(daemon.uri(), &emulator);
    assert!(runs.exists(), "the marker is no marker");
    daemon.assert_well();
}
