//! Emulators that are wrappers around a real one, or only look like one.

use super::CapsStore;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A QEMU that is small and starts fast.
const REAL: &str = "/usr/bin/qemu-system-x86_64";

/// A folder with an emulator that notes each of its runs and is the real one otherwise.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// `None` where no QEMU is installed.
    fn new() -> Option<Self> {
        if !Path::new(REAL).exists() {
            return None;
        }
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        place.install("");
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn emulator(&self) -> String {
        self.path("emulator").to_str().expect("a plain name").to_owned()
    }

    /// Puts another emulator in the place of the one that is there, as a package manager does.
    fn install(&self, comment: &str) {
        let runs = self.path("runs");
        let text =
            format!("#!/bin/sh\n# {comment}\necho run >> {}\nexec {REAL} \"$@\"\n", runs.display());
        let new = self.path("new");
        std::fs::write(&new, text).expect("our own folder");
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).expect("our own file");
        std::fs::rename(&new, self.path("emulator")).expect("our own folder");
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }

    /// A daemon's view, new as after a restart.
    fn store(&self) -> CapsStore {
        CapsStore::new(self.path("cache"), None, false, "kernel")
    }

    /// Asks a new daemon; whether it had to run the emulator.
    fn asks_again(&self) -> bool {
        let before = self.runs();
        self.store().get(&self.emulator()).expect("a QEMU");
        self.runs() > before
    }

    fn cache_file(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.path("cache/capabilities")).expect("the cache");
        files.next().expect("a file").expect("readable").path()
    }
}

#[test]
fn a_cache_file_that_cannot_be_trusted_is_made_again() {
    let Some(place) = Place::new() else { return };
    assert!(place.asks_again(), "nothing is known at first");
    assert!(!place.asks_again(), "a restarted daemon reads what the other wrote");
    let file = place.cache_file();
    let text = std::fs::read_to_string(&file).expect("the cache");
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in the file");
        text.replacen(from, to, 1)
    };
    for (what, content) in [
        ("cut short", text[..text.len() / 2].to_owned()),
        ("empty", String::new()),
        ("of another format", changed("\"format\":", "\"format\":9")),
        ("of another version", changed("\"writer\":\"", "\"writer\":\"9")),
        ("of another host", changed("\"host\":\"", "\"host\":\"other ")),
        ("of other modules", changed("\"modules_ns\":", "\"modules_ns\":1")),
        ("no JSON", "\u{0}".repeat(4096)),
        ("deep", "[".repeat(100_000)),
    ] {
        std::fs::write(&file, content).expect("our own file");
        assert!(place.asks_again(), "{what}");
        assert!(!place.asks_again(), "{what}: it was written again");
    }
    let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode));
    mode(0o666).expect("our own file");
    assert!(place.asks_again(), "anybody may have written it");
    assert!(!place.asks_again(), "its replacement is ours alone");
    if is_root() {
        std::os::unix::fs::chown(&file, Some(65534), Some(65534)).expect("root may");
        assert!(place.asks_again(), "somebody else's");
        assert!(!place.asks_again(), "its replacement is ours");
    }
    std::fs::remove_file(&file).expect("our own file");
    std::os::unix::fs::symlink("/nonexistent", &file).expect("our own folder");
    assert!(place.asks_again(), "a link");
    assert!(!place.asks_again(), "the link is replaced, not followed");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = tempfile::tempdir().expect("a folder");
    std::fs::metadata(own.path()).is_ok_and(|found| found.uid() == 0)
}

#[test]
fn another_emulator_in_its_place_is_asked() {
    let Some(place) = Place::new() else { return };
    let store = place.store();
    let emulator = place.emulator();
    store.get(&emulator).expect("a QEMU");
    let runs = place.runs();
    store.get(&emulator).expect("a QEMU");
    assert_eq!(place.runs(), runs, "known");
    place.install("of another length");
    assert!(store.known(&emulator).is_none(), "what was known was of the other one");
    store.get(&emulator).expect("a QEMU");
    assert!(place.runs() > runs, "a new one is asked");
    // One of the same length and age, as packages built the same way twice are.
    let runs = place.runs();
    let old = std::fs::metadata(&emulator).and_then(|found| found.modified()).expect("a time");
    place.install("of the same lengt");
    let file = std::fs::File::options().write(true).open(&emulator).expect("our own file");
    file.set_modified(old).expect("our own file");
    drop(file);
    store.get(&emulator).expect("a QEMU");
    assert!(place.runs() > runs, "one that looks the same is asked too");
}

#[test]
fn two_daemons_may_ask_at_once() {
    let Some(place) = Place::new() else { return };
    let emulator = place.emulator();
    let caps: Vec<_> = std::thread::scope(|scope| {
        let ask = || place.store().get(&emulator).expect("a QEMU");
        let askers: Vec<_> = (0..2).map(|_| scope.spawn(ask)).collect();
        askers.into_iter().map(|asker| asker.join().expect("no panic")).collect()
    });
    assert_eq!(caps[0].flags, caps[1].flags);
    assert!(!place.asks_again(), "what either left is whole");
    let left = std::fs::read_dir(place.path("cache/capabilities")).expect("the cache").count();
    assert_eq!(left, 1, "no half of a file stays");
}

#[test]
fn a_program_that_is_no_qemu_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("emulator");
    let emulator = path.to_str().expect("a plain name");
    let check = |script: &str, expected: &str| {
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("our own folder");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
        let store = CapsStore::new(folder.path().join("cache"), None, false, "kernel");
        let error = store.get(emulator).expect_err("no QEMU").detail;
        let named = format!("Failed to probe QEMU binary '{emulator}': ");
        assert!(error.starts_with(&named) && error.contains(expected), "{script}: {error}");
    };
    check("exit 3", "it ended with status 3");
    check("echo 'version too old' >&2; exit 1", "version too old");
    check("echo hello", "not JSON");
    // It answers each command with an empty object.
    let greeting = r#"{"QMP": {"version": {}, "capabilities": []}}"#;
    check(
        &format!("echo '{greeting}'; while read line; do echo '{{\"return\": {{}}}}'; done"),
        "version",
    );
    let cached = std::fs::read_dir(folder.path().join("cache")).map_or(0, Iterator::count);
    assert_eq!(cached, 0, "nothing is kept of it");
}

#[test]
fn every_emulator_that_is_installed_can_be_asked() {
    for (arch, emulator) in CapsStore::emulators() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = CapsStore::new(folder.path().join("cache"), None, false, "kernel");
        let caps = store.get(&emulator).unwrap_or_else(|error| panic!("{arch}: {}", error.detail));
        let machines = caps.tcg.as_ref().map_or(0, |tcg| tcg.machines.len());
        assert!(machines > 0 && !caps.types.is_empty(), "{arch}: {machines} machines");
    }
}
