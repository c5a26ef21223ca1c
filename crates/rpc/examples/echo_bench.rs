//! How fast the server is, with procedures that think of nothing: an ideal daemon's speed on our transport.
//!
//! ```text
//! echo_bench serve SOCKET [THREADS]   answer small calls until killed (for a client written elsewhere)
//! echo_bench load SOCKET N SECONDS    N connections, each with one call on its way; prints rate and latencies
//! echo_bench [SECONDS]                both in one process, 1, 8 and 32 connections
//! ```
//!
//! For the latency on one processor run either part under `taskset -c 0`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::frame::{self, Header, Kind, Status};
use rpc::server::{
    Call, ListenerKind, ListenerSpec, Outbox, Outcome, Peer, Server, ServerConfig, Service, Shards,
};

const PROGRAM: u32 = 0x2000_8086;
const AUTH_LIST: i32 = 66;
const GET_LIB_VERSION: i32 = 157;

struct Ideal;

impl Service for Ideal {
    type Session = ();

    fn programs(&self, _: ListenerKind) -> &[(u32, u32)] {
        &[(PROGRAM, 1)]
    }

    fn connected(&self, _: &Arc<Peer>, out: Outbox) {
        out.set_authenticated();
    }

    fn call(&self, _: &Arc<()>, call: Call<'_>, reply: &mut Vec<u8>) -> Outcome {
        match call.procedure {
            AUTH_LIST => reply.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]),
            GET_LIB_VERSION => reply.extend_from_slice(&11_003_000_u64.to_be_bytes()),
            _ => {}
        }
        Outcome::Reply
    }

    fn disconnected(&self, _: &Arc<()>) {}
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn serve(path: &str, threads: Option<usize>) -> Result<rpc::server::ServerHandle, Failure> {
    let shards = Shards::start(threads)?;
    let door = ListenerSpec::path(ListenerKind::Main, path, 0o600);
    Ok(Server::start(&shards, Arc::new(Ideal), ServerConfig::default(), vec![door])?)
}

/// One connection with one call on its way, until the time is over; returns the latencies.
fn client(path: &str, time: Duration) -> Result<Vec<Duration>, Failure> {
    let mut socket = UnixStream::connect(path)?;
    let header = Header {
        program: PROGRAM,
        version: 1,
        procedure: GET_LIB_VERSION,
        kind: Kind::CALL,
        serial: 7,
        status: Status::OK,
    };
    let mut call = Vec::new();
    frame::put(&mut call, &header, &[]);
    let mut reply = [0; 36];
    let mut latencies = Vec::new();
    let end = Instant::now() + time;
    loop {
        let start = Instant::now();
        if start > end {
            return Ok(latencies);
        }
        socket.write_all(&call)?;
        socket.read_exact(&mut reply)?;
        latencies.push(start.elapsed());
    }
}

fn load(path: &str, connections: usize, time: Duration) -> Result<(), Failure> {
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let path = path.to_owned();
            std::thread::spawn(move || client(&path, time))
        })
        .collect();
    let mut all = Vec::new();
    for thread in threads {
        all.extend(thread.join().map_err(|_| "a client panicked")??);
    }
    all.sort_unstable();
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!(
        "{connections:3} connections: {:8.0} calls/s, p50 {:.1} us, p99 {:.1} us",
        all.len() as f64 / time.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seconds =
        |text: Option<&String>| text.map_or(Ok(2.0), |t| t.parse()).map(Duration::from_secs_f64);
    match args.first().map(String::as_str) {
        Some("serve") => {
            let threads = args.get(2).map(|count| count.parse()).transpose()?;
            let _server = serve(args.get(1).ok_or("which socket?")?, threads)?;
            loop {
                std::thread::park();
            }
        }
        Some("load") => {
            let path = args.get(1).ok_or("which socket?")?;
            let count = args.get(2).ok_or("how many connections?")?.parse()?;
            load(path, count, seconds(args.get(3))?)
        }
        _ => {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("bench-sock");
            let path = path.to_str().ok_or("odd temporary folder")?;
            let server = serve(path, None)?;
            for connections in [1, 8, 32] {
                load(path, connections, seconds(args.first())?)?;
            }
            server.shutdown_blocking();
            Ok(())
        }
    }
}
