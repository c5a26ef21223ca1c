//! Calls and their answers over real sockets.

mod common;

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use common::*;
use rpc::frame::{self, Kind, Status};
use rpc::server::{Limits, ServerConfig};

#[test]
fn pipelined_calls_are_all_answered_in_order() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let mut bytes = Vec::new();
    for serial in 0..1000_u32 {
        frame::put(&mut bytes, &header(ECHO, serial), &serial.to_be_bytes());
    }
    client.socket.write_all(&bytes).unwrap();
    for serial in 0..1000_u32 {
        let (header, payload) = client.receive();
        assert_eq!(header.serial, serial);
        assert_eq!(payload, serial.to_be_bytes());
    }
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &header(ECHO, 1), b"slow");
    frame::put(&mut bytes, &header(ECHO, 2), b"ly!!");
    for byte in &bytes {
        client.socket.write_all(&[*byte]).unwrap();
    }
    assert_eq!(client.receive().1, b"slow");
    assert_eq!(client.receive().1, b"ly!!");
}

#[test]
fn slow_calls_hold_up_no_fast_one() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    client.call(GATED, 1, b"");
    client.call(GATED, 2, b"");
    client.is_well();
    fixture.service.gate.add_permits(2);
    let mut serials = [client.receive().0.serial, client.receive().0.serial];
    serials.sort_unstable();
    assert_eq!(serials, [1, 2]);
}

#[test]
fn only_so_many_calls_of_a_client_run_at_once() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    for serial in 0..8 {
        client.call(GATED, serial, b"");
    }
    let begun = || fixture.service.begun.load(Ordering::SeqCst);
    eventually("five calls run", || begun() == 5);
    // Others are served meanwhile.
    fixture.connect().is_well();
    assert_eq!(begun(), 5);
    fixture.service.gate.add_permits(8);
    for _ in 0..8 {
        assert_eq!(client.receive().1, b"open");
    }
    client.is_well();
}

#[test]
fn the_limit_of_requests_can_be_raised_while_calls_wait() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    for serial in 0..8 {
        client.call(GATED, serial, b"");
    }
    let begun = || fixture.service.begun.load(Ordering::SeqCst);
    eventually("five calls run", || begun() == 5);
    fixture.handle.set_limits(Limits { max_client_requests: 7, ..fixture.handle.limits() });
    eventually("seven calls run", || begun() == 7);
}

#[test]
fn errors_of_the_transport() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let check = |client: &mut Client, header: frame::Header, text: &str| {
        client.send(header, b"");
        let (answer, payload) = client.receive();
        assert_eq!(answer, header.answer(Kind::REPLY, Status::ERROR));
        assert_eq!(error(&payload), (39, text.to_owned()));
    };
    let mut odd = header(ECHO, 5);
    odd.program = 291;
    check(&mut client, odd, "Cannot find program 291 version 1");
    odd = header(ECHO, 6);
    odd.version = 2;
    let text = "Cannot find program 536903814 version 2";
    check(&mut client, odd, text);
    check(&mut client, header(-3, 7), "unknown procedure: -3");
    odd = header(ECHO, 8);
    odd.status = Status(9);
    check(&mut client, odd, "Unexpected message status 9");
    odd = header(1, 9);
    odd.program = protocol::keepalive::PROGRAM;
    let text = "Cannot find program 1801807216 version 1";
    check(&mut client, odd, text);
    client.is_well();
}

#[test]
fn frames_nobody_waits_for_are_dropped() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    for kind in [1, 2, 3, 5, 6, 9, u32::MAX] {
        for status in [0, 1, 2, 77] {
            let mut odd = header(ECHO, 5);
            odd.kind = Kind(kind);
            odd.status = Status(status);
            client.send(odd, &[0; 12]);
        }
    }
    client.is_well();
}

#[test]
fn errors_and_panics_of_procedures() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let (header, payload) = client.ask(FAIL, 1, b"");
    assert_eq!(header.status, Status::ERROR);
    assert_eq!(error(&payload), (8, "invalid argument: no".into()));
    for procedure in [PANIC, PANIC_LATER] {
        let (header, payload) = client.ask(procedure, 2, b"");
        assert_eq!(header.status, Status::ERROR);
        let (code, text) = error(&payload);
        assert_eq!(code, 1);
        assert!(text.starts_with("internal error: "), "{text}");
    }
    client.is_well();
}

#[test]
fn a_prompt_call_begins_on_the_connections_thread() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    for what in [0_u32, 1, 2, 3, 4] {
        client.call(PROMPT, what, &what.to_be_bytes());
        if what > 2 {
            client.is_well();
            fixture.service.gate.add_permits(1);
        }
        let (header, payload) = client.receive();
        assert_eq!(header.serial, what);
        if what == 2 || what == 4 {
            assert_eq!(header.status, Status::ERROR);
            assert!(error(&payload).1.starts_with("internal error: "), "{:?}", error(&payload));
        } else {
            assert!(payload.starts_with(b"rpc-"), "{}", String::from_utf8_lossy(&payload));
        }
    }
    // More of them than may run at once, and all are answered.
    for serial in 0..8 {
        client.call(PROMPT, serial, &3_u32.to_be_bytes());
    }
    fixture.service.gate.add_permits(8);
    let mut answered: Vec<_> = (0..8).map(|_| client.receive().0.serial).collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..8).collect::<Vec<_>>());
    client.is_well();
}

