//! Reading the sizes of images where a storage that hangs must hold up nobody.
//!
//! A file on a network file system whose server is gone cannot even be opened: whoever tries hangs
//! until it comes back. So an image that hangs is tried by one thread only, which is left behind; its
//! guest's statistics are told without its size until that thread returns.

use crate::domain::hardware::block::{BlockInfo, image_info};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After so long, an image hangs.
const HANGS: Duration = Duration::from_secs(1);

/// The images that are being read, since when.
#[derive(Debug, Default)]
pub(crate) struct Images(Mutex<HashMap<String, Instant>>);

impl Images {
    /// The sizes of an image; none where it cannot be read, or somebody has been at it for long.
    pub(super) fn read(&self, path: &str, qcow2: bool) -> Option<BlockInfo> {
        if !path.starts_with('/') || self.hangs(path) {
            return None;
        }
        let info = image_info(path, qcow2);
        self.lock().remove(path);
        info.ok()
    }

    /// Whether the image hangs; if not, it is being read from now on.
    fn hangs(&self, path: &str) -> bool {
        let now = Instant::now();
        let mut reading = self.lock();
        match reading.get(path) {
            Some(since) => now.duration_since(*since) >= HANGS,
            None => {
                reading.insert(path.to_owned(), now);
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the work on some rows is.
struct Progress<T> {
    /// The row that is being worked on.
    at: AtomicUsize,
    done: Mutex<Vec<T>>,
}

/// Maps `rows` on a thread for that. Where one row takes too long, its thread is left behind and
/// another one tries again, by when [`Images`] knows what hangs. `prepare` is called once for each
/// thread, on it.
pub(super) async fn patiently<R, T, F, P>(rows: Vec<R>, prepare: P) -> Vec<T>
where
    R: Send + Sync + 'static,
    T: Send + 'static,
    F: Fn(&R) -> T,
    P: Fn(Arc<Vec<R>>) -> (Arc<Vec<R>>, F) + Send + Sync + 'static,
{
    let rows = Arc::new(rows);
    let prepare = Arc::new(prepare);
    let mut done = Vec::with_capacity(rows.len());
    loop {
        let first = done.len();
        let progress =
            Arc::new(Progress { at: AtomicUsize::new(first), done: Mutex::new(Vec::new()) });
        let mut work = tokio::task::spawn_blocking({
            let (rows, prepare) = (Arc::clone(&rows), Arc::clone(&prepare));
            let progress = Arc::clone(&progress);
            move || work(rows, &*prepare, &progress)
        });
        let over = loop {
            let before = progress.at.load(Ordering::Relaxed);
            match tokio::time::timeout(HANGS, &mut work).await {
                Ok(_) => break true,
                Err(_) if progress.at.load(Ordering::Relaxed) == before => break false,
                Err(_) => {}
            }
        };
        let mut part = progress.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Tells a thread that is left behind, should it come back.
        progress.at.store(usize::MAX, Ordering::Relaxed);
        done.append(&mut part);
        drop(part);
        // A row that is over by itself and has no result ended in a panic: what there is, is told.
        if over || done.len() >= rows.len() {
            return done;
        }
    }
}

fn work<R, T, F>(
    rows: Arc<Vec<R>>,
    prepare: &impl Fn(Arc<Vec<R>>) -> (Arc<Vec<R>>, F),
    progress: &Progress<T>,
) where
    F: Fn(&R) -> T,
{
    let first = progress.at.load(Ordering::Relaxed);
    let (rows, map) = prepare(rows);
    for (index, row) in rows.iter().enumerate().skip(first) {
        let result = map(row);
        let mut done = progress.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else has taken over.
        let stays =
            progress.at.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed);
        if stays.is_err() {
            return;
        }
        done.push(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_row_that_hangs_is_tried_again_and_holds_up_no_other() {
        let hung = Arc::new(AtomicUsize::new(0));
        let tried = Arc::clone(&hung);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let results = patiently(vec![1, 2, 3], move |rows| {
            let (tried, held) = (Arc::clone(&tried), Arc::clone(&held));
            let map = move |row: &i32| {
                if *row == 2 && tried.fetch_add(1, Ordering::Relaxed) == 0 {
                    let _ = held.lock().expect("one thread").recv();
                    return -1;
                }
                row * 10
            };
            (rows, map)
        })
        .await;
        assert_eq!(results, [10, 20, 30]);
        assert_eq!(hung.load(Ordering::Relaxed), 2);
        drop(release);
    }

    #[test]
    fn an_image_that_hangs_is_left_alone() {
        let images = Images::default();
        assert!(images.read("/nowhere/at/all", false).is_none());
        assert!(images.lock().is_empty());
        assert!(!images.hangs("/a") && !images.hangs("/a"));
        images.lock().insert("/a".to_owned(), Instant::now() - HANGS);
        assert!(images.hangs("/a"));
        assert!(images.read("/a", false).is_none());
        assert!(images.lock().contains_key("/a"), "whoever is at it forgets it");
    }
}
