//! Stored secrets: `UUID.xml` what one is for, `UUID.base64` its value, both for root alone.

use super::error;
use diag::{ErrorCode, VirError};
use host::files::{self, FileError, WriteMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use units::{Uuid, base64};

/// Largest file that is read: a value of 64 KiB in base64, and more than any XML.
const FILE_MAX: usize = 256 << 10;

#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
}

/// A secret found on disk.
#[derive(Debug)]
pub struct Stored {
    /// By the file's name.
    pub uuid: Uuid,
    /// Its XML's file.
    pub path: PathBuf,
    /// The XML.
    pub xml: String,
    /// The value, where there is one that can be read.
    pub value: Option<Arc<[u8]>>,
}

fn failed(error_: &FileError) -> VirError {
    let words = crate::domain::stored::store::os_words(&error_.source);
    error(ErrorCode::SYSTEM_ERROR, format!("{error_}: {words}"))
}

impl Files {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    fn place(&self, uuid: Uuid, kind: &str) -> PathBuf {
        self.folder.join(format!("{uuid}.{kind}"))
    }

    /// What is stored; what cannot be read is reported and left alone.
    pub fn scan(&self) -> Vec<Stored> {
        let mut found = Vec::new();
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return found };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(uuid) = stem.and_then(|stem| stem.parse::<Uuid>().ok()) else {
                tracing::error!(path = %path.display(), "secret not loaded: not named by a UUID");
                continue;
            };
            let text = files::read_own(&path, FILE_MAX)
                .map_err(|error| failed(&error).message())
                .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
            match text {
                Ok(xml) => {
                    let value = self.value(uuid);
                    found.push(Stored { uuid, path, xml, value });
                }
                Err(error) => tracing::error!(path = %path.display(), error, "secret not loaded"),
            }
        }
        found.sort_by_key(|stored| stored.uuid);
        found
    }

    fn value(&self, uuid: Uuid) -> Option<Arc<[u8]>> {
        let path = self.place(uuid, "base64");
        match files::read_own(&path, FILE_MAX) {
            Ok(bytes) => decode(&bytes, &path),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                tracing::error!(error = %failed(&error).message(), "value of a secret not loaded");
                None
            }
        }
    }

    /// Writes what a secret is for, without the header that other definitions have, as libvirtd.
    pub fn write_xml(&self, uuid: Uuid, xml: &str) -> Result<(), VirError> {
        self.write(&self.place(uuid, "xml"), xml)
    }

    /// Writes a value.
    pub fn write_value(&self, uuid: Uuid, value: &[u8]) -> Result<(), VirError> {
        self.write(&self.place(uuid, "base64"), &base64::encode(value))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), VirError> {
        files::make_folder(&self.folder, 0o700)
            .and_then(|()| files::write_atomic(path, text.as_bytes(), WriteMode::PRIVATE))
            .map_err(|error| failed(&error))
    }

    /// Removes both files; what is not there is no fault.
    pub fn remove(&self, uuid: Uuid) -> Result<(), VirError> {
        for kind in ["base64", "xml"] {
            files::remove(&self.place(uuid, kind), true).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

/// A stored value's bytes.
pub(super) fn decode(text: &[u8], path: &Path) -> Option<Arc<[u8]>> {
    let value = base64::decode(text.trim_ascii());
    if value.is_none() {
        tracing::error!(path = %path.display(), "value of a secret not loaded: no base64");
    }
    value.map(Arc::from)
}
