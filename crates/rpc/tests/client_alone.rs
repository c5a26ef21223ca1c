//! The client against a scripted peer on a socket pair: what no sane daemon does, and what it does rarely.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::message::{Header, Kind, Status, StreamHole};
use protocol::remote::{self, procs};
use protocol::{Procedure, WireError, keepalive};
use rpc::client::{CloseReason, Connection, Keepalive, OpenOptions, Received, StreamItem};
use xdr::Encode;

/// The daemon's end.
struct Peer(UnixStream);

impl Peer {
    fn read(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.0.read_exact(&mut rest).ok()?;
        let header = xdr::from_slice(&rest).unwrap();
        Some((header, rest.split_off(24)))
    }

    fn write(&mut self, header: &Header, payload: &[u8]) {
        let mut bytes = (28 + payload.len() as u32).to_be_bytes().to_vec();
        bytes.extend(xdr::to_vec(header).unwrap());
        bytes.extend(payload);
        // The client may be gone: some tests want that.
        let _ = self.0.write_all(&bytes);
    }

    fn reply(&mut self, to: &Header, ret: &impl Encode) {
        let header = Header { kind: Kind::REPLY, status: Status::OK, ..*to };
        self.write(&header, &xdr::to_vec(ret).unwrap());
    }

    fn stream(&mut self, to: &Header, status: Status, payload: &[u8]) {
        self.write(&Header { kind: Kind::STREAM, status, ..*to }, payload);
    }

    /// The next call of `P`; everything else that opening and closing needs is answered on the way.
    fn expect<P: Procedure>(&mut self) -> Header {
        loop {
            let (h, _) = self.read().expect("the client closed too early");
            if (h.program, h.procedure) == (P::PROGRAM, P::NUMBER) {
                return h;
            }
            self.usual(&h);
        }
    }

    fn usual(&mut self, h: &Header) {
        match h.procedure {
            procs::AuthList::NUMBER => self.reply(h, &remote::AuthListRet::default()),
            procs::ConnectSupportsFeature::NUMBER => {
                self.reply(h, &remote::ConnectSupportsFeatureRet { supported: 1 });
            }
            procs::ConnectOpen::NUMBER | procs::ConnectClose::NUMBER => self.reply(h, &()),
            procs::ConnectRegisterCloseCallback::NUMBER => self.reply(h, &()),
            procs::ConnectUnregisterCloseCallback::NUMBER => self.reply(h, &()),
            other => panic!("unexpected call {other}"),
        }
    }

    /// Answers until the client goes.
    fn rest(mut self) {
        while let Some((h, _)) = self.read() {
            if h.kind == Kind::CALL {
                self.usual(&h);
            }
        }
    }
}

fn start(
    options: OpenOptions,
    peer: impl FnOnce(Peer) + Send + 'static,
) -> (Connection, JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = std::thread::spawn(move || peer(Peer(theirs)));
    (Connection::open_fd(ours.into(), "qemu:///system", &options).unwrap(), peer)
}

const KEEP: Header = Header {
    program: keepalive::PROGRAM,
    version: 1,
    procedure: 1,
    kind: Kind::MESSAGE,
    serial: 0,
    status: Status::OK,
};

#[test]
fn questions_are_answered_while_nobody_calls() {
    let (c, peer) = start(OpenOptions::default(), |mut p| {
        let h = p.expect::<procs::ConnectOpen>();
        p.reply(&h, &());
        let h = p.expect::<procs::ConnectGetHostname>();
        p.reply(&h, &remote::ConnectGetHostnameRet { hostname: "h".into() });
        for _ in 0..3 {
            p.write(&KEEP, &[]);
            let (h, payload) = p.read().unwrap();
            assert_eq!((h.program, h.procedure, payload.len()), (keepalive::PROGRAM, 2, 0));
        }
        // An event tells the client that all answers came.
        p.write(&Header { procedure: 318, kind: Kind::MESSAGE, ..h }, &[0, 0, 0, 9]);
        p.rest();
    });
    assert_eq!(c.call::<procs::ConnectGetHostname>(&()).unwrap().hostname, "h");
    let event = c.next_event(None).unwrap().unwrap();
    assert_eq!((event.number, event.callback_id()), (318, Some(9)));
    drop(c);
    peer.join().unwrap();
}

