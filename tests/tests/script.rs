//! Scripts: virsh sessions with what they must print, by Debian's virsh and by our own command.
//! Both must print what the script says, byte by byte.

use tests::script::{self, Program};
use tests::{Daemon, paths};

fn run_all(program: Program) {
    let mut failed = Vec::new();
    let mut scripts: Vec<_> = std::fs::read_dir(paths::fixture("scripts"))
        .expect("the folder of scripts")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts found");
    for path in &scripts {
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
