//! Making the names in a folder durable beside other work.
//!
//! A thread of its own syncs folders, so that a file and the folder that names it can be written to
//! the device at the same time. What is asked for while a sync runs shares the next one. The thread
//! starts with the first request and then sleeps until there is another.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A folder, and whom to tell how its sync went: the error's number, if there was one.
type Request = (PathBuf, SyncSender<Result<(), i32>>);

/// A sync that is under way.
#[derive(Debug)]
pub struct Pending(Receiver<Result<(), i32>>);

impl Pending {
    /// Waits for its end.
    ///
    /// # Errors
    /// The folder could not be opened or synced.
    pub fn wait(self) -> io::Result<()> {
        match self.0.recv() {
            Ok(result) => result.map_err(io::Error::from_raw_os_error),
            Err(_) => Err(io::Error::other("the thread that syncs folders has ended")),
        }
    }
}

/// Begins to make durable what `folder` names now. `None` where there is no thread for it: sync it
/// yourself.
pub fn begin(folder: &Path) -> Option<Pending> {
    static QUEUE: OnceLock<Option<Mutex<Sender<Request>>>> = OnceLock::new();
    let queue = QUEUE.get_or_init(start).as_ref()?;
    let (told, tells) = sync_channel(1);
    let request = (folder.to_owned(), told);
    queue.lock().unwrap_or_else(PoisonError::into_inner).send(request).ok()?;
    Some(Pending(tells))
}

fn start() -> Option<Mutex<Sender<Request>>> {
    let (queue, requests) = channel();
    let thread = std::thread::Builder::new().name("folder-sync".into());
    thread.spawn(move || serve(&requests)).ok()?;
    Some(Mutex::new(queue))
}

fn serve(requests: &Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut waiting: Vec<Request> = std::iter::once(first).chain(requests.try_iter()).collect();
        while let Some((folder, _)) = waiting.first() {
            let folder = folder.clone();
            let result = sync(&folder).map_err(|error| error.raw_os_error().unwrap_or(eio()));
            waiting.retain(|(other, told)| {
                let same = *other == folder;
                if same {
                    // One that no longer listens needs no answer.
                    let _ = told.send(result);
                }
                !same
            });
        }
    }
}

/// Input/output error: what is told where the system gave no number.
fn eio() -> i32 {
    rustix::io::Errno::IO.raw_os_error()
}

/// Makes a folder's entries durable, now.
///
/// # Errors
/// It cannot be opened or synced.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_answered() {
        let folder = tempfile::tempdir().expect("a folder");
        let lost = folder.path().join("missing");
        let asked: Vec<Pending> = (0..20)
            .map(|n| begin(if n % 2 == 0 { folder.path() } else { &lost }).expect("a thread"))
            .collect();
        for (n, pending) in asked.into_iter().enumerate() {
            let result = pending.wait();
            assert_eq!(result.is_ok(), n % 2 == 0);
            if let Err(error) = result {
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
            }
        }
    }
}
