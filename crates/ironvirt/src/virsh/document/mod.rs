//! `xml`: looking at documents without a daemon: what is wrong with one, how two differ.
//!
//! * [`kinds`]: the kinds of objects, by their root element.
//! * [`check`]: `xml check`. [`compare`]: `xml diff`.
//! * [`place`]: where in the text a fault lies that was found in the values.

mod check;
mod compare;
mod identity;
mod kinds;
mod place;

use super::cmd::Cmd;
use super::ctl::Ctl;
use super::fail::{Fail, Outcome, fail};

pub use kinds::read;

/// `xml`
pub fn cmd_xml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    match cmd.req("action")? {
        "check" => check::run(ctl, cmd),
        "diff" => compare::run(ctl, cmd),
        other => {
            let cure = match xml::closest(other, ["check", "diff"]) {
                Some(name) => format!("did you mean '{name}'?"),
                None => "expected 'check' or 'diff'".to_owned(),
            };
            fail!("unknown action '{other}' of command 'xml': {cure}")
        }
    }
}

/// A document and what to call it in messages. `-` is standard input.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn read(path: &str) -> Outcome<Self> {
        if path == "-" {
            let text = super::util::read_input()?;
            return Ok(Self { name: "standard input".into(), text });
        }
        Ok(Self { name: path.to_owned(), text: super::util::read_file(path)? })
    }
}

/// Refuses a line without any file.
fn files<'a>(cmd: &'a Cmd, least: usize, what: &str) -> Outcome<Vec<&'a str>> {
    let files = cmd.argv("file");
    if files.len() < least {
        return Err(Fail::new(format!("'xml {what}' requires <file> option")));
    }
    Ok(files)
}
