//! Streams over real sockets.

mod common;

use std::sync::atomic::Ordering;

use common::*;
use rpc::frame::{Header, Kind, MAX_STREAM_DATA, Status};
use rpc::server::ServerConfig;

/// A frame of the stream that `call` opened.
fn of(call: Header, kind: Kind, status: Status) -> Header {
    call.answer(kind, status)
}

fn data(call: Header) -> Header {
    of(call, Kind::STREAM, Status::CONTINUE)
}

/// Opens a stream and takes the reply.
fn open(client: &mut Client, procedure: i32, arguments: &[u8]) -> Header {
    let call = header(procedure, 77);
    client.send(call, arguments);
    let (reply, _) = client.receive();
    assert_eq!(reply, of(call, Kind::REPLY, Status::OK));
    call
}

/// Finishes and takes the answer.
fn finish(client: &mut Client, call: Header) {
    client.send(of(call, Kind::STREAM, Status::OK), b"");
    let (answer, payload) = client.receive();
    assert_eq!(answer, of(call, Kind::STREAM, Status::OK));
    assert!(payload.is_empty());
}

fn endings(fixture: &Fixture) -> Vec<String> {
    fixture.service.endings.lock().unwrap().clone()
}

#[test]
fn both_directions_with_holes() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let call = open(&mut client, STREAM_ECHO, b"");
    for round in 0..20_u8 {
        client.send(data(call), &[round; 5]);
        assert_eq!(client.receive(), (data(call), vec![round; 5]));
    }
    let mut hole = 0x10_0000_u64.to_be_bytes().to_vec();
    hole.extend([0, 0, 0, 0]);
    let header = of(call, Kind::STREAM_HOLE, Status::CONTINUE);
    client.send(header, &hole);
    assert_eq!(client.receive(), (header, hole));
    // Other calls go on beside the stream.
    client.is_well();
    finish(&mut client, call);
    // The stream is over: its frames are dropped now.
    client.send(data(call), b"late");
    client.is_well();
}

#[test]
fn a_download_comes_in_pieces_and_is_finished_by_the_client() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let size = 3_000_001_u32;
    let call = open(&mut client, DOWNLOAD, &size.to_be_bytes());
    let mut all = Vec::new();
    loop {
        let (header, payload) = client.receive();
        assert_eq!(header, data(call));
        assert!(payload.len() <= MAX_STREAM_DATA);
        if payload.is_empty() {
            break;
        }
        all.extend(payload);
    }
    assert_eq!(all.len(), size as usize);
    assert!((0..size).all(|i| all[i as usize] == (i / 7) as u8));
    eventually("the handler ended", || endings(&fixture) == ["Ok(())"]);
    finish(&mut client, call);
    client.is_well();
}

#[test]
fn an_upload_is_answered_when_the_handler_has_it_all() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let call = open(&mut client, UPLOAD, b"");
    for _ in 0..40 {
        client.send(data(call), &vec![1; MAX_STREAM_DATA]);
    }
    finish(&mut client, call);
    let uploaded = fixture.service.uploaded.load(Ordering::SeqCst);
    assert_eq!(uploaded, 40 * MAX_STREAM_DATA);
    assert_eq!(endings(&fixture), ["finish"]);
    client.is_well();
}

#[test]
fn a_slow_handler_stops_the_client_and_nobody_else() {
    let config = ServerConfig { max_stream_backlog: 1 << 20, ..ServerConfig::default() };
    let fixture = Fixture::with(config, Odd::new());
    let mut client = fixture.connect();
    let call = open(&mut client, SLOW_UPLOAD, b"");
    let mut writer = client.socket.try_clone().unwrap();
    let pieces = 200;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&sent);
    let sender = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        rpc::frame::put(&mut bytes, &data(call), &vec![1; 100_000]);
        for _ in 0..pieces {
            std::io::Write::write_all(&mut writer, &bytes).unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    fixture.connect().is_well();
    std::thread::sleep(std::time::Duration::from_millis(200));
    // A megabyte here, what the socket holds, and a little for reads in progress; not all 20.
    let before = sent.load(Ordering::SeqCst);
    assert!(before < 40, "{before} pieces were taken");
    fixture.service.gate.add_permits(pieces + 1);
    sender.join().unwrap();
    finish(&mut client, call);
    let uploaded = fixture.service.uploaded.load(Ordering::SeqCst);
    assert_eq!(uploaded, pieces * 100_000);
}

