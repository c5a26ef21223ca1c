//! Talking to QEMU itself: monitor and guest agent.

use super::*;
use crate::virsh::conn::event;
use crate::virsh::ctl::{put, say};
use crate::virsh::fail::{Context, fail};
use protocol::qemu;

fn joined(cmd: &Cmd) -> String {
    cmd.argv("cmd").join(" ")
}

/// The command as JSON: what is no object is a command's name, and what follows it its arguments.
fn as_qmp(words: &[&str]) -> Outcome<String> {
    let whole = words.join(" ");
    let object =
        |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).ok();
    let Some((name, arguments)) = words.split_first() else { return Ok(whole) };
    if object(&whole).is_some() {
        return Ok(whole);
    }
    let mut command = serde_json::Map::new();
    command.insert("execute".into(), (*name).into());
    if !arguments.is_empty() {
        let said = arguments.join(" ");
        let members = format!("{{{}}}", arguments.join(","));
        let Some(given) = object(&said).or_else(|| object(&members)) else {
            let expected = if said.starts_with('"') {
                "unexpected character"
            } else {
                "quoted object property name expected"
            };
            return Err(Fail::new(format!("internal error: failed to parse JSON: {expected}"))
                .before(format!("failed to wrap arguments '{said}' into a QMP command wrapper")));
        };
        command.insert("arguments".into(), given.into());
    }
    Ok(serde_json::Value::Object(command).to_string())
}

fn pretty_json(text: &str) -> Outcome<String> {
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| Fail::new(format!("internal error: cannot parse json {text}: {e}")))?;
    Ok(pretty(&value))
}

