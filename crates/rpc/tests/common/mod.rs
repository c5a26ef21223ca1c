//! A service that does odd things on request, and a client that speaks raw frames.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diag::VirError;
use rpc::frame::{self, Header, Kind, Status};
use rpc::server::{
    Call, ListenerKind, ListenerSpec, Outbox, Outcome, Peer, Server, ServerConfig, ServerHandle,
    Service, Shards, StreamIn,
};
use tokio::sync::Semaphore;

pub const PROGRAM: u32 = 0x2000_8086;

/// Answers with the arguments.
pub const ECHO: i32 = 1;
/// Answers when the gate gives a permit.
pub const GATED: i32 = 2;
/// Panics at once, or later.
pub const PANIC: i32 = 3;
pub const PANIC_LATER: i32 = 4;
/// Reads the descriptors that came, to their ends, and answers with what they held.
pub const FDS_IN: i32 = 5;
/// Answers with descriptors of two pipes that hold "a" and "b".
pub const FDS_OUT: i32 = 6;
/// Streams: sends back what comes; sends so many bytes; counts bytes; panics or fails at the first data.
pub const STREAM_ECHO: i32 = 7;
pub const DOWNLOAD: i32 = 8;
pub const UPLOAD: i32 = 9;
pub const STREAM_PANIC: i32 = 10;
pub const STREAM_FAIL: i32 = 11;
/// Counts bytes, each item only after the gate gave a permit.
pub const SLOW_UPLOAD: i32 = 12;
/// Begins keepalive; answers and closes; answers with an error; answers with so many bytes.
pub const KEEPALIVE: i32 = 13;
pub const CLOSE: i32 = 14;
pub const FAIL: i32 = 15;
pub const BIG: i32 = 16;
/// Begins at once, on the connection's thread, whose name it answers with; then, by its argument, is done (0), wakes
/// itself (1), panics (2), waits for the gate (3), or does so and panics (4).
pub const PROMPT: i32 = 17;

pub struct Odd {
    pub gate: Arc<Semaphore>,
    /// Gated calls that began, and that ran to their end.
    pub begun: AtomicUsize,
    pub done: Arc<AtomicUsize>,
    pub gone: AtomicUsize,
    pub uploaded: Arc<AtomicUsize>,
    /// Uploads that were aborted or lost.
    pub closed: Arc<AtomicUsize>,
    /// How streams ended, as their handlers saw it.
    pub endings: Arc<Mutex<Vec<String>>>,
    pub outboxes: Mutex<Vec<Outbox>>,
    pub authenticate: bool,
}

impl Odd {
    pub fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            begun: AtomicUsize::new(0),
            done: Arc::default(),
            gone: AtomicUsize::new(0),
            uploaded: Arc::default(),
            closed: Arc::default(),
            endings: Arc::default(),
            outboxes: Mutex::default(),
            authenticate: true,
        }
    }

    fn upload(&self, gate: Option<Arc<Semaphore>>) -> Outcome {
        let uploaded = Arc::clone(&self.uploaded);
        let endings = Arc::clone(&self.endings);
        let closed = Arc::clone(&self.closed);
        let outcome = Outcome::stream(Vec::new(), move |mut stream| async move {
            let ending = loop {
                if let Some(gate) = &gate {
                    gate.acquire().await.unwrap().forget();
                }
                match stream.recv().await {
                    Some(StreamIn::Data(data)) => {
                        uploaded.fetch_add(data.len(), Ordering::SeqCst);
                    }
                    Some(StreamIn::Hole { .. }) => {}
                    Some(StreamIn::Finish) => break "finish",
                    Some(StreamIn::Abort) => break "abort",
                    None => break "lost",
                }
            };
            endings.lock().unwrap().push(ending.into());
            Ok(())
        });
        outcome.on_close(move || {
            closed.fetch_add(1, Ordering::SeqCst);
        })
    }
}

impl Service for Odd {
    type Session = Outbox;

    fn programs(&self, kind: ListenerKind) -> &[(u32, u32)] {
        match kind {
            ListenerKind::Admin => &[(0x0690_0690, 1)],
            _ => &[(PROGRAM, 1)],
        }
    }

    fn connected(&self, _: &Arc<Peer>, out: Outbox) -> Outbox {
        if self.authenticate {
            out.set_authenticated();
        }
        self.outboxes.lock().unwrap().push(out.clone());
        out
    }

