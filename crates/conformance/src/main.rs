//! A test-only program: it reads one request (a JSON object) per line and answers each with one
//! line, so that the crates below the daemon can be run against data that others made.
//!
//! Each area of the code has a file with its operations; [`AREAS`] lists them. An answer depends
//! on its request alone. What is neither in the request nor the same for all (capabilities that
//! were read, the profile of the first request) is not kept.

mod answer;
mod block;
mod capabilities;
mod cpu;
mod domain;
mod emulator;
mod host;
mod host_caps;
mod host_info;
mod interface;
mod network;
mod nodedev;
mod nwfilter;
mod request;
mod secret;
mod snapshot;
mod storage;

use answer::Answer;
use request::{Profile, Request};
use serde_json::{Value, json};
use std::io::{BufRead, Write};

/// An operation: its name and what carries it out.
type Operation = (&'static str, fn(&Request<'_>) -> Answer);

/// The operations of every area.
const AREAS: &[&[Operation]] = &[
    block::OPERATIONS,
    capabilities::OPERATIONS,
    cpu::OPERATIONS,
    domain::OPERATIONS,
    host_caps::OPERATIONS,
    host_info::OPERATIONS,
    interface::OPERATIONS,
    network::OPERATIONS,
    nodedev::OPERATIONS,
    nwfilter::OPERATIONS,
    secret::OPERATIONS,
    snapshot::OPERATIONS,
    storage::OPERATIONS,
];

fn answer(line: &str, profile: &mut Profile) -> Value {
    let request: Value = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return json!({"ok": false, "err": format!("not a request: {error}")}),
    };
    let op = request.get("op").and_then(Value::as_str).unwrap_or_default();
    if op == "hello" {
        *profile = Profile::new(request.get("profile"));
        let ops: Vec<&str> = AREAS.iter().flat_map(|area| area.iter()).map(|(op, _)| *op).collect();
        return json!({"ok": true, "ops": ops});
    }
    let found = AREAS.iter().flat_map(|area| area.iter()).find(|(name, _)| *name == op);
    match found {
        Some((_, run)) => run(&Request::new(&request, profile)).to_json(),
        None => Answer::Unsupported.to_json(),
    }
}

fn main() -> std::io::Result<()> {
    let mut profile = Profile::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", answer(&line?, &mut profile))?;
        out.flush()?;
    }
    Ok(())
}