#[test]
fn abort_is_answered_at_once_and_seen_by_the_handler() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    // The handler waits at the gate with data undelivered: the answer does not wait for it.
    let call = open(&mut client, SLOW_UPLOAD, b"");
    client.send(data(call), b"unwanted");
    client.send(of(call, Kind::STREAM, Status::ERROR), b"");
    let (answer, payload) = client.receive();
    assert_eq!(answer, of(call, Kind::STREAM, Status::OK));
    assert!(payload.is_empty());
    assert_eq!(fixture.service.closed.load(Ordering::SeqCst), 1, "told before the answer");
    fixture.service.gate.add_permits(10);
    eventually("it sees the abort", || endings(&fixture) == ["abort"]);
    assert_eq!(fixture.service.uploaded.load(Ordering::SeqCst), 0);
    client.is_well();
}

#[test]
fn an_aborted_download_stops() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let size = 30_000_000_u32;
    let call = open(&mut client, DOWNLOAD, &size.to_be_bytes());
    assert_eq!(client.receive().0, data(call));
    client.send(of(call, Kind::STREAM, Status::ERROR), b"");
    let mut frames = 0;
    while client.receive().0.status == Status::CONTINUE {
        frames += 1;
    }
    assert!(frames < 20, "{frames} frames came after the abort");
    eventually("the handler stops", || endings(&fixture) == ["Err(Aborted)"]);
    client.is_well();
}

#[test]
fn a_failing_handler_sends_its_error() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let call = open(&mut client, STREAM_FAIL, b"");
    client.send(data(call), b"x");
    let (answer, payload) = client.receive();
    assert_eq!(answer, of(call, Kind::STREAM, Status::ERROR));
    assert_eq!(error(&payload), (9, "operation failed: disk full".into()));
    client.is_well();
}

#[test]
fn a_panicking_handler_ends_the_stream() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let call = open(&mut client, STREAM_PANIC, b"");
    client.send(data(call), b"x");
    let (answer, payload) = client.receive();
    assert_eq!(answer, of(call, Kind::STREAM, Status::ERROR));
    assert_eq!(error(&payload).0, 1);
    client.is_well();
}

#[test]
fn bad_stream_frames_end_the_stream() {
    let fixture = Fixture::new();
    for (kind, status, payload) in [
        (Kind::STREAM_HOLE, Status::CONTINUE, &b"short"[..]),
        (Kind::STREAM_HOLE, Status::CONTINUE, &[0xff; 12]),
        (Kind::STREAM, Status(3), b""),
    ] {
        let mut client = fixture.connect();
        let call = open(&mut client, UPLOAD, b"");
        client.send(of(call, kind, status), payload);
        let (answer, payload) = client.receive();
        assert_eq!(answer, of(call, Kind::STREAM, Status::ERROR));
        assert_eq!(error(&payload).0, 39);
        client.is_well();
    }
    eventually("handlers end", || endings(&fixture) == ["lost"; 3]);
}

#[test]
fn a_client_that_vanishes_is_seen_by_both_kinds_of_handler() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let call = open(&mut client, UPLOAD, b"");
    client.send(data(call), b"x");
    drop(client);
    eventually("the upload ends", || endings(&fixture) == ["lost"]);
    let mut client = fixture.connect();
    open(&mut client, DOWNLOAD, &30_000_000_u32.to_be_bytes());
    drop(client);
    eventually("the download ends", || endings(&fixture) == ["lost", "Err(Lost)"]);
}

#[test]
fn a_serial_used_twice_replaces_the_stream() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    open(&mut client, UPLOAD, b"");
    let call = open(&mut client, UPLOAD, b"");
    eventually("the first is lost", || endings(&fixture) == ["lost"]);
    client.send(data(call), b"1234");
    finish(&mut client, call);
    assert_eq!(fixture.service.uploaded.load(Ordering::SeqCst), 4);
}
