//! The file that a guest is saved or dumped to: another name until it is complete, so that nothing
//! that was there before is lost to an attempt that failed.

use super::system_error;
use diag::{ErrorCode, VirError};
use model::save_image::SaveHeader;
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file being written. Unless [`Target::commit`] was called, nothing of it stays.
#[derive(Debug)]
pub(super) struct Target {
    /// The file's own name.
    path: PathBuf,
    temporary: Option<PathBuf>,
    file: Option<File>,
    identity: (u64, u64),
    committed: bool,
}

/// The names of a file that is about to be written, known before it is there.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What is written in the end; links are followed.
    pub path: PathBuf,
    /// The other name until then; none for devices and pipes, which are written as they are.
    pub temporary: Option<PathBuf>,
}

impl Names {
    /// Looks at what is at `path` now.
    ///
    /// # Errors
    /// libvirt's, for a folder.
    pub fn of(path: &Path, random: u64) -> Result<Self, VirError> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let found = fs::metadata(&path).ok();
        if found.as_ref().is_some_and(fs::Metadata::is_dir) {
            let error = io::Error::from_raw_os_error(rustix::io::Errno::ISDIR.raw_os_error());
            return Err(system_error("create", &path, &error));
        }
        let plain = found.is_none_or(|found| found.is_file());
        let temporary = plain.then(|| path.with_file_name(format!(".ivirt-{random:016x}.part")));
        Ok(Self { path, temporary })
    }
}

impl Target {
    /// Makes the file (or opens what is no plain file).
    ///
    /// # Errors
    /// libvirt's, when that cannot be.
    pub fn create(names: Names) -> Result<Self, VirError> {
        let Names { path, temporary } = names;
        let mut options = File::options();
        options.write(true).mode(0o600);
        match &temporary {
            Some(_) => options.create_new(true),
            None => options.custom_flags(OFlags::TRUNC.bits() as i32),
        };
        let opened = temporary.as_deref().unwrap_or(&path);
        let file = options.open(opened).map_err(|error| system_error("create", &path, &error))?;
        let found = file.metadata().map_err(|error| system_error("stat", &path, &error))?;
        let identity = (found.dev(), found.ino());
        Ok(Self { path, temporary, file: Some(file), identity, committed: false })
    }

    /// The file's own name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// The file.
    ///
    /// # Errors
    /// None before the end.
    pub fn file(&self) -> Result<&File, VirError> {
        self.file.as_ref().ok_or_else(|| VirError::internal("the file is closed"))
    }

    /// The file once more, opened anew (so that how it is used differs), past the page cache.
    ///
    /// # Errors
    /// Where the file system cannot.
    pub fn direct(&self) -> Result<OwnedFd, VirError> {
        let opened = self.temporary.as_deref().unwrap_or(&self.path);
        let file = File::options()
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(opened)
            .map_err(|error| no_direct(&self.path, &error))?;
        Ok(file.into())
    }

    /// Writes the head of an image that is not complete yet.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_head(&self, header: &SaveHeader, texts: &[u8]) -> Result<(), VirError> {
        let head = [&header.bytes(false)[..], texts].concat();
        self.file()?.write_all_at(&head, 0).map_err(|error| write_error(&self.path, &error))
    }

    /// Everything is there: says so in the file (for an image), brings it to stable storage and
    /// gives it its name.
    ///
    /// # Errors
    /// Those of writing; nothing stays then.
    pub fn commit(&mut self, header: Option<&SaveHeader>) -> Result<(), VirError> {
        let path = self.path.clone();
        let failed = |error: io::Error| write_error(&path, &error);
        let file = self.file()?;
        if let Some(header) = header {
            // The memory first: a head that says "complete" must not be there before it.
            if self.temporary.is_none() {
                synced(file).map_err(failed)?;
            }
            file.write_all_at(&header.bytes(true), 0).map_err(failed)?;
        }
        synced(file).map_err(failed)?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path).map_err(failed)?;
            // From here on the file is there under its name.
            self.committed = true;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
                // Its name may be lost with the power: then it never was.
                let error = failed(error);
                self.discard();
                return Err(error);
            }
        }
        self.committed = true;
        self.file = None;
        Ok(())
    }

    /// Takes the file away again, also one that was committed.
    pub fn discard(&mut self) {
        let name = match (&self.temporary, self.committed) {
            (Some(temporary), false) => temporary,
            (Some(_), true) => &self.path,
            (None, _) => return,
        };
        if super::note::identity(name) == Some(self.identity)
            && let Err(error) = fs::remove_file(name)
        {
            tracing::warn!(file = %name.display(), %error, "not removed");
        }
        self.temporary = None;
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.committed {
            self.discard();
        }
    }
}

/// Brings a file to stable storage; pipes and the like have none.
fn synced(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// A write that failed, in words that name the file.
pub(super) fn write_error(path: &Path, error: &io::Error) -> VirError {
    let words = crate::domain::stored::store::os_words(error);
    VirError::failed(format!("Unable to write {}: {words}", path.display()))
}

/// A file system that knows no direct I/O.
pub(super) fn no_direct(path: &Path, error: &io::Error) -> VirError {
    let words = crate::domain::stored::store::os_words(error);
    VirError::new(
        ErrorCode::SYSTEM_ERROR,
        format!("Failed to open file '{}' for direct I/O: {words}", path.display()),
    )
    .hint("its file system may know none; without --bypass-cache it works")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::save_image::{SaveFormat, Texts, compose};

    fn head() -> (SaveHeader, Vec<u8>) {
        let texts = Texts { xml: "<domain/>", cookie: None };
        compose(texts, true, SaveFormat::Raw).expect("short")
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("folder").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_was_there_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("image");
        fs::write(&path, "old").expect("old");
        let (header, texts) = head();
        let target = Target::create(Names::of(&path, 7).expect("a file")).expect("made");
        target.write_head(&header, &texts).expect("written");
        drop(target);
        assert_eq!(fs::read(&path).expect("there"), b"old");
        assert_eq!(names_in(folder.path()), ["image"]);

        let mut target = Target::create(Names::of(&path, 7).expect("a file")).expect("made");
        target.write_head(&header, &texts).expect("written");
        target.commit(Some(&header)).expect("committed");
        assert_eq!(SaveHeader::parse(&fs::read(&path).expect("there")), Ok(header));
        assert_eq!(names_in(folder.path()), ["image"]);
        target.discard();
        assert!(names_in(folder.path()).is_empty());
    }

    #[test]
    fn folders_are_refused_and_links_followed() {
        let folder = tempfile::tempdir().expect("folder");
        let error = Names::of(folder.path(), 1).expect_err("a folder");
        assert!(error.detail.ends_with("': Is a directory"), "{}", error.detail);
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").expect("file");
        std::os::unix::fs::symlink(&file, &link).expect("link");
        let names = Names::of(&link, 1).expect("a link");
        assert_eq!(names.path, fs::canonicalize(&file).expect("there"));
        let none = Target::create(Names::of(Path::new("/nowhere/x"), 1).expect("names"));
        let error = none.expect_err("no folder");
        assert_eq!(error.detail, "Failed to create file '/nowhere/x': No such file or directory");
    }
}
