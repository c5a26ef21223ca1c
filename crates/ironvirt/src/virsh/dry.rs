//! `--dry-run`: what a change would do, as its daemon plans it.

use super::cmd::Cmd;
use super::ctl::{Ctl, put};
use super::fail::{Context, Fail, Outcome};
use super::registry::Opt;
use protocol::remote::NonnullDomain;
use serde_json::{Value, json};

/// The name that our daemon knows the question by, as a "native format".
const FORMAT: &str = engine::domain::rehearse::FORMAT;

/// The option, which virsh does not have and its help pages do not list.
pub static OPTION: Opt = Opt::flag("dry-run", "tell what would be done, and do nothing");

/// The commands that have it.
pub const COMMANDS: &[&str] = &[
    "attach-device",
    "attach-disk",
    "attach-interface",
    "destroy",
    "detach-device",
    "detach-device-alias",
    "detach-disk",
    "detach-interface",
    "start",
    "undefine",
    "update-device",
];

/// With `--dry-run`, prints what `verb` would do to the domain; true then: nothing is to be done.
///
/// # Errors
/// What the verb itself would meet before it touches anything.
pub fn told(
    ctl: &mut Ctl,
    cmd: &Cmd,
    dom: &NonnullDomain,
    verb: &str,
    subject: &str,
    flags: u32,
) -> Outcome<bool> {
    told_with(ctl, cmd, dom, (verb, subject, flags), &[])
}

/// As [`told`], with what this command itself would do after the daemon's part: changes of files.
///
/// # Errors
/// As [`told`].
pub fn told_with(
    ctl: &mut Ctl,
    cmd: &Cmd,
    dom: &NonnullDomain,
    (verb, subject, flags): (&str, &str, u32),
    then: &[String],
) -> Outcome<bool> {
    if !cmd.is_dry_run() {
        return Ok(false);
    }
    let uuid = units::Uuid(dom.uuid).to_string();
    let question = json!({"domain": uuid, "verb": verb, "subject": subject, "flags": flags});
    let args = protocol::remote::ConnectDomainXmlToNativeArgs {
        native_format: FORMAT.to_owned(),
        domain_xml: question.to_string(),
        flags: 0,
    };
    let answer = ctl
        .call::<protocol::remote::procs::ConnectDomainXmlToNative>(&args)
        .ctx("it would fail (or the daemon is another than Ironvirt, which cannot tell)")?;
    let mut plan: Value = serde_json::from_str(&answer.native_config)
        .map_err(|error| Fail::new(format!("the daemon's answer is none: {error}")))?;
    if let Some(lines) = plan.get_mut("lines").and_then(Value::as_array_mut) {
        lines.extend(then.iter().map(|what| json!({"where": "file", "what": what})));
    }
    if ctl.json() {
        for key in ["domain", "verb", "lines"] {
            ctl.member(key, plan.get(key).cloned().unwrap_or_default());
        }
        return Ok(true);
    }
    let lines = plan.get("lines").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for line in lines {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        put!(ctl, "{:5} {}\n", text("where"), text("what"));
    }
    Ok(true)
}
