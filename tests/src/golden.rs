//! Golden files: what a program says, kept as text beside the tests.
//!
//! Other crates use this from their own tests too (as a dev-dependency). `UPDATE=1 cargo test`
//! rewrites the files; the diff is then read like any other change.

use std::fs;
use std::path::Path;

/// Whether this run rewrites golden files.
pub fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Compares `actual` with the content of the file at `path`; panics with both where they part.
#[track_caller]
pub fn check(path: impl AsRef<Path>, actual: &str) {
    let path = path.as_ref();
    if updating() {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder for golden files");
        }
        // Untouched files keep their time, so that cargo does not build again for nothing.
        if fs::read_to_string(path).ok().as_deref() != Some(actual) {
            fs::write(path, actual).expect("a golden file can be written");
        }
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|error| {
        panic!("{}: {error} (UPDATE=1 writes it)", path.display());
    });
    if let Some(difference) = difference(&expected, actual) {
        panic!("{} differs (UPDATE=1 rewrites it):\n{difference}", path.display());
    }
}

/// The lines from the first that differs, as `-expected` and `+actual`; `None` when equal.
pub fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let tail = old[start..]
        .iter()
        .rev()
        .zip(new[start..].iter().rev())
        .take_while(|(old, new)| old == new)
        .count();
    let mut text = format!("@@ line {} @@\n", start + 1);
    for line in &old[start.saturating_sub(3)..start] {
        text.push_str(&format!(" {line}\n"));
    }
    for line in &old[start..old.len() - tail] {
        text.push_str(&format!("-{line}\n"));
    }
    for line in &new[start..new.len() - tail] {
        text.push_str(&format!("+{line}\n"));
    }
    if old == new {
        text.push_str("(they differ in the newline at the end)\n");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn only_lines_that_differ_are_shown() {
        let shown = difference("a\nb\nc\n", "a\nx\nc\n").unwrap();
        assert_eq!(shown, "@@ line 2 @@\n a\n-b\n+x\n");
    }

    #[test]
    fn a_missing_newline_is_told() {
        assert!(difference("a\n", "a").unwrap().contains("newline"));
    }
}
