//! The client against a daemon that is running: `IRONVIRT_TEST_LIBVIRTD_SOCKET=/path/libvirt-sock`.

use std::time::Duration;

use protocol::remote::{self, procs};
use protocol::{consts, qemu};
use rpc::client::{CloseReason, Connection, Keepalive, OpenOptions, Received, StreamItem, feature};

/// The daemon's socket; without one the test says loudly that it did not run.
fn socket() -> Option<String> {
    let socket = std::env::var("IRONVIRT_TEST_LIBVIRTD_SOCKET").ok();
    if socket.is_none() {
        eprintln!("SKIPPED: IRONVIRT_TEST_LIBVIRTD_SOCKET is not set");
    }
    socket
}

fn open(options: &OpenOptions) -> Option<Connection> {
    let uri = format!("qemu+unix:///system?socket={}", socket()?);
    Some(Connection::open(&uri, options).unwrap())
}

const DOMAIN: &str = "<domain type='qemu'><name>wire-NAME</name><memory>65536</memory>\
    <os><type arch='x86_64'>hvm</type></os><devices><serial type='pty'/><console type='pty'/></devices></domain>";

fn define(c: &Connection, name: &str) -> remote::NonnullDomain {
    let args = remote::DomainDefineXmlArgs { xml: DOMAIN.replace("NAME", name) };
    c.call::<procs::DomainDefineXml>(&args).unwrap().dom
}

fn undefine(c: &Connection, dom: remote::NonnullDomain) {
    c.call::<procs::DomainUndefine>(&remote::DomainUndefineArgs { dom }).unwrap();
}

#[test]
fn calls_and_errors() {
    let Some(c) = open(&OpenOptions { close_callback: true, ..OpenOptions::default() }) else {
        return;
    };
    assert!(c.uri().starts_with("qemu+unix:///system?socket="));
    assert_eq!(c.call::<procs::ConnectGetType>(&()).unwrap().r#type, "QEMU");
    assert!(c.call::<procs::NodeGetInfo>(&()).unwrap().cpus > 0);
    assert!(c.supports_feature(feature::EVENT_CALLBACK).unwrap());
    let args = remote::DomainLookupByNameArgs { name: "wire-nosuch".into() };
    let e = c.call::<procs::DomainLookupByName>(&args).unwrap_err();
    assert_eq!((e.code.0, e.domain.0), (42, 10));
    assert_eq!(e.detail, "no domain with matching name 'wire-nosuch'");
    assert!(c.is_alive());
}

#[test]
fn many_threads_share_a_connection() {
    let Some(c) = open(&OpenOptions::default()) else { return };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let c = c.clone();
            scope.spawn(move || {
                for _ in 0..100 {
                    c.call::<procs::ConnectGetLibVersion>(&()).unwrap();
                }
            });
        }
    });
}

#[test]
fn read_only_is_refused_by_the_daemon() {
    let Some(c) = open(&OpenOptions { read_only: true, ..OpenOptions::default() }) else { return };
    let args = remote::DomainDefineXmlArgs { xml: DOMAIN.into() };
    let e = c.call::<procs::DomainDefineXml>(&args).unwrap_err();
    assert_eq!(e.code.0, 29);
}

#[test]
fn events() {
    let Some(c) = open(&OpenOptions::default()) else { return };
    let id = c.register_domain_event(consts::domain::event_id::LIFECYCLE, None).unwrap();
    let dom = define(&c, "events");
    let event = loop {
        let event = c.next_event(Some(Duration::from_secs(20))).unwrap().expect("an event");
        let msg = event.decode::<remote::events::DomainEventCallbackLifecycle>().unwrap();
        // Other helpers' guests send events too.
        if msg.msg.dom.name == "wire-events" {
            assert_eq!(event.callback_id(), Some(id));
            break msg;
        }
    };
    assert_eq!(event.msg.event, consts::domain::event_type::DEFINED);
    undefine(&c, dom);
    c.deregister_domain_event(id).unwrap();
}

#[test]
fn keepalive_survives_silence() {
    let keepalive = Keepalive { interval: Duration::from_millis(100), count: 3 };
    let options = OpenOptions { keepalive: Some(keepalive), ..OpenOptions::default() };
    let Some(c) = open(&options) else { return };
    assert_eq!(c.next_event(Some(Duration::from_secs(1))).unwrap(), None);
    assert!(c.is_alive());
    c.call::<procs::ConnectGetHostname>(&()).unwrap();
}

