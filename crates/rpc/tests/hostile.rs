//! Clients that break the rules, do not read, or vanish.

mod common;

use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use common::*;
use rpc::frame::{self, Kind};
use rpc::server::ServerConfig;

#[test]
fn bad_lengths_close_without_an_answer() {
    let fixture = Fixture::new();
    for length in [0_u32, 1, 3, 4, 8, 27, 33_554_437, u32::MAX] {
        let mut client = fixture.connect();
        client.is_well();
        client.socket.write_all(&length.to_be_bytes()).unwrap();
        client.is_closed();
    }
    fixture.connect().is_well();
}

#[test]
fn bad_descriptor_counts_close() {
    let fixture = Fixture::new();
    for payload in [&b""[..], b"\0\0\0\x21", b"\xff\xff\xff\xff"] {
        let mut client = fixture.connect();
        let mut call = header(ECHO, 1);
        call.kind = Kind::CALL_WITH_FDS;
        client.send(call, payload);
        client.is_closed();
    }
    // Bytes where descriptors should be.
    let mut client = fixture.connect();
    let mut call = header(ECHO, 1);
    call.kind = Kind::CALL_WITH_FDS;
    client.send(call, b"\0\0\0\x01");
    client.socket.write_all(&[0]).unwrap();
    client.is_closed();
}

#[test]
fn unasked_descriptors_are_closed() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let (mut read, write) = std::io::pipe().unwrap();
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &header(ECHO, 1), b"here");
    {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let fds = [write.as_fd()];
        control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds));
        let flags = rustix::net::SendFlags::empty();
        let slices = [std::io::IoSlice::new(&bytes)];
        rustix::net::sendmsg(&client.socket, &slices, &mut control, flags).unwrap();
    }
    drop(write);
    assert_eq!(client.receive().1, b"here");
    // The server's copy is closed, so the pipe ends while the connection lives.
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut read, &mut rest).unwrap();
    client.is_well();
}

#[test]
fn a_truncated_frame_and_goodbye() {
    let fixture = Fixture::new();
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &header(ECHO, 1), b"arguments");
    for cut in 0..bytes.len() {
        let mut client = fixture.connect();
        client.socket.write_all(&bytes[..cut]).unwrap();
    }
    fixture.connect().is_well();
    let mut count = fixture.handle.client_count();
    eventually("all are gone", || *count.borrow_and_update() == 0);
}

#[test]
fn a_client_that_reads_no_events_is_dropped() {
    let config = ServerConfig { max_queued_event_bytes: 1 << 20, ..ServerConfig::default() };
    let fixture = Fixture::with(config, Odd::new());
    let mut client = fixture.connect();
    client.is_well();
    let outbox = fixture.service.outboxes.lock().unwrap()[0].clone();
    let payload = vec![0; 1000];
    // Far more than the limit and the socket hold; sending never blocks.
    for _ in 0..100_000 {
        outbox.event(PROGRAM, 1, 318, &payload);
    }
    eventually("it is dropped", || fixture.service.gone.load(Ordering::SeqCst) == 1);
    assert!(outbox.is_closed());
    outbox.event(PROGRAM, 1, 318, &payload);
    fixture.connect().is_well();
}

#[test]
fn a_client_that_reads_no_replies_is_no_longer_read() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let size = 300_000_u32.to_be_bytes();
    for serial in 0..50 {
        client.call(BIG, serial, &size);
    }
    fixture.connect().is_well();
    // It may come to its senses.
    for serial in 0..50 {
        let (header, payload) = client.receive();
        assert_eq!((header.serial, payload.len()), (serial, 300_000));
    }
    client.is_well();
}

#[test]
fn a_client_that_stops_reading_and_vanishes_is_noticed() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let size = 300_000_u32.to_be_bytes();
    for serial in 0..50 {
        client.call(BIG, serial, &size);
    }
    drop(client);
    eventually("it is gone", || fixture.service.gone.load(Ordering::SeqCst) == 1);
}

#[test]
fn calls_of_a_vanished_client_run_to_their_end() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    // More than may run, so that some wait unread while the client goes.
    for serial in 0..7 {
        client.call(GATED, serial, b"");
    }
    let service = &fixture.service;
    eventually("calls run", || service.begun.load(Ordering::SeqCst) == 5);
    drop(client);
    eventually("it is gone", || service.gone.load(Ordering::SeqCst) == 1);
    assert_eq!(service.done.load(Ordering::SeqCst), 0);
    service.gate.add_permits(100);
    eventually("they end", || service.done.load(Ordering::SeqCst) == 5);
}

#[test]
fn a_thousand_idle_clients() {
    let fixture = Fixture::new();
    let mut clients: Vec<_> = (0..1000).map(|_| fixture.connect()).collect();
    for client in &mut clients {
        client.is_well();
    }
    assert_eq!(*fixture.handle.client_count().borrow(), 1000);
    for client in clients.iter_mut().rev() {
        client.is_well();
    }
    drop(clients);
    let mut count = fixture.handle.client_count();
    eventually("all are gone", || *count.borrow_and_update() == 0);
}

#[test]
fn random_bytes_do_no_harm() {
    let fixture = Fixture::new();
    let mut seed = 1_u64;
    for round in 0..200_u32 {
        let mut client = fixture.connect();
        let mut bytes = Vec::new();
        for _ in 0..300 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.push((seed >> 56) as u8);
        }
        // Every other time with a believable length and program, to get further.
        if round % 2 == 0 {
            bytes[..4].copy_from_slice(&(28 + round).to_be_bytes());
            bytes[4..12].copy_from_slice(&[0x20, 0, 0x80, 0x86, 0, 0, 0, 1]);
            bytes[12..28].fill(0);
            bytes[15] = (round % 8) as u8;
            bytes[19] = (round % 7) as u8;
        }
        let _ = client.socket.write_all(&bytes);
    }
    fixture.service.gate.add_permits(1000);
    fixture.connect().is_well();
}
