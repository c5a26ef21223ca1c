//! Commands of the program itself: `help`, `echo`, `cd`, `pwd`, `connect`, `quit`.

use super::cmd::Cmd;
use super::ctl::{Ctl, put, say};
use super::fail::{Fail, Outcome, fail};
use super::help;
use super::registry::{self, Complete, Kind};
use super::util::{escape, os_error};

/// `help`
pub fn cmd_help(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let text = match cmd.raw("command") {
        None | Some("") => help::all(),
        Some(name) => match (registry::find(name), registry::find_group(name)) {
            (Some(c), _) => help::command(c),
            (None, Some(g)) => help::group(g),
            (None, None) => fail!("command or command group '{name}' doesn't exist"),
        },
    };
    ctl.put(&text);
    Ok(())
}

/// `self-test`: the pages of all commands, and the options whose values nothing completes.
pub fn cmd_self_test(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    if cmd.has("dump-help") {
        for c in registry::all() {
            ctl.put(&help::command(c));
        }
    }
    if cmd.has("completers-missing") {
        for c in registry::all() {
            let missing: Vec<&str> = c
                .opts
                .iter()
                .filter(|o| matches!(o.kind, Kind::Str | Kind::Argv))
                .filter(|o| o.complete == Complete::Options)
                .map(|o| o.name)
                .collect();
            if !missing.is_empty() {
                put!(ctl, "{}: {}\n", c.name, missing.join(", "));
            }
        }
    }
    Ok(())
}

/// `quit` and `exit`
pub fn cmd_quit(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    ctl.leaving = true;
    Ok(())
}

/// `pwd`
pub fn cmd_pwd(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let dir = std::env::current_dir()
        .map_err(|e| Fail::new(format!("pwd: cannot get current directory: {}", os_error(&e))))?;
    put!(ctl, "{}\n", dir.display());
    Ok(())
}

/// `cd`
pub fn cmd_cd(_: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dir = match cmd.raw("dir") {
        Some(d) if !d.is_empty() => d.to_owned(),
        _ => std::env::var("HOME").unwrap_or_else(|_| "/".into()),
    };
    std::env::set_current_dir(&dir).map_err(|e| Fail::new(format!("cd: {}: {dir}", os_error(&e))))
}

/// `connect`
pub fn cmd_connect(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = cmd.str("name")?.map(str::to_owned);
    ctl.reconnect(name, cmd.has("readonly"))
}

/// `echo`
pub fn cmd_echo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("shell", "xml")?;
    cmd.exclusive("shell", "split")?;
    cmd.exclusive("xml", "split")?;
    let mut text = match cmd.str("prefix") {
        Ok(Some(p)) => format!("{p} "),
        Ok(None) => String::new(),
        Err(fail) => {
            fail.lines.iter().for_each(|l| ctl.error(l));
            String::new()
        }
    };
    for (i, word) in cmd.argv("string").into_iter().enumerate() {
        if i > 0 {
            text.push(' ');
        }
        if cmd.has("split") {
            for piece in split_commas(word) {
                text.push_str(&piece);
                text.push('\n');
            }
        } else if cmd.has("xml") {
            text.push_str(&escape(word));
        } else if cmd.has("shell") {
            text.push_str(&shell_quote(word));
        } else {
            text.push_str(word);
        }
    }
    if cmd.has("err") {
        ctl.error(&text);
    } else {
        put!(ctl, "{text}");
    }
    Ok(())
}

/// Splits at `,`; `,,` stands for a comma.
pub fn split_commas(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != ',' {
            if let Some(last) = out.last_mut() {
                last.push(c);
            }
        } else if chars.peek() == Some(&',') {
            chars.next();
            if let Some(last) = out.last_mut() {
                last.push(',');
            }
        } else {
            out.push(String::new());
        }
    }
    out
}

/// Quotes a word for a POSIX shell, when it needs that.
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-./:=@_^,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Writes a greeting of the interactive terminal.
pub fn greeting(ctl: &mut Ctl) {
    let program = "virsh";
    say!(
        ctl,
        "Welcome to {program}, the virtualization interactive terminal.\n\nType:  'help' for help with commands\n       'quit' to quit\n\n"
    );
}
