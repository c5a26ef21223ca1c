//! House rules that neither rustfmt nor clippy checks.

use std::path::Path;
use std::process::Command;

/// A file longer than this holds more than one idea.
const MOST_LINES: usize = 900;

/// Longer files, each with the reason why it is one idea all the same.
const LONG_FILES: &[(&str, &str)] = &[(
    "crates/ironvirt/src/virsh/registry/domain.rs",
    "a table: the options of virsh's commands for domains, one entry after the other",
)];

/// Words that mean unfinished work; put together here so that this file does not hold them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Macros that are for the moment of writing.
const UNFINISHED_MACROS: &[&str] =
    &[concat!("db", "g!("), concat!("to", "do!("), concat!("unimpl", "emented!(")];

/// Crates whose code takes values and returns values.
const PURE: &[&str] =
    &["units", "diag", "xml-derive", "xml", "xdr", "model", "protocol", "plan", "lifecycle"];

/// What code must not use where: (crates, text, reason). Tests may.
const BANNED: &[(Where, &str, &str)] = &[
    (Where::Libraries, "println!(", "libraries never print"),
    (Where::Libraries, "print!(", "libraries never print"),
    (Where::Libraries, "env::var", "only programs read the environment"),
    (Where::Libraries, "process::exit(", "only programs exit"),
    (Where::Pure, "std::fs", "this crate is pure"),
    (Where::Pure, "std::process", "this crate is pure"),
    (Where::Pure, "std::net", "this crate is pure"),
    (Where::Pure, "std::os::unix::net", "this crate is pure"),
    (Where::Pure, "SystemTime::now", "time comes in as a parameter"),
    (Where::Pure, "Instant::now", "time comes in as a parameter"),
];

#[derive(Clone, Copy)]
enum Where {
    /// Every crate but the programs.
    Libraries,
    /// The crates of [`PURE`].
    Pure,
}

/// Succeeds when every file of the checkout obeys the rules.
pub fn run(root: &Path, _args: &[String]) -> Result<(), String> {
    let mut faults = Vec::new();
    for path in files(root)? {
        // Deleted but not yet committed, or not text: neither is for us.
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        faults.extend(check(&path, &text).into_iter().map(|fault| format!("{path}:{fault}")));
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("\n  {}", faults.join("\n  "))) }
}

/// Paths below `root` of all files that git does not ignore.
fn files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Faults of one file, each as `line: what`.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let data = ["golden", "corpus", "/data/"].iter().any(|part| path.contains(part));
    if data || text.is_empty() || path.starts_with("LICENSE") {
        return faults;
    }
    // A transcript shows what was printed, blanks included.
    if !path.ends_with(".txt") {
        for (number, line) in numbered(text) {
            if line.ends_with([' ', '\t']) {
                faults.push(format!("{number}: blanks at the end of the line"));
            }
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
                faults.push(format!("{number}: {word}"));
            }
        }
        // The value of a secret lies in its file as libvirt writes it: one line without an end.
        let has_end = path.ends_with(".base64") || text.ends_with('\n');
        if !has_end || text.ends_with("\n\n") {
            faults.push("1: must end with exactly one newline".to_owned());
        }
    }
    if path.ends_with(".rs") {
        check_rust(path, text, &mut faults);
    }
    faults
}

fn check_rust(path: &str, text: &str, faults: &mut Vec<String>) {
    let generated = path.contains("/generated/");
    let lines = text.lines().count();
    if lines > MOST_LINES && !generated && !LONG_FILES.iter().any(|(long, _)| *long == path) {
        faults.push(format!("1: {lines} lines; split it, or argue for it in xtask/src/tidy.rs"));
    }
    if !text.lines().take(5).any(|line| line.starts_with("//!")) && !path.starts_with("fuzz/") {
        faults.push("1: says nowhere what it is for (//! at the top)".to_owned());
    }
    let krate = path.strip_prefix("crates/").and_then(|rest| rest.split('/').next());
    for (number, line) in numbered(text) {
        if let Some(text) = UNFINISHED_MACROS.iter().find(|text| line.contains(**text)) {
            faults.push(format!("{number}: {text}…)"));
        }
        if line.trim_start() == "#[cfg(test)]" {
            // Unit tests stand at the end and may do what the crate may not.
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for (place, banned, reason) in BANNED {
            let applies = krate.is_some_and(|krate| match place {
                Where::Libraries => krate != "ironvirt" && path.contains("/src/"),
                Where::Pure => PURE.contains(&krate) && path.contains("/src/"),
            });
            if applies && holds(code, banned) {
                faults.push(format!("{number}: {banned} ({reason})"));
            }
        }
    }
}

/// Whether `code` holds `banned` as a word of its own (`eprintln!(` is no `println!(`).
fn holds(code: &str, banned: &str) -> bool {
    code.match_indices(banned).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| c == 'e' || !(c.is_alphanumeric() || c == '_'))
    })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_tidy() {
        run(&crate::root(), &[]).unwrap();
    }

    #[test]
    fn faults_are_found() {
        let cases = [
            ("a.md", "text \n", "blanks"),
            ("a.md", "text", "newline"),
            ("a.md", "text\n\n", "newline"),
            ("crates/model/src/a.rs", "fn a() {}\n", "//!"),
            ("crates/model/src/a.rs", "//! A.\nuse std::fs;\n", "pure"),
            ("crates/host/src/a.rs", "//! A.\neprintln!(\"x\");\n", "print"),
            ("tests/a.rs", concat!("//! A.\ndb", "g!(x);\n"), "g!("),
            ("run", concat!("# TO", "DO later\n"), "DO"),
        ];
        for (path, text, expected) in cases {
            let faults = check(path, text).join("\n");
            assert!(faults.contains(expected), "{path} {text:?}: {faults:?}");
        }
        let long = format!("//! A.\n{}", "fn a() {}\n".repeat(MOST_LINES));
        assert!(check("xtask/src/a.rs", &long)[0].contains("901 lines"));
    }

    #[test]
    fn tests_and_programs_may_do_more() {
        let test = "//! A.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(check("crates/model/src/a.rs", test), Vec::<String>::new());
        let program = "//! A.\nfn main() {\n    println!();\n}\n";
        assert_eq!(check("crates/ironvirt/src/main.rs", program), Vec::<String>::new());
    }
}
