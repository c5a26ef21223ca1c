//! Parsers of outside bytes: the seeds of `fuzz/corpus` and pseudo-random mutations of them.
//!
//! The fuzzers of `fuzz/` look deeper; this runs everywhere and catches what breaks at once. A
//! parser fails here by a panic, or by an input that it is not done with in a very long time. The seed of each round is in its name, so failures repeat.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use tests::mutate::{Random, mutate};
use tests::paths;

/// An input is a few kilobytes and takes well below a millisecond: one that takes as long as this,
/// on however busy a machine, does not end, or takes steps out of all proportion.
const LIMIT: Duration = Duration::from_secs(120);

fn feed(target: &str, parser: fn(&[u8])) {
    let folder = paths::workspace().join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    // The parser runs beside: one that hangs is told with its input.
    let (begin, begun) = mpsc::channel();
    let worker = std::thread::Builder::new().stack_size(model::STACK_SIZE);
    let work = move || {
        for file in files {
            let seed = std::fs::read(&file).expect("a seed");
            attempt(&begin, &file.display().to_string(), &seed, parser);
            for round in 0..rounds() {
                let mut random = Random::new(round);
                let mut bytes = seed.clone();
                for _ in 0..=round % 8 {
                    bytes = mutate(&bytes, &mut random);
                }
                attempt(&begin, &format!("{} round {round}", file.display()), &bytes, parser);
            }
        }
    };
    let worker = worker.spawn(work).expect("a thread");
    let mut current = (String::new(), Vec::new());
    loop {
        match begun.recv_timeout(LIMIT) {
            Ok(next) => current = next,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let (what, bytes) = current;
                panic!("{what} takes longer than {LIMIT:?}: {:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }
    if let Err(broken) = worker.join() {
        resume_unwind(broken);
    }
}

/// Mutations of each seed; `FUZZ_ROUNDS` asks for more than the thousand of `./test`.
fn rounds() -> u64 {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

fn attempt(begin: &Sender<(String, Vec<u8>)>, what: &str, bytes: &[u8], parser: fn(&[u8])) {
    let _ = begin.send((what.to_owned(), bytes.to_vec()));
    let outcome = catch_unwind(AssertUnwindSafe(|| parser(bytes)));
    assert!(outcome.is_ok(), "{what} broke it: {:?}", String::from_utf8_lossy(bytes));
}

#[test]
fn xml() {
    feed("xml", xml::fuzzing::fuzz_one);
}

#[test]
fn xdr() {
    feed("xdr", xdr::fuzzing::fuzz_one);
}

#[test]
fn frame() {
    feed("frame", rpc::frame::fuzz_one);
}

#[test]
fn client() {
    feed("client", rpc::client::fuzz_one);
}

#[test]
fn message() {
    feed("message", protocol::fuzzing::fuzz_one);
}

#[test]
fn qmp() {
    feed("qmp", qmp::fuzzing::fuzz_one);
}

#[test]
fn caps() {
    feed("caps", model::capabilities::qemu::fuzz_one);
}

#[test]
fn domain() {
    feed("domain", model::domain::fuzzing::fuzz_one);
}

#[test]
fn cpu() {
    feed("cpu", model::cpu::fuzz_one);
}

#[test]
fn dbus() {
    feed("dbus", host::dbus::fuzz_one);
}

#[test]
fn storage() {
    feed("storage", model::storage::fuzz_one);
}

#[test]
fn network() {
    feed("network", model::network::fuzz_one);
}

#[test]
fn nwfilter() {
    feed("nwfilter", model::nwfilter::fuzz_one);
}

#[test]
fn firmware() {
    feed("firmware", model::capabilities::firmware::fuzz_one);
}

#[test]
fn conf() {
    feed("conf", engine::conf::fuzz_one);
}

#[test]
fn probe() {
    feed("probe", engine::storage::fuzz_one);
}

#[test]
fn nodedev() {
    feed("nodedev", model::nodedev::fuzz_one);
}

#[test]
fn interface() {
    feed("interface", model::interface::fuzz_one);
}

#[test]
fn secret() {
    feed("secret", model::secret::fuzz_one);
}

#[test]
fn snapshot() {
    feed("snapshot", model::snapshot::fuzz_one);
}

#[test]
fn checkpoint() {
    feed("checkpoint", model::checkpoint::fuzz_one);
}

#[test]
fn backup() {
    feed("backup", model::backup::fuzz_one);
}

#[test]
fn hostinfo() {
    feed("hostinfo", model::host_info::fuzz_one);
}

#[test]
fn saveimage() {
    feed("saveimage", model::save_image::fuzz_one);
}

#[test]
fn units() {
    feed("units", units::fuzzing::fuzz_one);
}

#[test]
fn blockjson() {
    feed("blockjson", plan::block::json::fuzz_one);
}

#[test]
fn every_target_is_fed_here() {
    let here = [
        "backup",
        "blockjson",
        "caps",
        "checkpoint",
        "client",
        "conf",
        "cpu",
        "dbus",
        "domain",
        "firmware",
        "frame",
        "hostinfo",
        "interface",
        "message",
        "network",
        "nodedev",
        "nwfilter",
        "probe",
        "qmp",
        "saveimage",
        "secret",
        "snapshot",
        "storage",
        "units",
        "xdr",
        "xml",
    ];
    let mut targets: Vec<_> = std::fs::read_dir(paths::workspace().join("fuzz/fuzz_targets"))
        .expect("the fuzz targets")
        .flatten()
        .map(|entry| entry.path().file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    assert_eq!(targets, here);
}
