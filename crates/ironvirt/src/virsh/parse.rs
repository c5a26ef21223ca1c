//! From words to commands, with virsh's rules and error texts.

use super::cmd::{Cmd, kind_word};
use super::domain::console::HISTORY;
use super::dry;
use super::lexer::{Token, tokens};
use super::registry::{self, Command, Kind, Opt};

/// Parses a string that may hold several commands.
pub fn parse_string(text: &str) -> Result<Vec<Cmd>, String> {
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let tokens = tokens(text)?;
    for token in tokens.into_iter().chain([Token::End]) {
        match token {
            Token::Word(w) => words.push(w),
            Token::End if words.is_empty() => {}
            Token::End => commands.push(parse_words(&std::mem::take(&mut words))?),
        }
    }
    Ok(commands)
}

/// Parses one command given word by word.
pub fn parse_words(words: &[String]) -> Result<Cmd, String> {
    let mut words = words.iter();
    let verb = words.next().map_or("", String::as_str);
    let Some(def) = registry::find(verb) else {
        return Err(format!("unknown command: '{verb}'"));
    };
    let mut p = Parser {
        cmd: Cmd { def, values: Vec::new(), help: false, notes: Vec::new() },
        data_only: false,
    };
    while let Some(word) = words.next() {
        p.word(word, &mut words)?;
    }
    p.finish()
}

struct Parser {
    cmd: Cmd,
    data_only: bool,
}

impl Parser {
    fn word(&mut self, word: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), String> {
        if self.data_only {
            return self.positional(word);
        }
        if word == "--" {
            self.data_only = true;
            return Ok(());
        }
        match word.strip_prefix("--") {
            Some(name) => self.named(name, rest),
            None => self.positional(word),
        }
    }

    fn named(&mut self, word: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), String> {
        let (name, inline) = match word.split_once('=') {
            Some((n, v)) => (n, Some(v.to_owned())),
            None => (word, None),
        };
        if name == "help" {
            self.cmd.help = true;
            return Ok(());
        }
        let lenient = self.cmd.def.name == "help";
        let (opt, inline) = match self.resolve(name, inline) {
            Err(_) if lenient => return Ok(()),
            resolved => resolved?,
        };
        if opt.kind != Kind::Argv && self.seen(opt) {
            let note = format!("option --{} already seen", opt.name);
            // `help` shows its page all the same.
            if lenient {
                self.cmd.notes.push(note);
                return Ok(());
            }
            return Err(note);
        }
        if opt.kind == Kind::Bool {
            if inline.is_some() {
                return Err(format!("invalid '=' after option --{}", opt.name));
            }
            self.cmd.values.push((opt.name, String::new()));
            return Ok(());
        }
        let value = match inline.or_else(|| rest.next().cloned()) {
            Some(v) => v,
            None if self.cmd.help => return Ok(()),
            None => {
                return Err(format!("expected syntax: --{} <{}>", opt.name, kind_word(opt.kind)));
            }
        };
        self.cmd.values.push((opt.name, value));
        Ok(())
    }

    /// The option of that name, aliases followed.
    fn resolve(
        &self,
        name: &str,
        inline: Option<String>,
    ) -> Result<(&'static Opt, Option<String>), String> {
        let def: &'static Command = self.cmd.def;
        let unsupported = || format!("command '{}' doesn't support option --{name}", def.name);
        if name == dry::OPTION.name && dry::COMMANDS.contains(&def.name) {
            return Ok((&dry::OPTION, inline));
        }
        if name == HISTORY.name && def.name == "console" {
            return Ok((&HISTORY, inline));
        }
        let opt = def.opts.iter().find(|o| o.name == name).ok_or_else(unsupported)?;
        let Kind::Alias(target) = opt.kind else {
            return Ok((opt, inline));
        };
        let (target, fixed) = match target.split_once('=') {
            Some((t, v)) => (t, Some(v.to_owned())),
            None => (target, None),
        };
        if fixed.is_some() && inline.is_some() {
            return Err(format!("invalid '=' after option --{name}"));
        }
        let opt = def.opts.iter().find(|o| o.name == target).ok_or_else(unsupported)?;
        Ok((opt, fixed.or(inline)))
    }

    fn seen(&self, opt: &Opt) -> bool {
        self.cmd.values.iter().any(|(n, _)| *n == opt.name)
    }

    fn positional(&mut self, word: &str) -> Result<(), String> {
        let free = self.cmd.def.opts.iter().find(|o| match o.kind {
            Kind::Bool | Kind::Alias(_) => false,
            Kind::Argv => o.positional || o.loose,
            _ => (o.positional || o.loose) && !self.seen(o),
        });
        match free {
            Some(opt) => {
                self.cmd.values.push((opt.name, word.to_owned()));
                Ok(())
            }
            // `help` looks at its first word only.
            None if self.cmd.def.name == "help" => Ok(()),
            None => Err(format!("unexpected data '{word}'")),
        }
    }

    fn finish(self) -> Result<Cmd, String> {
        if self.cmd.help {
            return Ok(self.cmd);
        }
        let def = self.cmd.def;
        match def.opts.iter().find(|o| o.required && !self.seen(o)) {
            None => Ok(self.cmd),
            Some(o) => Err(format!("command '{}' requires <{}> option", def.name, o.name)),
        }
    }
}
