//! What is measured of a daemon, and how.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tests::wire::{self, procedure};

use crate::daemon::Boxed;

/// One number about a daemon.
pub struct Measure {
    /// What was measured.
    pub what: String,
    /// The unit of `value`.
    pub unit: &'static str,
    /// The number.
    pub value: f64,
    /// Whether a larger number is better.
    pub more_is_better: bool,
}

const DEFINE: u32 = 11;
const CREATE: u32 = 9;
/// `virDomainDestroy`.
pub const DESTROY: u32 = 12;
/// `virDomainGetXMLDesc`.
pub const DUMPXML: u32 = 14;
const LIST_ALL: u32 = 273;
const HOSTNAME: u32 = 59;

/// All measures of one daemon, always in the same order.
pub fn all(mut daemon: Boxed, domains: usize) -> Vec<Measure> {
    let mut found = Vec::new();
    let mut less = |what: &str, unit, value| {
        found.push(Measure { what: what.to_owned(), unit, value, more_is_better: false });
    };
    let socket = daemon.socket();
    less("connect, open, close", "us", micros(300, || drop(wire::open(&socket, false))));
    let mut stream = wire::open(&socket, false);
    less("small call, one client", "us", micros(20_000, || ok(&mut stream, HOSTNAME, &[])));
    let rate = calls_per_second(&daemon, 32, Duration::from_secs(2));

    let mut numbers = 0..;
    let mut define = || {
        let name = format!("bench{}", numbers.next().unwrap_or(0));
        ok(&mut stream, DEFINE, &string(&xml(&name)));
    };
    less("define, the first 100", "us", micros(100, &mut define));
    for _ in 200..domains {
        define();
    }
    less("define, the last 100", "us", micros(100, &mut define));
    let mut stream = wire::open(&socket, false);
    let all = [0, 0, 0, 1, 0, 0, 0, 0];
    less("list all", "us", micros(50, || ok(&mut stream, LIST_ALL, &all)));
    let one = domain("bench7", &daemon);
    let mut body = one.clone();
    body.extend_from_slice(&[0; 4]);
    less("dumpxml", "us", micros(500, || ok(&mut stream, DUMPXML, &body)));
    less("resident memory", "MiB", daemon.resident());

    let (mut creates, mut destroys) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let begun = Instant::now();
        ok(&mut stream, CREATE, &one);
        creates.push(begun.elapsed());
        let begun = Instant::now();
        ok(&mut stream, DESTROY, &one);
        destroys.push(begun.elapsed());
    }
    less("create to running", "ms", median(creates) / 1000.0);
    less("destroy", "ms", median(destroys) / 1000.0);
    less("stop", "ms", daemon.stop().as_secs_f64() * 1000.0);
    less("start to first answer, all defined", "ms", daemon.launch().as_secs_f64() * 1000.0);
    found.push(Measure {
        what: "small calls, 32 clients".to_owned(),
        unit: "/s",
        value: rate,
        more_is_better: true,
    });
    found
}

fn xml(name: &str) -> String {
    tests::domains::minimal(name)
}

/// A string as XDR: length, bytes, padding.
pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The domain as calls name it, looked up by its name.
pub fn domain(name: &str, daemon: &Boxed) -> Vec<u8> {
    const LOOKUP_BY_NAME: u32 = 23;
    let mut stream = wire::open(&daemon.socket(), false);
    let (status, body) = wire::ask(&mut stream, LOOKUP_BY_NAME, 9, &string(name));
    assert_eq!(status, 0, "{name} is defined");
    body
}

/// Asks, and panics when the answer is an error.
#[track_caller]
pub fn ok(stream: &mut UnixStream, number: u32, body: &[u8]) {
    let (status, answer) = wire::ask(stream, number, 9, body);
    assert_eq!(status, 0, "call {number}: {}", String::from_utf8_lossy(&answer));
}

/// The median time of one of `count` turns, in microseconds.
fn micros(count: usize, mut turn: impl FnMut()) -> f64 {
    median((0..count).map(|_| {
        let begun = Instant::now();
        turn();
        begun.elapsed()
    }))
}

/// The median, in microseconds.
pub fn median(times: impl IntoIterator<Item = Duration>) -> f64 {
    micros_at(times, 0.5)
}

/// What a part of them (0.5 is the median, 1 all of them) stays below, in microseconds.
pub fn micros_at(times: impl IntoIterator<Item = Duration>, part: f64) -> f64 {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort();
    let index = (times.len() as f64 * part) as usize;
    times[index.min(times.len() - 1)].as_secs_f64() * 1e6
}

/// Calls a second that all of `clients` get together.
fn calls_per_second(daemon: &Boxed, clients: usize, span: Duration) -> f64 {
    let deadline = Instant::now() + span;
    let counts: Vec<_> = (0..clients)
        .map(|_| {
            let mut stream = wire::open(&daemon.socket(), false);
            std::thread::spawn(move || {
                let mut count = 0u64;
                while Instant::now() < deadline {
                    ok(&mut stream, procedure::CONNECT_GET_TYPE, &[]);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let total: u64 = counts.into_iter().map(|thread| thread.join().expect("no client fails")).sum();
    total as f64 / span.as_secs_f64()
}