#[test]
fn a_silent_daemon_is_given_up() {
    let keepalive = Some(Keepalive { interval: Duration::from_millis(20), count: 2 });
    let (c, peer) = start(OpenOptions { keepalive, ..OpenOptions::default() }, |mut p| {
        p.expect::<procs::ConnectGetHostname>();
        // One answer arms the client's clock; then silence.
        p.write(&Header { procedure: 2, ..KEEP }, &[]);
        let mut asked = 0;
        while let Some((h, _)) = p.read() {
            asked += i32::from(h.program == keepalive::PROGRAM);
        }
        assert!(asked >= 2, "{asked}");
    });
    // The client's first question is no call.
    let e = c.call::<procs::ConnectGetHostname>(&()).unwrap_err();
    assert_eq!(e.message(), "internal error: connection closed due to keepalive timeout");
    assert_eq!(c.close_reason(), Some(CloseReason::Keepalive));
    let e = c.call::<procs::ConnectGetHostname>(&()).unwrap_err();
    assert_eq!(e.message(), "internal error: client socket is closed");
    drop(c);
    peer.join().unwrap();
}

#[test]
fn a_vanished_daemon() {
    let (c, peer) = start(OpenOptions::default(), |mut p| {
        p.expect::<procs::ConnectGetHostname>();
    });
    let e = c.call::<procs::ConnectGetHostname>(&()).unwrap_err();
    assert_eq!(e.message(), "End of file while reading data: Input/output error");
    assert_eq!((e.code.0, e.domain.0), (38, 7));
    assert_eq!(c.close_reason(), Some(CloseReason::Eof));
    assert!(!c.is_alive());
    assert!(c.next_event(None).is_err());
    peer.join().unwrap();
}

#[test]
fn an_announced_reason_counts() {
    let options = OpenOptions { close_callback: true, ..OpenOptions::default() };
    let (c, peer) = start(options, |mut p| {
        let h = p.expect::<procs::ConnectGetHostname>();
        let event = Header { procedure: 362, kind: Kind::MESSAGE, ..h };
        p.write(&event, &2i32.to_be_bytes());
    });
    c.call::<procs::ConnectGetHostname>(&()).unwrap_err();
    assert_eq!(c.close_reason(), Some(CloseReason::Keepalive));
    peer.join().unwrap();
}

#[test]
fn hostile_frames_end_the_connection_with_an_error() {
    // A length below the header's; a kind that does not exist; too many descriptors; a descriptor that never comes.
    let header = |kind: u32| {
        let words = [0x2000_8086, 1, 59, kind, 7, 0];
        words.map(u32::to_be_bytes).concat()
    };
    let frame = |length: u32, kind: u32, more: &[u8]| {
        [&length.to_be_bytes(), &header(kind)[..], more].concat()
    };
    for bytes in [
        vec![0, 0, 0, 3],
        vec![0xff; 4],
        frame(28, 9, &[]),
        frame(28, 5, &[]),
        frame(32, 5, &[0, 0, 0, 33]),
        frame(32, 5, &[0, 0, 0, 1, 0]),
    ] {
        let (c, peer) = start(OpenOptions::default(), move |mut p| {
            p.expect::<procs::ConnectGetHostname>();
            p.0.write_all(&bytes).unwrap();
            p.rest();
        });
        let e = c.call::<procs::ConnectGetHostname>(&()).unwrap_err();
        assert_eq!(e.code.0, 39, "{e:?}");
        assert_eq!(c.close_reason(), Some(CloseReason::Error));
        drop(c);
        peer.join().unwrap();
    }
}

#[test]
fn undecodable_results_leave_the_connection_standing() {
    let (c, peer) = start(OpenOptions::default(), |mut p| {
        let h = p.expect::<procs::ConnectGetHostname>();
        p.reply(&h, &1000u32);
        // Answers that nobody waits for are dropped.
        p.reply(&h, &0u32);
        p.stream(&h, Status::CONTINUE, b"x");
        let h = p.expect::<procs::ConnectGetHostname>();
        // A string that is not UTF-8 is shown as well as it can be.
        p.write(&Header { kind: Kind::REPLY, ..h }, b"\0\0\0\x02a\xff\0\0");
        p.rest();
    });
    let e = c.call::<procs::ConnectGetHostname>(&()).unwrap_err();
    assert_eq!(e.detail, "Unable to decode message payload");
    assert_eq!(c.call::<procs::ConnectGetHostname>(&()).unwrap().hostname, "a\u{fffd}");
    drop(c);
    peer.join().unwrap();
}

