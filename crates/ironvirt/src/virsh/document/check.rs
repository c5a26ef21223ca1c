//! `xml check`: everything that is wrong with documents, shown in them.

use diag::{Severity, SourceText, render};
use serde_json::json;

use super::{Source, files};
use crate::virsh::cmd::Cmd;
use crate::virsh::ctl::{Ctl, say};
use crate::virsh::fail::{Fail, Outcome};

/// Checks each file; fails when one of them would be refused.
pub fn run(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut failed = false;
    let mut results = Vec::new();
    for path in files(cmd, 1, "check")? {
        match Source::read(path) {
            Ok(source) => failed |= !one(ctl, cmd.has("strict"), &source, &mut results),
            Err(fail) => {
                failed = true;
                fail.lines.iter().for_each(|line| ctl.error(line));
            }
        }
    }
    if ctl.json() {
        ctl.data(serde_json::Value::Array(results));
    }
    if failed { Err(Fail::silent()) } else { Ok(()) }
}

/// True when the document is good.
fn one(ctl: &mut Ctl, strict: bool, source: &Source, results: &mut Vec<serde_json::Value>) -> bool {
    let mut read = super::read(&source.text);
    if strict {
        // What is unknown would be left out: here that is a fault.
        read.diagnostics.iter_mut().for_each(|d| d.severity = Severity::Error);
    }
    let shown = SourceText::new(&source.name, &source.text);
    if ctl.json() {
        let found = render::json(&read.diagnostics, Some(&shown));
        results.push(json!({
            "file": source.name,
            "kind": read.kind,
            "valid": read.valid(),
            "diagnostics": serde_json::from_str::<serde_json::Value>(&found).unwrap_or_default(),
        }));
        return read.valid();
    }
    ctl.flush();
    let pictures = render::human_all(&read.diagnostics, Some(&shown));
    if !pictures.is_empty() {
        eprintln!("{pictures}");
    }
    let errors = read.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = read.diagnostics.len() - errors;
    let counts: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}{}", if n == 1 { "" } else { "s" }))
        .collect();
    let result = if counts.is_empty() { "valid".to_owned() } else { counts.join(", ") };
    match read.kind {
        Some(kind) => say!(ctl, "{}: {kind}: {result}\n", source.name),
        None => say!(ctl, "{}: {result}\n", source.name),
    }
    read.valid()
}
