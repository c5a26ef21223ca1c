//! What was said to be written is there after a power loss.
//!
//! A file system on a loop device is copied as it is on the device at some moment, without what
//! only the page cache holds, and the copy is mounted: that is what a machine finds after its power
//! was cut at that moment. Skips where mounting a loop device is not allowed or mkfs is missing.

use host::files::{WriteMode, write_atomic};
use std::path::Path;
use std::process::{Command, Stdio};

/// A mounted file system; goes when dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(image: &Path, at: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        runs("mount", &["-o".as_ref(), "loop".as_ref(), image, at]).then_some(Mounted(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Busy only while a scanner of the host looks at it.
        let gone = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            runs("umount", &[self.0])
        });
        if !gone {
            runs("umount", &["--lazy".as_ref(), self.0]);
        }
    }
}

fn runs(program: &str, words: &[&Path]) -> bool {
    let mut command = Command::new(program);
    let quiet = command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What a device holds at one moment: read twice the same, so that nothing was written meanwhile.
fn as_it_is(device: &Path) -> Vec<u8> {
    let read = || std::fs::read(device).expect("the device is read");
    let mut last = read();
    loop {
        let now = read();
        if now == last {
            return now;
        }
        last = now;
    }
}

/// Writes new files and replaces old ones on a file system made with `make`, cutting the power
/// after each.
fn survives(make: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("device");
    std::fs::File::create(&image).and_then(|file| file.set_len(8 << 20)).expect("an image");
    let words: Vec<&Path> = make.iter().skip(1).map(Path::new).chain([image.as_path()]).collect();
    let (at, after) = (folder.path().join("at"), folder.path().join("after"));
    let mounted = runs(make[0], &words).then(|| Mounted::new(&image, &at)).flatten();
    let Some(_mounted) = mounted else {
        eprintln!("skipped: {make:?} cannot be made and mounted here");
        return;
    };
    // Names so long that the folder grows by more than one block.
    let names: Vec<String> = (0..24).map(|n| format!("{n}{}", "x".repeat(240))).collect();
    let mut told: Vec<Option<String>> = vec![None; names.len()];
    for round in 0..names.len() + 6 {
        // Each file is new once, some are replaced twice.
        let number = if round < names.len() { round } else { round % 3 };
        let content = format!("{round} ").repeat(2000);
        write_atomic(&at.join(&names[number]), content.as_bytes(), WriteMode::PRIVATE)
            .expect("written");
        told[number] = Some(content);

        let copy = folder.path().join(format!("copy{round}"));
        std::fs::write(&copy, as_it_is(&image)).expect("a copy of the device");
        let _found = Mounted::new(&copy, &after).expect("the copy is a file system");
        for (number, content) in told.iter().enumerate() {
            let found = std::fs::read_to_string(after.join(&names[number])).ok();
            assert!(found == *content, "{make:?}, round {round}, file {number}");
        }
    }
}

#[test]
fn with_a_journal() {
    survives(&["mkfs.ext4", "-q", "-F"]);
}

#[test]
fn without_a_journal() {
    survives(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal"]);
}

#[test]
fn with_fast_commits() {
    survives(&["mkfs.ext4", "-q", "-F", "-O", "fast_commit"]);
}

#[test]
fn with_a_log() {
    survives(&["mkfs.xfs", "-q", "-f"]);
}