    fn call(&self, session: &Arc<Outbox>, call: Call<'_>, reply: &mut Vec<u8>) -> Outcome {
        assert!(reply.is_empty());
        let number = || u32::from_be_bytes(call.payload[..4].try_into().unwrap()) as usize;
        match call.procedure {
            ECHO => {
                reply.extend_from_slice(call.payload);
                Outcome::Reply
            }
            GATED => {
                self.begun.fetch_add(1, Ordering::SeqCst);
                let (gate, done) = (Arc::clone(&self.gate), Arc::clone(&self.done));
                Outcome::later(async move {
                    gate.acquire().await.unwrap().forget();
                    done.fetch_add(1, Ordering::SeqCst);
                    Outcome::ReplyWith(b"open".to_vec())
                })
            }
            PROMPT => {
                let (gate, what) = (Arc::clone(&self.gate), number());
                Outcome::prompt(async move {
                    let name = std::thread::current().name().unwrap_or_default().to_owned();
                    assert_ne!(what, 2, "as asked, at once");
                    if what == 1 {
                        tokio::task::yield_now().await;
                    }
                    if what > 2 {
                        gate.acquire().await.unwrap().forget();
                    }
                    assert_ne!(what, 4, "as asked, when woken");
                    Outcome::ReplyWith(name.into_bytes())
                })
            }
            PANIC => {
                reply.extend_from_slice(b"half a reply");
                panic!("as asked");
            }
            PANIC_LATER => Outcome::later(async {
                tokio::task::yield_now().await;
                panic!("as asked, later");
            }),
            FDS_IN => {
                for fd in call.fds {
                    std::fs::File::from(fd).read_to_end(reply).unwrap();
                }
                Outcome::Reply
            }
            FDS_OUT => {
                let fds = vec![full_pipe(b"a"), full_pipe(b"b")];
                Outcome::ReplyFds(b"two!".to_vec(), fds)
            }
            STREAM_ECHO => Outcome::stream(b"go!!".to_vec(), |mut stream| async move {
                while let Some(item) = stream.recv().await {
                    let sent = match item {
                        StreamIn::Data(data) => stream.send(&data).await,
                        StreamIn::Hole { length, .. } => stream.send_hole(length).await,
                        StreamIn::Finish | StreamIn::Abort => break,
                    };
                    sent.map_err(|e| VirError::failed(e.to_string()))?;
                }
                Ok(())
            }),
            DOWNLOAD => {
                let size = number();
                let endings = Arc::clone(&self.endings);
                Outcome::stream(Vec::new(), move |mut stream| async move {
                    let data: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
                    let mut sent = stream.send(&data).await;
                    if sent.is_ok() {
                        sent = stream.finish_sending().await;
                    }
                    endings.lock().unwrap().push(format!("{sent:?}"));
                    Ok(())
                })
            }
            UPLOAD => self.upload(None),
            SLOW_UPLOAD => self.upload(Some(Arc::clone(&self.gate))),
            STREAM_PANIC => Outcome::stream(Vec::new(), |mut stream| async move {
                stream.recv().await;
                panic!("as asked, in a stream");
            }),
            STREAM_FAIL => Outcome::stream(Vec::new(), |mut stream| async move {
                stream.recv().await;
                Err(VirError::failed("disk full"))
            }),
            KEEPALIVE => {
                session.keepalive_start();
                Outcome::Reply
            }
            CLOSE => Outcome::Close(b"bye!".to_vec()),
            FAIL => VirError::invalid_arg("no").into(),
            BIG => {
                reply.resize(number(), 7);
                Outcome::Reply
            }
            other => rpc::fault::unknown_procedure(other).into(),
        }
    }

    fn disconnected(&self, _: &Arc<Outbox>) {
        self.gone.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn full_pipe(content: &[u8]) -> OwnedFd {
    let (read, write) = rustix::pipe::pipe().unwrap();
    std::fs::File::from(write).write_all(content).unwrap();
    read
}

/// A server on a socket of its own.
pub struct Fixture {
    pub service: Arc<Odd>,
    pub handle: ServerHandle,
    pub path: PathBuf,
    pub folder: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(ServerConfig::default(), Odd::new())
    }

    pub fn with(config: ServerConfig, service: Odd) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let service = Arc::new(service);
        let shards = Shards::start(Some(2)).unwrap();
        let door = ListenerSpec::path(ListenerKind::Main, &path, 0o600);
        let handle = Server::start(&shards, Arc::clone(&service), config, vec![door]).unwrap();
        Self { service, handle, path, folder }
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.path)
    }
}

/// Waits until `condition` holds; fails after ten seconds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

pub fn header(procedure: i32, serial: u32) -> Header {
    Header { program: PROGRAM, version: 1, procedure, kind: Kind::CALL, serial, status: Status::OK }
}

/// A client that knows frames only.
pub struct Client {
    pub socket: UnixStream,
}

impl Client {
    pub fn connect(path: &std::path::Path) -> Self {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket }
    }

    pub fn send(&mut self, header: Header, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &header, payload);
        self.socket.write_all(&bytes).unwrap();
    }

    pub fn call(&mut self, procedure: i32, serial: u32, payload: &[u8]) {
        self.send(header(procedure, serial), payload);
    }

    /// The next frame; its one-byte descriptor messages stay unread.
    pub fn receive(&mut self) -> (Header, Vec<u8>) {
        self.try_receive().expect("a frame")
    }

    pub fn try_receive(&mut self) -> std::io::Result<(Header, Vec<u8>)> {
        let mut bytes = vec![0; frame::PROLOGUE];
        self.socket.read_exact(&mut bytes)?;
        let size = frame::announced(&bytes).unwrap().unwrap();
        bytes.resize(size, 0);
        self.socket.read_exact(&mut bytes[frame::PROLOGUE..])?;
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let header = Header {
            program: word(4),
            version: word(8),
            procedure: word(12) as i32,
            kind: Kind(word(16)),
            serial: word(20),
            status: Status(word(24)),
        };
        Ok((header, bytes.split_off(frame::PROLOGUE)))
    }

    /// A call and its reply.
    pub fn ask(&mut self, procedure: i32, serial: u32, payload: &[u8]) -> (Header, Vec<u8>) {
        self.call(procedure, serial, payload);
        self.receive()
    }

    /// An ordinary call still works.
    pub fn is_well(&mut self) {
        let (header, payload) = self.ask(ECHO, 0xabcd, b"well");
        assert_eq!(header.kind, Kind::REPLY);
        assert_eq!((header.serial, header.status), (0xabcd, Status::OK));
        assert_eq!(payload, b"well");
    }

    /// The server closed the connection.
    pub fn is_closed(&mut self) {
        let mut byte = [0; 1];
        match self.socket.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection should be closed, but: {other:?}"),
        }
    }
}

/// Code and message of an error payload.
pub fn error(payload: &[u8]) -> (u32, String) {
    let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    let length = word(12) as usize;
    let text = String::from_utf8(payload[16..16 + length].to_vec()).unwrap();
    (word(0), text)
}
