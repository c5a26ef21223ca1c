//! Doors, limits, keepalive, administration, the end.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::*;
use rpc::frame::{self, Kind, Status};
use rpc::server::{
    BindError, KeepaliveConfig, Limits, ListenerKind, ListenerSpec, Server, ServerConfig, Shards,
};

fn start(doors: Vec<ListenerSpec>) -> Result<rpc::server::ServerHandle, BindError> {
    let shards = Shards::start(Some(1)).unwrap();
    Server::start(&shards, Arc::new(Odd::new()), ServerConfig::default(), doors)
}

fn ping(procedure: i32) -> frame::Header {
    frame::Header {
        program: protocol::keepalive::PROGRAM,
        version: 1,
        procedure,
        kind: Kind::MESSAGE,
        serial: 0,
        status: Status::OK,
    }
}

#[test]
fn modes_of_socket_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut doors = Vec::new();
    let modes = [0o777, 0o600, 0o660, 0o700];
    for mode in modes {
        let path = folder.path().join(format!("{mode:o}"));
        doors.push(ListenerSpec::path(ListenerKind::Main, path, mode));
    }
    let handle = start(doors).unwrap();
    for mode in modes {
        let meta = std::fs::metadata(folder.path().join(format!("{mode:o}"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode);
    }
    handle.shutdown_blocking();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let door = || vec![ListenerSpec::path(ListenerKind::Main, &path, 0o600)];
    let first = start(door()).unwrap();
    Client::connect(&path).is_well();
    assert!(matches!(start(door()), Err(BindError::InUse(_))));
    Client::connect(&path).is_well();
    // A file that took the name meanwhile is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    first.shutdown_blocking();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert!(matches!(start(door()), Err(BindError::NotASocket(_))));
}

#[test]
fn a_path_too_long_is_refused_with_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let length = |n: usize| {
        let base = folder.path().as_os_str().len() + 1;
        folder.path().join("x".repeat(n - base))
    };
    let door = |n| vec![ListenerSpec::path(ListenerKind::Main, length(n), 0o600)];
    let handle = start(door(107)).unwrap();
    Client::connect(&length(107)).is_well();
    handle.shutdown_blocking();
    let error = start(door(108)).unwrap_err().to_string();
    assert!(error.contains("108 bytes long; the limit is 107"), "{error}");
}

