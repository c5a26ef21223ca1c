//! Persistent definitions on disk: `/etc/libvirt/qemu/NAME.xml` and the autostart links.

use crate::layout::Layout;
use host::files::WriteMode;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Largest definition that is read from disk.
const FILE_MAX: u64 = 16 << 20;

/// Ends of the names of the links in the autostart folder.
const LINK: &str = ".xml";
const LINK_ONCE: &str = ".xml.once";

/// What is wrong with a file of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading failed.
    #[error("cannot read '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file's name would be longer than names may be.
    #[error("Failed to create file '{}.new'", path.display())]
    NameTooLong {
        /// The file.
        path: PathBuf,
    },
    /// Writing failed; the old content is still there.
    #[error("cannot write '{path}'")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_path_buf(), source }
    }

    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_path_buf(), source }
    }

    /// libvirt's error: code and operating system's words.
    pub fn to_vir(&self) -> diag::VirError {
        let (words, hint) = match self {
            Self::Read { source, .. } | Self::Write { source, .. } => (os_words(source), None),
            Self::NameTooLong { .. } => {
                let hint = format!("a name may have {NAME_MAX} bytes");
                ("File name too long".to_owned(), Some(hint))
            }
        };
        let error = diag::VirError::new(diag::ErrorCode::SYSTEM_ERROR, format!("{self}: {words}"));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The longest name of a domain or pool: a file name has 255 bytes, and libvirt's atomic writes
/// add `.xml.new` to it.
pub const NAME_MAX: usize = 255 - ".xml.new".len();

/// Checks that `name` can be that of files in `folder`.
///
/// # Errors
/// libvirt's, for a name that is too long.
pub fn check_name(folder: &Path, name: &str) -> Result<(), StoreError> {
    if name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(StoreError::NameTooLong { path: folder.join(format!("{name}.xml")) })
}

/// The operating system's words for an error, without Rust's "(os error N)".
pub fn os_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// The folders of one kind of object with persistent definitions.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    autostart: PathBuf,
    edit_command: &'static str,
}

/// A definition found on disk.
#[derive(Debug)]
pub struct StoredFile {
    /// Name by the file's name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// An autostart link points at it.
    pub autostart: bool,
    /// A link for one start only points at it.
    pub autostart_once: bool,
}

impl Store {
    /// The store of domains.
    pub fn domains(layout: &Layout) -> Self {
        Self {
            folder: layout.domain_config(),
            autostart: layout.domain_autostart(),
            edit_command: "edit",
        }
    }

    /// The store of storage pools.
    pub fn pools(layout: &Layout) -> Self {
        Self {
            folder: layout.pool_config(),
            autostart: layout.pool_config().join("autostart"),
            edit_command: "pool-edit",
        }
    }

