//! Options of the program itself, before the command.

use super::ctl::{Escape, Format};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Global {
    /// `-c`
    pub uri: Option<String>,
    /// `-d`
    pub debug: Option<i64>,
    /// `-e`
    pub escape: Option<Escape>,
    /// `-k`
    pub keepalive_interval: Option<i32>,
    /// `-K`
    pub keepalive_count: Option<i32>,
    /// `-l`
    pub log: Option<String>,
    /// `-o`
    pub format: Format,
    /// `-q`
    pub quiet: bool,
    /// `-r`
    pub readonly: bool,
    /// `-t`
    pub timing: bool,
    /// Something to print instead of running a command.
    pub print: Option<Print>,
    /// The command and its arguments.
    pub rest: Vec<String>,
}

/// Answers that need no command.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Print {
    /// `-h`
    Help,
    /// `-v`
    Version,
    /// `-V`
    LongVersion,
}

struct Spec {
    short: Option<char>,
    long: &'static str,
    arg: Arg,
}

#[derive(PartialEq, Clone, Copy)]
enum Arg {
    No,
    Yes,
    Maybe,
}

const fn spec(short: char, long: &'static str, arg: Arg) -> Spec {
    Spec { short: if short == '\0' { None } else { Some(short) }, long, arg }
}

static SPECS: &[Spec] = &[
    spec('c', "connect", Arg::Yes),
    spec('d', "debug", Arg::Yes),
    spec('e', "escape", Arg::Yes),
    spec('h', "help", Arg::No),
    spec('k', "keepalive-interval", Arg::Yes),
    spec('K', "keepalive-count", Arg::Yes),
    spec('l', "log", Arg::Yes),
    spec('o', "output", Arg::Yes),
    spec('q', "quiet", Arg::No),
    spec('r', "readonly", Arg::No),
    spec('t', "timing", Arg::No),
    spec('v', "", Arg::No),
    spec('V', "", Arg::No),
    spec('\0', "version", Arg::Maybe),
    spec('\0', "no-pkttyagent", Arg::No),
];

/// Reads the options; the error is the text after `error: `.
pub fn parse(args: &[String]) -> Result<Global, String> {
    let mut g = Global::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let stop = if let Some(long) = arg.strip_prefix("--") {
            if long.is_empty() {
                g.rest.extend(args.cloned());
                break;
            }
            parse_long(&mut g, arg, long, &mut args)?
        } else if arg.len() > 1 && arg.starts_with('-') {
            parse_short(&mut g, &arg[1..], &mut args)?
        } else {
            g.rest.push(arg.clone());
            g.rest.extend(args.cloned());
            break;
        };
        if stop {
            break;
        }
    }
    Ok(g)
}

fn parse_long(
    g: &mut Global,
    arg: &str,
    long: &str,
    args: &mut std::slice::Iter<'_, String>,
) -> Result<bool, String> {
    let (name, value) = match long.split_once('=') {
        Some((n, v)) => (n, Some(v.to_owned())),
        None => (long, None),
    };
    let unsupported = || format!("unsupported option '{arg}'. See --help.");
    let mut found = SPECS.iter().filter(|s| !s.long.is_empty() && s.long.starts_with(name));
    let spec = match SPECS.iter().find(|s| s.long == name && !name.is_empty()) {
        Some(s) => s,
        None => match (found.next(), found.next()) {
            (Some(s), None) => s,
            _ => return Err(unsupported()),
        },
    };
    if spec.arg == Arg::No && value.is_some() {
        return Err(unsupported());
    }
    let value = match (spec.arg, value) {
        (Arg::Yes, None) => Some(args.next().cloned().ok_or_else(|| missing(spec))?),
        (_, v) => v,
    };
    apply(g, spec, value.as_deref())
}

