//! What a file system promises of a file and its name.
//!
//! A file is replaced safely by writing the new one out, waiting, giving it the name, and waiting
//! again. With an ordered journal the first wait need only be for the content: the file's metadata
//! and its name are entries of one sequence, so the commit that makes the name durable makes the
//! metadata durable too, and is itself preceded by a flush of the device's cache. (ext4: the
//! kernel's Documentation/filesystems/ext4/journal.rst; `fsync` of a folder commits the journal up
//! to the folder's last change.) That is one commit where there were two.
//!
//! An ext4 without journal writes the folder out with the `fsync` of a file that has just got a name
//! in it, so that a new file is not lost with its name. Syncing the folder again would only flush
//! the device's cache once more.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file system: its device's number and its own (the latter made of its UUID).
type Id = (u64, u64);

/// What comes with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// Once the content is written out, syncing the folder makes the file durable with its name.
    FileWithFolder,
    /// Syncing a file that has just got its first name makes that name durable too.
    NameWithFile,
    /// Each must be synced.
    None,
}

/// Writes a file's content out where syncing the folder in which it gets its name next is all that
/// is left to make it durable. Tells what else the file system promises; nothing was done then.
///
/// # Errors
/// The content could not be written.
pub fn write_ahead(file: &File) -> io::Result<Promise> {
    let promise = promise_of(file);
    if promise == Promise::FileWithFolder {
        host_sys::write_out(file.as_fd())?;
    }
    Ok(promise)
}

/// What this file's file system promises.
fn promise_of(file: &File) -> Promise {
    static KNOWN: Mutex<Vec<(Id, Promise)>> = Mutex::new(Vec::new());
    let (Ok(found), Ok(system)) = (rustix::fs::fstat(file), rustix::fs::fstatvfs(file)) else {
        return Promise::None;
    };
    let id = (found.st_dev, system.f_fsid);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, answer)) = known.iter().find(|(other, _)| *other == id) {
        return *answer;
    }
    let answer = promise_on(Path::new("/sys"), found.st_dev);
    known.push((id, answer));
    answer
}

/// What the file system on the block device promises. Of an ext4 `journal_task` holds the number of
/// the thread that writes its journal, `<none>` without one.
fn promise_on(sys: &Path, device: u64) -> Promise {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = sys.join(format!("dev/block/{major}:{minor}"));
    let Ok(place) = std::fs::read_link(link) else { return Promise::None };
    let Some(name) = place.file_name() else { return Promise::None };
    let task = std::fs::read_to_string(sys.join("fs/ext4").join(name).join("journal_task"));
    match task.as_deref().map(str::trim) {
        Ok("<none>") => Promise::NameWithFile,
        Ok(task) if task.parse::<u32>().is_ok() => Promise::FileWithFolder,
        _ => Promise::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_journal_is_known_by_its_writer() {
        let sys = tempfile::tempdir().expect("a folder");
        let device = |minor| rustix::fs::makedev(254, minor);
        std::fs::create_dir_all(sys.path().join("dev/block")).expect("made");
        let tasks = [(0, "vda", "77\n"), (1, "vdb", "<none>\n"), (4, "vdd", "what\n")];
        for (minor, name, task) in tasks {
            let link = sys.path().join(format!("dev/block/254:{minor}"));
            symlink(format!("../../devices/virtio1/block/{name}"), link).expect("linked");
            let folder = sys.path().join("fs/ext4").join(name);
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("journal_task"), task).expect("written");
        }
        let link = sys.path().join("dev/block/254:2");
        symlink("../../devices/virtio1/block/vdc", link).expect("linked");
        let told = |minor| promise_on(sys.path(), device(minor));
        assert_eq!(told(0), Promise::FileWithFolder);
        assert_eq!(told(1), Promise::NameWithFile);
        assert_eq!(told(2), Promise::None, "another kind of file system");
        assert_eq!(told(3), Promise::None, "no block device");
        assert_eq!(told(4), Promise::None, "words that nobody knows");
    }

    #[test]
    fn what_was_written_ahead_is_on_the_device() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "content").expect("written");
        let file = File::open(&path).expect("opened");
        // Whichever file system this is: the answer stays, and nothing of the file changes.
        let first = write_ahead(&file).expect("written ahead");
        assert_eq!(write_ahead(&file).expect("written ahead"), first);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "content");
    }
}
