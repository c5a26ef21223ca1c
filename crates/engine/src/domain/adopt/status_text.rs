//! The text of a status file, and how it gets there. A guest that is stopped and run again changes
//! one line of it; where the file is in memory, only that line is written.

use host::files::{self, FileError, WriteMode};
use lifecycle::Status;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What stands before and behind the opening tag of the root, which tells state and reason.
pub(super) type Around = Arc<(Box<str>, Box<str>)>;

/// Room for the words of state and reason: those of all but a few states fill less, and the line
/// then has one length for all of them.
const WORDS: usize = 26;

/// The smallest page there is.
const PAGE: usize = 4096;

/// The text of a status file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StatusText {
    around: Around,
    tag: String,
}

/// The opening tag of the root as it is formatted. A newline, which no guest's name has, so that the
/// comment above it cannot be meant.
pub(super) fn opening_tag(status: Status, pid: u32) -> String {
    let (state, reason) = (status.state_word(), status.reason_word());
    format!("\n<domstatus state='{state}' reason='{reason}' pid='{pid}'>")
}

impl StatusText {
    /// The text with the tag of this state.
    pub(super) fn new(around: Around, status: Status, pid: u32) -> Self {
        let words = status.state_word().len() + status.reason_word().len();
        let tag = opening_tag(status, pid) + &" ".repeat(WORDS.saturating_sub(words));
        Self { around, tag }
    }

    /// A text in which the tag is not found.
    pub(super) fn rigid(text: String) -> Self {
        Self { around: Arc::new((text.into(), "".into())), tag: String::new() }
    }

    /// All of it.
    pub(super) fn whole(&self) -> String {
        [&*self.around.0, &self.tag, &*self.around.1].concat()
    }

    fn len(&self) -> usize {
        self.around.0.len() + self.tag.len() + self.around.1.len()
    }

    /// Whether the tag alone tells the difference and can be put in the other's place in one step:
    /// a write within a page is done or not done, whatever ends the writer.
    fn differs_in_place(&self, before: &Self) -> bool {
        let start = self.around.0.len();
        let end = start + self.tag.len();
        self.tag.len() == before.tag.len()
            && start / PAGE == end.saturating_sub(1) / PAGE
            && (Arc::ptr_eq(&self.around, &before.around) || self.around == before.around)
    }
}

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    text: StatusText,
    /// The inode it is in.
    inode: u64,
}

impl Written {
    /// Writes `text` to `path` unless it is there already. `in_memory`: the file system loses what
    /// it has with the machine's power, so that only a writer's end can cut a write short.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(
        &self,
        path: &Path,
        text: StatusText,
        in_memory: bool,
    ) -> Result<(), FileError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever comes of the attempt, the file no longer says for sure what it said.
        if let Some(before) = last.take() {
            if before.text == text {
                *last = Some(before);
                return Ok(());
            }
            if in_memory
                && text.differs_in_place(&before.text)
                && write_in_place(path, &text, before.inode).is_ok_and(|done| done)
            {
                *last = Some(Last { text, inode: before.inode });
                return Ok(());
            }
        }
        files::write_atomic(path, text.whole().as_bytes(), WriteMode::RUNTIME)?;
        let inode = std::fs::symlink_metadata(path).map_or(0, |file| file.ino());
        *last = Some(Last { text, inode });
        Ok(())
    }
}

/// False: the file is not the one that was written.
fn write_in_place(path: &Path, text: &StatusText, inode: u64) -> io::Result<bool> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = File::options().write(true).custom_flags(nofollow).open(path)?;
    let found = file.metadata()?;
    if found.ino() != inode || found.len() != text.len() as u64 {
        return Ok(false);
    }
    let tag = text.tag.as_bytes();
    Ok(file.write_at(tag, text.around.0.len() as u64)? == tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::{PausedReason, RunningReason};

    fn text(behind: &str, status: Status) -> StatusText {
        let around = Arc::new(("<!-- a -->".into(), behind.into()));
        StatusText::new(around, status, 4711)
    }

    #[test]
    fn a_change_of_state_is_written_where_it_stands() {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let path = folder.path().join("a.xml");
        let inode = || std::fs::metadata(&path).expect("written").ino();
        let read = || std::fs::read_to_string(&path).expect("written");
        let written = Written::default();
        let running = Status::Running(RunningReason::Booted);
        let write = |text: &StatusText| written.write(&path, text.clone(), true);
        let first = text("\n  <x/>", running);
        write(&first).expect("in memory");
        let node = inode();
        for status in [Status::Paused(PausedReason::User), running] {
            let next = text("\n  <x/>", status);
            write(&next).expect("in memory");
            assert_eq!((read(), inode()), (next.whole(), node), "{status:?}");
        }
        // What another put there is replaced, as is a text that differs elsewhere.
        std::fs::remove_file(&path).expect("it is there");
        std::fs::write(&path, "x".repeat(first.len())).expect("in memory");
        let paused = text("\n  <x/>", Status::Paused(PausedReason::User));
        write(&paused).expect("in memory");
        assert_eq!(read(), paused.whole());
        let node = inode();
        let other = text("\n  <y/>", running);
        write(&other).expect("in memory");
        assert_eq!(read(), other.whole());
        assert_ne!(inode(), node);
    }

    #[test]
    fn a_line_across_pages_is_not_written_in_place() {
        let running = Status::Running(RunningReason::Booted);
        let paused = Status::Paused(PausedReason::User);
        let around: Around = Arc::new(("x".repeat(PAGE - 20).into(), "".into()));
        let at = |status| StatusText::new(Arc::clone(&around), status, 4711);
        assert!(!at(running).differs_in_place(&at(paused)));
        let around: Around = Arc::new(("x".repeat(PAGE).into(), "".into()));
        let at = |status| StatusText::new(Arc::clone(&around), status, 4711);
        assert!(at(running).differs_in_place(&at(paused)));
    }
}