#[test]
fn what_is_written_by_others_keeps_its_order() {
    const EVENTS: u32 = 4000;
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    client.is_well();
    let outbox = fixture.service.outboxes.lock().unwrap()[0].clone();
    let others = std::thread::spawn(move || {
        for number in 0..EVENTS {
            // Now more than the socket takes, now little enough for it to rest between.
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(if number % 7 == 0 { 4000 } else { 16 }, 7);
            outbox.event(PROGRAM, 1, 99, &payload);
            if number % 50 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    });
    let (mut next, mut answers) = (0_u32, 0);
    for serial in 0..200 {
        client.call(ECHO, serial, b"echo");
    }
    while next < EVENTS || answers < 200 {
        if next % 500 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let (header, payload) = client.receive();
        match header.kind {
            Kind::REPLY => {
                assert_eq!((header.serial, &*payload), (answers, &b"echo"[..]));
                answers += 1;
            }
            _ => {
                assert_eq!(payload.get(..4), Some(&next.to_be_bytes()[..]));
                assert!(payload[4..].iter().all(|byte| *byte == 7));
                next += 1;
            }
        }
    }
    others.join().unwrap();
    client.is_well();
}

#[test]
fn large_arguments_and_replies() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let data: Vec<u8> = (0..5_000_000_u32).map(|i| (i / 3) as u8).collect();
    let mut writer = client.socket.try_clone().unwrap();
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &header(ECHO, 1), &data);
    let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    assert!(client.receive().1 == data);
    sender.join().unwrap();
    // The longest reply there may be, and one that is longer.
    let longest = frame::MAX_PAYLOAD as u32;
    let (header, payload) = client.ask(BIG, 2, &longest.to_be_bytes());
    assert_eq!(header.status, Status::OK);
    assert_eq!(payload.len(), frame::MAX_PAYLOAD);
    let (header, payload) = client.ask(BIG, 3, &(longest + 4).to_be_bytes());
    assert_eq!(header.status, Status::ERROR);
    assert_eq!(error(&payload).1, "Unable to encode message payload");
    client.is_well();
}

#[test]
fn descriptors_come_with_a_call() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    let mut call = header(FDS_IN, 4);
    call.kind = Kind::CALL_WITH_FDS;
    // Two calls in one go, so that the second begins right behind the first one's descriptors.
    for content in [b"one", b"two"] {
        client.send(call, &[0, 0, 0, 2, 1, 2, 3, 4]);
        for fd in [full_pipe(content), full_pipe(b"!")] {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
            let fds = [fd.as_fd()];
            control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds));
            let flags = rustix::net::SendFlags::empty();
            rustix::net::sendmsg(&client.socket, &[IoSlice::new(&[0])], &mut control, flags)
                .unwrap();
        }
    }
    client.call(ECHO, 5, b"next");
    assert_eq!(client.receive().1, b"one!");
    assert_eq!(client.receive().1, b"two!");
    assert_eq!(client.receive().1, b"next");
}

#[test]
fn descriptors_go_with_a_reply() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    client.call(FDS_OUT, 4, b"");
    client.call(ECHO, 5, b"next");
    let (header, payload) = client.receive();
    assert_eq!(header.kind, Kind::REPLY_WITH_FDS);
    assert_eq!(payload, b"\0\0\0\x02two!");
    let mut text = String::new();
    for _ in 0..2 {
        let mut byte = [9];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut slices = [std::io::IoSliceMut::new(&mut byte)];
        let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(&client.socket, &mut slices, &mut control, flags).unwrap();
        for message in control.drain() {
            if let rustix::net::RecvAncillaryMessage::ScmRights(fds) = message {
                for fd in fds {
                    let mut file = std::fs::File::from(fd);
                    file.read_to_string(&mut text).unwrap();
                }
            }
        }
        assert_eq!(byte, [0]);
    }
    assert_eq!(text, "ab");
    assert_eq!(client.receive().1, b"next");
}

#[test]
fn close_answers_first() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    client.call(CLOSE, 1, b"");
    client.call(ECHO, 2, b"late");
    assert_eq!(client.receive().1, b"bye!");
    client.is_closed();
}

#[test]
fn events_reach_the_client_in_order() {
    let fixture = Fixture::new();
    let mut client = fixture.connect();
    client.is_well();
    let outbox = fixture.service.outboxes.lock().unwrap()[0].clone();
    for number in 0..1000_u32 {
        outbox.event(PROGRAM, 1, 318, &number.to_be_bytes());
    }
    for number in 0..1000_u32 {
        let (header, payload) = client.receive();
        assert_eq!((header.kind, header.procedure), (Kind::MESSAGE, 318));
        assert_eq!(payload, number.to_be_bytes());
    }
}

#[test]
fn late_answers_may_run_elsewhere() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let config =
        ServerConfig { runtime: Some(runtime.handle().clone()), ..ServerConfig::default() };
    let fixture = Fixture::with(config, Odd::new());
    let mut client = fixture.connect();
    client.call(GATED, 1, b"");
    fixture.service.gate.add_permits(1);
    assert_eq!(client.receive().1, b"open");
}
