//! File systems whose journal takes a file and its name in one commit.
//!
//! A file is replaced safely by writing the new one out, waiting, giving it the name, and waiting
//! again. With an ordered journal the first wait need only be for the content: the file's metadata
//! and its name are entries of one sequence, so the commit that makes the name durable makes the
//! metadata durable too, and is itself preceded by a flush of the device's cache. (ext4: the
//! kernel's Documentation/filesystems/ext4/journal.rst; `fsync` of a folder commits the journal up
//! to the folder's last change.) That is one commit where there were two.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file system: its device's number and its own (the latter made of its UUID).
type Id = (u64, u64);

/// Writes a file's content out so that syncing a folder in which it gets its name next is all that
/// is left to make it durable. False where the file system gives no such promise; nothing was done
/// then.
///
/// # Errors
/// The content could not be written.
pub fn write_ahead(file: &File) -> io::Result<bool> {
    if !orders_names(file) {
        return Ok(false);
    }
    host_sys::write_out(file.as_fd()).map(|()| true)
}

/// Whether names come after the files they name in this file's file system.
fn orders_names(file: &File) -> bool {
    static KNOWN: Mutex<Vec<(Id, bool)>> = Mutex::new(Vec::new());
    let (Ok(found), Ok(system)) = (rustix::fs::fstat(file), rustix::fs::fstatvfs(file)) else {
        return false;
    };
    let id = (found.st_dev, system.f_fsid);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, answer)) = known.iter().find(|(other, _)| *other == id) {
        return *answer;
    }
    let answer = has_journal(Path::new("/sys"), found.st_dev);
    known.push((id, answer));
    answer
}

/// Whether the file system on the block device is an ext4 with a journal: `journal_task` holds the
/// number of the thread that writes it, `<none>` without one.
fn has_journal(sys: &Path, device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = sys.join(format!("dev/block/{major}:{minor}"));
    let Ok(place) = std::fs::read_link(link) else { return false };
    let Some(name) = place.file_name() else { return false };
    let task = std::fs::read_to_string(sys.join("fs/ext4").join(name).join("journal_task"));
    task.is_ok_and(|task| task.trim().parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_journal_with_a_writer_counts() {
        let sys = tempfile::tempdir().expect("a folder");
        let device = |minor| rustix::fs::makedev(254, minor);
        std::fs::create_dir_all(sys.path().join("dev/block")).expect("made");
        for (minor, name, task) in [(0, "vda", "77\n"), (1, "vdb", "<none>\n")] {
            let link = sys.path().join(format!("dev/block/254:{minor}"));
            symlink(format!("../../devices/virtio1/block/{name}"), link).expect("linked");
            let folder = sys.path().join("fs/ext4").join(name);
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("journal_task"), task).expect("written");
        }
        let link = sys.path().join("dev/block/254:2");
        symlink("../../devices/virtio1/block/vdc", link).expect("linked");
        assert!(has_journal(sys.path(), device(0)));
        assert!(!has_journal(sys.path(), device(1)), "no journal");
        assert!(!has_journal(sys.path(), device(2)), "another kind of file system");
        assert!(!has_journal(sys.path(), device(3)), "no block device");
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
