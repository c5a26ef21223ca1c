//! Names of objects, which become names of files.

use std::fmt;

/// Why a name cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// Nothing in it.
    Empty,
    /// It holds a `/`.
    Slash,
    /// It holds a line break.
    NewLine,
    /// It is `.` or `..`, which a file system reads as a folder.
    Folder,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "name must not be empty",
            Self::Slash => "name cannot contain '/'",
            Self::NewLine => "name cannot contain '\\n'",
            Self::Folder => "name must not be '.' or '..'",
        })
    }
}

impl std::error::Error for NameError {}

/// Whether a text can name a domain, network, pool, …
///
/// # Errors
///
/// The first rule it breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.contains('/') {
        Err(NameError::Slash)
    } else if name.contains('\n') {
        Err(NameError::NewLine)
    } else if matches!(name, "." | "..") {
        Err(NameError::Folder)
    } else {
        Ok(())
    }
}

/// A name that passed [`check_name`]: joined with a folder and a suffix it stays in that folder.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DomainName(String);

impl DomainName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// The first rule it breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_name(&name).map(|()| Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_escape_their_folder_are_refused() {
        for (name, expected) in [
            ("web 1", Ok(())),
            ("ünï", Ok(())),
            (".hidden", Ok(())),
            ("", Err(NameError::Empty)),
            ("a/b", Err(NameError::Slash)),
            ("a\nb", Err(NameError::NewLine)),
            ("  ", Ok(())),
            ("..", Err(NameError::Folder)),
        ] {
            assert_eq!(check_name(name), expected, "{name:?}");
        }
    }
}
