//! Logs that nobody wrote to for long (`max_age_days`).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How deep folders of logs are looked into.
const DEPTH: u32 = 8;

/// Removes the files below `root` that were last written to longer than `age` before `now`. Links
/// are neither followed nor removed.
pub fn expire(root: &Path, age: Duration, now: SystemTime) {
    below(root, age, now, DEPTH);
}

fn below(folder: &Path, age: Duration, now: SystemTime, depth: u32) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_dir() && depth > 0 {
            below(&entry.path(), age, now, depth - 1);
        }
        let idle = metadata.modified().ok().and_then(|written| now.duration_since(written).ok());
        if metadata.is_file() && idle.is_some_and(|idle| idle > age) {
            match fs::remove_file(entry.path()) {
                Ok(()) => tracing::info!(path = %entry.path().display(), "too old: removed"),
                Err(error) => {
                    tracing::warn!(path = %entry.path().display(), %error, "not removed");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_go() {
        let dir = tempfile::tempdir().expect("folder");
        fs::create_dir(dir.path().join("qemu")).expect("folder");
        let path = dir.path().join("qemu/gone.log");
        fs::write(&path, "x").expect("file");
        let day = Duration::from_secs(86_400);
        expire(dir.path(), day, SystemTime::now());
        assert!(path.exists());
        expire(dir.path(), day, SystemTime::now() + 2 * day);
        assert!(!path.exists() && dir.path().join("qemu").exists());
    }
}
