//! The interactive terminal: prompt, history, completion; scripts on standard input.

mod complete;

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use rustyline::error::ReadlineError;

use super::cmd::Cmd;
use super::ctl::{Ctl, put};
use super::fail::{Fail, Outcome};
use super::parse;
use super::session::greeting;

/// Reads commands until the end of input or `quit`.
pub fn interactive(ctl: &mut Ctl) -> bool {
    if ctl.uri.is_some()
        && let Err(fail) = ctl.conn().map(|_| ())
    {
        for line in fail.lines {
            ctl.error(&line);
        }
        return false;
    }
    ctl.interactive = true;
    greeting(ctl);
    ctl.flush();
    if std::io::stdin().is_terminal() {
        terminal(ctl);
    } else {
        script(ctl);
    }
    if !ctl.leaving {
        put!(ctl, "\n");
    }
    put_end(ctl);
    true
}

fn put_end(ctl: &mut Ctl) {
    if ctl.leaving && !ctl.quiet {
        put!(ctl, "\n");
    }
    ctl.flush();
}

fn prompt(ctl: &Ctl) -> &'static str {
    if ctl.readonly { "virsh > " } else { "virsh # " }
}

fn line(ctl: &mut Ctl, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    match parse::parse_string(text) {
        Ok(commands) => {
            ctl.run_all(&commands);
        }
        Err(e) => ctl.error(&e),
    }
}

/// Commands from a pipe or a file, echoed as a terminal would.
fn script(ctl: &mut Ctl) {
    for text in std::io::stdin().lock().lines() {
        let Ok(text) = text else { break };
        let p = prompt(ctl);
        put!(ctl, "{p}{text}\n");
        ctl.flush();
        line(ctl, &text);
        if ctl.leaving {
            return;
        }
    }
    let p = prompt(ctl);
    put!(ctl, "{p}");
}

/// Commands typed by a person.
fn terminal(ctl: &mut Ctl) {
    let config = rustyline::Config::builder()
        .completion_type(rustyline::CompletionType::List)
        .max_history_size(history_size())
        .map_or_else(|_| rustyline::Config::default(), |b| b.build());
    let Ok(mut editor) = rustyline::Editor::<complete::Helper, _>::with_config(config) else {
        return script(ctl);
    };
    let history = history_file();
    // Plain lines, as virsh keeps them: the file is shared with it.
    let kept = history.as_ref().and_then(|h| std::fs::read_to_string(h).ok()).unwrap_or_default();
    for entry in kept.lines().filter(|l| !l.is_empty()) {
        let _ = editor.add_history_entry(entry);
    }
    // The helper borrows the connection state while a line is edited, the loop while it runs.
    let shared =
        std::rc::Rc::new(std::cell::RefCell::new(std::mem::replace(ctl, Ctl::new(String::new()))));
    editor.set_helper(Some(complete::Helper::new(shared.clone())));
    loop {
        let p = prompt(&shared.borrow());
        match editor.readline(p) {
            Ok(text) => {
                if !text.trim().is_empty() {
                    let _ = editor.add_history_entry(&text);
                }
                line(&mut shared.borrow_mut(), &text);
                if shared.borrow().leaving {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(_) => break,
        }
    }
    if let Some(h) = &history {
        if let Some(dir) = h.parent() {
            let _ = std::fs::create_dir_all(dir);
        }
        let lines: String = editor.history().iter().map(|l| format!("{l}\n")).collect();
        let _ = std::fs::write(h, lines);
    }
    editor.set_helper(None);
    if let Ok(cell) = std::rc::Rc::try_unwrap(shared) {
        *ctl = cell.into_inner();
    }
}

fn history_file() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")))?;
    Some(cache.join("libvirt/virsh/history"))
}

/// Lines of history kept; `VIRSH_HISTSIZE` overrides.
fn history_size() -> usize {
    std::env::var("VIRSH_HISTSIZE").ok().and_then(|v| v.parse().ok()).unwrap_or(500)
}

/// `complete`: what could stand in the place of the last word.
pub fn cmd_complete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let words: Vec<String> = cmd.argv("string").into_iter().map(str::to_owned).collect();
    let found = complete::candidates(ctl, &words, false);
    for candidate in &found {
        put!(ctl, "{candidate}\n");
    }
    if found.is_empty() {
        return Err(Fail::silent());
    }
    Ok(())
}
