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

/// The lines that differ, as `-expected` and `+actual`, each stretch with the line before it;
/// `None` when equal.
pub fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    if old == new {
        return Some("(they differ in the newline at the end)\n".to_owned());
    }
    // Lengths of the longest common sequence of what follows each pair of lines.
    let mut common = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut text, mut i, mut j, mut same) = (String::new(), 0, 0, true);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j, same) = (i + 1, j + 1, true);
            continue;
        }
        if same {
            text.push_str(&format!("@@ line {} @@\n", i + 1));
            if i > 0 {
                text.push_str(&format!(" {}\n", old[i - 1]));
            }
            same = false;
        }
        if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            text.push_str(&format!("-{}\n", old[i]));
            i += 1;
        } else {
            text.push_str(&format!("+{}\n", new[j]));
            j += 1;
        }
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