fn screenshot() -> remote::DomainScreenshotArgs {
    remote::DomainScreenshotArgs::default()
}

#[test]
fn streams_end_fail_and_have_holes() {
    let (c, peer) = start(OpenOptions::default(), |mut p| {
        let h = p.expect::<procs::DomainScreenshot>();
        p.reply(&h, &remote::DomainScreenshotRet { mime: Some("m".into()) });
        p.stream(&h, Status::CONTINUE, b"abc");
        let hole = xdr::to_vec(&StreamHole { length: 5, flags: 0 }).unwrap();
        let kind = Kind::STREAM_HOLE;
        p.write(&Header { kind, status: Status::CONTINUE, ..h }, &hole);
        p.stream(&h, Status::CONTINUE, b"");
        let (end, payload) = p.read().unwrap();
        assert_eq!((end.kind, end.status, end.serial), (Kind::STREAM, Status::OK, h.serial));
        assert!(payload.is_empty());
        p.stream(&h, Status::OK, b"");

        let h = p.expect::<procs::DomainScreenshot>();
        p.reply(&h, &remote::DomainScreenshotRet::default());
        let e = diag::VirError::failed("disk full");
        p.stream(&h, Status::ERROR, &xdr::to_vec(&WireError::from(&e)).unwrap());
        p.rest();
    });
    let (ret, stream) = c.open_stream::<procs::DomainScreenshot>(&screenshot()).unwrap();
    assert_eq!(ret.mime.as_deref(), Some("m"));
    assert_eq!(stream.recv().unwrap(), Some(StreamItem::Data(b"abc".to_vec())));
    assert_eq!(stream.recv().unwrap(), Some(StreamItem::Hole(5)));
    assert_eq!(stream.recv().unwrap(), None);
    assert_eq!(stream.recv_timeout(Duration::ZERO).unwrap(), Received::End);
    stream.finish().unwrap();
    let (_, stream) = c.open_stream::<procs::DomainScreenshot>(&screenshot()).unwrap();
    assert_eq!(stream.recv().unwrap_err().message(), "operation failed: disk full");
    assert!(stream.send(b"x").is_err());
    assert!(stream.finish().is_err());
    drop(c);
    peer.join().unwrap();
}

#[test]
fn a_slow_reader_may_still_call() {
    const FRAMES: usize = 200;
    let (c, peer) = start(OpenOptions::default(), |mut p| {
        let h = p.expect::<procs::DomainScreenshot>();
        p.reply(&h, &remote::DomainScreenshotRet::default());
        let mut writer = Peer(p.0.try_clone().unwrap());
        let sender = std::thread::spawn(move || {
            for _ in 0..FRAMES {
                writer.stream(&h, Status::CONTINUE, &[7; 262_120]);
            }
            writer
        });
        // The call comes while much more is under way than the client keeps.
        let call = p.expect::<procs::ConnectGetHostname>();
        let mut writer = sender.join().unwrap();
        writer.reply(&call, &remote::ConnectGetHostnameRet { hostname: "h".into() });
        writer.stream(&h, Status::CONTINUE, b"");
        p.rest();
    });
    let (_, stream) = c.open_stream::<procs::DomainScreenshot>(&screenshot()).unwrap();
    stream.recv().unwrap();
    assert_eq!(c.call::<procs::ConnectGetHostname>(&()).unwrap().hostname, "h");
    let mut bytes = 262_120;
    while let Some(StreamItem::Data(d)) = stream.recv().unwrap() {
        bytes += d.len();
    }
    assert_eq!(bytes, FRAMES * 262_120);
    drop(stream);
    drop(c);
    peer.join().unwrap();
}

#[test]
fn unknown_authentication_is_refused() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = std::thread::spawn(move || {
        let mut p = Peer(theirs);
        let h = p.expect::<procs::AuthList>();
        p.reply(&h, &remote::AuthListRet { types: vec![remote::AuthType::Sasl] });
        p.rest();
    });
    let e = Connection::open_fd(ours.into(), "", &OpenOptions::default()).unwrap_err();
    assert_eq!(e.code, diag::ErrorCode::AUTH_FAILED);
    peer.join().unwrap();
}

#[test]
fn fuzz_entry_accepts_anything() {
    rpc::client::fuzz_one(b"qemu+unix:///system?socket=%2");
    rpc::client::fuzz_one(&[0xff; 64]);
    rpc::client::fuzz_one(&[0; 64]);
}
