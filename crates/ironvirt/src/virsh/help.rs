//! `help`: lists of commands, and one page for each.

use super::cmd::kind_word;
use super::registry::{Command, GROUPS, Group, Kind, Opt, own};

/// All groups, as `help` alone prints them.
pub fn all() -> String {
    let mut out = String::from("Grouped commands:\n\n");
    for g in GROUPS {
        out.push_str(&group(g));
        out.push('\n');
    }
    out
}

/// One group.
pub fn group(g: &Group) -> String {
    format!(" {} (help keyword '{}'):\n{}", g.title, g.keyword, lines(g))
}

fn lines(g: &Group) -> String {
    g.commands.iter().map(|c| format!("    {:<30} {}\n", c.name, c.help)).collect()
}

/// The page of one command.
pub fn command(c: &Command) -> String {
    let mut out = format!(
        "  NAME\n    {} - {}\n\n  SYNOPSIS\n    {}{}\n",
        c.name,
        c.help,
        c.name,
        synopsis(c)
    );
    if let Some(d) = c.desc {
        out.push_str(&format!("\n  DESCRIPTION\n    {d}\n"));
    }
    let listed = c.opts.iter().filter(|o| !matches!(o.kind, Kind::Alias(_)));
    if c.opts.is_empty() {
        return out;
    }
    out.push_str("\n  OPTIONS\n");
    for o in listed {
        out.push_str(&format!("    {:<15}  {}\n", option_head(o), o.help));
    }
    out
}

fn synopsis(c: &Command) -> String {
    let mut out = String::new();
    for o in c.opts {
        let n = o.name;
        let w = kind_word(o.kind);
        let item = match (o.kind, o.positional, o.required) {
            (Kind::Alias(_), ..) => continue,
            (Kind::Bool, ..) => format!("[--{n}]"),
            (Kind::Argv, true, true) => format!("<{n}>..."),
            (Kind::Argv, true, false) => format!("[<{n}>]..."),
            (Kind::Argv, false, _) => format!("[--{n} <{w}>]..."),
            (_, true, true) => format!("<{n}>"),
            (_, true, false) => format!("[<{n}>]"),
            (_, false, true) => format!("--{n} <{w}>"),
            (_, false, false) => format!("[--{n} <{w}>]"),
        };
        out.push(' ');
        out.push_str(&item);
    }
    out
}

fn option_head(o: &Opt) -> String {
    let (n, w) = (o.name, kind_word(o.kind));
    match (o.kind, o.positional) {
        (Kind::Bool, _) => format!("--{n}"),
        (Kind::Argv, true) => format!("[--{n}] <{w}>..."),
        (Kind::Argv, false) => format!("--{n} <{w}>..."),
        (_, true) => format!("[--{n}] <{w}>"),
        (_, false) => format!("--{n} <{w}>"),
    }
}

/// What `--help` on the command line prints.
pub fn usage(program: &str) -> String {
    let mut out = format!(
        "\n{program} [options]... [<command_string>]\n{program} [options]... <command> [args...]\n\n  options:\n"
    );
    out.push_str(
        "    -c | --connect=URI      hypervisor connection URI
    -d | --debug=NUM        debug level [0-4]
    -e | --escape <char>    set escape sequence for console
    -h | --help             this help
    -k | --keepalive-interval=NUM
                            keepalive interval in seconds, 0 for disable
    -K | --keepalive-count=NUM
                            number of possible missed keepalive messages
    -l | --log=FILE         output logging to file
    -o | --output=FORMAT    text (default) or json
    -q | --quiet            quiet mode
    -r | --readonly         connect readonly
    -t | --timing           print timing information
    -v                      short version
    -V                      long version
         --version[=TYPE]   version, TYPE is short or long (default short)
  commands (non interactive mode):

",
    );
    for g in GROUPS.iter().copied().chain([&own::GROUP]) {
        out.push_str(&format!(" {} (help keyword '{}')\n{}\n", g.title, g.keyword, lines(g)));
    }
    out.push_str(
        "\n  (specify help <group> for details about the commands in the group)\n\n  (specify help <command> for details about the command)\n\n",
    );
    out
}
