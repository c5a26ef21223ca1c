//! Scripts: virsh sessions with what they must print, by Debian's virsh and by our own command.
//! Both must print what the script says, byte by byte. `IRONVIRT_SCRIPT=NAME` runs one script only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tests::script::{self, Program};
use tests::{Daemon, paths};

/// The guests that several scripts start.
const SHARED: &[&str] = &["minimal", "tuned"];

/// Only one program at a time runs a script, and only one of those that start a shared guest: guests
/// of one name have control groups of one name, whichever daemon's they are.
fn turn(path: &Path) -> Arc<Mutex<()>> {
    static TURNS: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let starts = |guest: &&&str| {
        let words = [format!("$ start {guest}"), format!("$ create {{files}}/{guest}.xml")];
        words.iter().any(|words| text.contains(words))
    };
    let path = SHARED.iter().find(starts).map_or(path, Path::new);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(turns.entry(path.to_owned()).or_default())
}

fn run_all(program: Program) {
    let mut failed = Vec::new();
    let mut scripts: Vec<_> = std::fs::read_dir(paths::fixture("scripts"))
        .expect("the folder of scripts")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    if let Ok(only) = std::env::var("IRONVIRT_SCRIPT") {
        scripts.retain(|path| path.file_stem().is_some_and(|name| name == only.as_str()));
    }
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts found");
    for path in &scripts {
        let turn = turn(path);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Each script has a daemon of its own; one that fails does not hide the others.
        let outcome = std::panic::catch_unwind(|| script::run(path, &Daemon::start(), program));
        if outcome.is_err() {
            failed.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    assert!(failed.is_empty(), "scripts that failed: {}", failed.join(", "));
}

#[test]
fn with_debians_virsh() {
    run_all(Program::Virsh);
}

#[test]
fn with_our_own_command() {
    run_all(Program::Ironvirt);
}
