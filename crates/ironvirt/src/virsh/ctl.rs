//! The state of one run: global options, the connection, and where output goes.

use std::io::Write;

use super::cmd::Cmd;
use super::conn::Conn;
use super::fail::{Context, Fail, Outcome};
use super::help;
use super::table::Table;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// virsh's text.
    #[default]
    Text,
    /// One JSON document per command.
    Json,
}

/// One run of the program.
pub struct Ctl {
    /// `-q`.
    pub quiet: bool,
    /// `-t`.
    pub timing: bool,
    /// `-r`.
    pub readonly: bool,
    /// `-o`.
    pub format: Format,
    /// URI to connect to, before aliases; none means the default.
    pub uri: Option<String>,
    /// The console's escape character as a control code.
    pub escape: Escape,
    /// Seconds between keepalive requests and how many may stay unanswered.
    pub keepalive: (Option<i32>, Option<i32>),
    /// An interactive shell runs the commands.
    pub interactive: bool,
    /// The program's name in messages.
    pub program: String,
    /// `-l`: a file that receives error lines too.
    pub log: Option<std::fs::File>,
    /// `quit` was called.
    pub leaving: bool,
    /// The exit status, where the last command has one that says more than whether it failed.
    pub status: Option<i32>,
    conn: Option<Conn>,
    out: Out,
}

/// The console's escape sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escape {
    /// As given, for the greeting (`^]`).
    pub text: String,
    /// The byte typed.
    pub byte: u8,
}

impl Escape {
    /// `^X` or a single character, as `-e` takes it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let byte = match bytes {
            [b'^', c] if (b'@'..=b'_').contains(&c.to_ascii_uppercase()) => {
                c.to_ascii_uppercase() ^ 0x40
            }
            [b'^', ..] => return None,
            [c] => *c,
            _ => return None,
        };
        Some(Self { text: text.to_owned(), byte })
    }
}

#[derive(Default)]
struct Out {
    text: String,
    data: Option<serde_json::Value>,
    /// Complete elements of a result that is a list.
    records: Vec<serde_json::Value>,
}

/// Prints a formatted result.
macro_rules! put {
    ($ctl:expr, $($arg:tt)*) => { $ctl.put(&format!($($arg)*)) };
}
/// Prints a formatted message that `--quiet` suppresses.
macro_rules! say {
    ($ctl:expr, $($arg:tt)*) => { $ctl.say(&format!($($arg)*)) };
}
pub(crate) use {put, say};

impl Ctl {
    /// A run with default options.
    pub fn new(program: String) -> Self {
        Self {
            quiet: false,
            timing: false,
            readonly: false,
            format: Format::Text,
            uri: None,
            escape: Escape { text: "^]".into(), byte: 0x1d },
            keepalive: (None, None),
            interactive: false,
            program,
            log: None,
            leaving: false,
            status: None,
            conn: None,
            out: Out::default(),
        }
    }

    /// JSON was asked for.
    pub fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a result.
    pub fn put(&mut self, text: &str) {
        self.out.text.push_str(text);
        if !self.json() && self.out.text.len() > 1 << 16 {
            self.flush();
        }
    }

    /// Prints a message, unless `--quiet` was given.
    pub fn say(&mut self, text: &str) {
        if !self.quiet || self.json() {
            self.put(text);
        }
    }

    /// Prints a table.
    pub fn table(&mut self, table: &Table) {
        if self.json() {
            self.data(table.json());
        } else {
            let text = table.text(!self.quiet);
            self.put(&text);
        }
    }

    /// `Name:           value` on a line of its own.
    pub fn pair(&mut self, name: &str, value: impl std::fmt::Display) {
        self.pair_width(name, 15, value);
    }

    /// As [`Ctl::pair`] with another width of the first column.
    pub fn pair_width(&mut self, name: &str, width: usize, value: impl std::fmt::Display) {
        if self.json() {
            let key = name.trim_end().trim_end_matches(':').trim_end();
            self.member(key, value.to_string());
        } else {
            self.put(&format!("{name:width$} {value}\n"));
        }
    }

    /// Sets a member of the JSON result (nothing in text mode).
    pub fn member(&mut self, key: &str, value: impl Into<serde_json::Value>) {
        if !self.json() {
            return;
        }
        let object =
            self.out.data.get_or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
        if let serde_json::Value::Object(map) = object {
            map.insert(
                key.to_lowercase().replace(['(', ')'], "").replace([' ', '/'], "-"),
                value.into(),
            );
        }
    }

    /// Sets the JSON result; a second one makes a list of both.
    pub fn data(&mut self, value: serde_json::Value) {
        use serde_json::Value;
        self.out.data = match (self.out.data.take(), value) {
            (None, v) => Some(v),
            (Some(Value::Array(mut a)), Value::Array(b)) => {
                a.extend(b);
                Some(Value::Array(a))
            }
            (Some(a), b) => Some(Value::Array(vec![a, b])),
        };
    }

