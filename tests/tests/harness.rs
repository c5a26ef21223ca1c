//! The harness itself: what it promises to the other suites.

use std::process::Command;

use rustix::process::Signal;
use tests::mutate::{Random, mutate};
use tests::{namespace, processes, tool, wait};

#[test]
fn processes_are_found_by_their_words_until_they_end() {
    let mark = tempfile::tempdir().unwrap();
    let file = mark.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut child = Command::new("tail").arg("-f").arg(&file).spawn().expect("tail runs");
    // exec has happened once the words are there
    wait::until("the process", || processes::naming(mark.path()).first().copied());
    processes::signal(child.id() as i32, Signal::KILL);
    // A zombie does not count as running.
    wait::until("its end", || (!processes::is_running(child.id() as i32)).then_some(()));
    child.wait().unwrap();
}

#[test]
fn a_failing_tool_shows_all_it_said() {
    let outcome = tool("sh", &["-c", "echo out; echo err >&2; exit 3"], "");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (3, "out\n"));
    assert!(outcome.to_string().contains("err"));
}

#[test]
fn a_namespace_hides_the_machines_own_files() {
    namespace::inside("a_namespace_hides_the_machines_own_files", || {
        // mount itself leaves a note in /run.
        for folder in namespace::FOLDERS.iter().filter(|folder| **folder != "/run") {
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "{folder}");
        }
        assert!(!std::path::Path::new("/run/libvirt").exists());
    });
}

#[test]
fn mutations_differ_and_repeat() {
    let run = || {
        let mut random = Random::new(7);
        (0..50).map(|_| mutate(b"<domain/>", &mut random)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
    assert!(run().iter().filter(|bytes| bytes.as_slice() != b"<domain/>").count() > 40);
    // An empty seed has nothing to index.
    mutate(b"", &mut Random::new(1));
}
