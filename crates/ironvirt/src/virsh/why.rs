//! `why`: what keeps a domain from starting, running or answering, as its daemon finds it.

use super::cmd::Cmd;
use super::ctl::{Ctl, put};
use super::domain;
use super::fail::{Context, Fail, Outcome};
use serde_json::Value;

/// The name that our daemon knows the question by, as a "native format".
const FORMAT: &str = engine::domain::why::FORMAT;

/// `why`
pub fn cmd_why(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = cmd.req("domain")?.to_owned();
    let dom = domain::lookup(ctl, &name, true, true, true)?;
    let args = protocol::remote::ConnectDomainXmlToNativeArgs {
        native_format: FORMAT.to_owned(),
        domain_xml: units::Uuid(dom.uuid).to_string(),
        flags: 0,
    };
    let answer = ctl
        .call::<protocol::remote::procs::ConnectDomainXmlToNative>(&args)
        .ctx("cannot look into the domain (other daemons than Ironvirt never can)")?;
    let found: Value = serde_json::from_str(&answer.native_config)
        .map_err(|error| Fail::new(format!("the daemon's answer is none: {error}")))?;
    if ctl.json() {
        for key in ["domain", "state", "reason", "findings", "log"] {
            ctl.member(key, found.get(key).cloned().unwrap_or_default());
        }
        return Ok(());
    }
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list =
        |key: &str| found.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter();
    let state = text(&found, "state");
    put!(ctl, "{}: {state} ({})\n", text(&found, "domain"), text(&found, "reason"));
    let is_off = state == "shutoff";
    let mut stopped = false;
    for finding in list("findings") {
        let blocks = finding.get("blocks").and_then(Value::as_bool).unwrap_or_default();
        stopped |= blocks;
        let word = match (blocks, is_off) {
            (true, true) => "cannot start",
            (true, false) => "because",
            (false, _) => "note",
        };
        put!(ctl, "  {word}: {}\n", text(finding, "what").replace('\n', "\n    "));
        let fix = text(finding, "fix");
        if !fix.is_empty() {
            put!(ctl, "    fix: {fix}\n");
        }
    }
    let mut lines = list("log").filter_map(Value::as_str).peekable();
    if !stopped {
        let clear = match (is_off, lines.peek()) {
            (true, None) => "nothing stands in the way of a start",
            // What QEMU alone can find is not looked for: its words tell it.
            (true, Some(_)) => "nothing else was found that stands in the way of a start",
            (false, _) => "it runs and QEMU answers",
        };
        put!(ctl, "  {clear}\n");
    }
    if lines.peek().is_some() {
        put!(ctl, "  QEMU's last words:\n");
    }
    for line in lines {
        put!(ctl, "    {line}\n");
    }
    Ok(())
}
