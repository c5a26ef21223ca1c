//! Whether a binary that was probed has really answered: a question that failed is no empty list.

use super::transcript::{Exchange, ProbeKind, probe_commands};
use super::{ProbeError, list, text};
use serde_json::Value;
use std::collections::HashSet;

/// Questions whose failure says that the host has no such thing.
const MAY_FAIL: &[&str] = &["query-sev-capabilities", "query-sgx-capabilities"];

/// Architectures (QEMU's names) whose emulators can expand models in the way that is asked for; of
/// others some cannot, as LoongArch's.
const EXPANDS: &[&str] = &["x86_64", "i386", "s390x"];

/// What the first conversation says of what the binary can be asked.
#[derive(Clone, Debug, Default)]
pub struct Complete<'a> {
    commands: HashSet<&'a str>,
    types: HashSet<&'a str>,
    models: HashSet<&'a str>,
    /// Its models can be expanded in the way that is asked for.
    expands: bool,
    kvm: bool,
}

fn names<'a>(reply: &'a Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    list(reply).iter().filter_map(move |item| item.get(key)?.as_str())
}

/// Checks that every question of [`probe_commands`] and [`super::cpu_commands`] was answered, as
/// far as a binary of its sort can, and in the form that the answer has. `of` is what the check of the
/// first conversation gave, for the second.
///
/// # Errors
/// The first question that was not, and what came instead.
pub fn complete<'a>(
    kind: ProbeKind,
    exchanges: &'a [Exchange],
    of: Option<&Complete<'a>>,
) -> Result<Complete<'a>, ProbeError> {
    let reply = |command: &str| {
        let found = exchanges.iter().find(|exchange| exchange.command == command);
        found.and_then(|exchange| exchange.reply.as_ref().ok()).unwrap_or(&Value::Null)
    };
    let own = match of {
        Some(of) => of.clone(),
        None => Complete {
            commands: list(reply("query-qmp-schema"))
                .iter()
                .filter(|entity| text(entity, "meta-type").as_deref() == Some("command"))
                .filter_map(|entity| entity.get("name")?.as_str())
                .collect(),
            types: names(reply("qom-list-types"), "name").collect(),
            models: names(reply("query-cpu-definitions"), "name").collect(),
            expands: reply("query-target")
                .get("arch")
                .and_then(Value::as_str)
                .is_some_and(|arch| EXPANDS.contains(&arch)),
            kvm: reply("query-kvm").get("enabled").and_then(Value::as_bool) == Some(true),
        },
    };
    for command in probe_commands(kind) {
        let name = command.get("execute").and_then(Value::as_str).unwrap_or_default();
        let arguments = command.get("arguments").unwrap_or(&Value::Null);
        let same = |e: &&Exchange| e.command == name && e.arguments == *arguments;
        let Some(exchange) = exchanges.iter().find(same) else {
            return Err(refused(name, arguments, "it was not answered"));
        };
        own.check(exchange)?;
    }
    let known = |exchange: &&Exchange| exchange.command == "query-cpu-model-expansion";
    exchanges.iter().filter(known).try_for_each(|exchange| own.check(exchange))?;
    Ok(own)
}

fn refused(command: &str, arguments: &Value, detail: &str) -> ProbeError {
    let of = arguments.get("typename").and_then(Value::as_str);
    let detail = of.map_or(detail.to_owned(), |of| format!("of '{of}': {detail}"));
    ProbeError { command: command.to_owned(), detail }
}

impl Complete<'_> {
    fn check(&self, exchange: &Exchange) -> Result<(), ProbeError> {
        let Exchange { command, arguments, reply } = exchange;
        match reply {
            Ok(value) if is_answer(command, value) => Ok(()),
            Ok(value) => {
                let start: String = value.to_string().chars().take(60).collect();
                let detail = format!("its answer is not of the form that was expected: {start}");
                Err(refused(command, arguments, &detail))
            }
            Err(_) if self.may_fail(command, arguments) => Ok(()),
            Err(detail) => Err(refused(command, arguments, detail)),
        }
    }

    /// Whether a binary may refuse this question: it has no such command, knows no such type or
    /// model, or the host lacks what is asked for.
    fn may_fail(&self, command: &str, arguments: &Value) -> bool {
        // Without these nothing is known, not even what is no command.
        let first = ["query-version", "query-target", "query-qmp-schema"].contains(&command);
        if MAY_FAIL.contains(&command) || !first && !self.commands.contains(command) {
            return true;
        }
        if let Some(name) = arguments.get("typename").and_then(Value::as_str) {
            return !self.types.contains(name);
        }
        let Some(model) = arguments.get("model") else { return false };
        let name = model.get("name").and_then(Value::as_str).unwrap_or_default();
        // KVM of some hosts cannot tell its model; emulation knows what it emulates.
        self.kvm
            || !self.expands
            || name == "host"
            || model.get("props").is_some_and(|props| props.get("hv-passthrough").is_some())
            || !self.models.contains(name)
    }
}

/// Whether all elements of a list have a text `key`, and there is at least one.
fn listed(value: &Value, key: &str) -> bool {
    !list(value).is_empty() && all(value, key)
}

fn all(value: &Value, key: &str) -> bool {
    let has = |item: &Value| item.get(key).is_some_and(Value::is_string);
    value.as_array().is_some_and(|items| items.iter().all(has))
}

fn is_answer(command: &str, value: &Value) -> bool {
    match command {
        "query-version" => {
            let numbers = value.get("qemu");
            ["major", "minor", "micro"]
                .iter()
                .all(|key| numbers.and_then(|numbers| numbers.get(key)?.as_u64()).is_some())
        }
        "query-target" => value.get("arch").is_some_and(Value::is_string),
        "query-kvm" => {
            ["enabled", "present"].iter().all(|key| value.get(key).is_some_and(Value::is_boolean))
        }
        "query-qmp-schema" | "qom-list-types" | "query-machines" => listed(value, "name"),
        "query-command-line-options" => listed(value, "option"),
        "query-migrate-capabilities" => listed(value, "capability"),
        // Some boards have one CPU, and some types no properties.
        "query-cpu-definitions" | "device-list-properties" | "qom-list-properties" => {
            all(value, "name")
        }
        "query-tpm-models" | "query-tpm-types" => {
            value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
        }
        "query-gic-capabilities" => value.is_array(),
        "query-cpu-model-expansion" => {
            value.get("model").is_some_and(|model| model.get("name").is_some_and(Value::is_string))
        }
        _ => value.is_object(),
    }
}
