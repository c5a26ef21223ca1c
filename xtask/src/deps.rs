//! Dependencies: each has a licence that ours allows, and a reason in ARCHITECTURE.md.

use std::path::Path;

use crate::metadata;

/// Licences that may be linked into an Apache-2.0 OR MIT program without further duties than
/// naming the authors.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Succeeds when all dependencies are allowed and the table of ARCHITECTURE.md is complete.
pub fn run(root: &Path, _args: &[String]) -> Result<(), String> {
    let read = |name: &str| {
        std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let mut faults =
        table_faults(&declared(&read("Cargo.toml")?), &table(&read("ARCHITECTURE.md")?));
    for package in metadata::packages(root)?.iter().filter(|package| !package.local) {
        match package.license.as_deref() {
            Some(expression) if allows(expression) => {}
            Some(expression) => faults.push(format!("{}: licence {expression}", package.name)),
            None => faults.push(format!("{}: no licence in its manifest", package.name)),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("\n  {}", faults.join("\n  "))) }
}

/// Whether a licence expression offers a choice that is allowed. Old manifests write `/` for OR.
fn allows(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    split(&expression, " OR ").into_iter().any(|choice| {
        let choice = choice.trim();
        match choice.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => allows(inner),
            None => {
                let parts = split(choice, " AND ");
                if parts.len() > 1 {
                    parts.into_iter().all(allows)
                } else {
                    ALLOWED.contains(&choice)
                }
            }
        }
    })
}

/// Splits at `separator` outside parentheses.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && at >= start && text[at..].starts_with(separator) => {
                parts.push(&text[start..at]);
                start = at + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Third-party names under `[workspace.dependencies]`; ours have a path.
fn declared(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#') && !line.contains("path ="))
        .filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned()))
        .collect()
}

/// Names in the first column of the table that begins with `| dependency |`.
fn table(text: &str) -> Vec<String> {
    let rows = text.lines().skip_while(|line| !line.starts_with("| dependency |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

fn table_faults(declared: &[String], table: &[String]) -> Vec<String> {
    let missing = declared
        .iter()
        .filter(|name| !table.contains(name))
        .map(|name| format!("{name} has no line in ARCHITECTURE.md's dependency table"));
    let stale = table
        .iter()
        .filter(|name| !declared.contains(name))
        .map(|name| format!("ARCHITECTURE.md's dependency table lists {name}, which is not used"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependencies_are_allowed_and_explained() {
        run(&crate::root(), &[]).unwrap();
    }

    #[test]
    fn expressions_are_understood() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(allows(allowed), "{allowed}");
        }
        for refused in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-2.0 OR GPL-3.0) AND MIT", ""] {
            assert!(!allows(refused), "{refused}");
        }
    }

    #[test]
    fn names_are_compared_both_ways() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(table_faults(&names(&["a", "b"]), &names(&["b", "c"])).len(), 2);
    }
}
