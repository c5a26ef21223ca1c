//! What is written down of a save, dump or restore under way, for the next daemon.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a daemon that takes the guest over has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveNote {
    /// Its state or memory is being written.
    Writing {
        /// The file's own name.
        path: PathBuf,
        /// The name it has until it is complete; none where it has its own from the beginning.
        temporary: Option<PathBuf>,
        /// Device and inode, once the file is there.
        file: Option<(u64, u64)>,
        /// The guest ran before, and is to run if nothing comes of it.
        was_running: bool,
        /// The guest ends when the file is complete.
        ends_guest: bool,
    },
    /// It was restored from this file, which goes as soon as the guest runs.
    Restored {
        /// The file.
        path: PathBuf,
        /// Device and inode.
        file: (u64, u64),
    },
}

impl SaveNote {
    /// As it lies in our file beside the status.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Writing { path, temporary, file, was_running, ends_guest } => json!({
                "writing": path,
                "temporary": temporary,
                "file": file.map(|(device, inode)| [device, inode]),
                "was_running": was_running,
                "ends_guest": ends_guest,
            }),
            Self::Restored { path, file: (device, inode) } => {
                json!({"restored": path, "file": [device, inode]})
            }
        }
    }

    /// From our file; none where it says nothing that can be understood.
    pub fn from_json(value: &Value) -> Option<Self> {
        let path = |name: &str| value.get(name)?.as_str().map(PathBuf::from);
        let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let file = value
            .get("file")
            .and_then(|file| Some((file.get(0)?.as_u64()?, file.get(1)?.as_u64()?)));
        match (path("writing"), path("restored")) {
            (Some(writing), _) => Some(Self::Writing {
                path: writing,
                temporary: path("temporary"),
                file,
                was_running: flag("was_running"),
                ends_guest: flag("ends_guest"),
            }),
            (None, Some(restored)) => Some(Self::Restored { path: restored, file: file? }),
            (None, None) => None,
        }
    }
}

/// Device and inode of what has this name now.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_being_written_and_read() {
        for note in [
            SaveNote::Writing {
                path: "/a".into(),
                temporary: Some("/b".into()),
                file: Some((1, u64::MAX)),
                was_running: true,
                ends_guest: false,
            },
            SaveNote::Writing {
                path: "/a".into(),
                temporary: None,
                file: None,
                was_running: false,
                ends_guest: true,
            },
            SaveNote::Restored { path: "/c".into(), file: (3, 4) },
        ] {
            assert_eq!(SaveNote::from_json(&note.to_json()), Some(note));
        }
        assert_eq!(SaveNote::from_json(&Value::Null), None);
        assert_eq!(SaveNote::from_json(&json!({"restored": "/x"})), None);
    }
}
