//! The conversation with a binary that is probed: what to ask, and what it said.

use super::flags::types_asked;
use serde_json::{Value, json};

/// One command and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The command's name.
    pub command: String,
    /// Its arguments, null if it had none.
    pub arguments: Value,
    /// What it returned, or the text of its error.
    pub reply: Result<Value, String>,
}

impl Exchange {
    /// Joins a command (as sent) and the answer object.
    pub fn new(command: &Value, answer: &Value) -> Option<Self> {
        let reply = match answer.get("return") {
            Some(value) => Ok(value.clone()),
            None => Err(answer.get("error")?.get("desc")?.as_str()?.to_string()),
        };
        Some(Self {
            command: command.get("execute")?.as_str()?.to_string(),
            arguments: command.get("arguments").cloned().unwrap_or(Value::Null),
            reply,
        })
    }
}

/// Which accelerator the probed process runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// `-machine none,accel=kvm:tcg`: the full set of questions.
    Primary,
    /// `-machine none,accel=tcg`, asked only where KVM answered the first: what differs.
    TcgOnly,
}

/// The first questions for a binary: independent of each other, so that they can be sent in one
/// go. Every command is answered, with an error where the binary lacks it; both are kept.
/// [`cpu_commands`] gives the rest.
pub fn probe_commands(kind: ProbeKind) -> Vec<Value> {
    let plain = |name: &str| json!({"execute": name});
    if kind == ProbeKind::TcgOnly {
        return ["query-target", "query-cpu-definitions", "query-machines"].map(plain).into();
    }
    let mut commands: Vec<Value> = [
        "query-version",
        "query-target",
        "query-qmp-schema",
        "query-kvm",
        "qom-list-types",
        "query-machines",
        "query-cpu-definitions",
        "query-tpm-models",
        "query-tpm-types",
        "query-command-line-options",
        "query-migrate-capabilities",
        "query-gic-capabilities",
        "query-sev-capabilities",
        "query-sgx-capabilities",
    ]
    .map(plain)
    .into();
    commands.extend(types_asked().into_iter().map(|name| {
        let device = !(name.ends_with("-machine")
            || name.ends_with("-cpu")
            || name.starts_with("memory-backend-"));
        let command = if device { "device-list-properties" } else { "qom-list-properties" };
        json!({"execute": command, "arguments": {"typename": name}})
    }));
    commands
}

/// The second questions: expansions of the host's CPU model, which depend on what the first said.
pub fn cpu_commands(first: &[Exchange]) -> Vec<Value> {
    let reply = |command: &str, key: &str| {
        first
            .iter()
            .find(|e| e.command == command)
            .and_then(|e| e.reply.as_ref().ok()?.get(key).cloned())
    };
    let arch = reply("query-target", "arch");
    let arch = arch.as_ref().and_then(Value::as_str).unwrap_or_default();
    let kvm = reply("query-kvm", "enabled") == Some(Value::Bool(true));
    let model = if kvm { "host" } else { "max" };
    let x86 = matches!(arch, "x86_64" | "i386");
    // The emulator for 32 bits has the same models, but says nothing of canonical names: libvirt
    // asks it for all it has.
    let kind = if matches!(arch, "x86_64" | "s390x") { "static" } else { "full" };
    let expansion = |kind: &str, model: Value| json!({"execute": "query-cpu-model-expansion", "arguments": {"type": kind, "model": model}});
    let mut commands = vec![expansion(kind, json!({"name": model}))];
    if x86 {
        let unmigratable = json!({"name": model, "props": {"migratable": false}});
        commands.push(expansion(kind, unmigratable));
    }
    if kvm || x86 {
        let props = json!({"migratable": false, "hv-passthrough": true});
        commands.push(expansion("full", json!({"name": model, "props": props})));
    }
    commands
}

/// Reads a recorded conversation: request and reply objects in turn, separated by white space.
/// Every `qmp_capabilities` starts a new conversation; an event between is left out.
/// A recording that is cut short ends at its last complete pair.
pub fn parse_transcript(text: &str) -> Vec<Vec<Exchange>> {
    let mut conversations: Vec<Vec<Exchange>> = Vec::new();
    let mut command: Option<Value> = None;
    let objects = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    for object in objects.map_while(Result::ok) {
        if object.get("execute").is_some() {
            command = Some(object);
            continue;
        }
        let Some(exchange) = command.take().and_then(|c| Exchange::new(&c, &object)) else {
            continue;
        };
        if exchange.command == "qmp_capabilities" || conversations.is_empty() {
            conversations.push(Vec::new());
        }
        if let Some(last) = conversations.last_mut() {
            last.push(exchange);
        }
    }
    conversations
}
