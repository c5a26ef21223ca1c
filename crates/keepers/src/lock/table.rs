//! The locks that are held now, and for whom.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use host_sys::{LockKind, LockOwner, set_lock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How often a lock's file may vanish between its opening and its locking.
const VANISHED_MAX: u32 = 100;

/// Why a lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another owner, host or program has it, or it must not be held for this.
    #[error("Lockspace resource '{0}' is locked")]
    Locked(String),
    /// Nobody has it.
    #[error("Lockspace resource '{0}' is not locked")]
    NotLocked(String),
    /// Others have it.
    #[error("owner {0} does not hold the resource lock")]
    NotOwner(u32),
    /// There is no such folder of locks.
    #[error("Lockspace for path {0} does not exist")]
    NoSpace(String),
    /// There is one already.
    #[error("Lockspace for path {0} already exists")]
    SpaceExists(String),
    /// The place of a folder of locks is taken.
    #[error("Lockspace location {0} exists, but is not a directory")]
    NotFolder(String),
    /// A place that depends on where the daemon was started.
    #[error("Lockspace location {0} is not an absolute path")]
    Relative(String),
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// A lock as a successor has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLock {
    name: String,
    fd: i32,
    shared: bool,
    ours: bool,
    owners: Vec<u32>,
}

/// A folder of locks as a successor has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSpace {
    folder: String,
    locks: Vec<KeptLock>,
}

#[derive(Debug)]
struct Lock {
    file: OwnedFd,
    path: PathBuf,
    shared: bool,
    /// The file was made for the lock and goes with it.
    ours: bool,
    /// Processes; one may be there more than once.
    owners: Vec<u32>,
}

type Space = HashMap<String, Lock>;

/// All locks.
#[derive(Debug)]
pub struct Locks {
    /// By folder; the empty name is the space in which the names of locks are whole paths.
    spaces: Mutex<HashMap<String, Space>>,
    count: watch::Sender<usize>,
}

fn system(what: String) -> impl FnOnce(io::Error) -> LockError {
    move |source| LockError::System { what, source }
}

impl Default for Locks {
    fn default() -> Self {
        let spaces = HashMap::from([(String::new(), Space::new())]);
        Self { spaces: Mutex::new(spaces), count: watch::Sender::new(0) }
    }
}