#[test]
fn all_doors_open_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let good = ListenerSpec::path(ListenerKind::Main, folder.path().join("good"), 0o600);
    let bad = ListenerSpec::path(ListenerKind::ReadOnly, folder.path().join("no/where"), 0o600);
    assert!(matches!(start(vec![good, bad]), Err(BindError::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_socket_handed_over_is_used_and_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let door = ListenerSpec::fd(ListenerKind::Main, listener.into());
    let handle = start(vec![door]).unwrap();
    Client::connect(&path).is_well();
    handle.shutdown_blocking();
    assert!(path.exists());
}

#[test]
fn doors_know_their_kind_and_their_guests() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let handle = start(vec![
        ListenerSpec::path(ListenerKind::Main, at("main"), 0o600),
        ListenerSpec::path(ListenerKind::ReadOnly, at("ro"), 0o600),
        ListenerSpec::path(ListenerKind::Admin, at("admin"), 0o600),
        ListenerSpec::path(ListenerKind::Main, at("closed"), 0o600).allow(|_| false),
    ])
    .unwrap();
    let mut main = Client::connect(&at("main"));
    main.is_well();
    let mut read_only = Client::connect(&at("ro"));
    read_only.is_well();
    // The admin door speaks another program.
    let mut admin = Client::connect(&at("admin"));
    let (answer, payload) = admin.ask(ECHO, 1, b"");
    assert_eq!(answer.status, Status::ERROR);
    assert_eq!(error(&payload).1, "Cannot find program 536903814 version 1");
    Client::connect(&at("closed")).is_closed();

    let clients = handle.clients();
    let kinds: Vec<_> = clients.iter().map(|c| (c.kind, c.read_only)).collect();
    assert_eq!(
        kinds,
        [(ListenerKind::Main, false), (ListenerKind::ReadOnly, true), (ListenerKind::Admin, false)]
    );
    let me = &clients[0];
    assert_eq!(me.pid, Some(std::process::id() as i32));
    assert_eq!(me.uid, rustix::process::geteuid().as_raw());
    assert!(me.process_name.is_some() && me.authenticated && me.id == 1);

    assert!(handle.client_close(clients[1].id));
    read_only.is_closed();
    assert!(!handle.client_close(999));
    main.is_well();
}

#[test]
fn the_limit_of_clients_holds_back_further_ones() {
    let fixture = Fixture::new();
    let limits = Limits { max_clients: 2, ..fixture.handle.limits() };
    fixture.handle.set_limits(limits);
    let mut one = fixture.connect();
    one.is_well();
    let mut two = fixture.connect();
    two.is_well();
    // Connected as far as the kernel goes, but nobody answers.
    let mut three = fixture.connect();
    three.call(ECHO, 1, b"hello");
    one.is_well();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(*fixture.handle.client_count().borrow(), 2);
    drop(one);
    assert_eq!(three.receive().1, b"hello");
    // The same by raising the limit.
    let mut four = fixture.connect();
    four.call(ECHO, 1, b"hello");
    fixture.handle.set_limits(Limits { max_clients: 3, ..limits });
    assert_eq!(four.receive().1, b"hello");
}

#[test]
fn anonymous_clients_have_a_limit_of_their_own() {
    let mut service = Odd::new();
    service.authenticate = false;
    let mut config = ServerConfig::default();
    config.limits.max_anonymous_clients = 2;
    let fixture = Fixture::with(config, service);
    let mut one = fixture.connect();
    one.is_well();
    let mut two = fixture.connect();
    two.is_well();
    assert_eq!(fixture.handle.anonymous_count(), 2);
    let mut three = fixture.connect();
    three.call(ECHO, 1, b"hello");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(*fixture.handle.client_count().borrow(), 2);
    fixture.service.outboxes.lock().unwrap()[0].set_authenticated();
    assert_eq!(three.receive().1, b"hello");
    assert_eq!(fixture.handle.anonymous_count(), 2);
    // One that leaves makes room as well.
    let mut four = fixture.connect();
    four.call(ECHO, 1, b"hello");
    drop(two);
    assert_eq!(four.receive().1, b"hello");
}

#[test]
fn pings_are_answered_before_anything_else() {
    let mut service = Odd::new();
    service.authenticate = false;
    let fixture = Fixture::with(ServerConfig::default(), service);
    let mut client = fixture.connect();
    client.send(ping(1), b"");
    assert_eq!(client.receive(), (ping(2), vec![]));
    // Answers nobody asked for, other procedures and versions are dropped.
    client.send(ping(2), b"");
    client.send(ping(9), b"");
    let mut odd = ping(1);
    odd.version = 2;
    client.send(odd, b"");
    client.is_well();
}

#[test]
fn pings_are_heard_behind_calls_that_must_wait() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    for serial in 0..9 {
        client.call(GATED, serial, b"");
    }
    client.send(ping(1), b"");
    assert_eq!(client.receive(), (ping(2), vec![]));
    assert_eq!(fixture.service.begun.load(Ordering::SeqCst), 5);
    client.call(ECHO, 9, b"last");
    fixture.service.gate.add_permits(9);
    let mut serials: Vec<_> = (0..10).map(|_| client.receive().0.serial).collect();
    serials.sort_unstable();
    assert_eq!(serials, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_client_that_is_not_listened_to_is_not_called_dead() {
    let fixture = Fixture::with(quick(1), Odd::new());
    let mut client = fixture.connect();
    client.ask(KEEPALIVE, 1, b"");
    // More than is set aside: the rest stays in the socket, and so would answers to keepalive questions.
    for serial in 0..8 {
        client.call(GATED, serial, &[0; 60_000]);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(*fixture.handle.client_count().borrow(), 1);
}

fn quick(count: u32) -> ServerConfig {
    ServerConfig {
        keepalive: KeepaliveConfig { interval: Duration::from_millis(30), count },
        ..ServerConfig::default()
    }
}

#[test]
fn silent_clients_are_asked_and_dropped() {
    let fixture = Fixture::with(quick(3), Odd::new());
    let mut client = fixture.connect();
    client.ask(KEEPALIVE, 1, b"");
    for _ in 0..3 {
        assert_eq!(client.receive(), (ping(1), vec![]));
    }
    client.is_closed();
}

#[test]
fn clients_that_answer_stay() {
    let fixture = Fixture::with(quick(2), Odd::new());
    let mut client = fixture.connect();
    client.ask(KEEPALIVE, 1, b"");
    for _ in 0..10 {
        assert_eq!(client.receive(), (ping(1), vec![]));
        client.send(ping(2), b"");
    }
    assert_eq!(*fixture.handle.client_count().borrow(), 1);
}

#[test]
fn clients_that_did_not_ask_for_keepalive_are_left_alone() {
    let fixture = Fixture::with(quick(1), Odd::new());
    let mut client = fixture.connect();
    client.is_well();
    std::thread::sleep(Duration::from_millis(200));
    client.is_well();
}

#[test]
fn shutdown_answers_what_can_be_answered_and_is_quick() {
    let fixture = Fixture::new();
    let mut idle = fixture.connect();
    idle.is_well();
    let mut waiting = fixture.connect();
    waiting.call(GATED, 1, b"");
    let mut stuck = fixture.connect();
    stuck.call(BIG, 2, &3_000_000_u32.to_be_bytes());
    let service = &fixture.service;
    let begun = || service.begun.load(Ordering::SeqCst);
    eventually("the call runs", || begun() == 1);
    let start = Instant::now();
    let handle = fixture.handle.clone();
    let stop = std::thread::spawn(move || handle.shutdown_blocking());
    eventually("the idle client goes first", || *fixture.handle.client_count().borrow() == 2);
    service.gate.add_permits(1);
    assert_eq!(waiting.receive().1, b"open");
    stop.join().unwrap();
    // Not a measurement: libvirtd's forced exit after 30 s is what must not happen.
    assert!(start.elapsed() < Duration::from_secs(5));
    idle.is_closed();
    assert_eq!(*fixture.handle.client_count().borrow(), 0);
    assert_eq!(service.gone.load(Ordering::SeqCst), 3);
    assert!(!fixture.path.exists());
    assert!(std::os::unix::net::UnixStream::connect(&fixture.path).is_err());
}

#[test]
fn shutdown_gets_past_a_client_that_does_not_read() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    client.call(BIG, 1, &10_000_000_u32.to_be_bytes());
    fixture.connect().is_well();
    fixture.handle.shutdown_blocking();
    assert_eq!(*fixture.handle.client_count().borrow(), 0);
}

#[test]
fn the_last_client_leaving_can_be_waited_for() {
    let fixture = Fixture::new();
    let mut count = fixture.handle.client_count();
    let client = fixture.connect();
    eventually("it is here", || *count.borrow() == 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(client);
    runtime.block_on(count.wait_for(|n| *n == 0)).unwrap();
}

#[test]
fn two_servers_share_threads_but_not_limits() {
    let folder = tempfile::tempdir().unwrap();
    let shards = Shards::start(Some(1)).unwrap();
    let service = Arc::new(Odd::new());
    let mut handles = Vec::new();
    for name in ["libvirtd", "admin"] {
        let door = ListenerSpec::path(ListenerKind::Main, folder.path().join(name), 0o600);
        let config = ServerConfig { name: name.into(), ..ServerConfig::default() };
        let service = Arc::clone(&service);
        handles.push(Server::start(&shards, service, config, vec![door]).unwrap());
    }
    let mut one = Client::connect(&folder.path().join("libvirtd"));
    one.is_well();
    let mut two = Client::connect(&folder.path().join("admin"));
    two.is_well();
    assert_eq!(handles[0].clients().len(), 1);
    handles[0].shutdown_blocking();
    one.is_closed();
    two.is_well();
}
