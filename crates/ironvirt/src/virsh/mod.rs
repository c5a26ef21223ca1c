//! virsh's verbs: the same commands, options, texts and exit codes, and `-o json` beside.
//!
//! * [`registry`]: one static table of commands and options.
//! * [`opts`], [`lexer`], [`parse`], [`cmd`]: from the command line to a parsed command.
//! * [`ctl`], [`table`], [`fail`]: state, output, errors. [`conn`]: the daemon.
//! * the groups of commands; [`shell`]: the interactive terminal and completion.

pub mod cmd;
pub mod conn;
pub mod ctl;
pub mod document;
pub mod domain;
pub mod dry;
pub mod edit;
pub mod explain;
pub mod fail;
pub mod guests;
mod handlers;
pub mod help;
pub mod hostcmds;
pub mod lexer;
pub mod moments;
mod names;
pub mod network;
pub mod objects;
pub mod opts;
pub mod parse;
pub mod reasons;
pub mod registry;
pub mod session;
pub mod shell;
mod signals;
pub mod storage;
pub mod table;
pub mod tree;
pub mod util;
pub mod why;
pub mod xpath;

use std::ffi::OsString;

use ctl::Ctl;
use opts::Print;

/// libvirt's API level that we speak; what `--version` prints.
pub const VERSION: &str = "11.3.0";

/// Runs the command line (without the program's name) and returns the exit status.
pub fn main(program: &str, args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let mut ctl = Ctl::new(program.to_owned());
    let global = match opts::parse(&args) {
        Ok(g) => g,
        Err(line) => {
            ctl.error(&line);
            return 1;
        }
    };
    match global.print {
        Some(Print::Help) => {
            ctl.put(&help::usage(program));
            ctl.flush();
            return 0;
        }
        Some(Print::Version) => {
            println!("{VERSION}");
            return 0;
        }
        Some(Print::LongVersion) => {
            println!(
                "Ironvirt {}, command line tool for the API of libvirt {VERSION}",
                env!("CARGO_PKG_VERSION")
            );
            return 0;
        }
        None => {}
    }
    if let Some(level) = global.debug
        && !(0..=4).contains(&level)
    {
        ctl.error(&format!("ignoring debug level {level} out of range [0-4]"));
    }
    ctl.quiet = global.quiet;
    ctl.readonly = global.readonly;
    ctl.timing = global.timing;
    ctl.format = global.format;
    ctl.keepalive = (global.keepalive_interval, global.keepalive_count);
    if let Some(e) = global.escape {
        ctl.escape = e;
    }
    if let Some(path) = &global.log {
        match std::fs::OpenOptions::new().create(true).append(true).open(path) {
            Ok(file) => ctl.log = Some(file),
            Err(_) => {
                ctl.error("failed to open the log file. check the log file path");
                return 1;
            }
        }
    }
    ctl.uri = global.uri;
    let ok = run(&mut ctl, &global.rest);
    ctl.disconnect();
    ctl.status.unwrap_or(i32::from(!ok))
}

fn run(ctl: &mut Ctl, words: &[String]) -> bool {
    if words.is_empty() {
        return shell::interactive(ctl);
    }
    // One argument is a command line of its own; several are one command, word by word.
    let parsed = match words {
        [line] => parse::parse_string(line),
        _ => parse::parse_words(words).map(|c| vec![c]),
    };
    match parsed {
        Ok(_) if words == [""] => false,
        Ok(commands) => {
            if ctl.uri.is_some()
                && let Err(fail) = ctl.conn().map(|_| ())
            {
                for line in fail.lines {
                    ctl.error(&line);
                }
                return false;
            }
            ctl.run_all(&commands)
        }
        Err(line) => {
            ctl.error(&line);
            false
        }
    }
}