impl Locks {
    fn spaces(&self) -> MutexGuard<'_, HashMap<String, Space>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, spaces: &HashMap<String, Space>) {
        self.count.send_replace(spaces.values().map(HashMap::len).sum());
    }

    /// How many locks are held; changes can be waited for.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Makes a folder of locks known, and the folder itself where it is missing. `new`: it must not be known yet.
    ///
    /// # Errors
    /// It is known, or cannot be made.
    pub fn add_space(&self, folder: &str, new: bool) -> Result<(), LockError> {
        let mut spaces = self.spaces();
        if spaces.contains_key(folder) {
            return match new {
                true => Err(LockError::SpaceExists(folder.into())),
                false => Ok(()),
            };
        }
        if !folder.starts_with('/') {
            return Err(LockError::Relative(folder.into()));
        }
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(LockError::NotFolder(folder.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.map_err(system(format!("Unable to create lockspace {folder}")))?;
            }
            Err(error) => {
                return Err(system(format!("Unable to check for lockspace {folder}"))(error));
            }
        }
        spaces.insert(folder.to_owned(), Space::new());
        Ok(())
    }

    /// Makes the file of a lock that nobody holds.
    ///
    /// # Errors
    /// It is held, or cannot be made.
    pub fn create(&self, folder: &str, name: &str) -> Result<(), LockError> {
        let mut spaces = self.spaces();
        let path = free(space(&mut spaces, folder)?, folder, name)?;
        open(&path, true).map(|_| ())
    }

    /// Removes the file of a lock that nobody holds.
    ///
    /// # Errors
    /// It is held, or cannot be removed.
    pub fn delete(&self, folder: &str, name: &str) -> Result<(), LockError> {
        let mut spaces = self.spaces();
        let path = free(space(&mut spaces, folder)?, folder, name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system(format!(
                "Unable to delete lockspace resource {}",
                path.display()
            ))(error)),
            _ => Ok(()),
        }
    }

    /// Takes a lock for the process `owner`, with others that share it if `shared`. `create`: its file is made for it
    /// and goes with it.
    ///
    /// # Errors
    /// It is held, or the file cannot be opened.
    pub fn acquire(
        &self,
        folder: &str,
        name: &str,
        owner: u32,
        (shared, create): (bool, bool),
    ) -> Result<(), LockError> {
        if self.join(folder, name, owner, shared)? {
            return Ok(());
        }
        // A storage that hangs must not hold up the others' locks: nothing is locked here meanwhile.
        let path = place(folder, name);
        let file = take(&path, name, shared, create)?;
        // Somebody else who shares it may have been faster.
        if self.join(folder, name, owner, shared)? {
            return Ok(());
        }
        let mut spaces = self.spaces();
        let lock = Lock { file: file.into(), path, shared, ours: create, owners: vec![owner] };
        space(&mut spaces, folder)?.insert(name.to_owned(), lock);
        self.counted(&spaces);
        Ok(())
    }

    /// Shares a lock that is held; false if it is not.
    fn join(&self, folder: &str, name: &str, owner: u32, shared: bool) -> Result<bool, LockError> {
        let mut spaces = self.spaces();
        match space(&mut spaces, folder)?.get_mut(name) {
            None => Ok(false),
            Some(lock) if shared && lock.shared => {
                lock.owners.push(owner);
                Ok(true)
            }
            Some(_) => Err(LockError::Locked(name.into())),
        }
    }

    /// Gives one of the locks of `owner` back.
    ///
    /// # Errors
    /// It does not hold it.
    pub fn release(&self, folder: &str, name: &str, owner: u32) -> Result<(), LockError> {
        let mut spaces = self.spaces();
        let space = space(&mut spaces, folder)?;
        let lock = space.get_mut(name).ok_or_else(|| LockError::NotLocked(name.into()))?;
        let at = lock.owners.iter().position(|there| *there == owner);
        lock.owners.remove(at.ok_or(LockError::NotOwner(owner))?);
        let over = if lock.owners.is_empty() { space.remove(name) } else { None };
        drop(spaces);
        over.into_iter().for_each(end);
        self.counted(&self.spaces());
        Ok(())
    }

    /// Gives all locks of `owner` back; returns how many there were.
    pub fn release_all(&self, owner: u32) -> usize {
        let mut released = 0;
        let mut over = Vec::new();
        for space in self.spaces().values_mut() {
            for lock in space.values_mut() {
                let before = lock.owners.len();
                lock.owners.retain(|there| *there != owner);
                released += before - lock.owners.len();
            }
            over.extend(space.extract_if(|_, lock| lock.owners.is_empty()).map(|(_, lock)| lock));
        }
        over.into_iter().for_each(end);
        self.counted(&self.spaces());
        released
    }

    /// The processes that locks are held for.
    pub fn owners(&self) -> BTreeSet<u32> {
        let spaces = self.spaces();
        spaces.values().flat_map(HashMap::values).flat_map(|lock| lock.owners.clone()).collect()
    }

    /// What a successor needs; the descriptors are to be left open for it.
    pub fn keep(&self) -> Vec<KeptSpace> {
        let kept = |(name, lock): (&String, &Lock)| KeptLock {
            name: name.clone(),
            fd: lock.file.as_raw_fd(),
            shared: lock.shared,
            ours: lock.ours,
            owners: lock.owners.clone(),
        };
        let spaces = self.spaces();
        let space = |(folder, space): (&String, &Space)| KeptSpace {
            folder: folder.clone(),
            locks: space.iter().map(kept).collect(),
        };
        spaces.iter().map(space).collect()
    }

    /// Calls `use_them` with the descriptors of all locks.
    pub fn with_files<T>(&self, use_them: impl FnOnce(&[BorrowedFd<'_>]) -> T) -> T {
        let spaces = self.spaces();
        let files: Vec<_> =
            spaces.values().flat_map(HashMap::values).map(|lock| lock.file.as_fd()).collect();
        use_them(&files)
    }

    /// Takes over what a predecessor kept.
    pub fn resume(&self, kept: Vec<KeptSpace>) {
        let mut spaces = self.spaces();
        for KeptSpace { folder, locks } in kept {
            let space = spaces.entry(folder.clone()).or_default();
            for KeptLock { name, fd, shared, ours, owners } in locks {
                match crate::reexec::inherited(fd) {
                    Ok(file) => {
                        let path = place(&folder, &name);
                        space.insert(name, Lock { file, path, shared, ours, owners });
                    }
                    Err(error) => tracing::error!(name, %error, "a lock was not taken over"),
                }
            }
        }
        self.counted(&spaces);
    }
}

fn space<'a>(
    spaces: &'a mut HashMap<String, Space>,
    folder: &str,
) -> Result<&'a mut Space, LockError> {
    spaces.get_mut(folder).ok_or_else(|| LockError::NoSpace(folder.into()))
}

/// Where the file of a lock that must not be held is.
fn free(space: &Space, folder: &str, name: &str) -> Result<PathBuf, LockError> {
    match space.contains_key(name) {
        true => Err(LockError::Locked(name.into())),
        false => Ok(place(folder, name)),
    }
}

fn place(folder: &str, name: &str) -> PathBuf {
    match folder {
        "" => PathBuf::from(name),
        folder => PathBuf::from(format!("{folder}/{name}")),
    }
}

fn open(path: &Path, create: bool) -> Result<File, LockError> {
    let what = if create { "open/create" } else { "open" };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(0o600);
    let opened = options.open(path);
    opened.map_err(system(format!("Unable to {what} resource {}", path.display())))
}