    /// Makes the folders.
    ///
    /// # Errors
    /// Names the folder that could not be made.
    pub fn prepare(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        for folder in [&self.folder, &self.autostart] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(|source| StoreError::write(folder, source))?;
        }
        Ok(())
    }

    /// The definitions there are, in the order of names. Only the folder is read.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn scan(&self) -> Result<Vec<StoredFile>, StoreError> {
        let read = |source| StoreError::read(&self.folder, source);
        let links = self.autostart_names();
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = entry.path();
            if path.extension() != Some(OsStr::new("xml")) {
                continue;
            }
            // A domain's name may begin with a dot. What is half written ends differently.
            let Some(name) = path.file_stem().and_then(OsStr::to_str).map(str::to_owned) else {
                tracing::error!(file = %path.display(), "its name is not UTF-8: left alone");
                continue;
            };
            let kind = entry.file_type().map_err(read)?;
            if !kind.is_file() && !kind.is_symlink() {
                tracing::error!(file = %path.display(), "not a regular file: left alone");
                continue;
            }
            let linked = |suffix| links.binary_search(&format!("{name}{suffix}")).is_ok();
            let (autostart, autostart_once) = (linked(LINK), linked(LINK_ONCE));
            found.push(StoredFile { name, path, autostart, autostart_once });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The text of a definition.
    ///
    /// # Errors
    /// When it cannot be read, is no text, or is larger than any definition.
    pub fn read(&self, file: &StoredFile) -> Result<String, StoreError> {
        read_text(&file.path, FILE_MAX).map_err(|source| StoreError::read(&file.path, source))
    }

    /// Writes the definition of `name` so that a crash leaves the old or the new one.
    ///
    /// # Errors
    /// When it cannot be written; the old one is untouched then.
    pub fn write(&self, name: &str, xml: &str) -> Result<(), StoreError> {
        check_name(&self.folder, name)?;
        let path = self.path_of(name);
        let mut text = model::file_header(self.edit_command, name);
        text.push_str(xml);
        host::files::write_atomic(&path, text.as_bytes(), WriteMode::PRIVATE)
            .map_err(|error| StoreError::write(&path, error.source))
    }

    /// Removes the definition of `name` and its autostart link; what is not there is no error.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.set_autostart(name, false)?;
        self.set_autostart_once(name, false)?;
        remove_if_there(&self.path_of(name))
    }

    /// Makes or removes the autostart link of `name`.
    ///
    /// # Errors
    /// When the link cannot be made or removed.
    pub fn set_autostart(&self, name: &str, autostart: bool) -> Result<(), StoreError> {
        self.set_link(name, LINK, autostart)
    }

    /// Makes or removes the link by which `name` starts with the next boot only.
    ///
    /// # Errors
    /// When the link cannot be made or removed.
    pub fn set_autostart_once(&self, name: &str, once: bool) -> Result<(), StoreError> {
        self.set_link(name, LINK_ONCE, once)
    }

    fn set_link(&self, name: &str, suffix: &str, wanted: bool) -> Result<(), StoreError> {
        let link = self.autostart.join(format!("{name}{suffix}"));
        remove_if_there(&link)?;
        if wanted {
            fs::create_dir_all(&self.autostart)
                .and_then(|()| symlink(self.path_of(name), &link))
                .map_err(|source| StoreError::write(&link, source))?;
        }
        Ok(())
    }

    /// The file of `name`.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.xml"))
    }

    /// The file names of all links, sorted.
    fn autostart_names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.autostart) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// Reads a text file of at most `max` bytes.
///
/// # Errors
/// Those of reading; [`io::ErrorKind::InvalidData`] for too large a file or bytes that are no
/// UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    // Opening a named pipe (a link may lead to one) would wait for somebody to write into it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let length = metadata.len();
    let mut text = String::with_capacity(usize::try_from(length.min(max)).unwrap_or(0));
    file.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        let message = format!("larger than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        // What could not even be made is not there.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) =>
        {
            Ok(())
        }
        Err(error) => Err(StoreError::write(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_libvirts_end() {
        let folder = Path::new("/f");
        assert!(check_name(folder, &"n".repeat(247)).is_ok());
        // Bytes count, not characters.
        let error = check_name(folder, &"\u{e4}".repeat(124)).expect_err("248 bytes").to_vir();
        assert_eq!(error.code, diag::ErrorCode::SYSTEM_ERROR);
        assert!(error.detail.starts_with("Failed to create file '/f/"), "{}", error.detail);
        assert!(error.detail.ends_with(".xml.new': File name too long"), "{}", error.detail);
    }

    #[test]
    fn only_regular_files_are_definitions() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store {
            folder: dir.path().to_owned(),
            autostart: dir.path().join("autostart"),
            edit_command: "edit",
        };
        store.prepare().expect("folders");
        fs::write(dir.path().join("a.xml"), "<domain/>").expect("a file");
        fs::create_dir(dir.path().join("b.xml")).expect("a folder");
        // A socket is as irregular as a named pipe, and std can make one.
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("c.xml"));
        let names: Vec<_> = store.scan().expect("readable").into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a"]);
    }
}
