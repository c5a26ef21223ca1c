//! A probe that failed, remembered for a moment: who waited for it shares its result instead of
//! asking, one after the other, a binary that hangs.

use diag::VirError;
use model::capabilities::qemu::CacheKey;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How long a failed probe stands for the binary. Short: what was missing (a library, memory) may
/// be there at the next attempt, which no date of the file tells.
const STANDS_FOR: Duration = Duration::from_secs(10);

/// A probe that failed.
#[derive(Debug)]
pub(super) struct Failed {
    key: CacheKey,
    /// When the file's mode or content last changed (seconds, nanoseconds): `chmod +x` leaves no
    /// other trace.
    changed: Option<(i64, i64)>,
    at: Instant,
    error: VirError,
}

impl Failed {
    /// The probe of the binary of `key` failed just now.
    pub(super) fn now(key: &CacheKey, error: &VirError) -> Self {
        let changed = changed(&key.path);
        Self { key: key.clone(), changed, at: Instant::now(), error: error.clone() }
    }

    /// Its error, if at `moment` it still stands for the binary of `key`.
    pub(super) fn stands(&self, key: &CacheKey, moment: Instant) -> Option<VirError> {
        let fresh = moment.saturating_duration_since(self.at) < STANDS_FOR;
        let same = self.key == *key && self.changed == changed(&key.path);
        (fresh && same).then(|| self.error.clone())
    }
}

fn changed(path: &str) -> Option<(i64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::CapsStore;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// An emulator that notes each of its runs and fails.
    fn broken(folder: &Path) -> String {
        let path = folder.join("emulator");
        let text = format!("#!/bin/sh\necho run >> {}/runs\necho broken >&2\n", folder.display());
        std::fs::write(&path, text).expect("our own folder");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
        path.to_str().expect("a plain name").to_owned()
    }

    fn runs(folder: &Path) -> usize {
        std::fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
    }

    #[test]
    fn a_failed_probe_is_shared_until_the_binary_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let emulator = broken(folder.path());
        let store = CapsStore::new(folder.path().join("cache"), None, false, "kernel");
        let errors: Vec<_> = std::thread::scope(|scope| {
            let ask = || store.get(&emulator).expect_err("no QEMU").detail;
            let askers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            askers.into_iter().map(|asker| asker.join().expect("no panic")).collect()
        });
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        assert!(errors[0].contains("Failed to probe QEMU binary"), "{errors:?}");
        assert_eq!(runs(folder.path()), 1);

        let mut text = std::fs::read(&emulator).expect("our own file");
        text.extend(b"# another size\n");
        std::fs::write(&emulator, text).expect("our own file");
        store.get(&emulator).expect_err("no QEMU");
        assert_eq!(runs(folder.path()), 2, "a changed binary is asked again");

        std::fs::set_permissions(&emulator, PermissionsExt::from_mode(0o700)).expect("chmod");
        store.get(&emulator).expect_err("no QEMU");
        assert_eq!(runs(folder.path()), 3, "and so is one whose mode changed");
    }

    #[test]
    fn a_failed_probe_stands_for_a_moment() {
        let folder = tempfile::tempdir().expect("a folder");
        let emulator = broken(folder.path());
        let store = CapsStore::new(folder.path().join("cache"), None, false, "kernel");
        let key = store.key(&emulator).expect("it is there");
        let failed = Failed::now(&key, &VirError::internal("broken"));
        let check = |after, stands| {
            assert_eq!(failed.stands(&key, failed.at + after).is_some(), stands, "{after:?}");
        };
        check(Duration::ZERO, true);
        check(STANDS_FOR - Duration::from_nanos(1), true);
        check(STANDS_FOR, false);
        let other = CacheKey { size: key.size + 1, ..key.clone() };
        assert!(failed.stands(&other, failed.at).is_none());
    }
}
