//! QMP answers of one probed binary, indexed for the feature rules.

use super::flags::Rule;
use super::schema::Schema;
use super::transcript::Exchange;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The answers, by what the rules look for.
pub(super) struct Answers<'a> {
    pub(super) schema: Schema<'a>,
    pub(super) types: HashSet<&'a str>,
    props: HashMap<&'a str, HashMap<&'a str, &'a Value>>,
    options: HashMap<&'a str, HashSet<&'a str>>,
    exchanges: &'a [Exchange],
}

static NULL: Value = Value::Null;

fn names<'a>(list: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let key = key.to_string();
    list.as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter_map(move |item| Some((item.get(key.as_str())?.as_str()?, item)))
}

impl<'a> Answers<'a> {
    /// Indexes one conversation.
    pub(super) fn new(exchanges: &'a [Exchange]) -> Self {
        let reply = |command: &str| {
            exchanges
                .iter()
                .find(|e| e.command == command)
                .and_then(|e| e.reply.as_ref().ok())
                .unwrap_or(&NULL)
        };
        let mut props: HashMap<&str, HashMap<&str, &Value>> = HashMap::new();
        for exchange in exchanges {
            if let ("device-list-properties" | "qom-list-properties", Ok(list)) =
                (exchange.command.as_str(), &exchange.reply)
                && let Some(name) = exchange.arguments.get("typename").and_then(Value::as_str)
            {
                props.entry(name).or_default().extend(names(list, "name"));
            }
        }
        let options = names(reply("query-command-line-options"), "option")
            .map(|(option, item)| {
                let parameters = item.get("parameters").unwrap_or(&NULL);
                (option, names(parameters, "name").map(|(name, _)| name).collect())
            })
            .collect();
        Self {
            schema: Schema::new(reply("query-qmp-schema")),
            types: names(reply("qom-list-types"), "name").map(|(name, _)| name).collect(),
            props,
            options,
            exchanges,
        }
    }

    /// What a command without arguments returned; null if it failed or was not asked.
    pub(super) fn reply(&self, command: &str) -> &'a Value {
        self.exchanges
            .iter()
            .find(|e| e.command == command)
            .and_then(|e| e.reply.as_ref().ok())
            .unwrap_or(&NULL)
    }

    /// All CPU model expansions: arguments and reply.
    pub(super) fn expansions(&self) -> impl Iterator<Item = (&'a Value, &'a Value)> {
        self.exchanges
            .iter()
            .filter(|e| e.command == "query-cpu-model-expansion")
            .filter_map(|e| Some((&e.arguments, e.reply.as_ref().ok()?)))
    }

    /// KVM enabled in this conversation.
    pub(super) fn kvm(&self) -> bool {
        let reply = self.reply("query-kvm");
        ["present", "enabled"]
            .iter()
            .all(|key| reply.get(key).and_then(Value::as_bool) == Some(true))
    }

    /// A list of strings returned by `command` holds `name`.
    fn lists(&self, command: &str, name: &str) -> bool {
        self.reply(command)
            .as_array()
            .is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name)))
    }

    /// Whether a rule's feature shows.
    pub(super) fn shows(&self, rule: Rule) -> bool {
        match rule {
            Rule::Type(name) => self.types.contains(name),
            Rule::Prop(name, prop) => self.props.get(name).is_some_and(|p| p.contains_key(prop)),
            Rule::PropOff(name, prop) => self
                .props
                .get(name)
                .and_then(|p| p.get(prop)?.get("default-value")?.as_bool())
                .is_some_and(|on| !on),
            Rule::Command(name) => self.schema.has_command(name),
            Rule::Schema(path) => self.schema.has(path),
            Rule::Opt(option, "") => self.options.contains_key(option),
            Rule::Opt(option, name) => {
                self.options.get(option).is_some_and(|names| names.contains(name))
            }
            Rule::Migration(name) => names(self.reply("query-migrate-capabilities"), "capability")
                .any(|(capability, _)| capability == name),
            Rule::Kvm => self.kvm(),
            Rule::CpuModel(name) => {
                names(self.reply("query-cpu-definitions"), "name").any(|(model, _)| model == name)
            }
            Rule::TpmModel(name) => self.lists("query-tpm-models", name),
            Rule::TpmType(name) => self.lists("query-tpm-types", name),
            Rule::Sev => !self.reply("query-sev-capabilities").is_null(),
            Rule::SevSnp => self.shows(Rule::Sev) && self.types.contains("sev-snp-guest"),
            Rule::Sgx => {
                self.reply("query-sgx-capabilities").get("sgx").and_then(Value::as_bool)
                    == Some(true)
            }
            Rule::Arch(names) => self
                .reply("query-target")
                .get("arch")
                .and_then(Value::as_str)
                .is_some_and(|arch| names.contains(&arch)),
        }
    }
}