/// A value over several lines, as libvirt writes it: what is empty takes two.
fn pretty(value: &serde_json::Value) -> String {
    fn write(out: &mut String, value: &serde_json::Value, depth: usize) {
        let (open, close, items): (_, _, Vec<_>) = match value {
            serde_json::Value::Array(list) => ('[', ']', list.iter().map(|v| (None, v)).collect()),
            serde_json::Value::Object(map) => {
                ('{', '}', map.iter().map(|(name, v)| (Some(name), v)).collect())
            }
            other => return out.push_str(&other.to_string()),
        };
        out.push(open);
        for (n, (name, value)) in items.into_iter().enumerate() {
            out.push_str(if n == 0 { "\n" } else { ",\n" });
            out.push_str(&"  ".repeat(depth + 1));
            if let Some(name) = name {
                out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                out.push_str(": ");
            }
            write(out, value, depth + 1);
        }
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
        out.push(close);
    }
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

/// `qemu-monitor-command`
pub fn cmd_qemu_monitor_command(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    for (a, b) in [("hmp", "pretty"), ("hmp", "return-value")] {
        cmd.exclusive(a, b)?;
    }
    let dom = domain(ctl, cmd)?;
    let fds = fds::numbers(cmd)?;
    let hmp = cmd.has("hmp");
    let (text, flags) = (if hmp { joined(cmd) } else { as_qmp(&cmd.argv("cmd"))? }, u32::from(hmp));
    let result = if fds.is_empty() {
        let args = qemu::DomainMonitorCommandArgs { dom, cmd: text, flags };
        ctl.call::<qemu::procs::DomainMonitorCommand>(&args)?.result
    } else {
        let fds = fds::duplicates(&fds)?;
        let args = qemu::DomainMonitorCommandWithFilesArgs { dom, cmd: text, flags };
        type P = qemu::procs::DomainMonitorCommandWithFiles;
        ctl.conn()?.call_with_fds::<P>(&args, &fds::borrowed(&fds))?.result
    };
    if ctl.json() {
        let value = if hmp {
            serde_json::json!({ "output": result })
        } else {
            serde_json::from_str(&result).unwrap_or(serde_json::Value::String(result))
        };
        ctl.data(value);
    } else if cmd.has("return-value") {
        let value: serde_json::Value =
            serde_json::from_str(&result).map_err(|_| Fail::new("failed to parse QMP reply"))?;
        match value.get("return") {
            Some(v) => {
                let text = if cmd.has("pretty") { pretty(v) } else { v.to_string() };
                put!(ctl, "{text}");
            }
            None => fail!("'return' member missing"),
        }
    } else if cmd.has("pretty") {
        put!(ctl, "{}", pretty_json(&result)?);
    } else {
        put!(ctl, "{result}\n");
    }
    Ok(())
}

/// `qemu-agent-command`
pub fn cmd_qemu_agent_command(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut timeout = -2;
    let mut ways = 0;
    if let Some(t) = cmd.int("timeout")? {
        if t < 1 {
            fail!("timeout must be positive");
        }
        timeout = t;
        ways += 1;
    }
    if cmd.has("async") {
        timeout = 0;
        ways += 1;
    }
    if cmd.has("block") {
        timeout = -2;
        ways += 1;
    }
    if ways > 1 {
        fail!("timeout, async and block options are exclusive");
    }
    let dom = domain(ctl, cmd)?;
    let args = qemu::DomainAgentCommandArgs { dom, cmd: joined(cmd), timeout, flags: 0 };
    let result = ctl.call::<qemu::procs::DomainAgentCommand>(&args)?.result;
    if let Some(text) = result {
        if cmd.has("pretty") {
            put!(ctl, "{}\n", pretty_json(&text)?);
        } else {
            put!(ctl, "{text}\n");
        }
    }
    Ok(())
}

/// `qemu-attach`
pub fn cmd_qemu_attach(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let text = cmd.req("pid")?;
    let Some(pid_value) = crate::virsh::cmd::parse_u64(text).and_then(|v| u32::try_from(v).ok())
    else {
        fail!("Numeric value '{text}' for <pid> option is malformed or out of range");
    };
    let args = qemu::DomainAttachArgs { pid_value, flags: 0 };
    let dom = ctl
        .call::<qemu::procs::DomainAttach>(&args)
        .ctx(format!("Failed to attach to pid {pid_value}"))?
        .dom;
    say!(ctl, "Domain '{}' attached to pid {pid_value}\n", dom.name);
    Ok(())
}

/// `qemu-monitor-event`
pub fn cmd_qemu_monitor_event(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("regex", 1), ("no-case", 2)]);
    let wanted = cmd.str("event")?.map(str::to_owned);
    let timeout = cmd.timeout_ms("timeout")?;
    let dom = if cmd.has("domain") { Some(domain(ctl, cmd)?) } else { None };
    let args = qemu::ConnectDomainMonitorEventRegisterArgs { dom, event: wanted, flags };
    let callback_id =
        ctl.call::<qemu::procs::ConnectDomainMonitorEventRegister>(&args)?.callback_id;
    let (pretty, stamp) = (cmd.has("pretty"), cmd.has("timestamp"));
    let result = super::event::watch(ctl, cmd.has("loop"), timeout, &mut |ctl, raw| {
        let Some(m) = event::<qemu::events::DomainMonitorEvent>(raw) else {
            return false;
        };
        let mut details = m.details.clone();
        if pretty && let Some(d) = &details {
            details = Some(pretty_json(d).unwrap_or_else(|_| d.clone()));
        }
        let when = if stamp {
            format!("{}: ", crate::virsh::util::timestamp_event())
        } else {
            String::new()
        };
        let time = if stamp { String::new() } else { format!(" at {}.{:06}", m.seconds, m.micros) };
        put!(ctl, "{when}event {}{time} for domain '{}'", m.event, m.dom.name);
        match details {
            Some(d) => put!(ctl, ": {d}\n"),
            None => put!(ctl, "\n"),
        }
        true
    });
    let args = qemu::ConnectDomainMonitorEventDeregisterArgs { callback_id };
    let _ = ctl.call::<qemu::procs::ConnectDomainMonitorEventDeregister>(&args);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_command() {
        let check = |words: &[&str], expected: &str| {
            let said = as_qmp(words).unwrap_or_else(|f| f.lines.join("|"));
            assert_eq!(said, expected, "{words:?}");
        };
        check(&["query-kvm"], r#"{"execute":"query-kvm"}"#);
        check(&["{\"execute\":", "\"stop\"}"], r#"{"execute": "stop"}"#);
        check(&["[1]"], r#"{"execute":"[1]"}"#);
        let named = r#"{"execute":"device_del","arguments":{"id":"x"}}"#;
        check(&["device_del", r#""id":"x""#], named);
        check(&["device_del", r#"{"id":"x"}"#], named);
        check(&["c", r#""a":1"#, r#""b":[2]"#], r#"{"execute":"c","arguments":{"a":1,"b":[2]}}"#);
        check(
            &["device_del", "id=x"],
            "failed to wrap arguments 'id=x' into a QMP command wrapper|\
             internal error: failed to parse JSON: quoted object property name expected",
        );
    }

    #[test]
    fn empty_values_take_two_lines() {
        let value = serde_json::json!({ "a": [], "b": { "c": [1, "x"] }, "d": {} });
        let expected = "{\n  \"a\": [\n  ],\n  \"b\": {\n    \"c\": [\n      1,\n      \"x\"\n    ]\n  },\n  \"d\": {\n  }\n}";
        assert_eq!(pretty(&value), expected);
    }
}
