//! Completion: candidates from the registry and from the daemon.

use std::cell::RefCell;
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::{Context, Helper as RustylineHelper};

use crate::virsh::ctl::Ctl;
use crate::virsh::lexer::{Token, tokens};
use crate::virsh::registry::{self, Command, Complete, GROUPS, Kind, Opt};
use crate::virsh::session::shell_quote;

/// What rustyline asks while a line is edited.
pub struct Helper {
    ctl: Rc<RefCell<Ctl>>,
}

impl Helper {
    /// A helper that may ask the daemon of this run.
    pub fn new(ctl: Rc<RefCell<Ctl>>) -> Self {
        Self { ctl }
    }
}

impl RustylineHelper for Helper {}
impl rustyline::hint::Hinter for Helper {
    type Hint = String;
}
impl rustyline::highlight::Highlighter for Helper {}
impl rustyline::validate::Validator for Helper {}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let head = line.get(..pos).unwrap_or(line);
        let start = head.rfind([' ', '\t', ';']).map_or(0, |i| i + 1);
        let command = head.rfind(';').map_or(0, |i| i + 1);
        let mut words: Vec<String> = tokens(&head[command..start])
            .unwrap_or_default()
            .into_iter()
            .filter_map(|t| match t {
                Token::Word(w) => Some(w),
                Token::End => None,
            })
            .collect();
        words.push(head[start..].to_owned());
        let found = match self.ctl.try_borrow_mut() {
            Ok(mut ctl) => candidates(&mut ctl, &words, true),
            Err(_) => Vec::new(),
        };
        let single = found.len() == 1;
        let pairs = found
            .into_iter()
            .map(|c| {
                let mut replacement = word(&c);
                // The next word can follow at once; a folder goes on.
                if single && !c.ends_with('/') {
                    replacement.push(' ');
                }
                Pair { display: c, replacement }
            })
            .collect();
        Ok((start, pairs))
    }
}

/// A candidate as it has to be typed.
fn word(candidate: &str) -> String {
    if candidate.contains([' ', '\t', '\'', '"', '\\', ';', '#']) {
        shell_quote(candidate)
    } else {
        candidate.to_owned()
    }
}

/// Candidates for the last of the words; the others are complete.
/// Names of files only `with_files`: the shells that ask through `complete` know them themselves.
pub fn candidates(ctl: &mut Ctl, words: &[String], with_files: bool) -> Vec<String> {
    let Some((partial, before)) = words.split_last() else {
        return command_names("");
    };
    let Some((verb, args)) = before.split_first() else {
        return command_names(partial);
    };
    let Some(def) = registry::find(verb) else {
        return Vec::new();
    };
    let line = Line::read(def, args);
    let mut out = if let Some(opt) = line.pending {
        values(ctl, &line, opt, partial, with_files)
    } else if partial.is_empty() || partial.starts_with('-') {
        options(&line)
    } else {
        let mut found = options(&line);
        if let Some(opt) = line.next_positional() {
            found.extend(values(ctl, &line, opt, partial, with_files));
        }
        found
    };
    out.retain(|c| c.starts_with(partial.as_str()));
    out
}

/// Names of commands, and of groups for `help`.
fn command_names(partial: &str) -> Vec<String> {
    GROUPS
        .iter()
        .flat_map(|g| g.commands)
        .chain(registry::own::GROUP.commands)
        .map(|c| c.name)
        .filter(|n| n.starts_with(partial))
        .map(str::to_owned)
        .collect()
}

/// What is known of a command line that is being typed.
struct Line {
    def: &'static Command,
    values: Vec<(&'static str, String)>,
    /// The option whose value comes next.
    pending: Option<&'static Opt>,
}

impl Line {
    fn read(def: &'static Command, args: &[String]) -> Self {
        let mut line = Self { def, values: Vec::new(), pending: None };
        let mut data_only = false;
        for arg in args {
            if let Some(opt) = line.pending.take() {
                line.values.push((opt.name, arg.clone()));
            } else if arg == "--" && !data_only {
                data_only = true;
            } else if let (false, Some(name)) = (data_only, arg.strip_prefix("--")) {
                let (name, inline) = match name.split_once('=') {
                    Some((n, v)) => (n, Some(v)),
                    None => (name, None),
                };
                let Some(opt) = def.opts.iter().find(|o| o.name == name) else {
                    continue;
                };
                match (opt.kind, inline) {
                    (Kind::Bool, _) => line.values.push((opt.name, String::new())),
                    (_, Some(v)) => line.values.push((opt.name, v.to_owned())),
                    _ => line.pending = Some(opt),
                }
            } else if let Some(opt) = line.next_positional() {
                line.values.push((opt.name, arg.clone()));
            }
        }
        line
    }

    fn seen(&self, opt: &Opt) -> bool {
        self.values.iter().any(|(n, _)| *n == opt.name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    fn next_positional(&self) -> Option<&'static Opt> {
        self.def.opts.iter().find(|o| match o.kind {
            Kind::Bool | Kind::Alias(_) => false,
            Kind::Argv => o.positional || o.loose,
            _ => (o.positional || o.loose) && !self.seen(o),
        })
    }
}

fn options(line: &Line) -> Vec<String> {
    line.def
        .opts
        .iter()
        .filter(|o| !matches!(o.kind, Kind::Alias(_)))
        .filter(|o| o.kind == Kind::Argv || !line.seen(o))
        .map(|o| format!("--{}", o.name))
        .collect()
}

fn values(ctl: &mut Ctl, line: &Line, opt: &Opt, partial: &str, with_files: bool) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    match opt.complete {
        Complete::Options => options(line),
        Complete::Nothing => Vec::new(),
        Complete::Words(words) => match partial.rsplit_once(',') {
            // A list: its last item is completed.
            Some((head, _)) => words
                .iter()
                .filter(|w| !head.split(',').any(|h| h == **w))
                .map(|w| format!("{head},{w}"))
                .collect(),
            None => owned(words),
        },
        Complete::Command => command_names(""),
        Complete::File if with_files => files(partial),
        Complete::File => Vec::new(),
        other => super::super::names::names(ctl, other, |n| line.value(n).map(str::to_owned))
            .unwrap_or_default(),
    }
}

/// Files whose path begins with the text.
fn files(partial: &str) -> Vec<String> {
    let (dir, _) =
        partial.rsplit_once('/').map_or(("", partial), |(d, _)| (&partial[..d.len() + 1], partial));
    let Ok(entries) = std::fs::read_dir(if dir.is_empty() { "." } else { dir }) else {
        return Vec::new();
    };
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|e| {
            let slash = if e.path().is_dir() { "/" } else { "" };
            format!("{dir}{}{slash}", e.file_name().to_string_lossy())
        })
        .filter(|p| p.starts_with(partial))
        .collect();
    found.sort();
    found
}
