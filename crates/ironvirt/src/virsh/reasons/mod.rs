//! `explain`: which element of a definition causes which argument of QEMU, which step and which
//! command, and what decided it.
//!
//! The plan of the start says so itself; here it is shown beside the lines of the document.

mod origin;

use diag::{Severity, SourceText, render};
use origin::{Origin, Source};
use serde_json::{Value, json};
use xml::Document;

use super::cmd::Cmd;
use super::ctl::{Ctl, put};
use super::domain;
use super::fail::{Context, Fail, Outcome, fail};

/// The name that our daemon knows explanations by, as a "native format".
const FORMAT: &str = engine::domain::start::explain::FORMAT;

/// `explain`
pub fn cmd_explain(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = cmd.req("domain")?.to_owned();
    let record = cmd.str("capabilities")?.map(str::to_owned);
    let is_file = name == "-" || name.contains('/') || std::path::Path::new(&name).exists();
    if !is_file && record.is_some() {
        fail!("--capabilities is for files: of domain '{name}' the daemon knows the emulator");
    }
    let (text, found) = if is_file {
        let text = match name.as_str() {
            "-" => super::util::read_input()?,
            path => super::util::read_file(path)?,
        };
        let found = offline(ctl, &name, &text, record.as_deref())?;
        (text, found)
    } else {
        let dom = domain::lookup(ctl, &name, true, true, true)?;
        // What the next start would use, passwords apart.
        let text = domain::xml_of(ctl, &dom, 2)?;
        let found = asked(ctl, &text)?;
        (text, found)
    };
    let document = Document::parse(&text).ok();
    let definition = found.get("definition").and_then(Value::as_str).unwrap_or_default();
    let origin = document.as_ref().and_then(|written| Origin::new(written, definition));
    let only = cmd.str("only")?;
    let entries = found.get("entries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let lines: Vec<Line> = entries
        .iter()
        .map(|entry| Line::new(entry, origin.as_ref(), &text))
        .filter(|line| only.is_none_or(|word| line.mentions(word)))
        .collect();
    let member = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
    if ctl.json() {
        ctl.member("domain", member("domain"));
        ctl.member("emulator", member("emulator"));
        ctl.member("version", member("version"));
        ctl.member("entries", lines.iter().map(Line::json).collect::<Value>());
        return Ok(());
    }
    put!(ctl, "{}: {} {}\n", member("domain"), member("emulator"), member("version"));
    let mut last = "";
    for line in &lines {
        if line.subject != last {
            put!(ctl, "\n{}:\n", heading(&line.subject));
            last = &line.subject;
        }
        line.show(ctl);
    }
    Ok(())
}

fn heading(subject: &str) -> &'static str {
    match subject {
        "argument" => "Arguments",
        "command" => "Commands before the guest runs",
        _ => "Steps",
    }
}

/// The daemon's own explanation.
fn asked(ctl: &mut Ctl, text: &str) -> Outcome<Value> {
    let args = protocol::remote::ConnectDomainXmlToNativeArgs {
        native_format: FORMAT.to_owned(),
        domain_xml: text.to_owned(),
        flags: 0,
    };
    let answer = ctl
        .call::<protocol::remote::procs::ConnectDomainXmlToNative>(&args)
        .ctx("cannot explain the start of the domain (other daemons than Ironvirt never can)")?;
    serde_json::from_str(&answer.native_config)
        .map_err(|error| Fail::new(format!("the daemon's answer is no explanation: {error}")))
}

/// The explanation of a file, by the emulators that are installed or a recorded conversation.
fn offline(ctl: &mut Ctl, name: &str, text: &str, record: Option<&str>) -> Outcome<Value> {
    let record = record.map(super::util::read_file).transpose()?;
    let found = crate::daemon::explain(text, record.as_deref());
    found.map_err(|fail| {
        ctl.flush();
        let read = super::document::read(text);
        let shown = SourceText::new(name, text);
        if read.diagnostics.iter().any(|d| d.severity == Severity::Error) {
            eprintln!("{}", render::human_all(&read.diagnostics, Some(&shown)));
        }
        Fail::new(format!("{name}: {fail}"))
    })
}

/// One thing that a start does.
struct Line {
    subject: String,
    text: Vec<String>,
    /// `devices/disk[1]`; empty where no element causes it.
    element: String,
    source: Option<Source>,
    rule: String,
    asked: Vec<(String, bool)>,
}

impl Line {
    fn new(entry: &Value, origin: Option<&Origin<'_>>, text: &str) -> Self {
        let member =
            |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |key: &str| {
            entry.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter()
        };
        let element = member("element");
        let index = entry.get("index").and_then(Value::as_u64);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let source = origin
            .filter(|_| !element.is_empty())
            .and_then(|origin| origin.find(&element, index, text));
        let asked = list("capabilities").filter_map(|asked| {
            Some((asked.get("name")?.as_str()?.to_owned(), asked.get("has")?.as_bool()?))
        });
        Self {
            subject: member("subject"),
            text: list("text").filter_map(Value::as_str).map(str::to_owned).collect(),
            element: match index {
                Some(index) => format!("{element}[{}]", index + 1),
                None => element,
            },
            source,
            rule: member("rule"),
            asked: asked.collect(),
        }
    }

    fn mentions(&self, word: &str) -> bool {
        self.element.contains(word)
            || self.text.iter().any(|text| text.contains(word))
            || self.asked.iter().any(|(name, _)| name.contains(word))
    }

    fn json(&self) -> Value {
        let line = match self.source {
            Some(Source::Line(line)) => Some(line),
            _ => None,
        };
        json!({
            "subject": self.subject,
            "text": self.text,
            "element": self.element,
            "line": line,
            "default": self.source == Some(Source::Default),
            "rule": self.rule,
            "capabilities": self
                .asked
                .iter()
                .map(|(name, has)| json!({"name": name, "has": has}))
                .collect::<Value>(),
        })
    }

    fn show(&self, ctl: &mut Ctl) {
        put!(ctl, "  {}\n", self.text.join(" ").replace('\n', "\n  "));
        let mut reasons = Vec::new();
        if !self.element.is_empty() {
            reasons.push(match self.source {
                Some(Source::Line(line)) => format!("line {line}, <{}>", self.element),
                Some(Source::Default) => format!("<{}>, filled in", self.element),
                None => format!("<{}>", self.element),
            });
        }
        if !self.rule.is_empty() {
            reasons.push(self.rule.clone());
        }
        for (name, has) in &self.asked {
            let verb = if *has { "has" } else { "lacks" };
            reasons.push(format!("QEMU {verb} '{name}'"));
        }
        put!(ctl, "      because: {}\n", reasons.join("; "));
    }
}
