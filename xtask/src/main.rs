//! Development tasks: `cargo run -p xtask -- TASK [ARGUMENTS]`.
//!
//! A task is a module with `pub fn run(root: &Path, args: &[String]) -> Result<(), String>` and a line in [`TASKS`].

mod cpus;
mod deps;
mod layers;
mod metadata;
mod protocol;
mod scores;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a task is given: the workspace's folder and its own arguments. An error is printed and makes the exit code 1.
type Task = fn(&Path, &[String]) -> Result<(), String>;

/// Every task: its name, what it does, its function.
const TASKS: &[(&str, &str, Task)] = &[
    (
        "protocol",
        "generate crates/protocol from its interface table (--check: compare)",
        protocol::run,
    ),
    (
        "cpus",
        "compare our data of CPU models with the installed QEMU (--verbose: differences)",
        cpus::run,
    ),
    ("tidy", "check the house rules of every file", tidy::run),
    ("layers", "check that dependencies point down only", layers::run),
    ("deps", "check the licences and reasons of dependencies", deps::run),
    (
        "scores",
        "compare a conformance result with the recorded scores (--keep: only compare)",
        scores::run,
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else { return usage("no task given") };
    let Some((_, _, task)) = TASKS.iter().find(|t| t.0 == name) else {
        return usage(&format!("no task named {name}"));
    };
    match task(&root(), rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask {name}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn usage(fault: &str) -> ExitCode {
    eprintln!("xtask: {fault}\ntasks:");
    for (name, about, _) in TASKS {
        eprintln!("  {name:12} {about}");
    }
    ExitCode::from(2)
}

/// The workspace's folder.
fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}
