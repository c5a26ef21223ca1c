//! Scores of the third-party cases: a fall fails, a rise is written down.
//!
//! The record has a line for each family: its name, its cases, how many pass, and how many of those
//! are equal byte for byte. It holds for the data it was made with: a family with another number of
//! cases is shown, not judged.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Where the scores stand.
const RECORD: &str = "tests/conformance.tsv";

/// What a family reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Score {
    cases: u64,
    passed: u64,
    exact: u64,
}

/// `scores RESULT`: compares the runner's JSON result with the record. With `--keep`, a rise is
/// said and the record left as it is.
pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let keep = args.iter().any(|arg| arg == "--keep");
    let file = args.iter().find(|arg| !arg.starts_with("--")).ok_or("which result?")?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let result: Value = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let record = root.join(RECORD);
    let old = read(&std::fs::read_to_string(&record).unwrap_or_default())?;
    let new = scores(&result);
    if new.is_empty() {
        return Err(format!("{file}: no family has a score"));
    }
    let Verdict { falls, rises, unlike } = compare(&old, &new);
    for family in unlike {
        println!("{family}: other data than the record was made with, not judged");
    }
    if !falls.is_empty() {
        return Err(format!("scores fell:\n  {}", falls.join("\n  ")));
    }
    for rise in &rises {
        println!("rose: {rise}");
    }
    if !rises.is_empty() && !keep {
        std::fs::write(&record, write(&new)).map_err(|error| format!("{RECORD}: {error}"))?;
        println!("{RECORD} is rewritten: commit it");
    }
    Ok(())
}

/// The families of a result that were tried.
fn scores(result: &Value) -> BTreeMap<String, Score> {
    let summary = result.get("summary").and_then(Value::as_object);
    summary
        .into_iter()
        .flatten()
        .map(|(family, value)| {
            let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
            let (cases, passed, exact) = (number("cases"), number("passed"), number("exact"));
            (family.clone(), Score { cases, passed, exact })
        })
        .collect()
}

fn read(text: &str) -> Result<BTreeMap<String, Score>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            let bad = || format!("{RECORD}: not a score: {line}");
            let [family, cases, passed, exact] = words[..] else { return Err(bad()) };
            let number = |word: &str| word.parse().map_err(|_| bad());
            let score =
                Score { cases: number(cases)?, passed: number(passed)?, exact: number(exact)? };
            Ok((family.to_owned(), score))
        })
        .collect()
}

fn write(scores: &BTreeMap<String, Score>) -> String {
    let mut out = String::from(
        "# Scores of the third-party cases, written by `xtask scores`: family, cases, passed, exact.\n",
    );
    for (family, Score { cases, passed, exact }) in scores {
        let _ = writeln!(out, "{family}\t{cases}\t{passed}\t{exact}");
    }
    out
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    falls: Vec<String>,
    rises: Vec<String>,
    unlike: Vec<String>,
}

fn compare(old: &BTreeMap<String, Score>, new: &BTreeMap<String, Score>) -> Verdict {
    let mut verdict = Verdict::default();
    for (family, before) in old {
        let Some(after) = new.get(family) else {
            verdict.falls.push(format!("{family}: no longer tried"));
            continue;
        };
        if after.cases != before.cases {
            verdict.unlike.push(family.clone());
        } else if after.passed < before.passed || after.exact < before.exact {
            verdict.falls.push(change(family, before, after));
        } else if after != before {
            verdict.rises.push(change(family, before, after));
        }
    }
    let fresh = new.keys().filter(|family| !old.contains_key(*family));
    verdict.rises.extend(fresh.map(|family| format!("{family}: new")));
    verdict
}

fn change(family: &str, before: &Score, after: &Score) -> String {
    let cases = after.cases;
    format!(
        "{family}: {} passed, {} exact, of {cases}; before: {} and {}",
        after.passed, after.exact, before.passed, before.exact
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(cases: u64, passed: u64, exact: u64) -> BTreeMap<String, Score> {
        [("a".to_owned(), Score { cases, passed, exact })].into()
    }

    #[test]
    fn a_fall_is_told_from_a_rise() {
        assert_eq!(compare(&one(9, 5, 5), &one(9, 5, 4)).falls.len(), 1);
        assert_eq!(compare(&one(9, 5, 5), &one(9, 4, 5)).falls.len(), 1);
        assert_eq!(compare(&one(9, 5, 4), &one(9, 6, 4)).rises.len(), 1);
        assert_eq!(compare(&one(9, 5, 5), &one(9, 5, 5)), Verdict::default());
        assert_eq!(compare(&one(9, 5, 5), &one(8, 1, 1)).unlike, ["a"]);
        assert_eq!(compare(&one(9, 5, 5), &BTreeMap::new()).falls.len(), 1);
        assert_eq!(compare(&BTreeMap::new(), &one(9, 5, 5)).rises, ["a: new"]);
    }

    #[test]
    fn the_record_is_read_as_written() {
        let scores = one(9, 5, 4);
        assert_eq!(read(&write(&scores)), Ok(scores));
        assert!(read("a\t1\t2").is_err());
    }
}
