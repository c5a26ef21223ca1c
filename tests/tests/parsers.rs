//! Parsers of outside bytes: the seeds of `fuzz/corpus` and pseudo-random mutations of them.
//!
//! The fuzzers of `fuzz/` look deeper; this runs everywhere and catches what breaks at once. A
//! parser fails here by a panic. The seed of each round is in its name, so failures repeat.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::mutate::{Random, mutate};
use tests::paths;

fn feed(target: &str, parser: fn(&[u8])) {
    let folder = paths::workspace().join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    for file in files {
        let seed = std::fs::read(&file).expect("a seed");
        attempt(&file.display().to_string(), &seed, parser);
        for round in 0..1000 {
            let mut random = Random::new(round);
            let mut bytes = seed.clone();
            for _ in 0..=round % 8 {
                bytes = mutate(&bytes, &mut random);
            }
            attempt(&format!("{} round {round}", file.display()), &bytes, parser);
        }
    }
}

fn attempt(what: &str, bytes: &[u8], parser: fn(&[u8])) {
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
fn every_target_is_fed_here() {
    let here = [
        "backup",
        "caps",
        "checkpoint",
        "client",
        "conf",
        "cpu",
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
