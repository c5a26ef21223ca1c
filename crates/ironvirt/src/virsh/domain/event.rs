//! `event`: domain events in virsh's words.

use std::time::{Duration, Instant};

use super::*;
use crate::virsh::conn::RawEvent;
use crate::virsh::ctl::put;
use crate::virsh::fail::fail;
use crate::virsh::registry::words::DOMAIN_EVENTS;
use crate::virsh::signals::Interruption;
use crate::virsh::util::timestamp_event;
use protocol::TypedParam;
use protocol::remote::events as ev;

/// How long to wait before looking for an interruption.
const GLANCE: Duration = Duration::from_millis(200);

/// Waits for events and hands each to `show`, which says whether it was one of those wanted.
/// Ends after one event (unless `repeat`), after the timeout, or when the user interrupts.
pub fn watch(
    ctl: &mut Ctl,
    repeat: bool,
    timeout_ms: Option<u32>,
    show: &mut dyn FnMut(&mut Ctl, &RawEvent) -> bool,
) -> Outcome {
    let deadline = timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
    let mut count = 0;
    let interruption = Interruption::watch();
    let ended = loop {
        if interruption.seen() {
            break "event loop interrupted\n";
        }
        let left = deadline.map_or(GLANCE, |d| d.saturating_duration_since(Instant::now()));
        match ctl.conn()?.next_event(Some(left.min(GLANCE)))? {
            Some(raw) if show(ctl, &raw) => {
                count += 1;
                ctl.flush();
                ctl.flush_json();
                if !repeat {
                    break "";
                }
            }
            Some(_) => {}
            None if deadline.is_some_and(|d| d <= Instant::now()) => {
                break "event loop timed out\n";
            }
            None => {}
        }
    };
    put!(ctl, "{ended}");
    put!(ctl, "events received: {count}\n");
    if count == 0 { Err(Fail::silent()) } else { Ok(()) }
}

/// Prints one event, `2026-…: event …` with a time stamp.
pub fn print_event(ctl: &mut Ctl, stamp: bool, kind: &str, object: (&str, &str), text: &str) {
    if ctl.json() {
        ctl.data(serde_json::json!({
            "event": kind, object.0: object.1, "text": text.trim_end(), "time": timestamp_event(),
        }));
        return;
    }
    if stamp {
        put!(ctl, "{}: {text}", timestamp_event());
    } else {
        put!(ctl, "{text}");
    }
}

/// `event`
pub fn cmd_event(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    if cmd.has("list") {
        ctl.member("events", DOMAIN_EVENTS.to_vec());
        for e in DOMAIN_EVENTS {
            put!(ctl, "{e}\n");
        }
        return Ok(());
    }
    cmd.exclusive("all", "event")?;
    let all = cmd.has("all");
    let wanted = match cmd.str("event")? {
        None if all => None,
        None => fail!("one of --list, --all, or --event <type> is required"),
        Some(name) => match DOMAIN_EVENTS.iter().position(|e| *e == name) {
            Some(i) => Some(i as i32),
            None => fail!("unknown event type {name}"),
        },
    };
    let timeout = cmd.timeout_ms("timeout")?;
    let dom = if cmd.has("domain") { Some(domain(ctl, cmd)?) } else { None };
    let mut callbacks = Vec::new();
    let kinds = wanted.map_or(0..DOMAIN_EVENTS.len() as i32, |w| w..w + 1);
    for event_id in kinds {
        match call!(ctl, ConnectDomainEventCallbackRegisterAny { event_id, dom: dom.clone() }) {
            Ok(r) => callbacks.push(r.callback_id),
            // An older daemon does not know the newest kinds.
            Err(f) if all && f.is(8) => {}
            Err(f) => return Err(f),
        }
    }
    let stamp = cmd.has("timestamp");
    let result = watch(ctl, cmd.has("loop"), timeout, &mut |ctl, raw| {
        let Some((kind, dom, text)) = describe(raw) else {
            return false;
        };
        print_event(ctl, stamp, kind, ("domain", &dom), &text);
        true
    });
    for callback_id in callbacks {
        let _ = call!(ctl, ConnectDomainEventCallbackDeregisterAny { callback_id });
    }
    result
}

