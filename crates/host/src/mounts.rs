//! The kernel's table of mounts (`/proc/self/mounts`; its format is that of fstab(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A file system that is mounted.
pub(crate) struct Mount<'a> {
    /// Where.
    pub(crate) point: PathBuf,
    /// Its type.
    pub(crate) kind: &'a str,
    /// Its options, with commas between.
    pub(crate) options: &'a str,
}

/// The entries of a table, in the order of their mounting; a line that is none is passed over.
pub(crate) fn entries(table: &str) -> impl Iterator<Item = Mount<'_>> {
    table.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let point = unescape(words.next()?);
        Some(Mount { point, kind: words.next()?, options: words.next()? })
    })
}

/// A path as the kernel lists it: blanks and backslashes are three octal digits behind a backslash.
fn unescape(path: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (byte, skip) = match escaped {
            Some(byte) if *first == b'\\' => (byte, 3),
            _ => (*first, 0),
        };
        bytes.push(byte);
        rest = after.get(skip..).unwrap_or_default();
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn paths_are_as_they_were_before_the_kernel_wrote_them() {
        assert_eq!(unescape("/a\\040b\\134c"), Path::new("/a b\\c"));
        for odd in ["\\", "\\0", "\\04", "\\999", "\\\u{e4}0", ""] {
            assert_eq!(unescape(odd), Path::new(odd), "{odd}");
        }
    }
}