fn parse_short(
    g: &mut Global,
    letters: &str,
    args: &mut std::slice::Iter<'_, String>,
) -> Result<bool, String> {
    let mut chars = letters.chars();
    while let Some(c) = chars.next() {
        let Some(spec) = SPECS.iter().find(|s| s.short == Some(c)) else {
            return Err(format!("unsupported option '-{c}'. See --help."));
        };
        let stop = if spec.arg == Arg::Yes {
            let rest = chars.as_str();
            let value = if rest.is_empty() {
                args.next().cloned().ok_or_else(|| missing(spec))?
            } else {
                rest.to_owned()
            };
            chars = "".chars();
            apply(g, spec, Some(&value))?
        } else {
            apply(g, spec, None)?
        };
        if stop {
            return Ok(true);
        }
    }
    Ok(false)
}

fn missing(spec: &Spec) -> String {
    format!("option '-{}'/'--{}' requires an argument", spec.short.unwrap_or('-'), spec.long)
}

/// True when no further option matters.
fn apply(g: &mut Global, spec: &Spec, value: Option<&str>) -> Result<bool, String> {
    let value = value.unwrap_or_default();
    match (spec.short, spec.long) {
        (Some('c'), _) => g.uri = Some(value.to_owned()),
        (Some('d'), _) => {
            g.debug =
                Some(super::cmd::parse_i64(value).ok_or("option -d takes a numeric argument")?);
        }
        (Some('e'), _) => {
            g.escape = Some(
                Escape::parse(value)
                    .ok_or_else(|| format!("Invalid string '{value}' for escape sequence"))?,
            );
        }
        (Some('k'), _) => g.keepalive_interval = Some(keepalive('k', value)?),
        (Some('K'), _) => g.keepalive_count = Some(keepalive('K', value)?),
        (Some('l'), _) => g.log = Some(value.to_owned()),
        (Some('o'), _) => {
            g.format = match value {
                "text" => Format::Text,
                "json" => Format::Json,
                _ => {
                    return Err(format!(
                        "unknown output format '{value}': expected 'text' or 'json'"
                    ));
                }
            }
        }
        (Some('q'), _) => g.quiet = true,
        (Some('r'), _) => g.readonly = true,
        (Some('t'), _) => g.timing = true,
        (Some('h'), _) => return Ok(print(g, Print::Help)),
        (Some('v'), _) => return Ok(print(g, Print::Version)),
        (Some('V'), _) => return Ok(print(g, Print::LongVersion)),
        (_, "version") if value == "long" => return Ok(print(g, Print::LongVersion)),
        (_, "version") => return Ok(print(g, Print::Version)),
        _ => {}
    }
    Ok(false)
}

fn print(g: &mut Global, what: Print) -> bool {
    g.print = Some(what);
    true
}

fn keepalive(letter: char, value: &str) -> Result<i32, String> {
    let n = super::cmd::parse_i64(value)
        .and_then(|v| i32::try_from(v).ok())
        .ok_or_else(|| format!("Invalid value for option -{letter}"))?;
    if n < 0 {
        return Err(format!("option -{letter} requires a positive integer argument"));
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Global, String> {
        parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn good() {
        let g = run(&["-qrc", "test:///default", "list", "--all"]).unwrap();
        assert!(g.quiet && g.readonly);
        assert_eq!(g.uri.as_deref(), Some("test:///default"));
        assert_eq!(g.rest, ["list", "--all"]);
        assert_eq!(run(&["--con=x", "a"]).unwrap().uri.as_deref(), Some("x"));
        assert_eq!(run(&["-o", "json"]).unwrap().format, Format::Json);
        assert_eq!(run(&["-e", "^a"]).unwrap().escape.unwrap().byte, 1);
        assert_eq!(run(&["--version=long"]).unwrap().print, Some(Print::LongVersion));
    }

    #[test]
    fn bad() {
        for (args, expected) in [
            (&["-z"][..], "unsupported option '-z'. See --help."),
            (&["--all"], "unsupported option '--all'. See --help."),
            (&["-c"], "option '-c'/'--connect' requires an argument"),
            (&["-d", "x"], "option -d takes a numeric argument"),
            (&["-K", "-1"], "option -K requires a positive integer argument"),
            (&["-k", "x"], "Invalid value for option -k"),
            (&["-e", "foo"], "Invalid string 'foo' for escape sequence"),
        ] {
            assert_eq!(run(args).unwrap_err(), expected);
        }
    }
}