    /// Makes the members set since the last call an element of the list that is the JSON result.
    pub fn end_record(&mut self) {
        use serde_json::Value;
        if let Some(record @ Value::Object(_)) = &self.out.data {
            self.out.records.push(record.clone());
            self.out.data = None;
        }
    }

    /// Writes what was printed so far.
    pub fn flush(&mut self) {
        if !self.json() {
            write_stdout(&std::mem::take(&mut self.out.text));
        }
    }

    /// Ends one JSON document and writes it.
    pub fn flush_json(&mut self) {
        if !self.json() {
            return;
        }
        let out = std::mem::take(&mut self.out);
        let text = out.text.trim_matches('\n');
        let value = match out.data {
            None if !out.records.is_empty() => serde_json::Value::Array(out.records),
            Some(v) => v,
            None if text.is_empty() => return,
            None => serde_json::json!({ "output": text }),
        };
        write_stdout(&format!("{value}\n"));
    }

    /// Prints an error line.
    pub fn error(&mut self, line: &str) {
        self.flush();
        let _ = writeln!(std::io::stderr(), "error: {line}");
        if let Some(log) = &mut self.log {
            let _ = writeln!(
                log,
                "[{} {} {}] ERROR {line}",
                super::util::timestamp_log(),
                self.program,
                std::process::id()
            );
        }
    }

    /// One call of the open connection.
    pub fn call<P: protocol::Procedure>(&mut self, args: &P::Args) -> Outcome<P::Ret> {
        self.conn()?.call::<P>(args)
    }

    /// The open connection, opened on first use.
    pub fn conn(&mut self) -> Outcome<&Conn> {
        if self.conn.as_ref().is_none_or(|c| !c.alive()) {
            let again = self.conn.take().is_some();
            let conn = Conn::open(self.uri.as_deref(), self.readonly, self.keepalive)
                .ctx("failed to connect to the hypervisor")?;
            if again {
                self.error("Reconnected to the hypervisor");
            }
            self.conn = Some(conn);
        }
        self.conn.as_ref().ok_or_else(Fail::silent)
    }

    /// Ends the connection.
    pub fn disconnect(&mut self) {
        self.conn = None;
    }

    /// Connects anew, elsewhere when a name is given. What was open stays when that fails.
    pub fn reconnect(&mut self, name: Option<String>, readonly: bool) -> Outcome {
        let uri = name.or_else(|| self.uri.clone());
        let conn = Conn::open(uri.as_deref(), readonly, self.keepalive)
            .ctx("failed to connect to the hypervisor")?;
        (self.uri, self.readonly, self.conn) = (uri, readonly, Some(conn));
        Ok(())
    }

    /// Runs one command and prints what follows it; true when it succeeded.
    pub fn run(&mut self, cmd: &Cmd) -> bool {
        self.status = None;
        for note in &cmd.notes {
            self.error(note);
        }
        if cmd.help {
            self.put(&help::command(cmd.def));
            self.put("\n");
            self.flush();
            return true;
        }
        let started = std::time::Instant::now();
        let result = self.call_handler(cmd);
        let elapsed = started.elapsed();
        if let Err(fail) = &result {
            self.report(fail);
        }
        if self.json() {
            self.flush_json();
        } else if self.leaving {
            // `quit` prints nothing.
        } else if self.timing {
            put!(self, "\n(Time: {:.3} ms)\n\n", elapsed.as_secs_f64() * 1000.0);
        } else {
            self.say("\n");
        }
        self.flush();
        result.is_ok()
    }

    /// Prints what went wrong: the lines as virsh has them, and below all faults of a document that
    /// was refused, each once and in its place. `--quiet` leaves those out.
    pub fn report(&mut self, fail: &Fail) {
        let found = match &fail.document {
            // What is no XML at all has its picture in libvirt's own words already.
            Some((xml, _)) if !self.quiet && !fail.is(diag::ErrorCode::XML_DETAIL.0) => {
                super::explain::faults(xml)
            }
            _ => Vec::new(),
        };
        for line in &fail.lines {
            self.error(super::explain::first_fault(line, &found));
        }
        if let Some((xml, file)) = &fail.document {
            super::explain::show(&found, xml, file);
        }
    }

    fn call_handler(&mut self, cmd: &Cmd) -> Outcome {
        if cmd.def.flags & super::registry::NO_CONNECT == 0 {
            self.conn()?;
        }
        (cmd.def.run)(self, cmd)
    }

    /// Runs commands in order; the last one decides the result.
    pub fn run_all(&mut self, commands: &[Cmd]) -> bool {
        let mut ok = true;
        for cmd in commands {
            ok = self.run(cmd);
            if self.leaving {
                break;
            }
        }
        ok
    }
}

fn write_stdout(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        // Nobody reads any more (a closed pipe): nothing is left to do.
        std::process::exit(1);
    }
}
