//! The layer rule: a crate depends only on crates that stand before it in ARCHITECTURE.md's table.
//!
//! The table is the source; this task reads it and compares it with what cargo sees.

use std::collections::HashMap;
use std::path::Path;

use crate::metadata::{self, Package};

/// What some crates must not depend on although it is no crate of ours, or stands before them.
const FORBIDDEN: &[(&[&str], &[&str], &str)] = &[
    (
        &["units", "diag", "xml-derive", "xml", "xdr", "model", "protocol", "plan", "lifecycle"],
        &["tokio", "rustix", "libc", "host-sys", "host", "qmp"],
        "it is pure: no I/O, no clock, no randomness",
    ),
    (&["qmp"], &["tokio", "rustix", "libc"], "it is a codec; reading and writing is host's"),
    (&["engine"], &["protocol", "rpc", "xdr"], "it knows no wire format"),
    (&["rpc"], &["engine", "model", "plan", "host"], "it moves frames and knows no domains"),
];

/// Prints nothing and succeeds when every dependency obeys the rule.
pub fn run(root: &Path, _args: &[String]) -> Result<(), String> {
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md"))
        .map_err(|error| format!("ARCHITECTURE.md: {error}"))?;
    let faults = faults(&table(&text), &metadata::packages(root)?);
    if faults.is_empty() { Ok(()) } else { Err(format!("\n  {}", faults.join("\n  "))) }
}

/// The crates of the layer table, lowest first: the code words in the second column of the rows
/// that follow the heading `| layer | crate |`. Rows of the layer `beside` are no part of it.
fn table(text: &str) -> Vec<String> {
    let mut crates = Vec::new();
    let rows = text.lines().skip_while(|line| !line.starts_with("| layer | crate |")).skip(2);
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if cells.get(1) == Some(&"beside") {
            break;
        }
        let names = cells.get(2).copied().unwrap_or_default().split('`').skip(1).step_by(2);
        crates.extend(names.map(str::to_owned));
    }
    crates
}

fn faults(table: &[String], packages: &[Package]) -> Vec<String> {
    let place: HashMap<&str, usize> =
        table.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut faults = Vec::new();
    let beside = ["conformance", "xtask", "tests", "fuzz"];
    for package in packages.iter().filter(|package| package.local) {
        let name = package.name.as_str();
        if beside.contains(&name) {
            continue;
        }
        let Some(own) = place.get(name) else {
            faults.push(format!("{name} is missing from the layer table of ARCHITECTURE.md"));
            continue;
        };
        for dependency in &package.dependencies {
            if place.get(dependency.as_str()).is_some_and(|other| other >= own) {
                faults.push(format!("{name} depends on {dependency}, which stands above it"));
            }
            if beside.contains(&dependency.as_str()) {
                faults.push(format!("{name} depends on {dependency}, which is for development"));
            }
            for (crates, banned, reason) in FORBIDDEN {
                if crates.contains(&name) && banned.contains(&dependency.as_str()) {
                    faults.push(format!("{name} must not depend on {dependency}: {reason}"));
                }
            }
        }
    }
    let known = |name: &String| packages.iter().any(|package| &package.name == name);
    for name in table.iter().filter(|name| !known(name)) {
        faults.push(format!("the layer table lists {name}, which does not exist"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_obeys_its_layers() {
        run(&crate::root(), &[]).unwrap();
    }

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|&name| name.to_owned()).collect();
        Package { name: name.to_owned(), license: None, local: true, dependencies }
    }

    #[test]
    fn a_table_is_read_top_down() {
        let text = "x\n| layer | crate | holds |\n|---|---|---|\n| 0 | `units` | `no` |\n\
            | | `xml`, `xdr` | |\n| beside | `xtask` | |\n";
        assert_eq!(table(text), ["units", "xml", "xdr"]);
    }

    #[test]
    fn faults_are_found() {
        let table = ["units".to_owned(), "model".to_owned(), "gone".to_owned()];
        let packages = [
            package("units", &["model"]),
            package("model", &["units", "tokio"]),
            package("new", &[]),
        ];
        let found = faults(&table, &packages);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].contains("units depends on model"));
        assert!(found[1].contains("model must not depend on tokio"));
        assert!(found[2].contains("new is missing"));
        assert!(found[3].contains("lists gone"));
    }
}