#[test]
fn volume_up_and_down() {
    let Some(c) = open(&OpenOptions::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let xml = format!(
        "<pool type='dir'><name>wire-pool-{}</name><target><path>{}</path></target></pool>",
        std::process::id(),
        folder.path().display()
    );
    let args = remote::StoragePoolCreateXmlArgs { xml, flags: 0 };
    let pool = match c.call::<procs::StoragePoolCreateXml>(&args) {
        Ok(ret) => ret.pool,
        Err(e) if e.code == diag::ErrorCode::NO_SUPPORT => {
            return eprintln!("SKIPPED: no pools here");
        }
        Err(e) => panic!("{e:?}"),
    };
    let xml = "<volume><name>v</name><capacity>3145728</capacity></volume>".to_owned();
    let args = remote::StorageVolCreateXmlArgs { pool: pool.clone(), xml, flags: 0 };
    let vol = c.call::<procs::StorageVolCreateXml>(&args).unwrap().vol;
    let data: Vec<u8> = (0..600_000u32).map(|i| (i % 251) as u8).collect();

    let args = remote::StorageVolUploadArgs {
        vol: vol.clone(),
        offset: 0,
        length: 0,
        flags: consts::volume::upload::SPARSE_STREAM,
    };
    let ((), stream) = c.open_stream::<procs::StorageVolUpload>(&args).unwrap();
    stream.send_hole(1 << 20).unwrap();
    stream.send(&data).unwrap();
    stream.send_hole(3_145_728 - (1 << 20) - data.len() as u64).unwrap();
    stream.finish().unwrap();

    let args = remote::StorageVolDownloadArgs {
        vol: vol.clone(),
        offset: 0,
        length: 0,
        flags: consts::volume::download::SPARSE_STREAM,
    };
    let ((), stream) = c.open_stream::<procs::StorageVolDownload>(&args).unwrap();
    let (mut at, mut got) = (0u64, Vec::new());
    while let Some(item) = stream.recv().unwrap() {
        match item {
            StreamItem::Hole(n) => at += n,
            StreamItem::Data(d) => {
                at += d.len() as u64;
                got.extend(d);
            }
        }
    }
    stream.finish().unwrap();
    assert_eq!(at, 3_145_728);
    let start = got.windows(64).position(|w| w == &data[..64]).unwrap();
    assert!(got[start..].starts_with(&data));

    // An aborted stream leaves the connection as it was.
    let ((), stream) = c.open_stream::<procs::StorageVolDownload>(&args).unwrap();
    stream.recv().unwrap();
    stream.abort().unwrap();
    let ((), stream) = c.open_stream::<procs::StorageVolDownload>(&args).unwrap();
    drop(stream);
    let bad = remote::StorageVolDownloadArgs { offset: 1 << 40, ..args };
    let failed = match c.open_stream::<procs::StorageVolDownload>(&bad) {
        Err(_) => true,
        Ok(((), stream)) => loop {
            match stream.recv() {
                Err(_) => break true,
                Ok(None) => break false,
                Ok(Some(_)) => {}
            }
        },
    };
    assert!(failed);
    c.call::<procs::StorageVolDelete>(&remote::StorageVolDeleteArgs { vol, flags: 0 }).unwrap();
    c.call::<procs::StoragePoolDestroy>(&remote::StoragePoolDestroyArgs { pool }).unwrap();
}

#[test]
fn console_and_descriptors() {
    let Some(c) = open(&OpenOptions::default()) else { return };
    let dom = define(&c, "console");
    c.call::<procs::DomainCreate>(&remote::DomainCreateArgs { dom: dom.clone() }).unwrap();
    let args = remote::DomainOpenConsoleArgs { dom: dom.clone(), dev_name: None, flags: 0 };
    let ((), stream) = c.open_stream::<procs::DomainOpenConsole>(&args).unwrap();
    stream.send(b"hello\r").unwrap();
    // Without firmware output this may stay silent; it must neither fail nor end.
    assert_ne!(stream.recv_timeout(Duration::from_millis(500)).unwrap(), Received::End);
    let monitor = qemu::DomainMonitorCommandArgs {
        dom: dom.clone(),
        cmd: "{\"execute\":\"query-status\"}".into(),
        flags: 0,
    };
    match c.call::<qemu::procs::DomainMonitorCommand>(&monitor) {
        Ok(ret) => assert!(ret.result.contains("running"), "{}", ret.result),
        Err(e) => eprintln!("SKIPPED: no monitor commands: {e:?}"),
    }
    // No graphics: an error, and no descriptor left behind.
    let args = remote::DomainOpenGraphicsFdArgs { dom: dom.clone(), idx: 0, flags: 0 };
    assert!(c.call_with_fds::<procs::DomainOpenGraphicsFd>(&args, &[]).is_err());
    c.call::<procs::DomainDestroy>(&remote::DomainDestroyArgs { dom: dom.clone() }).unwrap();
    undefine(&c, dom);
}

#[test]
fn graphics_descriptor() {
    let Some(c) = open(&OpenOptions::default()) else { return };
    let xml = DOMAIN.replace("NAME", "vnc").replace(
        "</devices>",
        "<graphics type='vnc' port='-1'><listen type='none'/></graphics></devices>",
    );
    let args = remote::DomainCreateXmlArgs { xml_desc: xml, flags: 0 };
    let dom = match c.call::<procs::DomainCreateXml>(&args) {
        Ok(ret) => ret.dom,
        Err(e) if e.code == diag::ErrorCode::CONFIG_UNSUPPORTED => {
            return eprintln!("SKIPPED: this QEMU has no vnc");
        }
        Err(e) => panic!("{e:?}"),
    };
    let args = remote::DomainOpenGraphicsFdArgs { dom: dom.clone(), idx: 0, flags: 1 };
    let ((), fds) = c.call_with_fds::<procs::DomainOpenGraphicsFd>(&args, &[]).unwrap();
    assert_eq!(fds.len(), 1);
    let mut banner = [0; 4];
    let mut stream = std::os::unix::net::UnixStream::from(fds.into_iter().next().unwrap());
    std::io::Read::read_exact(&mut stream, &mut banner).unwrap();
    assert_eq!(&banner, b"RFB ");
    // And the other way round: the daemon gets our end of a pair.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let args = remote::DomainOpenGraphicsArgs { dom: dom.clone(), idx: 0, flags: 1 };
    use std::os::fd::AsFd;
    c.call_with_fds::<procs::DomainOpenGraphics>(&args, &[theirs.as_fd()]).unwrap();
    drop(theirs);
    let mut stream = ours;
    std::io::Read::read_exact(&mut stream, &mut banner).unwrap();
    assert_eq!(&banner, b"RFB ");
    c.call::<procs::DomainDestroy>(&remote::DomainDestroyArgs { dom }).unwrap();
}

#[test]
fn tunnel_through_a_command() {
    let Some(socket) = socket() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tunnel");
    let text = format!(
        "#!/usr/bin/env python3
import socket,sys,threading,os
s=socket.socket(socket.AF_UNIX); s.connect({socket:?})
def up():
    while True:
        d=os.read(0,65536)
        if not d: break
        s.sendall(d)
    s.shutdown(1)
threading.Thread(target=up,daemon=True).start()
while True:
    d=s.recv(65536)
    if not d: break
    os.write(1,d)
"
    );
    std::fs::write(&script, text).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let uri = format!("qemu+ext:///system?command={}", script.display());
    let c = match Connection::open(&uri, &OpenOptions::default()) {
        Ok(c) => c,
        Err(e) if e.detail.contains("python3") => return eprintln!("SKIPPED: {}", e.detail),
        Err(e) => panic!("{e:?}"),
    };
    assert!(!c.call::<procs::ConnectGetHostname>(&()).unwrap().hostname.is_empty());
}

#[test]
fn refused_names_and_sockets() {
    let e = Connection::open("qemu+unix:///system?socket=/nope/x", &OpenOptions::default());
    let e = e.unwrap_err();
    assert_eq!((e.code.0, e.domain.0), (38, 7));
    assert_eq!(e.detail, "Failed to connect socket to '/nope/x': No such file or directory");
    let e = Connection::open("qemu+ext:///system?command=/bin/false", &OpenOptions::default());
    assert_eq!(e.unwrap_err().detail, "Cannot recv data: : Connection reset by peer");
    let Some(socket) = socket() else { return };
    let uri = format!("qemu+unix:///bad?socket={socket}");
    let e = Connection::open(&uri, &OpenOptions::default()).unwrap_err();
    assert_eq!(e.detail, "unexpected qemu URI path '/bad', try qemu:///system");
    let c = Connection::open(&format!("remote:///?socket={socket}"), &OpenOptions::default());
    assert!(c.unwrap().call::<procs::ConnectGetUri>(&()).unwrap().uri.starts_with("qemu:///"));
}

#[test]
fn closing_has_a_reason() {
    let Some(c) = open(&OpenOptions::default()) else { return };
    assert_eq!(c.close_reason(), None::<CloseReason>);
}

fn session(folder: &std::path::Path, daemon: &std::path::Path) -> OpenOptions {
    OpenOptions {
        privileged: Some(false),
        session_dir: Some(folder.to_owned()),
        session_daemon: Some(daemon.to_owned()),
        ..OpenOptions::default()
    }
}

#[test]
fn a_session_daemon_that_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = session(folder.path(), "/bin/false".as_ref());
    let e = Connection::open("qemu:///session", &options).unwrap_err();
    let path = folder.path().join("libvirt-sock");
    let text =
        format!("Failed to connect socket to '{}': No such file or directory", path.display());
    assert_eq!(e.detail, text);
    assert!(e.hints[0].contains("/bin/false"), "{:?}", e.hints);
}

#[test]
fn a_session_daemon_is_started() {
    let Some(socket) = socket() else { return };
    let folder = tempfile::tempdir().unwrap();
    // The "daemon" makes the given one appear where the session's should.
    let daemon = folder.path().join("daemon");
    let link = folder.path().join("libvirt-sock");
    let text = format!("#!/bin/sh\nsleep 0.2\nln -s '{socket}' '{}'\n", link.display());
    std::fs::write(&daemon, text).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o755)).unwrap();
    let c = Connection::open("qemu:///session", &session(folder.path(), &daemon));
    // A system daemon refuses the session's name, which shows that it was reached.
    match c {
        Ok(_) => {}
        Err(e) => assert!(e.detail.contains("qemu:///system"), "{e:?}"),
    }
}