/// The word for a number, `unknown` beyond the list.
pub fn describe_lifecycle(words: &[&'static str], index: i32) -> &'static str {
    word(words, index)
}

fn word(words: &[&'static str], index: i32) -> &'static str {
    usize::try_from(index).ok().and_then(|i| words.get(i).copied()).unwrap_or("unknown")
}

fn lifecycle(event: i32, detail: i32) -> (&'static str, &'static str) {
    let (name, details): (_, &[&str]) = match event {
        0 => ("Defined", &["Added", "Updated", "Renamed", "Snapshot"]),
        1 => ("Undefined", &["Removed", "Renamed"]),
        2 => ("Started", &["Booted", "Migrated", "Restored", "Snapshot", "Event wakeup"]),
        3 => (
            "Suspended",
            &[
                "Paused",
                "Migrated",
                "I/O Error",
                "Watchdog",
                "Restored",
                "Snapshot",
                "API error",
                "Post-copy",
                "Post-copy Error",
            ],
        ),
        4 => ("Resumed", &["Unpaused", "Migrated", "Snapshot", "Post-copy", "Post-copy Error"]),
        5 => (
            "Stopped",
            &["Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot"],
        ),
        6 => (
            "Shutdown",
            &["Finished", "Finished after guest request", "Finished after host request"],
        ),
        7 => ("PMSuspended", &["Memory", "Disk"]),
        8 => ("Crashed", &["Panicked", "Crashloaded"]),
        _ => ("unknown", &[]),
    };
    (name, word(details, detail))
}

fn params(list: &[TypedParam]) -> String {
    list.iter().map(|p| format!("\t{}: {}\n", p.field, p.value)).collect()
}

/// Kind, domain name and text of an event.
fn describe(raw: &RawEvent) -> Option<(&'static str, String, String)> {
    simple(raw).or_else(|| device(raw)).or_else(|| storage(raw)).or_else(|| other(raw))
}

type Described = Option<(&'static str, String, String)>;

fn got<E: protocol::Event>(raw: &RawEvent) -> Option<E::Msg> {
    crate::virsh::conn::event::<E>(raw)
}

fn plain(kind: &'static str, name: String) -> Described {
    let text = format!("event '{kind}' for domain '{name}'\n");
    Some((kind, name, text))
}

fn simple(raw: &RawEvent) -> Described {
    if let Some(m) = got::<ev::DomainEventCallbackLifecycle>(raw) {
        let (event, detail) = lifecycle(m.msg.event, m.msg.detail);
        let name = m.msg.dom.name;
        let text = format!("event 'lifecycle' for domain '{name}': {event} {detail}\n");
        return Some(("lifecycle", name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackReboot>(raw) {
        return plain("reboot", m.msg.dom.name);
    }
    if let Some(m) = got::<ev::DomainEventCallbackControlError>(raw) {
        return plain("control-error", m.msg.dom.name);
    }
    if let Some(m) = got::<ev::DomainEventCallbackPmwakeup>(raw) {
        return plain("pm-wakeup", m.msg.dom.name);
    }
    if let Some(m) = got::<ev::DomainEventCallbackPmsuspend>(raw) {
        return plain("pm-suspend", m.msg.dom.name);
    }
    if let Some(m) = got::<ev::DomainEventCallbackPmsuspendDisk>(raw) {
        return plain("pm-suspend-disk", m.msg.dom.name);
    }
    if let Some(m) = got::<ev::DomainEventCallbackRtcChange>(raw) {
        let name = m.msg.dom.name;
        let text = format!("event 'rtc-change' for domain '{name}': {}\n", m.msg.offset);
        return Some(("rtc-change", name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackWatchdog>(raw) {
        let actions = ["none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi"];
        let name = m.msg.dom.name;
        let action = word(&actions, m.msg.action);
        let text = format!("event 'watchdog' for domain '{name}': {action}\n");
        return Some(("watchdog", name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackBalloonChange>(raw) {
        let name = m.msg.dom.name;
        let text = format!("event 'balloon-change' for domain '{name}': {}KiB\n", m.msg.actual);
        return Some(("balloon-change", name, text));
    }
    None
}

fn device(raw: &RawEvent) -> Described {
    let line = |kind: &'static str, name: String, alias: String| {
        let text = format!("event '{kind}' for domain '{name}': {alias}\n");
        Some((kind, name, text))
    };
    if let Some(m) = got::<ev::DomainEventCallbackDeviceRemoved>(raw) {
        return line("device-removed", m.msg.dom.name, m.msg.dev_alias);
    }
    if let Some(m) = got::<ev::DomainEventCallbackDeviceAdded>(raw) {
        return line("device-added", m.dom.name, m.dev_alias);
    }
    if let Some(m) = got::<ev::DomainEventCallbackDeviceRemovalFailed>(raw) {
        return line("device-removal-failed", m.dom.name, m.dev_alias);
    }
    if let Some(m) = got::<ev::DomainEventMemoryDeviceSizeChange>(raw) {
        let name = m.dom.name;
        let text = format!(
            "event 'memory-device-size-change' for domain '{name}':\nalias: {}\nsize: {}\n",
            m.alias, m.size
        );
        return Some(("memory-device-size-change", name, text));
    }
    if let Some(m) = got::<ev::DomainEventNicMacChange>(raw) {
        let name = m.dom.name;
        let text = format!(
            "event 'nic-mac-change' for domain '{name}':\nalias: {}\noldMAC: {}\nnewMAC: {}\n",
            m.alias, m.old_mac, m.new_mac
        );
        return Some(("nic-mac-change", name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackTrayChange>(raw) {
        let name = m.msg.dom.name;
        let reason = word(&["opened", "closed"], m.msg.reason);
        let text =
            format!("event 'tray-change' for domain '{name}' disk {}: {reason}\n", m.msg.dev_alias);
        return Some(("tray-change", name, text));
    }
    None
}

fn storage(raw: &RawEvent) -> Described {
    let actions = ["none", "pause", "report"];
    if let Some(m) = got::<ev::DomainEventCallbackIoError>(raw) {
        let name = m.msg.dom.name;
        let text = format!(
            "event 'io-error' for domain '{name}': {} ({}) {}\n",
            m.msg.src_path,
            m.msg.dev_alias,
            word(&actions, m.msg.action)
        );
        return Some(("io-error", name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackIoErrorReason>(raw) {
        let name = m.msg.dom.name;
        let text = format!(
            "event 'io-error' for domain '{name}': {} ({}) {} due to {}\n",
            m.msg.src_path,
            m.msg.dev_alias,
            word(&actions, m.msg.action),
            m.msg.reason
        );
        return Some(("io-error-reason", name, text));
    }
    let job = |kind: &'static str, name: String, t: i32, path: String, status: i32| {
        let types = [
            "Unknown job",
            "Block Pull",
            "Block Copy",
            "Block Commit",
            "Active Block Commit",
            "Backup",
        ];
        let text = format!(
            "event '{kind}' for domain '{name}': {} for {path} {}\n",
            word(&types, t),
            word(&["completed", "failed", "canceled", "ready"], status)
        );
        Some((kind, name, text))
    };
    if let Some(m) = got::<ev::DomainEventCallbackBlockJob>(raw) {
        let m = m.msg;
        return job("block-job", m.dom.name, m.r#type, m.path, m.status);
    }
    if let Some(m) = got::<ev::DomainEventBlockJob2>(raw) {
        return job("block-job-2", m.dom.name, m.r#type, m.dst, m.status);
    }
    if let Some(m) = got::<ev::DomainEventCallbackDiskChange>(raw) {
        let m = m.msg;
        let path = |p: Option<String>| p.unwrap_or_else(|| "<null>".into());
        let text = format!(
            "event 'disk-change' for domain '{}' disk {}: {} -> {}: {}\n",
            m.dom.name,
            m.dev_alias,
            path(m.old_src_path),
            path(m.new_src_path),
            word(&["changed", "dropped"], m.reason)
        );
        return Some(("disk-change", m.dom.name, text));
    }
    if let Some(m) = got::<ev::DomainEventBlockThreshold>(raw) {
        let text = format!(
            "event 'block-threshold' for domain '{}': dev: {}({}) {} {}\n",
            m.dom.name,
            m.dev,
            m.path.as_deref().unwrap_or("<null>"),
            m.threshold,
            m.excess
        );
        return Some(("block-threshold", m.dom.name, text));
    }
    None
}

fn other(raw: &RawEvent) -> Described {
    if let Some(m) = got::<ev::DomainEventCallbackGraphics>(raw) {
        return graphics(m.msg);
    }
    if let Some(m) = got::<ev::DomainEventCallbackTunable>(raw) {
        let text = format!("event 'tunable' for domain '{}':\n{}", m.dom.name, params(&m.params));
        return Some(("tunable", m.dom.name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackJobCompleted>(raw) {
        let text =
            format!("event 'job-completed' for domain '{}':\n{}", m.dom.name, params(&m.params));
        return Some(("job-completed", m.dom.name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackAgentLifecycle>(raw) {
        let text = format!(
            "event 'agent-lifecycle' for domain '{}': state: '{}' reason: '{}'\n",
            m.dom.name,
            word(&["unknown", "connected", "disconnected"], m.state),
            word(&["unknown", "domain started", "channel event"], m.reason)
        );
        return Some(("agent-lifecycle", m.dom.name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackMigrationIteration>(raw) {
        let text = format!(
            "event 'migration-iteration' for domain '{}': iteration: '{}'\n",
            m.dom.name, m.iteration
        );
        return Some(("migration-iteration", m.dom.name, text));
    }
    if let Some(m) = got::<ev::DomainEventCallbackMetadataChange>(raw) {
        let text = format!(
            "event 'metadata-change' for domain '{}': type {}, uri {}\n",
            m.dom.name,
            word(&["description", "title", "element"], m.r#type),
            m.nsuri.as_deref().unwrap_or("<null>")
        );
        return Some(("metadata-change", m.dom.name, text));
    }
    if let Some(m) = got::<ev::DomainEventMemoryFailure>(raw) {
        let text = format!(
            "event 'memory-failure' for domain '{}':\nrecipient: {}\naction: {}\nflags:\n\taction required: {}\n\trecursive: {}\n",
            m.dom.name,
            word(&["hypervisor", "guest"], m.recipient),
            word(&["ignore", "inject", "fatal", "reset"], m.action),
            u32::from(m.flags & 1 != 0),
            u32::from(m.flags & 2 != 0)
        );
        return Some(("memory-failure", m.dom.name, text));
    }
    None
}

fn graphics(m: protocol::remote::DomainEventGraphicsMsg) -> Described {
    let family = |f: i32| word(&["IPv4", "IPv6", "unix"], f);
    let mut text = format!(
        "event 'graphics' for domain '{}': {} local[{} {} {}] remote[{} {} {}] {}",
        m.dom.name,
        word(&["connect", "initialize", "disconnect"], m.phase),
        family(m.local.family),
        m.local.node,
        m.local.service,
        family(m.remote.family),
        m.remote.node,
        m.remote.service,
        m.auth_scheme
    );
    for i in &m.subject {
        text.push_str(&format!(" {}={}", i.r#type, i.name));
    }
    text.push('\n');
    Some(("graphics", m.dom.name, text))
}
