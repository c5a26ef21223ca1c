//! Scripts: virsh command lines with what they must print, in one text file.
//!
//! ```text
//! # A remark. {root} is the daemon's folder, {files} the folder of the script's own files.
//! $ define {files}/minimal.xml
//! Domain 'minimal' defined from {files}/minimal.xml
//!
//! $ start nobody
//! ! error: failed to get domain 'nobody'
//! [exit 1]
//! ```
//!
//! Standard output stands as it is, then standard error with `! ` before each line, then the exit
//! status unless it is 0. `{files}` stands for the same inside the script's files. A line `| text` after the command is its standard input. UUIDs, MACs and
//! paths are redacted. Lines of advice (`hint: …`), which our daemon adds below libvirt's words, are
//! left out, so that one script holds for libvirtd and for us. With `UPDATE=1` the file is rewritten to what came out.

use std::path::Path;

use crate::client::{self, Outcome};
use crate::redact::Redactor;
use crate::{Daemon, golden, paths};

/// The program that a script is run with: both must print the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Debian's virsh.
    Virsh,
    /// Our own command.
    Ironvirt,
}

/// Runs the script at `path` against `daemon` and compares the transcript with the file.
#[track_caller]
pub fn run(path: &Path, daemon: &Daemon, program: Program) {
    let script = std::fs::read_to_string(path).expect("the script can be read");
    golden::check(path, &transcript(&script, daemon, program));
}

fn transcript(script: &str, daemon: &Daemon, program: Program) -> String {
    let root = daemon.root().display().to_string();
    // QEMU's user must reach the files, and the checkout may lie where it cannot.
    let files = daemon.path("files");
    copy_files(&paths::fixture("scripts/files"), daemon);
    let files = files.display().to_string();
    let socket = daemon.socket().display().to_string();
    let mut redactor = Redactor::new(vec![
        (files.clone(), "{files}".into()),
        (socket, "{socket}".into()),
        (root.clone(), "{root}".into()),
    ]);
    let mut out = String::new();
    for step in steps(script) {
        match step {
            Step::Remark(line) => out.push_str(&format!("{line}\n")),
            Step::Command { line, stdin } => {
                let words = words(&line.replace("{root}", &root).replace("{files}", &files));
                let outcome = execute(daemon, program, &words, &stdin);
                out.push_str(&format!("$ {line}\n"));
                stdin.lines().for_each(|line| out.push_str(&format!("| {line}\n")));
                out.push_str(&redactor.redact(&shown(&outcome)));
            }
        }
    }
    out
}

enum Step {
    Remark(String),
    Command { line: String, stdin: String },
}

/// Remarks and commands in order; expected output is left out, as it is made anew.
fn steps(script: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut in_output = false;
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step::Command { line: command.to_owned(), stdin: String::new() });
            in_output = true;
        } else if let Some(input) = line.strip_prefix("| ")
            && let Some(Step::Command { stdin, .. }) = steps.last_mut()
        {
            stdin.push_str(input);
            stdin.push('\n');
        } else if line.starts_with("# ") || (!in_output && line.is_empty()) {
            steps.push(Step::Remark(line.to_owned()));
        }
    }
    steps
}

fn copy_files(from: &Path, daemon: &Daemon) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        let mut content = std::fs::read(entry.path()).expect("a script's file can be read");
        if let Ok(text) = std::str::from_utf8(&content) {
            content = text.replace("{files}", &daemon.path("files").display().to_string()).into();
        }
        daemon.write(&format!("files/{}", entry.file_name().to_string_lossy()), content);
    }
}

fn execute(daemon: &Daemon, program: Program, words: &[String], stdin: &str) -> Outcome {
    let uri = daemon.uri();
    let mut all = vec!["-c".to_owned(), uri];
    all.extend_from_slice(words);
    match program {
        Program::Virsh => client::tool("virsh", &all, stdin),
        Program::Ironvirt => client::tool(paths::ironvirt(), &all, stdin),
    }
}

fn shown(outcome: &Outcome) -> String {
    let mut text = outcome.stdout.clone();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str("[no newline]\n");
    }
    let said = outcome.stderr.lines().filter(|line| !line.starts_with("hint: "));
    said.for_each(|line| text.push_str(&format!("! {line}\n")));
    if outcome.status != 0 {
        text.push_str(&format!("[exit {}]\n", outcome.status));
    }
    // Output of one command ends with exactly one empty line, whatever it printed.
    match text.trim_matches('\n') {
        "" => "\n".to_owned(),
        printed => format!("{printed}\n\n"),
    }
}

/// Splits like a shell does for blanks, 'single' and "double" quotes; nothing else is special.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_split_as_a_shell_would() {
        assert_eq!(words("a  'b c' \"\" d\"e f\""), ["a", "b c", "", "de f"]);
    }
}