/// Locks the file at `path`. The lock is of the open file, not of this process: two names of one
/// file exclude each other too, and no other use of the file in this process can lose it.
fn take(path: &Path, name: &str, shared: bool, create: bool) -> Result<File, LockError> {
    for _ in 0..VANISHED_MAX {
        let file = open(path, create)?;
        let kind = if shared { LockKind::Read } else { LockKind::Write };
        match set_lock(file.as_fd(), 0, 1, kind, LockOwner::Description, false) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Err(LockError::Locked(name.into()));
            }
            Err(error) => {
                return Err(system(format!("Unable to acquire lock on {}", path.display()))(error));
            }
        }
        // Who gives a lock back removes its file: then this is a lock of nothing.
        let same = || -> io::Result<bool> {
            let (there, here) = (fs::metadata(path)?, file.metadata()?);
            Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
        };
        if !create || same().unwrap_or(false) {
            return Ok(file);
        }
    }
    Err(LockError::Locked(name.into()))
}

/// Closes the file, which unlocks it. One that was made for the lock is removed first, if no other
/// host shares the lock.
fn end(lock: Lock) {
    let alone =
        || set_lock(lock.file.as_fd(), 0, 1, LockKind::Write, LockOwner::Description, false);
    if lock.ours && (!lock.shared || alone().is_ok()) {
        let _ = fs::remove_file(&lock.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: (bool, bool) = (false, false);
    const SHARED: (bool, bool) = (true, false);

    fn words(result: Result<(), LockError>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "ok".into())
    }

    #[test]
    fn a_lock_is_of_one_or_of_those_that_share_it() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.img");
        fs::write(&path, "x").expect("file");
        let link = dir.path().join("link.img");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        let (name, link) = (path.to_str().expect("utf8"), link.to_str().expect("utf8"));
        let locks = Locks::default();
        let locked = format!("Lockspace resource '{name}' is locked");
        assert_eq!(words(locks.acquire("", name, 1, OWN)), "ok");
        assert_eq!(words(locks.acquire("", name, 1, OWN)), locked);
        assert_eq!(words(locks.acquire("", name, 2, SHARED)), locked);
        let other = format!("Lockspace resource '{link}' is locked");
        assert_eq!(words(locks.acquire("", link, 2, OWN)), other, "the same file by another name");
        assert_eq!(words(locks.release("", name, 2)), "owner 2 does not hold the resource lock");
        assert_eq!(words(locks.release("", name, 1)), "ok");
        assert_eq!(
            words(locks.release("", name, 1)),
            format!("Lockspace resource '{name}' is not locked")
        );
        assert_eq!(words(locks.acquire("", name, 1, SHARED)), "ok");
        assert_eq!(words(locks.acquire("", name, 2, SHARED)), "ok");
        assert_eq!(words(locks.acquire("", name, 3, OWN)), locked);
        assert_eq!(words(locks.acquire("", name, 2, SHARED)), "ok");
        assert_eq!(locks.release_all(2), 2);
        assert_eq!(*locks.count().borrow(), 1);
        assert_eq!(locks.release_all(1), 1);
        assert_eq!(*locks.count().borrow(), 0);
        assert!(path.exists(), "a disk image is not ours to remove");
    }

    #[test]
    fn files_made_for_a_lock_go_with_it() {
        let dir = tempfile::tempdir().expect("folder");
        let folder = dir.path().join("deep/locks");
        let space = folder.to_str().expect("utf8");
        let locks = Locks::default();
        let missing = format!("Lockspace for path {space} does not exist");
        assert_eq!(words(locks.acquire(space, "k", 1, (false, true))), missing);
        assert_eq!(words(locks.add_space(space, false)), "ok");
        assert_eq!(words(locks.add_space(space, false)), "ok");
        assert_eq!(
            words(locks.add_space(space, true)),
            format!("Lockspace for path {space} already exists")
        );
        assert!(words(locks.add_space("here", false)).ends_with("is not an absolute path"));
        assert!(words(locks.acquire(space, "k", 1, OWN)).starts_with("Unable to open resource"));
        assert_eq!(words(locks.acquire(space, "k", 1, (false, true))), "ok");
        assert!(folder.join("k").exists());
        assert_eq!(words(locks.delete(space, "k")), "Lockspace resource 'k' is locked");
        assert_eq!(words(locks.release(space, "k", 1)), "ok");
        assert!(!folder.join("k").exists());
        assert_eq!(words(locks.create(space, "kept")), "ok");
        assert_eq!(words(locks.acquire(space, "kept", 1, OWN)), "ok");
        assert_eq!(locks.release_all(1), 1);
        assert!(folder.join("kept").exists());
        assert_eq!(words(locks.delete(space, "kept")), "ok");
        assert_eq!(words(locks.delete(space, "kept")), "ok");
    }
}
